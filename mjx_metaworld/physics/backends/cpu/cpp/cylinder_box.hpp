// Cylinders against boxes, as collision/cylinder_box.py has them: the exact penetration depth, one point.
#pragma once

#include "shapes.hpp"

namespace {

namespace cylinder_box {

constexpr float FAR = 1e10f, PARALLEL = 5e-5f, ADVANTAGE = 1e-7f;
constexpr int NEWTON_STEPS = 5;
constexpr float MAX_STEP = 0.35f;              // rad
constexpr float COS = 0.9999995f, SIN = 1e-3f;  // of a milliradian
// First candidates of each kind, as the Python module numbers them.
constexpr int FACES = 0, CAP = 3, SIDES = 6, CORNER = 9, RIMS = 12;

struct Problem {
    Vec3 axis;    // the cylinder's axis in the box's frame
    Vec3 center;  // the cylinder's centre in it
    Vector radius, half;
    Vec3 box;
};

// The least overlap so far, its direction and the number of its candidate.
struct Best {
    Vector overlap;
    Vec3 normal;
    Mask which;

    void replace(Mask closer, Vector other, const Vec3& direction, Mask number) {
        overlap = choose(closer, other, overlap);
        normal = choose(closer, direction, normal);
        which = choose(closer, number, which);
    }
    // A later candidate must beat an earlier one by more than rounding.
    void consider(const Best& later) {
        replace(later.overlap < overlap - ADVANTAGE, later.overlap, later.normal, later.which);
    }
};

inline Vec3 unit(int axis, Vector length) {
    Vec3 v = {};
    v[axis] = length;
    return v;
}

inline Vector against(Vector x) { return choose(x > 0.0f, all(-1.0f), all(1.0f)); }

// h for a direction.
inline Vector overlap_along(const Problem& p, const Vec3& normal) {
    const Vector along = dot(p.axis, normal);
    Vector across = root(maximum(1.0f - along * along, Vector{}));
    // The radius times the rounding of `across` near a cap stays below 1e-5 m only through this longer form.
    across = choose(across < 0.1f, norm(normal - p.axis * along), across);
    return dot(p.center, normal) + p.half * magnitude(along) + p.radius * across + dot(p.box, magnitude(normal));
}

inline Best least_face(const Problem& p) {
    Best best = {};
    for (int i = 0; i < 3; ++i) {
        const Vec3 normal = unit(i, against(p.center[i]));
        const Vector overlap = overlap_along(p, normal);
        best.replace(i == 0 ? all(-1) : overlap < best.overlap, overlap, normal, all(FACES + i));
    }
    return best;
}

inline Best cap(const Problem& p) {
    const Vec3 normal = p.axis * against(dot(p.axis, p.center));
    return {overlap_along(p, normal), normal, all(CAP)};
}

// e_i x a, in its better sense; zero where the two are parallel.
inline Vec3 side_normal(const Problem& p, int i) {
    const int i1 = (i + 1) % 3, i2 = (i + 2) % 3;
    Vec3 cross = {};
    cross[i1] = -p.axis[i2];
    cross[i2] = p.axis[i1];
    const Vector length = root(cross[i1] * cross[i1] + cross[i2] * cross[i2]);
    const Mask exists = length > 1e-4f;
    cross = cross * choose(exists, 1.0f / choose(exists, length, all(1.0f)), Vector{});
    return cross * against(dot(p.center, cross));
}

inline Best least_side(const Problem& p, const Vec3* sides) {
    Best best = {all(FAR), sides[0], all(SIDES)};
    for (int i = 0; i < 3; ++i) {
        const Mask exists = dot(sides[i], sides[i]) > 0.25f;
        const Vector overlap = choose(exists, overlap_along(p, sides[i]), all(FAR));
        best.replace(overlap < best.overlap, overlap, sides[i], all(SIDES + i));
    }
    return best;
}

// From the cylinder's axis to the nearest corner of the box.
inline Best corner(const Problem& p) {
    Vec3 offset = {};
    Vector best = {};
    for (int number = 0; number < 8; ++number) {
        Vec3 at;
        for (int k = 0; k < 3; ++k) at[k] = (number >> k & 1 ? p.box[k] : -p.box[k]) - p.center[k];
        const Vec3 across = at - p.axis * dot(p.axis, at);
        const Vector square = dot(across, across);
        const Mask closer = number == 0 ? all(-1) : square < best;
        best = choose(closer, square, best);
        offset = choose(closer, across, offset);
    }
    const Vector length = root(best);
    const Vec3 fallback = unit(0, against(p.center[0]));
    const Vec3 normal = choose(length > 1e-9f, offset * (1.0f / maximum(length, all(1e-9f))), fallback);
    return {overlap_along(p, normal), normal, all(CORNER)};
}

// A direction (u, v) along the box's axes i + 1 and i + 2, on an arc of the great circle perpendicular to the axis i on
// which h is smooth: q.n + r sqrt(1 - (a.n)^2).
struct Arc {
    Vector a0, a1, q0, q1;
    Vector u, v;

