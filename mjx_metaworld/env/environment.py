"""Meta-World tasks as pure functions of one environment's state: `reset`, `reset_to` and `step`."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mjx_metaworld import observation
from mjx_metaworld.build.identity import all_built_in, digest_of_tables
from mjx_metaworld.build.slots import check_slots
from mjx_metaworld.build.tables import UNBOUNDED, TaskTable, build_tables, hidden_goals
from mjx_metaworld.env import starts
from mjx_metaworld.inputs import checks
from mjx_metaworld.inputs.keys import PRNGKey, as_typed
from mjx_metaworld.physics.backend import Backend, chosen_execution, execution_of
from mjx_metaworld.physics.checks import check_boolean, check_integer
from mjx_metaworld.physics.collision.hull_support import HullTable
from mjx_metaworld.physics.config import EngineConfig, Execution, PhysicsConfig
from mjx_metaworld.physics.copies import EqualCopies, shared_method
from mjx_metaworld.physics.engine import Engine
from mjx_metaworld.physics.layout import components_first
from mjx_metaworld.physics.lookup import take_row
from mjx_metaworld.physics.model import PART_QPOS, Arm, Scene
from mjx_metaworld.physics.promotion import default_promotion
from mjx_metaworld.processes.exports import tells_identity
from mjx_metaworld.processes.forks import check_threads
from mjx_metaworld.randomise import drawing
from mjx_metaworld.randomise.signals import command, noisy_entries, observe
from mjx_metaworld.randomise.structs import Nominal, Randomised, nominal_of
from mjx_metaworld.tasks.branches import switch
from mjx_metaworld.tasks.padded import rewarder
from mjx_metaworld.tasks.points import read
from mjx_metaworld.tasks.rewards import norm
from mjx_metaworld.tasks.spec import ACTION_SCALE, RewardInputs, RewardVersion, Settled, TaskSpec
from mjx_metaworld.types import State, first_state

# Makes an environment's physics of the robot, the scenes of its tasks (stacked), their hulls, accuracy and layout.
EngineFactory = Callable[[Arm, Scene, HullTable, EngineConfig], Engine]
# Makes, of an environment, the function that draws one of its states: `mw.Pixels`, or one's own.
PixelsFactory = Callable[["MetaWorldEnv"], Callable[[State], Any]]

ACTION_SIZE = 4
REWARD_VERSIONS = get_args(RewardVersion)
GOALS = get_args(starts.Goals)
_SHOWN_TASKS = 3  # in an environment's repr
_UNSHOWN = "privileged observations show what is randomised: mw.make(..., randomise=[...])"
_OF_PARAMETERS = 0x5CE7E  # folded into a reset's key; beyond the keys into which it is split


@tells_identity
class MetaWorldEnv(EqualCopies):
    """Meta-World tasks as pure functions; batch them with `jax.vmap`, any mix of tasks in one batch.

    Copies, deep ones and those of `pickle` too, share its engine and what that has compiled. Any option of a copy but
    its tasks may be changed, which makes it another environment.

    Attributes:
        tasks: the task declarations; a task's index here is its id in this environment.
        reward_version: "v1" or "v2".
        max_episode_steps: control steps until truncation.
        terminate_on_success: whether the first success ends an episode.
        engine: the physics.
        pixels: makes the cameras of `state.pixels`; None without.
        randomise: the terms that a reset draws; None without.
        privileged: whether an observation shows what they drew.
        goals: from which settled states resets start, "nearest", "settled" or "banked".
    """

    _options = ("tasks", "goal_observable", "one_hot", "reward_version")
    _options += ("max_episode_steps", "terminate_on_success", "randomise", "privileged", "goals", "engine", "pixels")
    _derived = ("_table", "_bank", "observation_space", "action_space", "_num_parameters")

    def __init__(
        self,
        tasks: tuple[TaskSpec, ...],
        *,
        goal_observable: bool,
        one_hot: bool,
        reward_version: RewardVersion,
        max_episode_steps: int,
        terminate_on_success: bool,
        physics: PhysicsConfig,
        backend: Backend | Execution = "auto",
        engine: EngineFactory | None = None,
        pixels: PixelsFactory | None = None,
        randomise: drawing.Term | Sequence[drawing.Term] | None = None,
        privileged: bool = False,
        goals: starts.Goals = "nearest",
    ) -> None:
        self.tasks = tasks
        self.goal_observable = goal_observable
        self.one_hot = one_hot
        self.reward_version: RewardVersion = reward_version
        for spec in tasks:
            spec.reward_of(reward_version)  # raises where the task has none
        self.max_episode_steps = max_episode_steps
        self.terminate_on_success = terminate_on_success
        terms: Any = randomise  # a tuple as soon as it is set
        self.randomise: tuple[drawing.Term, ...] | None = terms
        self.pixels = pixels
        self.privileged = privileged
        if self.privileged and self.randomise is None:
            raise ValueError(_UNSHOWN)
        self.goals: starts.Goals = goals
        EngineConfig(physics, chosen_execution(backend))  # refused before the tables, which take seconds
        tables = build_tables(tasks)
        if engine is None:
            check_slots(tasks, physics)
        config = EngineConfig(physics, execution_of(backend))
        self._table, self._bank = tables.tasks, tables.bank
        self.engine = (engine or Engine)(tables.arm, tables.scenes, tables.hulls, config)
        if self.randomise is not None:
            _ = self._num_parameters  # raises where a term does not return what it should
        if pixels is not None:
            self._pixels_camera(pixels)  # raises where it cannot draw

    def __setattr__(self, name: str, value: Any) -> None:
        # Scenes and tables are those of the tasks.
        if name == "tasks" and vars(self).get(name, value) != value:
            names = ", ".join(spec.name for spec in self.tasks)
            raise AttributeError(f"an environment keeps its tasks, here {names}; for others make one: mw.make(tasks)")
        super().__setattr__(name, _CHECKS[name](value) if name in _CHECKS else value)

    def __repr__(self) -> str:
        names = [spec.name for spec in self.tasks]
        shown = names if len(names) <= _SHOWN_TASKS else [*names[:_SHOWN_TASKS], f"... {len(names)} in all"]
        unsaid = {"tasks", "engine"} if self.pixels else {"tasks", "engine", "pixels"}
        unsaid |= set() if self.randomise else {"randomise", "privileged"}
        unsaid |= set() if self.goals != "nearest" else {"goals"}
        given = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._options if name not in unsaid)
        return f"MetaWorldEnv([{', '.join(shown)}], {given})"

    def identity(self) -> str | None:
        """Name of this environment that is the same in all processes; None where it has none, as with own tasks."""
        *options, engine, pixels = (getattr(self, name) for name in self._options[1:])
        known = {type(self): MetaWorldEnv, type(engine): Engine}
        if any(kind is not own for kind, own in known.items()) or pixels or not all_built_in(self.tasks):
            return None
        if self._settles_on_host:  # a program with a callback is this process's own
            return None
        if self.randomise is not None and not drawing.are_ready_made(self.randomise):
            return None
        if self.added() or engine.is_overwritten:
            return None
        tables = self._table, self._bank, engine.arm, engine.scenes, engine.hulls, engine.config
        return f"{[spec.name for spec in self.tasks]}, {options}, {digest_of_tables(*tables)}"

    @property
    def observation_size(self) -> int:
        """39, and the number of parameters more with `privileged`, and the number of tasks more with `one_hot`."""
        return observation.OBSERVATION_SIZE + self.appended.size

    @property
    def appended(self) -> observation.Appended:
        """Numbers that stand behind the 39 of an observation."""
        return observation.Appended(
            num_parameters=self._num_parameters if self.privileged else 0,
            num_tasks=len(self.tasks) if self.one_hot else 0,
        )

    @cached_property
    def _num_parameters(self) -> int:
        """Number of the parameters that a privileged observation shows."""
        if self.randomise is None:
            raise ValueError(_UNSHOWN)
        task = jax.ShapeDtypeStruct((), jnp.int32)
        return drawing.count_parameters(self.randomise, jax.eval_shape(self.nominal, task))

    @property
    def action_size(self) -> int:
        """4: displacement of the hand in x, y, z, and gripper effort, each in [-1, 1]."""
        return ACTION_SIZE

    @property
    def rand_vec_size(self) -> int:
        """Length of the longest task's rand_vec, to which `reset_to` and `Episode.rand_vec` are padded."""
        return self._table.rand_low.shape[-1]

    @cached_property
    def observation_space(self) -> Any:
        """A gymnasium `Box` that holds every task's observations."""
        from gymnasium.spaces import Box

        table = self._observed_table
        low, high = table.obs_low.min(0), table.obs_high.max(0)
        low, high = np.where(low <= -UNBOUNDED, -np.inf, low), np.where(high >= UNBOUNDED, np.inf, high)
        low, high = self.appended.bounds(low, high)
        return Box(low.astype("float32"), high.astype("float32"))

    @cached_property
    def action_space(self) -> Any:
        """The gymnasium `Box` [-1, 1]^4."""
        from gymnasium.spaces import Box

        return Box(-1.0, 1.0, (ACTION_SIZE,))

    # --- reset ---

    @shared_method
    @default_promotion
    def reset(self, key: PRNGKey, task: Int[Array, ""] | int | None = None) -> State:
        """Start an episode with a goal drawn like the reference draws its goals.

        Args:
            key: the only source of randomness, typed or raw.
            task: index into `tasks`; drawn uniformly when None. Where it is traced and there is no such task, goal and
                observation are NaN and `finite` is False.

        Raises:
            ValueError: if there is no such task, as far as `task` is known and not traced.
            TypeError: if `task` is no integer, or `key` no key.
        """
        check_threads("env.reset")
        task_key, goal_key, row_key, next_key = jax.random.split(as_typed(key), 4)
        if task is None:
            task = jax.random.randint(task_key, (), 0, len(self.tasks))
        index = checks.known_task(task, len(self.tasks))
        task = jnp.asarray(task if index is None else index, jnp.int32)
        place, known = checks.row_of_task(task, len(self.tasks))
        rand_vec = jnp.asarray(self._draw_goal(goal_key, place), float)  # of no weak type, whatever replaces it
        settled, rand_vec = starts.find_settled(self._bank, self.goals, place, rand_vec, row_key)
        rand_vec = checks.nan_unless(known, rand_vec)
        if self._settles_on_host:
            settled = starts.settle_for_goal(self.tasks, place, rand_vec, settled, keep=False)
        return self.draw(self._start(task, rand_vec, settled, next_key, self.draw_parameters(key, place)))

    @shared_method
    @default_promotion
    def reset_to(
        self,
        task: Int[Array, ""] | int,
        rand_vec: Float[Array, " rand"],
        key: PRNGKey | None = None,
    ) -> State:
        """Start an episode with a given goal, for example one of the reference's frozen goals.

        Args:
            task: index into `tasks`.
            rand_vec: the vector in a metaworld `Task`, padded to `rand_vec_size` (with a Python int as task, its own
                length is accepted too). It may lie outside the reset space.
            key: what later automatic resets draw from, typed or raw; by default derived from `rand_vec`.

        Raises:
            ValueError: if `rand_vec` has the wrong length, or if `task` is out of range or `rand_vec` not finite, as
                far as these are known and not traced; where they are traced, `finite` is False.
            TypeError: if `task` is no integer, or `key` no key.
        """
        check_threads("env.reset_to")
        index = checks.known_task(task, len(self.tasks))
        own_size = None if index is None else len(self.tasks[index].rand_low)
        rand_vec = checks.padded_goal(rand_vec, self.rand_vec_size, own_size)
        key = starts.key_of_goal(rand_vec) if key is None else key
        task = jnp.asarray(task if index is None else index, jnp.int32)
        place, known = checks.row_of_task(task, len(self.tasks))
        rand_vec = checks.nan_unless(known, rand_vec)
        settled = starts.first_settled(self._bank, place)
        settled = starts.settle_for_goal(self.tasks, place, rand_vec, settled, keep=True)
        return self.draw(self._start(task, rand_vec, settled, as_typed(key), self.draw_parameters(key, place)))

    @property
    def _settles_on_host(self) -> bool:
        """True if `reset` does."""
        return self.goals == "settled" and any(spec.settles_against_prop for spec in self.tasks)

    def _draw_goal(self, key: PRNGKey, task: Int[Array, ""]) -> Float[Array, " rand"]:
        return starts.draw_goal(self.rows(task), key)

    def draw_parameters(self, key: PRNGKey, task: Int[Array, ""]) -> Randomised | None:
        """Parameters of an episode as a reset draws them; None without `randomise`.

        Args:
            key: of the reset, typed or raw.
            task: index into `tasks`, of a task that there is.
        """
        if self.randomise is None:
            return None
        own_key = jax.random.fold_in(as_typed(key), _OF_PARAMETERS)
        return drawing.draw_by_terms(self.randomise, own_key, self.nominal(task))

    def nominal(self, task: Int[Array, ""]) -> Nominal:
        """Physical parameters of a task's scene, as its file has them."""
        rows = jax.tree.map(lambda x: np.asarray(x, float), self.engine.scenes.replace(colliders=None, pairs=None))
        return nominal_of(self.engine.arm, take_row(rows, self.rows(task).scene), task)

    def _start(
        self,
        task: Int[Array, ""],
        rand_vec: Float[Array, " rand"],
        settled: Settled,
        next_key: PRNGKey,
        drawn: Randomised | None,
    ) -> State:
        place, _ = checks.row_of_task(task, len(self.tasks))
        table = self.rows(place)
        placement = starts.place_objects(self.tasks, place, rand_vec, settled)
        offset = None if drawn is None else drawn.joint_offset
        physics = starts.first_physics(placement, settled, table.hand_init, offset)
        poses = self.engine.poses(table.scene, physics)
        readings = read(table.points, poses.xpos, poses.xmat, poses.hand_pos, physics.qpos)
        # A joint that was moved is observed: the settled frame would show the hand where it was before.
        stale = table.stale_reset if offset is None else jnp.zeros_like(table.stale_reset)
        frame = observation.reset_frame(readings.frame, settled.frame, placement.prop_pos - settled.prop_pos, stale)
        obs = observation.stack_frames(frame, frame, placement.goal, goal_observable=self.goal_observable)
        obs = self._with_appended(self._noisy(obs, drawn, place, 0), task, drawn)
        tcp = settled.tcp if offset is None else readings.tcp
        episode = starts.first_episode(rand_vec, placement, tcp, frame, next_key)
        finite = checks.all_finite(rand_vec, obs, physics.qpos, physics.qvel)
        return first_state(physics, obs, task, episode, finite, drawn)

    # --- step ---

    @shared_method
    @default_promotion
    def step(self, state: State, action: Float[Array, "4"]) -> State:
        """Advance one control step (12.5 ms of simulated time); never resets by itself. With `pixels` it draws.

        Actions are clipped to [-1, 1]. An action with NaN or infinite entries counts as zero and sets
        `episode.invalid_action` of that step. Where the physics, the observation or the reward would not be finite, the
        step is not made: the state stays, with reward and metrics of zero, and the episode is `terminated`. Both show
        in `finite`.

        Args:
            state: from `reset` or `step`.
            action: displacement of the hand in x, y, z in centimetres, and gripper effort.

        Raises:
            ValueError: if `action` has the wrong shape.
            TypeError: if `action` is not of a floating-point type, or the state of other floats than JAX's default.
        """
        check_threads("env.step")
        action = checks.check_action(action, ACTION_SIZE)
        checks.check_floats(state.obs, state.physics.qpos)
        episode = state.episode
        valid = jnp.all(jnp.isfinite(action))
        action = jnp.where(valid, action, 0.0).astype(state.obs.dtype)

        place, known = checks.row_of_task(state.task, len(self.tasks))
        table = self.rows(place)
        drawn, dynamics = self._drawn_of(state), ()
        if drawn is not None:
            drawn, action = command(drawn, action, episode.step)
            dynamics = (drawn.dynamics,)
        shift = jnp.clip(action[:3], -1.0, 1.0) * ACTION_SCALE
        mocap_pos = jnp.clip(state.physics.mocap_pos + shift, table.hand_low, table.hand_high)
        ctrl = jnp.stack([action[3], -action[3]])
        physics, poses, cost_estimate = self.engine.step(
            table.scene, state.physics.replace(mocap_pos=mocap_pos), ctrl, state.cost_estimate, *dynamics
        )

        readings = read(table.points, poses.xpos, poses.xmat, poses.hand_pos, physics.qpos)
        raw = observation.stack_frames(
            readings.frame, episode.previous_frame, episode.goal, goal_observable=self.goal_observable
        )
        obs = jnp.clip(raw, table.obs_low, table.obs_high)
        distance = norm(obs[observation.OBJECT] - episode.goal)
        first_distance = starts.first_distance(episode, distance)
        seen = RewardInputs(
            obs=obs,
            action=action,
            tcp=readings.tcp,
            left_tip=readings.left_tip,
            left_pad=readings.left_pad,
            right_pad=readings.right_pad,
            points=readings.points,
            part_qpos=physics.qpos[PART_QPOS],
            touching=poses.touching,
            goal=episode.goal,
            object_init=episode.object_init,
            tcp_init=episode.tcp_init,
            points_init=episode.points_init,
            first_distance=first_distance,
        )
        metrics = switch(place, [rewarder(s, self.reward_version) for s in self.tasks], components_first(seen))
        sound = known & checks.all_finite(
            physics.qpos, physics.qvel, physics.qacc_warmstart, raw, episode.goal, metrics.unscaled_reward
        )
        metrics = jax.tree.map(lambda x: jnp.where(sound, x, 0.0), metrics)
        step = episode.step + 1
        if drawn is not None:
            obs = jnp.clip(self._noisy(obs, drawn, place, step), table.obs_low, table.obs_high)
        new = (physics, obs, first_distance, readings.frame)
        old = (state.physics, state.obs[observation.OBSERVATION], episode.first_distance, episode.previous_frame)
        physics, obs, first_distance, frame = jax.tree.map(functools.partial(jnp.where, sound), new, old)
        after = State(
            physics=physics,
            obs=self._with_appended(obs, state.task, drawn),
            reward=jnp.copy(metrics.unscaled_reward),  # a buffer of its own, see `first_state`
            terminated=~sound | (metrics.success > 0) if self.terminate_on_success else ~sound,
            truncated=step >= self.max_episode_steps,
            metrics=metrics,
            task=state.task,
            episode=episode.replace(
                first_distance=first_distance, previous_frame=frame, step=step, invalid_action=~valid
            ),
            cost_estimate=cost_estimate,
            finite=valid & sound,
            randomised=drawn,
        )
        return self.draw(after)

    def _drawn_of(self, state: State) -> Randomised | None:
        if (state.randomised is None) != (self.randomise is None):
            has = "no parameters" if state.randomised is None else "parameters"
            raise ValueError(f"the state has {has} of an episode in `randomised`, unlike this environment's states")
        return state.randomised

    # --- pixels ---

    @shared_method
    def draw(self, state: State) -> State:
        """Put the pictures of a state beside it, as `reset` and `step` do; without `pixels` it stays as it is."""
        if self.pixels is None:
            return state
        return state.replace(pixels=self._pixels_camera(self.pixels)(state.replace(pixels=None)))

    @property
    def blind(self) -> MetaWorldEnv:
        """The same environment without `pixels`, for loops that draw less often than they step.

        `env.draw(env.blind.step(state, action))` is `env.step(state, action)`.
        """
        if self.pixels is None:
            return self
        blind = copy.copy(self)
        blind.pixels = None
        return blind

    def _pixels_camera(self, pixels: PixelsFactory) -> Callable[[State], Any]:
        # Kept with the engine, for all copies of the environment; made of one that nobody will change.
        blind = self.blind
        operations, place = self.engine.operations, ("pixels", type(self), blind.content(), pixels)
        if place not in operations:
            own = copy.copy(blind)
            with jax.ensure_compile_time_eval():  # arrays that it makes outlive the function that is being traced
                operations[place] = pixels(own), own
        return operations[place][0]

    # --- parts ---

    def rows(self, task: Int[Array, ""]) -> TaskTable:
        """The task's row of the table; a constant when there is only one task."""
        if len(self.tasks) == 1:
            return jax.tree.map(lambda x: jnp.asarray(x[0]), self._observed_table)
        return take_row(self._observed_table, task)

    @property
    def _observed_table(self) -> TaskTable:
        """The table with the bounds of this environment's observations."""
        return self._table if self.goal_observable else hidden_goals(self._table)

    def _noisy(self, obs: Array, drawn: Randomised | None, task: Array, step: Array | int) -> Array:
        """The observation (39,) with the noise of the episode, if it has any."""
        if drawn is None or drawn.observation_noise is None:
            return obs
        entries = np.stack([noisy_entries(len(spec.objects)) for spec in self.tasks])
        return observe(drawn.observation_noise, obs, jnp.asarray(step), jnp.asarray(entries)[task])

    def _with_appended(self, obs: Array, task: Array, drawn: Randomised | None) -> Array:
        """The observation with what is appended to its 39 numbers."""
        shown = drawing.parameters(drawn) if self.privileged and drawn is not None else None
        return self.appended.to(obs, shown, task)


def _one_of(name: str, allowed: Sequence[str], value: Any) -> Any:
    if value not in allowed:
        raise ValueError(f"unknown {name} {value!r}; available: {', '.join(allowed)}")
    return value


def _check_pixels(pixels: Any) -> Any:
    if pixels is not None and not callable(pixels):
        raise TypeError(f"pixels must be mw.Pixels(...) or a function of the environment, got {pixels!r}")
    return pixels


# Options as they are kept, from what is given in `make` or set on a copy; they raise where that is no value.
_CHECKS: dict[str, Callable[[Any], Any]] = {
    name: functools.partial(check_boolean, name)
    for name in ("goal_observable", "one_hot", "terminate_on_success", "privileged")
} | {
    "reward_version": functools.partial(_one_of, "reward_version", REWARD_VERSIONS),
    "max_episode_steps": functools.partial(check_integer, "max_episode_steps"),
    "randomise": lambda terms: None if terms is None else drawing.check_terms(terms),
    "goals": functools.partial(_one_of, "goals", GOALS),
    "pixels": _check_pixels,
}
