"""Physics states of MuJoCo C along rollouts of the scripted experts, with everything the stages compute from them.

A state is taken at a substep of a control step of metaworld's own environment: the environment's data is copied, a few
substeps are run on the copy, and one more is taken apart into its stages there.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from mjx_metaworld.parity.record import episode
from mjx_metaworld.physics import model as layout
from mjx_metaworld.physics.constraint import Constraints
from mjx_metaworld.physics.inertia import MassMatrix
from mjx_metaworld.physics.model import Arm, Contacts, Kinematics, PhysicsState, Scene
from mjx_metaworld.scenes.bodies import map_bodies
from mjx_metaworld.scenes.catalog import SCENES, SceneSpec, load_scene
from mjx_metaworld.scenes.contacts import standard_solref
from mjx_metaworld.scenes.project import load_arm
from mjx_metaworld.scenes.stack import build_scene
from mjx_metaworld.suites import goals, resolve

# Tasks whose contacts and joints differ most: grasps of a box, a cylinder, capsules and meshes, a ball, sliding and
# hinged parts, a free body together with a part, torsional friction, many contacts at once.
VARIED_TASKS = (
    "bin-picking-v3",
    "box-close-v3",
    "assembly-v3",
    "basketball-v3",
    "hammer-v3",
    "stick-pull-v3",
    "door-open-v3",
    "drawer-open-v3",
    "button-press-topdown-v3",
    "plate-slide-v3",
    "peg-insert-side-v3",
    "window-open-v3",
)


TIMESTEP = 0.0025  # s, of metaworld's scenes


class RecordedContact(NamedTuple):
    """One contact of MuJoCo C; bodies are the skeleton's."""

    body1: int
    body2: int
    geom1: int
    geom2: int
    dim: int
    dist: float
    margin: float
    pos: np.ndarray  # (3,)
    frame: np.ndarray  # (3, 3)
    friction: np.ndarray  # (5,)
    solref: np.ndarray  # (2,)
    solimp: np.ndarray  # (5,)
    invweight: np.ndarray  # (2,)
    efc_address: int  # first constraint row, -1 when the contact is not in the solver


class RecordedState(NamedTuple):
    """One substep of MuJoCo C on the skeleton's layout, float64; dofs that the scene lacks are at rest.

    Constraint rows keep C's order: weld, joint limits, contacts.
    """

    task: str
    scene: SceneSpec
    ctrl: np.ndarray  # (2,)
    qpos: np.ndarray  # (19,)
    qvel: np.ndarray  # (18,)
    qacc_warmstart: np.ndarray  # (18,) before the solve
    mocap_pos: np.ndarray  # (3,)
    prop_pos: np.ndarray  # (3,) zero where the scene has no prop
    damping: np.ndarray  # (18,)
    xpos: np.ndarray  # (14, 3); zero for bodies that the scene lacks
    xmat: np.ndarray  # (14, 3, 3)
    ang: np.ndarray  # (18, 3) as in `Kinematics`
    lin: np.ndarray  # (18, 3)
    anchor: np.ndarray  # (18, 3)
    hand_pos: np.ndarray  # (3,)
    hand_quat: np.ndarray  # (4,)
    mass: np.ndarray  # (18, 18) with ones on the diagonal of absent dofs
    qfrc_smooth: np.ndarray  # (18,)
    qacc_smooth: np.ndarray  # (18,)
    efc_type: np.ndarray  # (nefc,)
    efc_jac: np.ndarray  # (nefc, 18)
    efc_aref: np.ndarray  # (nefc,)
    efc_d: np.ndarray  # (nefc,)
    efc_force: np.ndarray  # (nefc,) at the solution `qacc`
    contacts: tuple[RecordedContact, ...]
    qacc: np.ndarray  # (18,) C's default run
    qacc_exact: np.ndarray  # (18,) C's solution with tolerance zero
    qfrc_constraint: np.ndarray  # (18,) at `qacc_exact`
    next_qpos: np.ndarray  # (19,) after mj_Euler from `qacc_exact`
    next_qvel: np.ndarray  # (18,)

    @property
    def solver_contacts(self) -> tuple[RecordedContact, ...]:
        """The contacts that have constraint rows."""
        return tuple(contact for contact in self.contacts if contact.efc_address >= 0)


