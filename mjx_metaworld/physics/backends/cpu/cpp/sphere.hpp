// Spheres against spheres, capsules, cylinders and boxes, as collision/sphere.py has them.
#pragma once

#include "shapes.hpp"

namespace {

struct Approach {
    Vector dist;  // signed
    Vec3 normal;  // towards the other shape
};

inline Approach choose(Mask which, const Approach& a, const Approach& b) {
    return {choose(which, a.dist, b.dist), choose(which, a.normal, b.normal)};
}

// Of a point to a capsule along z.
inline Approach to_segment(const Vec3& point, Vector half, Vector radius) {
    const Vec3 offset = {-point[0], -point[1], clip(point[2], -half, half) - point[2]};
    const Vector length = norm(offset);
    const Mask apart = length > 0.0f;
    const Vec3 fallback = {all(1.0f), Vector{}, Vector{}};
    return {length - radius, choose(apart, offset * (1.0f / choose(apart, length, all(1.0f))), fallback)};
}

// Of a point to a cylinder along z.
inline Approach to_cylinder(const Vec3& point, const Vec3& size) {
    const Vector radius = size[0], half = size[1];
    const Vector r = root(point[0] * point[0] + point[1] * point[1]);
    const Vector inverse_r = 1.0f / choose(r > 0.0f, r, all(1.0f));
    const Vec3 inward = {-point[0] * inverse_r, -point[1] * inverse_r, Vector{}};
    const Vec3 down = {Vector{}, Vector{}, choose(point[2] > 0.0f, all(-1.0f), all(1.0f))};
    const Vector to_side = r - radius, to_cap = magnitude(point[2]) - half;
    // Inside, the nearer surface; outside, the only one that the point lies over, or the rim.
    const Mask side = (to_cap < 0.0f) & ((to_side >= 0.0f) | (to_cap <= to_side));
    const Mask cap = (to_side < 0.0f) & ~side;
    // In this order NaN stays NaN.
    const Vector over_side = maximum(Vector{}, to_side), over_cap = maximum(Vector{}, to_cap);
    const Vector rim = root(over_side * over_side + over_cap * over_cap);
    const Vec3 corner = (inward * over_side + down * over_cap) * (1.0f / choose(rim > 0.0f, rim, all(1.0f)));
    return {choose(side, to_side, choose(cap, to_cap, rim)), choose(side, inward, choose(cap, down, corner))};
}

// Of a point to a box; inside, towards the nearest face's inside.
inline Approach to_box(const Vec3& point, const Vec3& size) {
    const Vec3 offset = clip(point, -size, size) - point;
    const Vector length = norm(offset);
    const Mask inside = length <= 0.0f;
    const Vec3 outward = offset * (1.0f / choose(inside, all(1.0f), length));
    if (!any(inside)) return {length, outward};
    const Vec3 depth = size - magnitude(point);
    const Mask first = (depth[0] <= depth[1]) & (depth[0] <= depth[2]);
    const Mask second = ~first & (depth[1] <= depth[2]);
    const Mask nearest[3] = {first, second, ~first & ~second};
    Vec3 inward;
    for (int i = 0; i < 3; ++i)
        inward[i] = choose(nearest[i], choose(point[i] >= 0.0f, all(-1.0f), all(1.0f)), Vector{});
    const Vector closest = minimum(minimum(depth[0], depth[1]), depth[2]);
    return {choose(inside, -closest, length), choose(inside, inward, outward)};
}

// Of spheres to boxes, in these boxes' frames.
inline Approach sphere_box(const Vec3& center, Vector radius, const Vec3& size) {
    const Approach found = to_box(center, size);
    return {found.dist - radius, found.normal};
}

inline Points<1> collide_spheres(const Shape& sphere, const Shape& other) {
    const Vector radius = sphere.size[0];
    const Vec3 local = rotate_back(other.mat, sphere.pos - other.pos);
    const Mask is_cylinder = other.type == CYLINDER, is_box = other.type == BOX;
    Approach found = to_segment(local, choose(other.type == CAPSULE, other.size[1], Vector{}), other.size[0]);
    if (any(is_cylinder)) found = choose(is_cylinder, to_cylinder(local, other.size), found);
    if (any(is_box)) found = choose(is_box, to_box(local, other.size), found);
    const Vector dist = found.dist - radius;
    const Vec3 normal = rotate(other.mat, found.normal);
    return {{dist}, {sphere.pos + normal * (radius + 0.5f * dist)}, {normal}};
}

}  // namespace
