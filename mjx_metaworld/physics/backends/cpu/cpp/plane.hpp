// Planes against everything, as collision/plane.py has them, but for the meshes' vertices.
#pragma once

#include "shapes.hpp"

namespace {

// The plane's normal, reversed, in the shape's frame.
inline Vec3 downwards(const Shape& plane, const Shape& other) {
    return -rotate_back(other.mat, column(plane.mat, 2));
}

namespace lowest_points {

// Points of a shape that may be its lowest, in its frame.
struct Lowest {
    Vec3 point[4];
    Mask exists[4];
};

inline void replace(Mask which, const Lowest& with, Lowest& lowest) {
    for (int i = 0; i < 4; ++i) {
        lowest.point[i] = choose(which, with.point[i], lowest.point[i]);
        lowest.exists[i] = choose(which, with.exists[i], lowest.exists[i]);
    }
}

// Of each two opposite corners the lower one.
inline Lowest of_box(const Vec3& down, const Vec3& size) {
    constexpr float SIGNS[4][2] = {{1.0f, 1.0f}, {1.0f, -1.0f}, {-1.0f, 1.0f}, {-1.0f, -1.0f}};  // of y and z
    Lowest lowest;
    for (int i = 0; i < 4; ++i) {
        const Vec3 corner = {size[0], size[1] * SIGNS[i][0], size[2] * SIGNS[i][1]};
        lowest.point[i] = choose(dot(corner, down) >= 0.0f, corner, -corner);
        lowest.exists[i] = all(-1);
    }
    return lowest;
}

inline Lowest of_sphere(const Vec3& down, const Vec3& size) {
    const Vec3 point = down * size[0];
    return {{point, point, point, point}, {all(-1), Mask{}, Mask{}, Mask{}}};
}

inline Lowest of_capsule(const Vec3& down, const Vec3& size) {
    const Vec3 point = down * size[0];
    const Vec3 at_top = {point[0], point[1], point[2] + size[1]}, at_bottom = {point[0], point[1], point[2] - size[1]};
    return {{at_top, at_bottom, point, point}, {all(-1), all(-1), Mask{}, Mask{}}};
}

// The rim's lowest point, the one opposite along the axis, and two that complete a triangle on the lower cap.
inline Lowest of_cylinder(const Vec3& down, const Vec3& size) {
    constexpr float SIDE = 0.8660254037844386f;
    const Vector across = root(down[0] * down[0] + down[1] * down[1]);
    const Mask tilted = across > 1e-6f;  // else float32 does not resolve the direction, and the x axis serves as well
    const Vector scale = size[0] / choose(tilted, across, all(1.0f));
    const Vector x = choose(tilted, down[0] * scale, size[0]), y = choose(tilted, down[1] * scale, Vector{});
    const Vector low = choose(down[2] >= 0.0f, size[1], -size[1]);
    const Vec3 third = {-0.5f * x - SIDE * y, -0.5f * y + SIDE * x, low};
    const Vec3 fourth = {-0.5f * x + SIDE * y, -0.5f * y - SIDE * x, low};
    return {{{x, y, low}, {x, y, -low}, third, fourth}, {all(-1), all(-1), all(-1), all(-1)}};
}

}  // namespace lowest_points

// `vertex`: of meshes the one that is furthest `downwards`, in the mesh's frame.
inline Points<4, 1> collide_planes(const Shape& plane, const Shape& other, const Vec3& vertex) {
    using namespace lowest_points;
    const Vec3 normal = column(plane.mat, 2), down = downwards(plane, other);
    const Vector height = dot(normal, other.pos - plane.pos);

    Lowest lowest = of_box(down, other.size);
    const Mask is_sphere = other.type == SPHERE, is_capsule = other.type == CAPSULE;
    const Mask is_cylinder = other.type == CYLINDER, is_mesh = other.type > BOX;
    if (any(is_sphere)) replace(is_sphere, of_sphere(down, other.size), lowest);
    if (any(is_capsule)) replace(is_capsule, of_capsule(down, other.size), lowest);
    if (any(is_cylinder)) replace(is_cylinder, of_cylinder(down, other.size), lowest);
    if (any(is_mesh)) {
        const Lowest single = {{vertex, vertex, vertex, vertex}, {all(-1), Mask{}, Mask{}, Mask{}}};
        replace(is_mesh, single, lowest);
    }

    Points<4, 1> points;
    points.normal[0] = normal;
    for (int i = 0; i < 4; ++i) {
        const Vector dist = height - dot(down, lowest.point[i]);
        points.dist[i] = choose(lowest.exists[i], dist, all(NO_CONTACT));
        points.pos[i] = other.pos + rotate(other.mat, lowest.point[i]) - normal * (0.5f * dist);
    }
    return points;
}

}  // namespace