    // A Newton step on the angle.
    void descend(Vector radius) {
        const Vector along = a0 * u + a1 * v;
        const Vector turn = a1 * u - a0 * v;  // derivative of `along` by the angle
        const Vector inverse = 1.0f / root(maximum(1.0f - along * along, all(1e-8f)));
        const Vector product = along * turn;
        const Vector slope = q1 * u - q0 * v - radius * product * inverse;
        // The derivative of along * turn * inverse by the angle:
        const Vector bend = (turn * turn - along * along) * inverse + product * product * (inverse * inverse * inverse);
        const Vector curvature = -(q0 * u + q1 * v) - radius * bend;
        const Vector downhill = choose(slope > 0.0f, all(-MAX_STEP), choose(slope < 0.0f, all(MAX_STEP), Vector{}));
        Vector angle = choose(curvature > 1e-6f, -slope / maximum(curvature, all(1e-6f)), downhill);
        angle = clip(angle, all(-MAX_STEP), all(MAX_STEP));
        const Vector new_u = u - angle * v, new_v = v + angle * u;
        const Vector scale = 1.0f / root(new_u * new_u + new_v * new_v);
        u = new_u * scale;
        v = new_v * scale;
    }
};

// The arc on which h falls from its best kink on the circle.
inline Arc steepest_arc(const Problem& p, int i, const Vec3& side) {
    const int i1 = (i + 1) % 3, i2 = (i + 2) % 3;
    const Vector a0 = p.axis[i1], a1 = p.axis[i2], c0 = p.center[i1], c1 = p.center[i2];
    const Vector b0 = p.box[i1], b1 = p.box[i2];
    const auto overlap = [&](Vector u, Vector v) {
        const Vector along = a0 * u + a1 * v;
        const Vector across = root(maximum(1.0f - along * along, Vector{}));
        const Vector linear = c0 * u + c1 * v + b0 * magnitude(u) + b1 * magnitude(v);
        return linear + p.half * magnitude(along) + p.radius * across;
    };
    Vector u = against(c0), v = {}, best = overlap(u, v);
    const auto consider = [&](Vector trial_u, Vector trial_v, Mask exists) {
        const Vector value = overlap(trial_u, trial_v);
        const Mask closer = exists & (value < best);
        u = choose(closer, trial_u, u);
        v = choose(closer, trial_v, v);
        best = choose(closer, value, best);
    };
    consider(Vector{}, against(c1), all(-1));
    consider(side[i1], side[i2], side[i1] * side[i1] + side[i2] * side[i2] > 0.5f);
    // Not a kink, but nearly one where the circle passes close to a cap's normal: the direction nearest to that.
    const Vector length = root(a0 * a0 + a1 * a1);
    const Mask has_cap = length > 1e-3f;
    const Vector to_cap = against(a0 * c0 + a1 * c1) / choose(has_cap, length, all(1.0f));
    consider(a0 * to_cap, a1 * to_cap, has_cap);

    // On which side of the kink h falls, judged a milliradian away.
    const Vector ahead_u = COS * u - SIN * v, ahead_v = SIN * u + COS * v;
    const Vector behind_u = COS * u + SIN * v, behind_v = COS * v - SIN * u;
    const Mask falls_ahead = overlap(ahead_u, ahead_v) < overlap(behind_u, behind_v);
    u = choose(falls_ahead, ahead_u, behind_u);
    v = choose(falls_ahead, ahead_v, behind_v);
    const Vector tau = choose(a0 * u + a1 * v < 0.0f, -p.half, p.half);
    return {a0, a1, c0 + choose(u < 0.0f, -b0, b0) + tau * a0, c1 + choose(v < 0.0f, -b1, b1) + tau * a1, u, v};
}

// The minima of h over the great circles perpendicular to the box's axes.
inline Best least_rim(const Problem& p, const Vec3* sides) {
    Arc arcs[3] = {steepest_arc(p, 0, sides[0]), steepest_arc(p, 1, sides[1]), steepest_arc(p, 2, sides[2])};
    // Side by side, so that none waits for the roots and quotients of its own alone.
    for (int step = 0; step < NEWTON_STEPS; ++step)
        for (Arc& arc : arcs) arc.descend(p.radius);
    Best best = {};
    for (int i = 0; i < 3; ++i) {
        Vec3 normal = {};
        normal[(i + 1) % 3] = arcs[i].u;
        normal[(i + 2) % 3] = arcs[i].v;
        const Vector overlap = overlap_along(p, normal);
        best.replace(i == 0 ? all(-1) : overlap < best.overlap, overlap, normal, all(RIMS + i));
    }
    return best;
}

// The part of the line base + s axis, |s| <= H, that lies over the face of the box with that normal.
inline void overlap_interval(const Problem& p, const Vec3& base, const Vec3& normal, Vector& low, Vector& high) {
    low = -p.half;
    high = p.half;
    for (int k = 0; k < 3; ++k) {
        const Mask steep = (magnitude(p.axis[k]) > 1e-6f) & (magnitude(normal[k]) < 0.5f);
        const Vector inverse = 1.0f / choose(steep, p.axis[k], all(1.0f));
        const Vector s1 = (-p.box[k] - base[k]) * inverse, s2 = (p.box[k] - base[k]) * inverse;
        low = choose(steep, maximum(low, minimum(s1, s2)), low);
        high = choose(steep, minimum(high, maximum(s1, s2)), high);
    }
}

// The contact point in the box's frame, midway between the deepest points of both bodies. Where an angle on which
// these depend nears zero, the point moves smoothly to the middle of the face, edge or side that becomes parallel.
inline Vec3 position(const Problem& p, const Best& best) {
    const Vec3& normal = best.normal;
    const Vec3 back = normal * (0.5f * best.overlap);
    const Vector along = dot(p.axis, normal);
    Vec3 radial = normal - p.axis * along;
    const Vector length = norm(radial);
    radial = radial * (1.0f / maximum(length, all(1e-9f)));
    const Vec3 side = p.center + radial * p.radius;
    Vector low, high;
    overlap_interval(p, side, normal, low, high);
    Vector end = p.half * clip(along * (1.0f / PARALLEL), all(-1.0f), all(1.0f));
    // Of a side along a face of the box, the part over the face; on a cap or the rim the end is exact.
    const Mask on_face = best.which < CAP;
    end = choose(on_face & (magnitude(along) < 0.5f) & (low <= high), clip(end, low, high), end);
    const Vector spread = p.radius * minimum(length * (1.0f / PARALLEL), all(1.0f));

    const Vec3 on_cylinder = p.center + p.axis * end + radial * spread;

    // An edge across the side: the point of the edge nearest to the line along the side.
    Vec3 base, offset, tangential, corner;
    Mask is_edge[3];
    Vector a_i = {}, w_i = {}, half = {};
    for (int k = 0; k < 3; ++k) {
        is_edge[k] = best.which == SIDES + k;
        base[k] = choose(is_edge[k], Vector{}, choose(normal[k] > 0.0f, -p.box[k], p.box[k]));
        offset[k] = side[k] - base[k];
        a_i = choose(is_edge[k], p.axis[k], a_i);
        w_i = choose(is_edge[k], offset[k], w_i);
        half = choose(is_edge[k], p.box[k], half);
        const Vector held = clip(on_cylinder[k], -p.box[k], p.box[k]);
        tangential[k] = choose(on_face & (magnitude(normal[k]) < 0.5f), held, on_cylinder[k]);
        corner[k] = -p.box[k] * clip(normal[k] * (1.0f / PARALLEL), all(-1.0f), all(1.0f));
    }
    Vector s = (w_i * a_i - dot(offset, p.axis)) / maximum(1.0f - a_i * a_i, all(1e-8f));
    s = clip(s, -p.half, p.half);
    const Vector at = clip(w_i + s * a_i, -half, half);
    const Vec3 on_edge = {choose(is_edge[0], at, base[0]), choose(is_edge[1], at, base[1]),
                          choose(is_edge[2], at, base[2])};

    const Mask is_side = (best.which >= SIDES) & (best.which < CORNER);
    const Mask from_box = (best.which == CAP) | (best.which == CORNER);
    return choose(is_side, on_edge + back, choose(from_box, corner + back, tangential - back));
}

// Contact of cylinders with boxes; what a point that does not exist is otherwise means nothing.
inline Points<1> collide_cylinder_boxes(const Shape& cylinder, const Shape& box, Vector margin) {
    Points<1> points = {};
    points.dist[0] = all(NO_CONTACT);
    const Problem p = {rotate_back(box.mat, column(cylinder.mat, 2)), rotate_back(box.mat, cylinder.pos - box.pos),
                       cylinder.size[0], cylinder.size[1], box.size};
    Best best = least_face(p);
    best.consider(cap(p));
    // Another candidate can only lessen the overlap.
    if (!any(best.overlap > -margin)) return points;
    const Vec3 sides[3] = {side_normal(p, 0), side_normal(p, 1), side_normal(p, 2)};
    best.consider(least_side(p, sides));
    best.consider(corner(p));
    if (!any(best.overlap > -margin)) return points;
    best.consider(least_rim(p, sides));
    const Mask touches = -best.overlap < margin;
    if (!any(touches)) return points;
    points.dist[0] = choose(touches, -best.overlap, all(NO_CONTACT));
    points.pos[0] = box.pos + rotate(box.mat, position(p, best));
    points.normal[0] = rotate(box.mat, best.normal);
    return points;
}

}  // namespace cylinder_box

using cylinder_box::collide_cylinder_boxes;

}  // namespace
