"""Compiled functions that outlive the environments which use them.

LeRobot builds one vector environment a task and throws all away after every evaluation. They share what is here: one
program for all tasks of a request, kept as long as the process lives.
"""

from __future__ import annotations

import functools
import os
import threading

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mjx_metaworld.compile import jit
from mjx_metaworld.env import MetaWorldEnv, make
from mjx_metaworld.processes.forks import check_threads
from mjx_metaworld.suites import goal_batch, resolve
from mjx_metaworld.tasks import TaskSpec
from mjx_metaworld.types import State
from mjx_metaworld.vector import select_envs

_building = threading.Lock()  # LeRobot may evaluate tasks in threads; one compiles, the others wait


class Simulator:
    """A batch of lanes that all run one task at a time and stand still after their first success.

    Attributes:
        env: the environment of all tasks of the request.
        num_envs: lanes.
    """

    def __init__(self, env: MetaWorldEnv, num_envs: int) -> None:
        self.env = env
        self.num_envs = num_envs
        task = jax.ShapeDtypeStruct((num_envs,), jnp.int32)
        rand_vec = jax.ShapeDtypeStruct((num_envs, env.rand_vec_size), float)
        action = jax.ShapeDtypeStruct((num_envs, env.action_size), jnp.float32)
        reset = jit(jax.vmap(env.reset_to))
        state = jax.eval_shape(reset, task, rand_vec)
        self._reset = reset.lower(task, rand_vec).compile()
        self._step = jit(functools.partial(step_unfinished, env)).lower(state, action).compile()

    def reset(self, task: int, rand_vecs: np.ndarray) -> State:
        """Start an episode in every lane.

        Args:
            task: index into `env.tasks`.
            rand_vecs: `(num_envs, rand)` goals of this task.
        """
        check_threads("the LeRobot environment")
        tasks, padded = goal_batch([rand_vecs], self.env.rand_vec_size, [task])
        return self._reset(jnp.asarray(tasks), jnp.asarray(padded, float))

    def step(self, state: State, actions: np.ndarray) -> State:
        """One control step of the lanes whose episode goes on.

        Args:
            state: from `reset` or `step`.
            actions: `(num_envs, 4)` float32.
        """
        check_threads("the LeRobot environment")
        return self._step(state, jnp.asarray(actions, jnp.float32))


def step_unfinished(env: MetaWorldEnv, state: State, actions: Float[Array, "envs 4"]) -> State:
    """Step the lanes whose episode goes on; the others keep everything but their reward, which is 0."""
    finished = state.terminated | state.truncated
    standing = state.replace(reward=jnp.zeros_like(state.reward))
    return select_envs(finished, standing, jax.vmap(env.step)(state, actions))


def simulator(tasks: tuple[str, ...], num_envs: int, max_episode_steps: int) -> Simulator:
    """The process's simulator for these tasks, batch size and episode length; compiled at the first call."""
    with _building:
        return _build(resolve(tasks), num_envs, max_episode_steps)


@functools.cache
def _build(tasks: tuple[TaskSpec, ...], num_envs: int, max_episode_steps: int) -> Simulator:
    # JAX would take most of a GPU's memory when it first uses it, and PyTorch lives there too.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    return Simulator(make(tasks, max_episode_steps=max_episode_steps, terminate_on_success=True), num_envs)
