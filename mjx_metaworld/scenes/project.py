"""Projecting an original scene onto the skeleton: constants of the robot, and a scene as data.

Everything is read from the scene as MuJoCo compiles it. Bodies that are welded to a moving body are composed with it
into one rigid body; quantities that MuJoCo derives from the whole model (`dof_invweight0`, `body_invweight0`) are
copied, because they enter the solver's regularization and cannot be recomputed from the skeleton.
"""

from __future__ import annotations

from typing import NamedTuple

import mujoco
import numpy as np

from mjx_metaworld.physics import model as layout
from mjx_metaworld.physics.model import Arm, Colliders, Pairs, Scene
from mjx_metaworld.scenes.bodies import BodyMap, MovingBodies, find_moving_bodies, map_bodies, part_joint_slots
from mjx_metaworld.scenes.contacts import standard_solref

GRAVITY = (0.0, 0.0, -9.81)  # m/s^2, of metaworld's scenes


class RigidBody(NamedTuple):
    """A body with everything welded to it."""

    mass: float
    com: np.ndarray  # (3,) in the body frame
    inertia: np.ndarray  # (3, 3) about the centre of mass, body axes


def compose_body(model: mujoco.MjModel, body_map: BodyMap, skeleton_body: int) -> RigidBody:
    """Compose all original bodies that the skeleton body carries into one rigid body; zero when there are none."""
    members = np.flatnonzero(body_map.body == skeleton_body)
    mass = model.body_mass[members]
    total = float(mass.sum())
    if total == 0.0:
        return RigidBody(0.0, np.zeros(3), np.zeros((3, 3)))
    centres = np.zeros((len(members), 3))
    inertias = np.zeros((len(members), 3, 3))
    for i, b in enumerate(members):
        mat = _matrix(body_map.quat[b])
        principal = mat @ _matrix(model.body_iquat[b])
        centres[i] = body_map.pos[b] + mat @ model.body_ipos[b]
        inertias[i] = principal @ np.diag(model.body_inertia[b]) @ principal.T
    com = mass @ centres / total
    shift = centres - com
    steiner = np.einsum("i,ij,ij->", mass, shift, shift) * np.eye(3) - np.einsum("i,ij,ik->jk", mass, shift, shift)
    return RigidBody(total, com, inertias.sum(0) + steiner)


def load_arm(model: mujoco.MjModel) -> Arm:
    """Read the constants of the robot from any scene (with metaworld's weld data set)."""
    body_map = map_bodies(model, None)
    moving = find_moving_bodies(model)
    chain = moving.links + moving.claws
    joints = model.body_jntadr[list(chain)]
    dofs = model.jnt_dofadr[joints]
    bodies = [compose_body(model, body_map, layout.LINK0 + i) for i in range(9)]
    poses = [_compose_pose(model, body_map, b) for b in chain]
    weld = int(np.flatnonzero(model.eq_type == mujoco.mjtEq.mjEQ_WELD)[0])
    if model.eq_obj2id[weld] != moving.hand or model.eq_data[weld, :6].any():
        raise ValueError("the weld must hold the hand's own origin and orientation to the mocap body")
    if model.jnt_stiffness[joints].any() or model.dof_frictionloss.any() or model.body_gravcomp.any():
        raise ValueError("the robot has forces that the stages do not compute")
    return Arm(
        parent=np.array([body_map.body[model.body_parentid[b]] for b in chain]),
        pos=np.array([pos for pos, _ in poses]),
        quat=np.array([quat for _, quat in poses]),
        mass=np.array([body.mass for body in bodies]),
        com=np.array([body.com for body in bodies]),
        inertia=np.array([body.inertia for body in bodies]),
        axis=model.jnt_axis[joints],
        anchor=model.jnt_pos[joints],
        qpos0=model.qpos0[model.jnt_qposadr[joints]],
        armature=model.dof_armature[dofs],
        damping=model.dof_damping[dofs],
        dof_invweight0=model.dof_invweight0[dofs],
        limit_range=model.jnt_range[joints],
        limit_solref=model.jnt_solref[joints],
        limit_solimp=model.jnt_solimp[joints],
        hand_pos=body_map.pos[moving.hand].copy(),
        hand_quat=body_map.quat[moving.hand].copy(),
        weld_relquat=model.eq_data[weld, 6:10].copy(),
        weld_torquescale=float(model.eq_data[weld, 10]),
        weld_solref=model.eq_solref[weld].copy(),
        weld_solimp=model.eq_solimp[weld].copy(),
        weld_invweight=model.body_invweight0[moving.hand].copy(),
        actuator_gain=model.actuator_gainprm[:, 0].copy(),
        actuator_bias=model.actuator_biasprm[:, 1].copy(),
        ctrl_range=model.actuator_ctrlrange.copy(),
        gravity=np.array(GRAVITY),
        timestep=float(model.opt.timestep),
    )


