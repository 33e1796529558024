// One whole Newton step from the warm start, and whether it ends at the optimum, as it does for nearly all environments;
// newton.cu solves the others.
//
// A block of WARPS warps works on 32 environments; lane i of every warp belongs to environment i. Its contacts are dealt
// out to the warps in turn, and so are the rows of its Hessian, which stay in registers.
//
// Given at compile time: BLOCKS (at once on a multiprocessor), LANES (environments), CONTACTS (rows to an environment).

#include "cone.cuh"

#define ENTRIES 171  // of the Hessian's lower triangle, row after row
#define WARPS 4
#define MINE ((CONTACTS + WARPS - 1) / WARPS)  // contacts of a warp, at most
#define SHARED(array, index) array[(index) * 32 + lane]

__device__ __forceinline__ constexpr int entry(int i, int j) { return i * (i + 1) / 2 + j; }

// The rows of the Hessian's triangle that a warp sums: about as many entries for each.
template <int WARP>
struct Part {
    static constexpr int first = WARP == 0 ? 0 : WARP == 1 ? 9 : WARP == 2 ? 13 : 16;
    static constexpr int last = WARP == 0 ? 9 : WARP == 1 ? 13 : WARP == 2 ? 16 : 18;
    __device__ static constexpr int number(int i, int j) { return entry(i, j) - entry(first, 0); }
};
#define MOST_ENTRIES 46

// Starts a warp's entries with those of the smooth cost, and adds their products with qacc to the smooth gradient.
template <int WARP>
__device__ __forceinline__ void start(float* sum, float* smooth, const float* hessian, const float* qacc, int lane) {
    using Mine = Part<WARP>;
#pragma unroll
    for (int i = Mine::first; i < Mine::last; ++i)
#pragma unroll
        for (int j = 0; j <= i; ++j) sum[Mine::number(i, j)] = hessian[(size_t)(i * NV + j) * LANES];
#pragma unroll
    for (int i = Mine::first; i < Mine::last; ++i)
#pragma unroll
        for (int j = 0; j <= i; ++j) {
            smooth[i] += sum[Mine::number(i, j)] * SHARED(qacc, j);
            if (j < i) smooth[j] += sum[Mine::number(i, j)] * SHARED(qacc, i);
        }
}

// Adds the products of the rows W of some contacts, which are staged as (row of a contact, dof, lane).
template <int WARP>
__device__ __forceinline__ void add_products(float* sum, const float* staged, int rows, int lane) {
    using Mine = Part<WARP>;
    for (int row = 0; row < rows; ++row) {
        float w[NV];
#pragma unroll
        for (int i = 0; i < Mine::last; ++i) w[i] = SHARED(staged, row * NV + i);
#pragma unroll
        for (int i = Mine::first; i < Mine::last; ++i)
#pragma unroll
            for (int j = 0; j <= i; ++j) sum[Mine::number(i, j)] += w[i] * w[j];
    }
}

// Adds the active limits' share of the Hessian and, to `part`, of the gradient; keeps their residuals in `limit`.
template <int WARP>
__device__ __forceinline__ void add_limits(float* sum, float* part, float* limit, const float* jac, const float* aref,
                                           const float* d, const float* qacc, int lane) {
    using Mine = Part<WARP>;
#pragma unroll
    for (int i = Mine::first; i < Mine::last; ++i) {
        const float sign = jac[i * LANES], at = sign * SHARED(qacc, i) - aref[i * LANES];
        const float weight = at < 0.0f ? d[i * LANES] : 0.0f;
        SHARED(limit, i) = at;
        sum[Mine::number(i, i)] += weight;
        part[i] += sign * weight * at;
    }
}

