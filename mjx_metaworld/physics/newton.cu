// The Newton solver of solver.py and line_search.py as one kernel of a CUDA device.
//
// XLA makes some ninety kernels of an iteration, whose loops wait for the slowest environment of a batch and whose
// arrays go through memory. Here a block of WARPS warps solves 32 environments: it iterates until these have
// converged, visits the contacts they have, and keeps the Hessian in registers.
//
// Lane i of every warp belongs to environment i of the block. Its contacts are dealt out to the warps in turn, and so
// are the rows of its Hessian; what has one value to an environment (steps, counts, flags) is computed by all warps
// alike. Formulas, tests of convergence and counts are those of the files above.
//
// Given at compile time: BLOCKS (at once on a multiprocessor), LANES (environments), CONTACTS (rows to an environment), ITERATIONS, SEARCHES (evaluations of
// a line search), TOLERANCE, FLAT, ROUNDING, TINY.

#define NV 18
#define ENTRIES 171  // of the Hessian's lower triangle, row after row
#define WARPS 4
#define MINE ((CONTACTS + WARPS - 1) / WARPS)  // contacts of a warp, at most
#define INFINITE __int_as_float(0x7f800000)
#define SHARED(array, index) array[(index) * 32 + lane]

struct Row4 {
    float normal, tangent1, tangent2, tangent3;
};

struct Cone {
    float normal, tangent;
    bool free, sticking;
};

__device__ __forceinline__ Cone locate(const Row4& r, float mu) {
    float tangent = sqrtf(r.tangent1 * r.tangent1 + r.tangent2 * r.tangent2 + r.tangent3 * r.tangent3);
    bool free = r.normal >= mu * tangent;
    return {r.normal, tangent, free, mu * r.normal + tangent <= 0.0f && !free};
}

__device__ __forceinline__ float by_zone(const Cone& c, float sticking, float sliding) {
    return c.sticking ? sticking : c.free ? 0.0f : sliding;
}

__device__ __forceinline__ float contact_cost(const Cone& c, float d, float mu) {
    float gap = c.normal - mu * c.tangent;
    return 0.5f * by_zone(c, d * (c.normal * c.normal + c.tangent * c.tangent), d / (1.0f + mu * mu) * gap * gap);
}

__device__ __forceinline__ float normal_force(const Cone& c, float d, float mu) {
    return by_zone(c, -d * c.normal, -d / (1.0f + mu * mu) * (c.normal - mu * c.tangent));
}

__device__ __forceinline__ bool stays(const Row4& from, const Row4& to, float d, float mu) {
    Cone before = locate(from, mu), after = locate(to, mu);
    return (before.free && after.free) || (before.sticking && after.sticking) || d == 0.0f;
}

__device__ __forceinline__ Row4 moved(const Row4& r, const Row4& slope, float step) {
    return {r.normal + step * slope.normal, r.tangent1 + step * slope.tangent1, r.tangent2 + step * slope.tangent2,
            r.tangent3 + step * slope.tangent3};
}

__device__ __forceinline__ constexpr int entry(int i, int j) { return i * (i + 1) / 2 + j; }

