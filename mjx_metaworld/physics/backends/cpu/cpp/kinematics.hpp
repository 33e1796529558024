// Forward kinematics for LANES environments, as kinematics.py.
#pragma once

#include "quaternion.hpp"
#include "skeleton.hpp"
#include "trigonometry.hpp"

namespace {

// Coordinates, and what poses take of a scene.
struct Placement {
    Vector qpos[NQ];
    Vec3 prop_pos, prop_home;  // of the environment, and in the scene's file
    Quat prop_quat;
    Vec3 mount_pos;
    Quat mount_quat;
    Vector mount_on_prop;
    Vec3 part_axis[3], part_anchor, part_qpos0;
};

struct Kinematics {
    Vec3 pos[NUM_BODIES];  // the world's is left out
    Mat3 mat[NUM_BODIES];
    Vec3 link_axis[LINKS], claw_axis[CLAWS], part_axis[3], part_anchor;
    Vec3 hand_pos;
    Quat hand_quat;
};

inline Vec3 rotate(const Mat3& m, const float* v) {
    return {m[0][0] * v[0] + m[0][1] * v[1] + m[0][2] * v[2], m[1][0] * v[0] + m[1][1] * v[1] + m[1][2] * v[2],
            m[2][0] * v[0] + m[2][1] * v[1] + m[2][2] * v[2]};
}

inline Mat3 matmul(const Mat3& a, const float (*b)[3]) {
    Mat3 product;
    for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j) product[i][j] = a[i][0] * b[0][j] + a[i][1] * b[1][j] + a[i][2] * b[2][j];
    return product;
}

inline void place_links(const Robot& robot, const Placement& at, Kinematics& kin) {
    Quat quat;
    for (int i = 0; i < LINKS; ++i) {
        const SinCos half = sin_cos(0.5f * (at.qpos[i] - robot.qpos0[i]));
        Quat own;
        for (int k = 0; k < 4; ++k) own[k] = half.cos * robot.still[i][k] + half.sin * robot.turned[i][k];
        quat = i ? multiply(quat, own) : own;
        const int body = LINK0 + i;
        kin.mat[body] = from_quat(quat);
        const float* pos = robot.pos[i];
        const Vec3 base = {all(pos[0]), all(pos[1]), all(pos[2])};
        kin.pos[body] = i ? kin.pos[body - 1] + rotate(kin.mat[body - 1], pos) : base;
        kin.link_axis[i] = rotate(kin.mat[body], robot.axis[i]);
    }
    const Mat3& last = kin.mat[HAND];
    for (int i = 0; i < CLAWS; ++i) {
        const int body = RIGHT_CLAW + i;
        const Vector slide = at.qpos[LINKS + i] - robot.qpos0[LINKS + i];
        kin.mat[body] = matmul(last, robot.claw_mat[i]);
        kin.claw_axis[i] = rotate(last, robot.claw_axis[i]);
        kin.pos[body] = kin.pos[HAND] + rotate(last, robot.pos[LINKS + i]) + kin.claw_axis[i] * slide;
    }
    kin.hand_pos = kin.pos[HAND] + rotate(last, robot.hand_pos);
    kin.hand_quat = multiply(quat, robot.hand_quat);
}

inline void place_part(const Placement& at, Kinematics& kin) {
    const Mat3& mount = kin.mat[MOUNT];
    Vector displacement[3];
    for (int i = 0; i < 3; ++i) {
        displacement[i] = at.qpos[PART_QPOS + i] - at.part_qpos0[i];
        kin.part_axis[i] = rotate(mount, at.part_axis[i]);
    }
    const Vec3 slid = kin.part_axis[0] * displacement[0] + kin.part_axis[1] * displacement[1];
    kin.part_anchor = kin.pos[MOUNT] + slid + rotate(mount, at.part_anchor);
    // Rodrigues' formula, which leaves the part unturned when there is no hinge (a zero axis).
    const SinCos half = sin_cos(0.5f * displacement[2]);
    const Vec3& u = at.part_axis[2];
    const Mat3 skew = {{{Vector{}, -u[2], u[1]}, {u[2], Vector{}, -u[0]}, {-u[1], u[0], Vector{}}}};
    const Mat3 square = matmul(skew, skew);
    const Vector first = 2.0f * half.sin * half.cos, second = 2.0f * half.sin * half.sin;
    Mat3 turn;
    for (int i = 0; i < 3; ++i) turn[i] = skew[i] * first + square[i] * second;
    const Mat3 turned = matmul(mount, turn);
    for (int i = 0; i < 3; ++i) kin.mat[PART][i] = mount[i] + turned[i];
    kin.pos[PART] = kin.part_anchor - rotate(kin.mat[PART], at.part_anchor);
}

void find_poses(const Robot& robot, const Placement& at, Kinematics& kin) {
    place_links(robot, at, kin);
    const Vector* free = at.qpos + FREE_QPOS;
    kin.pos[FREE_BODY] = {free[0], free[1], free[2]};
    kin.mat[FREE_BODY] = from_quat(normalize_or_identity({free[3], free[4], free[5], free[6]}));
    kin.pos[PROP] = at.prop_pos;
    kin.mat[PROP] = from_quat(at.prop_quat);
    kin.pos[MOUNT] = at.mount_pos + at.mount_on_prop * (at.prop_pos - at.prop_home);
    kin.mat[MOUNT] = from_quat(at.mount_quat);
    place_part(at, kin);
}

}  // namespace
