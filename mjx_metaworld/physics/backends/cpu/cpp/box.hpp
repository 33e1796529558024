// Boxes against boxes, as collision/box.py has them: separating axes, then the overlap of the two nearest faces.
#pragma once

#include "shapes.hpp"

namespace {

namespace box_box {

constexpr float FAR = 1e10f, EDGE_ADVANTAGE = 1e-6f, PARALLEL = 1e-6f, REMOVE_RATIO = 1.01f;
constexpr float CORNERS[4][2] = {{-1.0f, -1.0f}, {-1.0f, 1.0f}, {1.0f, -1.0f}, {1.0f, 1.0f}};
constexpr int CROSSINGS = 8, RECTANGLE = CROSSINGS + 4, POINTS = RECTANGLE + 4;  // ends of the kinds of points

// The axis along which the boxes overlap least.
struct Separation {
    Mask apart;         // further apart than the margin along some axis
    Mask is_edge;       // a pair of edges, else a face
    Mask face;          // 0..2 faces of box 1, 3..5 faces of box 2
    Mask edge1, edge2;  // axes of the edges of box 1 and of box 2
    Vec3 normal;        // in the frame of box 1, from box 1 to box 2; for edge pairs
};

struct Vec2 {
    Vector v[2];

    Vector& operator[](int i) { return v[i]; }
    const Vector& operator[](int i) const { return v[i]; }
};

// Incident face above a reference rectangle, in the frame of the reference face (z towards the other box).
struct Clip {
    Vec3 corner;            // that the two edges start from
    Vec3 edge_a, edge_b;
    Mask has_a, has_b;      // false where the incident face degenerates to an edge or a point
    Vec2 half;              // half-sizes of the rectangle
    Vec2 slope;             // of the direction of projection onto the rectangle's plane
    Vector rise;            // from a height above the plane to the distance along that direction
    Mask is_edge;
    Vector margin;

