#!/usr/bin/env bash
# gymnax 1.0.1: GymnaxToBraxWrapper tells brax that every array has length 1.
#
# `observation_size` and `action_size` count the leaves of a sample's tree instead of its entries, so that they are 1 for
# any array: Pendulum's observation has 3 entries. They are methods, too, where brax declares properties, so that brax's
# agents get a bound method as a size.
#
# Passes while gymnax behaves so; fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check gymnax==1.0.1 six brax==0.14.2 jax==0.10.2 jaxlib==0.10.2
JAX_PLATFORMS=cpu "$folder/env/bin/python" - <<'PYTHON'
import gymnax
from gymnax.wrappers.brax import GymnaxToBraxWrapper

env, params = gymnax.make("Pendulum-v1")
wrapped = GymnaxToBraxWrapper(env)
print("observation:", env.observation_space(params).shape, "; size for brax:", wrapped.observation_size())
assert env.observation_space(params).shape == (3,)
assert wrapped.observation_size() == 1, "mended, or changed"
assert callable(wrapped.action_size), "a property now"
PYTHON
