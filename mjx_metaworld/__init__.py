"""Meta-World's robot-manipulation tasks as one batched, jit-compiled JAX program."""

from mjx_metaworld.env import MetaWorldEnv, make
from mjx_metaworld.experts import expert
from mjx_metaworld.export import to_mujoco
from mjx_metaworld.physics.model import PhysicsConfig
from mjx_metaworld.rendering import render
from mjx_metaworld.suites import goals, list_suites, list_tasks
from mjx_metaworld.types import Metrics, State, Transition
from mjx_metaworld.vector import VectorEnv, rollout

__all__ = [
    "MetaWorldEnv",
    "Metrics",
    "PhysicsConfig",
    "State",
    "Transition",
    "VectorEnv",
    "expert",
    "goals",
    "list_suites",
    "list_tasks",
    "make",
    "render",
    "rollout",
    "to_mujoco",
]
