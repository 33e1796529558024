// Mass matrix, and the forces that do not come from constraints, for LANES environments, as inertia.py.
//
// Sums over what a body carries are taken from the chain's end to its start, and over what carries it the other way.
#pragma once

#include "kinematics.hpp"

namespace {

// What inertia and smooth forces take of state and scene.
struct Load {
    Vector qvel[NV], ctrl[CLAWS];
    Vec3 gravity;
    Vector robot_damping[ROBOT], servo_gain[CLAWS];
    Vector free_mass;
    Vec3 free_com;
    Mat3 free_inertia;
    Vector free_armature[6], free_damping[6];
    Vector part_mass;
    Vec3 part_com;
    Mat3 part_inertia;
    Vector part_armature[3], part_damping[3], part_stiffness[3], part_springref[3];
};

struct MassMatrix {
    Vector robot[ROBOT][ROBOT], free_body[6][6], part[3][3];
};

struct Symmetric {
    Vector xx, yy, zz, xy, xz, yz;
};

inline Symmetric operator+(const Symmetric& a, const Symmetric& b) {
    return {a.xx + b.xx, a.yy + b.yy, a.zz + b.zz, a.xy + b.xy, a.xz + b.xz, a.yz + b.yz};
}
inline Vec3 rotate(const Symmetric& m, const Vec3& v) {
    return {m.xx * v[0] + m.xy * v[1] + m.xz * v[2], m.xy * v[0] + m.yy * v[1] + m.yz * v[2],
            m.xz * v[0] + m.yz * v[1] + m.zz * v[2]};
}

// mat @ inertia @ mat.T, from the product of the first two.
inline Symmetric congruence(const Mat3& product, const Mat3& mat) {
    return {dot(product[0], mat[0]), dot(product[1], mat[1]), dot(product[2], mat[2]),
            dot(product[0], mat[1]), dot(product[0], mat[2]), dot(product[1], mat[2])};
}

// Inertia about the origin of a point mass at v.
inline Symmetric steiner(Vector mass, const Vec3& v) {
    const Vec3 w = v * mass;
    const Vector xx = v[0] * w[0], yy = v[1] * w[1], zz = v[2] * w[2];
    return {yy + zz, xx + zz, xx + yy, -(v[0] * w[1]), -(v[0] * w[2]), -(v[1] * w[2])};
}

// The robot's bodies in world axes, by vectors between neighbouring points only.
struct Geometry {
    Vec3 step[LINKS - 1];      // from each link's anchor to the next one's
    Vec3 com[ROBOT];           // centres of mass from the link's own anchor, the claws' from the last link's
    Symmetric inertia[ROBOT];  // about the centres of mass
};

inline void find_geometry(const Robot& robot, const Kinematics& kin, Geometry& body) {
    for (int i = 0; i < ROBOT; ++i) {
        const Mat3& mat = kin.mat[LINK0 + i];
        if (i + 1 < LINKS) body.step[i] = rotate(mat, robot.pos[i + 1]);
        body.com[i] = rotate(mat, robot.com[i]);
        if (i >= LINKS) body.com[i] = body.com[i] + (kin.pos[LINK0 + i] - kin.pos[HAND]);
        body.inertia[i] = congruence(matmul(mat, robot.inertia[i]), mat);
    }
}

// A column of the mass matrix's upper triangle, from the momentum that unit speed of joint `j` gives to everything from
// link j on, and its moment about the anchor of joint `i`.
inline void add_column(const Kinematics& kin, const Geometry& body, int i, int j, const Vec3& momentum, Vec3 moment,
                       MassMatrix& mass) {
    for (;; --i) {
        mass.robot[i][j] = mass.robot[j][i] = dot(kin.link_axis[i], moment);
        if (i == 0) return;
        moment = moment + cross(body.step[i - 1], momentum);
    }
}

inline void robot_mass(const Robot& robot, const Kinematics& kin, const Geometry& body, MassMatrix& mass) {
    // Everything from body j on, claws included: centre of mass from link j's anchor, inertia about the centre.
    Vec3 centre = body.com[ROBOT - 1];
    Symmetric inertia = body.inertia[ROBOT - 1];
    for (int j = ROBOT - 2; j >= 0; --j) {
        const Vec3 beyond = j < LINKS - 1 ? centre + body.step[j] : centre;
        const float share = robot.share[j];
        inertia = inertia + body.inertia[j] + steiner(all(robot.reduced[j]), body.com[j] - beyond);
        centre = body.com[j] * all(share) + beyond * all(1.0f - share);
        if (j >= LINKS) continue;
        const Vec3 momentum = cross(kin.link_axis[j], centre) * all(robot.carried[j]);
        const Vec3 moment = rotate(inertia, kin.link_axis[j]) + cross(centre, momentum);
        add_column(kin, body, j, j, momentum, moment, mass);
    }
    for (int j = LINKS; j < ROBOT; ++j) {
        const Vec3 momentum = kin.claw_axis[j - LINKS] * all(robot.mass[j]);
        add_column(kin, body, LINKS - 1, j, momentum, cross(body.com[j], momentum), mass);
        for (int i = LINKS; i < ROBOT; ++i) mass.robot[i][j] = i == j ? all(robot.mass[j]) : Vector{};
    }
    for (int i = 0; i < ROBOT; ++i) mass.robot[i][i] += robot.armature[i];
}

// Acceleration, relative to the origin's, of a point at `arm` from it on a body in rotation.
inline Vec3 centripetal(const Vec3& omega, const Vec3& alpha, const Vec3& arm) {
    return cross(alpha, arm) + cross(omega, cross(omega, arm));
}

inline void robot_bias(const Robot& robot, const Load& load, const Kinematics& kin, const Geometry& body,
                       Vector* bias) {
    // Outward: rotation of the links and acceleration of their anchors.
    Vec3 omega = {}, alpha = {}, anchor_acc = {};
    Vec3 force[ROBOT], torque[ROBOT];
    for (int i = 0; i < ROBOT; ++i) {
        Vec3 acc = anchor_acc;
        if (i < LINKS) {
            const Vec3 turn = kin.link_axis[i] * load.qvel[i];
            omega = omega + turn;
            alpha = alpha + cross(omega, turn);
            if (i < LINKS - 1) anchor_acc = anchor_acc + centripetal(omega, alpha, body.step[i]);
        } else {  // claws turn with the last link; their slides add a Coriolis acceleration
            acc = acc + all(2.0f) * cross(omega, kin.claw_axis[i - LINKS] * load.qvel[i]);
        }
        acc = acc + centripetal(omega, alpha, body.com[i]) - load.gravity;
        force[i] = acc * all(robot.mass[i]);
        const Symmetric& inertia = body.inertia[i];
        torque[i] = rotate(inertia, alpha) + cross(omega, rotate(inertia, omega)) + cross(body.com[i], force[i]);
    }
    // Inward: force on everything from link j on, and its moment about link j's anchor.
    Vec3 total = {}, moment = {};
    for (int j = ROBOT - 1; j >= 0; --j) {
        moment = moment + torque[j];
        if (j < LINKS - 1) moment = moment + cross(body.step[j], total);
        total = total + force[j];
        bias[j] = j < LINKS ? dot(kin.link_axis[j], moment) : dot(kin.claw_axis[j - LINKS], force[j]);
    }
}

inline void free_mass(const Load& load, const Kinematics& kin, MassMatrix& mass) {
    const Mat3& mat = kin.mat[FREE_BODY];
    const Vec3& com = load.free_com;
    const Symmetric s = steiner(load.free_mass, com);
    const Mat3 about_origin = {{{s.xx, s.xy, s.xz}, {s.xy, s.yy, s.yz}, {s.xz, s.yz, s.zz}}};
    for (int i = 0; i < 3; ++i) {
        // Row i of -mass mat skew(com).
        const Vec3 coupling = cross(com, mat[i]) * load.free_mass;
        for (int j = 0; j < 3; ++j) {
            mass.free_body[i][j] = i == j ? load.free_mass : Vector{};
            mass.free_body[i][3 + j] = mass.free_body[3 + j][i] = coupling[j];
            mass.free_body[3 + i][3 + j] = load.free_inertia[i][j] + about_origin[i][j];
        }
    }
    for (int i = 0; i < 6; ++i) mass.free_body[i][i] += load.free_armature[i];
}

inline void free_bias(const Load& load, const Kinematics& kin, Vector* bias) {
    const Mat3& mat = kin.mat[FREE_BODY];
    const Vec3 omega = {load.qvel[FREE_DOF + 3], load.qvel[FREE_DOF + 4], load.qvel[FREE_DOF + 5]};
    const Vec3& com = load.free_com;
    const Vec3 force = (cross(omega, cross(omega, com)) - rotate_back(mat, load.gravity)) * load.free_mass;
    // The isotropic part of the inertia has no gyroscopic torque; taking it away first keeps the 1e5 kg m² that some
    // scenes declare from drowning the rest in rounding.
    Mat3 rest = load.free_inertia;
    for (int i = 0; i < 3; ++i) rest[i][i] -= load.free_inertia[0][0];
    const Vec3 push = rotate(mat, force), torque = cross(omega, rotate(rest, omega)) + cross(com, force);
    for (int i = 0; i < 3; ++i) {
        bias[i] = push[i];
        bias[3 + i] = torque[i];
    }
}

inline void part_mass_and_bias(const Load& load, const Kinematics& kin, MassMatrix& mass, Vector* bias) {
    const Mat3& mat = kin.mat[PART];
    const Vec3& axis = kin.part_axis[2];
    const Vec3 arm = kin.pos[PART] + rotate(mat, load.part_com) - kin.part_anchor;
    // Of the centre of mass, per unit of each joint's speed: two slides and a hinge.
    const Vec3 velocity[3] = {kin.part_axis[0], kin.part_axis[1], cross(axis, arm)};
    const Symmetric inertia = congruence(matmul(mat, load.part_inertia), mat);
    const Vector speed = load.qvel[PART_DOF + 2];
    const Vec3 force = (cross(axis, velocity[2]) * speed * speed - load.gravity) * load.part_mass;
    for (int i = 0; i < 3; ++i) {
        for (int j = 0; j <= i; ++j)
            mass.part[i][j] = mass.part[j][i] = load.part_mass * dot(velocity[i], velocity[j]);
        // The gyroscopic torque is normal to the hinge, which is the only axis of rotation.
        bias[i] = dot(velocity[i], force);
    }
    mass.part[2][2] += dot(axis, rotate(inertia, axis));
    for (int i = 0; i < 3; ++i) mass.part[i][i] += load.part_armature[i];
}

// The mass matrix, and all forces but the constraints'.
void find_inertia(const Robot& robot, const Placement& at, const Load& load, const Kinematics& kin, MassMatrix& mass,
                  Vector* smooth_force) {
    Geometry body;
    Vector bias[NV];
    find_geometry(robot, kin, body);
    robot_mass(robot, kin, body, mass);
    robot_bias(robot, load, kin, body, bias);
    free_mass(load, kin, mass);
    free_bias(load, kin, bias + FREE_DOF);
    part_mass_and_bias(load, kin, mass, bias + PART_DOF);

    for (int i = 0; i < ROBOT; ++i) smooth_force[i] = -load.robot_damping[i] * load.qvel[i];
    for (int i = 0; i < 6; ++i) smooth_force[FREE_DOF + i] = -load.free_damping[i] * load.qvel[FREE_DOF + i];
    for (int i = 0; i < 3; ++i) {
        const Vector spring = load.part_stiffness[i] * (at.qpos[PART_QPOS + i] - load.part_springref[i]);
        smooth_force[PART_DOF + i] = -load.part_damping[i] * load.qvel[PART_DOF + i] - spring;
    }
    for (int i = 0; i < CLAWS; ++i) {
        const Vector wanted = load.ctrl[i], low = all(robot.lowest_ctrl[i]), high = all(robot.highest_ctrl[i]);
        const Vector target = choose(wanted < low, low, choose(wanted > high, high, wanted));  // of no number, none
        const Vector force = robot.gain[i] * target + robot.bias[i] * at.qpos[LINKS + i];
        smooth_force[LINKS + i] += load.servo_gain[i] * force;
    }
    for (int i = 0; i < NV; ++i) smooth_force[i] -= bias[i];
}

}  // namespace
