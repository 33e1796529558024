"""Batches of thousands come to an end: XLA's CPU backend once deadlocked in a batched Cholesky factorization.

In a process of its own, since a deadlock cannot be interrupted from within. The quick set has the cause alone:
`project/test_portability.py` finds no operation in the step that XLA would hand to LAPACK.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

STEP = """
import sys
import jax, jax.numpy as jnp
import mjx_metaworld as mw

num_steps, num_envs = int(sys.argv[1]), 4096
env = mw.make("MT10")
state = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), num_envs), jnp.arange(num_envs) % 10)
step = jax.jit(jax.vmap(env.step))
for key in jax.random.split(jax.random.key(1), num_steps):
    state = step(state, jax.random.uniform(key, (num_envs, 4), minval=-1.0, maxval=1.0))
    finite = all(bool(jnp.isfinite(leaf).all()) for leaf in (state.obs, state.reward, state.physics.qvel))
    assert finite
"""


pytestmark = pytest.mark.full


# The limits are several times what compiling (a minute) and stepping (thousands of environments a second) take.
@pytest.mark.parametrize(("num_steps", "limit_seconds"), [(5, 400), (1000, 7200)])
def test_thousands_of_environments_do_not_deadlock(num_steps, limit_seconds):
    subprocess.run(
        [sys.executable, "-c", STEP, str(num_steps)], timeout=limit_seconds, check=True, env=dict(os.environ)
    )
