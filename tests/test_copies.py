"""Copies of environments, by `copy` and by `pickle`: equal, and nothing is compiled for them anew."""

import copy
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld.testing import KinematicEngine

ENVS = 2
ACTIONS = jnp.full((ENVS, 4), 0.5)
WAYS = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "cloudpickle": lambda x: pickle.loads(cloudpickle.dumps(x)),
}


@contextmanager
def compilations() -> Iterator[list[str]]:
    """Collects an entry for every compilation meanwhile."""
    seen: list[str] = []
    active = True

    def listen(name: str, seconds: float, **_: object) -> None:
        if active and "backend_compile" in name:
            seen.append(name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    active = False


@pytest.fixture(scope="module")
def env():
    return mw.make("reach-v3", engine=KinematicEngine, one_hot=True)


@pytest.fixture(scope="module")
def vector_env(env):
    return mw.VectorEnv(env, ENVS)


@pytest.fixture(scope="module")
def divided(env):
    return mw.VectorEnv(env, ENVS, devices=jax.devices()[:1])


@pytest.fixture(scope="module")
def state(vector_env):
    return mw.jit(vector_env.reset)(jax.random.key(0))


@pytest.fixture(scope="module")
def kept(vector_env, divided, state):
    """Programs of the originals, which live as long as the functions that they were compiled from."""
    return use(vector_env, divided, state)


def use(vector_env, divided, state):
    """All calls that compile."""
    env, one = vector_env.env, jax.tree.map(lambda x: x[0], state)
    done = jnp.ones(ENVS, bool)
    calls = (
        (mw.jit(vector_env.step), state, ACTIONS),
        (jax.jit(divided.step), state, ACTIONS),
        (jax.jit(vector_env.restart), state, done),
        (jax.jit(env.step), one, ACTIONS[0]),
        (env.step, one, ACTIONS[0]),
        (vector_env.restart, state, done),
    )
    return [(fn, jax.block_until_ready(fn(*args))) for fn, *args in calls]


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_computes_the_same_by_the_same_programs(way, vector_env, divided, state, kept):
    copied = WAYS[way]((vector_env, divided)) if way != "copy" else (copy.copy(vector_env), copy.copy(divided))
    for twin, original in zip(copied, (vector_env, divided), strict=True):
        assert twin == original
        assert twin is not original
        assert hash(twin) == hash(original)
    with compilations() as compiled:
        found = use(copied[0], copied[1], state)
    assert not compiled
    for (_, mine), (_, theirs) in zip(found, kept, strict=True):
        jax.tree.map(np.testing.assert_array_equal, mine, theirs)


def test_static_arguments_are_equal(env, state):
    step = jax.jit(lambda env, *args: env.step(*args), static_argnums=0)
    one = jax.tree.map(lambda x: x[0], state)
    step(env, one, ACTIONS[0])
    for way in WAYS.values():
        step(way(env), one, ACTIONS[0])
    assert step._cache_size() == 1


def test_a_changed_copy_is_another_environment(env, state):
    twin = copy.deepcopy(env)
    twin.max_episode_steps = 1
    assert twin != env
    assert env.max_episode_steps == 500
    assert (twin.engine, twin.tasks) == (env.engine, env.tasks)
    one = jax.tree.map(lambda x: x[0], state)
    assert jax.jit(twin.step)(one, ACTIONS[0]).truncated
    assert not jax.jit(env.step)(one, ACTIONS[0]).truncated
    odd = copy.copy(env)
    odd.step = lambda state, action: state
    assert odd != env
    assert odd == copy.copy(odd)


def test_environments_of_other_options_differ(env, vector_env, divided):
    assert env != mw.make(env.tasks, engine=KinematicEngine)
    assert vector_env != divided
    assert vector_env != mw.VectorEnv(env, 2 * ENVS)
    assert vector_env.step != vector_env.restart
    assert env.step != "step"


def test_another_process_takes_a_pickled_environment(divided, tmp_path):
    file = tmp_path / "vector_env.pickle"
    file.write_bytes(pickle.dumps((divided, divided.step)))
    program = (
        "import pickle, sys, jax, numpy\n"
        "vector_env, step = pickle.load(open(sys.argv[1], 'rb'))\n"
        "state = jax.jit(vector_env.reset)(jax.random.key(0))\n"
        "print(step == vector_env.step, float(numpy.asarray(state.obs, float).sum()).hex())\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True)
    expected = float(np.asarray(jax.jit(divided.reset)(jax.random.key(0)).obs, float).sum()).hex()
    assert ended.stdout.split() == ["True", expected]


def test_a_pickled_vector_env_names_devices_that_are_missing(divided):
    attributes = divided.__getstate__() | {"sharding": [99]}
    with pytest.raises(ValueError, match=r"devices \[99\], which are not here"):
        object.__new__(mw.VectorEnv).__setstate__(attributes)


def test_methods_show_their_signature(env):
    import inspect

    assert list(inspect.signature(env.step).parameters) == ["state", "action"]
    assert env.step.__name__ == "step"
    assert "control step" in env.step.__doc__
    assert "bound method MetaWorldEnv.step" in repr(env.step)


@pytest.mark.usefixtures("kinematic")
@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
def test_a_gymnasium_environment_goes_on_in_its_copy(way):
    from mjx_metaworld.adapters.gymnasium import make_mt

    envs, actions = make_mt("reach-v3", num_envs=2, seed=1, max_episode_steps=2), np.zeros((2, 4), np.float32)
    envs.reset()
    envs.step(actions)
    twin = WAYS[way](envs)
    with compilations() as compiled:
        found = [twin.step(actions)[0] for _ in range(3)]
    expected = [envs.step(actions)[0] for _ in range(3)]
    np.testing.assert_array_equal(found, expected)
    assert not compiled
