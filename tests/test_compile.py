"""`mw.jit` computes what `jax.jit` does."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld import compile
from mjx_metaworld.physics.engine import Engine
from mjx_metaworld.testing import KinematicEngine


@pytest.fixture(autouse=True)
def forget_options():
    compile.compiler_options.cache_clear()
    yield
    compile.compiler_options.cache_clear()


@pytest.mark.ci
@pytest.mark.parametrize("engine", [KinematicEngine, pytest.param(Engine, marks=pytest.mark.full)])
def test_step_of_the_default_code_generator(engine):
    if "xla_cpu_use_fusion_emitters" not in compile.compiler_options("cpu"):
        pytest.skip("jaxlib 0.12 or later")
    env = mw.make("drawer-close-v3", engine=engine)
    state = mw.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 4))
    action = jax.random.uniform(jax.random.key(1), (4, 4), minval=-1.0, maxval=1.0)
    step = jax.vmap(env.step)
    ours = mw.jit(step)(state, action)
    default = mw.jit(step, compiler_options={"xla_cpu_use_fusion_emitters": True})(state, action)
    # Rounding alone: sums in other orders, in float32, through five substeps.
    np.testing.assert_allclose(ours.obs, default.obs, atol=1e-5)
    np.testing.assert_allclose(ours.reward, default.reward, atol=1e-4)


def test_options_are_passed_on():
    doubled = mw.jit(lambda x, times: x * times, static_argnums=1, donate_argnums=0)
    x = jnp.ones(3)
    assert doubled(x, 2).tolist() == [2.0, 2.0, 2.0]
    assert x.is_deleted()


def test_options_alone_make_a_decorator():
    @mw.jit(static_argnums=1)
    def times(x, number):
        return x * number

    assert times(jnp.ones(2), 3).tolist() == [3.0, 3.0]


def test_an_unknown_option_is_left_out(monkeypatch):
    known = {"xla_disable_hlo_passes": "cpu-parallel-task-assigner"}
    monkeypatch.setattr(compile, "_CPU_OPTIONS", {"xla_cpu_no_such_option": True, **known})
    assert compile.compiler_options("cpu") == known
    assert mw.jit(lambda x: x + 1)(1) == 2


def test_other_backends_have_none():
    assert compile.compiler_options("gpu") == {}
