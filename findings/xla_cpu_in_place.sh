#!/usr/bin/env bash
# jaxlib 0.10.2, XLA on a CPU without its newer code generator (xla_cpu_use_fusion_emitters=false): a sum that XLA lets
# overwrite its operand does not vectorize.
#
# XLA gives the result of an element by element fusion its operand's buffer where that is free. LLVM then tests at run
# time whether what is read and what is written overlap, which they do, and takes the loop without vectors. With an axis
# of one more in the result, which is computed alike, no buffer is shared. Which fusions of a large program are hit
# depends on how all its buffers are packed, so that an unrelated change makes it faster or slower.
#
# Seen: a sum of outer products into an (18, 18, 16) array takes 3 to 4 times as long where it overwrites its operand.
# Passes while the ratio is above 1.7; fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check jax==0.10.2 jaxlib==0.10.2
JAX_PLATFORMS=cpu "$folder/env/bin/python" - <<'PYTHON'
import time

import jax
import jax.numpy as jnp
from jax.experimental.xla_metadata import set_xla_metadata

OPTIONS = {"xla_cpu_use_fusion_emitters": False, "xla_disable_hlo_passes": "cpu-parallel-task-assigner"}


@jax.jit
def identity(*arrays):
    return arrays


def kept(*arrays):
    with set_xla_metadata(inlineable="false"):
        return identity(*arrays)


def seconds(widen):
    def step(_, carry):
        total, rows = carry
        (rows,) = kept(rows * 1.0001)
        for i in range(4):
            product = sum(rows[i, j][:, None] * rows[i, j][None] for j in range(4))
            wide = (total + product).reshape(18, 18, *(1,) * widen, 16)
            total = kept(wide)[0].reshape(18, 18, 16)
        return total, rows

    run = jax.jit(lambda *carry: jax.lax.fori_loop(0, 500, step, carry), compiler_options=OPTIONS)
    carry = jnp.zeros((18, 18, 16)), jnp.ones((4, 4, 18, 16))
    jax.block_until_ready(run(*carry))
    times = []
    for _ in range(20):
        begun = time.perf_counter()
        jax.block_until_ready(run(*carry))
        times.append(time.perf_counter() - begun)
    return min(times)


in_place, apart = seconds(0), seconds(1)
print(f"in place {in_place / 2000 * 1e6:.2f} us a sum, with an axis of one more {apart / 2000 * 1e6:.2f} us")
assert in_place > 1.7 * apart, "mended, or changed"
PYTHON
