"""Collision detection's kernels for CPUs: against MuJoCo C and XLA's programs on states of rollouts, lane by lane."""

from __future__ import annotations

import functools
from collections import defaultdict

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from physics.test_collision import check_agreement
from support.collision_agreement import record
from support.lanes import lanes_of, same_bits

from mjx_metaworld.parity import collisions as states
from mjx_metaworld.physics.backends.cpu import collision as kernels
from mjx_metaworld.physics.backends.cpu.kernels import hindrance
from mjx_metaworld.physics.collision import Geometry, choose_pairs
from mjx_metaworld.physics.collision.weights import ContactFactors, object_invweights
from mjx_metaworld.physics.config import EngineConfig, Execution, PhysicsConfig
from mjx_metaworld.physics.model import Contacts, Kinematics

pytestmark = pytest.mark.skipif(bool(hindrance()), reason=hindrance())
CONFIG = EngineConfig(execution=Execution(cpu_kernels=True))


@functools.cache
def batch() -> states.Batch:
    return states.to_batch(record())


def geometry_of(row, factors: ContactFactors | None = None) -> Geometry:
    geometry = Geometry.of(batch().scenes, batch().hulls, row)
    return geometry._replace(factors=factors)


@functools.partial(jax.jit, static_argnames="config")
def collide(row, kin, config=CONFIG):
    """The candidates, their contacts, and the pairs' rows of these."""
    candidates = kernels.broadphase(geometry_of(row), kin, config, states.REACH)
    operands = kin.xpos, kin.xmat, row, candidates.pairs, candidates.near, candidates.start
    data, rows, start = kernels._narrowphase(*operands, config=config, tables=candidates.tables)
    return candidates, Contacts(data), rows, start


@functools.cache
def found():
    return jax.tree.map(np.asarray, collide(batch().row, batch().kin))


def by_geoms() -> list[dict[states.GeomPair, list[states.Contact]]]:
    """The contacts that the kernels keep, per lane and geom pair."""
    _, contacts, rows, _ = found()
    pairs, result = batch().scenes.pairs, []
    for lane, geoms in enumerate(batch().geoms):
        kept = defaultdict(list)
        for k in np.flatnonzero(contacts.active[:, lane]):
            scene, row = divmod(int(rows[k, lane]), pairs.geom1.shape[1])
            assert scene == batch().row[lane]
            pair = geoms[pairs.geom1[scene, row]], geoms[pairs.geom2[scene, row]]
            frame = contacts.frame[k, ..., lane]
            kept[pair].append(states.Contact(float(contacts.dist[k, lane]), contacts.pos[k, :, lane], frame[0]))
        result.append(kept)
    return result


def test_contacts_are_mujocos():
    """The bars of `test_collision.py`, with its reasons."""
    check_agreement(states.compare(batch(), by_geoms()))


def test_the_nearest_pairs_are_chosen():
    config = kernels._side_by_side(CONFIG)
    chosen = jax.jit(lambda row, kin: choose_pairs(geometry_of(row), kin, config, states.REACH))(*batch()[3:5])
    candidates, *_ = found()
    first, present = 0, np.flatnonzero(candidates.tables.slots(CONFIG))
    for kind, indices, near in zip(present, chosen.indices, chosen.near, strict=True):
        own = candidates.pairs[first : first + len(indices)]
        np.testing.assert_array_equal(candidates.near[kind], near)
        counts = np.arange(len(indices))[:, None] < np.asarray(near)
        # Gaps that differ by rounding alone, as of parts of one fixture, may change places.
        ours, theirs = (np.sort(np.where(counts, x, -1), axis=0) for x in (own, np.asarray(indices)))
        assert (ours == theirs).mean() > 0.999
        first += len(indices)


def test_both_forms_agree():
    """XLA's program of the same operation, of which programs for other devices are made."""
    candidates, contacts, rows, start = found()
    kin, pairs = batch().kin, (candidates.pairs, candidates.near, candidates.start)
    operands = kin.xpos, kin.xmat, batch().row, *map(jnp.asarray, pairs)
    program = jax.jit(functools.partial(kernels._contacts_by_xla, config=CONFIG, tables=candidates.tables))
    data, their_rows, their_start = (np.asarray(x) for x in program(*operands))
    theirs = Contacts(data)
    alike = (contacts.active == theirs.active).all(0)  # of the others a point lies at its margin, to rounding
    assert alike.mean() > 0.98
    active = contacts.active & alike
    assert active.sum() > 500
    np.testing.assert_array_equal(rows[active], their_rows[active])
    difference = np.abs(np.moveaxis(contacts.data, 1, -1)[active] - np.moveaxis(theirs.data, 1, -1)[active])
    assert np.quantile(difference[:, :4].max(1), 0.98) < 1e-6  # m; a tie of box faces or edges moves a point
    assert np.quantile(difference[:, 4:13].max(1), 0.98) < 1e-4  # as small distances divide rounding
    np.testing.assert_array_equal(difference[:, 13:], 0.0)
    searched = np.arange(start.shape[1])[:, None] < candidates.near[-1]
    assert np.quantile(np.abs(start - their_start)[:3].max(0)[searched], 0.9) < 1e-3


