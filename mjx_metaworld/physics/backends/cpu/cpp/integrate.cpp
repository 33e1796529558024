// Time integration for a CPU: the stage `integrate` of integrate.py, LANES environments at a time. Arrays are
// (tiles, ..., L) as XLA holds them.

#include "ffi.hpp"
#include "lanes.hpp"
#include "linalg.hpp"
#include "quaternion.hpp"
#include "robot.hpp"
#include "trigonometry.hpp"

namespace {

// Operands in their order; the robot's constants come last.
enum Operand {
    ROBOT_MASS, FREE_MASS, PART_MASS, ROBOT_DAMPING, FREE_DAMPING, PART_DAMPING, QPOS, QVEL, QFRC,
    OPERANDS
};
constexpr int RESULTS = 2;  // qpos and qvel
constexpr int OPERAND_AXES[OPERANDS] = {3, 3, 3, 2, 2, 2, 2, 2, 2}, RESULT_AXES[RESULTS] = {2, 2};

// New velocities of a block of N dofs: (M + h B) qacc = qfrc, of which the lower triangle is read.
template <int N, bool WHOLE>
void accelerate(const Place<WHOLE>& at, const float* mass, const float* damping, float timestep, const Vector* qfrc,
                Vector* qvel) {
    Vector matrix[N][N], qacc[N];
    for (int i = 0; i < N; ++i) {
        for (int j = 0; j <= i; ++j) matrix[i][j] = at.load(mass, i * N + j);
        matrix[i][i] += timestep * at.load(damping, i);
        qacc[i] = qfrc[i];
    }
    solve_in_place<0, N>(matrix, qacc);
    for (int i = 0; i < N; ++i) qvel[i] += timestep * qacc[i];
}

// Turns by the body-frame angular velocity for one time step; the result has unit length.
inline Quat turn(const Quat& quat, const Vec3& omega, float timestep) {
    constexpr float MIN_ANGLE = 1e-15f;  // below it the axis of a turn is meaningless
    const Vector speed = norm(omega);
    const SinCos half = sin_cos(0.5f * (timestep * speed));
    const Vec3 axis = omega * (half.sin / maximum(speed, all(MIN_ANGLE)));
    Quat turned = multiply(quat, Quat{half.cos, axis[0], axis[1], axis[2]});
    const Vector divisor = maximum(length(turned), all(MIN_ANGLE));
    for (Vector& x : turned.v) x /= divisor;
    return turned;
}

template <bool WHOLE>
void advance(const Place<WHOLE>& at, const float* const* operands, float timestep, float* new_qpos, float* new_qvel) {
    Vector qvel[NV], qfrc[NV];
    for (int i = 0; i < NV; ++i) {
        qvel[i] = at.load(operands[QVEL], i);
        qfrc[i] = at.load(operands[QFRC], i);
    }
    accelerate<ROBOT>(at, operands[ROBOT_MASS], operands[ROBOT_DAMPING], timestep, qfrc, qvel);
    accelerate<6>(at, operands[FREE_MASS], operands[FREE_DAMPING], timestep, qfrc + FREE_DOF, qvel + FREE_DOF);
    accelerate<3>(at, operands[PART_MASS], operands[PART_DAMPING], timestep, qfrc + PART_DOF, qvel + PART_DOF);

    const float* qpos = operands[QPOS];
    constexpr int QUAT = FREE_QPOS + 3, SPIN = FREE_DOF + 3;
    Quat quat;
    for (int i = 0; i < 4; ++i) quat[i] = at.load(qpos, QUAT + i);
    quat = turn(quat, {qvel[SPIN], qvel[SPIN + 1], qvel[SPIN + 2]}, timestep);
    for (int i = 0; i < QUAT; ++i) at.store(new_qpos, i, at.load(qpos, i) + timestep * qvel[i]);
    for (int i = 0; i < 4; ++i) at.store(new_qpos, QUAT + i, quat[i]);
    for (int i = 0; i < 3; ++i)
        at.store(new_qpos, PART_QPOS + i, at.load(qpos, PART_QPOS + i) + timestep * qvel[PART_DOF + i]);
    for (int i = 0; i < NV; ++i) at.store(new_qvel, i, qvel[i]);
}

}  // namespace

extern "C" XLA_FFI_Error* integrate(XLA_FFI_CallFrame* frame) {
    if (tells_version(frame)) return nullptr;
    if (frame->args.size != OPERANDS + 1 || frame->rets.size != RESULTS) {
        return fail(frame, "integrate: wrong operands");
    }
    Robot robot;
    if (!read_robot(frame, robot)) return fail(frame, "integrate: wrong constants of the robot");
    const Call<OPERANDS, RESULTS> call(frame, OPERAND_AXES, RESULT_AXES);
    for (std::int64_t tile = 0; tile < call.tiles; ++tile) {
        const float* from[OPERANDS];
        for (int i = 0; i < OPERANDS; ++i) from[i] = call.operand(i, tile);
        for_lanes(call.operand_axis(QPOS, 0), [&](const auto& at) {
            advance(at, from, robot.timestep, call.result(0, tile), call.result(1, tile));
        });
    }
    return nullptr;
}
