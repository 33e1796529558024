"""Policies of one's own that fail: one line with their place, before anything is compiled."""

from __future__ import annotations

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld.cli.faults import blamed
from mjx_metaworld.cli.main import main
from mjx_metaworld.cli.run import load_policy

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


@pytest.fixture
def policies(tmp_path, monkeypatch):
    """A module of policies in the current folder, forgotten afterwards."""
    (tmp_path / "their_policies.py").write_text(POLICIES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("their_policies", None)


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


def test_what_fails_later_is_told_too():
    def fails(obs):
        raise RuntimeError("no more\nof this")

    with pytest.raises(ValueError, match=r"the policy: RuntimeError: no more\nof this \(.*test_faults.py, line \d+\)"):
        blamed(lambda: jax.jit(fails)(jnp.ones(3)), "the policy")
