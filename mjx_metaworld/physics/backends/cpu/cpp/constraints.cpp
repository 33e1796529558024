// The constraint rows of constraint.py for a CPU: those of all of a substep's environments in one call.
//
// LANES environments are worked on side by side, the same ones as in the solver (newton.cpp). Like the solver, this
// kernel visits a contact only where any of these lanes has so many; the Jacobians and reference accelerations of the
// other contacts stay unwritten. Contacts touch few of the three blocks of dofs (robot, free body, part), and a block
// that none of the lanes' contacts touches is only filled with zeros.

#include "ffi.hpp"
#include "lanes.hpp"
#include "quaternion.hpp"
#include "skeleton.hpp"

namespace {

constexpr int WELD = 6, BLOCKS = 3;
constexpr int FIRST[BLOCKS + 1] = {0, FREE_DOF, PART_DOF, NV};  // dofs of robot, free body and part
// Bodies, of which those from the first to the last one are moved by some dof of a block.
constexpr int LEFT_CLAW = RIGHT_CLAW + 1;
constexpr int FIRST_BODY[BLOCKS] = {LINK0, FREE_BODY, PART}, LAST_BODY[BLOCKS] = {LEFT_CLAW, FREE_BODY, PART};

// As in constraint.py.
constexpr float MIN_IMPEDANCE = 1e-4f, MAX_IMPEDANCE = 0.9999f, MIN_FRICTION = 1e-5f, MIN_VALUE = 1e-15f;
constexpr float NO_LIMIT = 1e10f;

// Columns of a contact, as `Contacts` has them; the last column tells whether it is active.
constexpr int DIST = 0, POS = 1, FRAME = 4, BODY = 13, MARGIN = 15, TORSIONAL = 16, FRICTION = 18, SOLREF = 20;
constexpr int SOLIMP = 22, INVWEIGHT = 27, SLIDES = 29, ROLLING = 30, PLAIN_COLUMNS = 30;

// The robot's, in the order of the table that constraints.py makes.
struct Constants {
    float timestep;
    float mocap_quat[4], weld_relquat[4];
    float weld_torquescale, weld_solref[2], weld_solimp[5], weld_invweight[2];
    float limit_range[ROBOT][2], limit_solref[ROBOT][2], limit_solimp[ROBOT][5], dof_invweight0[ROBOT];
};

// Operands and results of a tile, in their order.
struct Arrays {
    const float *ang, *lin, *anchor;       // (18, 3, L)
    const float *hand_pos, *hand_quat;     // (3, L), (4, L)
    const float *qpos, *qvel, *mocap_pos;  // (19, L), (18, L), (3, L)
    const bool* part_limited;              // (3, L)
    const float *part_range, *part_solref, *part_solimp, *part_invweight;  // (3, 2, L), (3, 2, L), (3, 5, L), (3, L)
    const float* contacts;                    // (K, columns, L)
    float *weld_jac, *weld_d, *weld_aref;     // (6, 7, L), (6, L), (6, L)
    float *limit_jac, *limit_d, *limit_aref;  // (18, L)
    float *contact_jac, *contact_d, *contact_aref, *contact_mu;  // (K, R, 18, L), (K, L), (K, R, L), (K, L)
    std::int32_t* num_contacts;               // (L,)
};

template <bool WHOLE>
Vec3 load_vec3(const Place<WHOLE>& at, const float* array, std::int64_t index) {
    return {at.load(array, index), at.load(array, index + 1), at.load(array, index + 2)};
}

// Motion of each dof, and its velocity.
struct Motion {
    Vec3 ang[NV], lin[NV], anchor[NV];
    Vector qvel[NV];
};

template <bool WHOLE>
void load_motion(const Place<WHOLE>& at, const Arrays& arrays, Motion& motion) {
    for (int i = 0; i < NV; ++i) {
        motion.ang[i] = load_vec3(at, arrays.ang, 3 * i);
        motion.lin[i] = load_vec3(at, arrays.lin, 3 * i);
        motion.anchor[i] = load_vec3(at, arrays.anchor, 3 * i);
        motion.qvel[i] = at.load(arrays.qvel, i);
    }
}

// Velocity that a dof gives to a point which it moves.
inline Vec3 velocity_at(const Motion& motion, int dof, const Vec3& pos) {
    return motion.lin[dof] + cross(motion.ang[dof], pos - motion.anchor[dof]);
}

// --- stiffness, damping and impedance of a row ---

struct Parameters {
    Vector solref[2], solimp[5];

