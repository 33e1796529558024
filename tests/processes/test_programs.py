"""Programs and traces that a process leaves for the next: the same results, and none where they would be others."""

from __future__ import annotations

import contextlib
import functools
import shutil
import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache
from support.children import environment

import mjx_metaworld as mw
from mjx_metaworld.physics.engine import Engine
from mjx_metaworld.processes import cache, code, exports, programs
from mjx_metaworld.randomise import signals
from mjx_metaworld.tasks import rewards
from mjx_metaworld.testing import KinematicEngine

pytestmark = pytest.mark.ci

# A reset of a batch and steps; prints the digest of the results, how many programs were found and how many made.
PROCESS = """
import hashlib, sys, time
import jax, jax.numpy as jnp, numpy as np
import mjx_metaworld as mw
from mjx_metaworld.processes import programs
from support.economy import economize

economize(exporting=True)
{before}
programs._LEAST_SECONDS = programs._SETTINGS["jax_persistent_cache_min_compile_time_secs"] = 0.0
read = []
jax.monitoring.register_event_listener(lambda event, **_: read.append(event))
env = mw.make("reach-v3", physics=mw.PhysicsConfig(solver_iterations=1, max_contacts=16))
batch = mw.VectorEnv(env, 4)
state, step = mw.jit(batch.reset)(jax.random.key(0)), mw.jit(batch.step)
made = None
for _ in range({steps}):
    state, made = step(state, jnp.full((4, 4), 0.5, jnp.float32))
digest = hashlib.sha256(b"".join(np.asarray(x).tobytes() for x in jax.tree.leaves((state, made)))).hexdigest()
print(digest, *(sum(event.endswith(kind) for event in read) for kind in ("/cache_hits", "/cache_misses")))
"""

OTHER_GOALS = """
from mjx_metaworld.env import MetaWorldEnv
MetaWorldEnv._draw_goal = lambda self, key, task: jnp.full(self.rand_vec_size, 0.2)
"""


@pytest.fixture
def of_the_run():
    """JAX's folder for programs in this test run."""
    return jax.config.jax_compilation_cache_dir


@pytest.fixture
def kept(of_the_run, tmp_path, monkeypatch):
    """An empty folder for what is kept, but for the kernels in C++, which take seconds to compile."""
    with contextlib.suppress(FileNotFoundError):
        shutil.copytree(f"{cache.cache_folder()}/kernels", tmp_path / "kept" / "mjx-metaworld" / "kernels")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "kept"))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)  # the test run's own
    monkeypatch.setattr(programs, "_may_keep_lowered", True)  # whatever this process has drawn before
    _set_folder(None)
    monkeypatch.setitem(programs._SETTINGS, "jax_persistent_cache_min_compile_time_secs", 0.0)
    yield cache.cache_folder()
    _set_folder(of_the_run)


def _set_folder(folder):
    jax.config.update("jax_compilation_cache_dir", folder)
    reset_cache()


def files(folder, kind):
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder).parts[0] == kind)


def run(before="", steps=0):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROCESS.format(before=before, steps=steps)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    digest, hits, misses = done.stdout.split()
    return digest, int(hits), int(misses)


