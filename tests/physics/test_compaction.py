"""Environments that need more work than most, solved in packs as on a GPU or TPU: all of them, and nobody else."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from support.solver_problems import SIZE, in_one_tile, recorded, solved

from mjx_metaworld.physics.backend import ACCELERATOR, CPU
from mjx_metaworld.physics.compaction import apply_compacted, compacted_size
from mjx_metaworld.physics.config import Execution
from mjx_metaworld.physics.solver import _FEW

LANES = 64


def packed(pending, values):
    """Of pending lanes the values doubled, of others their negatives; and how many lanes were worked on."""

    def double(args):
        return {"value": 2.0 * args["value"], "worked": jnp.ones_like(args["value"][0])}

    found = {"value": -values, "worked": jnp.zeros_like(values[0])}
    return apply_compacted(double, pending, {"value": values}, found, SIZE)


@pytest.mark.parametrize("count", [0, 1, SIZE, SIZE + 1, 3 * SIZE, LANES])
def test_pending_lanes_are_replaced_and_no_others(count):
    rng = np.random.default_rng(count)
    pending = np.zeros(LANES, bool)
    pending[rng.choice(LANES, count, replace=False)] = True
    values = rng.normal(size=(3, LANES)).astype(np.float32)
    out = in_one_tile(packed, pending, values)
    np.testing.assert_array_equal(out["value"], np.where(pending, 2.0 * values, -values))
    np.testing.assert_array_equal(out["worked"], pending)


def test_a_lane_without_numbers_spoils_no_neighbour():
    pending = np.ones(LANES, bool)
    values = np.ones((3, LANES), np.float32)
    values[:, 5] = np.nan
    out = in_one_tile(packed, pending, values)
    np.testing.assert_array_equal(np.isnan(out["value"]).any(0), np.arange(LANES) == 5)


@pytest.mark.parametrize(
    ("lanes", "execution", "size"),
    [
        (16384, ACCELERATOR, 4096),
        (256, ACCELERATOR, 64),
        (255, ACCELERATOR, 0),
        (1, ACCELERATOR, 0),
        (4096, CPU, 0),
        (4096, Execution(), 0),
    ],
)
def test_small_batches_have_no_packs(lanes, execution, size):
    assert compacted_size(lanes, execution) == size


def test_accelerations_are_mujocos():
    """The same bounds as those of the solver without packs; with easy and with hard states among them."""
    problem, reference = recorded()
    contacts = np.asarray(problem[2].num_contacts)
    assert compacted_size(len(contacts), ACCELERATOR)
    assert (contacts <= _FEW).any()
    assert (contacts > _FEW).any()
    solution = solved(ACCELERATOR)
    error = np.abs(solution.qacc - reference) / (1 + np.abs(reference))
    assert np.median(error) < 1e-6
    assert np.quantile(error, 0.99) < 1e-4
    assert error.max() < 2e-3
    hard = solution.iterations > 1
    assert hard.any()
    assert not hard.all()


@pytest.mark.ci
def test_packs_do_not_depend_on_groups_of_contacts():
    in_groups = solved(dataclasses.replace(ACCELERATOR, contact_group=4))
    np.testing.assert_array_equal(in_groups.qacc, solved(ACCELERATOR).qacc)


@pytest.mark.ci
def test_forces_are_those_without_packs():
    """Both are as far from MuJoCo's as float32 is, see `test_solver.py`: forces are D times residuals."""
    with_packs, without = solved(ACCELERATOR), solved(dataclasses.replace(ACCELERATOR, compaction=0))
    mine, other = with_packs.contact_normal_force, without.contact_normal_force
    assert other.max() > 10.0
    np.testing.assert_allclose(mine, other, rtol=1e-2, atol=1e-2)
    np.testing.assert_array_equal(mine > 0, other > 0)
    # An environment that converges just at the tolerance may do so an iteration later by rounding: one of these 288.
    assert np.mean((with_packs.iterations > 1) != (without.iterations > 1)) < 0.01
