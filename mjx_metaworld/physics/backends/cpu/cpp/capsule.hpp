// Capsules against boxes (up to two points) and capsules (one), as collision/capsule.py has them.
#pragma once

#include "sphere.hpp"

namespace {

namespace capsule_box {

constexpr float FAR = 1e10f, TINY = 1e-15f;  // the second is mjMINVAL

// The feature of the box nearest to the segment.
struct Nearest {
    Vector at;      // position on the segment, -1 to 1
    Mask on_edge;   // an edge or corner is nearest, else a face
    Mask end_face;  // the face's axis, -1 when the segment's end is inside
    Mask edge_axis;
    Vector edge_at;  // position on the edge, -1 to 1
    Mask edge_end;   // 0 lower end, 1 between, 2 upper end
    Mask corner;     // bits (positive side of x, y, z) of the corner nearest
};

// The step along the segment to the second point.
struct Step {
    Vector length;
    Mask exists;
};

// values[axis], values[axis + 1] and values[axis + 2], counted round.
inline Mask pick(const Mask* values, Mask axis) {
    return choose(axis == 0, values[0], choose(axis == 1, values[1], values[2]));
}
inline Mask pick_next(const Mask* values, Mask axis) {
    return choose(axis == 0, values[1], choose(axis == 1, values[2], values[0]));
}
inline Mask pick_after_next(const Mask* values, Mask axis) {
    return choose(axis == 0, values[2], choose(axis == 1, values[0], values[1]));
}

// The end of the segment nearest to a face, of those that lie over one or inside; returns the squared distance.
inline Vector nearest_end(const Vec3& pos, const Vec3& half_axis, const Vec3& size, Nearest& near) {
    Vector best = all(FAR);
    near.at = Vector{};
    near.end_face = all(-1);
    for (const float end : {-1.0f, 1.0f}) {
        const Vec3 point = pos + half_axis * all(end);
        const Vec3 beyond = clip(point, -size, size) - point;
        const Mask out[3] = {beyond[0] != 0.0f, beyond[1] != 0.0f, beyond[2] != 0.0f};
        const Mask which = choose(out[2], all(2), choose(out[1], all(1), choose(out[0], all(0), all(-1))));
        const Vector square = dot(beyond, beyond);
        const Mask closer = (out[0] + out[1] + out[2] >= -1) & (square < best);
        best = choose(closer, square, best);
        near.at = choose(closer, all(end), near.at);
        near.end_face = choose(closer, which, near.end_face);
    }
    return best;
}

// The edge nearest to the segment, and the place on the segment; returns the squared distance.
inline Vector nearest_edge(const Vec3& pos, const Vec3& half_axis, Vector half, const Vec3& size, Nearest& near,
                           Vector& at) {
    Vector best = all(FAR);
    Mask start{};
    near.edge_axis = near.edge_end = Mask{};
    near.edge_at = at = Vector{};
    const Vector mc = half * half;
    const Vec3 upper = size - pos, lower = -size - pos;
    for (int axis = 0; axis < 3; ++axis) {
        const int next = (axis + 1) % 3, after_next = (axis + 2) % 3;
        const Vector ma = size[axis] * size[axis], mb = -size[axis] * half_axis[axis];
        const Vector det = ma * mc - mb * mb;
        const Mask usable = magnitude(det) >= TINY;
        const Vector inverse = 1.0f / choose(usable, det, all(1.0f));
        const Vector u = size[axis] * pos[axis];
        for (int corner = 0; corner < 8; ++corner) {
            if (corner >> axis & 1) continue;
            Vec3 dif;
            dif[axis] = -pos[axis];
            dif[next] = corner >> next & 1 ? upper[next] : lower[next];
            dif[after_next] = corner >> after_next & 1 ? upper[after_next] : lower[after_next];
            const Vector v = dot(half_axis, dif);
            const Vector free = (mc * u - mb * v) * inverse;
            Vector x1 = clip(free, all(-1.0f), all(1.0f));
            Mask end = choose(free > 1.0f, all(2), choose(free < -1.0f, all(0), all(1)));
            const Vector x2 = (v - mb * x1) / mc;
            const Vector clipped = clip(x2, all(-1.0f), all(1.0f));
            const Vector again = (u - mb * clipped) / ma;
            const Mask moved = x2 != clipped;
            x1 = choose(moved, clip(again, all(-1.0f), all(1.0f)), x1);
            // As in MuJoCo, an end found first stays noted when the second clip moves the point off it.
            end = choose(moved & (again > 1.0f), all(2), choose(moved & (again < -1.0f), all(0), end));
            Vec3 offset = dif - half_axis * clipped;
            offset[axis] += size[axis] * x1;
            const Vector square = dot(offset, offset);
            const Mask closer = usable & (square < best);
            best = choose(closer, square, best);
            near.edge_axis = choose(closer, all(axis), near.edge_axis);
            near.edge_at = choose(closer, x1, near.edge_at);
            near.edge_end = choose(closer, end, near.edge_end);
            start = choose(closer, all(corner), start);
            at = choose(closer, clipped, at);
        }
    }
    near.corner = start + choose(near.edge_end == 2, 1 << near.edge_axis, Mask{});
    return best;
}

inline Nearest nearest_feature(const Vec3& pos, const Vec3& half_axis, Vector half, const Vec3& size) {
    Nearest near;
    Vector at;
    const Vector best = nearest_end(pos, half_axis, size, near);
    const Vector edge_best = nearest_edge(pos, half_axis, half, size, near, at);
    // An edge must be nearer by more than rounding: over a face's boundary both are the same point.
    near.on_edge = edge_best < best - 1e-6f * maximum(best, all(1e-8f));
    near.at = choose(near.on_edge, at, near.at);
    return near;
}

// Where a corner of the box is nearest.
inline Step second_at_corner(const Nearest& near, const Vec3& axis, const Vec3& reach, const Mask* crossing) {
    const Mask count = -(crossing[0] + crossing[1] + crossing[2]);
    const Mask single = count == 1;
    // The one axis in which the segment differs from the others.
    const Mask odd[2] = {crossing[0] ^ ~single, crossing[1] ^ ~single};
    const Mask which = choose(odd[0], all(0), choose(odd[1], all(1), all(2)));
    const Vector sign = choose(single, all(1.0f), all(-1.0f));
    const Vector component = pick(axis, which);
    const Vec3 others = {minimum(reach[1], reach[2]), minimum(reach[2], reach[0]), minimum(reach[0], reach[1])};
    const Vector forward = minimum(1.0f - sign * near.at, pick(reach, which));
    const Vector backward = minimum(1.0f + sign * near.at, pick(others, which));
    return {choose(component * component > 0.5f, forward, -backward) * sign, single | (count == 2)};
}

// Where the inside of an edge is nearest.
inline Step second_at_edge(const Nearest& near, const Vec3& axis, const Vec3& half_axis, const Vec3& size,
                           const Vec3& reach, const Mask* crossing, const Mask* points_up) {
    const Mask ax = near.edge_axis;
    const Vec3 slope = magnitude(axis);
    // The flatter axis is the next one rather than the one after it.
    const Mask flat[3] = {slope[1] > slope[2], slope[2] > slope[0], slope[0] > slope[1]};
    const Mask is_next = pick(flat, ax);
    const Mask next = choose(ax == 2, all(0), ax + 1), after_next = choose(ax == 0, all(2), ax - 1);
    const Mask first = pick_next(crossing, ax), second = pick_after_next(crossing, ax);
    const Mask up = choose(is_next, first, second);
    const Vector sign = choose(up, all(1.0f), all(-1.0f));
    const Vector step = minimum(1.0f - sign * near.at, pick(reach, choose(is_next, next, after_next)));
    const Vector rest = choose(pick(points_up, ax) == up, 1.0f - near.edge_at, 1.0f + near.edge_at);
    const Vector along = pick(size, ax) * rest / maximum(magnitude(pick(half_axis, ax)), all(TINY));
    return {minimum(step, along) * sign, first ^ second};
}

// Where an end of the segment is nearest to a face.
inline Step second_at_face(const Nearest& near, const Vec3& pos, const Vec3& half_axis, const Vec3& size) {
    const Vector sign = choose(near.at < 0.0f, all(1.0f), all(-1.0f));
    const Vec3 end = pos - half_axis * sign;
    Vector step = all(2.0f);
    for (int k = 0; k < 3; ++k) {
        const Vector inverse = sign / choose(half_axis[k] == 0.0f, all(TINY), half_axis[k]);
        const Mask other_axis = near.end_face != k;
        for (const Vector face : {size[k], -size[k]}) {
            const Vector cross = (face - end[k]) * inverse;
            step = choose(other_axis & (cross > 0.0f) & (cross < step), cross, step);
        }
    }
    return {step * sign, near.end_face >= 0};
}

// Position on the segment (-1 to 1) of the first point, and the step to the second.
inline Vector box_points(const Vec3& pos, const Vec3& axis, Vector half, const Vec3& size, Step& second) {
    const Vec3 half_axis = axis * half;
    const Nearest near = nearest_feature(pos, half_axis, half, size);
    Vec3 reach;  // segment parameter per crossing of the box
    Mask points_up[3], crossing[3];
    for (int k = 0; k < 3; ++k) {
        reach[k] = 2.0f * size[k] / maximum(magnitude(half_axis[k]), all(TINY));
        points_up[k] = half_axis[k] > 0.0f;
        crossing[k] = points_up[k] ^ ((near.corner >> k & 1) != 0);
    }
    const Mask is_edge = near.on_edge & (near.edge_end == 1), is_corner = near.on_edge & ~is_edge;
    const auto take = [&](Mask which, const Step& found) {
        second = {choose(which, found.length, second.length), choose(which, found.exists, second.exists)};
    };
    second = second_at_face(near, pos, half_axis, size);
    if (any(is_edge)) take(is_edge, second_at_edge(near, axis, half_axis, size, reach, crossing, points_up));
    if (any(is_corner)) take(is_corner, second_at_corner(near, axis, reach, crossing));
    return near.at;
}

}  // namespace capsule_box

// Of a segment to a capsule along z; also the segment's nearest point.
inline Approach to_capsule(const Vec3& pos, const Vec3& axis, Vector half, const Vec3& size, Vec3& point) {
    const Vector radius = size[0], other_half = size[1];
    // Nearest points of two segments; parallel ones give one of the many.
    const Vector b = axis[2], along = dot(axis, pos);
    const Vector det = maximum(1.0f - b * b, all(1e-6f));
    Vector s = clip((b * pos[2] - along) / det, -half, half);
    const Vector t = clip(pos[2] + s * b, -other_half, other_half);
    s = clip(t * b - along, -half, half);
    point = pos + axis * s;
    const Vec3 offset = {-point[0], -point[1], t - point[2]};
    return {norm(offset) - radius, normalize(offset)};
}

inline Points<2> collide_capsules(const Shape& capsule, const Shape& other) {
    const Vector radius = capsule.size[0], half = capsule.size[1];
    const Vec3 pos = rotate_back(other.mat, capsule.pos - other.pos);
    const Vec3 axis = rotate_back(other.mat, column(capsule.mat, 2));
    const Mask is_box = other.type == BOX;
    Approach found[2] = {};
    Vec3 centers[2] = {};
    Mask has_second{};
    if (any(~is_box)) {
        found[0] = to_capsule(pos, axis, half, other.size, centers[0]);
        found[0].dist -= radius;
    }
    if (any(is_box)) {
        capsule_box::Step second;
        const Vector at = capsule_box::box_points(pos, axis, half, other.size, second);
        const Vec3 half_axis = axis * half, center = pos + half_axis * at;
        found[0] = choose(is_box, sphere_box(center, radius, other.size), found[0]);
        centers[0] = choose(is_box, center, centers[0]);
        has_second = is_box & second.exists;
        centers[1] = pos + half_axis * (at + second.length);
        if (any(has_second)) found[1] = sphere_box(centers[1], radius, other.size);
    }

    Points<2> points;
    points.dist[1] = all(NO_CONTACT);
    points.pos[1] = points.normal[1] = Vec3{};
    for (int i = 0; i < 2; ++i) {
        if (i == 1 && !any(has_second)) break;
        const Mask exists = i == 0 ? all(-1) : has_second;
        const Vec3 mid = centers[i] + found[i].normal * (radius + 0.5f * found[i].dist);
        points.dist[i] = choose(exists, found[i].dist, all(NO_CONTACT));
        points.pos[i] = choose(exists, other.pos + rotate(other.mat, mid), Vec3{});
        points.normal[i] = choose(exists, rotate(other.mat, found[i].normal), Vec3{});
    }
    return points;
}

}  // namespace
