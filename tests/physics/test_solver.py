"""The Newton solver and the integrator against MuJoCo C on constraint problems of real rollouts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mjx_metaworld.parity.dissect import (
    constraints_of,
    load_robot,
    mass_of,
    physics_states_of,
    record,
    scenes_of,
    to_lanes,
)
from mjx_metaworld.physics.config import EngineConfig, Execution, PhysicsConfig
from mjx_metaworld.physics.integrate import integrate
from mjx_metaworld.physics.linalg import solve_spd
from mjx_metaworld.physics.solver import solve

NUM_CONTACTS = 32  # all recorded states fit, so nothing but the solver differs
IN_GROUPS = Execution(contact_group=4)  # as on CPU, but without loops that end early
DEFAULT = EngineConfig(execution=IN_GROUPS)
CONVERGED = EngineConfig(PhysicsConfig(solver_iterations=20, linesearch_iterations=10, solver_tolerance=0.0), IN_GROUPS)


@functools.partial(jax.jit, static_argnames="config")
def run(mass, qfrc_smooth, constraints, warmstart, config):
    return solve(mass, qfrc_smooth, constraints, warmstart, config)


def problem_of(states, dtype=np.float32):
    qfrc_smooth = to_lanes([state.qfrc_smooth for state in states], dtype)
    warmstart = to_lanes([state.qacc_warmstart for state in states], dtype)
    return mass_of(states, dtype), qfrc_smooth, constraints_of(states, NUM_CONTACTS, dtype), warmstart


def relative_error(mine, reference) -> np.ndarray:
    reference = np.stack(reference, axis=-1)
    return np.abs(np.asarray(mine, np.float64) - reference) / (1 + np.abs(reference))


def test_qacc_at_the_default_counts():
    """Rounding the Jacobians to float32 alone moves MuJoCo's own solution by 1e-4: the arm's 7 joints follow a stiff
    6-row weld, which magnifies their roundings. So 1e-4 at the 99th percentile is as good as float32 gets; 2e-3 at
    the extreme leaves room for a state whose last iteration is missing.
    """
    states = record()
    solution = run(*problem_of(states), DEFAULT)
    error = relative_error(solution.qacc, [state.qacc_exact for state in states])
    assert np.median(error) < 1e-6
    assert np.quantile(error, 0.99) < 1e-4
    assert error.max() < 2e-3


def test_qacc_converges_in_float64():
    """With many iterations and no rounding the minimum itself is the same; 1e-8 is above MuJoCo's own residual."""
    states = record()
    with jax.enable_x64(True):
        solution = run(*problem_of(states, np.float64), CONVERGED)
        error = relative_error(solution.qacc, [state.qacc_exact for state in states])
        constraint_error = relative_error(solution.qfrc_constraint, [state.qfrc_constraint for state in states])
    assert error.max() < 1e-8
    assert constraint_error.max() < 1e-8


def test_normal_forces():
    """Forces are D times residuals, so they carry the relative error of the accelerations; 1e-2 N in 100 N."""
    states = record()
    solution = run(*problem_of(states), DEFAULT)
    reference = np.zeros((NUM_CONTACTS, len(states)))
    for lane, state in enumerate(states):
        for row, contact in enumerate(state.solver_contacts):
            reference[row, lane] = state.efc_force[contact.efc_address]
    error = np.abs(np.asarray(solution.contact_normal_force) - reference) / (1 + np.abs(reference))
    assert np.quantile(error, 0.99) < 1e-3
    assert error.max() < 1e-2


@pytest.mark.ci
def test_more_iterations_never_hurt():
    """A converged lane stays where it is: the error at 20 iterations is that at 8, but for rounding."""
    states = record()
    problem = problem_of(states)
    reference = [state.qacc_exact for state in states]
    few = relative_error(run(*problem, EngineConfig(PhysicsConfig(solver_iterations=8), IN_GROUPS)).qacc, reference)
    many = relative_error(run(*problem, EngineConfig(PhysicsConfig(solver_iterations=20), IN_GROUPS)).qacc, reference)
    assert many.max() < max(2 * few.max(), 2e-3)


