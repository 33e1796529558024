// The Newton solver of solver.py and line_search.py for the environments that whole_step.cu has not brought to the end.
//
// A block solves one environment. Its threads are rows of contacts, entries of the Hessian and of the gradient, or
// contacts and limits, as the work goes; what has one value (steps, counts, flags) is computed by all of them alike.
//
// Given at compile time: LANES (environments), CONTACTS (rows to an environment), THREADS (of a block: at least four to
// a contact, and an entry of Hessian and gradient each), ITERATIONS, SEARCHES (evaluations of a line search), TOLERANCE,
// FLAT, ROUNDING.

#include "cone.cuh"

#define ENTRIES 171  // of the Hessian's lower triangle
#define WARPS (THREADS / 32)
#define WIDTH (NV + 1)  // of a row in shared memory, so that rows begin in different banks
#define LIMITS ((CONTACTS + 31) / 32 * 32)  // the first of the threads that are limits, which no contacts are
#define ALL 0xffffffffu
#define INFINITE __int_as_float(0x7f800000)

struct Pair {
    float first, second;
};

// The sums over the threads of two values.
__device__ __forceinline__ Pair over_threads(Pair* scratch, Pair value) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) {
        value.first += __shfl_xor_sync(ALL, value.first, distance);
        value.second += __shfl_xor_sync(ALL, value.second, distance);
    }
    __syncthreads();
    if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
    __syncthreads();
    Pair sum = scratch[0];
#pragma unroll
    for (int i = 1; i < WARPS; ++i) {
        sum.first += scratch[i].first;
        sum.second += scratch[i].second;
    }
    return sum;
}

