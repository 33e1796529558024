"""Savings of a test run: LLVM's optimization of programs that hardly run, scenes that MuJoCo has compiled before.

And contexts of MLIR, of which JAX makes one for every program that it lowers, also for single operations.

Traced functions are not kept: tests look at what is traced. Compiled programs are, for the next run too, in a folder of
the tests' own (`conftest.py`).

`conftest.py` tells by the environment how to save, and where, so that processes which tests start save alike: bits are
compared across them.
"""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path
from typing import Any

import metaworld
import mujoco
from jax._src.interpreters import mlir

from mjx_metaworld import compile
from mjx_metaworld.processes import exports

FOLDER, QUICK = "MJX_METAWORLD_TESTS_FOLDER", "MJX_METAWORLD_TESTS_QUICK"  # environment variables
_ASSETS = Path(metaworld.__file__).resolve().parent / "assets"
_LOWERED_IN_A_CONTEXT = 500  # programs, whose constants it keeps


def economize(*, exporting: bool = False) -> None:
    """Save in this process as the environment says, and on the search for cycles, as `conftest.py` does.

    Args:
        exporting: whether traced functions are kept all the same.
    """
    gc.set_threshold(100_000, 20, 100)
    if not exporting:
        exports.can_export = lambda: False
    _share_contexts()
    if os.environ.get(QUICK):
        compile._CPU_OPTIONS["xla_backend_optimization_level"] = 0
    if os.environ.get(FOLDER):
        _keep_compiled_scenes(Path(os.environ[FOLDER]))


def _share_contexts() -> None:
    """From now on hundreds of programs are lowered in one context of MLIR, each thread's its own.

    A context takes 5 ms to make and to give up, a single operation 1 ms to lower; thousands of them are lowered.
    """
    make, of_thread = getattr(mlir, "make_ir_context", None), threading.local()
    if make is None:  # a JAX to come, whose tests take longer
        return

    def make_ir_context() -> Any:
        count = getattr(of_thread, "count", 0)
        if count % _LOWERED_IN_A_CONTEXT == 0:
            of_thread.context = make()
        of_thread.count = count + 1
        return of_thread.context

    mlir.make_ir_context = make_ir_context


def _keep_compiled_scenes(folder: Path) -> None:
    """From now on `MjModel.from_xml_path` reads a scene of metaworld's again in an eighth of the time.

    Metaworld's own calls of it included. A scene takes some 20 MB of the folder.
    """
    compile_scene = mujoco.MjModel.from_xml_path

    def from_xml_path(path: str, assets: Any = None) -> mujoco.MjModel:
        if assets is not None or not (file := Path(path).resolve()).is_relative_to(_ASSETS):
            return compile_scene(path, assets)
        kept = folder / f"{file.stem}.mjb"
        if kept.exists():
            return mujoco.MjModel.from_binary_path(str(kept))
        model = compile_scene(path)
        partial = kept.with_suffix(f".{os.getpid()}-{threading.get_ident()}")  # threads compile the same scene, too
        mujoco.mj_saveModel(model, str(partial), None)
        partial.rename(kept)  # whole, or not there
        return model

    mujoco.MjModel.from_xml_path = staticmethod(from_xml_path)