def turn_a_byte(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


# Half a file, as a full disk would leave it, or a byte turned.
CHANGES = (lambda content: content[: len(content) // 2], turn_a_byte)
EACH_CHANGE = pytest.mark.parametrize("change", CHANGES, ids=["half a file", "a byte turned"])


@pytest.mark.parametrize("steps", [0, pytest.param(2, marks=pytest.mark.full)])
def test_the_next_process_computes_the_same_without_compiling(kept, steps):
    programs_of = functools.partial(run, steps=steps)
    first, hits, misses = programs_of()
    assert hits == 0
    assert misses > 0
    traces, tables = files(kept, "traces"), files(kept, "tables")
    assert len(traces) == 1 + (steps > 0)
    assert len(tables) == 1
    assert programs_of() == (first, misses, 0)


@pytest.mark.full  # its quick twins are the next test, and `test_cache.py` for traces and tables
@EACH_CHANGE
def test_the_next_process_makes_all_anew_that_is_broken(kept, change):
    """Without a word."""
    first, _, misses = run()
    for path in (*files(kept, "programs"), *files(kept, "traces"), *files(kept, "tables")):
        path.write_bytes(change(path.read_bytes()))
    assert run() == (first, 0, misses)


@EACH_CHANGE
def test_a_broken_program_is_compiled_anew(kept, change):
    def whole():
        return [path for path in files(kept, "programs") if path.name.endswith(cache.digest_of(path.read_bytes()))]

    def compile_one():
        return mw.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((3, 3)))

    first, kept_first = compile_one(), whole()
    assert kept_first == files(kept, "programs") != []
    for path in kept_first:
        path.write_bytes(change(path.read_bytes()))
    assert not whole()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(compile_one(), first)
    assert len(whole()) == len(kept_first)


@pytest.mark.full  # `test_the_digest_of_code_follows_what_is_replaced` is its quick twin
def test_the_next_process_makes_another_program_of_what_is_replaced(kept):
    """What is changed at run time is another function, and leaves the other's files alone."""
    first, *_ = run()
    traces = files(kept, "traces")
    changed, *_ = run(OTHER_GOALS)
    assert changed != first
    assert len(files(kept, "traces")) == 2 * len(traces)


def test_a_program_is_kept_only_while_ours_compiles(kept):
    mw.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((3, 3)))
    count = len(files(kept, "programs"))
    assert count > 0
    jax.jit(lambda x: jnp.cos(x) @ x)(jnp.ones((3, 3)))
    assert len(files(kept, "programs")) == count
    assert jax.config.jax_compilation_cache_dir is None
    mw.jit(lambda x: jnp.tan(x) @ x).lower(jnp.ones((3, 3))).compile()
    assert len(files(kept, "programs")) == count + 1


def test_the_users_own_cache_is_left_to_jax(kept, tmp_path):
    _set_folder(str(tmp_path / "own"))
    mw.jit(lambda x: jnp.sinh(x) @ x)(jnp.ones((3, 3)))
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "own")
    assert files(kept, "programs") == []


def test_compiling_can_be_timed(kept):
    with programs.compiling_anew():
        mw.jit(lambda x: jnp.arcsinh(x) @ x)(jnp.ones((3, 3)))
        mw.jit(lambda x: jnp.arccosh(x) @ x).lower(jnp.ones((3, 3))).compile()
    assert files(kept, "programs") == []


