"""Constraint rows against MuJoCo C's efc arrays on states of real rollouts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mjx_metaworld.parity.dissect import (
    constraints_of,
    contacts_of,
    kinematics_of,
    load_robot,
    physics_states_of,
    record,
    scenes_of,
)
from mjx_metaworld.physics.config import Execution
from mjx_metaworld.physics.constraint import impedance, make_constraints
from mjx_metaworld.physics.kinematics import kinematics
from mjx_metaworld.physics.model import FREE, Contacts

NUM_CONTACTS = 32


@functools.cache
def rows_of_both(dtype, own_kinematics: bool):
    """Our rows and MuJoCo's, as numpy pytrees."""
    states = record()
    arm, scenes, physics = load_robot(), scenes_of(states, dtype), physics_states_of(states, dtype)
    contacts = contacts_of(states, NUM_CONTACTS, dtype)

    @jax.jit
    def ours(scenes, physics, contacts, recorded):
        kin = kinematics(arm, scenes, physics.qpos, physics.prop_pos) if own_kinematics else recorded
        return make_constraints(arm, scenes, kin, physics, contacts, Execution(contact_group=4))

    mine = ours(scenes, physics, contacts, kinematics_of(states, dtype))
    return jax.tree.map(np.asarray, mine), jax.tree.map(np.asarray, constraints_of(states, NUM_CONTACTS, dtype))


def relative_error(mine: np.ndarray, reference: np.ndarray) -> np.ndarray:
    return np.abs(mine - reference) / (1 + np.abs(reference))


# Jacobians: a few roundings of terms of size 1 (lever arms and axes); torquescale 5 multiplies the weld's.
# D: the impedance divides the violation, a float32 difference of positions of size 1, by a width of 1 mm.
# aref = -B v - K imp pos: K of 3e3 (weld) to 1e4 / s^2 (contacts) multiplies the roundings of positions of size 1,
# B of 1e2 / s those of sums of qvel of size 10.
TOLERANCE = {
    "weld_jac": 4e-6, "weld_d": 2e-5, "weld_aref": 1e-3,
    "limit_jac": 0.0, "limit_d": 5e-4, "limit_aref": 2e-4,
    "contact_jac": 1e-6, "contact_d": 1e-5, "contact_aref": 1e-4, "contact_mu": 0.0,
}  # fmt: skip


@pytest.mark.parametrize("name", TOLERANCE)
def test_rows_equal_mujocos(name):
    mine, reference = rows_of_both(np.float32, own_kinematics=False)
    assert relative_error(getattr(mine, name), getattr(reference, name)).max() <= TOLERANCE[name]


@pytest.mark.parametrize("name", TOLERANCE)
def test_rows_equal_mujocos_in_float64(name):
    """Without rounding in the way the formulas agree; 1e-9 leaves room for the division by a width of 1 mm."""
    with jax.enable_x64(True):
        mine, reference = rows_of_both(np.float64, own_kinematics=True)
    assert relative_error(getattr(mine, name), getattr(reference, name)).max() <= 1e-9


def test_states_cover_the_cases():
    _, reference = rows_of_both(np.float32, own_kinematics=False)
    assert (reference.limit_jac > 0).any()
    assert (reference.limit_jac < 0).any()
    assert (reference.contact_d > 0).sum(0).max() >= 24  # many contacts at once
    assert np.abs(reference.contact_jac[:, 3]).max() > 0  # torsional friction


@pytest.mark.parametrize("violation", [0.0, 1e-4, 5e-4, 1e-3, 0.1])
@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_impedance_curve(violation, power):
    """The two-sided power curve as MuJoCo's documentation defines it, at the ends, the midpoint and between."""
    low, high, width, midpoint = 0.8, 0.95, 1e-3, 0.5
    x = min(violation / width, 1.0)
    y = x**power / midpoint ** (power - 1) if x <= midpoint else 1 - (1 - x) ** power / (1 - midpoint) ** (power - 1)
    solimp = jnp.array([low, high, width, midpoint, power])[:, None]
    got = impedance(jnp.array([0.001, 1.0])[:, None], solimp, jnp.array([-violation]), 0.0025)
    np.testing.assert_allclose(got.value, low + y * (high - low), rtol=1e-6)  # float32
    np.testing.assert_allclose(got.damping, 2 / (high * 0.005), rtol=1e-6)  # the time constant is raised to 2 h


def test_inactive_contacts_leave_no_trace():
    states = record()[:4]
    contacts = contacts_of(states, NUM_CONTACTS)
    names = [name for name, value in vars(Contacts).items() if isinstance(value, property)]
    garbage = Contacts.of(
        **{name: getattr(contacts, name) for name in names if name not in {"active", "pos", "frame", "dist", "body2"}},
        active=jnp.zeros_like(contacts.active),
        pos=jnp.full_like(contacts.pos, jnp.nan),
        frame=jnp.full_like(contacts.frame, jnp.nan),
        dist=jnp.full_like(contacts.dist, jnp.nan),
        body2=jnp.full_like(contacts.body2, FREE),
    )
    rows = jax.jit(functools.partial(make_constraints, load_robot(), execution=Execution(contact_group=4)))(
        scenes_of(states), kinematics_of(states), physics_states_of(states), garbage
    )
    assert not np.asarray(rows.contact_d).any()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(rows))