@pytest.mark.parametrize("count", [1, 5, 33])
def test_a_lane_is_alike_in_any_batch(count):
    lanes = np.random.default_rng(count).permutation(len(batch().row))[:count]
    own = collide(batch().row[lanes], lanes_of(batch().kin, lanes))
    assert same_bits(own, lanes_of(found(), lanes))


def test_tiles_are_collided_in_one_call():
    row, kin = jax.tree.map(lambda x: jnp.moveaxis(x[..., :32].reshape(*x.shape[:-1], 2, 16), -2, 0), batch()[3:5])
    tiled = jax.jit(jax.vmap(collide))(row, kin)
    joined = jax.tree.map(lambda x: np.concatenate(np.asarray(x), axis=-1), tiled)
    assert same_bits(joined, lanes_of(found(), np.arange(32)))


def test_what_is_no_number_stays_in_its_lane():
    kin = batch().kin.replace(xpos=batch().kin.xpos.at[:, 0, 3].set(jnp.nan))
    poisoned = collide(batch().row, kin)
    assert not np.asarray(poisoned[1].active)[:, 3].any()
    others = np.delete(np.arange(len(batch().row)), 3)
    assert same_bits(lanes_of(poisoned, others), lanes_of(found(), others))


def test_the_deepest_contacts_are_kept():
    _, contacts, *_ = found()
    few = EngineConfig(PhysicsConfig(max_contacts=8), CONFIG.execution)
    _, kept, *_ = jax.tree.map(np.asarray, collide(batch().row, batch().kin, few))
    crowded = np.flatnonzero(contacts.active.sum(0) > 8)
    assert len(crowded) > 10
    for lane in crowded:
        assert kept.active[:, lane].all()
        deepest = np.sort(contacts.dist[contacts.active[:, lane], lane])[:8]
        np.testing.assert_array_equal(np.sort(kept.dist[:, lane]), deepest)


def test_contacts_take_their_lanes_factors():
    lanes = jnp.linspace(0.5, 2.0, len(batch().row))
    factors = ContactFactors(friction=lanes, free_invweight=1.0 / lanes, part_invweight=lanes)
    weights = object_invweights(batch().scenes).reshape(-1, 2)

    def contacts(kin: Kinematics) -> Contacts:
        geometry = geometry_of(batch().row, factors)._replace(invweights=weights)
        return kernels.narrowphase(kernels.broadphase(geometry, kin, CONFIG, states.REACH), kin, CONFIG)[0]

    _, plain, rows, _ = found()
    varied = jax.tree.map(np.asarray, jax.jit(contacts)(batch().kin))
    active, lanes = plain.active, np.asarray(lanes)
    expected = np.moveaxis(plain.friction, 1, -1) * lanes[:, None]
    np.testing.assert_allclose(np.moveaxis(varied.friction, 1, -1)[active], expected[active], rtol=1e-6)
    change = weights[rows, 0] * (1 / lanes - 1) + weights[rows, 1] * (lanes - 1)
    np.testing.assert_allclose(varied.invweight[:, 0][active], (plain.invweight[:, 0] + change)[active], rtol=1e-5)


@pytest.mark.ci
def test_double_precision_and_other_devices_have_xlas_program():
    name = kernels.NARROWPHASE.target()
    row, kin = batch().row[:4], lanes_of(batch().kin, np.arange(4))

    def contacts(row, kin):
        candidates = kernels.broadphase(geometry_of(row), kin, CONFIG)
        return kernels.narrowphase(candidates, kin, CONFIG)[0].data

    assert name in jax.jit(contacts).lower(row, kin).as_text()
    assert name not in jax.jit(contacts).trace(row, kin).lower(lowering_platforms=("tpu",)).as_text()
    with jax.enable_x64(True):
        double = states.to_batch(batch().snapshots[:4], np.float64)
        assert name not in jax.jit(contacts).lower(double.row, double.kin).as_text()
