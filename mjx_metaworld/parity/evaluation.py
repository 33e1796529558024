"""A policy on CPU metaworld, by the reference's own evaluation, task by task, also in processes of their own.

All tasks in one vector of environments, as metaworld has it, would cost more: a task whose episodes are counted goes on
until the slowest task's are.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import jax
import metaworld
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from metaworld import env_dict
from metaworld.evaluation import evaluation
from metaworld.sawyer_xyz_env import SawyerXYZEnv

from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.observation import OBSERVATION_SIZE
from mjx_metaworld.parity.episodes import reference_processes
from mjx_metaworld.parity.reference import reference_task
from mjx_metaworld.types import Policy

Observe = Callable[[np.ndarray], Any]  # (1, obs), float64, to what the policy is shown
Act = Callable[[Any, np.ndarray], Any]  # (what it is shown, (1,) task) -> (1, 4)


class Part(NamedTuple):
    """One task of an evaluation: what metaworld's environment is made of."""

    name: str
    index: int  # of the task, among
    num_tasks: int  # of the one-hot vector
    rand_vecs: np.ndarray  # (n, rand) goal vectors, each of one episode
    num_steps: int  # control steps of an episode, at most
    reward_version: str
    goal_observable: bool
    one_hot: bool  # whether observations end in the task's one-hot vector


class Outcome(NamedTuple):
    """Result of a task's evaluation, in which an episode ends at its first success."""

    success: float  # share of the goals
    episode_return: float  # mean, up to the first success


def parts_of(env: MetaWorldEnv, rand_vecs: Sequence[np.ndarray], num_steps: int) -> list[Part]:
    """The parts of an evaluation, one a task.

    Args:
        env: what the policy was made for: tasks, rewards and observations.
        rand_vecs: (n, rand) goal vectors a task.
        num_steps: control steps of an episode, at most.
    """
    return [
        Part(
            spec.name,
            index,
            len(env.tasks),
            vectors[:, : len(spec.rand_low)],
            num_steps,
            env.reward_version,
            env.goal_observable,
            env.one_hot,
        )
        for index, (spec, vectors) in enumerate(zip(env.tasks, rand_vecs, strict=True))
    ]


def reference_vector(parts: Sequence[Part], **options: Any) -> SyncVectorEnv:
    """Metaworld's vector of environments, one a part, which at `sample_tasks` go on to another goal.

    Args:
        parts: what they are made of.
        options: of metaworld's `make_mt_envs` and `make_ml_envs`, such as `recurrent_info_in_obs=True`.
    """
    makers = [
        functools.partial(
            metaworld._init_each_env,
            env_dict.ALL_V3_ENVIRONMENTS[part.name],
            tasks=[
                reference_task(part.name, rand_vec, goal_observable=part.goal_observable) for rand_vec in part.rand_vecs
            ],
            max_episode_steps=part.num_steps,
            env_id=part.index,
            num_tasks=part.num_tasks,
            task_select="pseudorandom",  # each goal once, in an order that is drawn:
            seed=0,  # the same at each call
            reward_function_version=part.reward_version,
            use_one_hot=part.one_hot,
            **options,
        )
        for part in parts
    ]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*precision lowered")  # metaworld's spaces are float64
        return SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)


def evaluate_part(
    part: Part,
    act: Act,
    observe_of: Callable[[SawyerXYZEnv], Observe] | None = None,
    advance: Callable[[], object] = lambda: None,
) -> Outcome:
    """Evaluate a policy on one task with `metaworld.evaluation.evaluation`, each goal once.

    Args:
        part: the task.
        act: the policy, deterministic.
        observe_of: makes of metaworld's environment what turns its observations into what the policy is shown; by
            default it is shown these, as float32.
        advance: called after every control step, for a progress bar.
    """
    envs = reference_vector([part])
    envs.call("toggle_sample_tasks_on_reset", True)
    scene: Any = envs.envs[0].unwrapped
    observe = _plain if observe_of is None else observe_of(scene)
    agent = _Agent(act, observe, np.full(1, part.index, np.int32), advance)
    _, _, success, returns = evaluation(agent, envs, num_episodes=len(part.rand_vecs))
    envs.close()
    return Outcome(success[part.name], float(np.mean(returns[part.name])))


@contextlib.contextmanager
def evaluations(parts: Sequence[Part], policy: Policy, processes: int) -> Iterator[list[Future[Outcome]]]:
    """Start the evaluation of a policy in the background; one future a task, in the given order.

    Args:
        parts: the tasks.
        policy: `(obs (1, obs), task (1,)) -> actions (1, 4)`, which travels as a compiled function's StableHLO.
        processes: how many.
    """
    size = OBSERVATION_SIZE + parts[0].num_tasks * parts[0].one_hot
    shapes = jax.ShapeDtypeStruct((1, size), np.float32), jax.ShapeDtypeStruct((1,), np.int32)
    program = bytes(jax.export.export(jax.jit(policy), platforms=["cpu"])(*shapes).serialize())
    with reference_processes(processes) as pool:
        yield [pool.submit(_evaluate_program, part, program) for part in parts]


def _evaluate_program(part: Part, program: bytes) -> Outcome:
    return evaluate_part(part, loaded(program))


@functools.cache
def loaded(program: bytes) -> Callable[..., Any]:
    """A function from its serialized StableHLO, in a process that runs CPU metaworld and nothing else."""
    jax.config.update("jax_platforms", "cpu")  # a GPU's memory is for the process that waits for this one
    return jax.jit(jax.export.deserialize(bytearray(program)).call)


def _plain(observations: np.ndarray) -> np.ndarray:
    return np.array(observations, np.float32)  # a copy: the environments keep the array


class _Agent:
    """A policy as an agent of metaworld's evaluation."""

    def __init__(self, act: Act, observe: Observe, task: np.ndarray, advance: Callable[[], object]) -> None:
        self._act, self._observe, self._task, self._advance = act, observe, task, advance

    def eval_action(self, observations: np.ndarray) -> np.ndarray:
        self._advance()
        return np.clip(np.asarray(self._act(self._observe(observations), self._task)), -1.0, 1.0)

    def reset(self, env_mask: np.ndarray) -> None:
        """A policy without memory has nothing to forget."""