extern "C" __global__ void __launch_bounds__(THREADS)
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
       const int* __restrict__ solved,            // (LANES) those that are left out
       float* __restrict__ qacc_out,              // (18, LANES)
       float* __restrict__ force_out,             // (CONTACTS, LANES) normal forces
       int* __restrict__ count_out) {             // (LANES) iterations
    const int env = blockIdx.x, t = threadIdx.x;
    if (solved[env]) return;

#define AT(array, index) array[(size_t)(index) * LANES + env]
    __shared__ float jac[CONTACTS * 4 * WIDTH], rows[CONTACTS * 4 * WIDTH];  // rows: W
    __shared__ float hessian[NV * WIDTH], smooth_part[NV * WIDTH];
    __shared__ float qacc[NV], direction[NV], gradient[NV], smooth[NV], limit[NV], limit_slope[NV], limit_weight[NV];
    __shared__ float bend[NV];
    __shared__ float residual[CONTACTS * 4], slope[CONTACTS * 4], force[CONTACTS * 4];
    __shared__ Factors of[CONTACTS];
    __shared__ Pair scratch[WARPS];

    const int contacts = num_contacts[env], num_rows = 4 * contacts;
    const bool is_row = t < num_rows, is_contact = t < contacts, is_limit = t >= LIMITS && t < LIMITS + NV;
    const int dof = t - LIMITS;  // of a thread that is a limit
    for (int i = t; i < num_rows * NV; i += THREADS) jac[i / NV * WIDTH + i % NV] = AT(contact_jac, i);
    for (int i = t; i < NV * NV; i += THREADS) smooth_part[i / NV * WIDTH + i % NV] = AT(smooth_hessian, i);
    if (t < NV) qacc[t] = AT(warmstart, t);
    const float d = is_contact ? AT(contact_d, t) : 0.0f, mu = is_contact ? AT(contact_mu, t) : 1.0f;
    const float sign = is_limit ? AT(limit_jac, dof) : 0.0f, limit_d_here = is_limit ? AT(limit_d, dof) : 0.0f;
    const float limit_aref_here = is_limit ? AT(limit_aref, dof) : 0.0f;
    // The entry of the Hessian, or of the gradient, that a thread sums.
    int row = 0, column = t;
    while (column > row) column -= ++row;
    if (t >= ENTRIES) column = t - ENTRIES;
    const float own_force = t >= ENTRIES && column < NV ? AT(smooth_force, column) : 0.0f;
    __syncthreads();
    if (is_row) {
        float at = -AT(contact_aref, t);
#pragma unroll
        for (int i = 0; i < NV; ++i) at += jac[t * WIDTH + i] * qacc[i];
        residual[t] = at;
    }
    __syncthreads();

#define ROW4(array, contact) \
    Row4 { array[4 * (contact)], array[4 * (contact) + 1], array[4 * (contact) + 2], array[4 * (contact) + 3] }

    bool converged = false;
    int count = 0;
    for (; count < ITERATIONS && !converged; ++count) {
        // --- gradient and Hessian ---
        if (is_contact) of[t] = factors(locate(ROW4(residual, t), mu), d, mu);
        if (is_limit) {
            limit[dof] = sign * qacc[dof] - limit_aref_here;
            limit_weight[dof] = limit[dof] < 0.0f ? limit_d_here : 0.0f;
        }
        __syncthreads();
        if (is_row) {
            const int contact = t / 4, first = t - t % 4;
            const Factors f = of[contact];
            const Row4 r = ROW4(residual, contact);
            const bool is_normal = t == first;
            const float own = is_normal ? f.normal_own : f.tangent_own;
            const float along = is_normal ? f.normal_along : f.tangent_along * residual[t];
#pragma unroll
            for (int i = 0; i < NV; ++i) {
                const float work = r.tangent1 * jac[(first + 1) * WIDTH + i] + r.tangent2 * jac[(first + 2) * WIDTH + i] +
                                   r.tangent3 * jac[(first + 3) * WIDTH + i];
                rows[t * WIDTH + i] = own * jac[t * WIDTH + i] + along * work;
            }
            force[t] = is_normal ? f.push : f.tangent_force * residual[t];
        }
        __syncthreads();
        if (t < ENTRIES) {
            float sum = smooth_part[row * WIDTH + column];
#pragma unroll 4
            for (int r = 0; r < num_rows; ++r) sum += rows[r * WIDTH + row] * rows[r * WIDTH + column];
            if (row == column) sum += limit_weight[row];
            hessian[row * WIDTH + column] = hessian[column * WIDTH + row] = sum;
        } else if (t < ENTRIES + NV) {
            float sum = -own_force;
#pragma unroll
            for (int i = 0; i < NV; ++i) sum += smooth_part[column * WIDTH + i] * qacc[i];
            smooth[column] = sum;
            // A limit's row has one entry, whose square is 1 where its weight is not 0.
#pragma unroll 4
            for (int r = 0; r < num_rows; ++r) sum -= force[r] * jac[r * WIDTH + column];
            gradient[column] = sum + AT(limit_jac, column) * limit_weight[column] * limit[column];
        }
        __syncthreads();

        // --- Newton's direction: a thread holds a row, of which others ask ---
        if (t < 32) {
            const int own = min(t, NV - 1);
            float a[NV], right = -gradient[own], inverse[NV];
#pragma unroll
            for (int i = 0; i < NV; ++i) a[i] = hessian[own * WIDTH + i];
#pragma unroll
            for (int k = 0; k < NV; ++k) {
                inverse[k] = 1.0f / __shfl_sync(ALL, a[k], k);
                const float scaled = t > k ? a[k] * inverse[k] : 0.0f;
#pragma unroll
                for (int i = k + 1; i < NV; ++i) a[i] -= scaled * __shfl_sync(ALL, a[i], k);
                right -= scaled * __shfl_sync(ALL, right, k);
            }
            float mine = 0.0f;
#pragma unroll
            for (int k = NV - 1; k >= 0; --k) {
                const float x = __shfl_sync(ALL, right, k) * inverse[k];
                if (t == k) mine = x;
                right -= a[k] * x;
            }
            if (t < NV) {
                direction[t] = mine;
                limit_slope[t] = AT(limit_jac, t) * mine;
            }
        }
        __syncthreads();

        // --- residuals along it; whether the whole step leaves every row in its zone ---
        if (is_row) {
            float sum = 0.0f;
#pragma unroll
            for (int i = 0; i < NV; ++i) sum += jac[t * WIDTH + i] * direction[i];
            slope[t] = sum;
        }
        if (is_limit) {
            float sum = 0.0f;
#pragma unroll
            for (int i = 0; i < NV; ++i) sum += smooth_part[dof * WIDTH + i] * direction[i];
            bend[dof] = sum * direction[dof];
        }
        float initial = 0.0f, smooth_slope = 0.0f, small = 0.0f;
#pragma unroll
        for (int i = 0; i < NV; ++i) {
            initial -= direction[i] * gradient[i];
            smooth_slope += direction[i] * smooth[i];
            small = fmaxf(small, fabsf(direction[i]) / (1.0f + fabsf(qacc[i])));
        }
        __syncthreads();

#define CHANGES(step)                                                                                       \
    ((is_contact && !stays(ROW4(residual, t), moved(ROW4(residual, t), ROW4(slope, t), step), d, mu)) ||    \
     (is_limit && limit_d_here != 0.0f && (limit[dof] < 0.0f) != (limit[dof] + (step) * limit_slope[dof] < 0.0f)))

        float step = 1.0f;
        bool in_zones = !__syncthreads_or(CHANGES(1.0f));
        if (!in_zones) {
            // --- the minimum along the direction, by Newton's method kept inside a bracket ---
            float curvature = 0.0f;
#pragma unroll
            for (int i = 0; i < NV; ++i) curvature += bend[i];
            // A step that is small enough as a whole needs no search, whose slopes would only be rounding errors.
            const bool full = small <= TOLERANCE;
            float lower = 0.0f, lower_slope = initial, upper = INFINITE, upper_slope = INFINITE;
            for (int search = 0; search < SEARCHES; ++search) {
                if (full || fminf(lower_slope, upper_slope) <= FLAT * initial) break;
                Pair found = {0.0f, 0.0f};
                if (is_contact) {
                    const Row4 s = ROW4(slope, t), r = moved(ROW4(residual, t), s, step);
                    const Cone cone = locate(r, mu);
                    const float work = r.tangent1 * s.tangent1 + r.tangent2 * s.tangent2 + r.tangent3 * s.tangent3;
                    const float squared = s.tangent1 * s.tangent1 + s.tangent2 * s.tangent2 + s.tangent3 * s.tangent3;
                    const float per_length = 1.0f / fmaxf(cone.tangent, TINY), turned = work * per_length;
                    const float turning = fmaxf(squared - turned * turned, 0.0f) * per_length;
                    const float gap = cone.normal - mu * cone.tangent, gap_slope = s.normal - mu * turned;
                    const float sliding_d = d / (1.0f + mu * mu);
                    found = {by_zone(cone, d * (cone.normal * s.normal + work), sliding_d * gap * gap_slope),
                             by_zone(cone, d * (s.normal * s.normal + squared),
                                     sliding_d * (gap_slope * gap_slope - gap * mu * turning))};
                } else if (is_limit) {
                    const float at = limit[dof] + step * limit_slope[dof];
                    const float weighted = at < 0.0f ? limit_d_here * limit_slope[dof] : 0.0f;
                    found = {weighted * at, weighted * limit_slope[dof]};
                }
                found = over_threads(scratch, found);
                const float first = found.first + smooth_slope + step * curvature, second = found.second + curvature;
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
            Pair costs = {0.0f, 0.0f};  // before, and the change
            if (is_contact) {
                costs.first = contact_cost(locate(ROW4(residual, t), mu), d, mu);
                const Row4 then = moved(ROW4(residual, t), ROW4(slope, t), step);
                costs.second = contact_cost(locate(then, mu), d, mu) - costs.first;
            } else if (is_limit) {
                const float now = fminf(limit[dof], 0.0f), then = fminf(limit[dof] + step * limit_slope[dof], 0.0f);
                costs.first = 0.5f * limit_d_here * now * now;
                costs.second = 0.5f * limit_d_here * then * then - costs.first;
            }
            costs = over_threads(scratch, costs);
            const float change = costs.second + step * smooth_slope + 0.5f * step * step * curvature;
            if (!(change <= ROUNDING * (costs.first + fabsf(step * smooth_slope)))) step = lower;
            in_zones = !__syncthreads_or(CHANGES(step));
        }

        // Where every row was in a quadratic zone and still is in the same one, a full step ends at the optimum.
        converged = (in_zones && step == 1.0f) || step * small <= TOLERANCE;
        __syncthreads();
        if (is_row) residual[t] += step * slope[t];
        if (t < NV) qacc[t] += step * direction[t];
        __syncthreads();
    }

    if (t < NV) AT(qacc_out, t) = qacc[t];
    if (t < CONTACTS) AT(force_out, t) = is_contact ? normal_force(locate(ROW4(residual, t), mu), d, mu) : 0.0f;
    if (t == 0) AT(count_out, 0) = count;
}
