// The descent of descent.py as one kernel of a CUDA device: a thread makes all steps of a pair.
//
// Given at compile time: LANES (environments), SLOTS (pairs to an environment), STEPS, AGAIN (whether the first step
// evaluates the direction at hand), CANDIDATES (vertices in a cell of the table of hulls), ORIGIN (the cell of what is no
// hull), APART (m), and INDEX_BITS, OFFSET, STAND_OFF and TINY, which are those of the Python files.

struct Vec {
    float x, y, z;
};

__device__ __forceinline__ Vec operator+(Vec a, Vec b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
__device__ __forceinline__ Vec operator-(Vec a, Vec b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
__device__ __forceinline__ Vec operator*(float s, Vec a) { return {s * a.x, s * a.y, s * a.z}; }
__device__ __forceinline__ float dot(Vec a, Vec b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
// Each product rounded by itself, so that the product of a vector with itself is zero: a simplex repeats points.
__device__ __forceinline__ float determinant(float a, float d, float b, float c) {
    return __fsub_rn(__fmul_rn(a, d), __fmul_rn(b, c));
}
__device__ __forceinline__ Vec cross(Vec a, Vec b) {
    return {determinant(a.y, b.z, a.z, b.y), determinant(a.z, b.x, a.x, b.z), determinant(a.x, b.y, a.y, b.x)};
}

struct Mat {
    Vec rows[3];
};

__device__ __forceinline__ Vec rotate(const Mat& m, Vec v) {
    return {dot(m.rows[0], v), dot(m.rows[1], v), dot(m.rows[2], v)};
}

__device__ __forceinline__ Vec rotate_back(const Mat& m, Vec v) {
    return v.x * m.rows[0] + (v.y * m.rows[1] + v.z * m.rows[2]);
}

struct Body {
    Vec half;
    float disc;
    int row, resolution;  // of the hull in the table
};

struct Corner {
    Vec point, first;  // in the Minkowski difference, and the point of the first body that it is from
};

struct Descent {
    Vec normal;
    float depth;
    Corner corners[3];
    float weights[2];
    Vec nearest;
};

__device__ __forceinline__ int cell_of(float along, float scale, int resolution) {
    return min(max((int)(along * scale + 0.5f * resolution), 0), resolution - 1);
}

__device__ Vec furthest_vertex(const Body& body, Vec d, const float* __restrict__ table) {
    if (body.row == ORIGIN) return {0.0f, 0.0f, 0.0f};
    const float ax = fabsf(d.x), ay = fabsf(d.y), az = fabsf(d.z);
    const bool is_x = ax >= ay && ax >= az, is_y = !is_x && ay >= az;
    const float major = is_x ? d.x : is_y ? d.y : d.z;
    const float u = is_x ? d.y : is_y ? d.z : d.x, v = is_x ? d.z : is_y ? d.x : d.y;
    const int face = (is_x ? 0 : is_y ? 2 : 4) + (major < 0.0f), resolution = body.resolution;
    const float scale = 0.5f * resolution / fmaxf(fabsf(major), 1e-20f);
    const int row = body.row + (face * resolution + cell_of(u, scale, resolution)) * resolution +
                    cell_of(v, scale, resolution);
    const float* cell = table + (size_t)row * 3 * CANDIDATES;
    int best = (int)0x80000000;
    for (int i = 0; i < CANDIDATES; ++i) {
        const float reach = cell[i] * d.x + cell[CANDIDATES + i] * d.y + cell[2 * CANDIDATES + i] * d.z;
        best = max(best, (__float_as_int(reach + OFFSET) >> INDEX_BITS << INDEX_BITS) | i);
    }
    const int chosen = best & ((1 << INDEX_BITS) - 1);
    return {cell[chosen], cell[CANDIDATES + chosen], cell[2 * CANDIDATES + chosen]};
}

__device__ __forceinline__ Vec body_support(const Body& body, Vec d, const float* __restrict__ table) {
    const float scale = body.disc / fmaxf(sqrtf(d.x * d.x + d.y * d.y), TINY);
    const Vec smooth = {d.x * scale + (d.x < 0.0f ? -body.half.x : body.half.x),
                        d.y * scale + (d.y < 0.0f ? -body.half.y : body.half.y),
                        d.z < 0.0f ? -body.half.z : body.half.z};
    return smooth + furthest_vertex(body, d, table);
}

__device__ __forceinline__ Vec query(const Descent& s) {
    return (s.depth + fmaxf(STAND_OFF, -s.depth)) * s.normal;
}

__device__ __forceinline__ float share(Vec edge, Vec offset) {
    return fminf(fmaxf(dot(edge, offset) / fmaxf(dot(edge, edge), 1e-18f), 0.0f), 1.0f);
}

// GJK's next simplex: the one of the old points and the new that is nearest to the query.
__device__ __forceinline__ void grow(Descent& s, const Corner& corner) {
    const Vec offset = query(s) - corner.point, kept = query(s) - s.nearest;
    float best = dot(kept, kept), first = s.weights[0], second = s.weights[1];
    int choice = -1;
    Vec edges[3];
#pragma unroll
    for (int i = 0; i < 3; ++i) edges[i] = s.corners[i].point - corner.point;
#pragma unroll
    for (int i = 0; i < 3; ++i) {
        const float along = share(edges[i], offset);
        const Vec gap = offset - along * edges[i];
        if (dot(gap, gap) < best) {
            best = dot(gap, gap);
            choice = i;
            first = along;
            second = 0.0f;
        }
    }
#pragma unroll
    for (int i = 0; i < 3; ++i) {
        const Vec ab = edges[i], ac = edges[(i + 1) % 3], normal = cross(ab, ac);
        const float square = dot(normal, normal), inverse = 1.0f / (square > 1e-22f ? square : 1.0f);
        const float v = dot(cross(offset, ac), normal) * inverse, w = dot(cross(ab, offset), normal) * inverse;
        const bool inside = square > 1e-22f && v >= 0.0f && w >= 0.0f && v + w <= 1.0f;
        const Vec gap = offset - v * ab - w * ac;
        if (inside && dot(gap, gap) < best) {
            best = dot(gap, gap);
            choice = 3 + i;
            first = v;
            second = w;
        }
    }
    s.weights[0] = first;
    s.weights[1] = second;
    if (choice < 0) return;
    const int side = choice % 3;
    const Corner here = side == 0 ? s.corners[0] : side == 1 ? s.corners[1] : s.corners[2];
    const Corner there = side == 0 ? s.corners[1] : side == 1 ? s.corners[2] : s.corners[0];
    s.corners[0] = corner;
    s.corners[1] = here;
    s.corners[2] = choice >= 3 ? there : corner;
    s.nearest = corner.point + first * (s.corners[1].point - corner.point) +
                second * (s.corners[2].point - corner.point);
}

extern "C" __global__ void __launch_bounds__(128)
descent(const float* __restrict__ half,       // (3, 2 SLOTS, LANES) of the first bodies, then of the second ones
        const float* __restrict__ disc,       // (2 SLOTS, LANES)
        const int* __restrict__ row,          // (2 SLOTS, LANES)
        const int* __restrict__ resolution,   // (2 SLOTS, LANES)
        const float* __restrict__ pos,        // (3, SLOTS, LANES)
        const float* __restrict__ mat,        // (3, 3, SLOTS, LANES)
        const float* __restrict__ normal,     // (3, SLOTS, LANES), and so on: where to start
        const float* __restrict__ depth,      // (SLOTS, LANES)
        const float* __restrict__ corners,    // (3, 6, SLOTS, LANES)
        const float* __restrict__ weights,    // (2, SLOTS, LANES)
        const float* __restrict__ nearest,    // (3, SLOTS, LANES)
        const float* __restrict__ table,      // (cells, 3, CANDIDATES)
        float* __restrict__ normal_out, float* __restrict__ depth_out, float* __restrict__ corners_out,
        float* __restrict__ weights_out, float* __restrict__ nearest_out) {
    const int lane = blockIdx.x * 128 + threadIdx.x, slot = blockIdx.y;
    if (lane >= LANES) return;
#define AT(array, index) array[((size_t)(index) * SLOTS + slot) * LANES + lane]
#define OF_BODY(array, index, which) array[((size_t)(index) * 2 * SLOTS + (which) * SLOTS + slot) * LANES + lane]
#define VEC(array, index) {AT(array, index), AT(array, (index) + 1), AT(array, (index) + 2)}
    Body bodies[2];
#pragma unroll
    for (int i = 0; i < 2; ++i)
        bodies[i] = {{OF_BODY(half, 0, i), OF_BODY(half, 1, i), OF_BODY(half, 2, i)},
                     OF_BODY(disc, 0, i), OF_BODY(row, 0, i), OF_BODY(resolution, 0, i)};
    const Vec at = VEC(pos, 0);
    const Mat turn = {{VEC(mat, 0), VEC(mat, 3), VEC(mat, 6)}};
    Descent s;
    s.normal = VEC(normal, 0);
    s.depth = AT(depth, 0);
#pragma unroll
    for (int i = 0; i < 3; ++i) s.corners[i] = {VEC(corners, 6 * i), VEC(corners, 6 * i + 3)};
    s.weights[0] = AT(weights, 0);
    s.weights[1] = AT(weights, 1);
    s.nearest = VEC(nearest, 0);

    // What lies further apart than this along any direction does not touch, nor will before pairs are selected anew.
    for (int step = 0; step < STEPS && s.depth > -APART; ++step) {
        const Vec offset = query(s) - s.nearest;
        const float length = sqrtf(dot(offset, offset));
        Vec direction = s.normal;
        if (length > 1e-7f && !(AGAIN && step == 0)) direction = (1.0f / length) * offset;
        const Vec first = at + rotate(turn, body_support(bodies[0], rotate_back(turn, direction), table));
        const Vec second = body_support(bodies[1], -1.0f * direction, table);
        const Corner corner = {first - second, first};
        const float overlap = dot(corner.point, direction);
        if (overlap < s.depth) {
            s.normal = direction;
            s.depth = overlap;
        }
        grow(s, corner);
    }

#define PUT(array, index, v) AT(array, index) = v.x, AT(array, (index) + 1) = v.y, AT(array, (index) + 2) = v.z
    PUT(normal_out, 0, s.normal);
    AT(depth_out, 0) = s.depth;
#pragma unroll
    for (int i = 0; i < 3; ++i) {
        PUT(corners_out, 6 * i, s.corners[i].point);
        PUT(corners_out, 6 * i + 3, s.corners[i].first);
    }
    AT(weights_out, 0) = s.weights[0];
    AT(weights_out, 1) = s.weights[1];
    PUT(nearest_out, 0, s.nearest);
}
