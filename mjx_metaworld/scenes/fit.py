"""Scenes of one's own: whether they fit the skeleton and the stages, and all that is wrong where they do not.

A scene is metaworld's robot, at most one free body, at most one other moving part, and static bodies, one of which may
be the prop. What is refused here would not fail later: the stages have no place for it and would leave it out.
"""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import mujoco
import numpy as np

from mjx_metaworld.physics import model as layout
from mjx_metaworld.physics.config import PhysicsConfig
from mjx_metaworld.physics.model import Arm
from mjx_metaworld.scenes.bodies import find_moving_bodies, map_bodies
from mjx_metaworld.scenes.catalog import SceneSpec, find_scene, load_scene
from mjx_metaworld.scenes.colliders import find_pairs
from mjx_metaworld.scenes.contacts import contact_parameters, explicit_pairs, standard_solref, unsupported
from mjx_metaworld.scenes.options import options
from mjx_metaworld.scenes.project import load_arm
from mjx_metaworld.scenes.slots import need_of, shortage_of

_LINKS = tuple(f"right_l{i}" for i in range(7))
_ROBOT = {
    mujoco.mjtObj.mjOBJ_BODY: (*_LINKS, "right_hand", "hand", "rightclaw", "leftclaw", "rightpad", "leftpad", "mocap"),
    mujoco.mjtObj.mjOBJ_SITE: ("rightEndEffector", "leftEndEffector"),
    mujoco.mjtObj.mjOBJ_GEOM: ("rightpad_geom", "leftpad_geom"),
}
_ACTUATED = ("r_close", "l_close")
_SHAPES = {
    mujoco.mjtGeom.mjGEOM_PLANE,
    mujoco.mjtGeom.mjGEOM_SPHERE,
    mujoco.mjtGeom.mjGEOM_CAPSULE,
    mujoco.mjtGeom.mjGEOM_CYLINDER,
    mujoco.mjtGeom.mjGEOM_BOX,
    mujoco.mjtGeom.mjGEOM_MESH,
}
_SHAPE_NAMES = "plane, sphere, capsule, cylinder, box or mesh"
_COLLIDING = {
    layout.WORLD,
    layout.HAND,
    layout.RIGHT_CLAW,
    layout.LEFT_CLAW,
    layout.FREE,
    layout.PROP,
    layout.PART,
}
_GRIPPER = (layout.HAND, layout.RIGHT_CLAW, layout.LEFT_CLAW)
_FLOOR = -0.5  # m; a plane must lie below: the robot and the part are never tested against planes
_SAME = 1e-9  # rounding of the same XML compiled twice, relative


def check_scene(scene: SceneSpec | str | Path, physics: PhysicsConfig | None = None) -> list[str]:
    """All that a scene of one's own holds and the engine does not compute; `mw.make` refuses a scene with any of it.

    A scene of one's own that fits is simulated for a while by MuJoCo C. If it has more pairs near each other, or more
    contacts, than `physics` has slots for, that is a line where it happens at rest and else a warning.

    Args:
        scene: the path of an MJCF file, or a `SceneSpec`, which names the prop as well.
        physics: the accuracy that `mw.make` gets, with the numbers of slots; the defaults when None.

    Returns:
        A line for each thing, with the names of the elements and what is allowed; none if the scene fits.

    Raises:
        ValueError: if the file, or what it includes, cannot be read, MuJoCo does not compile it, or a name is none of
            metaworld's scenes.
        TypeError: if it is neither a path nor a `SceneSpec`.
    """
    spec = scene if isinstance(scene, SceneSpec) else SceneSpec(scene)
    if spec.own is None:
        spec = find_scene(str(spec.file))  # raises where there is none
    lines = list(problems(load_scene(spec), spec.prop))
    return lines if lines or spec.own is None else _lost_contacts(spec, physics or PhysicsConfig())


def _lost_contacts(spec: SceneSpec, physics: PhysicsConfig) -> list[str]:
    """The line on contacts that a scene loses at rest; a warning of those that it loses in motion."""
    shortage = shortage_of({"it": need_of(spec)}, physics)
    if shortage is None:
        return []
    if shortage.at_rest:
        return [" ".join(shortage.text.splitlines())]
    warnings.warn(f"{spec.file}: {shortage.text}", UserWarning, stacklevel=3)
    return []


