#!/usr/bin/env bash
# brax 0.14.2 (jax 0.10.2): typed keys through its training wrappers.
#
# EpisodeWrapper.reset takes the shape of the batch from `rng.shape[:-1]`. That is right for raw keys, (n, 2), but an
# array of typed keys from `jax.random.split(jax.random.key(0), n)`, the form that JAX recommends, has shape (n,). So the
# counter of steps of n environments is a scalar. `reset` succeeds, and the first `step` ends in an error of `vmap`
# about ranks, which names neither keys nor the wrapper.
#
# Seen: raw keys: steps (4,); typed keys: steps (), then "ValueError: vmap was requested to map its argument ...".
# Passes while brax behaves so; fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check brax==0.14.2 jax==0.10.2 jaxlib==0.10.2
JAX_PLATFORMS=cpu "$folder/env/bin/python" - <<'PYTHON'
import jax
import jax.numpy as jnp
from brax import envs
from brax.envs.wrappers import training

env = training.wrap(envs.get_environment("fast"), episode_length=10)
raw = env.reset(jax.random.split(jax.random.PRNGKey(0), 4))
typed = env.reset(jax.random.split(jax.random.key(0), 4))
print("raw keys: steps", raw.info["steps"].shape)
print("typed keys: steps", typed.info["steps"].shape)
assert raw.info["steps"].shape == (4,), "raw keys: changed"
assert typed.info["steps"].shape == (), "typed keys: mended, or changed"
env.step(raw, jnp.zeros((4, env.action_size)))
try:
    env.step(typed, jnp.zeros((4, env.action_size)))
except ValueError as error:
    print("typed keys, step: ValueError:", str(error).split(",")[0])
else:
    raise SystemExit("typed keys: a step works now")
PYTHON
