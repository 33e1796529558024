"""Forked processes: what needs JAX's threads is refused at once, all else works, and all does before JAX has begun."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support.children import environment
from support.engines import KINEMATIC_PRELUDE

pytestmark = [pytest.mark.ci, pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")]

# Runs calls in forks of this process; each has to come to its end soon.
IN_FORKS = """
import os, signal, sys, time, warnings
warnings.simplefilter("ignore")  # JAX's own, of the fork

def fork(name, call):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            print(name, type(call()).__name__, flush=True)
        except Exception as error:
            print(name, type(error).__name__, error, flush=True)
        os._exit(0)
    end = time.monotonic() + 60
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            print(name, "HANGS", flush=True)
            return
        time.sleep(0.01)
"""


def lines_of(script: str) -> dict[str, str]:
    """Outcomes by the names of the calls that a script makes in forks."""
    command = [sys.executable, "-c", script]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return dict(line.split(" ", 1) for line in ended.stdout.splitlines())


def test_a_fork_after_jax_has_begun_is_refused_or_works():
    script = f"""
{IN_FORKS}
import jax
import flax.struct, gymnasium, metaworld  # what the package imports, once for all forks

def make():
    import mjx_metaworld as mw
    return mw.make("reach-v3")

def begin():
    import mjx_metaworld as mw
    make()
    return mw.jit(lambda x: x + 1)(jax.numpy.ones(3))

fork("early", begin)  # a process of its own, which starts JAX's backend itself
jax.numpy.ones(3).block_until_ready()
fork("later", make)  # JAX in the parent is noticed though the package is not there yet
{KINEMATIC_PRELUDE}
from support.economy import economize
import mjx_metaworld as mw
import numpy as np
from mjx_metaworld.adapters.gymnasium import MetaWorldGymEnv

economize()
env = mw.make("reach-v3")
vector, key, action = mw.VectorEnv(env, 2), jax.random.key(1), np.zeros((2, 4), np.float32)
reset = mw.jit(env.reset)
state = jax.block_until_ready(reset(key))
states = jax.tree.map(lambda x: np.stack([x, x]), state.replace(episode=state.episode.replace(next_key=None)))
single = MetaWorldGymEnv("reach-v3", seed=1)
draw = lambda backend: mw.render(env, states, width=32, height=32, backend=backend)
draw("raycast")

fork("make", lambda: mw.make("push-v3"))
fork("reset", lambda: env.reset(key))
fork("reset_to", lambda: env.reset_to(0, np.zeros(6)))
fork("step", lambda: env.step(state, action[0]))
fork("VectorEnv.reset", lambda: vector.reset(key))
fork("VectorEnv.step", lambda: vector.step(states, action))
fork("rollout", lambda: mw.rollout(vector, lambda obs, key: action, key, 2))
fork("jit", lambda: mw.jit(vector.reset))
fork("jitted", lambda: reset(key))
fork("expert", lambda: mw.expert(env)(state.obs, state.task))
fork("gymnasium.reset", lambda: single.reset())
fork("twice", lambda: fork("inner", lambda: env.reset(key)))
fork("render", lambda: mw.render(env, state, width=32, height=32, backend="raycast"))
fork("render-numpy", lambda: draw("raycast"))
fork("to_mujoco", lambda: mw.to_mujoco(env, states, 1))
fork("close", lambda: single.close())

workers = gymnasium.vector.AsyncVectorEnv([lambda: MetaWorldGymEnv("reach-v3", seed=1)] * 2, context="fork")
try:
    workers.reset()
except Exception as error:
    print("workers", type(error).__name__, error)
workers.close(terminate=True)
"""
    outcomes = lines_of(script)
    assert outcomes["later"].startswith("ForkError mw.make cannot run in this process")
    works = {"early": "ArrayImpl", "render": "ndarray", "render-numpy": "ndarray"}
    works |= {"to_mujoco": "tuple", "close": "NoneType", "twice": "NoneType"}
    assert {name: outcomes[name] for name in works} == works
    refused = {name: outcome for name, outcome in outcomes.items() if name not in works}
    for name, outcome in refused.items():
        assert outcome.startswith("ForkError "), (name, outcome)
        assert '"spawn" or "forkserver"' in outcome
        assert "mw.VectorEnv" in outcome
    steps = {"make", "reset", "reset_to", "step", "VectorEnv.reset", "VectorEnv.step", "rollout", "jit", "jitted"}
    assert refused.keys() == steps | {"expert", "gymnasium.reset", "inner", "later", "workers"}


def test_pictures_by_opengl_are_refused_where_the_parent_drew_some(monkeypatch):
    from mjx_metaworld.processes.forks import ForkError
    from mjx_metaworld.rendering import opengl

    monkeypatch.setattr(opengl, "_drawn", {os.getpid() + 1})
    with pytest.raises(ForkError, match=r"'egl' cannot draw .*\"spawn\" or \"forkserver\".*raycast"):
        opengl.Painter("egl", 1)


@pytest.mark.full
@pytest.mark.parametrize("context", ["spawn", "forkserver"])
def test_gymnasium_workers_of_the_methods_that_the_error_names_work(context):
    script = f"""
import gymnasium, numpy as np

def make():
    import mjx_metaworld.adapters.gymnasium  # a worker imports for itself
    return gymnasium.make("mjx-metaworld/reach-v3", seed=1)

if __name__ == "__main__":
    workers = gymnasium.vector.AsyncVectorEnv([make] * 2, context={context!r})
    workers.reset(seed=3)
    print("step", workers.step(np.zeros((2, 4), np.float32))[0].shape)
    workers.close()
"""
    assert lines_of(script)["step"] == "(2, 39)"
