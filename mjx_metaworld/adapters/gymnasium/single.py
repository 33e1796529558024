"""One environment of gymnasium's, for debugging and for tools that know no vector environments."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode

from mjx_metaworld.adapters.gymnasium.dealing import deal_tasks
from mjx_metaworld.adapters.gymnasium.infos import first_lane
from mjx_metaworld.adapters.gymnasium.makers import VectorStrategy, check_strategy, task_name
from mjx_metaworld.adapters.gymnasium.pictures import RENDER_MODES
from mjx_metaworld.adapters.gymnasium.sub_env import TaskSelect, check_seed
from mjx_metaworld.adapters.gymnasium.vector import MetaWorldVectorEnv
from mjx_metaworld.suites import NUM_GOALS, resolve
from mjx_metaworld.types import CONTROL_RATE, EPISODE_STEPS

_ENDLESS = sys.maxsize


def _forwarded(name: str, doc: str) -> property:
    """Property that is an attribute of the batch of one."""

    def read(env: MetaWorldGymEnv) -> Any:
        return env._batch.get_attr(name)[0]

    def assign(env: MetaWorldGymEnv, value: Any) -> None:
        env._batch.set_attr(name, [value])

    return property(read, assign, doc=doc)


class MetaWorldGymEnv(gymnasium.Env[Any, np.ndarray]):
    """One environment, for debugging and for tools that know no vector environments.

    Args:
        env_name: the task; metaworld's suffixes "-goal-hidden" and "-goal-observable" may follow.
        seed: of the frozen goals, and of the choice among them; None draws one.
        num_goals: number of frozen goals.
        task_select: "random" or "pseudorandom", see `SubEnv`.
        vector_strategy: without meaning here, as in metaworld.
        autoreset_mode: without meaning here, as in metaworld.
        max_episode_steps: control steps until truncation; None for no end, see `TimedByGymnasium`.
        **options: see `MetaWorldVectorEnv`.

    Raises:
        ValueError: for a suite or an unknown task or option.
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": CONTROL_RATE}  # noqa: RUF012 - gymnasium's own declaration

    def __init__(
        self,
        env_name: str,
        *,
        seed: int | None = None,
        num_goals: int = NUM_GOALS,
        task_select: TaskSelect = "random",
        vector_strategy: VectorStrategy = "sync",
        autoreset_mode: AutoresetMode | str = AutoresetMode.DISABLED,
        max_episode_steps: int | None = EPISODE_STEPS,
        **options: Any,
    ) -> None:
        check_strategy(vector_strategy)
        AutoresetMode(autoreset_mode)
        tasks = resolve(task_name(env_name))
        if len(tasks) != 1:
            raise ValueError(f"{env_name!r} is a suite; make it with gymnasium.make_vec")
        (self._lane,) = lanes = deal_tasks(tasks, 1, seed=seed, num_goals=num_goals, task_select=task_select)
        batch, limit = MetaWorldVectorEnv, max_episode_steps
        if limit is None:
            batch, limit = _EndlessBatch, _ENDLESS
        self._batch = batch(tasks, lanes, autoreset_mode=AutoresetMode.DISABLED, max_episode_steps=limit, **options)
        self.observation_space = self._batch.single_observation_space
        self.action_space = self._batch.single_action_space
        self.render_mode = self._batch.render_mode
        self._share_generator(seed)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; a seed restarts the choice of goals."""
        self._share_generator(seed)
        obs, _ = self._batch.reset()
        return _first(obs), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Advance by one control step, `action` (4,) within [-1, 1].

        Raises:
            ValueError: if `action` has the wrong shape.
            ResetNeeded: before the first reset and after an episode's end.
        """
        if np.shape(action) != self.action_space.shape:
            raise ValueError(f"action must have shape {self.action_space.shape}, got {np.shape(action)}")
        obs, reward, terminated, truncated, infos = self._batch.step(np.asarray(action)[None])
        return _first(obs), float(reward[0]), bool(terminated[0]), bool(truncated[0]), first_lane(infos)

    def render(self) -> np.ndarray:
        """A picture: uint8 (height, width, 3), or float32 (height, width) with "depth_array"."""
        return self._batch.render()[0]

    def close(self) -> None:
        """Close the environment; closing it again does nothing."""
        self._batch.close()

    # --- what metaworld calls by name ---

    terminate_on_success = _forwarded("terminate_on_success", "Switch that lets a success end the episode.")
    sample_tasks_on_reset = _forwarded("sample_tasks_on_reset", "Switch that lets a reset choose a goal anew.")
    update_running_mean = _forwarded(
        "update_running_mean", "Switch that lets running statistics, if there are any, go on."
    )
    obs_rms = _forwarded("obs_rms", "Statistics by which observations are normalised, a copy; only with these.")
    return_rms = _forwarded("return_rms", "Statistics by which rewards are normalised, a copy; only with these.")

    @property
    def task_name(self) -> str:
        """Class name that metaworld has for the task, such as "SawyerReachEnvV3"; of a task of one's own its name."""
        return self._batch.get_attr("task_name")[0]

    def toggle_terminate_on_success(self, on: bool) -> None:
        """Let a success end the episode, or not.

        Raises:
            ValueError: if `on` is neither True nor False.
        """
        self._batch.call("toggle_terminate_on_success", on)

    def toggle_sample_tasks_on_reset(self, on: bool) -> None:
        """Let a reset choose a goal anew, or keep the last one.

        Raises:
            ValueError: if `on` is neither True nor False.
        """
        self._batch.call("toggle_sample_tasks_on_reset", on)

    def sample_tasks(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Choose the next goal, whatever `sample_tasks_on_reset` says, and start an episode.

        Wrappers around, such as the TimeLimit of `gymnasium.make`, begin anew only when they are reset.

        Args:
            seed: as for `reset`.
            options: without meaning here, as for `reset`.
        """
        self._share_generator(seed)
        return self._batch.call("sample_tasks")[0]

    def get_checkpoint(self) -> tuple[str, dict[str, Any]]:
        """Name of the environment, and its goals and the state of their choice as values that JSON can hold."""
        self._share_generator(None)  # the user's, if there is a new one
        return self._batch.call("get_checkpoint")[0]

    def load_checkpoint(self, checkpoints: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Take up this environment's entry among those of several, from the next reset on.

        Raises:
            ValueError: if it has none, or one that `get_checkpoint` did not make; then nothing changes.
        """
        self._share_generator(None)  # the user's, if there is a new one
        self._batch.call("load_checkpoint", checkpoints)
        self._np_random_seed = self._lane.np_random_seed

    # --- parts ---

    def _share_generator(self, seed: int | None) -> None:
        """Let goals be chosen by gymnasium's generator, anew from a seed if there is one."""
        super().reset(seed=check_seed(seed))
        if seed is not None or self._lane.np_random is not self.np_random:  # seeded, or another of the user's
            self._lane.restarts = 0
        self._lane.np_random, self._lane.np_random_seed = self.np_random, self.np_random_seed


def _first(obs: Any) -> Any:
    return {name: part[0] for name, part in obs.items()} if isinstance(obs, dict) else obs[0]


class _EndlessBatch(MetaWorldVectorEnv):
    """A batch without a time limit of its own, which tells of an end after 500 steps, the default, all the same."""

    def _told(self, ended: np.ndarray) -> np.ndarray:
        return ended | (self.statistics.length + 1 == EPISODE_STEPS)


class TimedByGymnasium(MetaWorldGymEnv):
    """The environment as it is registered: its only time limit is the TimeLimit that `gymnasium.make` wraps it into.

    Args:
        env_name: as for `MetaWorldGymEnv`.
        **options: the same. Of a limit it learns nothing, so infos have an episode's statistics after 500 steps, the
            default, or at a success that ends it, and there the recurrent info of an observation tells of an end.
    """

    def __init__(self, env_name: str, **options: Any) -> None:
        super().__init__(env_name, max_episode_steps=None, **options)