@functools.cache
def record(
    tasks: Sequence[str] = VARIED_TASKS, per_task: int = 24, every: int = 5, seed: int = 0
) -> tuple[RecordedState, ...]:
    """States along one expert episode per task, every `every`-th control step, at a random substep.

    Args:
        tasks: names with the suffix `-v3`.
        per_task: at most this many states per task, taken from the episode's start on.
        every: control steps between states.
        seed: of the frozen goals, of which the first is taken, and of the choice of substeps.
    """
    return tuple(state for task in tasks for state in _record_task(task, per_task, every, seed))


def _record_task(task: str, per_task: int, every: int, seed: int) -> list[RecordedState]:
    rng = np.random.default_rng(seed)
    states: list[RecordedState] = []
    for turn in episode(task, goals(task, seed)[0][0], "expert", (per_task - 1) * every + 1):
        if turn.index % every == 0:
            model, before = turn.cpu_env.model, copy.copy(turn.cpu_env.data)
            turn.take()
            before.mocap_pos[:] = turn.cpu_env.data.mocap_pos
            before.mocap_quat[:] = turn.cpu_env.data.mocap_quat
            before.ctrl[:] = turn.action[-1], -turn.action[-1]
            mujoco.mj_step(model, before, nstep=int(rng.integers(0, 5)))
            states.append(dissect(model, before, task, resolve(task)[0].scene_spec))
    return states


def dissect(model: mujoco.MjModel, data: mujoco.MjData, task: str, scene: SceneSpec) -> RecordedState:
    """Run one substep on `data` (which it changes) and keep what every stage computed."""
    prop, bodies = scene.prop, map_bodies(model, scene.prop)
    qpos0, qvel0, warmstart = data.qpos.copy(), data.qvel.copy(), data.qacc_warmstart.copy()
    mujoco.mj_forward(model, data)
    qacc, efc_force = data.qacc.copy(), data.efc_force.copy()

    iterations, tolerance, ls_iterations = model.opt.iterations, model.opt.tolerance, model.opt.ls_iterations
    model.opt.iterations, model.opt.tolerance, model.opt.ls_iterations = 100, 0.0, 100
    mujoco.mj_fwdConstraint(model, data)
    model.opt.iterations, model.opt.tolerance, model.opt.ls_iterations = iterations, tolerance, ls_iterations

    dofs = bodies.dofs
    full_mass = np.zeros((model.nv, model.nv))
    mujoco.mj_fullM(model, full_mass, data.qM)
    mass = np.eye(layout.NV)
    mass[np.ix_(dofs, dofs)] = full_mass
    efc_jac = np.zeros((data.nefc, layout.NV))
    efc_jac[:, dofs] = data.efc_J.reshape(-1, model.nv)

    ang, lin, anchor = (np.zeros((layout.NV, 3)) for _ in range(3))
    jacp, jacr = np.zeros((3, model.nv)), np.zeros((3, model.nv))
    for dof in range(model.nv):
        body = model.dof_bodyid[dof]
        mujoco.mj_jac(model, data, jacp, jacr, data.xpos[body], body)
        ang[dofs[dof]], lin[dofs[dof]], anchor[dofs[dof]] = jacr[:, dof], jacp[:, dof], data.xpos[body]

    xpos, xmat = np.zeros((layout.NUM_BODIES, 3)), np.tile(np.eye(3), (layout.NUM_BODIES, 1, 1))
    for body in range(1, model.nbody):
        if body == model.body_weldid[body]:
            xpos[bodies.body[body]], xmat[bodies.body[body]] = data.xpos[body], data.xmat[body].reshape(3, 3)
    hand = model.body("hand").id
    contacts = tuple(_contact(model, bodies.body, contact) for contact in data.contact)
    exact, constraint = data.qacc.copy(), data.qfrc_constraint.copy()
    smooth, smooth_acc = data.qfrc_smooth.copy(), data.qacc_smooth.copy()
    hand_pos, hand_quat = data.xpos[hand].copy(), data.xquat[hand].copy()
    rows = data.efc_type.copy(), data.efc_aref.copy(), data.efc_D.copy()
    mujoco.mj_Euler(model, data)

    def spread(values: np.ndarray) -> np.ndarray:
        out = np.zeros(layout.NV)
        out[dofs] = values
        return out

    def spread_qpos(values: np.ndarray) -> np.ndarray:
        out = np.zeros(layout.NQ)
        out[layout.FREE_QPOS.start + 3] = 1.0
        out[bodies.qpos] = values
        return out

    return RecordedState(
        task=task,
        scene=scene,
        ctrl=data.ctrl.copy(),
        qpos=spread_qpos(qpos0),
        qvel=spread(qvel0),
        qacc_warmstart=spread(warmstart),
        mocap_pos=data.mocap_pos[0].copy(),
        prop_pos=np.zeros(3) if prop is None else model.body(prop).pos.copy(),
        damping=spread(model.dof_damping),
        xpos=xpos,
        xmat=xmat,
        ang=ang,
        lin=lin,
        anchor=anchor,
        hand_pos=hand_pos,
        hand_quat=hand_quat,
        mass=mass,
        qfrc_smooth=spread(smooth),
        qacc_smooth=spread(smooth_acc),
        efc_type=rows[0],
        efc_jac=efc_jac,
        efc_aref=rows[1],
        efc_d=rows[2],
        efc_force=efc_force,
        contacts=contacts,
        qacc=spread(qacc),
        qacc_exact=spread(exact),
        qfrc_constraint=spread(constraint),
        next_qpos=spread_qpos(data.qpos),
        next_qvel=spread(data.qvel),
    )


