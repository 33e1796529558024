#!/usr/bin/env bash
# rejax 0.1.3 with gymnax 1.0.1, which its own requirement (gymnax>=0.0.9) installs: none of gymnax's environments trains.
#
# From version 1 on gymnax's `step` returns six values (terminated and truncated apart). rejax unpacks five in its
# training loops and in its evaluation. gymnax's `LegacyStepAPIWrapper`, which exists for this, does not help: rejax
# copies its configuration deeply, and the wrapper hands every missing attribute on to `self._env`, that one included,
# which a copy does not have yet.
#
# Seen: ValueError: too many values to unpack (expected 5); within LegacyStepAPIWrapper RecursionError.
# Passes while rejax behaves so; fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check rejax==0.1.3 gymnax==1.0.1 jax==0.10.2 jaxlib==0.10.2
JAX_PLATFORMS=cpu "$folder/env/bin/python" - <<'PYTHON'
import gymnax
import jax
import rejax
from gymnax.wrappers.compat import LegacyStepAPIWrapper

few = {"total_timesteps": 128, "eval_freq": 128, "num_envs": 4, "num_steps": 32, "num_minibatches": 4}
try:
    jax.eval_shape(rejax.PPO.create(env="CartPole-v1", **few).train, jax.random.key(0))
except ValueError as error:
    print("CartPole-v1: ValueError:", error)
else:
    raise SystemExit("CartPole-v1 trains now")
env, params = gymnax.make("CartPole-v1")
try:
    rejax.PPO.create(env=LegacyStepAPIWrapper(env), env_params=params, **few)
except RecursionError as error:
    print("within LegacyStepAPIWrapper: RecursionError:", error)
else:
    raise SystemExit("the wrapper can be copied now")
PYTHON
