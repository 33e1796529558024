"""Map from the bodies of an original scene to the skeleton bodies that carry them.

Bodies are told apart by the kinematic tree, since many are unnamed and their order differs between scenes: the arm is
the chain of moving bodies that ends at the body welded to the mocap, the claws are the moving children of its end, the
free body is the one with a free joint, the part is the remaining moving body.
"""

from __future__ import annotations

from typing import NamedTuple

import mujoco
import numpy as np

from mjx_metaworld.physics import model as layout

_JOINT_QPOS = {mujoco.mjtJoint.mjJNT_FREE: 7, mujoco.mjtJoint.mjJNT_SLIDE: 1, mujoco.mjtJoint.mjJNT_HINGE: 1}
_JOINT_DOFS = {mujoco.mjtJoint.mjJNT_FREE: 6, mujoco.mjtJoint.mjJNT_SLIDE: 1, mujoco.mjtJoint.mjJNT_HINGE: 1}


class BodyMap(NamedTuple):
    """Original bodies, dofs and qpos entries in terms of the skeleton's.

    The pose of original body b is that of skeleton body `body[b]` followed by (`pos[b]`, `quat[b]`). The mocap body
    counts as static at its XML pose.
    """

    body: np.ndarray  # (nbody,) int skeleton body
    pos: np.ndarray  # (nbody, 3) in the skeleton body's frame
    quat: np.ndarray  # (nbody, 4)
    dofs: np.ndarray  # (nv,) int skeleton dof of each original dof
    qpos: np.ndarray  # (nq,) int skeleton qpos entry of each original one


class MovingBodies(NamedTuple):
    """Original ids of the bodies that have joints."""

    links: tuple[int, ...]  # right_l0 .. right_l6
    hand: int  # the body that the weld holds; it is fixed to the last link
    claws: tuple[int, ...]  # right, left
    free: int | None
    part: int | None


def find_moving_bodies(model: mujoco.MjModel) -> MovingBodies:
    """Tell the arm, the claws, the free body and the part of a scene apart.

    Raises:
        ValueError: if the scene has moving bodies that the skeleton cannot represent.
    """
    weld = int(np.flatnonzero(model.eq_type == mujoco.mjtEq.mjEQ_WELD)[0])
    ends = (int(model.eq_obj1id[weld]), int(model.eq_obj2id[weld]))
    hand = next(body for body in ends if model.body_mocapid[body] < 0)

    links = []
    body = int(model.body_weldid[hand])
    while body != 0:
        links.append(body)
        body = int(model.body_weldid[model.body_parentid[body]])
    links.reverse()

    moving = [b for b in range(1, model.nbody) if model.body_jntnum[b] > 0]
    claws = tuple(b for b in moving if model.body_weldid[model.body_parentid[b]] == links[-1])
    rest = [b for b in moving if b not in links and b not in claws]
    free = [b for b in rest if model.jnt_type[model.body_jntadr[b]] == mujoco.mjtJoint.mjJNT_FREE]
    part = [b for b in rest if b not in free]
    if len(links) != 7 or len(claws) != 2 or len(free) > 1 or len(part) > 1:
        raise ValueError(f"not a Meta-World scene: links {links}, claws {claws}, free {free}, parts {part}")
    return MovingBodies(tuple(links), hand, claws, free[0] if free else None, part[0] if part else None)


def part_joint_slots(model: mujoco.MjModel, part: int) -> tuple[tuple[int, int], ...]:
    """Pairs (original joint, row 0..2 of the part's joints): slides take rows 0 and 1, a hinge row 2."""
    first = int(model.body_jntadr[part])
    joints = range(first, first + int(model.body_jntnum[part]))
    slides = [j for j in joints if model.jnt_type[j] == mujoco.mjtJoint.mjJNT_SLIDE]
    hinges = [j for j in joints if model.jnt_type[j] == mujoco.mjtJoint.mjJNT_HINGE]
    if len(slides) > 2 or len(hinges) > 1 or len(slides) + len(hinges) != len(joints):
        raise ValueError(f"the skeleton has no room for the joints {list(joints)} of body {part}")
    return tuple(zip(slides, (0, 1), strict=False)) + tuple((j, 2) for j in hinges)


def map_bodies(model: mujoco.MjModel, prop: str | None) -> BodyMap:
    """Map the bodies, dofs and qpos entries of an original scene onto the skeleton.

    Static bodies are fixed to `PROP` when they are the prop or below it, else to the world.
    """
    moving = find_moving_bodies(model)
    roots = {body: layout.LINK0 + i for i, body in enumerate(moving.links)}
    roots |= dict(zip(moving.claws, (layout.RIGHT_CLAW, layout.LEFT_CLAW), strict=True))
    if moving.free is not None:
        roots[moving.free] = layout.FREE
    if moving.part is not None:
        roots[moving.part] = layout.PART
    if prop is not None:
        roots[model.body(prop).id] = layout.PROP

    body = np.zeros(model.nbody, int)
    pos = np.zeros((model.nbody, 3))
    quat = np.tile([1.0, 0.0, 0.0, 0.0], (model.nbody, 1))
    for b in range(1, model.nbody):
        if b in roots:
            body[b] = roots[b]
            continue
        parent = model.body_parentid[b]
        body[b] = body[parent]
        mujoco.mju_rotVecQuat(pos[b], model.body_pos[b], quat[parent])
        pos[b] += pos[parent]
        mujoco.mju_mulQuat(quat[b], quat[parent], model.body_quat[b])

    dofs = np.full(model.nv, -1)
    qpos = np.full(model.nq, -1)
    for joint, (dof, adr) in _joint_addresses(model, moving).items():
        kind = mujoco.mjtJoint(model.jnt_type[joint])
        first_dof, first_qpos = model.jnt_dofadr[joint], model.jnt_qposadr[joint]
        dofs[first_dof : first_dof + _JOINT_DOFS[kind]] = dof + np.arange(_JOINT_DOFS[kind])
        qpos[first_qpos : first_qpos + _JOINT_QPOS[kind]] = adr + np.arange(_JOINT_QPOS[kind])
    return BodyMap(body, pos, quat, dofs, qpos)


def _joint_addresses(model: mujoco.MjModel, moving: MovingBodies) -> dict[int, tuple[int, int]]:
    """First skeleton dof and qpos entry of every original joint."""
    addresses = {int(model.body_jntadr[b]): (i, i) for i, b in enumerate(moving.links + moving.claws)}
    if moving.free is not None:
        addresses[int(model.body_jntadr[moving.free])] = (layout.FREE_DOFS.start, layout.FREE_QPOS.start)
    if moving.part is not None:
        for joint, row in part_joint_slots(model, moving.part):
            addresses[joint] = (layout.PART_DOFS.start + row, layout.PART_QPOS.start + row)
    return addresses