def project(model: mujoco.MjModel, body_map: BodyMap, colliders: Colliders, pairs: Pairs) -> Scene:
    """Express an original scene as data of the skeleton (numpy float64 leaves, without lanes).

    Dofs that the scene lacks have a zero axis (the free body: zero mass) and armature one, so that they stay at rest.
    """
    moving = find_moving_bodies(model)
    free = compose_body(model, body_map, layout.FREE)
    free_joint = [] if moving.free is None else [model.body_jntadr[moving.free]]
    free_dofs = np.array([model.jnt_dofadr[j] + i for j in free_joint for i in range(6)], int)
    free_rows = np.arange(free_dofs.size)

    part = compose_body(model, body_map, layout.PART)
    slots = () if moving.part is None else part_joint_slots(model, moving.part)
    joints = np.array([joint for joint, _ in slots], int)
    rows = np.array([row for _, row in slots], int)
    hinges = joints[rows == 2]
    dofs, adr = model.jnt_dofadr[joints], model.jnt_qposadr[joints]

    prop_pos, prop_quat = _prop_pose(model, body_map)
    mount_pos, mount_quat, mount_on_prop = _mount_pose(model, body_map, moving, prop_pos, prop_quat)
    return Scene(
        free_mass=np.array(free.mass),
        free_com=free.com,
        free_inertia=free.inertia,
        free_armature=_fill(np.ones(6), free_rows, model.dof_armature[free_dofs]),
        free_damping=_fill(np.zeros(6), free_rows, model.dof_damping[free_dofs]),
        prop_pos=prop_pos,
        prop_quat=prop_quat,
        mount_pos=mount_pos,
        mount_quat=mount_quat,
        mount_on_prop=np.array(float(mount_on_prop)),
        part_mass=np.array(part.mass),
        part_com=part.com,
        part_inertia=part.inertia,
        part_axis=_fill(np.zeros((3, 3)), rows, model.jnt_axis[joints]),
        part_anchor=model.jnt_pos[hinges].sum(0),
        part_qpos0=_fill(np.zeros(3), rows, model.qpos0[adr]),
        part_armature=_fill(np.ones(3), rows, model.dof_armature[dofs]),
        part_damping=_fill(np.zeros(3), rows, model.dof_damping[dofs]),
        part_stiffness=_fill(np.zeros(3), rows, model.jnt_stiffness[joints]),
        part_springref=_fill(np.zeros(3), rows, model.qpos_spring[adr]),
        part_dof_invweight0=_fill(np.zeros(3), rows, model.dof_invweight0[dofs]),
        part_limited=_fill(np.zeros(3, bool), rows, model.jnt_limited[joints]),
        part_limit_range=_fill(np.zeros((3, 2)), rows, model.jnt_range[joints]),
        # MuJoCo's defaults where there is no joint: these rows pass the same arithmetic and must stay finite.
        part_limit_solref=_fill(np.tile([0.02, 1.0], (3, 1)), rows, _solref(model, joints)),
        part_limit_solimp=_fill(np.tile([0.9, 0.95, 0.001, 0.5, 2.0], (3, 1)), rows, model.jnt_solimp[joints]),
        colliders=colliders,
        pairs=pairs,
        gravity=_gravity(model),
    )


def _gravity(model: mujoco.MjModel) -> np.ndarray:
    is_off = model.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_GRAVITY
    return np.zeros(3) if is_off else model.opt.gravity.copy()


def _solref(model: mujoco.MjModel, joints: np.ndarray) -> np.ndarray:
    """The solref (n, 2) of joints' limits as time constants and damping ratios."""
    own = [standard_solref(model.jnt_solref[joint], model.opt.timestep) for joint in joints]
    return np.array(own).reshape(-1, 2)


def _fill(default: np.ndarray, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The default with some rows replaced."""
    default[rows] = values
    return default


def _mount_pose(
    model: mujoco.MjModel, body_map: BodyMap, moving: MovingBodies, prop_pos: np.ndarray, prop_quat: np.ndarray
) -> tuple[np.ndarray, np.ndarray, bool]:
    """World pose of the part's frame at its joints' reference position, and whether it moves with the prop."""
    if moving.part is None:
        return np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0]), False
    pos, quat = _compose_pose(model, body_map, moving.part)
    if body_map.body[model.body_parentid[moving.part]] == layout.WORLD:
        return pos, quat, False
    return *_chain(prop_pos, prop_quat, pos, quat), True


def _prop_pose(model: mujoco.MjModel, body_map: BodyMap) -> tuple[np.ndarray, np.ndarray]:
    """World pose of the prop in the XML; the origin when the scene has none."""
    on_prop = np.flatnonzero(body_map.body == layout.PROP)
    if on_prop.size == 0:
        return np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0])
    prop = on_prop[0]  # a parent comes before its children
    if model.body_parentid[prop] != 0:
        raise ValueError(f"the prop {model.body(prop).name!r} must be a child of the world")
    return model.body_pos[prop].copy(), model.body_quat[prop].copy()


def _compose_pose(model: mujoco.MjModel, body_map: BodyMap, body: int) -> tuple[np.ndarray, np.ndarray]:
    """Pose of a body in the frame of its parent's skeleton body."""
    parent = model.body_parentid[body]
    return _chain(body_map.pos[parent], body_map.quat[parent], model.body_pos[body], model.body_quat[body])


def _chain(pos1: np.ndarray, quat1: np.ndarray, pos2: np.ndarray, quat2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The second pose, given in the frame of the first, in the frame of the first one's parent."""
    quat = np.zeros(4)
    mujoco.mju_mulQuat(quat, quat1, quat2)
    return pos1 + _matrix(quat1) @ pos2, quat


def _matrix(quat: np.ndarray) -> np.ndarray:
    mat = np.zeros(9)
    mujoco.mju_quat2Mat(mat, quat)
    return mat.reshape(3, 3)
