// Kinematics, mass matrix and smooth forces for a CPU: the stages `kinematics` and `dynamics`, LANES environments at a
// time. Arrays are (tiles, ..., L) as XLA holds them.

#include "ffi.hpp"
#include "inertia.hpp"
#include "lanes.hpp"
#include "robot.hpp"

namespace {

// Operands in their order, those of kinematics first; the robot's constants come last.
enum Operand {
    QPOS, PROP_POS, PROP_HOME, PROP_QUAT, MOUNT_POS, MOUNT_QUAT, MOUNT_ON_PROP, PART_AXIS, PART_ANCHOR, PART_QPOS0,
    OF_KINEMATICS,
    QVEL = OF_KINEMATICS, CTRL, GRAVITY, ROBOT_DAMPING, SERVO_GAIN, FREE_MASS, FREE_COM, FREE_INERTIA, FREE_ARMATURE,
    FREE_DAMPING, PART_MASS, PART_COM, PART_INERTIA, PART_ARMATURE, PART_DAMPING, PART_STIFFNESS, PART_SPRINGREF,
    OF_DYNAMICS
};
constexpr int OPERAND_AXES[OF_DYNAMICS] = {2, 2, 2, 2, 2, 2, 1, 3, 2, 2, 2, 2, 2, 2,
                                           2, 1, 2, 3, 2, 2, 1, 2, 3, 2, 2, 2, 2};

// Results in their order.
enum Result {
    XPOS, XMAT, ANG, LIN, ANCHOR, HAND_POS, HAND_QUAT,
    POSES,
    ROBOT_BLOCK = POSES, FREE_BLOCK, PART_BLOCK, SMOOTH_FORCE,
    ALL_RESULTS
};
constexpr int RESULT_AXES[ALL_RESULTS] = {3, 4, 3, 3, 3, 2, 2, 3, 3, 3, 2};

template <bool WHOLE>
struct Reader {
    const Place<WHOLE>& at;
    const float* const* operands;

