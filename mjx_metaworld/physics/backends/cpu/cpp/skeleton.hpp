// The robot's constants, and the skeleton's bodies and coordinates, as model.py has them.
#pragma once

namespace {

constexpr int NQ = 19, NV = 18, NUM_BODIES = 14;
constexpr int LINKS = 7, CLAWS = 2, ROBOT = LINKS + CLAWS;  // of the robot's bodies and dofs
constexpr int FREE_DOF = 9, PART_DOF = 15, FREE_QPOS = 9, PART_QPOS = 16;
constexpr int LINK0 = 1, HAND = 7, RIGHT_CLAW = 8, FREE_BODY = 10, PROP = 11, MOUNT = 12, PART = 13;

// In the order in which robot.py packs them; per body right_l0 .. right_l6, rightclaw, leftclaw.
struct Robot {
    float qpos0[ROBOT];
    // Orientation of a link in its parent: cos(angle / 2) still + sin(angle / 2) turned.
    float still[LINKS][4], turned[LINKS][4];
    float pos[ROBOT][3], axis[LINKS][3];
    float claw_mat[CLAWS][3][3], claw_axis[CLAWS][3];  // in the last link's frame
    float hand_pos[3], hand_quat[4];
    float mass[ROBOT], com[ROBOT][3], inertia[ROBOT][3][3], armature[ROBOT];
    // Of a body and everything that it carries: the mass, and the body's share in it. Of the body and everything that
    // follows it: the mass with which their distance enters the inertia about the common centre.
    float carried[ROBOT], share[ROBOT], reduced[ROBOT];
    float lowest_ctrl[CLAWS], highest_ctrl[CLAWS], gain[CLAWS], bias[CLAWS];
    float timestep;
};

}  // namespace
