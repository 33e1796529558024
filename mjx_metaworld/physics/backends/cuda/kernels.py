"""CUDA C kernels as JAX operations, for loops of which XLA would make hundreds of kernels.

XLA takes PTX as a custom call of its own, so nothing has to be built or registered; NVRTC, which JAX's plugin for CUDA
brings along, makes it from the source. Pallas was tried first (benchmarks/LOG.md, section 24): the passes of its Triton
backend take minutes over kernels of thousands of operations.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir
from jaxlib.mlir import ir

from mjx_metaworld.physics.backends.cuda import nvrtc

Array = jax.Array
_INCLUDE = re.compile(r'(?m)^#include "(.+)"')  # of files beside a source
Result = TypeVar("Result")


class Kernel(NamedTuple):
    """A CUDA kernel that works on each environment by itself."""

    source: Path  # CUDA C, whose function has the file's name
    lanes: int  # environments in a block
    threads: int  # in a block
    macros: tuple[tuple[str, str], ...]  # what the source wants to know, besides the number LANES of environments
    grid_y: int = 1  # blocks for the same environments, along the grid's second axis

    def ptx(self, lanes: int) -> str:
        """Compile the kernel for `lanes` environments.

        Raises:
            CompileError: see `nvrtc.compile_ptx`.
        """
        source = self.source.read_text()
        headers = tuple((name, self.source.with_name(name).read_text()) for name in _INCLUDE.findall(source))
        return nvrtc.compile_ptx(source, self.all_macros(lanes), headers)

    def all_macros(self, lanes: int) -> tuple[tuple[str, str], ...]:
        """Macros with which the source is compiled for `lanes` environments."""
        return (*self.macros, ("LANES", str(lanes)))


def where_cuda(wanted: bool, like: Array, kernel: Callable[[], Result], otherwise: Callable[[], Result]) -> Result:
    """`kernel()` if `wanted` and lowered for CUDA, in float32; else `otherwise()`.

    Both ways close over what they work on, in which some numbers must stay constants.
    """
    if wanted and like.dtype == jnp.float32:
        return jax.lax.platform_dependent(cuda=kernel, default=otherwise)
    return otherwise()


@functools.cache
def hindrance() -> str:
    """Reason why kernels cannot run here, empty if there is none.

    Where there is a GPU, a kernel is compiled and run: XLA's custom call for PTX is no public interface, and a version
    of JAX or a driver that does not take it is to cost speed alone.
    """
    if not nvrtc.is_there():
        return nvrtc.MISSING
    gpus = local_gpus()
    old = [x.device_kind for x in gpus if int(x.compute_capability.replace(".", "")) < nvrtc.ARCHITECTURE]
    if old:
        return f"{old[0]} is older than compute capability {nvrtc.ARCHITECTURE / 10}"
    try:
        for gpu in gpus:
            _probe(gpu)
    except Exception as error:  # of whatever kind the plugin, the driver or NVRTC may raise
        return f"a first kernel failed on {gpu.device_kind} with jaxlib {version('jaxlib')}: {error}"
    return ""


def local_gpus() -> list[Any]:
    """This process's devices of CUDA."""
    try:
        return jax.local_devices(backend="cuda")
    except RuntimeError:  # none: programs may be compiled for one that is elsewhere
        return []


def probe_kernel(threads: int = 32) -> Kernel:
    """Kernel that adds one to each environment's number."""
    macros = nvrtc.defines({"THREADS": threads})
    return Kernel(Path(__file__).with_name("probe.cu"), lanes=threads, threads=threads, macros=macros)


def _probe(device: Any) -> None:
    """Run a kernel of which the result is known.

    Raises:
        RuntimeError: if the result is wrong, besides all that a plugin and a driver raise.
    """
    x = np.arange(50, dtype=np.float32)
    with jax.ensure_compile_time_eval(), jax.default_device(device):
        (found,) = jax.jit(lambda x: call(probe_kernel(), [jax.ShapeDtypeStruct((), x.dtype)], [x]))(x)
    if not np.array_equal(found, x + 1):
        raise RuntimeError(f"it made {np.asarray(found)} of {x}")


def call(
    kernel: Kernel,
    results: Sequence[jax.ShapeDtypeStruct],
    operands: Sequence[Array],
    tables: Sequence[Array] = (),
) -> list[Array]:
    """Run a kernel; can be lowered for CUDA alone, and has no derivative.

    Args:
        kernel: takes pointers to the operands, the tables and the results, each C-contiguous.
        results: shapes and types, without the axis of lanes.
        operands: (..., L).
        tables: arrays that all environments share.
    """
    shapes = tuple((x.shape, np.dtype(x.dtype)) for x in results)
    return _call_p.bind(*operands, *tables, kernel=kernel, results=shapes, tables=len(tables))


_call_p = Primitive("cuda_call")
_call_p.multiple_results = True


@_call_p.def_abstract_eval
def _abstract_eval(*avals, kernel, results, tables):
    return [jax.core.ShapedArray((*shape, avals[0].shape[-1]), dtype) for shape, dtype in results]


def _batching_rule(arrays, dims, *, kernel, results, tables):
    """Fold the mapped axis into the lanes, whose results do not depend on each other."""
    own, shared = arrays[: len(arrays) - tables], arrays[len(arrays) - tables :]
    if any(dim is not None for dim in dims[len(own) :]):
        raise ValueError("tables must be the same for all environments")
    size = next(x.shape[dim] for x, dim in zip(own, dims, strict=False) if dim is not None)
    own = [batching.bdim_at_front(x, dim, size) for x, dim in zip(own, dims, strict=False)]
    lanes = own[0].shape[-1]

    def join(x: Array) -> Array:
        return jnp.moveaxis(x, 0, -2).reshape(*x.shape[1:-1], size * lanes)

    def part(x: Array) -> Array:
        return jnp.moveaxis(x.reshape(*x.shape[:-1], size, lanes), -2, 0)

    found = _call_p.bind(*map(join, own), *shared, kernel=kernel, results=results, tables=tables)
    return [part(x) for x in found], [0] * len(found)


batching.primitive_batchers[_call_p] = _batching_rule


def _lowering(ctx, *operands, kernel: Kernel, results, tables):
    lanes = ctx.avals_in[0].shape[-1]
    numbers = {
        "grid_x": -(-lanes // kernel.lanes),
        "grid_y": kernel.grid_y,
        "grid_z": 1,
        "block_x": kernel.threads,
        "block_y": 1,
        "block_z": 1,
        "shared_mem_bytes": 0,  # beyond what the source declares
    }
    written = range(len(operands), len(operands) + len(results))
    lower = jax.ffi.ffi_lowering(
        "__gpu$xla.gpu.ptx",
        backend_config={
            "name": ir.StringAttr.get(kernel.source.stem),
            "kernel_type": ir.StringAttr.get("ptx"),
            "kernel_data": ir.StringAttr.get(kernel.ptx(lanes)),
            "output_indices": ir.ArrayAttr.get([mlir.ir_attribute(np.int32(i)) for i in written]),
            **{name: mlir.ir_attribute(np.int32(number)) for name, number in numbers.items()},
        },
    )
    return lower(ctx, *operands)


mlir.register_lowering(_call_p, _lowering, platform="cuda")
