"""Policies, tasks and terms of one's own that fail: one line with their place, before anything is compiled."""

from __future__ import annotations

import json
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld.cli.faults import blamed
from mjx_metaworld.cli.main import main
from mjx_metaworld.cli.run import load_policy
from mjx_metaworld.inputs.faults import place_of

pytestmark = pytest.mark.usefixtures("kinematic")

POLICIES = """
import jax.numpy as jnp
import numpy as np


def unmade(env):
    raise KeyError("weights.npz")


def raising(env):
    def policy(obs, task):
        return jnp.tanh(obs @ jnp.zeros((7, 4)))
    return policy


def wide(env):
    return lambda obs, task: jnp.zeros(5)


def whole(env):
    return lambda obs, task: jnp.zeros(4, int)


def pair(env):
    return lambda obs, task: (jnp.zeros(4), None)


def hosted(env):
    return lambda obs, task: np.asarray(obs)[:4]


def nothing(env):
    pass


def good(env):
    return lambda obs, task: obs[:4]
"""

TASKS = """
import jax.numpy as jnp
from mjx_metaworld.tasks import rewards, task


def place(rand_vec, settled):
    return {}["start"]


@task("unplaced", like="reach-v3", place=place)
@task("misshapen", like="reach-v3")
def misshapen(s):
    return jnp.ones(3) + jnp.ones(4)


@task("missing", like="reach-v3")
def missing(s):
    return rewards.tolerance(s.nowhere, (0.0, 0.1), 0.1)


@task("refusing", like="reach-v3")
def refusing(s):
    raise ValueError(f"of shape {s.goal.shape}")


@task("bare", like="reach-v3")
def bare(s):
    return 1.0


def term(key, drawn, nominal):
    return drawn + 1
"""


@pytest.fixture
def write_module(tmp_path, monkeypatch):
    """Write a module into a folder that becomes the current one; forgotten afterwards."""
    written = []

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)
        written.append(name)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield write
    for name in written:
        sys.modules.pop(name, None)


@pytest.fixture
def policies(write_module):
    write_module("their_policies", POLICIES)


@pytest.mark.parametrize(
    ("function", "message", "line"),
    [
        ("unmade", "KeyError: 'weights.npz'", 7),
        ("raising", "dot_general", 12),
        ("wide", "returns float32 of shape (5,), expected floats of shape (4,)", 17),
        ("whole", "returns int32 of shape (4,), expected floats", 21),
        ("pair", "returns a tuple, expected an array", 25),
        ("hosted", "TracerArrayConversionError: ", 29),
    ],
)
def test_a_policys_fault_has_its_place(policies, capsys, function, message, line):
    with pytest.raises(SystemExit) as ended:
        main(["rollout", "reach-v3", "--num-envs", "1", "--policy", f"their_policies:{function}"])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.count("\n") == 1
    assert said.startswith(f"mjx-metaworld: error: policy 'their_policies:{function}'")
    assert message in said
    assert said.endswith(f"their_policies.py, line {line})\n")
    assert len(said) < 700


@pytest.mark.parametrize(("command", "module"), [("rollout", "rollout"), ("eval", "evaluate"), ("render", "acting")])
def test_a_policys_name_is_read_before_the_tasks_are_loaded(monkeypatch, capsys, command, module):
    def build(*args, **kwargs):
        pytest.fail("the tasks were loaded")

    monkeypatch.setattr(f"mjx_metaworld.cli.{module}.build", build)
    with pytest.raises(SystemExit, match="2"):
        main([command, "reach-v3", "--policy", "expret"])
    assert "unknown policy 'expret'; expected expert, random, or" in capsys.readouterr().err


def test_what_is_no_policy_is_told(policies):
    env = mw.make("reach-v3")
    for name, message in (
        ("their_policies:nothing", "makes a NoneType, expected a function"),
        ("their_policies:missing", "cannot load policy 'their_policies:missing': .*no attribute 'missing'"),
        ("no_such_module:load", "No module named 'no_such_module'"),
    ):
        with pytest.raises(ValueError, match=message):
            load_policy(env, name)
    obs = np.arange(39, dtype=np.float32)
    acted = load_policy(env, "their_policies:good")(obs, np.int32(0), jax.random.key(0))
    np.testing.assert_array_equal(acted, obs[:4])


@pytest.fixture
def tasks(write_module, scratch_registry):
    write_module("their_tasks", TASKS)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("misshapen", "TypeError: add got incompatible shapes .*{file}, line 13)"),
        ("missing", "AttributeError: 'RewardInputs' object has no attribute 'nowhere'{file}, line 18)"),
        ("refusing", "of shape .3,.{file}, line 23)"),
        ("bare", "the reward of task 'bare' must return a RewardOutput, got float"),
        ("unplaced", "the task .*: KeyError: 'start'{file}, line 7)"),
    ],
)
def test_a_tasks_fault_has_its_place(tasks, capsys, name, message):
    with pytest.raises(SystemExit) as ended:
        main(["rollout", name, "--num-envs", "1", "--policy", "random", "--import", "their_tasks.py"])
    assert ended.value.code == 2
    expected = f"mjx-metaworld: error: {message}\n".replace("{file}", r" \(.*their_tasks.py").replace(")\n", r"\)\n")
    assert re.fullmatch(expected, capsys.readouterr().err)


def test_a_terms_fault_has_its_place_and_the_whole_traceback_can_be_had(tasks, capsys, monkeypatch):
    line = ["train", "reach-v3", "--import", "their_tasks.py", "--randomise", "their_tasks:term", "--output", "run"]
    with pytest.raises(SystemExit):
        main(line)
    said = capsys.readouterr().err
    assert said.startswith("mjx-metaworld: error: TypeError: unsupported operand")
    assert said.endswith("their_tasks.py, line 32)\n")
    monkeypatch.setenv("JAX_TRACEBACK_FILTERING", "off")
    with pytest.raises(TypeError, match="unsupported operand"):
        main(line)


def test_a_fault_of_this_package_is_not_hidden(monkeypatch):
    def fails(argv):
        return {}["nothing"]

    monkeypatch.setattr("mjx_metaworld.cli.main.import_tasks", fails)
    monkeypatch.setattr("mjx_metaworld.cli.main.place_of", lambda *_: "")  # this file is a user's
    with pytest.raises(KeyError):
        main(["tasks"])


def test_code_that_is_a_users(tmp_path):
    assert not place_of(fault("json.loads('{')"))
    assert place_of(fault("x = 1\njson.loads('{')", "/home/me/own.py")) == " (/home/me/own.py, line 2)"
    installed = "/venv/lib/python3/site-packages/own/tasks.py"
    assert not place_of(fault("json.loads('{')", installed))
    assert place_of(fault("json.loads('{')", installed), {"own"}) == f" ({installed}, line 1)"


def fault(code: str, file: str = "<string>") -> Exception:
    with pytest.raises(ValueError, match="Expecting") as caught:
        exec(compile(code, file, "exec"), {"json": json, "__name__": "own.tasks"})
    return caught.value.with_traceback(caught.tb.tb_next)  # without this file


def test_what_fails_later_is_told_too():
    def fails(obs):
        raise RuntimeError("no more\nof this")

    with pytest.raises(ValueError, match=r"the policy: RuntimeError: no more\nof this \(.*test_faults.py, line \d+\)"):
        blamed(lambda: jax.jit(fails)(jnp.ones(3)), "the policy")
