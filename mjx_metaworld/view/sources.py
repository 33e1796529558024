"""Sources of frames: a simulation that goes on while it is watched, and recordings."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Key

from mjx_metaworld.compile import jit
from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.episodes import Act
from mjx_metaworld.inputs.keys import key_of_seed
from mjx_metaworld.suites import GOALS_SEED, NUM_GOALS, goals
from mjx_metaworld.tasks.spec import ACTION_SCALE, TaskSpec
from mjx_metaworld.trajectory import Trajectory
from mjx_metaworld.types import Metrics, State
from mjx_metaworld.vector import reset_to_goals
from mjx_metaworld.view.frames import Frame, at, frame_of, frames_of, stacked
from mjx_metaworld.view.goals import movable_axes

STRIDE = 4  # control steps in one call of the simulation: 20 calls a second of simulated time


class Source(Protocol):
    """Frames of some lanes, from the first on."""

    specs: tuple[TaskSpec, ...]  # by the frames' `task`
    num_lanes: int

    @property
    def live(self) -> bool:
        """True while `extend` can give more."""
        ...

    def __len__(self) -> int: ...

    def frame(self, index: int) -> Frame:
        """All lanes at a moment: leading axis of lanes."""
        ...

    def metrics(self, until: int) -> Metrics:
        """Those of the frames up to `until`, leading axes (moments, lanes)."""
        ...

    def extend(self, until: int) -> None:
        """Have frames up to `until`, or as far as there are."""
        ...


class Recording:
    """Frames that are all there."""

    live = False

    def __init__(self, specs: tuple[TaskSpec, ...], frames: Frame, every: int = 1) -> None:
        """From frames with leading axes (moments, lanes), numpy, of which one was kept `every` control steps."""
        self.specs = specs
        self.num_lanes = frames.task.shape[1]
        self._frames, self._every = frames, every

    def __len__(self) -> int:
        return (len(self._frames.task) - 1) * self._every + 1

    def frame(self, index: int) -> Frame:
        """All lanes at a moment."""
        return at(self._frames, index // self._every)

    def metrics(self, until: int) -> Metrics:
        """Those of the frames up to `until`."""
        rows = np.arange(until + 1) // self._every
        return jax.tree.map(lambda x: x[rows], self._frames.metrics)

    def extend(self, until: int) -> None:
        """Nothing: all is there."""


def recording_of(env: MetaWorldEnv, trajectory: Trajectory) -> Recording:
    """A trajectory, to be played."""
    return Recording(env.tasks, frames_of(env, trajectory.states), trajectory.every)


class Choice(NamedTuple):
    """Tasks and goals of the lanes.

    Attributes:
        tasks: index of each lane's task.
        goal: index of the first lane's frozen goal; each lane that shares its task with others has the next.
    """

    tasks: tuple[int, ...]
    goal: int = 0


def spread(num_tasks: int, num_lanes: int, goal: int = 0) -> Choice:
    """Each lane another task, as far as there are."""
    return Choice(tuple(lane % num_tasks for lane in range(num_lanes)), goal)


class Control(struct.PyTreeNode):
    """Driving by hand."""

    by_hand: Bool[Array | np.ndarray, " lanes"]  # lanes that the policy does not steer
    target: Float[Array | np.ndarray, "3"]  # where the hand is to go, m
    grip: Float[Array | np.ndarray, ""]  # -1 open, 1 closed


def nobody(num_lanes: int) -> Control:
    """The policy steers all lanes."""
    return Control(np.zeros(num_lanes, bool), np.zeros(3, np.float32), np.float32(-1.0))


def drive(control: Control, mocap_pos: Float[Array, "lanes 3"]) -> Float[Array, "lanes 4"]:
    """Actions that bring the hand to the target: at most a centimetre a control step along each axis."""
    shift = jnp.clip((control.target - mocap_pos) / ACTION_SCALE, -1.0, 1.0)
    return jnp.concatenate([shift, jnp.broadcast_to(control.grip, (*shift.shape[:-1], 1))], axis=-1)


class Simulation:
    """An episode in every lane, simulated as far as it is watched.

    Args:
        env: the environment.
        act: what steers.
        choice: tasks and goals of the first episodes.
        seed: of what `act` draws.
    """

    def __init__(self, env: MetaWorldEnv, act: Act, choice: Choice, seed: int = 0) -> None:
        self.env, self.specs, self.num_lanes = env, env.tasks, len(choice.tasks)
        self.control = nobody(self.num_lanes)
        self._act = act
        self._key = key_of_seed(seed)
        self._goals = [goals([spec], GOALS_SEED)[0] for spec in env.tasks]
        self._advance: Any = None
        self.restart(choice)

    @property
    def live(self) -> bool:
        """True while the episodes go on."""
        return len(self) <= self.env.max_episode_steps

    def __len__(self) -> int:
        return len(self._frames)

    def frame(self, index: int) -> Frame:
        """All lanes at a moment."""
        return self._frames[index]

    def metrics(self, until: int) -> Metrics:
        """Those of the frames up to `until`."""
        return jax.tree.map(lambda *x: np.stack(x), *(frame.metrics for frame in self._frames[: until + 1]))

    def frames(self) -> Frame:
        """All frames so far, leading axes (moments, lanes)."""
        return stacked(self._frames)

    def release(self) -> None:
        """Give all lanes back to the policy."""
        self.control = nobody(self.num_lanes)

    def restart(self, choice: Choice) -> None:
        """Begin new episodes."""
        self.choice = choice
        earlier: dict[int, int] = {}
        vectors = []
        for task in choice.tasks:
            goal = (choice.goal + earlier.get(task, 0)) % NUM_GOALS
            earlier[task] = earlier.get(task, 0) + 1
            vectors.append(self._goals[task][goal : goal + 1])
        self._state = reset_to_goals(self.env, vectors, choice.tasks)
        self.movable = tuple(movable_axes(self.specs[task]) for task in choice.tasks)
        self._frames = [frames_of(self.env, self._state)]

    def prepare(self) -> None:
        """Compile, which takes a while; once."""
        if self._advance is None:
            advance = jit(functools.partial(_advance, self.env, self._act))
            self._advance = advance.lower(self._state, self._key, self.control).compile()

    @property
    def is_prepared(self) -> bool:
        """True if `extend` works at once."""
        return self._advance is not None

    def extend(self, until: int) -> None:
        """Simulate up to a moment, or to the end of the episodes."""
        self.prepare()
        while len(self) <= until and self.live:
            self._key, key = jax.random.split(self._key)
            self._state, frames = self._advance(self._state, key, self.control)
            host = jax.device_get(frames)
            missing = self.env.max_episode_steps + 1 - len(self)  # steps past the episodes' end are not shown
            self._frames += [at(host, i) for i in range(min(STRIDE, missing))]

    def move_goal(self, lane: int, goal: np.ndarray) -> np.ndarray:
        """Put a lane's goal elsewhere, from its last frame on, as far as the task can have it there.

        Returns:
            (3,) where it is now.
        """
        spec = self.specs[self.choice.tasks[lane]]
        bounds = np.asarray(spec.goal_low), np.asarray(spec.goal_high)
        now = np.asarray(self._state.episode.goal[lane])
        new = np.where(self.movable[lane], np.clip(goal, *bounds), now).astype(now.dtype)
        all_goals = jnp.asarray(self._state.episode.goal).at[lane].set(new)
        self._state = self._state.replace(episode=self._state.episode.replace(goal=all_goals))
        last = self._frames[-1]
        moved = np.array(last.goal)
        moved[lane] = new
        self._frames[-1] = last.replace(goal=moved)
        return new


def _advance(env: MetaWorldEnv, act: Act, state: State, key: Key[Array, ""], control: Control) -> tuple[State, Frame]:
    def step(state: State, key: Key[Array, ""]) -> tuple[State, Frame]:
        action = jnp.where(control.by_hand[:, None], drive(control, state.physics.mocap_pos), act(state, key))
        state = jax.vmap(env.step)(state, action.astype(state.obs.dtype))
        return state, jax.vmap(functools.partial(frame_of, env))(state)

    return jax.lax.scan(step, state, jax.random.split(key, STRIDE))
