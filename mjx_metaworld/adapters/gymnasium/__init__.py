"""Meta-World for gymnasium: `gym.make_vec("mjx-metaworld/MT10", ...)` after importing this module.

Registered are, whether they are declared before or after the import, all suites (multi-task and difficulty suites,
"ML10-train" and so on), all tasks by their names, and what metaworld registers besides: "MT1", "ML1-train", "ML1-test",
"goal_hidden" and "goal_observable", which take `env_name`, "custom-mt-envs" and "custom-ml-envs". The arguments are
those of metaworld's own registrations, so "Meta-World/MT10" becomes "mjx-metaworld/MT10" and nothing else changes. A
task by its name is also a single environment, `gym.make("mjx-metaworld/reach-v3")`.
"""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.envs import registration

from mjx_metaworld.adapters.gymnasium.makers import make_custom_ml, make_custom_mt, make_ml, make_mt
from mjx_metaworld.adapters.gymnasium.single import MetaWorldGymEnv
from mjx_metaworld.adapters.gymnasium.sub_env import SubEnv
from mjx_metaworld.adapters.gymnasium.vector import MetaWorldVectorEnv
from mjx_metaworld.suites import list_suites, list_tasks
from mjx_metaworld.tasks.registry import on_change
from mjx_metaworld.types import EPISODE_STEPS

__all__ = [
    "NAMESPACE",
    "MetaWorldGymEnv",
    "MetaWorldVectorEnv",
    "SubEnv",
    "make_custom_ml",
    "make_custom_mt",
    "make_ml",
    "make_mt",
    "register",
]

NAMESPACE = "mjx-metaworld"
_HERE = "mjx_metaworld.adapters.gymnasium"


def register() -> None:
    """Register all names that there are; importing this module does it, and every later declaration."""
    for task in list_tasks():
        _register_task(task, env_name=task)
    _register_task("MT1")
    for name, goal_observable in (("goal_hidden", False), ("goal_observable", True)):
        _register_task(name, goal_observable=goal_observable, num_goals=1)
    for suite in list_suites():
        name, _, split = suite.rpartition("-")
        if split in ("train", "test"):
            _register_suite(suite, "make_ml", env_name=name, split=split)
        else:
            _register_suite(suite, "make_mt", env_name=suite)
    for split in ("train", "test"):
        _register_suite(f"ML1-{split}", "make_ml", split=split)
    _register_suite("custom-mt-envs", "make_custom_mt")
    _register_suite("custom-ml-envs", "make_custom_ml")


def _register_task(name: str, **kwargs: Any) -> None:
    """A task: a single environment, whose TimeLimit `gymnasium.make` sets, and a batch, which ends by itself."""
    single, batch = f"{_HERE}.single:TimedByGymnasium", f"{_HERE}:make_mt"
    _register(name, single, batch, max_episode_steps=EPISODE_STEPS, kwargs=kwargs)


def _register_suite(name: str, maker: str, **kwargs: Any) -> None:
    _register(name, f"{_HERE}.makers:refuse_single", f"{_HERE}:{maker}", kwargs=kwargs)


def _register(name: str, single: str, batch: str, **spec: Any) -> None:
    if f"{NAMESPACE}/{name}" not in registration.registry:
        gymnasium.register(f"{NAMESPACE}/{name}", entry_point=single, vector_entry_point=batch, **spec)


on_change(register)
