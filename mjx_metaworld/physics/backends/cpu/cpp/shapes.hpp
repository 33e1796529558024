// Shapes of pairs in the world, and the contact points between them, for LANES pairs at a time.
#pragma once

#include "spatial.hpp"

namespace {

// mujoco.mjtGeom
constexpr std::int32_t SPHERE = 2, CAPSULE = 3, CYLINDER = 5, BOX = 6, MESH = 7;

constexpr float NO_CONTACT = 1e6f;  // the distance of a contact point that does not exist, as in points.py
constexpr float ROUNDING = 3e-7f;   // bodies that only touch must not make contact by rounding, as in points.py

struct Shape {
    Mask type, hull;  // the row of the hull table, where it is a mesh
    Vec3 pos;
    Mat3 mat;
    Vec3 size;
};

// N points to a pair, from its first shape to its second; NORMALS is N, or 1 where a pair's points share theirs.
template <int N, int NORMALS = N>
struct Points {
    Vector dist[N];  // negative when penetrating, NO_CONTACT where there is none
    Vec3 pos[N];     // midway between the surfaces
    Vec3 normal[NORMALS];
};

}  // namespace