// Eliminates column after column, each of which the warps hand to each other in `columns`; the right side `rhs` is a
// row of the first warp. Leaves in `columns` what the columns were when they were eliminated, then the right side's
// entries and the reciprocals of the pivots.
template <int WARP>
__device__ __forceinline__ void eliminate(float* sum, float* rhs, float* columns, int lane) {
    using Mine = Part<WARP>;
#pragma unroll
    for (int k = 0; k < NV; ++k) {
#pragma unroll
        for (int i = Mine::first; i < Mine::last; ++i)
            if (i >= k) SHARED(columns, entry(i, k)) = sum[Mine::number(i, k)];
        __syncthreads();
        if (WARP != 0 && k + 1 >= Mine::last) continue;
        const float inverse = 1.0f / SHARED(columns, entry(k, k));
        float column[NV];
#pragma unroll
        for (int j = k + 1; j < (WARP == 0 ? NV : Mine::last); ++j) column[j] = SHARED(columns, entry(j, k));
#pragma unroll
        for (int i = Mine::first; i < Mine::last; ++i) {
            if (i <= k) continue;
            const float scaled = sum[Mine::number(i, k)] * inverse;
#pragma unroll
            for (int j = k + 1; j <= i; ++j) sum[Mine::number(i, j)] -= scaled * column[j];
        }
        if (WARP == 0) {
            SHARED(columns, ENTRIES + k) = rhs[k];
            SHARED(columns, ENTRIES + NV + k) = inverse;
            const float scaled = rhs[k] * inverse;
#pragma unroll
            for (int j = k + 1; j < NV; ++j) rhs[j] -= scaled * column[j];
        }
    }
}

// What a warp does with its entries, which are other ones in each warp.
#define BY_WARP(function, ...)                       \
    switch (warp) {                                  \
        case 0: function<0>(__VA_ARGS__); break;     \
        case 1: function<1>(__VA_ARGS__); break;     \
        case 2: function<2>(__VA_ARGS__); break;     \
        default: function<3>(__VA_ARGS__);           \
    }