def problems(model: mujoco.MjModel, prop: str | None) -> Iterator[str]:
    """All that is wrong with a compiled scene, a line each."""
    yield from options(model, _reference())
    yield from _elements(model)
    missing = [
        f"{kind.name.removeprefix('mjOBJ_').lower()} {name}"
        for kind, names in _ROBOT.items()
        for name in names
        if mujoco.mj_name2id(model, kind, name) < 0
    ]
    if missing:
        yield (
            f"it lacks {_several(missing)} of the robot: include metaworld/objects/assets/xyz_base_dependencies.xml "
            "and, in the worldbody, metaworld/objects/assets/xyz_base.xml"
        )
        return
    equality = list(_equality(model))
    actuation = list(_actuation(model))
    moving = list(_moving_bodies(model)) + list(_prop(model, prop))
    yield from equality + actuation + moving
    if not equality + actuation + moving:
        yield from _robot(model)
        yield from _contacts(model, prop)


def _several(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words))


@functools.cache
def _reference() -> mujoco.MjModel:
    """A scene of metaworld's with nothing in it but the robot, the table and a puck."""
    return load_scene(find_scene("sawyer_reach_v3"))


def _elements(model: mujoco.MjModel) -> Iterator[str]:
    counted = {"tendon": "ntendon", "flex": "nflex", "plugin": "nplugin"}
    for element, count in counted.items():
        if getattr(model, count):
            yield f"{getattr(model, count)} {element} elements, which are not supported"
    if model.nmocap > 1:
        yield f"{model.nmocap} mocap bodies, there must be the robot's only"
    if model.dof_frictionloss.any():
        yield f"frictionloss in the joints {_joints(model, model.dof_jntid[model.dof_frictionloss != 0])}"
    if model.body_gravcomp.any():
        yield f"gravcomp in the bodies {_bodies(model, np.flatnonzero(model.body_gravcomp))}"
    margins = np.flatnonzero(model.jnt_margin)
    if margins.size:
        yield f"a margin of the limits of the joints {_joints(model, margins)}"
    for joint in map(int, np.flatnonzero(model.jnt_limited)):
        try:
            standard_solref(model.jnt_solref[joint], model.opt.timestep)
        except ValueError as error:
            yield f"solreflimit of the joint {_joints(model, [joint])}: {error}"


def _equality(model: mujoco.MjModel) -> Iterator[str]:
    held = {"mocap", "hand"}
    welds = [
        i
        for i in range(model.neq)
        if model.eq_type[i] == mujoco.mjtEq.mjEQ_WELD
        and model.eq_objtype[i] == mujoco.mjtObj.mjOBJ_BODY
        and {model.body(model.eq_obj1id[i]).name, model.body(model.eq_obj2id[i]).name} == held
    ]
    if len(welds) != 1 or not model.eq_active0[welds].all():
        yield 'there must be one weld: <equality><weld body1="mocap" body2="hand" solref="0.02 1"/></equality>'
    if model.neq > len(welds):
        others = [i for i in range(model.neq) if i not in welds]
        yield (
            f"{len(others)} equality constraints besides the weld of the hand, which are not supported: "
            f"{_several(_constraint(model, i) for i in others)}"
        )


def _constraint(model: mujoco.MjModel, equality: int) -> str:
    kind = mujoco.mjtEq(model.eq_type[equality]).name.removeprefix("mjEQ_").lower()
    name = model.equality(equality).name
    return f"{kind} {name!r}" if name else f"a {kind} without a name"


def _actuation(model: mujoco.MjModel) -> Iterator[str]:
    joints = [
        model.joint(model.actuator_trnid[i, 0]).name if model.actuator_trntype[i] == mujoco.mjtTrn.mjTRN_JOINT else "?"
        for i in range(model.nu)
    ]
    same = tuple(joints) == _ACTUATED and all(
        np.allclose(getattr(model, name), getattr(_reference(), name), rtol=_SAME, atol=0)
        for name in dir(model)
        if name.startswith("actuator_") and isinstance(getattr(model, name), np.ndarray) and name not in _NOT_COMPARED
    )
    if not same:
        yield (
            f"{model.nu} actuators, on {_several(joints) or 'nothing'}; there must be metaworld's two, in the order "
            f'{" and ".join(_ACTUATED)}: <position ctrllimited="true" ctrlrange="-1 1" joint="r_close" kp="400"/>'
        )


