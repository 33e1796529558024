"""`jax.jit` with the compiler options that suit the physics."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax.core import Tracer
from jax.errors import JaxRuntimeError
from jax.extend.core import get_opaque_trace_state

from mjx_metaworld.processes.exports import KeptFunction
from mjx_metaworld.processes.forks import check_threads
from mjx_metaworld.processes.programs import keep_program, keeping_programs

# XLA's newer code generator makes a module of its own of each of a step's two thousand fusions. Without it a step
# compiles in half the time and half the memory and runs as fast (benchmarks/LOG.md, section 11). Nor are its small
# operations divided among threads, which takes longer than it saves (section 13). LLVM's third level takes a third more
# time than its second and makes nothing faster (section 17). jaxlib 0.12 no longer has the first.
_CPU_OPTIONS: dict[str, bool | int | str] = {
    "xla_cpu_use_fusion_emitters": False,
    "xla_disable_hlo_passes": "cpu-parallel-task-assigner",
    "xla_backend_optimization_level": 2,
}


def jit(fn: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a function as `jax.jit(fn, **options)` does; on CPU a step compiles in half the time and memory.

    On CPU the compiled program runs on one core: to use more, divide the environments among as many devices
    (`VectorEnv(..., devices=...)`), which is faster than dividing each of the small operations.

    What it compiles is kept for the next process, in this package's cache (`processes.cache`).

    It only differs by that and by compiler options, which JAX takes from the outermost `jit` alone. Called inside
    another transformation (`jit`, `scan`, `grad`, `vmap`, `shard_map`, `checkify`) it is `jax.jit`, and the outermost
    decides.
    Where another library does the compiling, the environment variable `XLA_FLAGS` does the same for the whole process,
    with the value that docs/guides/performance.md gives.

    Args:
        fn: as for `jax.jit`; without it the result is a decorator with these options.
        options: as for `jax.jit`; `compiler_options` given here take precedence.

    Raises:
        ForkError: here or when called, in a process that was forked after JAX had begun to work.
    """
    check_threads("mw.jit")
    if fn is None:
        return functools.partial(jit, **options)
    own = options.pop("compiler_options", {})
    chosen = compiler_options(jax.default_backend()) | own
    plain = jax.jit(fn, **options)
    outermost = jax.jit(KeptFunction(fn), compiler_options=chosen or None, **options)

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        check_threads("a function that mw.jit has compiled")
        if _is_traced(args, kwargs):
            return plain(*args, **kwargs)
        with keeping_programs():
            return outermost(*args, **kwargs)

    for name in ("trace", "eval_shape", "clear_cache", "_cache_size"):
        setattr(call, name, getattr(outermost, name))
    call.lower = lambda *args, **kwargs: _Lowered(outermost, args, kwargs)  # type: ignore[attr-defined]
    return call


class _Lowered:
    """`jax.stages.Lowered`, whose program is kept when it compiles."""

    def __init__(self, outermost: Any, args: Any, kwargs: Any) -> None:
        self._lowered = outermost.lower(*args, **kwargs)

    def compile(self, compiler_options: Mapping[str, Any] | None = None) -> Any:
        """Compile the program, or read it where it is kept."""
        with keeping_programs():
            keep_program(lowered=True)
            return self._lowered.compile(compiler_options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lowered, name)


def _is_traced(*trees: Any) -> bool:
    """True if a call stands inside a transformation, by its arguments or by where it is made."""
    with jax.ensure_compile_time_eval():
        outside = get_opaque_trace_state()
    return get_opaque_trace_state() != outside or any(isinstance(x, Tracer) for x in jax.tree.leaves(trees))


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