    static Parameters of(const float* solref, const float* solimp) {
        Parameters p;
        for (int i = 0; i < 2; ++i) p.solref[i] = all(solref[i]);
        for (int i = 0; i < 5; ++i) p.solimp[i] = all(solimp[i]);
        return p;
    }
    template <bool WHOLE>
    static Parameters of(const Place<WHOLE>& at, const float* solref, std::int64_t first_ref, const float* solimp,
                         std::int64_t first_imp) {
        Parameters p;
        for (int i = 0; i < 2; ++i) p.solref[i] = at.load(solref, first_ref + i);
        for (int i = 0; i < 5; ++i) p.solimp[i] = at.load(solimp, first_imp + i);
        return p;
    }
};

struct Impedance {
    Vector stiffness, damping, value;
};

// Powers other than MuJoCo's default and the linear one are rare.
inline Vector to_power(Vector x, Vector power) {
    Vector result = choose(power == 1.0f, x, x * x);
    const Mask other = (power != 1.0f) & (power != 2.0f);
    if (any(other)) {
        for (int i = 0; i < LANES; ++i)
            if (other[i]) result[i] = __builtin_powf(x[i], power[i]);
    }
    return result;
}

inline Impedance impedance(const Parameters& row, Vector violation, float timestep) {
    const Vector least = all(MIN_IMPEDANCE), most = all(MAX_IMPEDANCE), one = all(1.0f);
    const Vector low = clip(row.solimp[0], least, most), high = clip(row.solimp[1], least, most);
    const Vector width = maximum(row.solimp[2], Vector{}), midpoint = clip(row.solimp[3], least, most);
    const Vector power = maximum(row.solimp[4], one);

    const Vector x = minimum(one, magnitude(violation) / maximum(width, all(MIN_VALUE)));  // NaN stays in this order
    const Mask rising = x <= midpoint;
    const Vector knee = choose(rising, midpoint, 1.0f - midpoint), distance = choose(rising, x, 1.0f - x);
    const Vector curve = knee * to_power(distance / knee, power);
    const Vector curved = low + choose(rising, curve, 1.0f - curve) * (high - low);

    const Vector timeconst = maximum(row.solref[0], all(2.0f * timestep)), slowness = high * timeconst * row.solref[1];
    return {
        1.0f / maximum(slowness * slowness, all(MIN_VALUE)),
        2.0f / maximum(high * timeconst, all(MIN_VALUE)),
        choose(width <= MIN_VALUE, 0.5f * (low + high), curved),
    };
}

inline Vector row_stiffness(Vector imp, Vector inverse_weight) {
    return 1.0f / maximum(all(MIN_VALUE), (1.0f - imp) / imp * inverse_weight);
}

// --- the weld ---

template <bool WHOLE>
void add_weld(const Place<WHOLE>& at, const Arrays& arrays, const Constants& robot, const Motion& motion) {
    const Vec3 hand_pos = load_vec3(at, arrays.hand_pos, 0);
    Quat hand, back, mocap;
    for (int i = 0; i < 4; ++i) {
        hand[i] = at.load(arrays.hand_quat, i);
        back[i] = i ? -hand[i] : hand[i];
        mocap[i] = all(robot.mocap_quat[i]);
    }
    const Quat error = multiply(back, multiply(mocap, robot.weld_relquat));
    const Vec3 turn = {error[1], error[2], error[3]};
    const Mat3 mat = from_quat(hand);
    const float scale = robot.weld_torquescale;

    Vector jac[WELD][LINKS], pos[WELD], square{};
    for (int i = 0; i < LINKS; ++i) {
        const Vec3 translation = -velocity_at(motion, i, hand_pos), omega = rotate_back(mat, motion.ang[i]);
        const Vec3 rotation = all(-0.5f) * (error[0] * omega + cross(omega, turn));
        for (int k = 0; k < 3; ++k) {
            jac[k][i] = translation[k];
            jac[3 + k][i] = scale * rotation[k];
        }
    }
    for (int k = 0; k < 3; ++k) {
        pos[k] = at.load(arrays.mocap_pos, k) - hand_pos[k];
        pos[3 + k] = scale * turn[k];
    }
    for (const Vector x : pos) square += x * x;
    const Impedance imp =
        impedance(Parameters::of(robot.weld_solref, robot.weld_solimp), root(square), robot.timestep);
    for (int r = 0; r < WELD; ++r) {
        Vector velocity{};
        for (int i = 0; i < LINKS; ++i) {
            velocity += jac[r][i] * motion.qvel[i];
            at.store(arrays.weld_jac, r * LINKS + i, jac[r][i]);
        }
        at.store(arrays.weld_d, r, row_stiffness(imp.value, all(robot.weld_invweight[r / 3])));
        at.store(arrays.weld_aref, r, -imp.damping * velocity - imp.stiffness * imp.value * pos[r]);
    }
}

// --- joint limits ---

template <bool WHOLE>
void store_limit(const Place<WHOLE>& at, const Arrays& arrays, int dof, Vector jac, Vector d, Vector aref) {
    at.store(arrays.limit_jac, dof, jac);
    at.store(arrays.limit_d, dof, d);
    at.store(arrays.limit_aref, dof, aref);
}

// The row of a dof with a range; `parameters` and `inverse_weight` are called only where a lane is beyond.
template <bool WHOLE, class GetParameters, class GetWeight>
void add_limit(const Place<WHOLE>& at, const Arrays& arrays, float timestep, int dof, Vector qpos, Vector lower,
               Vector upper, const GetParameters& parameters, const GetWeight& inverse_weight) {
    const Vector above_lower = qpos - lower, below_upper = upper - qpos;
    const Vector distance = minimum(above_lower, below_upper);
    const Mask active = distance < 0.0f;
    if (!any(active)) return store_limit(at, arrays, dof, Vector{}, Vector{}, Vector{});
    const auto where = [&](Vector x) { return choose(active, x, Vector{}); };
    const Vector jac = where(choose(above_lower < below_upper, all(1.0f), all(-1.0f)));
    const Impedance imp = impedance(parameters(), distance, timestep);
    store_limit(at, arrays, dof, jac, where(row_stiffness(imp.value, inverse_weight())),
                where(-imp.damping * jac * at.load(arrays.qvel, dof) - imp.stiffness * imp.value * distance));
}

template <bool WHOLE>
void add_limits(const Place<WHOLE>& at, const Arrays& arrays, const Constants& robot) {
    for (int i = 0; i < ROBOT; ++i) {
        const float* range = robot.limit_range[i];
        add_limit(
            at, arrays, robot.timestep, i, at.load(arrays.qpos, i), all(range[0]), all(range[1]),
            [&] { return Parameters::of(robot.limit_solref[i], robot.limit_solimp[i]); },
            [&] { return all(robot.dof_invweight0[i]); });
    }
    for (int i = FIRST[1]; i < FIRST[2]; ++i) store_limit(at, arrays, i, Vector{}, Vector{}, Vector{});
    for (int k = 0; k < NV - FIRST[2]; ++k) {
        Mask limited{};
        for (int i = 0; i < LANES; ++i)
            limited[i] = -arrays.part_limited[k * at.width + at.first + std::min(i, at.count - 1)];
        const Vector lower = choose(limited, at.load(arrays.part_range, 2 * k), all(-NO_LIMIT));
        const Vector upper = choose(limited, at.load(arrays.part_range, 2 * k + 1), all(NO_LIMIT));
        add_limit(
            at, arrays, robot.timestep, FIRST[2] + k, at.load(arrays.qpos, PART_QPOS + k), lower, upper,
            [&] { return Parameters::of(at, arrays.part_solref, 2 * k, arrays.part_solimp, 5 * k); },
            [&] { return at.load(arrays.part_invweight, k); });
    }
}

// --- contacts ---

// The bodies that a dof moves are consecutive.
constexpr int first_moved(int dof) {
    return dof < LINKS ? LINK0 + dof : dof < FIRST[1] ? RIGHT_CLAW + dof - LINKS : dof < FIRST[2] ? FREE_BODY : PART;
}
constexpr int last_moved(int dof) { return dof < LINKS ? LEFT_CLAW : first_moved(dof); }

inline Mask between(Vector body, int first, int last) {
    return (body >= static_cast<float>(first)) & (body <= static_cast<float>(last));
}

// A contact of each lane.
struct Contact {
    Vector body[2];  // the world, which nothing moves, where the contact is not active
    Vec3 pos, normal, tangent[2], rolling[2];  // zero without friction, and tangents times the friction of rolling
    Vector twist;
};

// The rows' entries at the dofs of a block, and what these add to the rows' velocities.
template <int R, int BLOCK, bool WHOLE>
void add_block(const Place<WHOLE>& at, const Motion& motion, const Contact& contact, bool twists, float* jac,
               std::int64_t row, Vector* velocity) {
    for (int i = FIRST[BLOCK]; i < FIRST[BLOCK + 1]; ++i) {
        const Mask by_first = between(contact.body[0], first_moved(i), last_moved(i));
        const Mask by_second = between(contact.body[1], first_moved(i), last_moved(i));
        const Vector sign = real(by_first - by_second);  // a mask is -1 where true
        const Vec3 linear = velocity_at(motion, i, contact.pos) * sign, omega = motion.ang[i] * sign;
        Vector entries[R] = {dot(contact.normal, linear), dot(contact.tangent[0], linear),
                             dot(contact.tangent[1], linear)};
        if (twists) entries[3] = contact.twist * dot(contact.normal, omega);
        for (int r = 4; r < R; ++r) entries[r] = dot(contact.rolling[r - 4], omega);
        for (int r = 0; r < R; ++r) {
            velocity[r] += entries[r] * motion.qvel[i];
            at.store(jac, (row + r) * NV + i, entries[r]);
        }
    }
}

template <int R, int BLOCK, bool WHOLE>
void clear_block(const Place<WHOLE>& at, float* jac, std::int64_t row) {
    for (int r = 0; r < R; ++r)
        for (int i = FIRST[BLOCK]; i < FIRST[BLOCK + 1]; ++i) at.store(jac, (row + r) * NV + i, Vector{});
}

template <int R, int BLOCK, bool WHOLE>
void add_or_clear(const Place<WHOLE>& at, const Motion& motion, const Contact& contact, bool twists, float* jac,
                  std::int64_t row, Vector* velocity) {
    Mask touches{};
    for (const Vector body : contact.body) touches |= between(body, FIRST_BODY[BLOCK], LAST_BODY[BLOCK]);
    if (any(touches)) {
        add_block<R, BLOCK>(at, motion, contact, twists, jac, row, velocity);
    } else {
        clear_block<R, BLOCK>(at, jac, row);
    }
}

template <int R, bool WHOLE>
void add_contact(const Place<WHOLE>& at, const Arrays& arrays, int columns, float timestep, const Motion& motion,
                 int c) {
    const std::int64_t first = static_cast<std::int64_t>(c) * columns;
    const auto column = [&](int i) { return at.load(arrays.contacts, first + i); };
    const Mask active = column(columns - 1) > 0.0f;
    const auto where = [&](Vector x) { return choose(active, x, Vector{}); };
    const auto vec3_where = [&](int i) { return Vec3{where(column(i)), where(column(i + 1)), where(column(i + 2))}; };

    const Vector mu = choose(active, maximum(column(FRICTION), all(MIN_FRICTION)), all(1.0f));
    Contact contact;
    for (int side = 0; side < 2; ++side) contact.body[side] = where(column(BODY + side));
    contact.pos = vec3_where(POS);
    contact.normal = vec3_where(FRAME);
    const Mask torsional = active & (column(TORSIONAL) > 0.0f);
    contact.twist = choose(torsional, maximum(column(FRICTION + 1), all(MIN_FRICTION)) / mu, Vector{});
    for (int i = 0; i < 2; ++i) contact.tangent[i] = vec3_where(FRAME + 3 + 3 * i);
    if (R > 4) {
        const Vector rolling = where(column(ROLLING)), roll = choose(rolling > 0.0f, rolling / mu, Vector{});
        for (int i = 0; i < 2; ++i) contact.rolling[i] = roll * contact.tangent[i];
    }
    if (columns > PLAIN_COLUMNS) {
        const Mask slides = column(SLIDES) > 0.0f;
        for (Vec3& tangent : contact.tangent) tangent = choose(slides, tangent, Vec3{});
    }

    Vector velocity[R] = {};
    const std::int64_t row = static_cast<std::int64_t>(c) * R;
    const bool twists = any(torsional);
    add_or_clear<R, 0>(at, motion, contact, twists, arrays.contact_jac, row, velocity);
    add_or_clear<R, 1>(at, motion, contact, twists, arrays.contact_jac, row, velocity);
    add_or_clear<R, 2>(at, motion, contact, twists, arrays.contact_jac, row, velocity);

    const Vector violation = where(column(DIST) - column(MARGIN));
    const Impedance imp = impedance(
        Parameters::of(at, arrays.contacts, first + SOLREF, arrays.contacts, first + SOLIMP), violation, timestep);
    const Vector damping = where(imp.damping), push = where(imp.stiffness * imp.value * violation);
    at.store(arrays.contact_d, c, where(row_stiffness(imp.value, column(INVWEIGHT))));
    at.store(arrays.contact_mu, c, mu);
    at.store(arrays.contact_aref, row, -damping * velocity[0] - push);
    for (int r = 1; r < R; ++r) at.store(arrays.contact_aref, row + r, -damping * velocity[r]);
}

template <int R, bool WHOLE>
void add_contacts(const Place<WHOLE>& at, const Arrays& arrays, int contacts, int columns, float timestep,
                  const Motion& motion) {
    Mask own{};
    for (int c = 0; c < contacts; ++c) {
        const std::int64_t last = static_cast<std::int64_t>(c + 1) * columns - 1;
        own -= at.load(arrays.contacts, last) > 0.0f;
    }
    at.store(arrays.num_contacts, 0, own);
    int count = 0;
    for (int i = 0; i < LANES; ++i) count = std::max(count, own[i]);
    for (int c = 0; c < count; ++c) add_contact<R>(at, arrays, columns, timestep, motion, c);
    for (int c = count; c < contacts; ++c) {
        at.store(arrays.contact_d, c, Vector{});
        at.store(arrays.contact_mu, c, all(1.0f));
    }
}

template <int R, bool WHOLE>
void constrain_lanes(const Place<WHOLE>& at, const Arrays& arrays, const Constants& robot, int contacts, int columns) {
    Motion motion;
    load_motion(at, arrays, motion);
    add_weld(at, arrays, robot, motion);
    add_limits(at, arrays, robot);
    add_contacts<R>(at, arrays, contacts, columns, robot.timestep, motion);
}

template <int R>
void constrain(const Arrays& arrays, const Constants& robot, std::int64_t width, int contacts, int columns) {
    for_lanes(width, [&](const auto& at) { constrain_lanes<R>(at, arrays, robot, contacts, columns); });
}

constexpr int OPERANDS = 14, RESULTS = 11, CONTACTS = 13, CONTACT_JAC = 6;
constexpr int OPERAND_AXES[OPERANDS] = {3, 3, 3, 2, 2, 2, 2, 2, 2, 3, 3, 3, 2, 3};
constexpr int RESULT_AXES[RESULTS] = {3, 2, 2, 2, 2, 2, 4, 2, 3, 2, 1};

}  // namespace

