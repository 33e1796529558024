// General convex pairs by support functions, as convex.py has them, for LANES pairs at a time.
//
// A descent ends early where a step changes none of the lanes' states, as all further ones would not either.
#pragma once

#include "hull_support.hpp"

namespace {

// Start of the contact search: a direction and a simplex near the answer, as `WarmStart` of shapes.py.
struct Start {
    Vec3 normal;               // from shape 1 to shape 2, in the frame of shape 1
    Vec3 first[3], second[3];  // the corners' points of either shape in its frame
    Vector weights[2];         // of the second and third corner in the simplex's point that counts
};

namespace convex {

using ::choose;  // which the one for descents below would hide

constexpr float STAND_OFF = 1e-3f, MAX_COSINE = 0.8f, SAME_COSINE = 0.98f, TINY = 1e-12f, FAR = 1e10f;
constexpr int TRIAL_STEPS = 3;  // these as in convex.py and descent.py

struct Body {
    Vec3 half;    // of the box summand
    Vector disc;  // radius of the disc about z
    Vector ball;  // radius of the ball
    Hulls hulls;  // the hull summand, the origin where it is no mesh
};

// Both bodies in the frame of the second.
struct Pair {
    Body body1, body2;
    Vec3 pos;  // of the first
    Mat3 mat;
};

struct Corner {
    Vec3 point, first;  // in the Minkowski difference, and the point of body 1 that it is from
};

// State of the descent; the simplex is three points, of which some may be equal.
struct Descent {
    Vec3 normal;   // best direction so far
    Vector depth;  // its overlap
    Corner corners[3];
    Vector weights[2];  // of the second and third corner in the simplex's point nearest to the query
    Vec3 nearest;       // that point
};

inline Descent choose(Mask which, const Descent& a, const Descent& b) {
    Descent s;
    s.normal = choose(which, a.normal, b.normal);
    s.depth = choose(which, a.depth, b.depth);
    for (int i = 0; i < 3; ++i) {
        s.corners[i].point = choose(which, a.corners[i].point, b.corners[i].point);
        s.corners[i].first = choose(which, a.corners[i].first, b.corners[i].first);
    }
    for (int i = 0; i < 2; ++i) s.weights[i] = choose(which, a.weights[i], b.weights[i]);
    s.nearest = choose(which, a.nearest, b.nearest);
    return s;
}

inline Body body_of(const Shape& shape, const HullTable& table) {
    const Mask is_box = shape.type == BOX, is_cylinder = shape.type == CYLINDER, is_capsule = shape.type == CAPSULE;
    const Vector length = choose(is_capsule | is_cylinder, shape.size[1], Vector{});
    return {
        choose(is_box, shape.size, Vec3{Vector{}, Vector{}, length}),
        choose(is_cylinder, shape.size[0], Vector{}),
        choose((shape.type == SPHERE) | is_capsule, shape.size[0], Vector{}),
        Hulls::of(table, shape.type, shape.hull),
    };
}

inline Pair relate(const Shape& shape1, const Shape& shape2, const HullTable& table) {
    return {body_of(shape1, table), body_of(shape2, table), rotate_back(shape2.mat, shape1.pos - shape2.pos),
            matmul_tn(shape2.mat, shape1.mat)};
}

// Furthest point of a body, without its ball, along a direction in its frame.
inline Vec3 body_support(const Body& body, const Vec3& d) {
    const Vector across = root(d[0] * d[0] + d[1] * d[1]), scale = body.disc / maximum(across, all(TINY));
    const Vec3 on_disc = {d[0] * scale, d[1] * scale, Vector{}};
    Vec3 on_box;
    for (int i = 0; i < 3; ++i) on_box[i] = choose(d[i] < 0.0f, -body.half[i], body.half[i]);
    return on_disc + on_box + furthest_vertex(body.hulls, d);
}

// Furthest point along a direction of the Minkowski difference.
inline Corner support(const Pair& pair, const Vec3& normal) {
    const Vec3 first = pair.pos + rotate(pair.mat, body_support(pair.body1, rotate_back(pair.mat, normal)));
    return {first - body_support(pair.body2, -normal), first};
}

// Support of a body without its ball and hull along a direction in its frame.
inline Vector smooth_reach(const Body& body, const Vec3& half, const Vec3& d) {
    return dot(magnitude(d), half) + body.disc * root(d[0] * d[0] + d[1] * d[1]);
}

// The point of a triangle with these weights of its second and third corner.
inline Vec3 combine(const Vector* weights, const Vec3& a, const Vec3& b, const Vec3& c) {
    return a + weights[0] * (b - a) + weights[1] * (c - a);
}

inline Descent begin(const Pair& pair, const Vec3& normal) {
    const Corner corner = support(pair, normal);
    return {normal, dot(corner.point, normal), {corner, corner, corner}, {}, corner.point};
}

// The start's direction, with the start's simplex carried along by the bodies.
inline Descent resume(const Pair& pair, const Start& start) {
    Descent s;
    s.normal = rotate(pair.mat, start.normal);
    s.depth = all(FAR);
    for (int i = 0; i < 3; ++i) {
        s.corners[i].first = pair.pos + rotate(pair.mat, start.first[i]);
        s.corners[i].point = s.corners[i].first - start.second[i];
    }
    for (int i = 0; i < 2; ++i) s.weights[i] = start.weights[i];
    s.nearest = combine(s.weights, s.corners[0].point, s.corners[1].point, s.corners[2].point);
    return s;
}

// The query point: the origin when the bodies are apart, else outside along the best direction.
inline Vec3 query(const Descent& s) { return s.normal * (s.depth + maximum(all(STAND_OFF), -s.depth)); }

// Share (0 to 1) of an edge at the point nearest to a place; both relative to the edge's begin.
inline Vector share(const Vec3& edge, const Vec3& offset) {
    return clip(dot(edge, offset) / maximum(dot(edge, edge), all(1e-18f)), Vector{}, all(1.0f));
}

// Weights of the second and third corner at the foot of a point on a triangle; returns whether it lies inside.
inline Mask barycentric(const Vec3& ab, const Vec3& ac, const Vec3& offset, Vector& v, Vector& w) {
    const Vec3 normal = cross(ab, ac);
    const Vector square = dot(normal, normal);
    const Mask usable = square > 1e-22f;
    const Vector inverse = 1.0f / choose(usable, square, all(1.0f));
    v = dot(cross(offset, ac), normal) * inverse;
    w = dot(cross(ab, offset), normal) * inverse;
    return usable & (v >= 0.0f) & (w >= 0.0f) & (v + w <= 1.0f);
}

// GJK's next simplex: the one of the old points and the new that is nearest to the query. Returns where it is another.
inline Mask grow(Descent& s, const Corner& corner) {
    // The nearest point of the grown simplex lies on an edge or triangle at the new point, unless it stayed.
    const Vec3 place = query(s), offset = place - corner.point, kept = place - s.nearest;
    Vec3 edges[3];
    for (int i = 0; i < 3; ++i) edges[i] = s.corners[i].point - corner.point;
    Vector best = dot(kept, kept), first = s.weights[0], second = s.weights[1];
    Mask choice = all(-1);
    const auto offer = [&](int number, Vector square, Vector v, Vector w, Mask valid) {
        const Mask closer = valid & (square < best);
        best = choose(closer, square, best);
        choice = choose(closer, all(number), choice);
        first = choose(closer, v, first);
        second = choose(closer, w, second);
    };
    for (int i = 0; i < 3; ++i) {
        const Vector along = share(edges[i], offset);
        const Vec3 gap = offset - along * edges[i];
        offer(i, dot(gap, gap), along, Vector{}, ~Mask{});
    }
    for (int i = 0; i < 3; ++i) {
        Vector v, w;
        const Vec3 &edge = edges[i], &following = edges[(i + 1) % 3];  // with the third side of a triangle between
        const Mask inside = barycentric(edge, following, offset, v, w);
        const Vec3 gap = offset - v * edge - w * following;
        offer(3 + i, dot(gap, gap), v, w, inside);
    }

    const Mask grown = choice >= 0, is_face = choice >= 3, side = choose(is_face, choice - 3, choice);
    const auto renew = [&](Vec3 Corner::*part) {
        const Vec3 a = s.corners[0].*part, b = s.corners[1].*part, c = s.corners[2].*part;
        const Vec3 here = choose(side == 0, a, choose(side == 1, b, c));
        const Vec3 there = choose(side == 0, b, choose(side == 1, c, a));
        s.corners[0].*part = choose(grown, corner.*part, a);
        s.corners[1].*part = choose(grown, here, b);
        s.corners[2].*part = choose(grown, choose(is_face, there, corner.*part), c);
    };
    renew(&Corner::point);
    renew(&Corner::first);
    s.weights[0] = first;
    s.weights[1] = second;
    const Vec3 nearest = combine(s.weights, s.corners[0].point, s.corners[1].point, s.corners[2].point);
    s.nearest = choose(grown, nearest, s.nearest);
    return grown;
}

// One support evaluation along a direction: perhaps a better one, and the next simplex. Returns where that is news.
inline Mask evaluate(const Pair& pair, Descent& s, const Vec3& direction) {
    const Corner corner = support(pair, direction);
    const Vector overlap = dot(corner.point, direction);
    const Mask better = overlap < s.depth;
    s.normal = choose(better, direction, s.normal);
    s.depth = choose(better, overlap, s.depth);
    return grow(s, corner) | better;
}

// Steps of a descent, each an evaluation towards the query.
inline void descend(const Pair& pair, Descent& s, int steps) {
    for (int step = 0; step < steps; ++step) {
        const Vec3 offset = query(s) - s.nearest;
        const Vector length = norm(offset);
        const Vec3 direction = choose(length > 1e-7f, offset * (1.0f / maximum(length, all(1e-7f))), s.normal);
        if (!any(evaluate(pair, s, direction))) return;
    }
}

// Start that a descent leaves for when the bodies have moved: its direction and its simplex in their frames.
inline Start start_at(const Pair& pair, const Descent& s) {
    Start start;
    start.normal = rotate_back(pair.mat, s.normal);
    for (int i = 0; i < 3; ++i) {
        start.first[i] = rotate_back(pair.mat, s.corners[i].first - pair.pos);
        start.second[i] = s.corners[i].first - s.corners[i].point;
    }
    for (int i = 0; i < 2; ++i) start.weights[i] = s.weights[i];
    return start;
}

// The axis of the first body with the least overlap, which is far where that body is a mesh.
inline Vec3 best_face(const Pair& pair, Mask is_mesh, Vector& least) {
    const Body& body1 = pair.body1;
    Vec3 normal = column(pair.mat, 0);
    least = all(FAR);
    if (!any(~is_mesh)) return normal;
    for (int k = 0; k < 6; ++k) {
        const Vec3 axis = k < 3 ? column(pair.mat, k) : -column(pair.mat, k - 3);
        const Vector reach1 = k % 3 < 2 ? body1.half[k % 3] + body1.disc : body1.half[2];
        const Vector reach2 = dot(body_support(pair.body2, -axis), -axis);
        const Vector overlap = choose(is_mesh, all(FAR), dot(axis, pair.pos) + reach1 + reach2);
        const Mask closer = overlap < least;
        normal = choose(closer, axis, normal);
        least = choose(closer, overlap, least);
    }
    return normal;
}

// The face normal of either hull with the least overlap among those that are not the `known` direction.
inline Vec3 best_hull_face(const Pair& pair, Mask index1, Mask index2, const HullTable& table, const Vec3& known) {
    Vec3 best = known;
    Vector least = all(FAR);
    const auto offer = [&](const Vec3& direction) {
        // A direction of zeros is no face.
        const Mask is_new = (dot(direction, direction) > 0.5f) & (dot(direction, known) < SAME_COSINE);
        if (!any(is_new)) return;
        const Vector overlap = dot(support(pair, direction).point, direction);
        const Mask closer = is_new & (overlap < least);
        best = choose(closer, direction, best);
        least = choose(closer, overlap, least);
    };
    const auto face = [&](Mask index, int number) {
        const float* faces = table.faces + 3 * number;
        const Mask at = index * (3 * table.num_faces);
        return Vec3{look_up(faces, at), look_up(faces + 1, at), look_up(faces + 2, at)};
    };
    for (int number = 0; number < table.num_faces; ++number) {
        offer(rotate(pair.mat, face(index1, number)));
        offer(-face(index2, number));
    }
    return best;
}

// The cube's directions in the order of `cube_directions`.
struct Cube {
    float direction[CUBE_DIRECTIONS][3]{};

