// The narrow phase of collision/ for a CPU: contact points of the near pairs of all lanes, and each lane's deepest.

#include "box.hpp"
#include "capsule.hpp"
#include "convex.hpp"
#include "cylinder_box.hpp"
#include "pairs.hpp"
#include "plane.hpp"
#include "sphere.hpp"

namespace {

// Columns of a contact, as `Contacts` has them.
constexpr int DIST_COLUMN = 0, POS_COLUMN = 1, FRAME_COLUMN = 4, BODY_COLUMN = 13, PARAMETER_COLUMN = 15;
constexpr int MOST_POINTS = 16;  // of a pair

// A point that touches.
struct Touch {
    float dist, pos[3], normal[3];
    std::int64_t row;    // of its pair
    std::int32_t order;  // in which a lane's contacts stand: by kind, number of the point, slot
    std::int32_t next;   // of its lane, -1 for the last
};

// The touching points of all lanes, each lane's as a list.
struct Touches {
    std::vector<Touch> all;
    std::vector<std::int32_t> heads;  // by tile and lane

    void clear(std::int64_t lanes) {
        all.clear();
        heads.assign(lanes, -1);
    }

    template <int N, int NORMALS>
    void add(const Points<N, NORMALS>& points, Vector margin, const Entry* entries, int count, std::int64_t width,
             int kind) {
        const Vector limit = margin - ROUNDING;
        for (int n = 0; n < N; ++n) {
            if (!any(points.dist[n] < limit)) continue;
            const Vec3 &pos = points.pos[n], &normal = points.normal[NORMALS == 1 ? 0 : n];
            for (int i = 0; i < count; ++i) {
                if (!(points.dist[n][i] < limit[i])) continue;
                const Entry& entry = entries[i];
                std::int32_t& head = heads[entry.tile * width + entry.lane];
                const std::int32_t order = ((kind * MOST_POINTS + n) << 16) + entry.slot;
                all.push_back({points.dist[n][i],
                               {pos[0][i], pos[1][i], pos[2][i]},
                               {normal[0][i], normal[1][i], normal[2][i]},
                               entry.row,
                               order,
                               head});
                head = static_cast<std::int32_t>(all.size()) - 1;
            }
        }
    }
};

// Writes rows of a frame by MuJoCo's rule: the normal and two tangents.
void write_frame(const float* normal, float* to, std::int64_t width) {
    const int axis = std::abs(normal[1]) < 0.5f ? 1 : 2;
    float tangent[3], square = 0.0f;
    for (int i = 0; i < 3; ++i) {
        tangent[i] = (i == axis ? 1.0f : 0.0f) - normal[i] * normal[axis];
        square += tangent[i] * tangent[i];
    }
    const float length = std::max(__builtin_sqrtf(square), 1e-15f);
    for (float& x : tangent) x /= length;
    for (int i = 0; i < 3; ++i) {
        const int j = (i + 1) % 3, k = (i + 2) % 3;
        to[i * width] = normal[i];
        to[(3 + i) * width] = tangent[i];
        to[(6 + i) * width] = normal[j] * tangent[k] - normal[k] * tangent[j];
    }
}

// Writes a lane's contacts: the deepest `most`, in their order. `data` (most, columns, L) and `rows` (most, L) hold
// zeros before.
void write_contacts(const Tables& tables, Touches& touches, std::int32_t head, int most, std::vector<Touch>& own,
                    float* data, std::int32_t* rows, std::int64_t width) {
    own.clear();
    for (std::int32_t i = head; i >= 0; i = touches.all[i].next) own.push_back(touches.all[i]);
    const auto in_order = [](const Touch& a, const Touch& b) { return a.order < b.order; };
    if (static_cast<int>(own.size()) > most) {
        std::nth_element(own.begin(), own.begin() + most, own.end(), [](const Touch& a, const Touch& b) {
            return a.dist < b.dist || (a.dist == b.dist && a.order < b.order);
        });
        own.resize(most);
    }
    std::sort(own.begin(), own.end(), in_order);
    const std::int64_t columns = PARAMETER_COLUMN + (tables.columns - PARAMETERS) + 1;
    for (std::size_t c = 0; c < own.size(); ++c) {
        const Touch& touch = own[c];
        float* to = data + c * columns * width;
        to[DIST_COLUMN * width] = touch.dist;
        for (int i = 0; i < 3; ++i) to[(POS_COLUMN + i) * width] = touch.pos[i];
        write_frame(touch.normal, to + FRAME_COLUMN * width, width);
        const float* pair = tables.pair(touch.row);
        const float* colliders = tables.colliders_of(static_cast<int>(touch.row / tables.num_pairs));
        for (int side = 0; side < 2; ++side)
            to[(BODY_COLUMN + side) * width] =
                colliders[BODY * tables.num_colliders + static_cast<std::int64_t>(pair[side ? GEOM2 : GEOM1])];
        for (std::int64_t i = PARAMETERS; i < tables.columns; ++i)
            to[(PARAMETER_COLUMN + i - PARAMETERS) * width] = pair[i];
        to[(columns - 1) * width] = 1.0f;
        rows[c * width] = static_cast<std::int32_t>(touch.row);
    }
}

enum Operand { XPOS, XMAT, SCENES, PAIRS, NEAR, STARTS, OPERANDS };
enum Result { CONTACTS, ROWS, NEXT_STARTS, RESULTS };
constexpr int OPERAND_AXES[OPERANDS] = {3, 4, 1, 2, 2, 3}, RESULT_AXES[RESULTS] = {3, 2, 3};

}  // namespace

