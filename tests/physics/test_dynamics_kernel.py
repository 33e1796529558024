"""Dynamics' and integration's kernels for CPUs: against XLA's programs and MuJoCo C, lane by lane, in any batch.

`test_smooth_dynamics.py` has the first one against MuJoCo C.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from physics.test_solver import relative_error
from support.lanes import lanes_of, same_bits

from mjx_metaworld.parity.dissect import load_robot, mass_of, physics_states_of, record, scenes_of, to_lanes
from mjx_metaworld.physics.backends.cpu import dynamics, integrate
from mjx_metaworld.physics.backends.cpu.kernels import hindrance
from mjx_metaworld.physics.config import Execution
from mjx_metaworld.physics.model import FREE_QPOS, PART_QPOS
from mjx_metaworld.physics.stages import BY_XLA, stages_of

pytestmark = pytest.mark.skipif(bool(hindrance()), reason=hindrance())
TARGETS = dynamics.KERNEL.target(), integrate.KERNEL.target()


@functools.partial(jax.jit, static_argnames="in_kernels")
def run(scene, state, ctrl, qacc, in_kernels=True):
    """Poses, the unconstrained dynamics, and what integration makes of the state under the force of `qacc` (18, L)."""
    stages = stages_of(Execution(cpu_kernels=True)) if in_kernels else BY_XLA
    poses = stages.kinematics(load_robot(), scene, state.qpos, state.prop_pos)
    found = stages.dynamics(load_robot(), scene, state, ctrl)
    qfrc = found.qfrc_smooth + qacc
    return poses, found, stages.integrate(load_robot(), scene, found.mass, state.qpos, state.qvel, qfrc)


@functools.cache
def problem(dtype=np.float32):
    """Recorded states, and forces of the size of theirs."""
    states = record()
    scene, state = scenes_of(states, dtype), physics_states_of(states, dtype)
    forces = to_lanes([each.qfrc_constraint for each in states], dtype)
    return scene, state, to_lanes([each.ctrl for each in states], dtype), forces


def varied():
    """The problem with lanes that have gravity, damping and gains of their own."""
    scene, *rest = problem()
    rng, lanes = np.random.default_rng(0), scene.free_mass.shape[-1]
    own = {
        "gravity": jnp.asarray(rng.normal(size=(3, lanes)), jnp.float32),
        "robot_damping": jnp.asarray(rng.uniform(1, 100, size=(9, lanes)), jnp.float32),
        "servo_gain": jnp.asarray(rng.uniform(0.5, 2, size=(2, lanes)), jnp.float32),
    }
    return scene.replace(**own), *rest


@pytest.mark.parametrize("given", [problem, varied])
def test_both_forms_agree(given):
    """To float32's rounding of poses of about a metre, and of torques that are sums of some 40 N m."""
    (poses, found, after), theirs = run(*given()), run(*given(), in_kernels=False)
    assert same_bits(poses, found.kin)
    for mine, other in zip(jax.tree.leaves(found.kin), jax.tree.leaves(theirs[1].kin), strict=True):
        np.testing.assert_allclose(mine, other, atol=2e-6)
    for mine, other in zip(found.mass, theirs[1].mass, strict=True):
        diagonal = np.sqrt(np.einsum("iil->il", np.asarray(other)))
        np.testing.assert_allclose(mine / diagonal / diagonal[:, None], other / diagonal / diagonal[:, None], atol=5e-6)
    np.testing.assert_allclose(found.qfrc_smooth, theirs[1].qfrc_smooth, rtol=1e-5, atol=1e-4)  # gripper: 400 N
    for mine, other in zip(after, theirs[2], strict=True):
        assert relative_error(mine, list(np.asarray(other, np.float64).T)).max() < 1e-5


def test_integration_is_mujocos():
    """The bar of `test_solver.py`, with its reasons."""
    states = record()
    scene, state, *_ = problem()
    qfrc = to_lanes([each.mass @ each.qacc_exact for each in states])
    mass = mass_of(states)
    qpos, qvel = jax.jit(functools.partial(integrate.integrate, load_robot()))(
        scene, mass, state.qpos, state.qvel, qfrc
    )
    assert relative_error(qvel, [each.next_qvel for each in states]).max() < 2e-6
    assert relative_error(qpos, [each.next_qpos for each in states]).max() < 2e-6