extern "C" __global__ void __launch_bounds__(32 * WARPS, BLOCKS)
whole_step(const float* __restrict__ smooth_hessian,  // (18, 18, LANES)
           const float* __restrict__ smooth_force,    // (18, LANES)
           const float* __restrict__ limit_jac,       // (18, LANES)
           const float* __restrict__ limit_aref,      // (18, LANES)
           const float* __restrict__ limit_d,         // (18, LANES)
           const float* __restrict__ contact_d,       // (CONTACTS, LANES)
           const float* __restrict__ contact_mu,      // (CONTACTS, LANES)
           const float* __restrict__ contact_aref,    // (CONTACTS, 4, LANES)
           const float* __restrict__ contact_jac,     // (CONTACTS, 4, 18, LANES)
           const int* __restrict__ num_contacts,      // (LANES)
           const float* __restrict__ warmstart,       // (18, LANES)
           float* __restrict__ qacc_out,              // (18, LANES)
           float* __restrict__ force_out,             // (CONTACTS, LANES) normal forces
           int* __restrict__ converged_out) {         // (LANES) 0 or 1
    __shared__ float staged[WARPS * 4 * NV * 32];  // first rows W, then the Hessian's columns and the gradient's parts
    __shared__ float qacc[NV * 32], direction[NV * 32], limit[NV * 32];
    __shared__ float scratch[WARPS * 32];

    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int wanted = blockIdx.x * 32 + lane;
    const bool exists = wanted < LANES;
    const int env = exists ? wanted : LANES - 1;  // what is read for a lane beyond the last one
    const int contacts = exists ? num_contacts[env] : 0;

#define AT(array, index) array[(size_t)(index) * LANES + env]
#define JAC(contact, row, dof) AT(contact_jac, ((contact) * 4 + (row)) * NV + (dof))

    for (int i = warp; i < NV; i += WARPS) SHARED(qacc, i) = AT(warmstart, i);
    if (warp == 0) scratch[lane] = contacts;
    __syncthreads();
    int most = 0;  // contacts in the block
    for (int i = 0; i < 32; ++i) most = max(most, (int)scratch[i]);

    // --- the smooth cost ---
    float sum[MOST_ENTRIES], part[NV];
#pragma unroll
    for (int i = 0; i < NV; ++i) part[i] = 0.0f;
    BY_WARP(start, sum, part, smooth_hessian + env, qacc, lane)

    // --- the contacts: a few at a time, one in each warp, whose rows W then all warps work on ---
    Row4 residual[MINE];
    for (int first = 0; first < most; first += WARPS) {
        const int k = first + warp, slot = warp * 4 * NV;
        if (k < contacts) {
            float at[4];
#pragma unroll
            for (int row = 0; row < 4; ++row) at[row] = -AT(contact_aref, k * 4 + row);
#pragma unroll
            for (int i = 0; i < 4 * NV; ++i) {
                const float jac = JAC(k, 0, i);
                SHARED(staged, slot + i) = jac;
                at[i / NV] += jac * SHARED(qacc, i % NV);
            }
            const float d = AT(contact_d, k), mu = AT(contact_mu, k);
            const Row4 r = {at[0], at[1], at[2], at[3]};
            const Factors of = factors(locate(r, mu), d, mu);
            residual[first / WARPS] = r;
#pragma unroll
            for (int i = 0; i < NV; ++i) {
                const float normal = SHARED(staged, slot + i), tangent1 = SHARED(staged, slot + NV + i);
                const float tangent2 = SHARED(staged, slot + 2 * NV + i), tangent3 = SHARED(staged, slot + 3 * NV + i);
                const float work = r.tangent1 * tangent1 + r.tangent2 * tangent2 + r.tangent3 * tangent3;
                const float turned = of.tangent_along * work;
                part[i] -= of.push * normal + of.tangent_force * work;
                SHARED(staged, slot + i) = of.normal_own * normal + of.normal_along * work;
                SHARED(staged, slot + NV + i) = of.tangent_own * tangent1 + r.tangent1 * turned;
                SHARED(staged, slot + 2 * NV + i) = of.tangent_own * tangent2 + r.tangent2 * turned;
                SHARED(staged, slot + 3 * NV + i) = of.tangent_own * tangent3 + r.tangent3 * turned;
            }
        } else {
#pragma unroll
            for (int i = 0; i < 4 * NV; ++i) SHARED(staged, slot + i) = 0.0f;
        }
        __syncthreads();
        BY_WARP(add_products, sum, staged, 4 * min(WARPS, most - first), lane)
        __syncthreads();
    }
    BY_WARP(add_limits, sum, part, limit, limit_jac + env, limit_aref + env, limit_d + env, qacc, lane)

    // --- Newton's direction ---
#pragma unroll
    for (int i = 0; i < NV; ++i) SHARED(staged, warp * NV + i) = part[i];
    __syncthreads();
    if (warp == 0) {
#pragma unroll
        for (int i = 0; i < NV; ++i) {
            part[i] = AT(smooth_force, i);
#pragma unroll
            for (int w = 0; w < WARPS; ++w) part[i] -= SHARED(staged, w * NV + i);
        }
    }
    __syncthreads();
    BY_WARP(eliminate, sum, part, staged, lane)
    if (warp == 0) {
        float x[NV];
#pragma unroll
        for (int k = 0; k < NV; ++k) x[k] = SHARED(staged, ENTRIES + k);
#pragma unroll
        for (int k = NV - 1; k >= 0; --k) {
            x[k] *= SHARED(staged, ENTRIES + NV + k);
            SHARED(direction, k) = x[k];
#pragma unroll
            for (int i = 0; i < k; ++i) x[i] -= SHARED(staged, entry(k, i)) * x[k];
        }
    }
    __syncthreads();

    // --- where it ends; whether every row stays in its quadratic zone ---
    float changed = 0.0f;
    for (int k = warp, own = 0; k < CONTACTS; k += WARPS, ++own) {
        float force = 0.0f;
        if (k < contacts) {
            float slope[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
            for (int i = 0; i < 4 * NV; ++i) slope[i / NV] += JAC(k, 0, i) * SHARED(direction, i % NV);
            const float d = AT(contact_d, k), mu = AT(contact_mu, k);
            const Row4 end = moved(residual[own], {slope[0], slope[1], slope[2], slope[3]}, 1.0f);
            if (!stays(residual[own], end, d, mu)) changed += 1.0f;
            force = normal_force(locate(end, mu), d, mu);
        }
        if (exists) AT(force_out, k) = force;
    }
    for (int i = warp; i < NV; i += WARPS) {
        const float before = SHARED(limit, i), after = before + AT(limit_jac, i) * SHARED(direction, i);
        if ((before < 0.0f) != (after < 0.0f) && AT(limit_d, i) != 0.0f) changed += 1.0f;
        if (exists) AT(qacc_out, i) = SHARED(qacc, i) + SHARED(direction, i);
    }
    SHARED(scratch, warp) = changed;
    __syncthreads();
    if (warp == 0 && exists) {
        for (int w = 1; w < WARPS; ++w) changed += SHARED(scratch, w);
        AT(converged_out, 0) = changed == 0.0f;
    }
}