extern "C" XLA_FFI_Error* narrowphase(XLA_FFI_CallFrame* frame) {
    if (tells_version(frame)) return nullptr;
    std::int32_t iterations;
    if (frame->args.size != OPERANDS + TABLES || frame->rets.size != RESULTS) {
        return fail(frame, "narrowphase: wrong operands");
    }
    if (!read(frame, "iterations", XLA_FFI_DataType_S32, iterations)) {
        return fail(frame, "narrowphase: wrong attributes");
    }
    const Tables tables = tables_of(frame, OPERANDS);
    const Call<OPERANDS, RESULTS> call(frame, OPERAND_AXES, RESULT_AXES);
    const std::int64_t tiles = call.tiles, width = call.operand_axis(SCENES, 0);
    const int most = static_cast<int>(call.result_axis(ROWS, 1));
    const auto poses = [&](std::int64_t tile) {
        return Poses{call.operand(XPOS, tile), call.operand(XMAT, tile), width};
    };
    const StartPlace place_of{tables.slots[CONVEX_KIND], width};
    for (int i = 0; i < RESULTS; ++i) call.clear(i);

    thread_local Touches touches;
    thread_local std::vector<Entry> entries;
    thread_local std::vector<Touch> own;
    touches.clear(tiles * width);
    for (int kind = 0; kind < KINDS; ++kind) {
        entries.clear();
        for (std::int64_t tile = 0; tile < tiles; ++tile) {
            const auto whole = [&](int i) { return call.operand<std::int32_t>(i, tile); };
            const std::int32_t *scene = whole(SCENES), *pairs = whole(PAIRS), *near = whole(NEAR);
            for (std::int64_t lane = 0; lane < width; ++lane) {
                const std::int32_t count = std::min(near[kind * width + lane], tables.slots[kind]);
                for (std::int32_t slot = 0; slot < count; ++slot) {
                    const std::int64_t row = pairs[(tables.first_slot[kind] + slot) * width + lane];
                    entries.push_back({static_cast<std::int32_t>(tile), static_cast<std::int32_t>(lane), slot,
                                       scene[lane] * tables.num_pairs + row});
                }
            }
        }
        for (std::size_t first = 0; first < entries.size(); first += LANES) {
            const int count = static_cast<int>(std::min<std::size_t>(LANES, entries.size() - first));
            const Entry* here = &entries[first];
            const Group group = place(tables, here, count, poses);
            const Shape &a = group.shapes[0], &b = group.shapes[1];
            const auto add = [&](const auto& points) { touches.add(points, group.margin, here, count, width, kind); };
            if (kind == PLANE_KIND) {
                add(collide_planes(a, b, furthest_vertex(Hulls::of(tables.hulls, b.type, b.hull), downwards(a, b))));
            } else if (kind == SPHERE_KIND) {
                add(collide_spheres(a, b));
            } else if (kind == CAPSULE_KIND) {
                add(collide_capsules(a, b));
            } else if (kind == BOX_KIND) {
                add(collide_boxes(a, b, group.margin));
            } else if (kind == CYLINDER_BOX_KIND) {
                add(collide_cylinder_boxes(a, b, group.margin));
            } else {
                Start start, next;
                for_rows(start, [&](int row, Vector& x) {
                    for (int i = 0; i < LANES; ++i) {
                        const Entry& entry = here[std::min(i, count - 1)];
                        x[i] = call.operand(STARTS, entry.tile)[place_of(row, entry)];
                    }
                });
                add(collide_convex(a, b, tables.hulls, group.margin, start, iterations, next));
                for_rows(next, [&](int row, const Vector& x) {
                    for (int i = 0; i < count; ++i) {
                        call.result(NEXT_STARTS, here[i].tile)[place_of(row, here[i])] = x[i];
                    }
                });
            }
        }
    }
    for (std::int64_t tile = 0; tile < tiles; ++tile) {
        for (std::int64_t lane = 0; lane < width; ++lane) {
            const std::int32_t head = touches.heads[tile * width + lane];
            if (head < 0) continue;
            write_contacts(tables, touches, head, most, own, call.result(CONTACTS, tile) + lane,
                           call.result<std::int32_t>(ROWS, tile) + lane, width);
        }
    }
    return nullptr;
}
