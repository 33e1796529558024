"""Kernels in CUDA C, compiled by the machine's C++ compiler and run without a GPU."""

import ctypes
import functools
import hashlib
import shutil
import subprocess
from pathlib import Path

import numpy as np

_OLDEST = 10  # version of g++ that knows C++20 by this name


def _compiler() -> str:
    """g++, where there is one that knows C++20, else nothing."""
    if not (found := shutil.which("g++")):
        return ""
    version = subprocess.run([found, "-dumpversion"], capture_output=True, text=True, check=True).stdout
    return found if int(version.split(".")[0]) >= _OLDEST else ""


COMPILER = _compiler()
_HARNESS = Path(__file__).with_name("cuda_on_cpu.cc")


@functools.cache
def _compile(source, macros, folder):
    """The library of a kernel with these macros, which a folder keeps."""
    digest = hashlib.sha256(repr((source, macros)).encode()).hexdigest()[:16]
    library = folder / f"{source.stem}-{digest}.so"
    definitions = [f"-D{name}={value}" for name, value in macros]
    names = [f'-DSOURCE="{source}"', f"-DKERNEL={source.stem}"]
    flags = ["-std=c++20", f"-I{source.parent}", "-O1", "-shared", "-fPIC", "-o", str(library)]
    subprocess.run([COMPILER, *flags, *definitions, *names, str(_HARNESS)], check=True)
    return library


def run_on_cpu(kernel, results, operands, tables=(), folder=None):
    """What `cuda.call` returns: arrays of `results` with a last axis of lanes."""
    arrays = [np.ascontiguousarray(x) for x in (*operands, *tables)]
    lanes = arrays[0].shape[-1]
    found = [np.full((*x.shape, lanes), -12345, x.dtype) for x in results]
    library = _compile(kernel.source, tuple(kernel.all_macros(lanes)), Path(folder))
    pointers = (ctypes.c_void_p * (len(arrays) + len(found)))(*(x.ctypes.data for x in (*arrays, *found)))
    ctypes.CDLL(str(library)).run(pointers, -(-lanes // kernel.lanes), kernel.grid_y, kernel.threads)
    return found
