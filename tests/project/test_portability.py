"""The batched step lowers for every platform from any machine, and calls no LAPACK routine.

XLA's CPU backend deadlocked in a batched Cholesky factorization, so physics must contain none of the operations that
it hands to LAPACK.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

import mjx_metaworld as mw

pytestmark = pytest.mark.ci

PLATFORMS = ("cpu", "cuda", "tpu")
# How the engine lays a batch out where it finds a CPU (without the kernels, which are of a machine), and where it finds
# an accelerator.
ON_CPU, ON_ACCELERATOR = "cpu-xla", "cuda"

# Off CPU, barriers ask for a layout (`with_layout_constraint`), which JAX does not promise to read in later versions.
LAYOUTS = jax.export.DisabledSafetyCheck.custom_call("LayoutConstraint")


@pytest.mark.parametrize(
    ("tasks", "backend"),
    [
        # The tasks' rewards are sums and comparisons; the long forms lower all of them.
        pytest.param("reach-v3", ON_ACCELERATOR, id="reach-accelerator"),
        pytest.param("MT10", ON_ACCELERATOR, id="MT10-accelerator", marks=pytest.mark.full),
        pytest.param("MT10", ON_CPU, id="MT10-cpu", marks=pytest.mark.full),
        pytest.param("MT50", ON_ACCELERATOR, id="MT50-accelerator", marks=pytest.mark.full),
        pytest.param("MT50", ON_CPU, id="MT50-cpu", marks=pytest.mark.full),
    ],
)
def test_the_step_lowers_for_every_platform(tasks, backend):
    env = mw.make(tasks, backend=backend)
    keys = jax.random.split(jax.random.key(0), 64)
    state = jax.eval_shape(jax.vmap(env.reset), keys)
    step = jax.export.export(jax.jit(jax.vmap(env.step)), platforms=PLATFORMS, disabled_checks=[LAYOUTS])
    exported = step(state, jax.ShapeDtypeStruct((64, 4), jnp.float32))
    assert exported.platforms == PLATFORMS
    module = exported.mlir_module()
    for operation in ("lapack", "cholesky", "triangular_solve", "cusolver"):
        assert operation not in module


def test_the_step_lowers_with_x64_enabled():
    """Where each kind of Python number becomes 64 bits wide, none of the engine's loops may mix the two widths."""
    with jax.enable_x64(True):
        env = mw.make("reach-v3")
        state = jax.eval_shape(jax.vmap(env.reset), jax.random.split(jax.random.key(0), 4))
        lowered = jax.jit(jax.vmap(env.step)).lower(state, jnp.zeros((4, 4)))
    assert lowered.out_info.obs.dtype == jnp.float64
