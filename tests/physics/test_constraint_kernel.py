"""The kernel of constraint rows for CPUs: against MuJoCo C and XLA's program, lane by lane, in batches of any size."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from physics.test_constraint import NUM_CONTACTS, TOLERANCE, relative_error
from support.lanes import lanes_of, same_bits

from mjx_metaworld.parity.dissect import (
    constraints_of,
    contacts_of,
    kinematics_of,
    load_robot,
    physics_states_of,
    record,
    scenes_of,
)
from mjx_metaworld.physics.backends.cpu import kernels
from mjx_metaworld.physics.backends.cpu.constraints import KERNEL
from mjx_metaworld.physics.config import Execution
from mjx_metaworld.physics.constraint import Constraints
from mjx_metaworld.physics.model import NUM_BODIES, Contacts
from mjx_metaworld.physics.stages import stages_of

pytestmark = pytest.mark.skipif(bool(kernels.hindrance()), reason=kernels.hindrance())
BY_XLA = Execution(contact_group=4)
IN_KERNEL = dataclasses.replace(BY_XLA, cpu_kernels=True)


@functools.partial(jax.jit, static_argnames="execution")
def run(scene, kin, state, contacts, execution=IN_KERNEL) -> Constraints:
    """The rows as the stages that suit an execution make them."""
    return stages_of(execution).constrain(load_robot(), scene, kin, state, contacts, execution, None)


@functools.cache
def recorded(dtype=np.float32, count: int | None = None):
    """Scenes, kinematics, states and contacts of MuJoCo C."""
    states = record()[:count]
    of = (scenes_of, kinematics_of, physics_states_of, functools.partial(contacts_of, num_contacts=NUM_CONTACTS))
    return tuple(make(states, dtype=dtype) for make in of)


def any_contacts(columns: int, lanes: int) -> Contacts:
    """Contacts between any two bodies, of which some rub, twist or roll, at impedances of any power."""
    rng = np.random.default_rng(columns)
    data = rng.uniform(0.1, 0.9, (NUM_CONTACTS, columns, lanes))
    data[:, 0] = rng.uniform(-2e-3, 0.0, (NUM_CONTACTS, lanes))
    data[:, 1:13] = rng.normal(size=(NUM_CONTACTS, 12, lanes))
    data[:, 13:15] = rng.integers(0, NUM_BODIES, (NUM_CONTACTS, 2, lanes))
    data[:, 15] = 0.0
    data[:, 16] = rng.integers(0, 2, (NUM_CONTACTS, lanes))
    data[:, 24] = 1e-3
    data[:, 26] = rng.choice([0.5, 1.0, 2.0, 2.5], (NUM_CONTACTS, lanes))
    if columns > 30:
        data[:, 29] = rng.integers(0, 2, (NUM_CONTACTS, lanes))
    if columns > 31:
        data[:, 30] *= rng.integers(0, 2, (NUM_CONTACTS, lanes))
    data[:, -1] = np.arange(NUM_CONTACTS)[:, None] < rng.integers(0, NUM_CONTACTS, lanes)
    return Contacts(jnp.asarray(data, jnp.float32))


def defined(rows: Constraints) -> Constraints:
    """The same with zeros where a lane has no contact, since the kernel leaves some of what is there undefined."""
    own = np.arange(len(rows.contact_d))[:, None] < np.asarray(rows.num_contacts)[..., None, :]
    jac = np.where(own[..., None, None, :], np.asarray(rows.contact_jac), 0.0)
    aref = np.where(own[..., None, :], np.asarray(rows.contact_aref), 0.0)
    return jax.tree.map(np.asarray, rows.replace(contact_jac=jac, contact_aref=aref))


@pytest.mark.parametrize("name", TOLERANCE)
def test_rows_are_mujocos(name):
    """The bars of `test_constraint.py`, with its reasons."""
    mine, reference = (
        getattr(rows, name) for rows in (defined(run(*recorded())), constraints_of(record(), NUM_CONTACTS))
    )
    assert relative_error(mine, np.asarray(reference)).max() <= TOLERANCE[name]


@pytest.mark.parametrize("columns", [30, 31, 32])
def test_both_forms_agree_on_any_contacts(columns):
    """Of all bodies, kinds and numbers of rows; the bars are some roundings of sums of large terms."""
    scene, kin, state, _ = recorded()
    operands = scene, kin, state, any_contacts(columns, state.qpos.shape[-1])
    kernel, xla = (defined(run(*operands, execution=execution)) for execution in (IN_KERNEL, BY_XLA))
    np.testing.assert_array_equal(kernel.num_contacts, xla.num_contacts)
    for name, bar in {"contact_jac": 4e-6, "contact_d": 1e-5, "contact_aref": 1e-4, "contact_mu": 1e-6}.items():
        assert relative_error(getattr(kernel, name), getattr(xla, name)).max() < bar, name
    assert kernel.contact_jac.shape[1] == (6 if columns == 32 else 4)
    assert all(np.abs(kernel.contact_jac[:, row]).max() > 0.1 for row in range(kernel.contact_jac.shape[1]))


def test_lanes_beside_busier_ones_have_rows_of_no_effect():
    """The solver's kernel reads what stands there."""
    scene, kin, state, contacts = lanes_of(recorded(), np.arange(4))
    full = contacts.data.at[:, -1].set(jnp.array([0.0, 1.0, 0.0, 1.0]))
    rows = jax.tree.map(np.asarray, run(scene, kin, state, Contacts(full)))
    np.testing.assert_array_equal(rows.num_contacts, [0, NUM_CONTACTS, 0, NUM_CONTACTS])
    idle = lanes_of(rows, np.array([0, 2]))
    assert not any(x.any() for x in (idle.contact_jac, idle.contact_d, idle.contact_aref))
    assert (idle.contact_mu == 1.0).all()


