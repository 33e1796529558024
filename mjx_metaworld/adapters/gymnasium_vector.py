"""A gymnasium vector environment that behaves as metaworld's own, with all lanes in one compiled step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from mjx_metaworld.adapters.compiled import programs
from mjx_metaworld.adapters.sub_env import SubEnv
from mjx_metaworld.env import ACTION_SIZE
from mjx_metaworld.observation import observation_bounds
from mjx_metaworld.physics.checks import as_integer, check_integer
from mjx_metaworld.physics.config import Backend, EngineConfig, Execution, PhysicsConfig, execution_of
from mjx_metaworld.processes.forks import check_threads, without_threads
from mjx_metaworld.rendering.render import check_picture, list_cameras, render
from mjx_metaworld.suites import goal_batch
from mjx_metaworld.tasks import TaskSpec
from mjx_metaworld.tasks.spec import RewardVersion
from mjx_metaworld.types import CONTROL_RATE, EPISODE_STEPS, Metrics

RENDER_MODES = ("rgb_array",)
Infos = dict[str, Any]


class MetaWorldVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """Vector environment that stands in for `gym.make_vec("Meta-World/MT10", ...)`, computed here.

    Spaces, dtypes, infos, episode statistics, frozen goals and the order in which they are drawn are metaworld's; but
    the observation space shows the goals' true bounds where metaworld's says zero, and a seed given to `reset`
    restarts the choice of goals, where metaworld ignores it.

    Args:
        tasks: the tasks, whose order is that of the one-hot ids.
        lanes: the sub-environments, see `deal_tasks` and `deal_goals`; the environment owns them from now on.
        goal_observable: whether observations end in the goal or in zeros.
        use_one_hot: append the task's one-hot vector to observations, which makes them float32 instead of float64.
        terminate_on_success: end an episode at the first success; metaworld's evaluation toggles it.
        reward_function_version: "v1" or "v2".
        max_episode_steps: control steps until truncation.
        autoreset_mode: when an ended lane starts again: "SameStep" (then `final_obs` and `final_info` hold the ends of
            episodes), "NextStep", or "Disabled" (reset with `options={"reset_mask": mask}`).
        render_mode: "rgb_array" or None.
        camera_name: from which `render` draws, one of `mjx_metaworld.rendering.render.list_cameras()`.
        width: of pictures, in pixels.
        height: of pictures, in pixels.
        physics: accuracy of the engine, as for `make`.
        backend: how batches are laid out, as for `make`.

    Raises:
        ValueError: for an unknown autoreset mode, render mode, camera or reward version, or a bad episode length or
            picture size.
        ForkError: from its methods, in a process that was forked after JAX had begun to work.
    """

    def __init__(
        self,
        tasks: Sequence[TaskSpec],
        lanes: Sequence[SubEnv],
        *,
        goal_observable: bool = True,
        use_one_hot: bool = False,
        terminate_on_success: bool = False,
        reward_function_version: RewardVersion = "v2",
        max_episode_steps: int = EPISODE_STEPS,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        render_mode: str | None = None,
        camera_name: str = "corner2",
        width: int = 480,
        height: int = 480,
        physics: PhysicsConfig | None = None,
        backend: Backend | Execution = "auto",
    ) -> None:
        if render_mode not in (None, *RENDER_MODES):
            raise ValueError(f"render_mode must be None or one of {', '.join(RENDER_MODES)}, got {render_mode!r}")
        if camera_name not in list_cameras():
            raise ValueError(f"camera_name must be one of {', '.join(list_cameras())}, got {camera_name!r}")
        check_picture(camera_name, width=width, height=height)
        self._autoreset = _autoreset_mode(autoreset_mode)
        names = [spec.name for spec in tasks]
        config = EngineConfig(physics or PhysicsConfig(), execution_of(backend))
        self._lanes = list(lanes)
        self.num_envs = len(self._lanes)
        self._task = np.array([names.index(lane.spec.name) for lane in self._lanes], np.int32)
        for lane in self._lanes:
            lane.toggle_terminate_on_success(terminate_on_success)
        self._max_episode_steps = check_integer("max_episode_steps", max_episode_steps)
        self.metadata = {
            "render_modes": list(RENDER_MODES),
            "render_fps": CONTROL_RATE,
            "autoreset_mode": self._autoreset,
        }
        self.render_mode = render_mode
        self._camera = {"camera": camera_name, "width": width, "height": height}

        self._one_hot = np.eye(len(names))[self._task] if use_one_hot else np.zeros((self.num_envs, 0))
        self.single_observation_space = _observation_space(tasks, goal_observable, len(names) if use_one_hot else 0)
        self.single_action_space = Box(-1.0, 1.0, (ACTION_SIZE,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

        # gymnasium's workers hand on what reset raises, but not what raises here: there they only vanish.
        if not without_threads():
            self._programs = programs(tuple(tasks), goal_observable, reward_function_version, config)
            self._prepare_starts()
            self._state = self._programs.pick(self._starts, jnp.asarray([rows[0] for rows in self._rows]))
        self._row = np.zeros(self.num_envs, np.int32)
        self._ready = np.zeros(self.num_envs, bool)  # lanes that are within an episode
        self._return = np.zeros(self.num_envs)
        self._length = np.zeros(self.num_envs, np.int64)
        self._started = np.zeros(self.num_envs)
        self._was_reset = False

    def _prepare_starts(self) -> None:
        """Compute the first states of all goals of all lanes, so that a reset only picks rows of them."""
        goals = [lane.goals for lane in self._lanes]
        wanted = np.column_stack(goal_batch(goals, self._programs.env.rand_vec_size, self._task))
        starts, row = np.unique(wanted, axis=0, return_inverse=True)
        self._starts = self._programs.start(jnp.asarray(starts[:, 0], jnp.int32), jnp.asarray(starts[:, 1:], float))
        self._rows = np.split(row.reshape(-1), np.cumsum([len(own) for own in goals])[:-1])

    # --- gymnasium's methods ---

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, Infos]:
        """Start new episodes.

        Args:
            seed: restarts the lanes' choice of goals: one seed a lane, or an integer for `seed`, `seed + 1`, ...
            options: `{"reset_mask": mask}` resets only some lanes; other options have no meaning.

        Raises:
            ValueError: for a list of seeds or a mask of the wrong length.
        """
        self._check_open()
        mask = self._checked_mask((options or {}).get("reset_mask"))
        seeds: Any = seed  # one a lane from here on
        if (first := as_integer(seed)) is not None:
            super().reset(seed=first)
            seeds = [first + i for i in range(self.num_envs)]
        if seeds is not None:
            if len(seeds) != self.num_envs:
                raise ValueError(f"seed must have one entry for each of the {self.num_envs} lanes, got {len(seeds)}")
            for lane, lane_seed, chosen in zip(self._lanes, seeds, mask, strict=True):
                if chosen and lane_seed is not None:
                    lane.seed(lane_seed)
        self._restart(mask)
        self._was_reset = True
        return self._observations(np.asarray(self._state.obs)), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, Infos]:
        """Advance all lanes by one control step, and start those again whose turn it is.

        Args:
            actions: (num_envs, 4) within [-1, 1]; clipped.

        Raises:
            ValueError: if `actions` has the wrong shape.
            ResetNeeded: before the first reset, or with autoreset disabled if a lane's episode has ended.
        """
        self._check_open()
        if np.shape(actions) != self.action_space.shape:
            raise ValueError(f"actions must have shape {self.action_space.shape}, got {np.shape(actions)}")
        if not self._was_reset:
            raise ResetNeeded("call reset before the first step")
        waiting = ~self._ready
        if self._autoreset is AutoresetMode.DISABLED and waiting.any():
            raise ResetNeeded(f"the episodes of lanes {np.flatnonzero(waiting).tolist()} have ended; reset these")

        self._state, output = self._programs.step(self._state, jnp.asarray(actions, jnp.float32))
        obs, reward, metrics = jax.device_get(output)
        running = ~waiting
        reward = np.where(running, reward, 0.0).astype(np.float64)
        self._return += reward
        self._length += running
        switches = np.array([lane.terminate_on_success for lane in self._lanes])
        terminated = running & switches & (metrics.success == 1.0)
        truncated = running & (self._length >= self._max_episode_steps)
        ended = terminated | truncated
        self._ready &= ~ended

        infos = self._infos(obs, metrics, running, ended)
        if self._autoreset is AutoresetMode.SAME_STEP and ended.any():
            self._restart(ended)
            obs = np.asarray(self._state.obs)
        elif self._autoreset is AutoresetMode.NEXT_STEP and waiting.any():
            self._restart(waiting)
            obs = np.asarray(self._state.obs)
        return self._observations(obs), reward, terminated, truncated, infos

    def render(self) -> tuple[np.ndarray, ...]:
        """One picture a lane, uint8 (height, width, 3).

        Raises:
            ValueError: without a render mode.
            ResetNeeded: before the first reset.
        """
        self._check_open()
        if self.render_mode is None:
            raise ValueError('nothing to render: the environment was made without render_mode="rgb_array"')
        if not self._was_reset:
            raise ResetNeeded("call reset before render")
        return tuple(render(self._programs.env, self._state, **self._camera))

    def close_extras(self, **kwargs: Any) -> None:
        """Drop the states; compiled functions stay for the process's next environment."""
        vars(self).pop("_state", None)
        vars(self).pop("_starts", None)

    # --- sub-environments by name, as metaworld's evaluation uses them ---

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Call a method of every sub-environment, or read an attribute; one result a lane.

        `sample_tasks` chooses the next goals and resets; `render` draws; the others are those of `SubEnv`.

        Raises:
            AttributeError: if sub-environments have nothing of this name.
        """
        self._check_open()
        if name == "sample_tasks":
            for lane in self._lanes:
                lane.choose()
            self._restart(np.ones(self.num_envs, bool), choose=False)
            self._was_reset = True
            return tuple((row, {}) for row in self._observations(np.asarray(self._state.obs)))
        if name == "render":
            return self.render()
        results = tuple(lane.invoke(name, *args, **kwargs) for lane in self._lanes)
        if name == "load_checkpoint":
            self._prepare_starts()  # the goals may be others now
        return results

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """An attribute of every sub-environment."""
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Set `terminate_on_success` or `sample_tasks_on_reset`: one value for all lanes, or a list of one a lane.

        Raises:
            ValueError: for a list of the wrong length.
            AttributeError: for another name.
        """
        if not isinstance(values, (list, tuple)):
            values = [values] * self.num_envs
        if len(values) != self.num_envs:
            raise ValueError(f"values must have one entry for each of the {self.num_envs} lanes, got {len(values)}")
        for lane, value in zip(self._lanes, values, strict=True):
            lane.assign(name, value)

    # --- parts ---

    def _check_open(self) -> None:
        if self.closed:
            raise ClosedEnvironmentError("the environment is closed")
        check_threads("this environment")

    def _checked_mask(self, mask: Any) -> np.ndarray:
        if mask is None:
            return np.ones(self.num_envs, bool)
        if np.shape(mask) != (self.num_envs,) or np.asarray(mask).dtype != bool:
            raise ValueError(f"reset_mask must be a boolean array of shape ({self.num_envs},), got {mask!r}")
        return np.array(mask)

    def _restart(self, chosen: np.ndarray, *, choose: bool = True) -> None:
        """Put the chosen lanes at the start of an episode."""
        for i in np.flatnonzero(chosen):
            lane = self._lanes[i]
            self._row[i] = self._rows[i][lane.choose_for_reset() if choose else lane.current_task_idx]
        self._state = self._programs.restart(self._state, self._starts, jnp.asarray(self._row), jnp.asarray(chosen))
        self._ready |= chosen
        self._return[chosen] = 0.0
        self._length[chosen] = 0
        self._started[chosen] = time.perf_counter()

    def _observations(self, obs: np.ndarray) -> np.ndarray:
        dtype = self.single_observation_space.dtype
        return np.concatenate([obs, self._one_hot], axis=1, dtype=np.float64).astype(dtype, copy=False)

    def _infos(self, obs: np.ndarray, metrics: Metrics, running: np.ndarray, ended: np.ndarray) -> Infos:
        """The infos of a step as gymnasium's SyncVectorEnv gathers them: under SameStep ends go into `final_info`."""
        if self._autoreset is not AutoresetMode.SAME_STEP:
            return _metric_infos(metrics, running) | self._episode_infos(ended)
        infos: Infos = {}
        if ended.any():
            final = np.full(self.num_envs, None, object)
            full = np.concatenate([obs, self._one_hot], axis=1, dtype=np.float64)
            for i in np.flatnonzero(ended):
                final[i] = full[i].copy()
            infos |= _with_mask("final_obs", final, ended)
            infos |= _with_mask("final_info", _metric_infos(metrics, ended) | self._episode_infos(ended), ended)
        return infos | _metric_infos(metrics, running & ~ended)

    def _episode_infos(self, ended: np.ndarray) -> Infos:
        """Statistics of ended episodes as gymnasium's RecordEpisodeStatistics gives them."""
        if not ended.any():
            return {}
        seconds = np.round(time.perf_counter() - self._started, 6)
        columns = {"r": self._return, "l": self._length, "t": seconds}
        episode: Infos = {}
        for name, column in columns.items():
            episode |= _with_mask(name, np.where(ended, column, 0).astype(column.dtype), ended)
        return _with_mask("episode", episode, ended)


