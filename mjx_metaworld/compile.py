"""`jax.jit` with the compiler options that suit the physics."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.errors import JaxRuntimeError

# XLA's newer code generator makes a module of its own of each of a step's two thousand fusions. Without it a step
# compiles in half the time and half the memory and runs as fast (benchmarks/LOG.md, section 11). Nor are its small
# operations divided among threads, which takes longer than it saves (section 13). LLVM's third level takes a third more
# time than its second and makes nothing faster (section 17). jaxlib 0.12 no longer has the first.
_CPU_OPTIONS: dict[str, bool | int | str] = {
    "xla_cpu_use_fusion_emitters": False,
    "xla_disable_hlo_passes": "cpu-parallel-task-assigner",
    "xla_backend_optimization_level": 2,
}


def jit(fn: Callable[..., Any], **options: Any) -> Any:
    """`jax.jit(fn, **options)`, which on CPU compiles a step in half the time and half the memory.

    On CPU the compiled program runs on one core: to use more, divide the environments among as many devices
    (`VectorEnv(..., devices=...)`), which is faster than dividing each of the small operations.

    It only differs by compiler options, which JAX takes from the outermost `jit` alone: use it there, and `jax.jit`
    for functions that others call from within theirs. Where another library does the compiling, the environment
    variable `XLA_FLAGS` does the same for the whole process, with the value that docs/guides/performance.md gives.

    Args:
        fn: as for `jax.jit`.
        options: as for `jax.jit`; `compiler_options` given here take precedence.
    """
    chosen = compiler_options(jax.default_backend()) | options.pop("compiler_options", {})
    return jax.jit(fn, compiler_options=chosen or None, **options)


@functools.cache
def compiler_options(backend: str) -> dict[str, bool | int | str]:
    """Compiler options of `jit` on a backend, without those that the installed compiler does not know."""
    if backend != "cpu":
        return {}
    return {name: value for name, value in _CPU_OPTIONS.items() if _is_known(name, value)}


def _is_known(name: str, value: bool | int | str) -> bool:
    try:
        jax.jit(lambda x: x, compiler_options={name: value}).lower(0.0).compile()
    except JaxRuntimeError:
        return False
    return True