@pytest.mark.ci
def test_a_bad_warm_start_does_not_matter():
    """The unconstrained acceleration takes over where the warm start costs more, as in MuJoCo."""
    states = record()
    mass, qfrc_smooth, constraints, warmstart = problem_of(states)
    cold = run(mass, qfrc_smooth, constraints, 1e4 * jnp.ones_like(warmstart), CONVERGED)
    error = relative_error(cold.qacc, [state.qacc_exact for state in states])
    assert np.quantile(error, 0.99) < 5e-4  # float32, see above


@pytest.mark.ci
def test_extremes_stay_finite():
    """No contact, all rows active at once, contacts 10 cm deep, forces of 1e6 N."""
    states = record()[:16]
    mass, qfrc_smooth, constraints, warmstart = problem_of(states)
    no_contacts = constraints.replace(contact_d=jnp.zeros_like(constraints.contact_d))
    nothing = no_contacts.replace(
        limit_d=jnp.zeros_like(constraints.limit_d), weld_d=jnp.zeros_like(constraints.weld_d)
    )
    full = record(("peg-insert-side-v3",), per_task=24)
    _, _, most, _ = problem_of([max(full, key=lambda state: len(state.solver_contacts))] * 16)
    deep = most.replace(contact_aref=most.contact_aref.at[:, 0].set(1e5), contact_d=1e4 * jnp.ones_like(most.contact_d))
    for rows in (no_contacts, nothing, most, deep):
        for force in (qfrc_smooth, 0 * qfrc_smooth, 1e6 * jnp.ones_like(qfrc_smooth)):
            for start in (warmstart, 0 * warmstart):
                solution = run(mass, force, rows, start, DEFAULT)
                assert all(np.isfinite(leaf).all() for leaf in solution)


@pytest.mark.ci
def test_lanes_do_not_mix():
    """Tiles in front change nothing; float32 sums may be ordered differently."""
    problem = problem_of(record())
    tiled = jax.tree.map(lambda x: jnp.moveaxis(x[..., :32].reshape(*x.shape[:-1], 2, 16), -2, 0), problem)
    in_tiles = jax.jit(jax.vmap(lambda *args: solve(*args, config=DEFAULT)))(*tiled)
    joined = np.concatenate(np.asarray(in_tiles.qacc), axis=-1)
    alone = np.asarray(run(*problem, DEFAULT).qacc)[:, :32]
    assert relative_error(joined, list(alone.T)).max() < 2e-3


@pytest.mark.parametrize("size", [3, 6, 9, 18])
def test_solve_spd(size):
    """Matrices as badly scaled as the mass matrix, whose diagonal spans 1e-5 to 1e2."""
    rng = np.random.default_rng(size)
    scale = 10.0 ** rng.uniform(-2.5, 1, (size, 5))
    root = rng.normal(size=(size, size, 5))
    matrix = np.einsum("ikl,jkl->ijl", root, root) + np.eye(size)[:, :, None]
    matrix *= scale[:, None] * scale[None]
    x = rng.normal(size=(size, 5)) / scale
    solved = solve_spd(jnp.asarray(matrix, jnp.float32), jnp.asarray(np.einsum("ijl,jl->il", matrix, x), jnp.float32))
    # The unscaled matrices have condition numbers up to some 1e2, times float32's 6e-8.
    assert np.abs(np.asarray(solved) - x).max() <= 1e-3 * np.abs(x).max()
    assert (np.abs(np.asarray(solved) - x) * scale).max() < 1e-4


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 2e-6)])
def test_integration(dtype, tolerance):
    """mj_Euler from the same forces. float32: qpos and qvel of size 1 to 10 rounded once, and 1e-4 of qacc times h."""
    states = record()
    with jax.enable_x64(dtype is np.float64):
        physics = physics_states_of(states, dtype)
        qfrc = to_lanes([state.mass @ state.qacc_exact for state in states], dtype)
        qpos, qvel = jax.jit(functools.partial(integrate, load_robot()))(
            scenes_of(states, dtype), mass_of(states, dtype), physics.qpos, physics.qvel, qfrc
        )
        assert relative_error(qvel, [state.next_qvel for state in states]).max() < tolerance
        assert relative_error(qpos, [state.next_qpos for state in states]).max() < tolerance
