"""The environment: `reset`, `reset_to` and `step` as pure functions of one environment's state."""

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
from mjx_metaworld.build.bank import Goals, nearest_row, random_row, settle_on_host
from mjx_metaworld.build.identity import all_built_in, digest_of_tables
from mjx_metaworld.build.slots import check_slots
from mjx_metaworld.build.tables import UNBOUNDED, TaskTable, build_tables
from mjx_metaworld.inputs import checks
from mjx_metaworld.inputs.keys import PRNGKey, as_typed, as_words
from mjx_metaworld.physics.backend import Backend, chosen_execution, execution_of
from mjx_metaworld.physics.checks import check_integer
from mjx_metaworld.physics.collision.hull_support import HullTable
from mjx_metaworld.physics.config import EngineConfig, Execution, PhysicsConfig
from mjx_metaworld.physics.copies import EqualCopies, shared_method
from mjx_metaworld.physics.engine import Engine
from mjx_metaworld.physics.layout import components_first
from mjx_metaworld.physics.lookup import take_row
from mjx_metaworld.physics.model import ARM_DOFS, PART_QPOS, Arm, PhysicsState, Scene
from mjx_metaworld.physics.promotion import default_promotion
from mjx_metaworld.processes.forks import check_threads
from mjx_metaworld.randomise.drawing import Term, are_ready_made, check_terms, draw_by_terms, parameters
from mjx_metaworld.randomise.signals import command, noisy_entries, observe
from mjx_metaworld.randomise.structs import Nominal, Randomised, nominal_of
from mjx_metaworld.suites import Tasks, resolve
from mjx_metaworld.tasks.branches import switch
from mjx_metaworld.tasks.padded import placer, rewarder
from mjx_metaworld.tasks.points import read
from mjx_metaworld.tasks.rewards import norm
from mjx_metaworld.tasks.spec import ACTION_SCALE, Placement, RewardInputs, RewardVersion, Settled, TaskSpec
from mjx_metaworld.types import EPISODE_STEPS, Episode, Metrics, State

# Makes an environment's physics of the robot, the scenes of its tasks (stacked), their hulls, accuracy and layout.
EngineFactory = Callable[[Arm, Scene, HullTable, EngineConfig], Engine]
# Makes, of an environment, the function that draws one of its states: `mw.Pixels`, or one's own.
PixelsFactory = Callable[["MetaWorldEnv"], Callable[[State], Any]]

REWARD_VERSIONS = get_args(RewardVersion)
GOALS = get_args(Goals)
ACTION_SIZE = 4
_SHOWN_TASKS = 3  # in an environment's repr
_OF_PARAMETERS = 0x5CE7E  # folded into a reset's key; beyond the keys into which it is split
_GOAL_DRAWS = 64  # candidates that a reset draws at once; the pickiest task rejects all with probability below 1e-6