# Where things stand in the model, and notes of the user's: they say nothing about forces.
_NOT_COMPARED = {"actuator_trnid", "actuator_user", "actuator_group", "actuator_plugin", "actuator_acc0"}
_NOT_COMPARED |= {"actuator_length0", "actuator_lengthrange", "actuator_actadr", "actuator_actnum"}


def _moving_bodies(model: mujoco.MjModel) -> Iterator[str]:
    """At most one free body and one part, whose joints are slides and then a hinge."""
    robot = {model.body(name).id for name in (*_LINKS, "rightclaw", "leftclaw")}
    static = {0} | {b for b in range(1, model.nbody) if model.body_weldid[b] == 0}
    moving = [b for b in range(1, model.nbody) if model.body_jntnum[b] and b not in robot]
    kinds = {b: [int(model.jnt_type[j]) for j in _joints_of(model, b)] for b in moving}
    free = [b for b in moving if mujoco.mjtJoint.mjJNT_FREE in kinds[b]]
    part = [b for b in moving if b not in free]
    unjointed = [b for b in robot if model.body_jntnum[b] != 1]
    if unjointed:
        yield f"the robot's bodies {_bodies(model, unjointed)} must have one joint each, as metaworld's have"
    if len(free) > 1:
        yield f"{len(free)} free bodies, {_bodies(model, free)}; there is room for one"
    if len(part) > 1:
        yield f"{len(part)} bodies with joints, {_bodies(model, part)}; there is room for one besides a free body"
    slide, hinge = int(mujoco.mjtJoint.mjJNT_SLIDE), int(mujoco.mjtJoint.mjJNT_HINGE)
    for b in part:
        fits = all(kind in (slide, hinge) for kind in kinds[b]) and kinds[b].count(slide) <= 2
        if not fits or hinge in kinds[b][:-1]:
            named = ", ".join(mujoco.mjtJoint(kind).name.removeprefix("mjJNT_").lower() for kind in kinds[b])
            yield f"the body {_bodies(model, [b])} moves by {named}; it may have up to two slides, then one hinge"
        if model.body_parentid[b] not in static:
            yield f"the body {_bodies(model, [b])} hangs on another moving body; it must hang on a static one"
    for b in free:
        if model.jnt_stiffness[_joints_of(model, b)].any():
            yield f"stiffness in the free joint of {_bodies(model, [b])}"


def _prop(model: mujoco.MjModel, prop: str | None) -> Iterator[str]:
    if prop is None:
        return
    body = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, prop)
    if body < 0:
        names = [model.body(b).name for b in range(1, model.nbody) if model.body_parentid[b] == 0]
        yield f"there is no body {prop!r} to be the prop; bodies in the world: {_several(filter(None, names))}"
    elif model.body_parentid[body] != 0 or model.body_jntnum[body] or model.body_mocapid[body] >= 0:
        yield f"the prop {prop!r} must be a child of the world without joints"
    elif model.body_rootid[model.body("hand").id] == body:
        yield f"the prop {prop!r} must not carry the robot"


def _robot(model: mujoco.MjModel) -> Iterator[str]:
    model = copy.copy(model)
    model.dof_frictionloss[:], model.body_gravcomp[:] = 0.0, 0.0  # which have lines of their own
    try:
        own, needed = load_arm(model), load_arm(_reference())
    except ValueError as error:
        yield str(error)
        return
    differing = [
        name
        for name in Arm._fields
        if name != "timestep"  # an option, which has a line of its own
        and not np.allclose(getattr(own, name), getattr(needed, name), rtol=_SAME, atol=1e-12)
    ]
    joints = model.body_jntadr[[*find_moving_bodies(model).links, *find_moving_bodies(model).claws]]
    if not model.jnt_limited[joints].all():
        differing.append("limits of the joints")
    if model.jnt_actfrclimited[joints].any():
        differing.append("actuatorfrcrange of the joints")
    if not _same_shapes(_gripper(model), _gripper(_reference())):
        differing.append("shapes of the gripper that collide")
    if differing:
        hint = " (angles of metaworld's files are in radians)" if "limit_range" in differing else ""
        yield f"the robot is not metaworld's: {_several(differing)} differ{hint}"


