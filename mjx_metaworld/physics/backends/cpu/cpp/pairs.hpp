// Tables of all scenes' colliders and pairs, and the near pairs of all lanes, LANES of them at a time.
#pragma once

#include <vector>

#include "ffi.hpp"
#include "hull_support.hpp"
#include "shapes.hpp"

namespace {

enum Kind { PLANE_KIND, SPHERE_KIND, CAPSULE_KIND, BOX_KIND, CYLINDER_BOX_KIND, CONVEX_KIND, KINDS };

constexpr int BODIES = 14, START = 23;                           // skeleton bodies; numbers of a search's start
constexpr int COLLIDER = 21, BODY = 0, TYPE = 1, HULL = 2, POS = 3, MAT = 6, SIZE = 15, EXTENT = 18;  // rows
constexpr int GEOM1 = 0, GEOM2 = 1, PARAMETERS = 2;              // columns of a pair, of which the first parameter
constexpr int TABLES = 8;                                        // operands that hold what `Tables` does

// Operands that all tiles share, in their order: kinds, colliders, pairs, then the hulls' five.
struct Tables {
    const std::int32_t *rows, *slots;  // (KINDS,) of a kind of pair in a scene's table, and for its near pairs
    const float* colliders;            // (S, COLLIDER, C)
    const float* pairs;                // (S, P, columns)
    std::int64_t num_colliders, num_pairs, columns;
    HullTable hulls;
    int first_slot[KINDS + 1];

    const float* colliders_of(int scene) const { return colliders + scene * COLLIDER * num_colliders; }
    const float* pair(std::int64_t row) const { return pairs + row * columns; }
};

inline const XLA_FFI_Buffer* argument(const XLA_FFI_CallFrame* frame, std::int64_t i) {
    return static_cast<const XLA_FFI_Buffer*>(frame->args.args[i]);
}

inline Tables tables_of(const XLA_FFI_CallFrame* frame, std::int64_t first) {
    const auto buffer = [&](int i) { return argument(frame, first + i); };
    const auto reals = [&](int i) { return static_cast<const float*>(buffer(i)->data); };
    const auto whole = [&](int i) { return static_cast<const std::int32_t*>(buffer(i)->data); };
    Tables tables;
    tables.rows = whole(0);
    tables.slots = whole(0) + KINDS;
    tables.colliders = reals(1);
    tables.pairs = reals(2);
    tables.num_colliders = buffer(1)->dims[2];
    tables.num_pairs = buffer(2)->dims[1];
    tables.columns = buffer(2)->dims[2];
    tables.hulls.candidates = reals(3);
    tables.hulls.first_row = whole(4);
    tables.hulls.resolution = whole(5);
    tables.hulls.reach = reals(6);
    tables.hulls.hulls = static_cast<int>(buffer(4)->dims[0]);
    tables.hulls.num_faces = static_cast<int>(buffer(7)->dims[1]);
    tables.hulls.faces = tables.hulls.num_faces ? reals(7) : nullptr;
    tables.first_slot[0] = 0;
    for (int kind = 0; kind < KINDS; ++kind) tables.first_slot[kind + 1] = tables.first_slot[kind] + tables.slots[kind];
    return tables;
}

// A near pair of a lane.
struct Entry {
    std::int32_t tile, lane, slot;  // the slot within the kind
    std::int64_t row;               // in the table of all scenes' pairs
};

// Poses of bodies in a tile: (BODIES, 3, L) and (BODIES, 3, 3, L).
struct Poses {
    const float *pos, *mat;
    std::int64_t width;
};

// LANES pairs at a time, of which those beyond `count` repeat the last one.
struct Group {
    Shape shapes[2];  // in the world
    Vector margin;
};

// A search's start in arrays (START, slots, L): direction, the corners' components in both shapes' frames, weights.
struct StartPlace {
    std::int64_t slots, width;

    std::int64_t operator()(int row, const Entry& entry) const {
        return (row * slots + entry.slot) * width + entry.lane;
    }
};

// Calls `visit(row, vector)` for all vectors of a start in the order of its rows.
template <class StartOrConst, class Visit>
void for_rows(StartOrConst& start, const Visit& visit) {
    int row = 0;
    for (int i = 0; i < 3; ++i) visit(row++, start.normal[i]);
    for (int i = 0; i < 3; ++i)
        for (int corner = 0; corner < 3; ++corner) visit(row++, start.first[corner][i]);
    for (int i = 0; i < 3; ++i)
        for (int corner = 0; corner < 3; ++corner) visit(row++, start.second[corner][i]);
    for (int i = 0; i < 2; ++i) visit(row++, start.weights[i]);
}

// Both shapes of entries, in the world. `poses(tile)` are a tile's.
template <class PosesOf>
Group place(const Tables& tables, const Entry* entries, int count, const PosesOf& poses) {
    Group group;
    Mat3 body_mat[2], own_mat[2];
    Vec3 body_pos[2], own_pos[2];
    for (int i = 0; i < LANES; ++i) {
        const Entry& entry = entries[std::min(i, count - 1)];
        const float* pair = tables.pair(entry.row);
        const float* colliders = tables.colliders_of(static_cast<int>(entry.row / tables.num_pairs));
        const Poses at = poses(entry.tile);
        group.margin[i] = pair[PARAMETERS];
        for (int side = 0; side < 2; ++side) {
            const float* own = colliders + static_cast<std::int64_t>(pair[side ? GEOM2 : GEOM1]);
            const auto column = [&](int k) { return own[k * tables.num_colliders]; };
            const auto body = static_cast<std::int64_t>(column(BODY));
            Shape& shape = group.shapes[side];
            shape.type[i] = static_cast<std::int32_t>(column(TYPE));
            shape.hull[i] = static_cast<std::int32_t>(column(HULL));
            for (int k = 0; k < 3; ++k) {
                own_pos[side][k][i] = column(POS + k);
                shape.size[k][i] = column(SIZE + k);
                body_pos[side][k][i] = at.pos[(body * 3 + k) * at.width + entry.lane];
                for (int j = 0; j < 3; ++j) {
                    own_mat[side][k][j][i] = column(MAT + 3 * k + j);
                    body_mat[side][k][j][i] = at.mat[((body * 3 + k) * 3 + j) * at.width + entry.lane];
                }
            }
        }
    }
    for (int side = 0; side < 2; ++side) {
        group.shapes[side].pos = body_pos[side] + rotate(body_mat[side], own_pos[side]);
        group.shapes[side].mat = matmul(body_mat[side], own_mat[side]);
    }
    return group;
}

}  // namespace
