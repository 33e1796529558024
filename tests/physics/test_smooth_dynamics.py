"""Kinematics, inertia and smooth forces against MuJoCo C on the original scenes, without contact."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from support.original_scenes import arm, as_lanes, original_of, originals, samples, spread

from mjx_metaworld.parity.dissect import VARIED_TASKS, record
from mjx_metaworld.physics import model as layout
from mjx_metaworld.physics.backends.cpu import dynamics as kernel
from mjx_metaworld.physics.backends.cpu.kernels import hindrance
from mjx_metaworld.physics.inertia import bias_force, dense, mass_matrix, smooth_force
from mjx_metaworld.physics.kinematics import kinematics
from mjx_metaworld.physics.model import Kinematics, PhysicsState

PER_SCENE = 3

# Relative errors. Float32 has 6e-8; the chains here are about ten operations deep and lose another digit where the
# parts of a sum have opposite signs. Float64 stops at what composing the masses of fused bodies in another order
# than MuJoCo costs, and at C's own rounding of the 1e5 kg m^2 that some scenes declare.
TOLERANCE = {"float32": 1e-5, "float64": 1e-9}


class Smooth(NamedTuple):
    """What the stages give, lanes first and float64."""

    kin: Kinematics
    mass: np.ndarray
    bias: np.ndarray
    force: np.ndarray


@functools.partial(jax.jit, static_argnames="in_kernel")
def _stages(scene, qpos, qvel, prop_pos, ctrl, in_kernel=False):
    if in_kernel:
        state = PhysicsState(qpos, qvel, prop_pos, prop_pos, qvel)
        kin, mass, force = kernel.dynamics(arm(), scene, state, ctrl)
        names = ("robot_damping", "servo_gain", "free_damping", "part_damping", "part_stiffness")
        shapes = dict(zip(names, (9, 2, 6, 3, 3), strict=True))
        alone = scene.replace(**{name: jnp.zeros((n, qpos.shape[-1]), qpos.dtype) for name, n in shapes.items()})
        return kin, dense(mass), -kernel.dynamics(arm(), alone, state, ctrl).qfrc_smooth, force
    kin = kinematics(arm(), scene, qpos, prop_pos)
    mass = dense(mass_matrix(arm(), scene, kin))
    return kin, mass, bias_force(arm(), scene, kin, qvel), smooth_force(arm(), scene, kin, qpos, qvel, ctrl)


def run_stages(scenes: list, states: list[tuple], dtype: str, in_kernel: bool = False) -> Smooth:
    """Run on states (qpos, qvel, prop_pos, ctrl), one lane each."""
    with jax.enable_x64(dtype == "float64"):
        out = _stages(as_lanes(scenes, jnp.dtype(dtype)), *as_lanes(states, jnp.dtype(dtype)), in_kernel=in_kernel)
        return Smooth(*jax.tree.map(lambda x: np.moveaxis(np.asarray(x, np.float64), -1, 0), out))


KERNEL = pytest.param("kernel", marks=pytest.mark.skipif(bool(hindrance()), reason=hindrance()))


@pytest.fixture(scope="module", params=["float32", "float64", KERNEL])
def results(request) -> tuple[Smooth, float]:
    drawn = samples(PER_SCENE)
    states = [(s.qpos, s.qvel, s.prop_pos, s.data.ctrl.copy()) for s in drawn]
    dtype = "float32" if request.param == "kernel" else request.param
    scenes = [originals()[s.index].scene for s in drawn]
    return run_stages(scenes, states, dtype, in_kernel=request.param == "kernel"), TOLERANCE[dtype]


def lane(kin: Kinematics, i: int) -> Kinematics:
    return jax.tree.map(lambda x: x[i], kin)


def test_body_and_site_poses(results):
    smooth, tolerance = results
    for i, sample in enumerate(samples(PER_SCENE)):
        original, kin, data = originals()[sample.index], lane(smooth.kin, i), sample.data
        model, body_map = original.model, original.body_map
        xpos, xmat = kin.xpos[body_map.body], kin.xmat[body_map.body]
        local = np.array([_matrix(quat) for quat in body_map.quat])
        pos = xpos + np.einsum("bij,bj->bi", xmat, body_map.pos)
        mat = xmat @ local
        real = model.body_mocapid < 0
        np.testing.assert_allclose(pos[real], data.xpos[real], atol=tolerance)
        np.testing.assert_allclose(mat[real], data.xmat.reshape(-1, 3, 3)[real], atol=tolerance)
        owner = model.site_bodyid
        site = pos[owner] + np.einsum("bij,bj->bi", mat[owner], model.site_pos)
        np.testing.assert_allclose(site, data.site_xpos, atol=tolerance)
        hand = model.body("hand").id
        np.testing.assert_allclose(kin.hand_pos, data.xpos[hand], atol=tolerance)
        np.testing.assert_allclose(kin.hand_quat, data.xquat[hand], atol=tolerance)  # the sign matters to the weld


def test_dof_motion(results):
    smooth, tolerance = results
    for i, sample in enumerate(samples(PER_SCENE)):
        original, kin, data = originals()[sample.index], lane(smooth.kin, i), sample.data
        model, body_map = original.model, original.body_map
        moves = layout.moves()
        for body in np.flatnonzero(model.body_dofnum > 0):
            point = data.xpos[body] + np.array([0.1, -0.2, 0.3])
            jacp, jacr = np.zeros((3, model.nv)), np.zeros((3, model.nv))
            mujoco.mj_jac(model, data, jacp, jacr, point, body)
            mask = moves[body_map.body[body]][body_map.dofs]
            ang, lin, anchor = (x[body_map.dofs] for x in (kin.ang, kin.lin, kin.anchor))
            np.testing.assert_allclose(ang * mask[:, None], jacr.T, atol=tolerance)
            np.testing.assert_allclose((lin + np.cross(ang, point - anchor)) * mask[:, None], jacp.T, atol=tolerance)


def test_mass_matrix(results):
    smooth, tolerance = results
    for i, sample in enumerate(samples(PER_SCENE)):
        expected = _full_mass(sample)
        # Entry (i, j) belongs to two dofs whose inertias differ by orders of magnitude.
        scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
        np.testing.assert_allclose(smooth.mass[i] / scale, expected / scale, atol=tolerance)


def test_bias_force(results):
    smooth, tolerance = results
    for i, sample in enumerate(samples(PER_SCENE)):
        expected = spread(originals()[sample.index].body_map, sample.data.qfrc_bias)
        # The arm's torques are sums of terms of 1 to 40 N m, so what is left of them is no measure.
        np.testing.assert_allclose(smooth.bias[i], expected, rtol=tolerance, atol=tolerance)


def test_smooth_acceleration(results):
    smooth, tolerance = results
    for i, sample in enumerate(samples(PER_SCENE)):
        expected = spread(originals()[sample.index].body_map, sample.data.qacc_smooth)
        actual = np.linalg.solve(smooth.mass[i], smooth.force[i])
        # How far a relative error in M and in the force can move the solution (Skeel's condition).
        mass = _full_mass(sample)
        scale = np.abs(np.linalg.inv(mass)) @ (np.abs(mass) @ np.abs(expected) + np.abs(mass @ expected) + 1)
        assert (np.abs(actual - expected) / scale).max() < tolerance


def test_absent_dofs_rest(results):
    smooth, _ = results
    for i, sample in enumerate(samples(PER_SCENE)):
        absent = np.setdiff1d(np.arange(layout.NV), originals()[sample.index].body_map.dofs)
        np.testing.assert_array_equal(smooth.mass[i][absent], np.eye(layout.NV)[absent])
        np.testing.assert_array_equal(smooth.force[i][absent], 0.0)


def test_free_quaternion_need_not_be_normalized():
    drawn = samples(PER_SCENE)
    rescale = np.ones(layout.NQ)
    rescale[layout.FREE_QPOS.start + 3 : layout.FREE_QPOS.stop] = 1.7
    scenes = [originals()[s.index].scene for s in drawn]
    plain = run_stages(scenes, [(s.qpos, s.qvel, s.prop_pos, s.data.ctrl) for s in drawn], "float32")
    scaled = run_stages(scenes, [(s.qpos * rescale, s.qvel, s.prop_pos, s.data.ctrl) for s in drawn], "float32")
    np.testing.assert_allclose(plain.kin.xmat, scaled.kin.xmat, atol=5e-7)  # a few roundings of numbers up to one


@pytest.mark.ci
def test_same_under_vmap():
    drawn = samples(1)[:4]
    scene = as_lanes([originals()[s.index].scene for s in drawn], jnp.float32)
    states = as_lanes([(s.qpos, s.qvel, s.prop_pos, s.data.ctrl.copy()) for s in drawn], jnp.float32)
    tiles = jax.tree.map(lambda x: jnp.stack([x[..., :2], x[..., 2:]]), (scene, *states))
    one = _stages(scene, *states)
    two = jax.vmap(_stages)(*tiles)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        # The compiler may contract other products and sums in another layout: a few float32 roundings of up to 40.
        np.testing.assert_allclose(a, np.concatenate([b[0], b[1]], -1), rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(
    "tasks",
    [("hammer-v3", "drawer-open-v3"), pytest.param(VARIED_TASKS, marks=pytest.mark.full)],
    ids=["two", "varied"],
)
def test_on_rollouts(tasks):
    states = record(tasks)
    # The recording's prop stands where the task put it; a scene without one has its prop at the origin.
    smooth = run_stages(
        [original_of(s.scene).scene for s in states], [(s.qpos, s.qvel, s.prop_pos, s.ctrl) for s in states], "float32"
    )
    for i, state in enumerate(states):
        present = original_of(state.scene).body_map.dofs
        scale = np.sqrt(np.outer(np.diag(state.mass), np.diag(state.mass)))
        np.testing.assert_allclose(smooth.mass[i] / scale, state.mass / scale, atol=1e-5)  # as above
        np.testing.assert_allclose(smooth.force[i], state.qfrc_smooth, rtol=1e-5, atol=1e-4)  # gripper: 400 N
        np.testing.assert_allclose(smooth.kin.hand_pos[i], state.hand_pos, atol=1e-6)  # a metre in float32
        np.testing.assert_allclose(smooth.kin.ang[i][present], state.ang[present], atol=1e-6)


def _full_mass(sample) -> np.ndarray:
    original = originals()[sample.index]
    full = np.zeros((original.model.nv, original.model.nv))
    mujoco.mj_fullM(original.model, full, sample.data.qM)
    mass = np.eye(layout.NV)
    mass[np.ix_(original.body_map.dofs, original.body_map.dofs)] = full
    return mass


def _matrix(quat: np.ndarray) -> np.ndarray:
    mat = np.zeros(9)
    mujoco.mju_quat2Mat(mat, quat)
    return mat.reshape(3, 3)
