"""Work that is left out must not be missed: loops that end early against those that visit everything."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld.build.hulls import metaworld_hulls
from mjx_metaworld.parity import collisions
from mjx_metaworld.parity.dissect import constraints_of, mass_of, record, to_lanes
from mjx_metaworld.physics import collision
from mjx_metaworld.physics.config import EngineConfig, Execution
from mjx_metaworld.physics.groups import for_groups, tile_by_tile
from mjx_metaworld.physics.slices import slice_at
from mjx_metaworld.physics.solver import solve
from mjx_metaworld.physics.tiles import TILES

STATIC, ADAPTIVE = Execution(contact_group=4), Execution(contact_group=4, early_exit=True)
AT_ONCE = Execution()  # as on GPU and TPU
NUM_CONTACTS = 32


def in_tiles(fn, args, lanes: int):
    """A lanes-last function of tiles, and its result as lanes."""
    tiled = jax.tree.map(lambda x: jnp.moveaxis(x.reshape(*x.shape[:-1], x.shape[-1] // lanes, lanes), -2, 0), args)
    out = mw.jit(jax.vmap(fn, axis_name=TILES))(*tiled)
    return jax.tree.map(lambda x: np.moveaxis(np.asarray(x), 0, -2).reshape(*x.shape[1:-1], -1), out)


def test_loops_end_at_the_largest_need():
    def count(needed, execution):
        return for_groups(12, 4, needed, execution, lambda first, total: total + 1, jnp.zeros((), jnp.int32))

    needed = jnp.array([[0, 1], [5, 2]])
    runs = {
        execution: jax.vmap(functools.partial(count, execution=execution), axis_name=TILES)
        for execution in (STATIC, ADAPTIVE)
    }
    assert runs[ADAPTIVE](needed).tolist() == [2, 2]  # the fifth row lies in the second group
    assert runs[ADAPTIVE](0 * needed).tolist() == [0, 0]
    assert runs[STATIC](needed).tolist() == [3, 3]


@pytest.mark.parametrize(("execution", "visits"), [(STATIC, [3, 3]), (ADAPTIVE, [1, 2])])
def test_a_tile_loops_for_itself(execution, visits):
    """Each tile sums the groups of its own rows, no more of them than its busiest lane needs."""
    rows = jnp.arange(2 * 12 * 2.0).reshape(2, 12, 2)
    needed = jnp.array([[0, 1], [5, 2]])

    def of_tile(rows, first, needed):
        def add(group, carry):
            count, total = carry
            return count + 1, total + jnp.sum(slice_at(first + group, 4, rows))

        return for_groups(12, 4, needed, execution, add, (jnp.zeros((), jnp.int32), 0.0))

    tile_by_tile_of = functools.partial(tile_by_tile, of_tile, execution=execution)
    count, total = jax.vmap(tile_by_tile_of, axis_name=TILES)(rows, needed)
    assert count.tolist() == visits
    assert total.tolist() == [float(rows[tile, : 4 * visit].sum()) for tile, visit in enumerate(visits)]


def test_groups_must_fill_the_rows():
    with pytest.raises(ValueError, match="groups of 4 do not make up 10 rows"):
        for_groups(10, 4, jnp.zeros(1), STATIC, lambda first, x: x, 0)


@pytest.mark.ci
def test_solver_stops_early_without_loss():
    """On MuJoCo's recorded problems of MT10, each tile with lanes of few and of many contacts."""
    states = record()[:64]
    problem = (
        mass_of(states),
        to_lanes([state.qfrc_smooth for state in states]),
        constraints_of(states, NUM_CONTACTS),
        to_lanes([state.qacc_warmstart for state in states]),
    )
    adaptive, *others = (
        in_tiles(functools.partial(solve, config=EngineConfig(execution=execution)), problem, 16)
        for execution in (ADAPTIVE, STATIC, AT_ONCE)
    )
    # A converged lane is left as it is, and groups that no lane needs add nothing: by the algorithm nothing differs.
    # But the programs round differently, and each is up to 2e-4 from MuJoCo's exact solution (assembly's ring on seven
    # contacts, after one iteration in all programs), so that two are up to twice as far from each other.
    for other in others:
        difference = np.abs(adaptive.qacc - other.qacc) / (1 + np.abs(other.qacc))
        assert np.quantile(difference, 0.99) < 5e-5
        assert difference.max() < 4e-4
        np.testing.assert_array_equal(adaptive.contact_normal_force > 0, other.contact_normal_force > 0)


@pytest.mark.full  # `parity/test_steps.py` computes the steps of all tasks so, where a contact left out would show
@pytest.mark.parametrize("others", [(AT_ONCE,), (STATIC, AT_ONCE)], ids=len)
def test_no_contact_is_left_out(others):
    """All contacts of states along expert rollouts, at the pose at which the pairs were selected."""
    snapshots = [s for task in ("push-v3", "plate-slide-v3") for s in collisions.record(task, episodes=1, every=12)]
    snapshots = snapshots[: len(snapshots) // 4 * 4]
    batch = collisions.to_batch(snapshots)

    def collide(row, kin, execution):
        geometry = collision.Geometry.of(batch.scenes, metaworld_hulls(), row)
        return collision.collide(geometry, kin, EngineConfig(execution=execution))

    adaptive, *found = (
        in_tiles(functools.partial(collide, execution=execution), (batch.row, batch.kin), len(snapshots) // 4)
        for execution in (ADAPTIVE, *others)
    )
    assert adaptive.active.any()
    for other in found:
        np.testing.assert_array_equal(adaptive.active, other.active)
        np.testing.assert_allclose(adaptive.dist, other.dist, atol=1e-6)
