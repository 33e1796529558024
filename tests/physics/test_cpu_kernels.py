"""The kernels for CPUs as a whole: a fault in one of them must not show only as a slower step."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

import mjx_metaworld as mw
from mjx_metaworld.physics.backends.cpu.kernels import KERNELS, hindrance
from mjx_metaworld.physics.backends.cpu.operation import CPP, kernel_operation, laned
from mjx_metaworld.processes.native import compiler


@pytest.mark.skipif(compiler() is None, reason="there is no compiler of C++")
def test_they_are_used_where_there_is_a_compiler():
    assert hindrance() == ""
    assert mw.make("reach-v3", backend="cpu").engine.config.execution.cpu_kernels


def test_every_source_is_one():
    assert {kernel.source for kernel in KERNELS} == set(CPP.glob("*.cpp"))


def test_operations_run_without_jit():
    """As JAX's switch for debugging asks, under which a compiled call is the function itself."""
    triple = kernel_operation(
        "triple",
        shapes=lambda x: [laned(*x.shape)],
        in_kernel=lambda results, x: [3.0 * x],
        by_xla=lambda x: [3.0 * x],
    )
    with jax.disable_jit():
        (found,) = triple(jnp.ones(4))
    assert found.tolist() == [3.0] * 4


@pytest.mark.full  # single operations, thousands of them
@pytest.mark.parametrize("backend", ["cpu", "accelerator"])
def test_a_step_runs_without_jit(backend):
    env = mw.make("reach-v3", backend=backend)
    state = jax.jit(env.reset)(jax.random.key(0))
    expected = jax.jit(env.step)(state, jnp.full(4, 0.5))
    with jax.disable_jit():
        found = env.step(state, jnp.full(4, 0.5))
    assert jnp.abs(found.obs - expected.obs).max() < 1e-6