// The operands are those of `Arrays`, then `Constants`.
extern "C" XLA_FFI_Error* constraints(XLA_FFI_CallFrame* frame) {
    if (tells_version(frame)) return nullptr;
    if (frame->args.size != OPERANDS + 1 || frame->rets.size != RESULTS) {
        return fail(frame, "constraints: wrong operands");
    }
    const auto* table = static_cast<const XLA_FFI_Buffer*>(frame->args.args[OPERANDS]);
    if (table->dims[0] * sizeof(float) != sizeof(Constants)) return fail(frame, "constraints: wrong constants");
    const auto& robot = *static_cast<const Constants*>(table->data);

    const Call<OPERANDS, RESULTS> call(frame, OPERAND_AXES, RESULT_AXES);
    const int contacts = static_cast<int>(call.operand_axis(CONTACTS, 2));
    const int columns = static_cast<int>(call.operand_axis(CONTACTS, 1));
    const std::int64_t width = call.operand_axis(CONTACTS, 0), rows = call.result_axis(CONTACT_JAC, 2);
    if (rows != (columns > PLAIN_COLUMNS + 1 ? 6 : 4)) return fail(frame, "constraints: wrong contact rows");
    for (std::int64_t tile = 0; tile < call.tiles; ++tile) {
        const auto input = [&](int i) { return call.operand(i, tile); };
        const auto result = [&](int i) { return call.result(i, tile); };
        const Arrays arrays = {
            input(0),  input(1),  input(2),  input(3),  input(4),  input(5),  input(6),  input(7),
            call.operand<bool>(8, tile),
            input(9),  input(10), input(11), input(12), input(13),
            result(0), result(1), result(2), result(3), result(4), result(5), result(6), result(7),
            result(8), result(9), call.result<std::int32_t>(10, tile),
        };
        if (rows == 4) {
            constrain<4>(arrays, robot, width, contacts, columns);
        } else {
            constrain<6>(arrays, robot, width, contacts, columns);
        }
    }
    return nullptr;
}