def make(
    tasks: Tasks,
    *,
    goal_observable: bool = True,
    one_hot: bool = False,
    reward_version: RewardVersion = "v2",
    max_episode_steps: int = EPISODE_STEPS,
    terminate_on_success: bool = False,
    physics: PhysicsConfig | None = None,
    backend: Backend | Execution = "auto",
    engine: EngineFactory | None = None,
    pixels: PixelsFactory | None = None,
    randomise: Term | Sequence[Term] | None = None,
    privileged: bool = False,
    goals: Goals = "nearest",
) -> MetaWorldEnv:
    """Build an environment for a task, a list of tasks, or a suite.

    Args:
        tasks: a name such as "reach-v3", a suite such as "MT10", a declaration (`TaskSpec`), or several of these in any
            mix, such as `["MT10", "my-task", spec]` or "reach-v3,push-v3".
        goal_observable: whether the last three entries of the Meta-World observation show the goal or zeros.
        one_hot: append the task's one-hot vector to the observation.
        reward_version: which of the reference's reward functions, "v2" (0 to 10) or the older "v1" (unbounded).
        max_episode_steps: control steps until truncation.
        terminate_on_success: report `terminated` at the first success (the reference never terminates).
        physics: accuracy of the engine, its fixed sizes and iteration counts; the defaults when None.
        backend: how batches are laid out: "cpu", "accelerator" (any GPU or TPU), "cuda" (with kernels of our own for
            NVIDIA's GPUs), or "auto", that of JAX's default backend; or an `Execution` of one's own.
        engine: what simulates; by default MuJoCo's physics. `testing.KinematicEngine` compiles in a second instead.
        pixels: cameras whose pictures stand beside the state, in `state.pixels`: `mw.Pixels("corner2", 64, 64)`, or a
            function that makes, of the environment, a function which draws one environment's state.
        randomise: what every reset draws for its episode, in `state.randomised`: terms such as
            `mw.randomise.friction(0.5, 1.5)`, or functions of one's own.
        privileged: append the episode's parameters to the observation, before a one-hot vector.
        goals: from which settled state `reset` starts in the nine tasks where it depends on the goal: that of the
            "nearest" of 128 places of the fixture, or the one that is "settled" for this very goal, by MuJoCo on the
            host through a callback (some 20 ms of a core each); or let it draw one of the 128 "banked" goals alone.

    A scene of one's own that loses contacts while it moves, for want of slots, is warned of with the `physics` that has
    them.

    Raises:
        ValueError: for an unknown task or suite (with near matches), a task given twice, a scene of one's own that does
            not fit or loses contacts at rest for want of slots in `physics`, a reward version that there is not, a bad
            episode length, an unknown backend or kind of goals, and for `privileged` where nothing is randomised.
        TypeError: if `pixels` or a term of `randomise` is no function, or a term does not return what it should.
        ImportError, RuntimeError: where `pixels` cannot be drawn, see `mw.camera`.
        ForkError: in a process that was forked after JAX had begun to work, as from `reset`, `reset_to` and `step`.
    """
    check_threads("mw.make")
    if reward_version not in REWARD_VERSIONS:
        raise ValueError(f"unknown reward_version {reward_version!r}; available: {', '.join(REWARD_VERSIONS)}")
    if goals not in GOALS:
        raise ValueError(f"unknown goals {goals!r}; available: {', '.join(GOALS)}")
    return MetaWorldEnv(
        resolve(tasks),
        goal_observable=goal_observable,
        one_hot=one_hot,
        reward_version=reward_version,
        max_episode_steps=check_integer("max_episode_steps", max_episode_steps),
        terminate_on_success=terminate_on_success,
        physics=physics or PhysicsConfig(),
        backend=backend,
        engine=engine,
        pixels=pixels,
        randomise=randomise,
        privileged=privileged,
        goals=goals,
    )