    Vec2 project(const Vec3& v) const { return {v[0] - slope[0] * v[2], v[1] - slope[1] * v[2]}; }
    // A face contact reports half the depth.
    Vector reported(Vector depth) const { return choose(is_edge, depth, 0.5f * depth); }
};

// Points midway between the faces.
struct Found {
    Vec3 pos[POINTS];
    Vector dist[POINTS];
};

inline Mask next(Mask axis) { return choose(axis == 2, Mask{}, axis + 1); }

inline Vector largest(const Vec3& v) { return maximum(maximum(v[0], v[1]), v[2]); }

// The leading three components in MuJoCo's frame for a face, with z along `sign` times `axis`.
template <class Values>
Values face_frame(const Values& values, Mask axis, Vector sign) {
    const auto &x = values[0], &y = values[1], &z = values[2];
    const auto back = -sign * z;
    return {{choose(axis == 0, back, choose(axis == 1, x, sign * x)), choose(axis == 1, back, y),
             sign * pick(values, axis)}};
}

inline Separation separate(const Mat3& rot, const Vec3& pos21, const Vec3& pos12, const Vec3& size1, const Vec3& size2,
                           Vector margin) {
    const Mat3 abs_rot = magnitude(rot);
    const Vec3 overlap1 = size1 + rotate(abs_rot, size2) - magnitude(pos21);
    const Vec3 overlap2 = size2 + rotate_back(abs_rot, size1) - magnitude(pos12);
    Separation sep = {};
    Vector best_face = overlap1[0];
    for (int k = 0; k < 3; ++k) {
        sep.apart |= (overlap1[k] < -margin) | (overlap2[k] < -margin);
        const Mask closer1 = overlap1[k] < best_face;
        best_face = choose(closer1, overlap1[k], best_face);
        sep.face = choose(closer1, all(k), sep.face);
        const Mask closer2 = overlap2[k] < best_face;
        best_face = choose(closer2, overlap2[k], best_face);
        sep.face = choose(closer2, all(k + 3), sep.face);
    }
    if (!any(~sep.apart)) return sep;

    // Cross products of the edges i of box 1 and j of box 2, whose component i is zero.
    const Mat3 edges2 = transpose(rot);
    Vector best_edge = all(FAR);
    for (int i = 0; i < 3; ++i) {
        const int i1 = (i + 1) % 3, i2 = (i + 2) % 3;
        for (int j = 0; j < 3; ++j) {
            const Vector length = root(edges2[j][i1] * edges2[j][i1] + edges2[j][i2] * edges2[j][i2]);
            const Vector divisor = maximum(length, all(PARALLEL));
            const Vector axis1 = -edges2[j][i2] / divisor, axis2 = edges2[j][i1] / divisor;
            const Vector offset = axis1 * pos21[i1] + axis2 * pos21[i2];
            Vector reach = magnitude(axis1) * size1[i1] + magnitude(axis2) * size1[i2];
            // Along the pair's own edge of box 2, too, where rounding may leave something (box.py).
            for (int k = 0; k < 3; ++k) reach += magnitude(axis1 * edges2[k][i1] + axis2 * edges2[k][i2]) * size2[k];
            const Vector overlap = choose(length > PARALLEL, reach - magnitude(offset), all(FAR));
            const Mask closer = overlap < best_edge;
            const Vector sign = choose(offset < 0.0f, all(-1.0f), all(1.0f));
            Vec3 normal = {};
            normal[i1] = axis1 * sign;
            normal[i2] = axis2 * sign;
            best_edge = choose(closer, overlap, best_edge);
            sep.normal = choose(closer, normal, sep.normal);
            sep.edge1 = choose(closer, all(i), sep.edge1);
            sep.edge2 = choose(closer, all(j), sep.edge2);
        }
    }
    sep.apart |= best_edge < -margin;
    const Vector size = maximum(largest(size1), largest(size2));
    sep.is_edge = best_edge < best_face - EDGE_ADVANTAGE * size;
    return sep;
}

inline Mask less_aligned(Mask edge, const Vec3& along) {
    const Mask first = next(edge), second = next(first);
    return choose(pick(along, first) < pick(along, second), first, second);
}

// The incident face: for a face contact the lowest one, else the one next to the edge.
inline Clip incident_face(const Separation& sep, const Mat3& inc, const Vec3& inc_size, const Vec3& center,
                          const Vec3& ref_size, const Vec3& normal, Mask edge_face, Vector margin) {
    const Vec3 aligned = rotate_back(inc, normal);
    const Vec3 steep = magnitude(inc[2]);
    const Mask steepest = choose((steep[0] >= steep[1]) & (steep[0] >= steep[2]), Mask{},
                                 choose(steep[1] >= steep[2], all(1), all(2)));
    const Mask face = choose(sep.is_edge, edge_face, steepest);
    const Mat3 axes = transpose(inc);
    Clip c = {};
    c.corner = center;
    Mat3 step;  // rows: vectors along the edges
    Mask flat[3];
    for (int k = 0; k < 3; ++k) {
        const Mask away = choose(sep.is_edge, (aligned[k] < 0.0f) | (sep.edge2 == k), inc[2][k] < 0.0f);
        const Vector reach = choose(away, inc_size[k], -inc_size[k]);
        // MuJoCo's rule for which edges belong to the incident face of a face contact.
        flat[k] = sep.is_edge | (steep[k] < 0.5f);
        step[k] = axes[k] * choose(flat[k], -2.0f * reach, Vector{});
        c.corner = c.corner + axes[k] * reach;
    }
    const Mask first = next(face), second = next(first);
    c.edge_a = pick(step, first);
    c.edge_b = pick(step, second);
    c.has_a = choose(first == 0, flat[0], choose(first == 1, flat[1], flat[2]));
    c.has_b = choose(second == 0, flat[0], choose(second == 1, flat[1], flat[2]));
    c.half = {ref_size[0], ref_size[1]};
    c.rise = choose(sep.is_edge, 1.0f / maximum(normal[2], all(1e-10f)), all(1.0f));
    for (int k = 0; k < 2; ++k) c.slope[k] = choose(sep.is_edge, normal[k] * c.rise, Vector{});
    c.is_edge = sep.is_edge;
    c.margin = margin;
    return c;
}

// Points at which an edge of the incident face enters and leaves the rectangle.
inline void crossings(const Clip& c, const Vec3& start, const Vec3& step, Mask exists, int index, Found& found) {
    const Vec2 flat_start = c.project(start), flat_step = c.project(step);
    Vector enter = all(-FAR), leave = all(FAR);
    for (int k = 0; k < 2; ++k) {
        const Mask parallel = magnitude(flat_step[k]) < 1e-12f;
        const Vector inverse = 1.0f / choose(parallel, all(1.0f), flat_step[k]);
        const Vector low = (-c.half[k] - flat_start[k]) * inverse, high = (c.half[k] - flat_start[k]) * inverse;
        const Mask within = magnitude(flat_start[k]) <= c.half[k];
        const Vector always = choose(within, all(-FAR), all(FAR));
        enter = maximum(enter, choose(parallel, always, minimum(low, high)));
        leave = minimum(leave, choose(parallel, -always, maximum(low, high)));
    }
    const Vector ends[2] = {enter, leave};
    for (int end = 0; end < 2; ++end) {
        const Mask valid = exists & (enter <= leave) & (ends[end] >= 0.0f) & (ends[end] <= 1.0f);
        const Vec3 point = start + step * choose(valid, ends[end], Vector{});
        const Vec2 flat = c.project(point);
        const Vector depth = point[2] * c.rise;
        const int at = 4 * end + index;
        found.pos[at] = {0.5f * (point[0] + flat[0]), 0.5f * (point[1] + flat[1]), 0.5f * point[2]};
        found.dist[at] = choose(valid & (depth <= c.margin), c.reported(depth), all(NO_CONTACT));
    }
}

// True where none of these points exists.
inline Mask none_of(const Found& found, int first, int end) {
    Mask none = all(-1);
    for (int i = first; i < end; ++i) none &= found.dist[i] >= NO_CONTACT;
    return none;
}

// Corners of the rectangle inside the projected incident face.
inline void rectangle_corners(const Clip& c, Mask none_cross, Found& found) {
    const Vec2 origin = c.project(c.corner), a = c.project(c.edge_a), b = c.project(c.edge_b);
    Vector det = a[0] * b[1] - b[0] * a[1];
    const Mask usable = c.has_a & c.has_b & (magnitude(det) > 1e-14f);
    const Mask either = c.is_edge & none_cross;
    det = choose(usable, det, all(1.0f));
    for (int i = 0; i < 4; ++i) {
        const Vec2 corner = {CORNERS[i][0] * c.half[0], CORNERS[i][1] * c.half[1]};
        const Vector x = corner[0] - origin[0], y = corner[1] - origin[1];
        Vector u = (x * b[1] - y * b[0]) / det, v = (y * a[0] - x * a[1]) / det;
        const Mask u_in = (u > 0.0f) & (u < 1.0f), v_in = (v > 0.0f) & (v < 1.0f);
        const Mask inside = (u_in & v_in) | (either & (u_in | v_in));
        u = clip(u, Vector{}, all(1.0f));
        v = clip(v, Vector{}, all(1.0f));
        const Vec3 above = c.corner + c.edge_a * u + c.edge_b * v;
        const Vector dx = corner[0] - above[0], dy = corner[1] - above[1];
        const Vector square = dx * dx + dy * dy + above[2] * above[2];
        const Vector length = choose(c.is_edge, root(square), magnitude(above[2]));
        const Vector depth = choose(above[2] < 0.0f, -length, length);
        const int at = CROSSINGS + i;
        found.pos[at] = {0.5f * (corner[0] + above[0]), 0.5f * (corner[1] + above[1]), 0.5f * above[2]};
        found.dist[at] = choose(usable & inside & (depth <= c.margin), c.reported(depth), all(NO_CONTACT));
        // MuJoCo 3.3.0 reuses the determinant's variable for an edge contact's distance.
        det = choose(c.is_edge & inside, maximum(square, all(1e-12f)), det);
    }
}

// Corners of the incident face over the rectangle.
inline void vertices(const Clip& c, Mask none_cross, Mask only_vertices, Found& found) {
    const Vec3 points[4] = {c.corner, c.corner + c.edge_a, c.corner + c.edge_b, c.corner + c.edge_a + c.edge_b};
    const Mask exists[4] = {all(-1), c.has_a, c.has_b, c.has_a & c.has_b};
    for (int i = 0; i < 4; ++i) {
        const Vec3& point = points[i];
        const Vec2 flat = c.project(point);
        Mask in[2];
        Vec2 clamped;
        for (int k = 0; k < 2; ++k) {
            in[k] = magnitude(flat[k]) < c.half[k];
            clamped[k] = choose(c.is_edge, clip(flat[k], -c.half[k], c.half[k]), flat[k]);
        }
        const Mask both = in[0] & in[1];
        const Mask edge_rule = both | (none_cross & (only_vertices | in[0] | in[1]));
        const Mask face_rule = i == 0 ? all(-1) : both;  // MuJoCo always takes a face's lowest corner
        const Vector dx = flat[0] - clamped[0], dy = flat[1] - clamped[1], height = point[2] * c.rise;
        const Vector length = root(dx * dx + dy * dy + height * height);
        const Vector depth = choose(point[2] < 0.0f, -length, length);
        const Mask valid = exists[i] & choose(c.is_edge, edge_rule, face_rule) & (depth <= c.margin);
        const int at = RECTANGLE + i;
        found.pos[at] = {0.5f * (point[0] + clamped[0]), 0.5f * (point[1] + clamped[1]), 0.5f * point[2]};
        found.dist[at] = choose(valid, c.reported(depth), all(NO_CONTACT));
    }
}

inline void clip_points(const Clip& c, Found& found) {
    const Mask both = c.has_a & c.has_b;
    crossings(c, c.corner, c.edge_a, c.has_a, 0, found);
    crossings(c, c.corner, c.edge_b, c.has_b, 1, found);
    crossings(c, c.corner + c.edge_a, c.edge_b, both, 2, found);
    crossings(c, c.corner + c.edge_b, c.edge_a, both, 3, found);
    const Mask none_cross = none_of(found, 0, CROSSINGS);
    rectangle_corners(c, none_cross, found);
    vertices(c, none_cross, none_cross & none_of(found, CROSSINGS, RECTANGLE), found);
}

// Of a point: outside the inflated box, and inside the deflated one.
struct Relation {
    Mask out, deep;
};

inline Relation relative_to(const Vec3& point, const Vec3& size) {
    Relation of = {Mask{}, all(-1)};
    for (int k = 0; k < 3; ++k) {
        const Vector far = magnitude(point[k]);
        of.out |= far > REMOVE_RATIO * size[k];
        of.deep &= far * REMOVE_RATIO < size[k];
    }
    return of;
}

// Contact of boxes, up to 8 of 16 possible points; what a point that does not exist is otherwise means nothing.
inline Points<16, 1> collide_boxes(const Shape& box1, const Shape& box2, Vector margin) {
    Points<16, 1> points = {};
    for (Vector& dist : points.dist) dist = all(NO_CONTACT);
    const Mat3 rot = matmul_tn(box1.mat, box2.mat);
    const Vec3 pos21 = rotate_back(box1.mat, box2.pos - box1.pos);
    const Vec3 pos12 = -rotate_back(rot, pos21);
    const Separation sep = separate(rot, pos21, pos12, box1.size, box2.size, margin);
    if (!any(~sep.apart)) return points;

    const Mask ref_is_2 = ~sep.is_edge & (sep.face >= 3);
    const Mat3 abs_rot = magnitude(rot);
    const Mask axis1 = less_aligned(sep.edge1, pick(transpose(abs_rot), sep.edge2));
    const Mask axis2 = less_aligned(sep.edge2, pick(abs_rot, sep.edge1));
    const Mask ref_axis = choose(sep.is_edge, axis1, choose(sep.face >= 3, sep.face - 3, sep.face));
    Vec3 pos = choose(ref_is_2, pos12, pos21);
    const Vector towards = choose(sep.is_edge, pick(sep.normal, ref_axis), pick(pos, ref_axis));
    const Vector sign = choose(towards < 0.0f, all(-1.0f), all(1.0f));

    // Columns of `inc` are the incident box's axes in the frame of the reference box.
    const Mat3 inc = face_frame(choose(ref_is_2, transpose(rot), rot), ref_axis, sign);
    const Vec3 normal = face_frame(sep.normal, ref_axis, sign);
    const Vec3 ref_size = magnitude(face_frame(choose(ref_is_2, box2.size, box1.size), ref_axis, sign));
    const Vec3 inc_size = choose(ref_is_2, box1.size, box2.size);
    Vec3 center = face_frame(pos, ref_axis, sign);
    center[2] -= ref_size[2];

    Found found;
    clip_points(incident_face(sep, inc, inc_size, center, ref_size, normal, axis2, margin), found);

    const Mat3 ref_mat = choose(ref_is_2, box2.mat, box1.mat);
    const Vec3 ref_pos = choose(ref_is_2, box2.pos, box1.pos);
    const Mat3 frame = face_frame(transpose(ref_mat), ref_axis, sign);  // rows: the face's axes in the world
    const Vec3 around = {margin, margin, margin}, ref_reach = ref_size + around, inc_reach = inc_size + around;
    for (int i = 0; i < POINTS; ++i) {
        Mask keep = (found.dist[i] < margin) & ~sep.apart;
        if (!any(keep)) continue;
        Vec3 point = found.pos[i];
        const Relation to_inc = relative_to(rotate_back(inc, point - center), inc_reach);
        point[2] += ref_size[2];
        const Relation to_ref = relative_to(point, ref_reach);
        // MuJoCo's removal of points outside one box and not well inside the other.
        keep &= ~((to_ref.out & ~to_inc.deep) | (to_inc.out & ~to_ref.deep));
        points.dist[i] = choose(keep, found.dist[i], all(NO_CONTACT));
        points.pos[i] = ref_pos + rotate_back(frame, point);
    }
    const Vec3 face_normal = frame[2] * choose(ref_is_2, all(-1.0f), all(1.0f));
    points.normal[0] = choose(sep.is_edge, rotate(box1.mat, sep.normal), face_normal);
    return points;
}

}  // namespace box_box

using box_box::collide_boxes;

}  // namespace
