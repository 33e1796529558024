// The support function of mesh hulls of hull_support.py, for LANES pairs at a time.
#pragma once

#include "shapes.hpp"

namespace {

constexpr int CANDIDATES = 12, INDEX_BITS = 4, CUBE_DIRECTIONS = 26;  // as in hull_support.py
constexpr float OFFSET = 0.5f;

// Support tables of hulls, of which the last is the single point at the origin; its arrays are hull_support.py's.
struct HullTable {
    const float* candidates;         // (rows, 3, CANDIDATES)
    const std::int32_t* first_row;   // (hulls,)
    const std::int32_t* resolution;  // (hulls,)
    const float* reach;              // (hulls, CUBE_DIRECTIONS)
    const float* faces;              // (hulls, num_faces, 3), null if none are tried
    std::int32_t hulls, num_faces;

    // Hulls of shapes by their type and hull; of those that are no mesh the last one.
    Mask index(Mask type, Mask hull) const {
        return clip(choose(type == MESH, hull, all(hulls - 1)), Mask{}, all(hulls - 1));
    }
};

inline Mask look_up(const std::int32_t* values, Mask index) {
    Mask found;
    for (int i = 0; i < LANES; ++i) found[i] = values[index[i]];
    return found;
}
inline Vector look_up(const float* values, Mask index) {
    Vector found;
    for (int i = 0; i < LANES; ++i) found[i] = values[index[i]];
    return found;
}

// Hulls of a pair's one side, as places in a table.
struct Hulls {
    Mask row, resolution;  // of the first cell; cells along a side of a cube's face
    Mask is_mesh;
    const float* candidates;

    static Hulls of(const HullTable& table, Mask type, Mask hull) {
        const Mask index = table.index(type, hull);
        return {look_up(table.first_row, index), look_up(table.resolution, index), type == MESH, table.candidates};
    }
};

typedef float Four __attribute__((vector_size(16)));
typedef std::int32_t FourKeys __attribute__((vector_size(16)));

// The one of a cell's candidates, (3, CANDIDATES), that is furthest along a direction.
inline int furthest_candidate(const float* cell, float x, float y, float z) {
    FourKeys best;
    for (int i = 0; i < CANDIDATES; i += 4) {
        Four vertices[3];
        for (int axis = 0; axis < 3; ++axis) std::memcpy(&vertices[axis], cell + axis * CANDIDATES + i, sizeof(Four));
        const Four reach = vertices[0] * x + vertices[1] * y + vertices[2] * z + OFFSET;
        FourKeys keys;
        std::memcpy(&keys, &reach, sizeof keys);
        keys = (keys >> INDEX_BITS << INDEX_BITS) | (FourKeys{0, 1, 2, 3} + i);
        best = i == 0 || keys > best ? keys : best;
    }
    const std::int32_t key = std::max(std::max(best[0], best[1]), std::max(best[2], best[3]));
    return key & ((1 << INDEX_BITS) - 1);
}

// The vertex furthest along a direction, both in the geom frame; the origin of what is no mesh.
inline Vec3 furthest_vertex(const Hulls& hulls, const Vec3& direction) {
    Vec3 found{};
    if (!any(hulls.is_mesh)) return found;
    const Vector x = direction[0], y = direction[1], z = direction[2];
    const Vector ax = magnitude(x), ay = magnitude(y), az = magnitude(z);
    const Mask is_x = (ax >= ay) & (ax >= az), is_y = ~is_x & (ay >= az);
    const Vector major = choose(is_x, x, choose(is_y, y, z));
    const Vector u = choose(is_x, y, choose(is_y, z, x)), v = choose(is_x, z, choose(is_y, x, y));
    const Mask face = choose(is_x, Mask{}, choose(is_y, all(2), all(4))) - (major < 0.0f);
    const Vector half = 0.5f * real(hulls.resolution), scale = half / maximum(magnitude(major), all(1e-20f));
    const Mask last = hulls.resolution - 1;
    const Mask i = clip(truncated(u * scale + half), Mask{}, last), j = clip(truncated(v * scale + half), Mask{}, last);
    const Mask row = hulls.row + (face * hulls.resolution + i) * hulls.resolution + j;
    for (int lane = 0; lane < LANES; ++lane) {
        if (!hulls.is_mesh[lane]) continue;
        const float* cell = hulls.candidates + std::int64_t{row[lane]} * 3 * CANDIDATES;
        const int best = furthest_candidate(cell, x[lane], y[lane], z[lane]);
        for (int axis = 0; axis < 3; ++axis) found[axis][lane] = cell[axis * CANDIDATES + best];
    }
    return found;
}

}  // namespace