// The sum over the warps of an environment's values; `scratch` holds one to a thread.
__device__ __forceinline__ float over_warps(float* scratch, int warp, int lane, float value) {
    __syncthreads();
    SHARED(scratch, warp) = value;
    __syncthreads();
    float sum = scratch[lane];
#pragma unroll
    for (int i = 1; i < WARPS; ++i) sum += SHARED(scratch, i);
    return sum;
}

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
newton(const float* __restrict__ smooth_hessian,  // (18, 18, LANES)
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
       int* __restrict__ count_out) {             // (LANES) iterations
    __shared__ float staged[WARPS * 4 * NV * 32];  // first rows W, then the Hessian and the gradient's parts
    __shared__ float qacc[NV * 32], direction[NV * 32], smooth[NV * 32], limit[NV * 32], limit_slope[NV * 32];
    __shared__ float along[2 * 32];  // the derivative at the start of a search, and the smooth cost's
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

    Row4 residual[MINE], slope[MINE];
    for (int k = warp, own = 0; k < contacts; k += WARPS, ++own) {
        float r[4];
#pragma unroll
        for (int row = 0; row < 4; ++row) {
            r[row] = -AT(contact_aref, k * 4 + row);
#pragma unroll
            for (int i = 0; i < NV; ++i) r[row] += JAC(k, row, i) * SHARED(qacc, i);
        }
        residual[own] = {r[0], r[1], r[2], r[3]};
    }

    bool converged = !exists;
    int count = 0;
    for (int iteration = 0; iteration < ITERATIONS && __syncthreads_or(!converged); ++iteration) {
        // --- the smooth cost ---
        float sum[MOST_ENTRIES], part[NV];
#pragma unroll
        for (int i = 0; i < NV; ++i) part[i] = 0.0f;
        BY_WARP(start, sum, part, smooth_hessian + env, qacc, lane)
#pragma unroll
        for (int i = 0; i < NV; ++i) SHARED(staged, warp * NV + i) = part[i];
        __syncthreads();
        for (int i = warp; i < NV; i += WARPS) {
            float total = -AT(smooth_force, i);
#pragma unroll
            for (int w = 0; w < WARPS; ++w) total += SHARED(staged, w * NV + i);
            SHARED(smooth, i) = total;
        }
        __syncthreads();

        // --- the contacts: a few at a time, one in each warp, whose rows W then all warps work on ---
#pragma unroll
        for (int i = 0; i < NV; ++i) part[i] = 0.0f;
        for (int first = 0; first < most; first += WARPS) {
            const int k = first + warp;
            if (k < contacts) {
                const float d = AT(contact_d, k), mu = AT(contact_mu, k);
                const Row4 r = residual[first / WARPS];
                const Cone cone = locate(r, mu);
                const float length = fmaxf(cone.tangent, TINY), c = d / (1.0f + mu * mu);
                const float root_d = sqrtf(d), root_c = sqrtf(c);
                const float root_q = sqrtf(fmaxf(c * mu * (mu * cone.tangent - cone.normal) / length, 0.0f));
                const float pull = c * (cone.normal - mu * cone.tangent);
                const float normal_own = by_zone(cone, root_d, root_c), tangent_own = by_zone(cone, root_d, root_q);
                const float normal_along = by_zone(cone, 0.0f, -root_c * mu / length);
                const float tangent_along = by_zone(cone, 0.0f, -root_q / (length * length));
                const float push = normal_force(cone, d, mu), tangent_force = by_zone(cone, -d, pull * mu / length);
#pragma unroll
                for (int i = 0; i < NV; ++i) {
                    const float normal = JAC(k, 0, i), tangent1 = JAC(k, 1, i);
                    const float tangent2 = JAC(k, 2, i), tangent3 = JAC(k, 3, i);
                    const float work = r.tangent1 * tangent1 + r.tangent2 * tangent2 + r.tangent3 * tangent3;
                    const float turned = tangent_along * work;
                    part[i] -= push * normal + tangent_force * work;
                    SHARED(staged, (warp * 4 + 0) * NV + i) = normal_own * normal + normal_along * work;
                    SHARED(staged, (warp * 4 + 1) * NV + i) = tangent_own * tangent1 + r.tangent1 * turned;
                    SHARED(staged, (warp * 4 + 2) * NV + i) = tangent_own * tangent2 + r.tangent2 * turned;
                    SHARED(staged, (warp * 4 + 3) * NV + i) = tangent_own * tangent3 + r.tangent3 * turned;
                }
            } else {
#pragma unroll
                for (int i = 0; i < 4 * NV; ++i) SHARED(staged, warp * 4 * NV + i) = 0.0f;
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
                part[i] = -SHARED(smooth, i);
#pragma unroll
                for (int w = 0; w < WARPS; ++w) part[i] -= SHARED(staged, w * NV + i);
                SHARED(direction, i) = -part[i];  // for now the gradient
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
#pragma unroll
                for (int i = 0; i < k; ++i) x[i] -= SHARED(staged, entry(k, i)) * x[k];
            }
            float initial = 0.0f, smooth_slope = 0.0f;
#pragma unroll
            for (int i = 0; i < NV; ++i) {
                initial -= x[i] * SHARED(direction, i);
                smooth_slope += x[i] * SHARED(smooth, i);
                SHARED(direction, i) = x[i];
                SHARED(limit_slope, i) = AT(limit_jac, i) * x[i];
            }
            SHARED(along, 0) = initial;
            SHARED(along, 1) = smooth_slope;
        }
        __syncthreads();

        // --- residuals along it; whether the whole step leaves every row in its zone ---
        float changed = 0.0f, small = 0.0f;
        for (int k = warp, own = 0; k < contacts; k += WARPS, ++own) {
            float s[4];
#pragma unroll
            for (int row = 0; row < 4; ++row) {
                s[row] = 0.0f;
#pragma unroll
                for (int i = 0; i < NV; ++i) s[row] += JAC(k, row, i) * SHARED(direction, i);
            }
            slope[own] = {s[0], s[1], s[2], s[3]};
            const float d = AT(contact_d, k), mu = AT(contact_mu, k);
            if (!stays(residual[own], moved(residual[own], slope[own], 1.0f), d, mu)) changed += 1.0f;
        }
        for (int i = warp; i < NV; i += WARPS) {
            const float before = SHARED(limit, i), after = before + SHARED(limit_slope, i);
            if ((before < 0.0f) != (after < 0.0f) && AT(limit_d, i) != 0.0f) changed += 1.0f;
        }
        for (int i = 0; i < NV; ++i)
            small = fmaxf(small, fabsf(SHARED(direction, i)) / (1.0f + fabsf(SHARED(qacc, i))));
        const bool whole = over_warps(scratch, warp, lane, changed) == 0.0f;

        float step = 1.0f;
        bool in_zones = whole;
        if (__syncthreads_or(!converged && !whole)) {
            // --- the minimum along the direction, by Newton's method kept inside a bracket ---
            float bend = 0.0f;
            for (int i = 0; i < NV; ++i)
                for (int j = warp; j <= i; j += WARPS)
                    bend += (j < i ? 2.0f : 1.0f) * AT(smooth_hessian, i * NV + j) * SHARED(direction, i) * SHARED(direction, j);
            const float curvature = over_warps(scratch, warp, lane, bend);
            const float initial = SHARED(along, 0), smooth_slope = SHARED(along, 1);
            // A step that is small enough as a whole needs no search, whose slopes would only be rounding errors.
            const bool full = converged || whole || small <= TOLERANCE;
            float lower = 0.0f, lower_slope = initial, upper = INFINITE, upper_slope = INFINITE;
            for (int search = 0; search < SEARCHES; ++search) {
                const bool flat = full || fminf(lower_slope, upper_slope) <= FLAT * initial;
                if (!__syncthreads_or(!flat)) break;
                float first = 0.0f, second = 0.0f;
                for (int k = warp, own = 0; k < contacts; k += WARPS, ++own) {
                    const float d = AT(contact_d, k), mu = AT(contact_mu, k);
                    const Row4 s = slope[own], r = moved(residual[own], s, step);
                    const Cone cone = locate(r, mu);
                    const float work = r.tangent1 * s.tangent1 + r.tangent2 * s.tangent2 + r.tangent3 * s.tangent3;
                    const float squared = s.tangent1 * s.tangent1 + s.tangent2 * s.tangent2 + s.tangent3 * s.tangent3;
                    const float per_length = 1.0f / fmaxf(cone.tangent, TINY), turned = work * per_length;
                    const float turning = fmaxf(squared - turned * turned, 0.0f) * per_length;
                    const float gap = cone.normal - mu * cone.tangent, gap_slope = s.normal - mu * turned;
                    const float sliding_d = d / (1.0f + mu * mu);
                    first += by_zone(cone, d * (cone.normal * s.normal + work), sliding_d * gap * gap_slope);
                    second += by_zone(cone, d * (s.normal * s.normal + squared),
                                      sliding_d * (gap_slope * gap_slope - gap * mu * turning));
                }
                for (int i = warp; i < NV; i += WARPS) {
                    const float at = SHARED(limit, i) + step * SHARED(limit_slope, i);
                    const float weighted = at < 0.0f ? AT(limit_d, i) * SHARED(limit_slope, i) : 0.0f;
                    first += weighted * at;
                    second += weighted * SHARED(limit_slope, i);
                }
                first = over_warps(scratch, warp, lane, first) + smooth_slope + step * curvature;
                second = over_warps(scratch, warp, lane, second) + curvature;
                if (flat) continue;
                if (first < 0.0f) {
                    lower = step;
                    lower_slope = -first;
                } else {
                    upper = step;
                    upper_slope = first;
                }
                const float newton = step - first / second;
                const float bisection = isinf(upper) ? 2.0f * step : 0.5f * (lower + upper);
                step = newton > lower && newton < upper ? newton : bisection;
            }

            // --- a step must not raise the cost ---
            step = full ? 1.0f : upper_slope < lower_slope ? upper : lower;
            float scale = 0.0f, change = 0.0f;
            for (int k = warp, own = 0; k < contacts; k += WARPS, ++own) {
                const float d = AT(contact_d, k), mu = AT(contact_mu, k);
                const float before = contact_cost(locate(residual[own], mu), d, mu);
                scale += before;
                change += contact_cost(locate(moved(residual[own], slope[own], step), mu), d, mu) - before;
            }
            for (int i = warp; i < NV; i += WARPS) {
                const float now = fminf(SHARED(limit, i), 0.0f);
                const float then = fminf(SHARED(limit, i) + step * SHARED(limit_slope, i), 0.0f);
                const float before = 0.5f * AT(limit_d, i) * now * now;
                scale += before;
                change += 0.5f * AT(limit_d, i) * then * then - before;
            }
            scale = over_warps(scratch, warp, lane, scale) + fabsf(step * smooth_slope);
            change = over_warps(scratch, warp, lane, change) + step * smooth_slope + 0.5f * step * step * curvature;
            if (whole)
                step = 1.0f;
            else if (!(change <= ROUNDING * scale))
                step = lower;

            changed = 0.0f;
            for (int k = warp, own = 0; k < contacts; k += WARPS, ++own) {
                const float d = AT(contact_d, k), mu = AT(contact_mu, k);
                if (!stays(residual[own], moved(residual[own], slope[own], step), d, mu)) changed += 1.0f;
            }
            for (int i = warp; i < NV; i += WARPS) {
                const float before = SHARED(limit, i), after = before + step * SHARED(limit_slope, i);
                if ((before < 0.0f) != (after < 0.0f) && AT(limit_d, i) != 0.0f) changed += 1.0f;
            }
            in_zones = over_warps(scratch, warp, lane, changed) == 0.0f || whole;
        }

        // --- the step; those that have converged stay where they are ---
        if (converged) step = 0.0f;
        for (int k = warp, own = 0; k < contacts; k += WARPS, ++own)
            residual[own] = moved(residual[own], slope[own], step);
        count += !converged;
        // Where every row was in a quadratic zone and still is in the same one, a full step ends at the optimum.
        converged = converged || (in_zones && step == 1.0f) || step * small <= TOLERANCE;
        __syncthreads();
        for (int i = warp; i < NV; i += WARPS) SHARED(qacc, i) += step * SHARED(direction, i);
        __syncthreads();
    }

    if (!exists) return;
    for (int i = warp; i < NV; i += WARPS) AT(qacc_out, i) = SHARED(qacc, i);
    for (int k = warp, own = 0; k < CONTACTS; k += WARPS, ++own) {
        const float d = AT(contact_d, k), mu = AT(contact_mu, k);
        AT(force_out, k) = k < contacts ? normal_force(locate(residual[own], mu), d, mu) : 0.0f;
    }
    if (warp == 0) AT(count_out, 0) = count;
}
