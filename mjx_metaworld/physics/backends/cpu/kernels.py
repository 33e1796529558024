"""All kernels for a CPU, which are used together or not at all."""

from __future__ import annotations

import functools
from concurrent.futures import Future, ThreadPoolExecutor, wait

from mjx_metaworld.physics.backends.cpu import collision, constraints, dynamics, integrate, newton

# Those that take longest to compile first.
KERNELS = (
    collision.NARROWPHASE,
    newton.KERNEL,
    collision.BROADPHASE,
    constraints.KERNEL,
    dynamics.KERNEL,
    integrate.KERNEL,
)


@functools.cache
def compile_ahead() -> list[Future[str]]:
    """Begin to compile what is not kept, side by side, while the caller does something else."""
    threads = ThreadPoolExecutor(len(KERNELS))
    begun = [threads.submit(kernel.hindrance) for kernel in KERNELS]
    threads.shutdown(wait=False)
    return begun


def hindrance() -> str:
    """Reason why not all kernels can run here, empty if there is none."""
    wait(compile_ahead())  # of which each kernel knows the outcome by now
    return next(filter(None, (kernel.hindrance() for kernel in KERNELS)), "")
