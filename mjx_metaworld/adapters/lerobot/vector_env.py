"""The vector environment that LeRobot's evaluation steps: many lanes of one task, in one program."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from mjx_metaworld.adapters.lerobot.camera import draw
from mjx_metaworld.adapters.lerobot.goals import next_goal
from mjx_metaworld.adapters.lerobot.simulator import Simulator, simulator
from mjx_metaworld.observation import HAND_AND_GRIPPER, OBSERVATION_SIZE
from mjx_metaworld.physics.checks import as_integer, check_integer
from mjx_metaworld.rendering.render import Renderer, check_renderer
from mjx_metaworld.suites import resolve
from mjx_metaworld.types import CONTROL_RATE, EPISODE_STEPS, State

ObsType = Literal["pixels_agent_pos", "pixels", "state"]
AGENT_POS = HAND_AND_GRIPPER.stop  # the hand's position and the gripper's opening lead the Meta-World observation
ENVIRONMENT_STATE = OBSERVATION_SIZE


class Lane(NamedTuple):
    """One of the lanes, as LeRobot before 0.6 looks at them."""

    task: str
    task_description: str


class LeRobotVectorEnv(VectorEnv):
    """Lanes of one task as LeRobot expects them from a vector environment.

    An episode ends at its first success. A lane whose episode has ended stands still, with reward 0 and the same
    flags, until the next `reset`. Nothing is built or compiled before the first `reset`; what is compiled is kept for
    the process, so closing and building anew is cheap.

    Args:
        task: name of the task.
        num_envs: lanes, at least 1.
        task_description: the task in words.
        compiled_for: names of all tasks, this one among them, that shall share one compiled program; by default it
            alone.
        obs_type: "pixels_agent_pos", "pixels", or "state", which draws no pictures and observes Meta-World's 39
            numbers as "environment_state" besides "agent_pos".
        one_hot: names of tasks; if any, "environment_state" ends with this task's one-hot vector among them.
        max_episode_steps: control steps until truncation.
        width: of the pictures, in pixels.
        height: of the pictures, in pixels.
        renderer: "opengl" for MuJoCo's own, "device" for `mw.camera`, "auto" for the latter where it can draw.

    Raises:
        ValueError: for a suite, an unknown task, observation type or renderer, a task that is not in `compiled_for` or
            `one_hot`, or a number below 1.
    """

    def __init__(
        self,
        task: str,
        num_envs: int,
        *,
        task_description: str = "",
        compiled_for: Sequence[str] = (),
        obs_type: ObsType = "pixels_agent_pos",
        one_hot: Sequence[str] = (),
        max_episode_steps: int = EPISODE_STEPS,
        width: int = 480,
        height: int = 480,
        renderer: Renderer = "auto",
    ) -> None:
        check_renderer(renderer)
        self._renderer: Renderer = renderer
        numbers = {"num_envs": num_envs, "max_episode_steps": max_episode_steps, "width": width, "height": height}
        for name, number in numbers.items():
            check_integer(name, number)
        if obs_type not in get_args(ObsType):
            raise ValueError(f"unknown obs_type {obs_type!r}; available: {', '.join(get_args(ObsType))}")
        for name, tasks in (("compiled_for", compiled_for), ("one_hot", one_hot)):
            if tasks and task not in tasks:
                raise ValueError(f"{name} lacks the task {task!r}: {', '.join(tasks)}")
        self._spec, *others = resolve((task,))
        if others or self._spec.name != task:
            raise ValueError(f"{task!r} is a suite; name one of its tasks, such as {self._spec.name!r}")
        self._compiled_for = tuple(compiled_for) or (task,)
        self._max_episode_steps = max_episode_steps
        self._obs_type: ObsType = obs_type
        self._one_hot = np.array([name == task for name in one_hot], float)
        self._size = (width, height)
        self._generators = [np.random.default_rng() for _ in range(num_envs)]
        self._simulator: Simulator | None = None
        self._state: State | None = None
        self._images: np.ndarray | None = None  # of the current state, as far as they were asked for

        self.task = task
        self.task_description = task_description
        self.num_envs = num_envs
        self.render_mode = "rgb_array"
        self.metadata = {
            "render_modes": ["rgb_array"],
            "render_fps": CONTROL_RATE,
            "autoreset_mode": AutoresetMode.DISABLED,
        }
        self.single_action_space = spaces.Box(-1.0, 1.0, (4,), np.float32)
        self.action_space = batch_space(self.single_action_space, num_envs)

    @cached_property
    def observation_space(self) -> spaces.Space:  # type: ignore[override]
        """Observation space of all lanes; as large as four observations, so it is made when it is asked for."""
        return batch_space(self.single_observation_space, self.num_envs)

    @cached_property
    def single_observation_space(self) -> spaces.Dict:  # type: ignore[override]
        """Observation space of one lane."""
        width, height = self._size
        parts: dict[str, spaces.Space] = {}
        if self._obs_type != "state":
            parts["pixels"] = spaces.Box(0, 255, (height, width, 3), np.uint8)
        if self._obs_type != "pixels":
            parts["agent_pos"] = spaces.Box(-np.inf, np.inf, (AGENT_POS,), np.float64)
        extent = environment_state_size(self._obs_type, len(self._one_hot))
        if extent:
            parts["environment_state"] = spaces.Box(-np.inf, np.inf, (extent,), np.float64)
        return spaces.Dict(parts)

    # --- episodes ---

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode in every lane.

        Args:
            seed: one a lane, with the goals that LeRobot's own environment has for them; a single number counts up
                over the lanes. Without a seed a lane goes on with the generator that it has.
            options: ignored; a reset always starts new episodes.

        Raises:
            ValueError: if there is not one seed a lane.
        """
        seeds: Any = [seed] * self.num_envs if seed is None else seed
        if (first := as_integer(seeds)) is not None:
            seeds = range(first, first + self.num_envs)
        if len(seeds) != self.num_envs:
            raise ValueError(f"seed must hold {self.num_envs} numbers, one a lane, got {len(seeds)}")
        for lane, lane_seed in enumerate(seeds):
            if lane_seed is not None:
                self._generators[lane] = np.random.default_rng(lane_seed)
        if self._simulator is None:
            self._simulator = simulator(self._compiled_for, self.num_envs, self._max_episode_steps)
        goals = np.stack([next_goal(self._spec, generator) for generator in self._generators])
        self._state = self._simulator.reset(self._compiled_for.index(self.task), goals)
        self._images = None
        return self._observe(np.full(self.num_envs, True)), {"is_success": np.full(self.num_envs, False)}

    def step(
        self, actions: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One control step of every lane whose episode goes on.

        Args:
            actions: `(num_envs, 4)` in [-1, 1].

        Returns:
            Observations, rewards, terminated and truncated flags as numpy arrays, and `info` with "is_success" and,
            once an episode has ended, LeRobot's "final_info".

        Raises:
            RuntimeError: before the first reset.
            ValueError: if the actions have the wrong shape.
        """
        if self._simulator is None or self._state is None:
            raise RuntimeError("call reset before step")
        actions = np.asarray(actions, np.float32)
        if actions.shape != (self.num_envs, 4):
            raise ValueError(f"actions must have shape ({self.num_envs}, 4), got {actions.shape}")
        moving = ~np.asarray(self._state.terminated | self._state.truncated)
        self._state = state = self._simulator.step(self._state, actions)
        terminated, truncated = np.array(state.terminated), np.array(state.truncated)
        success = np.array(state.metrics.success) > 0
        info: dict[str, Any] = {"is_success": success}
        ended = terminated | truncated
        if ended.any():
            info |= {"final_info": {"is_success": success & ended, "_is_success": ended}, "_final_info": ended}
        return self._observe(moving), np.array(state.reward, np.float64), terminated, truncated, info

    def _observe(self, moved: np.ndarray) -> dict[str, np.ndarray]:
        assert self._state is not None
        obs = np.array(self._state.obs, np.float64)
        parts = {}
        if self._obs_type == "state":
            self._images = None
        else:
            parts["pixels"] = self._draw(moved).copy()
        if self._obs_type != "pixels":
            parts["agent_pos"] = obs[:, :AGENT_POS]
        if environment_state_size(self._obs_type, len(self._one_hot)):
            known = obs[:, : ENVIRONMENT_STATE if self._obs_type == "state" else 0]
            parts["environment_state"] = np.concatenate([known, np.tile(self._one_hot, (self.num_envs, 1))], axis=1)
        return parts

    def _draw(self, moved: np.ndarray) -> np.ndarray:
        """Pictures of all lanes, of which only those that moved are drawn anew."""
        assert self._simulator is not None
        assert self._state is not None
        width, height = self._size
        if self._images is None:
            self._images = np.empty((self.num_envs, height, width, 3), np.uint8)
            moved = np.full(self.num_envs, True)
        lanes = np.flatnonzero(moved)
        if len(lanes):
            self._images[lanes] = draw(self._simulator.env, self._state, lanes, width, height, self._renderer)
        return self._images

    # --- what LeRobot asks the lanes for ---

    def render(self) -> tuple[np.ndarray, ...]:
        """A picture `(height, width, 3)` of every lane.

        Raises:
            RuntimeError: before the first reset.
        """
        if self._state is None:
            raise RuntimeError("call reset before render")
        nothing_moved = np.full(self.num_envs, False)
        return tuple(self._draw(nothing_moved).copy())

    @property
    def envs(self) -> tuple[Lane, ...]:
        """The lanes, for LeRobot before 0.6."""
        return (Lane(self.task, self.task_description),) * self.num_envs

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Look up a name in every lane: "task", "task_description", "_max_episode_steps", "render" and so on.

        Raises:
            AttributeError: if there is no such name.
        """
        value = getattr(self, name)
        if name == "render":
            return value(*args, **kwargs)
        return (value(*args, **kwargs) if callable(value) else value,) * self.num_envs

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """An attribute of every lane.

        Raises:
            AttributeError: if there is no such attribute.
        """
        return (getattr(self, name),) * self.num_envs

    def close(self, **kwargs: Any) -> None:
        """Let go of the episodes and pictures; a later `reset` starts again."""
        self._simulator = self._state = self._images = None


def environment_state_size(obs_type: ObsType, one_hot_size: int) -> int:
    """Size of "environment_state"; 0 if it is not observed."""
    return (ENVIRONMENT_STATE if obs_type == "state" else 0) + one_hot_size