def test_a_file_of_another_kind_is_traced_anew(tracing, kept, monkeypatch):
    """As another version might have left it under the same name: whole, and not what is read."""
    env = mw.make("reach-v3")
    first = mw.jit(env.reset)(jax.random.key(0))
    (trace,) = files(kept, "traces")
    cache.write_bytes(str(trace.relative_to(kept)), b"what another version keeps")
    again = mw.jit(mw.make("reach-v3").reset)(jax.random.key(0))
    cache.write_arrays(str(trace.relative_to(kept)), {"function": np.zeros(9, np.uint8), "results": np.zeros(0)})
    once_more = mw.jit(mw.make("reach-v3").reset)(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    jax.tree.map(np.testing.assert_array_equal, first, once_more)
    assert tracing == ["reset"] * 3


def test_a_folder_that_cannot_be_written_keeps_nothing_and_stops_nothing(kept, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file" / "kept"))
    assert mw.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((3, 3))).shape == (3, 3)


def test_a_call_of_the_host_is_not_kept(kept):
    def fn(x):
        return jax.pure_callback(lambda x: np.asarray(x) + 1, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    assert mw.jit(fn)(jnp.ones(2)).tolist() == [2.0, 2.0]
    assert files(kept, "programs") == []


def test_a_program_of_this_process_alone_is_not_kept(kept):
    def fn(x):
        programs.keep_no_program()
        return jnp.cosh(x) @ x

    mw.jit(fn)(jnp.ones((3, 3)))
    mw.jit(fn).lower(jnp.ones((4, 4))).compile()
    assert files(kept, "programs") == []


@pytest.fixture
def tracing(of_the_run, kept, monkeypatch):
    """Functions are kept as outside of tests, and programs as in tests; returns the names of those that were traced."""
    _set_folder(of_the_run)
    monkeypatch.setattr(exports, "can_export", lambda: True)
    traced: list[str] = []
    trace = exports._trace
    monkeypatch.setattr(exports, "_trace", lambda fn, *args: (traced.append(fn.__name__), trace(fn, *args))[1])
    return traced


def test_equal_environments_find_each_others_traces(tracing, kept):
    def first_state(**options):
        return mw.jit(mw.make("reach-v3", **options).reset)(jax.random.key(0))

    first, again = first_state(), first_state()
    assert tracing == ["reset"]
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert type(again) is mw.State
    assert again.episode.key_impl == first.episode.key_impl
    first_state(goal_observable=False)
    first_state(max_episode_steps=100)
    first_state(physics=mw.PhysicsConfig(solver_iterations=2))
    assert len(tracing) == 4
    first_state(engine=KinematicEngine)  # an engine of one's own has no name in all processes
    assert len(tracing) == 4


def test_tables_and_shapes_tell_traces_apart(tracing):
    env = mw.make("reach-v3")
    mw.jit(mw.VectorEnv(env, 2).reset)(jax.random.key(0))
    mw.jit(mw.VectorEnv(env, 3).reset)(jax.random.key(0))
    mw.jit(mw.VectorEnv(env, 2, resample_task=False).reset)(jax.random.key(0))
    mw.jit(mw.VectorEnv(env, 2).reset)(jax.random.key_data(jax.random.key(0)))
    assert len(tracing) == 4
    other = mw.make("reach-v3")
    other._table = other._table.replace(rand_low=other._table.rand_low - 0.1)
    mw.jit(mw.VectorEnv(other, 2).reset)(jax.random.key(0))
    assert len(tracing) == 5


def test_environments_mapped_alike_find_each_others_traces(tracing):
    env = mw.make("reach-v3")
    keys = jax.random.split(jax.random.key(0), 2)
    first, again = (mw.jit(jax.vmap(make.reset))(keys) for make in (env, mw.make("reach-v3")))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert len(tracing) == 1
    mw.jit(jax.vmap(jax.vmap(env.reset)))(keys[None])
    mw.jit(jax.vmap(env.reset, (0, None)))(keys, 0)
    assert len(tracing) == 3
    # Names of axes, and functions of one's own, mean nothing in another process.
    mw.jit(jax.vmap(env.reset, axis_name="lanes"))(keys)
    mw.jit(jax.vmap(lambda key: env.reset(key)))(keys)

    @functools.wraps(env.reset)
    def reset_to_zero(key):
        return jax.tree.map(jnp.zeros_like, env.reset(key))

    assert not mw.jit(reset_to_zero)(keys[0]).obs.any()
    assert not mw.jit(jax.vmap(reset_to_zero))(keys).obs.any()
    assert len(tracing) == 3


class Shifted(mw.VectorEnv):
    def reset(self, key):
        state = super().reset(key)
        return state.replace(obs=state.obs + 1.0)


class Agent:
    def __init__(self, weight):
        self.weight = weight

    def identity(self):
        return "my agent"

    def act(self, x):
        return self.weight * x


def test_nothing_is_kept_of_what_may_compute_something_else(tracing):
    env = mw.make("reach-v3", engine=KinematicEngine)
    env.engine.__class__ = Engine  # its name is known, and nothing of it is run
    assert env.identity() is not None
    assert mw.VectorEnv(env, 2).identity() is not None
    overwritten = mw.VectorEnv(env, 2)
    monkey = overwritten.restart
    overwritten.restart = lambda state, done: monkey(state, done)
    assert overwritten.identity() is None
    env.engine.poses = env.engine.poses
    assert env.identity() is None
    assert mw.jit(Agent(2.0).act)(jnp.ones(2)).tolist() == [2.0, 2.0]
    assert mw.jit(Agent(5.0).act)(jnp.ones(2)).tolist() == [5.0, 5.0]
    keys = jax.random.key(0)
    plain = mw.jit(mw.VectorEnv(mw.make("reach-v3"), 2).reset)(keys)
    shifted = mw.jit(Shifted(mw.make("reach-v3"), 2).reset)(keys)
    np.testing.assert_allclose(shifted.obs, plain.obs + 1.0)
    assert tracing == ["reset"]


def test_the_digest_of_code_follows_what_is_replaced(monkeypatch):
    before = code.digest_of_code()
    assert code.digest_of_code() == before
    norm = rewards.norm
    monkeypatch.setattr(rewards, "norm", lambda x: norm(x))
    assert code.digest_of_code() != before
    monkeypatch.undo()
    assert code.digest_of_code() == before
    monkeypatch.setattr(mw.env.MetaWorldEnv, "rows", lambda self, task: None)
    assert code.digest_of_code() != before
    monkeypatch.undo()
    monkeypatch.setattr(signals, "observe", lambda *args: None)
    assert code.digest_of_code() != before


PUSH = 0.1


def pushed(x):
    return np.linalg.norm(x) + PUSH


@pytest.mark.parametrize("push", [0.2, np.full(2, 0.1), jnp.full(2, 0.1), jax.random.key(1)])
def test_the_digest_of_code_follows_what_a_replacement_looks_up(monkeypatch, push):
    monkeypatch.setattr(rewards, "norm", pushed)
    before = code.digest_of_code()
    monkeypatch.setitem(globals(), "PUSH", push)
    digests = []
    jax.jit(lambda x: digests.append(code.digest_of_code()))(0)  # it is asked for while something is traced
    assert digests == [code.digest_of_code()] != [before]
    monkeypatch.setitem(globals(), "PUSH", 0.1)
    assert code.digest_of_code() == before