    constexpr Cube() {
        constexpr double LENGTHS[] = {1.0, 1.4142135623730951, 1.7320508075688772};
        for (int number = 0, i = 0; number < 27; ++number) {
            const int place[3] = {number / 9 - 1, number / 3 % 3 - 1, number % 3 - 1};
            const int square = place[0] * place[0] + place[1] * place[1] + place[2] * place[2];
            if (square == 0) continue;
            for (int axis = 0; axis < 3; ++axis)
                direction[i][axis] = static_cast<float>(place[axis] / LENGTHS[square - 1]);
            ++i;
        }
    }
    Vec3 operator[](int i) const { return {all(direction[i][0]), all(direction[i][1]), all(direction[i][2])}; }
};

constexpr Cube CUBE;

// The best of the cube's directions in the frame of the second body, and the best well away from it.
//
// For this ranking alone a mesh as first body counts as its bounding box.
inline void two_best_of_cube(const Pair& pair, const Shape& shape1, Mask index2, const HullTable& table, Vec3& best,
                             Vec3& other) {
    const Vec3 half = pair.body1.half + choose(shape1.type == MESH, shape1.size, Vec3{});
    const bool has_mesh = any(pair.body2.hulls.is_mesh);
    Vector overlaps[CUBE_DIRECTIONS], least = all(std::numeric_limits<float>::infinity());
    best = other = CUBE[CUBE_DIRECTIONS - 1];
    for (int i = 0; i < CUBE_DIRECTIONS; ++i) {
        const Vec3 direction = CUBE[i];
        overlaps[i] = dot(direction, pair.pos);
        // Opposite directions stand at opposite ends of the list.
        if (has_mesh) overlaps[i] += look_up(table.reach + CUBE_DIRECTIONS - 1 - i, index2 * CUBE_DIRECTIONS);
        overlaps[i] += smooth_reach(pair.body1, half, rotate_back(pair.mat, direction)) +
                       smooth_reach(pair.body2, pair.body2.half, direction);
        const Mask closer = overlaps[i] < least;
        best = choose(closer, direction, best);
        least = choose(closer, overlaps[i], least);
    }
    least = all(std::numeric_limits<float>::infinity());
    for (int i = 0; i < CUBE_DIRECTIONS; ++i) {
        const Vec3 direction = CUBE[i];
        const Mask closer = (overlaps[i] < least) & (dot(direction, best) < MAX_COSINE);
        other = choose(closer, direction, other);
        least = choose(closer, overlaps[i], least);
    }
}

// Weights of the second and third corner in the triangle's point nearest to a place.
inline void triangle_weights(const Corner* corners, const Vec3& place, Vector* weights) {
    Vector v, w;
    const Vec3 &a = corners[0].point, &b = corners[1].point, &c = corners[2].point;
    const Mask inside = barycentric(b - a, c - a, place - a, v, w);
    Vector best = choose(inside, all(-1.0f), all(FAR));
    // The sides are those from the first corner to the second, on to the third, and from there to the first.
    for (int side = 0; side < 3; ++side) {
        const Vec3 edge = corners[(side + 1) % 3].point - corners[side].point, offset = place - corners[side].point;
        const Vector t = share(edge, offset);
        const Vec3 gap = offset - t * edge;
        const Vector square = dot(gap, gap);
        const Mask closer = square < best;
        best = choose(closer, square, best);
        v = choose(closer, side == 0 ? t : side == 1 ? 1.0f - t : Vector{}, v);
        w = choose(closer, side == 0 ? Vector{} : side == 1 ? t : 1.0f - t, w);
    }
    weights[0] = v;
    weights[1] = w;
}

// Search the contact of world-frame shapes from scratch.
inline Start find_start(const Shape& shape1, const Shape& shape2, const HullTable& hulls, int iterations) {
    const Pair pair = relate(shape1, shape2, hulls);
    const Mask index1 = hulls.index(shape1.type, shape1.hull), index2 = hulls.index(shape2.type, shape2.hull);
    Vector face_overlap;
    const Vec3 face_normal = best_face(pair, shape1.type == MESH, face_overlap);
    // Deep contacts have several local minima: two descents compete for a few steps, the better one goes on.
    Vec3 best, other;
    two_best_of_cube(pair, shape1, index2, hulls, best, other);
    Descent s = begin(pair, best), second = begin(pair, other);
    descend(pair, s, TRIAL_STEPS);
    descend(pair, second, TRIAL_STEPS);
    s = choose(s.depth <= second.depth, s, second);
    descend(pair, s, iterations - TRIAL_STEPS);

    // A box in a hull is often deepest along its own face, which a descent from elsewhere need not reach. Near the
    // direction found the simplex, which tells the position, is worth keeping.
    const Mask better = face_overlap < s.depth, restart = better & (dot(face_normal, s.normal) < MAX_COSINE);
    s.normal = choose(better, face_normal, s.normal);
    s.depth = choose(better, face_overlap, s.depth);
    if (any(restart)) s = choose(restart, begin(pair, face_normal), s);
    if (hulls.faces != nullptr) {
        Descent from_face = begin(pair, best_hull_face(pair, index1, index2, hulls, s.normal));
        descend(pair, from_face, iterations);
        s = choose(from_face.depth < s.depth, from_face, s);
    }
    return start_at(pair, s);
}

// Contact of world-frame convex shapes, one point a pair; also the start for when they have moved a little.
inline Points<1> collide_convex(const Shape& shape1, const Shape& shape2, const HullTable& hulls, Vector margin,
                                const Start& start, int iterations, Start& next) {
    const Pair pair = relate(shape1, shape2, hulls);
    Descent s = resume(pair, start);
    evaluate(pair, s, s.normal);  // the start's direction at the poses of now
    descend(pair, s, iterations);
    next = start_at(pair, s);

    Vector weights[2];
    triangle_weights(s.corners, query(s), weights);
    const Vec3 on_first = combine(weights, s.corners[0].first, s.corners[1].first, s.corners[2].first);
    const Vector depth = s.depth + pair.body1.ball + pair.body2.ball;
    // `on_first` lies on the core of body 1; midway between the surfaces.
    const Vec3 pos = on_first + s.normal * (pair.body1.ball - 0.5f * depth);
    Points<1> points;
    points.dist[0] = choose(-depth < margin, -depth, all(NO_CONTACT));
    points.pos[0] = shape2.pos + rotate(shape2.mat, pos);
    points.normal[0] = rotate(shape2.mat, s.normal);
    return points;
}

}  // namespace convex

using convex::collide_convex;
using convex::find_start;

}  // namespace