def _contact(model: mujoco.MjModel, body_map: np.ndarray, contact) -> RecordedContact:
    bodies = model.geom_bodyid[contact.geom]
    return RecordedContact(
        body1=int(body_map[bodies[0]]),
        body2=int(body_map[bodies[1]]),
        geom1=int(contact.geom[0]),
        geom2=int(contact.geom[1]),
        dim=int(contact.dim),
        dist=float(contact.dist),
        margin=float(contact.includemargin),
        pos=contact.pos.copy(),
        frame=contact.frame.reshape(3, 3).copy(),
        friction=contact.friction.copy(),
        solref=contact.solref.copy(),
        solimp=contact.solimp.copy(),
        invweight=model.body_invweight0[bodies].sum(0),
        efc_address=int(contact.efc_address),
    )


def to_lanes(rows: Sequence[np.ndarray], dtype=np.float32) -> jax.Array:
    """Stack one array per state along a last axis, the lanes."""
    stacked = np.stack(rows, axis=-1)
    return jnp.asarray(stacked.astype(dtype) if stacked.dtype == np.float64 else stacked)


@functools.cache
def load_robot() -> Arm:
    """The robot's constants."""
    return load_arm(load_scene(SCENES[0]))


@functools.cache
def _scene(spec: SceneSpec) -> Scene:
    return build_scene(spec, None).replace(colliders=None, pairs=None)


def scenes_of(states: Sequence[RecordedState], dtype=np.float32) -> Scene:
    """The lanes' scenes, without their colliders."""
    return jax.tree.map(lambda *leaves: to_lanes(leaves, dtype), *(_scene(state.scene) for state in states))


def physics_states_of(states: Sequence[RecordedState], dtype=np.float32) -> PhysicsState:
    """States from which the substeps start."""
    names = ("qpos", "qvel", "mocap_pos", "prop_pos", "qacc_warmstart")
    leaves = {name: to_lanes([getattr(state, name) for state in states], dtype) for name in names}
    return PhysicsState(**leaves)


def kinematics_of(states: Sequence[RecordedState], dtype=np.float32) -> Kinematics:
    """MuJoCo's own kinematics."""
    names = ("xpos", "xmat", "ang", "lin", "anchor", "hand_pos", "hand_quat")
    return Kinematics(**{name: to_lanes([getattr(state, name) for state in states], dtype) for name in names})


def mass_of(states: Sequence[RecordedState], dtype=np.float32) -> MassMatrix:
    """The blocks of MuJoCo's own mass matrix."""
    blocks = (layout.ROBOT_DOFS, layout.FREE_DOFS, layout.PART_DOFS)
    return MassMatrix(*(to_lanes([state.mass[dofs, dofs] for state in states], dtype) for dofs in blocks))