class MetaWorldEnv(EqualCopies):
    """Meta-World tasks as pure functions; batch them with `jax.vmap`, any mix of tasks in one batch.

    Copies, deep ones and those of `pickle` too, share its engine and what that has compiled.

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
        randomise: Term | Sequence[Term] | None = None,
        privileged: bool = False,
        goals: Goals = "nearest",
    ) -> None:
        if pixels is not None and not callable(pixels):
            raise TypeError(f"pixels must be mw.Pixels(...) or a function of the environment, got {pixels!r}")
        if privileged and randomise is None:
            raise ValueError("privileged observations show what is randomised: mw.make(..., randomise=[...])")
        for spec in tasks:
            spec.reward_of(reward_version)  # raises where the task has none
        self.tasks = tasks
        self.goal_observable = goal_observable
        self.one_hot = one_hot
        self.reward_version: RewardVersion = reward_version
        self.max_episode_steps = max_episode_steps
        self.terminate_on_success = terminate_on_success
        self.randomise = None if randomise is None else check_terms(randomise)
        self.privileged = privileged
        self.goals: Goals = goals
        EngineConfig(physics, chosen_execution(backend))  # refused before the tables, which take seconds
        tables = build_tables(tasks, goal_observable=goal_observable)
        if engine is None:
            check_slots(tasks, physics)
        config = EngineConfig(physics, execution_of(backend))
        self._table, self._bank = tables.tasks, tables.bank
        self.engine = (engine or Engine)(tables.arm, tables.scenes, tables.hulls, config)
        self.pixels = pixels
        if self.randomise is not None:
            self._num_parameters = self._count_parameters()  # raises where a term does not return what it should
        if pixels is not None:
            self._pixels_camera(pixels)  # raises where it cannot draw

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
        if self.randomise is not None and not are_ready_made(self.randomise):
            return None
        if vars(self).keys() - {*self._options, *self._derived}:  # overwritten methods, for example
            return None
        tables = self._table, self._bank, engine.arm, engine.scenes, engine.hulls, engine.config
        return f"{[spec.name for spec in self.tasks]}, {options}, {digest_of_tables(*tables)}"

    @property
    def observation_size(self) -> int:
        """39, and the number of parameters more with `privileged`, and the number of tasks more with `one_hot`."""
        shown = self._num_parameters if self.privileged else 0
        return observation.OBSERVATION_SIZE + shown + (len(self.tasks) if self.one_hot else 0)

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

        low, high = self._table.obs_low.min(0), self._table.obs_high.max(0)
        low, high = np.where(low <= -UNBOUNDED, -np.inf, low), np.where(high >= UNBOUNDED, np.inf, high)
        if self.privileged:
            unbounded = np.full(self._num_parameters, np.inf)
            low, high = np.append(low, -unbounded), np.append(high, unbounded)
        if self.one_hot:
            num_tasks = len(self.tasks)
            low, high = np.append(low, np.zeros(num_tasks)), np.append(high, np.ones(num_tasks))
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
        if self.goals == "banked":
            row = random_row(self._bank, place, row_key)
            banked = jnp.asarray(self._bank.rand_vec, float)[row]
            rand_vec = jnp.where(jnp.asarray(self._bank.count)[place] > 1, banked, rand_vec)
        else:
            row = nearest_row(self._bank, place, rand_vec)
        settled, rand_vec = self._settled(row), checks.nan_unless(known, rand_vec)
        if self._settles_on_host:
            settled = self._settle_on_host(place, rand_vec, settled, keep=False)
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
        checks.check_goal(rand_vec)
        rand_vec = jnp.asarray(rand_vec, float)
        lengths = {self.rand_vec_size}
        if (index := checks.known_task(task, len(self.tasks))) is not None:
            lengths.add(len(self.tasks[index].rand_low))
        if rand_vec.ndim != 1 or rand_vec.shape[0] not in lengths:
            allowed = " or ".join(str(length) for length in sorted(lengths))
            raise ValueError(f"rand_vec must have shape ({allowed},), got {rand_vec.shape}")
        rand_vec = jnp.pad(rand_vec, (0, self.rand_vec_size - rand_vec.shape[0]))
        if key is None:
            bits = jax.lax.bitcast_convert_type(rand_vec.astype(jnp.float32), jnp.uint32)
            key = jax.random.fold_in(jax.random.key(0), jnp.sum(bits))
        task = jnp.asarray(task if index is None else index, jnp.int32)
        place, known = checks.row_of_task(task, len(self.tasks))
        rand_vec = checks.nan_unless(known, rand_vec)
        settled = self._settled(jnp.asarray(self._bank.first)[place])
        settled = self._settle_on_host(place, rand_vec, settled, keep=True)
        return self.draw(self._start(task, rand_vec, settled, as_typed(key), self.draw_parameters(key, place)))

    @property
    def _settles_on_host(self) -> bool:
        """True if `reset` does."""
        return self.goals == "settled" and any(spec.settles_against_prop for spec in self.tasks)

    def _settle_on_host(self, place: Int[Array, ""], rand_vec: Array, settled: Settled, *, keep: bool) -> Settled:
        if not any(spec.settles_against_prop for spec in self.tasks):
            return settled
        prop_pos = self._place(place, rand_vec, settled).prop_pos
        return settle_on_host(self.tasks, place, prop_pos, settled, keep=keep)

    def _draw_goal(self, key: PRNGKey, task: Int[Array, ""]) -> Float[Array, " rand"]:
        table = self.rows(task)
        uniform = jax.random.uniform(key, (_GOAL_DRAWS, self.rand_vec_size))
        candidates = table.rand_low + uniform * (table.rand_high - table.rand_low)
        return candidates[jnp.argmax(table.separation.accepts(candidates))]

    def _settled(self, row: Int[Array, ""]) -> Settled:
        return jax.tree.map(lambda x: jnp.asarray(x, float)[row], self._bank.settled)

    def _place(self, task: Int[Array, ""], rand_vec: Float[Array, " rand"], settled: Settled) -> Placement:
        return self._by_task(task, [placer(spec) for spec in self.tasks], rand_vec, settled)

    def draw_parameters(self, key: PRNGKey, task: Int[Array, ""]) -> Randomised | None:
        """Parameters of an episode as a reset draws them; None without `randomise`.

        Args:
            key: of the reset, typed or raw.
            task: index into `tasks`, of a task that there is.
        """
        if self.randomise is None:
            return None
        return draw_by_terms(self.randomise, jax.random.fold_in(as_typed(key), _OF_PARAMETERS), self.nominal(task))

    def nominal(self, task: Int[Array, ""]) -> Nominal:
        """Physical parameters of a task's scene, as its file has them."""
        rows = jax.tree.map(lambda x: np.asarray(x, float), self.engine.scenes.replace(colliders=None, pairs=None))
        return nominal_of(self.engine.arm, take_row(rows, self.rows(task).scene), task)

    def _count_parameters(self) -> int:
        zero = jax.ShapeDtypeStruct((), jnp.int32)

        def drawn(task: Array) -> Array:
            drawn = self.draw_parameters(jax.random.key(0), task)
            assert drawn is not None, "there are terms"
            return parameters(drawn)

        return jax.eval_shape(drawn, zero).shape[0]

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
        placement = self._place(place, rand_vec, settled)
        physics = PhysicsState(
            qpos=placement.qpos,
            qvel=placement.qvel,
            mocap_pos=table.hand_init,
            prop_pos=placement.prop_pos,
            qacc_warmstart=settled.qacc_warmstart,
        )
        offset = None if drawn is None else drawn.joint_offset
        if offset is not None:
            physics = physics.replace(qpos=physics.qpos.at[ARM_DOFS].add(offset.astype(physics.qpos.dtype)))
        poses = self.engine.poses(table.scene, physics)
        readings = read(table.points, poses.xpos, poses.xmat, poses.hand_pos, physics.qpos)
        # A joint that was moved is observed: the settled frame would show the hand where it was before.
        stale = table.stale_reset if offset is None else jnp.zeros_like(table.stale_reset)
        frame = observation.reset_frame(readings.frame, settled.frame, placement.prop_pos - settled.prop_pos, stale)
        obs = observation.stack_frames(frame, frame, placement.goal, goal_observable=self.goal_observable)
        obs = self._appended(self._noisy(obs, drawn, place, 0), task, drawn)
        zero, no = jnp.zeros((), frame.dtype), jnp.zeros((), bool)
        words, key_impl = as_words(next_key)
        state = State(
            physics=physics,
            obs=obs,
            reward=zero,
            terminated=no,
            truncated=no,
            metrics=Metrics(*[zero] * 7),
            task=task,
            episode=Episode(
                next_key=words,
                rand_vec=rand_vec,
                goal=placement.goal,
                object_init=placement.object_init,
                points_init=placement.points_init,
                tcp_init=settled.tcp if offset is None else readings.tcp,
                first_distance=zero,
                previous_frame=frame,
                step=jnp.zeros((), jnp.int32),
                invalid_action=no,
                key_impl=key_impl,
            ),
            cost_estimate=jnp.zeros((), jnp.int32),
            finite=checks.all_finite(rand_vec, obs, physics.qpos, physics.qvel),
            randomised=drawn,
        )
        # Every leaf a buffer of its own, shared neither with another nor with what the caller gave, so that the state
        # may be donated. In a compiled program a copy is nothing.
        return jax.tree.map(jnp.copy, state)

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
        first_distance = jnp.where(episode.step == 0, distance, episode.first_distance)
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
        metrics = self._by_task(place, [rewarder(s, self.reward_version) for s in self.tasks], components_first(seen))
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
            obs=self._appended(obs, state.task, drawn),
            reward=jnp.copy(metrics.unscaled_reward),  # a buffer of its own, see `_start`
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
        operations, place = self.engine.operations, ("pixels", pixels)
        if place not in operations:
            operations[place] = pixels(copy.copy(self.blind))
        return operations[place]

    # --- by task ---

    def rows(self, task: Int[Array, ""]) -> TaskTable:
        """The task's row of the table; a constant when there is only one task."""
        if len(self.tasks) == 1:
            return jax.tree.map(lambda x: jnp.asarray(x[0]), self._table)
        return take_row(self._table, task)

    def _by_task(self, task: Int[Array, ""], branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
        """The task's branch; in a mixed batch all branches run and each lane keeps its own."""
        return branches[0](*operands) if len(branches) == 1 else switch(task, branches, *operands)

    def _noisy(self, obs: Array, drawn: Randomised | None, task: Array, step: Array | int) -> Array:
        """The observation (39,) with the noise of the episode, if it has any."""
        if drawn is None or drawn.observation_noise is None:
            return obs
        entries = np.stack([noisy_entries(len(spec.objects)) for spec in self.tasks])
        return observe(drawn.observation_noise, obs, jnp.asarray(step), jnp.asarray(entries)[task])

    def _appended(self, obs: Array, task: Array, drawn: Randomised | None) -> Array:
        """The observation with what is appended to its 39 numbers."""
        parts = [obs]
        if self.privileged and drawn is not None:
            parts.append(parameters(drawn).astype(obs.dtype))
        if self.one_hot:
            parts.append(jax.nn.one_hot(task, len(self.tasks), dtype=obs.dtype))
        return jnp.concatenate(parts) if len(parts) > 1 else obs