def _gripper(model: mujoco.MjModel) -> np.ndarray:
    """Type, size and pose (n, 11) of the gripper's geoms that may collide, in the frames of the skeleton's bodies."""
    bodies = map_bodies(model, None)
    carried = bodies.body[model.geom_bodyid]
    geoms = [g for g in range(model.ngeom) if _collides(model, g) and carried[g] in _GRIPPER]
    columns = (carried, model.geom_type, *model.geom_size.T, *model.geom_pos.T, *model.geom_quat.T)
    return np.stack(columns, axis=1)[geoms]


def _same_shapes(own: np.ndarray, needed: np.ndarray) -> bool:
    return own.shape == needed.shape and np.allclose(own, needed, rtol=_SAME, atol=_SAME)


def _contacts(model: mujoco.MjModel, prop: str | None) -> Iterator[str]:
    bodies = map_bodies(model, prop)
    named = {geom for pair in explicit_pairs(model) for geom in pair}
    colliding = [g for g in range(model.ngeom) if _collides(model, g) or g in named]
    unknown = [g for g in colliding if model.geom_type[g] not in _SHAPES]
    if unknown:
        kinds = _several(mujoco.mjtGeom(model.geom_type[g]).name.removeprefix("mjGEOM_").lower() for g in unknown)
        yield f"{_geoms(model, unknown)} of type {kinds}; geoms that may collide must be {_SHAPE_NAMES}"
        return
    pairs = find_pairs(model, bodies)
    used = sorted({geom for pair in pairs for geom in pair})
    on_arm = [g for g in used if bodies.body[model.geom_bodyid[g]] not in _COLLIDING]
    if on_arm:
        yield f"{_geoms(model, on_arm)} of the arm above the hand may collide; contype and conaffinity must rule it out"
    planes = [g for g in used if model.geom_type[g] == mujoco.mjtGeom.mjGEOM_PLANE]
    bad_planes = [g for g in planes if bodies.body[model.geom_bodyid[g]] != layout.WORLD or not _is_floor(model, g)]
    # Planes that the pairs leave out already, where nothing can fall on them, count as well.
    bad_planes += [
        g
        for g in colliding
        if g not in planes and model.geom_type[g] == mujoco.mjtGeom.mjGEOM_PLANE and not _is_floor(model, g)
    ]
    if bad_planes:
        yield f"the planes {_geoms(model, bad_planes)} must be level and below {_FLOOR} m; use boxes"
    explicit = explicit_pairs(model)
    lines: dict[str, list[int]] = {}
    for pair in pairs:
        for line in unsupported(contact_parameters(model, pair, explicit.get(pair)), model.opt.timestep):
            lines.setdefault(line, []).extend(pair)
    for line, geoms in lines.items():
        yield f"{line}, in contacts of {_geoms(model, geoms)}"


def _is_floor(model: mujoco.MjModel, geom: int) -> bool:
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    is_static = model.body_weldid[model.geom_bodyid[geom]] == 0
    return bool(is_static and data.geom_xmat[geom, 8] > 1 - _SAME and data.geom_xpos[geom, 2] <= _FLOOR)


def _collides(model: mujoco.MjModel, geom: int) -> bool:
    return bool(model.geom_contype[geom] or model.geom_conaffinity[geom])


def _joints_of(model: mujoco.MjModel, body: int) -> list[int]:
    first = int(model.body_jntadr[body])
    return list(range(first, first + int(model.body_jntnum[body])))


def _bodies(model: mujoco.MjModel, ids: Iterable[int]) -> str:
    return _several(model.body(b).name or f"number {b}" for b in ids)


def _joints(model: mujoco.MjModel, ids: Iterable[int]) -> str:
    return _several(model.joint(j).name or f"number {j}" for j in ids)


def _geoms(model: mujoco.MjModel, ids: Iterable[int]) -> str:
    """Geoms by their names, or by their bodies'."""
    return _several(
        f"geom {model.geom(g).name}" if model.geom(g).name else f"a geom of {_bodies(model, [model.geom_bodyid[g]])}"
        for g in ids
    )
