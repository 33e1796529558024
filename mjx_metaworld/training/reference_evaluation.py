"""A policy on CPU metaworld, run by the reference's own evaluation on its own vector of environments."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import metaworld
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from metaworld import env_dict
from metaworld.evaluation import evaluation

from mjx_metaworld.compile import jit
from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.parity.reference import reference_task
from mjx_metaworld.rendering.opengl import HEADLESS, Painter, library
from mjx_metaworld.rendering.render import choose_backend
from mjx_metaworld.suites import require_metaworld
from mjx_metaworld.training.view import Sight, View
from mjx_metaworld.types import EPISODE_STEPS, Policy


class ReferenceEvaluation(NamedTuple):
    """Result of metaworld's evaluation, by task: an episode ends at its first success."""

    success: np.ndarray  # (tasks,) share of the goals
    episode_return: np.ndarray  # (tasks,) mean, up to the first success


def evaluate_on_reference(
    env: MetaWorldEnv,
    policy: Policy,
    rand_vecs: Sequence[np.ndarray],
    num_steps: int = EPISODE_STEPS,
    advance: Callable[[], object] = lambda: None,
    sight: Sight | None = None,
) -> ReferenceEvaluation:
    """Evaluate with `metaworld.evaluation.evaluation`, each goal once.

    Args:
        env: what the policy was made for: tasks, and whether observations carry the one-hot vector.
        policy: deterministic.
        rand_vecs: (n, rand) goal vectors a task, the same n for all.
        num_steps: control steps an episode at most, up to the reference's 500.
        advance: called after every control step of all tasks, for a progress bar.
        sight: what a policy that sees is shown, drawn by OpenGL from metaworld's own scene; None for one that does not.

    Raises:
        ValueError: if metaworld lacks one of the tasks.
        RuntimeError: if a policy that sees is to be shown OpenGL's pictures where there is no OpenGL.
    """
    require_metaworld(env.tasks, "the evaluation on CPU metaworld")
    names = [spec.name for spec in env.tasks]
    envs = reference_vector(env, rand_vecs, num_steps, goal_observable=env.goal_observable, use_one_hot=env.one_hot)
    envs.call("toggle_sample_tasks_on_reset", True)
    observe = _plain if sight is None else _Pictures(envs, sight)
    _, _, success, returns = evaluation(
        _Agent(policy, observe, len(names), advance), envs, num_episodes=len(rand_vecs[0])
    )
    envs.close()
    return ReferenceEvaluation(
        np.array([success[name] for name in names]), np.array([np.mean(returns[name]) for name in names])
    )


def reference_vector(
    env: MetaWorldEnv, rand_vecs: Sequence[np.ndarray], num_steps: int, *, goal_observable: bool, **options: Any
) -> SyncVectorEnv:
    """Metaworld's vector of environments, one a task, which at `sample_tasks` go on to their next goal.

    Args:
        env: whose tasks and reward version these are.
        rand_vecs: goal vectors of each task.
        num_steps: control steps of an episode, at most.
        goal_observable: whether observations show the goal.
        options: of metaworld's `make_mt_envs` and `make_ml_envs`, such as `recurrent_info_in_obs=True`.
    """
    makers = [
        partial(
            metaworld._init_each_env,
            env_dict.ALL_V3_ENVIRONMENTS[spec.name],
            tasks=[
                reference_task(spec.name, vector[: len(spec.rand_low)], goal_observable=goal_observable)
                for vector in vectors
            ],
            max_episode_steps=num_steps,
            env_id=i,
            num_tasks=len(env.tasks),
            task_select="pseudorandom",  # goal after goal
            reward_function_version=env.reward_version,
            **options,
        )
        for i, (spec, vectors) in enumerate(zip(env.tasks, rand_vecs, strict=True))
    ]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*precision lowered")  # metaworld's spaces are float64
        return SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)


def _plain(observations: np.ndarray) -> np.ndarray:
    return np.array(observations, np.float32)  # a copy: the environments keep the array


class _Pictures:
    """Views of metaworld's environments, as they are when asked."""

    def __init__(self, envs: SyncVectorEnv, sight: Sight) -> None:
        backend = choose_backend()
        if backend not in HEADLESS:
            raise RuntimeError("pictures of CPU metaworld need OpenGL: " + " or ".join(map(library, HEADLESS)))
        self._scenes: list[Any] = [env.unwrapped for env in envs.envs]
        self._sight = sight
        self._painter = Painter(backend, max_scenes=len(self._scenes))
        for scene in self._scenes:
            for name, pos in sight.placed():
                if pos is not None:
                    scene.model.camera(name).pos[:] = pos  # from the next reset on, with which an evaluation begins

    def __call__(self, observations: np.ndarray) -> View:
        pictures = [[self._draw(scene, name) for name, _ in self._sight.placed()] for scene in self._scenes]
        return View(np.array(pictures), np.array(observations[:, : self._sight.hand_size], np.float32))

    def _draw(self, scene: Any, camera: str) -> np.ndarray:
        size = self._sight.size
        return self._painter.draw(scene.model, scene.data, scene.model.camera(camera).id, size, size, depth=False)


class _Agent:
    """A policy as an agent of metaworld's evaluation."""

    def __init__(
        self,
        policy: Policy,
        observe: Callable[[np.ndarray], Any],
        num_tasks: int,
        advance: Callable[[], object],
    ) -> None:
        self._act = jit(policy)
        self._observe = observe
        self._task = np.arange(num_tasks, dtype=np.int32)
        self._advance = advance

    def eval_action(self, observations: np.ndarray) -> np.ndarray:
        self._advance()
        actions = self._act(self._observe(observations), self._task)
        return np.clip(np.asarray(actions), -1.0, 1.0)

    def reset(self, env_mask: np.ndarray) -> None:
        """A policy without memory has nothing to forget."""
