"""Parts of proximal policy optimisation against closed forms."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from mjx_metaworld.training.networks import gaussian_kl
from mjx_metaworld.training.proximal import (
    Choice,
    Learner,
    advantages,
    clipped_losses,
    explained_variance,
    learn,
    make_optimizer,
    standardise_by_task,
)

GAMMA = 0.9


@pytest.mark.parametrize("gae_lambda", [0.0, 0.7, 1.0])
def test_advantages_equal_a_plain_loop(gae_lambda):
    generator = np.random.default_rng(0)
    shape = (20, 5)
    reward, value, next_value = generator.normal(size=(3, *shape)).astype(np.float32)
    terminated, truncated = generator.random((2, *shape)) < 0.15
    expected = np.zeros(shape)
    for lane in range(shape[1]):
        later = 0.0
        for t in reversed(range(shape[0])):
            successor = 0.0 if terminated[t, lane] else next_value[t, lane]
            if terminated[t, lane] or truncated[t, lane]:
                later = 0.0
            later = reward[t, lane] + GAMMA * successor - value[t, lane] + GAMMA * gae_lambda * later
            expected[t, lane] = later
    actual = advantages(reward, terminated, truncated, value, next_value, gamma=GAMMA, gae_lambda=gae_lambda)
    np.testing.assert_allclose(actual, expected, atol=1e-5)  # float32 against float64


def test_advantages_have_the_same_scale_in_every_task():
    generator = np.random.default_rng(0)
    task = generator.integers(0, 3, (40, 10))
    advantage = generator.normal(size=task.shape) * np.array([1e3, 1.0, 1e-2])[task] + task
    scaled = np.asarray(standardise_by_task(jnp.asarray(advantage, jnp.float32), jnp.asarray(task), 3))
    for one in range(3):
        np.testing.assert_allclose([scaled[task == one].mean(), scaled[task == one].std()], [0, 1], atol=1e-3)


def test_a_value_that_is_right_explains_all():
    value = jnp.linspace(0.0, 1.0, 5)
    assert float(explained_variance(jnp.zeros(5), value)) == 1.0
    assert float(explained_variance(value, jnp.zeros(5))) == pytest.approx(0.0, abs=1e-6)


def test_losses_equal_their_formulas():
    chosen = Choice(
        action=jnp.array([[0.1], [0.5]]),
        mean=jnp.zeros((2, 1)),
        log_std=jnp.zeros((2, 1)),
        advantage=jnp.array([2.0, -1.0]),
    )
    mean = jnp.array([[0.4], [0.4]])
    losses = clipped_losses(chosen, (mean, chosen.log_std), jnp.array([1.0, -3.0]), 0.02)
    ratio = np.exp([(0.1**2 - 0.3**2) / 2, (0.5**2 - 0.1**2) / 2])  # 0.96 and 1.13
    # The pessimistic one of both: unclipped, where it is worse than within the bounds.
    assert float(losses.policy) == pytest.approx(-(2.0 * ratio[0] - ratio[1]) / 2)
    assert float(losses.value) == pytest.approx(0.5 * (1 + 9) / 2)
    assert float(losses.kl) == pytest.approx(0.4**2 / 2)


class _Figures(NamedTuple):
    kl: Float[Array, ""]


class _Settings(NamedTuple):
    learning_rate: float = 3e-3
    epochs: int = 3
    minibatches: int = 5
    target_kl: float = 0.01
    clip: float = 0.2


@pytest.mark.parametrize(("kl", "factor"), [(0.0201, 1.5**-15), (0.0049, 1.5**3), (0.01, 1.0)])
def test_every_row_is_learnt_from_and_the_rate_follows_the_divergence(kl, factor):
    def loss(param: Array, rows: Array) -> tuple[Array, _Figures]:
        return (param * rows).sum(), _Figures(kl * jnp.ones(()) + 0.0 * param)

    optimizer = make_optimizer(1e9)
    rate = 3e-3 if factor >= 1 else 9e-3
    start = Learner(jnp.zeros(()), optimizer.init(jnp.zeros(())), jnp.asarray(rate))
    learner, figures = jax.jit(
        lambda key: learn(
            start, jnp.arange(20.0), key, loss=loss, optimizer=optimizer, settings=_Settings(), lanes=None
        )
    )(jax.random.key(0))
    bounded = np.clip(rate * factor, 1e-5, 1e-2)
    np.testing.assert_allclose(learner.learning_rate, bounded, rtol=1e-5)
    assert int(learner.optimizer[1].count) == 15
    # The first moment of Adam is a weighted mean of the sums of minibatches, which are 38 in the mean.
    assert 20 < float(learner.optimizer[1].mu) / (1 - 0.9**15) < 60
    assert float(figures.kl) == pytest.approx(kl)


@pytest.mark.parametrize("given", [1e-6, 3e-2])
def test_a_rate_beyond_the_limits_is_kept(given):
    optimizer, start = make_optimizer(1.0), jnp.zeros(())
    learner, _ = learn(
        Learner(start, optimizer.init(start), jnp.asarray(given)),
        jnp.arange(5.0),
        jax.random.key(0),
        loss=lambda param, rows: (param * rows.sum(), _Figures(jnp.full((), 0.01))),  # as it is to be
        optimizer=optimizer,
        settings=_Settings(learning_rate=given),
        lanes=None,
    )
    assert float(learner.learning_rate) == pytest.approx(given)


def test_the_divergence_is_zero_of_what_acted():
    one = (jnp.ones((3, 2)), jnp.zeros((3, 2)))
    np.testing.assert_array_equal(gaussian_kl(one, one), np.zeros(3))
