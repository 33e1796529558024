"""The descent of `collision/descent.py` as one CUDA kernel: operands and results of `descent.cu`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.physics.backends.cuda import kernels, nvrtc
from mjx_metaworld.physics.collision.hull_support import CANDIDATES, INDEX_BITS, OFFSET, HullTable

Array = jax.Array

_THREADS = 128
# Distance in m at which a descent stops: no pair that is further apart touches within a control step.
_STOP_DISTANCE = 0.1


def kernel_of(hulls: HullTable, slots: int, steps: int, again: bool, stand_off: float, tiny: float) -> kernels.Kernel:
    """Kernel for `slots` pairs an environment.

    Args:
        hulls: of the meshes.
        slots: number of pairs.
        steps: of the descent.
        again: whether the first step evaluates the direction at hand.
        stand_off: how far outside a query stands, m.
        tiny: below which nothing is divided by.
    """
    macros = nvrtc.defines(
        {
            "SLOTS": slots,
            "STEPS": steps,
            "AGAIN": int(again),
            "CANDIDATES": CANDIDATES,
            "ORIGIN": int(hulls.first_row[-1]),
            "APART": _STOP_DISTANCE,
            "INDEX_BITS": INDEX_BITS,
            "OFFSET": OFFSET,
            "STAND_OFF": stand_off,
            "TINY": tiny,
        }
    )
    return kernels.Kernel(Path(__file__).with_name("descent.cu"), _THREADS, _THREADS, macros, grid_y=slots)


def descend_in_kernel(
    kernel: kernels.Kernel, bodies: Sequence[Array], start: Sequence[Array], hulls: HullTable
) -> list[Array]:
    """Run the kernel: the end of a descent.

    Args:
        kernel: of `kernel_of`.
        bodies: (..., 2 S, L) half, disc, row and resolution of both bodies, (..., S, L) position and matrix.
        start: (..., S, L) normal, depth, corners, weights and nearest point.
        hulls: of the meshes.

    Returns:
        The same as `start`.
    """
    results = [jax.ShapeDtypeStruct(x.shape[:-1], jnp.float32) for x in start]
    return kernels.call(kernel, results, (*bodies, *start), (jnp.asarray(hulls.candidates, np.float32),))
