// Friction cones, as in cone.py: what the solver's kernels share. Given at compile time: TINY.

#define NV 18

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

// What makes the rows W and the forces of a contact from its Jacobian and residuals.
struct Factors {
    float normal_own, normal_along, push;
    float tangent_own, tangent_along, tangent_force;  // the last two to be multiplied by the row's residual
};

__device__ __forceinline__ Factors factors(const Cone& cone, float d, float mu) {
    const float length = fmaxf(cone.tangent, TINY), c = d / (1.0f + mu * mu);
    const float root_d = sqrtf(d), root_c = sqrtf(c);
    const float root_q = sqrtf(fmaxf(c * mu * (mu * cone.tangent - cone.normal) / length, 0.0f));
    const float pull = c * (cone.normal - mu * cone.tangent);
    return {by_zone(cone, root_d, root_c), by_zone(cone, 0.0f, -root_c * mu / length), normal_force(cone, d, mu),
            by_zone(cone, root_d, root_q), by_zone(cone, 0.0f, -root_q / (length * length)),
            by_zone(cone, -d, pull * mu / length)};
}