def contacts_of(states: Sequence[RecordedState], num_contacts: int, dtype=np.float32) -> Contacts:
    """MuJoCo's own contacts in its order, padded with inactive rows."""
    shapes = {
        "dist": (), "pos": (3,), "frame": (3, 3), "body1": (), "body2": (), "margin": (),
        "friction": (2,), "torsional": (), "solref": (2,), "solimp": (5,), "invweight": (2,),
    }  # fmt: skip
    kinds: dict[str, type] = {"body1": np.int32, "body2": np.int32, "torsional": bool}
    rows: dict[str, np.ndarray] = {
        name: np.zeros((len(states), num_contacts, *shape), kinds.get(name, float)) for name, shape in shapes.items()
    }
    dims = {contact.dim for state in states for contact in state.solver_contacts}
    if dims - {3, 4}:
        rows["slides"] = np.ones((len(states), num_contacts), bool)
    if 6 in dims:
        rows["rolling"] = np.zeros((len(states), num_contacts))
    rows["active"] = np.zeros((len(states), num_contacts), bool)
    rows["touch"] = np.zeros((len(states), num_contacts), np.int32)
    for i, state in enumerate(states):
        for j, contact in enumerate(state.solver_contacts):
            for name in shapes.keys() - {"friction", "torsional", "solref"}:
                rows[name][i, j] = getattr(contact, name)
            rows["friction"][i, j] = contact.friction[[0, 2]]
            rows["solref"][i, j] = standard_solref(contact.solref, TIMESTEP)
            rows["torsional"][i, j] = contact.dim >= 4
            if contact.dim == 1:
                rows["slides"][i, j] = False
            if contact.dim == 6:
                rows["rolling"][i, j] = contact.friction[3]
            rows["active"][i, j] = True
    return Contacts.of(**{name: to_lanes(list(values), dtype) for name, values in rows.items()})


def constraints_of(states: Sequence[RecordedState], num_contacts: int, dtype=np.float32) -> Constraints:
    """MuJoCo's own constraint rows, the torsional ones scaled as `Constraints` has them."""
    rolls = any(contact.dim == 6 for state in states for contact in state.solver_contacts)
    rows = [_rows(state, num_contacts, 6 if rolls else 4) for state in states]
    return jax.tree.map(lambda *leaves: to_lanes(leaves, dtype), *rows)


def _rows(state: RecordedState, num_contacts: int, num_rows: int) -> Constraints:
    limit_jac, limit_d, limit_aref = (np.zeros(layout.NV) for _ in range(3))
    for row in np.flatnonzero(state.efc_type == mujoco.mjtConstraint.mjCNSTR_LIMIT_JOINT):
        (dof,) = np.flatnonzero(state.efc_jac[row])
        limit_jac[dof], limit_d[dof], limit_aref[dof] = state.efc_jac[row, dof], state.efc_d[row], state.efc_aref[row]
    contact_jac, contact_aref = np.zeros((num_contacts, num_rows, layout.NV)), np.zeros((num_contacts, num_rows))
    contact_d, contact_mu = np.zeros(num_contacts), np.ones(num_contacts)
    for i, contact in enumerate(state.solver_contacts):
        rows = slice(contact.efc_address, contact.efc_address + contact.dim)
        scale = np.array([1.0, *contact.friction / contact.friction[0]])[: contact.dim]
        contact_jac[i, : contact.dim] = state.efc_jac[rows] * scale[:, None]
        contact_aref[i, : contact.dim] = state.efc_aref[rows] * scale
        contact_d[i], contact_mu[i] = state.efc_d[contact.efc_address], contact.friction[0]
    return Constraints(
        weld_jac=state.efc_jac[:6, layout.ARM_DOFS],
        weld_d=state.efc_d[:6],
        weld_aref=state.efc_aref[:6],
        limit_jac=limit_jac,
        limit_d=limit_d,
        limit_aref=limit_aref,
        contact_jac=contact_jac,
        contact_d=contact_d,
        contact_aref=contact_aref,
        contact_mu=contact_mu,
        num_contacts=np.int32(len(state.solver_contacts)),
    )
