// The broad phase of collision/candidates.py for a CPU, and the start of the search for the contacts of convex pairs.
//
// Of pairs that are beyond reach nothing is asked but that they are: their slots hold row 0.

#include "convex.hpp"
#include "pairs.hpp"

namespace {

// Poses, and half-extents of the world-aligned bounding boxes, of a lane's colliders.
struct Boxes {
    std::vector<float> pos[3], mat[9], half[3];

    void resize(std::size_t count) {
        for (auto* rows : {pos, half})
            for (int i = 0; i < 3; ++i) rows[i].resize(count + LANES);
        for (auto& row : mat) row.resize(count + LANES);
    }
};

Vector load(const float* from) {
    Vector x;
    std::memcpy(&x, from, sizeof x);
    return x;
}

void store(float* to, Vector x) { std::memcpy(to, &x, sizeof x); }

// LANES colliders of a lane at a time; `own` are those of its scene, with LANES numbers behind the last.
void bound(const float* own, std::int64_t count, const Poses& poses, int lane, Boxes& boxes) {
    for (std::int64_t first = 0; first < count; first += LANES) {
        const int here = static_cast<int>(std::min<std::int64_t>(LANES, count - first));
        const auto row = [&](int k) {
            const float* from = own + k * count + first;
            Vector x{};
            if (here == LANES) {
                x = load(from);
            } else {
                for (int i = 0; i < here; ++i) x[i] = from[i];
            }
            return x;
        };
        const Mask body = truncated(row(BODY));
        Vec3 body_pos, own_pos, extent;
        Mat3 body_mat, own_mat;
        for (int k = 0; k < 3; ++k) {
            own_pos[k] = row(POS + k);
            extent[k] = row(EXTENT + k);
            for (int i = 0; i < LANES; ++i) body_pos[k][i] = poses.pos[(body[i] * 3 + k) * poses.width + lane];
            for (int j = 0; j < 3; ++j) {
                own_mat[k][j] = row(MAT + 3 * k + j);
                for (int i = 0; i < LANES; ++i)
                    body_mat[k][j][i] = poses.mat[((body[i] * 3 + k) * 3 + j) * poses.width + lane];
            }
        }
        const Vec3 pos = body_pos + rotate(body_mat, own_pos);
        const Mat3 mat = matmul(body_mat, own_mat);
        // Capsules get their own box, not that of the box around them (candidates.py).
        const Mask capsule = truncated(row(TYPE)) == CAPSULE;
        const Vector radius = extent[0], length = extent[2] - extent[0];
        const Vec3 box = rotate(magnitude(mat), extent);
        for (int k = 0; k < 3; ++k) {
            store(&boxes.pos[k][first], pos[k]);
            store(&boxes.half[k][first], choose(capsule, radius + magnitude(mat[k][2]) * length, box[k]));
            for (int j = 0; j < 3; ++j) store(&boxes.mat[3 * k + j][first], mat[k][j]);
        }
    }
}

// Gap between the bounding boxes of two colliders; a height above the first one where that is a plane.
float gap_of(const Boxes& boxes, int a, int b, bool plane) {
    float gap = plane ? 0.0f : -std::numeric_limits<float>::infinity();
    for (int k = 0; k < 3; ++k) {
        if (plane) {
            const float normal = boxes.mat[3 * k + 2][a];
            gap += normal * (boxes.pos[k][b] - boxes.pos[k][a]) - std::abs(normal) * boxes.half[k][b];
        } else {
            const float along = std::abs(boxes.pos[k][a] - boxes.pos[k][b]) - boxes.half[k][a] - boxes.half[k][b];
            gap = gap < along || along != along ? along : gap;  // what is no number stays, so that it is never near
        }
    }
    return gap;
}

struct Ranked {
    float gap;
    std::int32_t row;
};

// The nearest pairs of a lane, in `pairs` (slots of all kinds) and `near` (KINDS), both `width` apart.
void choose_pairs(const Tables& tables, int scene, const Boxes& boxes, float reach, std::vector<Ranked>& close,
                  std::int32_t* pairs, std::int32_t* near, std::int64_t width) {
    std::int32_t row = 0;
    for (int kind = 0; kind < KINDS; ++kind) {
        close.clear();
        const int slots = tables.slots[kind];
        const std::int32_t end = row + tables.rows[kind];
        for (; slots && row < end; ++row) {
            const float* pair = tables.pair(scene * tables.num_pairs + row);
            if (pair[GEOM1] < 0.0f) continue;
            const float gap =
                gap_of(boxes, static_cast<int>(pair[GEOM1]), static_cast<int>(pair[GEOM2]), kind == PLANE_KIND);
            if (gap < pair[PARAMETERS] + reach) close.push_back({gap, row});
        }
        row = end;
        const int found = std::min(static_cast<int>(close.size()), slots);
        std::partial_sort(close.begin(), close.begin() + found, close.end(), [](const Ranked& a, const Ranked& b) {
            return a.gap < b.gap || (a.gap == b.gap && a.row < b.row);
        });
        for (int i = 0; i < slots; ++i) pairs[(tables.first_slot[kind] + i) * width] = i < found ? close[i].row : 0;
        near[kind * width] = found;
    }
}

enum Operand { XPOS, XMAT, SCENES, REACH, OPERANDS };
enum Result { PAIRS, NEAR, STARTS, RESULTS };
constexpr int OPERAND_AXES[OPERANDS] = {3, 4, 1, 1}, RESULT_AXES[RESULTS] = {2, 2, 3};

}  // namespace

