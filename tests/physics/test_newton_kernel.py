"""The solver's kernel for CPUs: against MuJoCo C and XLA's program, lane by lane, in batches of any size."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from physics.test_solver import DEFAULT, IN_GROUPS, NUM_CONTACTS, problem_of, relative_error
from support.lanes import lanes_of, same_bits

from mjx_metaworld.parity.dissect import record
from mjx_metaworld.physics.backends.cpu.newton import KERNEL
from mjx_metaworld.physics.config import EngineConfig, Execution
from mjx_metaworld.physics.solver import Solution
from mjx_metaworld.physics.stages import stages_of

pytestmark = pytest.mark.skipif(bool(KERNEL.hindrance()), reason=KERNEL.hindrance())


@functools.partial(jax.jit, static_argnames="config")
def run(mass, qfrc_smooth, constraints, warmstart, config):
    """The solver of the stages that suit an execution."""
    return stages_of(config.execution).solve(mass, qfrc_smooth, constraints, warmstart, config)


IN_KERNEL = EngineConfig(execution=dataclasses.replace(IN_GROUPS, cpu_kernels=True))


def solve_lanes(problem, lanes, config=IN_KERNEL) -> Solution:
    return run(*lanes_of(problem, lanes), config)


def test_accelerations_and_forces_are_mujocos():
    """The bars of `test_solver.py`, with its reasons."""
    states = record()
    found = run(*problem_of(states), IN_KERNEL)
    error = relative_error(found.qacc, [state.qacc_exact for state in states])
    assert np.median(error) < 1e-6
    assert np.quantile(error, 0.99) < 1e-4
    assert error.max() < 2e-3
    forces = np.zeros((NUM_CONTACTS, len(states)))
    for lane, state in enumerate(states):
        for row, contact in enumerate(state.solver_contacts):
            forces[row, lane] = state.efc_force[contact.efc_address]
    error = np.abs(np.asarray(found.contact_normal_force) - forces) / (1 + np.abs(forces))
    assert np.quantile(error, 0.99) < 1e-3
    assert error.max() < 1e-2


def test_it_iterates_as_xlas_program_does():
    problem = problem_of(record())
    kernel, xla = run(*problem, IN_KERNEL), run(*problem, DEFAULT)
    assert (np.asarray(kernel.iterations) == np.asarray(xla.iterations)).mean() > 0.98  # rounding ends some earlier
    assert relative_error(kernel.qacc, list(np.asarray(xla.qacc).T)).max() < 2e-3
    assert relative_error(kernel.qfrc_constraint, list(np.asarray(xla.qfrc_constraint).T)).max() < 2e-3


@pytest.mark.parametrize("count", [1, 5, 33])
def test_a_lane_is_solved_alike_in_any_batch(count):
    """Loops end with the slowest lane of a vector, and a lane that has converged stays as it is, to the last bit."""
    problem = problem_of(record())
    lanes = np.random.default_rng(count).permutation(len(record()))[:count]
    everything = run(*problem, IN_KERNEL)
    assert same_bits(solve_lanes(problem, lanes), Solution(*(x[..., lanes] for x in everything)))


def test_tiles_are_solved_in_one_call():
    problem = problem_of(record())
    tiled = jax.tree.map(lambda x: jnp.moveaxis(x[..., :32].reshape(*x.shape[:-1], 2, 16), -2, 0), problem)
    found = jax.jit(jax.vmap(lambda *args: run(*args, config=IN_KERNEL)))(*tiled)
    joined = Solution(*(np.concatenate(np.asarray(x), axis=-1) for x in found))
    assert same_bits(joined, solve_lanes(problem, np.arange(32)))


def test_what_is_no_number_stays_in_its_lane():
    mass, force, rows, start = problem_of(record())
    poisoned = force.at[:, 3].set(jnp.nan)
    found = run(mass, poisoned, rows, start, IN_KERNEL)
    others = np.delete(np.arange(force.shape[1]), 3)
    assert np.isnan(np.asarray(found.qacc)[:, 3]).any()
    clean = run(mass, force, rows, start, IN_KERNEL)
    assert same_bits(Solution(*(x[..., others] for x in found)), Solution(*(x[..., others] for x in clean)))


def test_contacts_that_roll_have_two_more_rows():
    """Two rows of zeros change nothing."""
    mass, force, rows, start = problem_of(record())
    longer = rows.replace(
        contact_jac=jnp.pad(rows.contact_jac, ((0, 0), (0, 2), (0, 0), (0, 0))),
        contact_aref=jnp.pad(rows.contact_aref, ((0, 0), (0, 2), (0, 0))),
    )
    found, short = run(mass, force, longer, start, IN_KERNEL), run(mass, force, rows, start, IN_KERNEL)
    assert relative_error(found.qacc, list(np.asarray(short.qacc).T)).max() < 1e-4


def test_extremes_stay_finite():
    states = record()[:16]
    mass, force, rows, start = problem_of(states)
    deep = rows.replace(contact_aref=rows.contact_aref.at[:, 0].set(1e5), contact_d=1e4 * jnp.ones_like(rows.contact_d))
    deep = deep.replace(num_contacts=jnp.full_like(rows.num_contacts, NUM_CONTACTS))
    nothing = rows.replace(num_contacts=jnp.zeros_like(rows.num_contacts), weld_d=0 * rows.weld_d)
    for own in (rows, deep, nothing):
        for push in (force, 0 * force, 1e6 * jnp.ones_like(force)):
            assert all(np.isfinite(leaf).all() for leaf in run(mass, push, own, start, IN_KERNEL))


def test_double_precision_is_solved_by_xla():
    with jax.enable_x64(True):
        text = jax.jit(run, static_argnums=4).lower(*problem_of(record()[:4], np.float64), IN_KERNEL).as_text()
    assert KERNEL.target() not in text
    assert KERNEL.target() in jax.jit(run, static_argnums=4).lower(*problem_of(record()[:4]), IN_KERNEL).as_text()


@pytest.mark.ci
def test_a_program_for_another_device_has_no_call():
    """An environment that was made for a CPU can be lowered for any."""
    lowered = run.trace(*problem_of(record()[:4]), IN_KERNEL).lower(lowering_platforms=("tpu",)).as_text()
    assert KERNEL.target() not in lowered
    early = EngineConfig(execution=Execution(tile=4, contact_group=4, early_exit=True, cpu_kernels=True))
    tiled = jax.tree.map(lambda x: x[None], problem_of(record()[:4]))
    batch = jax.jit(jax.vmap(lambda *args: run(*args, config=early), axis_name="tiles"))
    assert KERNEL.target() not in batch.trace(*tiled).lower(lowering_platforms=("tpu",)).as_text()