def _autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        allowed = ", ".join(known.value for known in AutoresetMode)
        raise ValueError(f"autoreset_mode must be one of {allowed}, got {mode!r}") from None


def _with_mask(key: str, value: Any, mask: np.ndarray) -> Infos:
    """A key of an info and its mask of lanes; both are new arrays."""
    return {key: value, f"_{key}": mask.copy()}


def _metric_infos(metrics: Metrics, mask: np.ndarray) -> Infos:
    """The reference's seven entries for some lanes; nothing if there is no lane."""
    infos: Infos = {}
    if mask.any():
        for field in fields(metrics):
            value = np.where(mask, getattr(metrics, field.name), 0.0).astype(np.float64)
            infos |= _with_mask(field.name, value, mask)
    return infos


def _observation_space(tasks: Sequence[TaskSpec], goal_observable: bool, num_one_hot: int) -> Box:
    bounds = [observation_bounds(spec.goal_low, spec.goal_high, goal_observable=goal_observable) for spec in tasks]
    low, high = np.min([low for low, _ in bounds], axis=0), np.max([high for _, high in bounds], axis=0)
    # Observations are clipped in float32, where a bound may be rounded to a place beyond itself.
    low, high = np.minimum(low, low.astype(np.float32)), np.maximum(high, high.astype(np.float32))
    if not num_one_hot:
        return Box(low, high, dtype=np.float64)
    low, high = np.append(low, np.zeros(num_one_hot)), np.append(high, np.ones(num_one_hot))
    return Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)