extern "C" XLA_FFI_Error* broadphase(XLA_FFI_CallFrame* frame) {
    if (tells_version(frame)) return nullptr;
    std::int32_t iterations;
    if (frame->args.size != OPERANDS + TABLES || frame->rets.size != RESULTS) {
        return fail(frame, "broadphase: wrong operands");
    }
    if (!read(frame, "iterations", XLA_FFI_DataType_S32, iterations)) {
        return fail(frame, "broadphase: wrong attributes");
    }
    const Tables tables = tables_of(frame, OPERANDS);
    const Call<OPERANDS, RESULTS> call(frame, OPERAND_AXES, RESULT_AXES);
    const std::int64_t tiles = call.tiles, width = call.operand_axis(SCENES, 0);
    const auto poses = [&](std::int64_t tile) {
        return Poses{call.operand(XPOS, tile), call.operand(XMAT, tile), width};
    };

    thread_local Boxes boxes;
    thread_local std::vector<Ranked> close;
    thread_local std::vector<Entry> entries;
    boxes.resize(tables.num_colliders);
    entries.clear();
    for (std::int64_t tile = 0; tile < tiles; ++tile) {
        for (std::int64_t lane = 0; lane < width; ++lane) {
            const std::int32_t scene = call.operand<std::int32_t>(SCENES, tile)[lane];
            bound(tables.colliders_of(scene), tables.num_colliders, poses(tile), static_cast<int>(lane), boxes);
            std::int32_t* pairs = call.result<std::int32_t>(PAIRS, tile) + lane;
            std::int32_t* near = call.result<std::int32_t>(NEAR, tile) + lane;
            choose_pairs(tables, scene, boxes, call.operand(REACH, tile)[lane], close, pairs, near, width);
            for (std::int32_t slot = 0; slot < near[CONVEX_KIND * width]; ++slot) {
                const std::int64_t row = pairs[(tables.first_slot[CONVEX_KIND] + slot) * width];
                entries.push_back({static_cast<std::int32_t>(tile), static_cast<std::int32_t>(lane), slot,
                                   scene * tables.num_pairs + row});
            }
        }
    }
    const StartPlace place_of{tables.slots[CONVEX_KIND], width};
    call.clear(STARTS);
    for (std::size_t first = 0; first < entries.size(); first += LANES) {
        const int count = static_cast<int>(std::min<std::size_t>(LANES, entries.size() - first));
        const Group group = place(tables, &entries[first], count, poses);
        const Start start = find_start(group.shapes[0], group.shapes[1], tables.hulls, iterations);
        for_rows(start, [&](int row, const Vector& x) {
            for (int i = 0; i < count; ++i) {
                const Entry& entry = entries[first + i];
                call.result(STARTS, entry.tile)[place_of(row, entry)] = x[i];
            }
        });
    }
    return nullptr;
}
