"""Meta-World's robot-manipulation tasks as one batched, jit-compiled JAX program."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mjx_metaworld.processes import forks as _forks  # noqa: F401 - watches forks from the package's first import on

if TYPE_CHECKING:
    from mjx_metaworld import randomise
    from mjx_metaworld.compile import jit
    from mjx_metaworld.env import MetaWorldEnv, make
    from mjx_metaworld.experts import expert
    from mjx_metaworld.physics.config import Execution, PhysicsConfig
    from mjx_metaworld.rendering.camera import Camera, Views, camera
    from mjx_metaworld.rendering.pixels import Pixels
    from mjx_metaworld.rendering.render import list_cameras
    from mjx_metaworld.rendering.to_mujoco import to_mujoco
    from mjx_metaworld.scenes.fit import check_scene
    from mjx_metaworld.suites import goals, list_suites, list_tasks
    from mjx_metaworld.trajectory import Trajectory
    from mjx_metaworld.trials import Trials, begin_trials, end_trials, step_trials
    from mjx_metaworld.types import Metrics, State, Transition
    from mjx_metaworld.vector import VectorEnv, rollout
    from mjx_metaworld.view.recording import record, render
    from mjx_metaworld.view.replay import save_replay

    __version__: str

# Where each public name lives; a module is imported when one of its names is first asked for, so that the command
# line answers before JAX and MuJoCo are loaded.
_HOMES = {
    "Camera": "rendering.camera",
    "Execution": "physics.config",
    "MetaWorldEnv": "env",
    "Metrics": "types",
    "PhysicsConfig": "physics.config",
    "Pixels": "rendering.pixels",
    "State": "types",
    "Trajectory": "trajectory",
    "Transition": "types",
    "Trials": "trials",
    "VectorEnv": "vector",
    "Views": "rendering.camera",
    "begin_trials": "trials",
    "camera": "rendering.camera",
    "check_scene": "scenes.fit",
    "end_trials": "trials",
    "expert": "experts",
    "goals": "suites",
    "jit": "compile",
    "list_cameras": "rendering.render",
    "list_suites": "suites",
    "list_tasks": "suites",
    "make": "env",
    "randomise": "randomise",
    "record": "view.recording",
    "render": "view.recording",
    "rollout": "vector",
    "save_replay": "view.replay",
    "step_trials": "trials",
    "to_mujoco": "rendering.to_mujoco",
}

__all__ = [
    "Camera",
    "Execution",
    "MetaWorldEnv",
    "Metrics",
    "PhysicsConfig",
    "Pixels",
    "State",
    "Trajectory",
    "Transition",
    "Trials",
    "VectorEnv",
    "Views",
    "begin_trials",
    "camera",
    "check_scene",
    "end_trials",
    "expert",
    "goals",
    "jit",
    "list_cameras",
    "list_suites",
    "list_tasks",
    "make",
    "randomise",
    "record",
    "render",
    "rollout",
    "save_replay",
    "step_trials",
    "to_mujoco",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value = importlib.import_module("importlib.metadata").version("mjx-metaworld")
    elif name in _HOMES:
        home = importlib.import_module(f"{__name__}.{_HOMES[name]}")
        value = home if name == _HOMES[name] else getattr(home, name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, so that completion offers these before their modules are loaded, and nothing else."""
    return [*__all__, "__version__"]
