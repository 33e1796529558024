"""The scripted policies against metaworld's, on observations from rollouts."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.metaworld_reference import QUICK, SPECS, record

from mjx_metaworld.experts import expert_policy

SETS = [pytest.param(QUICK, id="MT10"), pytest.param(tuple(SPECS), id="all", marks=pytest.mark.full)]


def recorded(names: tuple[str, ...], dtype: type) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observations, task ids and the reference's actions, all tasks in one batch."""
    recordings = [record(name) for name in names]
    obs = np.concatenate([r.obs for r in recordings]).astype(dtype)
    task = np.repeat(np.arange(len(names)), [len(r.obs) for r in recordings])
    return obs, task, np.concatenate([r.expert_action for r in recordings])


# Each policy is compared in float32, too, below.
@pytest.mark.ci
@pytest.mark.parametrize("names", [pytest.param(QUICK[:3], id="three"), *SETS[1:]])
def test_experts_equal_the_reference_in_float64(names: tuple[str, ...]) -> None:
    with jax.enable_x64(True):
        obs, task, expected = recorded(names, np.float64)
        actions = jax.jit(jax.vmap(expert_policy(names)))(obs, task)
    # The reference stores its actions in float32; they reach about 15, where that rounds by 1e-6.
    np.testing.assert_allclose(actions, expected, rtol=2e-7, atol=1e-7)


@pytest.mark.parametrize("names", SETS)
def test_experts_equal_the_reference_in_float32(names: tuple[str, ...]) -> None:
    obs, task, expected = recorded(names, np.float32)
    actions = np.asarray(jax.jit(jax.vmap(expert_policy(names)))(obs, task))
    error = np.abs(actions - expected).max(axis=1)
    # A position of a metre rounds by 6e-8, times a gain of up to 50. An observation that close to a threshold may
    # also fall on its other side, but hardly one in a thousand does.
    assert np.mean(error > 2e-5) < 1e-3


@pytest.mark.parametrize("names", SETS)
def test_each_task_has_its_own_expert_and_one_hot_is_ignored(names: tuple[str, ...]) -> None:
    obs, task, _ = recorded(names, np.float32)
    together = jax.vmap(expert_policy(names))(obs[::50], task[::50])
    one_hot = jax.nn.one_hot(task[::50], len(names))
    extended = jax.vmap(expert_policy(names))(jnp.concatenate([obs[::50], one_hot], axis=1), task[::50])
    np.testing.assert_array_equal(together, extended)  # the same numbers go in
    for i, name in enumerate(names):
        rows = task[::50] == i
        alone = jax.vmap(expert_policy([name]))(obs[::50][rows], jnp.zeros(rows.sum(), int))
        np.testing.assert_allclose(together[rows], alone, atol=1e-6)  # compiled alone, rounding may differ


def test_unknown_task_is_refused() -> None:
    with pytest.raises(ValueError, match="no scripted policy for fly-v3"):
        expert_policy(["reach-v3", "fly-v3"])


def test_a_task_named_twice_keeps_the_places_of_the_others() -> None:
    obs = jnp.linspace(0.0, 1.0, 39)
    names = ["reach-v3", "push-v3", "reach-v3", "drawer-open-v3"]
    together = expert_policy(names)
    for i, name in enumerate(names):
        np.testing.assert_array_equal(together(obs, jnp.int32(i)), expert_policy([name])(obs, jnp.int32(0)))
