"""Backends: the execution that suits a kind of device, with kernels of our own where these run; chosen in `make`."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Literal

import jax

from mjx_metaworld.physics.backends.cpu import kernels as cpu
from mjx_metaworld.physics.backends.cuda import kernels as cuda
from mjx_metaworld.physics.config import CONTACTS_PER_GROUP, Execution

Backend = Literal["auto", "cpu", "cpu-xla", "accelerator", "cuda"]

# On a CPU, where loops may end when nobody at hand needs more, environments run in tiles that fill one or two vector
# registers (measured against 8, 32 and 64) and blocks of alike costs (against 64 and 256, benchmarks/LOG.md, section
# 13).
CPU_XLA = Execution(tile=16, block=128, contact_group=CONTACTS_PER_GROUP, early_exit=True)
# With every stage in C++ where there is a compiler (sections 33 and 35).
CPU = dataclasses.replace(CPU_XLA, cpu_kernels=True)
# On a GPU or TPU all run side by side, and the solver gathers the few that need more than one step (section 23).
ACCELERATOR = Execution(compaction=4)
# Kernels of our own are for NVIDIA's GPUs; on other devices they change nothing (section 24).
CUDA = dataclasses.replace(ACCELERATOR, kernels=True)

_EXECUTIONS = {"cpu": CPU, "cpu-xla": CPU_XLA, "accelerator": ACCELERATOR, "cuda": CUDA}


def execution_of(backend: Backend | Execution) -> Execution:
    """Resolve a backend; "auto" is that of the device which JAX uses by default.

    Kernels of our own are left out where they cannot run, with a warning where there is a GPU that would have run them.

    Raises:
        ValueError: for an unknown backend; it names those that there are.
    """
    execution = chosen_execution(backend)
    if execution.cpu_kernels and cpu.hindrance():
        execution = dataclasses.replace(execution, cpu_kernels=False)
    if not execution.kernels or not (hindrance := cuda.hindrance()):
        return execution
    if cuda.local_gpus():
        warnings.warn(
            f"CUDA kernels of the physics are left out, so that steps take longer: {hindrance}",
            RuntimeWarning,
            stacklevel=2,
        )
    return dataclasses.replace(execution, kernels=False)


def chosen_execution(backend: Backend | Execution) -> Execution:
    """Resolve a backend as `execution_of` does, but for kernels that cannot run; these begin to be compiled.

    Raises:
        ValueError: for an unknown backend; it names those that there are.
    """
    if isinstance(backend, Execution):
        execution = backend
    elif backend == "auto":
        execution = {"cpu": CPU, "gpu": CUDA}.get(jax.default_backend(), ACCELERATOR)
    elif backend in _EXECUTIONS:
        execution = _EXECUTIONS[backend]
    else:
        allowed = ", ".join(("auto", *_EXECUTIONS))
        raise ValueError(f"unknown backend {backend!r}; available: {allowed}, or an Execution")
    if execution.cpu_kernels:
        cpu.compile_ahead()
    return execution
