"""Memory: what a gated recurrent unit computes, and what a policy is told of the step before."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.training.recurrent import Memory, no_past, past_after

TIME, LANES, SIZE = 7, 3, 5


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_a_memory_equals_a_plain_loop():
    generator = np.random.default_rng(0)
    seen = generator.normal(size=(TIME, LANES, 4)).astype(np.float32)
    start = generator.normal(size=(LANES, SIZE)).astype(np.float32)
    fresh = generator.random((TIME, LANES)) < 0.3
    memory = Memory((6,), SIZE, 10.0)
    params = memory.init(jax.random.key(0), seen, start, fresh)
    found = jax.jit(memory.apply)(params, seen, start, fresh)
    own = jax.tree.map(np.asarray, params["params"])
    layer, gates = own["Torso_0"]["Dense_0"], own["Dense_0"]
    state = start
    for t in range(TIME):
        state = np.where(fresh[t][:, None], 0.0, state)
        features = np.tanh(seen[t] @ layer["kernel"] + layer["bias"])
        keep, reset, new = np.split(features @ gates["kernel"] + gates["bias"], 3, -1)
        keep_more, reset_more, new_more = np.split(state @ own["recurrent"], 3, -1)
        keep = sigmoid(keep + keep_more + own["kept"])
        new = np.tanh(new + sigmoid(reset + reset_more) * (new_more + own["bias"]))
        state = keep * state + (1 - keep) * new
        np.testing.assert_allclose(found[t], state, atol=1e-5)


def test_a_memory_begins_with_spans_up_to_the_longest():
    memory = Memory((4,), 256, 100.0)
    params = memory.init(jax.random.key(0), jnp.zeros((1, 1, 2)), jnp.zeros((1, 256)), jnp.zeros((1, 1), bool))
    keep = sigmoid(np.asarray(params["params"]["kept"]))
    spans = 1 / (1 - keep)  # after as many steps a 1/e of what was is left
    assert 1.9 < spans.min() < 4
    assert 90 < spans.max() < 101.1


def test_the_past_of_an_episodes_first_step_is_nothing():
    action, reward = jnp.full((4, 2), 0.5), jnp.full(4, 5.0)
    done, over = jnp.array([False, True, True, False]), jnp.array([False, False, True, False])
    past = past_after(action, reward, done, over)
    np.testing.assert_array_equal(past.action, np.where(done, 0.0, 0.5)[:, None] * np.ones((1, 2)))
    np.testing.assert_array_equal(past.reward, [0.5, 0.0, 0.0, 0.5])
    np.testing.assert_array_equal(past.done, [False, True, False, False])
    first = no_past(4, 2)
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x.shape, y.shape), past, first)
    assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(first))
