#!/usr/bin/env bash
# jax and jaxlib 0.10.2, XLA's partitioner (Shardy, the default): rows that are drawn from an array which every device
# has whole, and are then asked for in shares, make each device copy its share of the whole array first.
#
# The array has an axis of groups, from each of which a few rows are drawn (a vmap of indexing, as in a replay buffer of
# several tasks). The constraint on the rows goes backwards through the gather to the axis of groups. So a few KB of rows
# cost a copy of half of a buffer on two devices, at every call: where learners divide their samples, in every
# iteration. A second constraint before it, that the rows are whole everywhere, ends that and moves nothing more, since
# each device has all that it needs.
#
# Seen on two CPU devices: a dynamic-slice of f32[4,100003,8] out of f32[8,100003,8] for 64 rows; none with the second
# constraint; the same rows both ways. Passes while that is so; fails when it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check jax==0.10.2 jaxlib==0.10.2
JAX_PLATFORMS=cpu "$folder/env/bin/python" - <<'PYTHON'
import re

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import with_sharding_constraint
from jax.sharding import Mesh, NamedSharding, PartitionSpec

jax.config.update("jax_num_cpu_devices", 2)
GROUPS, SIZE, WIDTH, DRAWN = 8, 100_003, 8, 8
mesh = Mesh(np.asarray(jax.devices()), ("lanes",))
whole, shares = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("lanes"))
buffer = jax.device_put(jnp.arange(GROUPS * SIZE * WIDTH, dtype=jnp.float32).reshape(GROUPS, SIZE, WIDTH), whole)
rows = jax.device_put(np.random.default_rng(0).integers(SIZE, size=(GROUPS, DRAWN), dtype=np.int32), whole)


def program(whole_first):
    def draw(buffer, rows):
        drawn = jax.vmap(lambda group, row: group[row])(buffer, rows).reshape(GROUPS * DRAWN, WIDTH)
        if whole_first:
            drawn = with_sharding_constraint(drawn, whole)
        return with_sharding_constraint(drawn, shares)

    compiled = jax.jit(draw).lower(buffer, rows).compile()
    cuts = sorted(set(re.findall(rf"f32\[\d+,{SIZE},{WIDTH}\]\S* dynamic-slice", compiled.as_text())))
    return cuts, np.asarray(compiled(buffer, rows))


(cuts, drawn), (none, same) = program(False), program(True)
print("copied for 64 rows:", [cut.split("{")[0] for cut in cuts], "and with a constraint before it:", none)
np.testing.assert_array_equal(drawn, same)
assert cuts and not none, "mended, or changed"
PYTHON
