"""One environment of gymnasium's, for debugging and for tools that know no vector environments."""

from __future__ import annotations

import sys
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
        self._ends_itself = max_episode_steps is not None
        limit = max_episode_steps if self._ends_itself else _ENDLESS
        self._batch = MetaWorldVectorEnv(
            tasks, lanes, autoreset_mode=AutoresetMode.DISABLED, max_episode_steps=limit, **options
        )
        self.observation_space = self._batch.single_observation_space
        self.action_space = self._batch.single_action_space
        self.render_mode = self._batch.render_mode
        if seed is not None:
            super().reset(seed=check_seed(seed))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; a seed restarts the choice of goals."""
        super().reset(seed=check_seed(seed))
        self._lane.np_random, self._lane.np_random_seed = self.np_random, self.np_random_seed  # gymnasium's
        if seed is not None:
            self._lane.restarts = 0
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
        if not self._ends_itself and not terminated[0]:
            infos |= self._batch.statistics.infos(self._batch.statistics.length == EPISODE_STEPS)
        return _first(obs), float(reward[0]), bool(terminated[0]), bool(truncated[0]), first_lane(infos)

    def render(self) -> np.ndarray:
        """A picture: uint8 (height, width, 3), or float32 (height, width) with "depth_array"."""
        return self._batch.render()[0]

    def close(self) -> None:
        """Close the environment; closing it again does nothing."""
        self._batch.close()


def _first(obs: Any) -> Any:
    return {name: part[0] for name, part in obs.items()} if isinstance(obs, dict) else obs[0]


class TimedByGymnasium(MetaWorldGymEnv):
    """The environment as it is registered: its only time limit is the TimeLimit that `gymnasium.make` wraps it into.

    Args:
        env_name: as for `MetaWorldGymEnv`.
        **options: the same. Of a limit it learns nothing, so infos have an episode's statistics after 500 steps, the
            default, or at a success that ends it.
    """

    def __init__(self, env_name: str, **options: Any) -> None:
        super().__init__(env_name, max_episode_steps=None, **options)