@pytest.mark.parametrize("count", [1, 5, 33])
def test_a_lane_is_alike_in_any_batch(count):
    lanes = np.random.default_rng(count).permutation(len(record()))[:count]
    assert same_bits(run(*lanes_of(varied(), lanes)), lanes_of(run(*varied()), lanes))


def test_tiles_are_computed_in_one_call():
    lanes = np.arange(32)
    tiled = jax.tree.map(lambda x: jnp.moveaxis(x[..., :32].reshape(*x.shape[:-1], 2, 16), -2, 0), problem())
    batch = jax.jit(jax.vmap(run))
    joined = jax.tree.map(lambda x: np.concatenate(np.asarray(x), axis=-1), batch(*tiled))
    assert same_bits(joined, run(*lanes_of(problem(), lanes)))
    text = batch.lower(*tiled).as_text()
    assert [text.count(f"@{target}(") for target in TARGETS] == [2, 1]


def test_what_is_no_number_stays_in_its_lane():
    scene, state, ctrl, forces = problem()
    poisoned = run(scene, state.replace(qpos=state.qpos.at[:, 3].set(jnp.nan)), ctrl.at[:, 5].set(jnp.nan), forces)
    for lane, spoilt in ((3, poisoned), (5, poisoned[1].qfrc_smooth)):
        assert any(np.isnan(np.asarray(leaf)[..., lane]).any() for leaf in jax.tree.leaves(spoilt))
    others = np.delete(np.arange(ctrl.shape[1]), [3, 5])
    assert same_bits(lanes_of(poisoned, others), lanes_of(run(*problem()), others))


def test_large_angles_and_lengths():
    """Angles of many turns are as XLA has them, to the rounding of such angles; any quaternion has a direction."""
    scene, state, ctrl, forces = lanes_of(problem(), np.arange(8))
    turns = jnp.asarray([0.0, 0.5, -3.0, 50.0, -700.0, 1e4, 1e5, -1e6])
    scale = jnp.asarray([0.0, 1e-16, 1e-3, 1.7, 1e3, 1.0, 1.0, 1.0])
    quat = slice(FREE_QPOS.start + 3, FREE_QPOS.stop)
    qpos = state.qpos.at[:7].set(turns).at[PART_QPOS.stop - 1].set(turns)
    qpos = qpos.at[quat].set(scale * state.qpos[quat])
    poses, *_ = run(scene, state.replace(qpos=qpos), ctrl, forces)
    theirs, *_ = run(scene, state.replace(qpos=qpos), ctrl, forces, in_kernels=False)
    np.testing.assert_allclose(poses.xmat, theirs.xmat, atol=5e-6)


def test_double_precision_is_xlas():
    def text(dtype):
        return run.lower(*lanes_of(problem(dtype), np.arange(4))).as_text()

    with jax.enable_x64(True):
        assert not any(target in text(np.float64) for target in TARGETS)
    assert all(target in text(np.float32) for target in TARGETS)


@pytest.mark.ci
def test_a_program_for_another_device_has_no_call():
    """An environment that was made for a CPU can be lowered for any."""
    given = lanes_of(varied(), np.arange(4))
    assert not any(target in run.trace(*given).lower(lowering_platforms=("tpu",)).as_text() for target in TARGETS)
    operation = functools.partial(dynamics._by_xla, robot=dynamics.Robot(load_robot()))
    placement = dynamics._placement(given[0], given[1].qpos, given[1].prop_pos)
    load = dynamics.Load(given[1].qvel, given[2], **dynamics.fields_of(given[0], dynamics.Load))
    found = jax.jit(operation)(*placement, *load)
    for mine, other in zip(found, jax.tree.leaves(run(*given, in_kernels=False)[1]), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-5)


def test_robots_are_equal_where_their_constants_are():
    """So that an operation that was compiled for one serves the other, too."""
    arm = load_robot()
    assert dynamics.Robot(arm) == dynamics.Robot(arm._replace(mass=arm.mass.copy()))
    assert hash(dynamics.Robot(arm)) == hash(dynamics.Robot(arm._replace(mass=arm.mass.copy())))
    assert dynamics.Robot(arm) != dynamics.Robot(arm._replace(timestep=2 * arm.timestep))
