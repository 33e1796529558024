"""All kernels for a CPU, which are used together or not at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from mjx_metaworld.physics.backends.cpu import collision, newton

KERNELS = (collision.NARROWPHASE, collision.BROADPHASE, newton.KERNEL)


def hindrance() -> str:
    """Reason why not all kernels can run here, empty if there is none; those that are not kept compile side by side."""
    with ThreadPoolExecutor(len(KERNELS)) as threads:
        return next(filter(None, threads.map(lambda kernel: kernel.hindrance(), KERNELS)), "")
