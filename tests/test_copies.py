"""Copies of environments, by `copy` and by `pickle`: equal, and nothing is compiled for them anew."""

import copy
import pickle
import subprocess
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld.physics import copies
from mjx_metaworld.physics.backend import CPU, CPU_XLA
from mjx_metaworld.physics.backends.cpu.kernels import KERNELS
from mjx_metaworld.physics.config import EngineConfig
from mjx_metaworld.processes import native
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


@pytest.fixture
def elsewhere(monkeypatch):
    """What is unpickled is made anew, as in another process."""
    monkeypatch.setattr(copies, "_alive", weakref.WeakValueDictionary())


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


@pytest.mark.ci
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


def test_a_changed_copy_is_the_environment_of_its_options():
    """Whatever the original has computed of its own before."""
    terms = mw.randomise.friction(0.5, 1.5), mw.randomise.object_mass(0.5, 1.5)
    changes = {"goal_observable": False, "one_hot": True, "randomise": terms}
    base = {"engine": KinematicEngine, "randomise": terms[0], "privileged": True}
    env = mw.make("reach-v3", **base)
    assert (env.observation_space.shape, env.observation_size) == ((40,), 40)
    twin, made = copy.copy(env), mw.make("reach-v3", **base | changes)
    for name, value in changes.items():
        setattr(twin, name, value)
    assert twin.observation_space == made.observation_space
    assert twin.observation_size == made.observation_size == 43

    def second(env):
        return jax.jit(lambda key: env.step(env.reset(key), jnp.ones(4)).obs)(jax.random.key(0))

    np.testing.assert_array_equal(second(twin), second(made))
    for name in changes:
        setattr(twin, name, getattr(env, name))
    assert twin == env
    assert twin.observation_space == env.observation_space


def test_options_of_a_copy_are_checked(env):
    twin = copy.copy(env)
    with pytest.raises(AttributeError, match=r"keeps its tasks, here reach-v3; .*mw\.make\(tasks\)"):
        twin.tasks = mw.suites.resolve("push-v3")
    for misspelt, meant in {"max_episode_step": "max_episode_steps", "onehot": "one_hot"}.items():
        with pytest.raises(AttributeError, match=f"MetaWorldEnv has no option '{misspelt}'; did you mean {meant}"):
            setattr(twin, misspelt, 3)
    copy.copy(env).label = "a name of the user's own"
    refused = {
        "pixels": (64, r"pixels must be mw\.Pixels.*got 64"),
        "randomise": ([3], "randomise takes terms such as .*got 3"),
        "goals": ("fresh", "unknown goals 'fresh'; available: nearest, settled, banked"),
        "reward_version": ("v3", "unknown reward_version 'v3'; available: v1, v2"),
        "max_episode_steps": (0, "max_episode_steps must be a positive integer, got 0"),
    }
    for name, (value, message) in refused.items():
        with pytest.raises((TypeError, ValueError), match=message):
            setattr(twin, name, value)
    assert twin == env
    twin.privileged = True
    with pytest.raises(ValueError, match="privileged observations show what is randomised"):
        _ = twin.observation_size
    twin.randomise = mw.randomise.friction(0.5, 1.5)
    assert twin.observation_size == env.observation_size + 1


def test_the_environment_of_a_deep_copy_is_its_own(vector_env):
    twin, env = copy.deepcopy((vector_env, vector_env.env))
    assert twin.env is env
    env.max_episode_steps = 1
    assert twin != vector_env
    assert vector_env.env.max_episode_steps == 500


def test_pictures_are_those_of_a_copys_options(env, state):
    def length(env):
        return lambda state: jnp.full(2, env.max_episode_steps)

    one, twin = jax.tree.map(lambda x: x[0], state), copy.copy(env)
    twin.pixels = length
    assert twin.draw(one).pixels.tolist() == [500, 500]
    twin.max_episode_steps = 7
    assert twin.draw(one).pixels.tolist() == [7, 7]


def palette(env):
    """Pictures of an array that is made once."""
    colors = jnp.arange(3.0)
    return lambda state: colors * state.reward


@pytest.mark.usefixtures("elsewhere")
def test_what_a_pickled_environment_draws_with_outlives_a_trace(env, state):
    seeing = copy.copy(env)
    seeing.pixels = palette
    loaded = pickle.loads(pickle.dumps(seeing))
    assert loaded.engine is not env.engine
    one = jax.tree.map(lambda x: x[0], state)
    first, second = (
        jax.jit(lambda one, shift=shift: loaded.draw(one.replace(reward=shift)))(one) for shift in (1.0, 2.0)
    )
    np.testing.assert_array_equal(second.pixels, 2.0 * first.pixels)


def test_environments_of_other_options_differ(env, vector_env, divided):
    assert env != mw.make(env.tasks, engine=KinematicEngine)
    assert vector_env != divided
    assert vector_env != mw.VectorEnv(env, 2 * ENVS)
    assert vector_env.step != vector_env.restart
    assert env.step != "step"


def in_another_process(file, pickled, *lines):
    """Words that lines of Python print in another process, which know what was pickled as `it`."""
    file.write_bytes(pickle.dumps(pickled))
    program = "\n".join(("import pickle, sys, jax, numpy", "it = pickle.load(open(sys.argv[1], 'rb'))", *lines))
    ended = subprocess.run([sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True)
    return ended.stdout.split()


@pytest.mark.ci
def test_another_process_takes_a_pickled_environment(divided, tmp_path):
    found = in_another_process(
        tmp_path / "vector_env.pickle",
        (divided, divided.step),
        "state = jax.jit(it[0].reset)(jax.random.key(0))",
        "print(it[1] == it[0].step, float(numpy.asarray(state.obs, float).sum()).hex())",
    )
    expected = float(np.asarray(jax.jit(divided.reset)(jax.random.key(0)).obs, float).sum()).hex()
    assert found == ["True", expected]


@pytest.mark.full  # the true physics, compiled in two processes
@pytest.mark.parametrize("way", ["jax.jit", "mw.jit"])
def test_another_process_steps_a_pickled_environment(way, tmp_path):
    env = mw.make("reach-v3")
    found = in_another_process(
        tmp_path / "env.pickle",
        env,
        "import mjx_metaworld as mw",
        f"state = {way}(it.step)({way}(it.reset)(jax.random.key(0)), jax.numpy.ones(4))",
        "print(*map(float, state.physics.qpos))",
    )
    expected = jax.jit(env.step)(jax.jit(env.reset)(jax.random.key(0)), jnp.ones(4)).physics.qpos
    np.testing.assert_allclose(np.array(found, float), expected, atol=1e-5)  # as lanes of other programs, see test_env


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(("reason", "execution"), [("", CPU), ("there is no compiler of C++", CPU_XLA)])
def test_a_pickled_engine_looks_for_its_kernels_where_it_is_loaded(reason, execution, env, monkeypatch):
    asked = set()
    monkeypatch.setattr(native, "_hindrance", lambda kernel: asked.add(kernel) or reason)
    engine = KinematicEngine(env.engine.arm, env.engine.scenes, env.engine.hulls, EngineConfig(execution=CPU))
    content = pickle.dumps(engine)
    assert pickle.loads(content) is engine
    copies._alive.clear()
    assert pickle.loads(content).config.execution == execution
    assert asked == (set(KERNELS) if execution == CPU else {KERNELS[0]})


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