def test_what_an_inactive_contact_holds_does_not_matter():
    scene, kin, state, contacts = recorded()
    active = contacts.active[:, None] | (jnp.arange(contacts.data.shape[1]) == contacts.data.shape[1] - 1)[:, None]
    garbage = Contacts(jnp.where(active, contacts.data, jnp.nan))
    found = jax.tree.map(np.asarray, run(scene, kin, state, garbage))
    assert same_bits(defined(found), defined(run(*recorded())))


def test_a_lane_does_not_depend_on_the_others():
    """Among whole vectors of lanes, in any order, to the last bit."""
    lanes = np.random.default_rng(0).permutation(len(record()))[: 2 * 16]
    assert same_bits(defined(run(*lanes_of(recorded(), lanes))), lanes_of(defined(run(*recorded())), lanes))


@pytest.mark.parametrize("count", [1, 5, 33])
def test_a_lane_is_alike_in_any_batch(count):
    """The last lanes, which fill no vector, have a program of their own: compilers may fuse other products with sums in
    it (g++ 12 for AVX2 does), and one entry of the weld's aref in thousands differs by 4e-6, roundings of its terms.
    """
    lanes = np.random.default_rng(count).permutation(len(record()))[:count]
    few, many = defined(run(*lanes_of(recorded(), lanes))), lanes_of(defined(run(*recorded())), lanes)
    for name, bar in TOLERANCE.items():
        assert relative_error(getattr(few, name), np.asarray(getattr(many, name))).max() <= min(bar, 1e-5), name
    np.testing.assert_array_equal(few.num_contacts, many.num_contacts)


def test_tiles_are_constrained_in_one_call():
    tiled = jax.tree.map(lambda x: jnp.moveaxis(x[..., :32].reshape(*x.shape[:-1], 2, 16), -2, 0), recorded())
    found = jax.jit(jax.vmap(run))(*tiled)
    joined = jax.tree.map(lambda x: np.concatenate(np.asarray(x), axis=-1), found)
    assert same_bits(defined(joined), defined(run(*lanes_of(recorded(), np.arange(32)))))


def test_what_is_no_number_stays_in_its_lane():
    scene, kin, state, contacts = recorded()
    poisoned = state.replace(qpos=state.qpos.at[:, 3].set(jnp.nan), qvel=state.qvel.at[:, 3].set(jnp.nan))
    found, others = defined(run(scene, kin, poisoned, contacts)), np.delete(np.arange(len(record())), 3)
    assert np.isnan(found.weld_aref[:, 3]).all()
    assert same_bits(lanes_of(found, others), lanes_of(defined(run(*recorded())), others))


def test_double_precision_and_other_devices_have_xlas_program():
    operands = lanes_of(recorded(), np.arange(4))
    assert KERNEL.target() in run.lower(*operands).as_text()
    assert KERNEL.target() not in run.trace(*operands).lower(lowering_platforms=("tpu",)).as_text()
    with jax.enable_x64(True):
        assert KERNEL.target() not in run.lower(*recorded(np.float64, 4)).as_text()