    void operator()(Operand name, Vector& to) const { to = at.load(operands[name], 0); }
    template <int N>
    void operator()(Operand name, Vector (&to)[N]) const {
        for (int i = 0; i < N; ++i) to[i] = at.load(operands[name], i);
    }
    void operator()(Operand name, Vec3& to) const { (*this)(name, to.v); }
    void operator()(Operand name, Quat& to) const { (*this)(name, to.v); }
    void operator()(Operand name, Vec3 (&to)[3]) const {
        for (int i = 0; i < 9; ++i) to[i / 3][i % 3] = at.load(operands[name], i);
    }
    void operator()(Operand name, Mat3& to) const { (*this)(name, to.row); }
};

template <class Read>
Placement read_placement(const Read& read) {
    Placement at;
    read(QPOS, at.qpos);
    read(PROP_POS, at.prop_pos);
    read(PROP_HOME, at.prop_home);
    read(PROP_QUAT, at.prop_quat);
    read(MOUNT_POS, at.mount_pos);
    read(MOUNT_QUAT, at.mount_quat);
    read(MOUNT_ON_PROP, at.mount_on_prop);
    read(PART_AXIS, at.part_axis);
    read(PART_ANCHOR, at.part_anchor);
    read(PART_QPOS0, at.part_qpos0);
    return at;
}

template <class Read>
Load read_load(const Read& read) {
    Load load;
    read(QVEL, load.qvel);
    read(CTRL, load.ctrl);
    read(GRAVITY, load.gravity);
    read(ROBOT_DAMPING, load.robot_damping);
    read(SERVO_GAIN, load.servo_gain);
    read(FREE_MASS, load.free_mass);
    read(FREE_COM, load.free_com);
    read(FREE_INERTIA, load.free_inertia);
    read(FREE_ARMATURE, load.free_armature);
    read(FREE_DAMPING, load.free_damping);
    read(PART_MASS, load.part_mass);
    read(PART_COM, load.part_com);
    read(PART_INERTIA, load.part_inertia);
    read(PART_ARMATURE, load.part_armature);
    read(PART_DAMPING, load.part_damping);
    read(PART_STIFFNESS, load.part_stiffness);
    read(PART_SPRINGREF, load.part_springref);
    return load;
}

template <bool WHOLE>
void write(const Place<WHOLE>& at, float* to, int row, const Vec3& x) {
    for (int i = 0; i < 3; ++i) at.store(to, 3 * row + i, x[i]);
}

template <bool WHOLE, int N>
void write(const Place<WHOLE>& at, float* to, const Vector (&block)[N][N]) {
    for (int i = 0; i < N * N; ++i) at.store(to, i, block[i / N][i % N]);
}

template <bool WHOLE>
void write_poses(const Place<WHOLE>& at, const Kinematics& kin, float* const* to) {
    const Vec3 zero = {};
    const Vector one = all(1.0f), none = {};
    const Mat3 eye = {{{one, none, none}, {none, one, none}, {none, none, one}}};
    for (int body = 0; body < NUM_BODIES; ++body) {
        write(at, to[XPOS], body, body ? kin.pos[body] : zero);
        for (int i = 0; i < 3; ++i) write(at, to[XMAT], 3 * body + i, body ? kin.mat[body][i] : eye[i]);
    }
    const auto write_dof = [&](int dof, const Vec3& ang, const Vec3& lin, const Vec3& anchor) {
        write(at, to[ANG], dof, ang);
        write(at, to[LIN], dof, lin);
        write(at, to[ANCHOR], dof, anchor);
    };
    for (int i = 0; i < LINKS; ++i) write_dof(i, kin.link_axis[i], zero, kin.pos[LINK0 + i]);
    for (int i = 0; i < CLAWS; ++i) write_dof(LINKS + i, zero, kin.claw_axis[i], kin.pos[RIGHT_CLAW + i]);
    const Vec3& free_pos = kin.pos[FREE_BODY];
    for (int i = 0; i < 3; ++i) {
        write_dof(FREE_DOF + i, zero, eye[i], free_pos);
        write_dof(FREE_DOF + 3 + i, column(kin.mat[FREE_BODY], i), zero, free_pos);
    }
    for (int i = 0; i < 2; ++i) write_dof(PART_DOF + i, zero, kin.part_axis[i], kin.part_anchor);
    write_dof(PART_DOF + 2, kin.part_axis[2], zero, kin.part_anchor);
    write(at, to[HAND_POS], 0, kin.hand_pos);
    for (int i = 0; i < 4; ++i) at.store(to[HAND_QUAT], i, kin.hand_quat[i]);
}

// Poses alone, or with inertia and forces.
template <bool WHOLE>
void evaluate(const Place<WHOLE>& at, const Robot& robot, const float* const* operands, float* const* results,
              bool poses_alone) {
    const Reader<WHOLE> read{at, operands};
    const Placement placement = read_placement(read);
    Kinematics kin;
    find_poses(robot, placement, kin);
    write_poses(at, kin, results);
    if (poses_alone) return;
    const Load load = read_load(read);
    MassMatrix mass;
    Vector smooth_force[NV];
    find_inertia(robot, placement, load, kin, mass, smooth_force);
    write(at, results[ROBOT_BLOCK], mass.robot);
    write(at, results[FREE_BLOCK], mass.free_body);
    write(at, results[PART_BLOCK], mass.part);
    for (int i = 0; i < NV; ++i) at.store(results[SMOOTH_FORCE], i, smooth_force[i]);
}

}  // namespace

extern "C" XLA_FFI_Error* dynamics(XLA_FFI_CallFrame* frame) {
    if (tells_version(frame)) return nullptr;
    const int operands = static_cast<int>(frame->args.size) - 1, results = static_cast<int>(frame->rets.size);
    const bool poses_alone = results == POSES;
    if (operands != (poses_alone ? OF_KINEMATICS : OF_DYNAMICS) || (!poses_alone && results != ALL_RESULTS)) {
        return fail(frame, "dynamics: wrong operands");
    }
    Robot robot;
    if (!read_robot(frame, robot)) return fail(frame, "dynamics: wrong constants of the robot");
    const Call<OF_DYNAMICS, ALL_RESULTS> call(frame, OPERAND_AXES, RESULT_AXES, operands, results);
    for (std::int64_t tile = 0; tile < call.tiles; ++tile) {
        const float* from[OF_DYNAMICS];
        float* to[ALL_RESULTS];
        for (int i = 0; i < operands; ++i) from[i] = call.operand(i, tile);
        for (int i = 0; i < results; ++i) to[i] = call.result(i, tile);
        for_lanes(call.operand_axis(QPOS, 0),
                  [&](const auto& at) { evaluate(at, robot, from, to, poses_alone); });
    }
    return nullptr;
}
