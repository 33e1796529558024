"""Categorical values against closed forms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mjx_metaworld.training import categorical
from mjx_metaworld.training.fastsac import target_distribution

ATOMS = categorical.make_atoms(5, 4.0)
NONE = -1e9  # logit of what has no chance


def test_atoms_lie_at_squares_of_even_steps():
    np.testing.assert_allclose(ATOMS, [-4.0, -1.0, 0.0, 1.0, 4.0])


@pytest.mark.parametrize(
    ("returns", "expected"),
    [
        (0.0, [0.0, 0.0, 1.0, 0.0, 0.0]),
        (0.25, [0.0, 0.0, 0.75, 0.25, 0.0]),
        (2.0, [0.0, 0.0, 0.0, 2 / 3, 1 / 3]),  # a third of the way from 1 to 4
        (-3.25, [0.75, 0.25, 0.0, 0.0, 0.0]),
        (9.0, [0.0, 0.0, 0.0, 0.0, 1.0]),
        (-9.0, [1.0, 0.0, 0.0, 0.0, 0.0]),
    ],
)
def test_a_return_falls_to_its_neighbours(returns, expected):
    found = categorical.project(jnp.ones((1, 1)), jnp.full((1, 1), returns), ATOMS)
    np.testing.assert_allclose(found, [expected], atol=1e-6)


def test_projections_are_distributions_of_the_same_mean():
    atoms = categorical.make_atoms(51, 1.25)
    generator = np.random.default_rng(0)
    probs = generator.dirichlet(np.full(51, 0.3), size=20).astype(np.float32)
    returns = generator.uniform(-1.25, 1.25, (20, 51)).astype(np.float32)
    found = np.asarray(jax.jit(categorical.project)(probs, returns, atoms))
    assert found.min() >= 0.0
    np.testing.assert_allclose(found.sum(-1), 1.0, atol=1e-5)
    np.testing.assert_allclose(found @ np.asarray(atoms), (probs * returns).sum(-1), atol=1e-5)


def test_targets_come_from_the_critic_with_the_smaller_mean():
    sure = jnp.where(jnp.eye(5, dtype=bool), 0.0, NONE)  # row i: certainly the i-th atom
    target = target_distribution(
        reward=jnp.array([1.0, 0.25, 0.0]),
        discount=jnp.array([0.5, 0.0, 1.0]),  # the second terminates
        next_logits=jnp.stack([sure[jnp.array([4, 4, 2])], sure[jnp.array([3, 4, 3])]]),
        next_cost=jnp.array([-1.0, -1.0, 1.0]),  # entropy is worth one where it costs minus one
        atoms=ATOMS,
    )
    # 1 + 0.5 (min(4, 1) + 1) = 2; 0.25; 0 + min(0, 1) - 1 = -1
    expected = [[0, 0, 0, 2 / 3, 1 / 3], [0, 0, 0.75, 0.25, 0], [0, 1, 0, 0, 0]]
    np.testing.assert_allclose(target, expected, atol=1e-6)


def test_the_smaller_mean_is_chosen_row_by_row_and_keeps_its_spread():
    even, low = jnp.zeros(5), jnp.array([NONE, 0.0, NONE, NONE, NONE])
    high = jnp.array([NONE, NONE, NONE, NONE, 0.0])
    found = categorical.smaller(jnp.stack([jnp.stack([even, even]), jnp.stack([low, high])]), ATOMS)
    np.testing.assert_allclose(found, [[0, 1, 0, 0, 0], [0.2] * 5], atol=1e-6)


def test_cross_entropy_is_least_at_the_target_itself():
    probs = jnp.array([0.1, 0.2, 0.3, 0.4, 0.0])
    entropy = -sum(p * np.log(p) for p in (0.1, 0.2, 0.3, 0.4))
    logits = jnp.log(probs[:4])
    assert float(categorical.cross_entropy(probs[:4], logits)) == pytest.approx(entropy, rel=1e-5)
    np.testing.assert_allclose(jax.grad(lambda x: categorical.cross_entropy(probs[:4], x))(logits), 0.0, atol=1e-6)
