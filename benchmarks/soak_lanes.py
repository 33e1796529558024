"""Lanes of a soak: hostile actions, goals and states, and counts of what must not happen, all in one compiled program.

A chunk is a scan over control steps. Its last iteration is no step but a probe: the step before is made once more with
other neighbours, and must give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from benchmarks.soak_extremes import Origins, Paths, no_extremes, paths
from benchmarks.soak_reference import FLOOR
from mjx_metaworld.env import ACTION_SIZE, MetaWorldEnv
from mjx_metaworld.inputs.keys import PRNGKey
from mjx_metaworld.physics.model import ARM_DOFS, FINGER_DOFS, FREE_DOFS, FREE_QPOS, PART_DOFS, PART_QPOS
from mjx_metaworld.types import State, Transition
from mjx_metaworld.vector import VectorEnv, select_envs

HOSTILE_SHARE = 10  # one lane in so many has hostile actions or states, one episode in so many a hostile goal
KINDS = ("NaN", "infinite", "1e30", "denormal", "constant extremes", "sign flips", "poisoned states")
_POISONED = KINDS.index("poisoned states")
_POISON_CHANCE = 1 / 50  # of a step in a healthy lane
_HUGE, _DENORMAL = 1e30, 1e-40
_CORNER_DRAWS = 64  # corners of a goal space that are tried, see `GOAL_DRAWS` of `build.check`


class Bound(NamedTuple):
    """A quantity of a state and the most that it may be, with the reason."""

    name: str
    most: float
    unit: str
    reason: str


# Contacts of the reference, too, throw what is caught between them: each bound is at least twice what the reference
# reaches under such actions (`soak_reference.py`), and beyond them a state is taken to run away. An arm that has wound
# itself up is rarer than the reference's runs are long; from such a state MuJoCo C goes as far (`soak_extremes.py`).
BOUNDS = (
    Bound(
        "arm joint beyond its range",
        3.2,
        "rad",
        "limits are soft; wound up, the weld pulls a joint on, by half a turn at most",
    ),
    Bound("finger beyond its range", 0.03, "m", "limits are soft; objects press on the pads"),
    Bound("fixture beyond its range", 2.0, "m or rad", "limits are soft; the hand presses on locks and handles"),
    Bound("hand outside its workspace", 0.5, "m", "a weld of finite stiffness pulls it to the mocap body"),
    Bound("arm joint speed", 500.0, "rad/s", "the hand comes free of what it was wedged in"),
    Bound("fixture speed", 100.0, "m/s or rad/s", "light handles that are struck near their axis"),
    Bound("object speed", 30.0, "m/s", "struck, squeezed out of the pads, falling from the table at 6 m/s"),
    Bound("object spin", 1000.0, "rad/s", "the speed above at a radius of 3 cm"),
    Bound("object away from the cell", 20.0, "m", "a ball may roll off the table and over the floor, for 6 s"),
    Bound("object below the floor", 0.25, "m", "thrown down at 10 m/s, what soft contacts take 0.02 s to stop"),
    Bound("quaternion off unit length", 1e-4, "", "it is normalised in every substep"),
    Bound("reward outside 0 to 10", 1e-4, "", "the rewards' own range, and rounding"),
)


class Tally(struct.PyTreeNode):
    """Counts of one lane; `merged` sums those of all lanes and of several chunks."""

    episodes: Array  # that began
    corner_goals: Array  # of these with a goal at a corner of its space
    hostile_actions: Array
    not_finite: Array  # steps with NaN or infinity in what a lane returns, or that the environment refused to make
    beyond: Array  # (bounds,) steps with a state beyond each bound
    highest: Array  # (bounds,) the largest value
    task: Array  # (bounds,) where that was
    poisoned: Array  # states that were made ill
    unnoticed: Array  # of these with NaN or infinity in positions or speeds, where the episode did not end at once
    restarted: Array  # ill lanes whose episode ended
    ill_steps: Array  # the most steps from an illness to the restart
    ill_after: Array  # steps with anything of the above in lanes that were ill in an earlier episode
    probed: Array  # steps that were made once more beside other neighbours
    differing: Array  # of these with another result

    @classmethod
    def zeros(cls, *lanes: int) -> Tally:
        """Counts of nothing yet."""
        one, many = jnp.zeros(lanes, jnp.int32), jnp.zeros((*lanes, len(BOUNDS)), jnp.int32)
        own = {"beyond": many, "task": many, "highest": jnp.full(many.shape, -jnp.inf)}
        return cls(**{name: own.get(name, one) for name in cls.__dataclass_fields__})

    def reduced(self) -> Tally:
        """Counts of all lanes together."""
        return self._over_first_axis(jnp)

    def added(self, other: Tally) -> Tally:
        """Counts of two steps, lane by lane."""
        return jax.tree.map(lambda a, b: jnp.stack([a, b]), self, other)._over_first_axis(jnp)

    def merged(self, other: Tally) -> Tally:
        """Counts of two chunks, on the host, where integers have no end."""
        return jax.tree.map(lambda a, b: np.stack([_wide(a), _wide(b)]), self, other)._over_first_axis(np)

    def _over_first_axis(self, xp: Any) -> Tally:
        where = xp.argmax(self.highest, axis=0)[None]
        found = {name: xp.take_along_axis(getattr(self, name), where, axis=0)[0] for name in ("highest", "task")}
        found["ill_steps"] = self.ill_steps.max(axis=0)
        return Tally(
            **{n: found[n] if n in found else getattr(self, n).sum(axis=0) for n in Tally.__dataclass_fields__}
        )


def _wide(x: Any) -> np.ndarray:
    x = np.asarray(x)
    return x.astype(np.int64) if np.issubdtype(x.dtype, np.integer) else x


class Lanes(struct.PyTreeNode):
    """All that a chunk hands to the next; leading axis of lanes."""

    state: State
    action: Float[Array, "envs 4"]  # the last, which wandering lanes go on from
    ill: Bool[Array, " envs"]  # the state was poisoned in this episode
    ill_steps: Int[Array, " envs"]  # since then
    was_ill: Bool[Array, " envs"]  # in this episode or an earlier one


class CornerGoals(MetaWorldEnv):
    """An environment of which one episode in ten has a goal at a corner of its task's goal space."""

    def _draw_goal(self, key: PRNGKey, task: Int[Array, ""]) -> Float[Array, " rand"]:
        chance_key, corner_key = jax.random.split(jax.random.fold_in(key, 1))
        table = self.rows(task)
        corners = jax.random.bernoulli(corner_key, shape=(_CORNER_DRAWS, self.rand_vec_size))
        candidates = jnp.where(corners, jnp.asarray(table.rand_high, float), jnp.asarray(table.rand_low, float))
        accepted = table.separation.accepts(candidates)
        at_corner = jnp.any(accepted) & jax.random.bernoulli(chance_key, 1 / HOSTILE_SHARE)
        return jnp.where(at_corner, candidates[jnp.argmax(accepted)], super()._draw_goal(key, task))


def kind_of_lanes(num_envs: int) -> np.ndarray:
    """(envs,) index into `KINDS` of each lane's hostility, -1 of the nine in ten that are not hostile."""
    lanes = np.arange(num_envs)
    return np.where(lanes % HOSTILE_SHARE == 0, lanes // HOSTILE_SHARE % len(KINDS), -1)


def first_lanes(vector_env: VectorEnv, key: Key[Array, ""]) -> Lanes:
    """Fresh episodes in all lanes."""
    size = vector_env.num_envs
    no, zero = jnp.zeros(size, bool), jnp.zeros(size, jnp.int32)
    return Lanes(vector_env.reset(key), jnp.zeros((size, ACTION_SIZE)), no, zero, no)


def make_chunk(
    vector_env: VectorEnv, num_steps: int
) -> Callable[[Lanes, Key[Array, ""], Array], tuple[Lanes, Tally, Paths]]:
    """Function of the lanes, a key and the chunk's number, that makes so many steps and one probe.

    Args:
        vector_env: all lanes.
        num_steps: control steps.
    """

    def chunk(lanes: Lanes, key: Key[Array, ""], number: Array) -> tuple[Lanes, Tally, Paths]:
        size = vector_env.num_envs
        start = lanes.state
        kept = (jnp.arange(size) + number) % 2 == 0  # the others are the neighbours of these
        # What a probe repeats: a state as it was stepped, and what came of it.
        action, outcome = lanes.action, _no_transition(vector_env, start)

        def body(carry: Any, x: tuple[Array, Array, Array]) -> tuple[Any, tuple[Array, Array]]:
            lanes, tally, origins, extremes, before, action, outcome = carry
            step_key, index, probing = x
            ill_key, act_key = jax.random.split(step_key)
            lanes, hit, certain = _poison(lanes, ill_key)
            acting = _act(lanes.action, act_key, index)
            other = _neighbours(before, start, number)
            state = select_envs(jnp.broadcast_to(probing, size), select_envs(kept, before, other), lanes.state)
            repeated = select_envs(kept, action, -jnp.clip(jnp.nan_to_num(action), -1.0, 1.0))
            acting = jnp.where(probing, repeated, acting)
            after, transition = vector_env.step(state, acting)

            counted = _count(vector_env.env, lanes, hit, certain, after, transition)
            probed = kept & ~carry[0].ill
            differing = probed & ~_same(after, transition, carry[0].state, outcome)
            probe = Tally.zeros(size).replace(probed=_ones(probed), differing=_ones(differing))
            done = transition.terminated | transition.truncated
            ill = lanes.ill & ~done
            went_on = Lanes(after, _wander(acting), ill, jnp.where(ill, lanes.ill_steps + 1, 0), lanes.was_ill)
            from_here = origins.renewed(done, after, index)
            further = extremes.renewed(counted.highest, state, from_here, index)
            stepped = (went_on, tally.added(counted), from_here, further, state, acting, transition)
            stayed = (carry[0], tally.added(probe), origins, extremes, before, action, outcome)
            carry = jax.tree.map(lambda a, b: jnp.where(probing, a, b), stayed, stepped)
            return carry, (acting, after.physics.mocap_pos)

        keys = jax.random.split(jax.random.fold_in(key, number), num_steps + 1)
        index = jnp.arange(num_steps + 1)
        groups = 1 if vector_env.sharding is None else vector_env.sharding.num_devices
        followed = (Origins(start, jnp.zeros(size, jnp.int32)), no_extremes(start, groups, len(BOUNDS)))
        carry = (lanes, Tally.zeros(size), *followed, start, action, outcome)
        (lanes, tally, _, extremes, *_), driven = jax.lax.scan(body, carry, (keys, index, index == num_steps))
        return lanes, tally.reduced(), paths(extremes.reduced(), *driven)

    return chunk


def _no_transition(vector_env: VectorEnv, state: State) -> Transition:
    shapes = jax.eval_shape(vector_env.step, state, jnp.zeros((vector_env.num_envs, ACTION_SIZE)))[1]
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)


# --- hostility ---


def _act(last: Float[Array, "envs 4"], key: Key[Array, ""], step: Int[Array, ""]) -> Float[Array, "envs 4"]:
    """Random actions, independent in even lanes and wandering in odd ones, and those of the hostile lanes."""
    size = len(last)
    lane, kind = np.arange(size)[:, None], kind_of_lanes(size)[:, None]
    draw_key, noise_key, entry_key = jax.random.split(key, 3)
    uniform = jax.random.uniform(draw_key, last.shape, minval=-1.0, maxval=1.0)
    wandering = jnp.clip(0.9 * last + 0.45 * jax.random.normal(noise_key, last.shape), -1.0, 1.0)
    action = jnp.where(lane % 2 == 1, wandering, uniform)
    entry = jax.random.bernoulli(entry_key, 0.5, last.shape)
    sign = np.where((lane // (HOSTILE_SHARE * len(KINDS))) >> np.arange(ACTION_SIZE) & 1, 1.0, -1.0)
    sign = sign.astype(np.float32)
    flip = jnp.where(step % 2 == 0, 1.0, -1.0)
    hostile = {
        "NaN": jnp.where(entry, jnp.nan, action),
        "infinite": jnp.where(entry, jnp.inf, -jnp.inf),
        "1e30": jnp.where(entry, _HUGE, -_HUGE),
        "denormal": jnp.where(entry, _DENORMAL, -_DENORMAL),
        "constant extremes": sign,
        "sign flips": sign * flip,
    }
    for name, values in hostile.items():
        action = jnp.where(kind == KINDS.index(name), values, action)
    return action


def _wander(action: Float[Array, "envs 4"]) -> Float[Array, "envs 4"]:
    """An action that the next can be drawn around."""
    return jnp.clip(jnp.nan_to_num(action), -1.0, 1.0)


def _poison(lanes: Lanes, key: Key[Array, ""]) -> tuple[Lanes, Bool[Array, " envs"], Bool[Array, " envs"]]:
    """Put a bad number into the states of some lanes; also which, and which of these cannot stay unnoticed."""
    size = len(lanes.ill)
    hit_key, field_key, value_key, entry_key = jax.random.split(key, 4)
    hit = (kind_of_lanes(size) == _POISONED) & ~lanes.ill & jax.random.bernoulli(hit_key, _POISON_CHANCE, (size,))
    values = jnp.asarray([jnp.nan, jnp.inf, -jnp.inf, _HUGE, -_HUGE])
    value = values[which := jax.random.randint(value_key, (size,), 0, len(values))]
    physics, episode = lanes.state.physics, lanes.state.episode
    fields = [physics.qpos, physics.qvel, physics.qacc_warmstart, physics.mocap_pos, episode.previous_frame]
    fields.append(episode.goal)
    field = jax.random.randint(field_key, (size,), 0, len(fields))
    entry = jax.random.randint(entry_key, (size,), 0, 1 << 16)

    def spoil(number: int, x: Array) -> Array:
        chosen = (hit & (field == number))[:, None] & (jnp.arange(x.shape[1]) == (entry % x.shape[1])[:, None])
        return jnp.where(chosen, value[:, None], x)

    qpos, qvel, warmstart, mocap_pos, frame, goal = (spoil(i, x) for i, x in enumerate(fields))
    physics = physics.replace(qpos=qpos, qvel=qvel, qacc_warmstart=warmstart, mocap_pos=mocap_pos)
    state = lanes.state.replace(physics=physics, episode=episode.replace(previous_frame=frame, goal=goal))
    ill = lanes.ill | hit
    certain = hit & (field < 2) & (which < 3)
    return lanes.replace(state=state, ill=ill, was_ill=lanes.was_ill | hit), hit, certain


def _neighbours(before: State, start: State, number: Int[Array, ""]) -> State:
    """Other lanes: as they were when the chunk began, or without numbers; by turns, two chunks each.

    Their estimated costs stay, or all lanes would be sorted into other places, where other roundings hold.
    """
    qvel = jnp.full_like(before.physics.qvel, jnp.nan)
    wild = before.replace(physics=before.physics.replace(qvel=qvel))
    calm = start.replace(cost_estimate=before.cost_estimate)
    return jax.tree.map(lambda a, b: jnp.where(number // 2 % 2 == 0, a, b), calm, wild)


# --- counts ---


def _count(
    env: MetaWorldEnv,
    lanes: Lanes,
    hit: Bool[Array, " envs"],
    certain: Bool[Array, " envs"],
    after: State,
    transition: Transition,
) -> Tally:
    """Counts of one step."""
    done, kind = transition.terminated | transition.truncated, kind_of_lanes(len(lanes.ill))
    healthy, healthy_after = ~lanes.ill, ~lanes.ill | done
    made = _finite(transition.next_obs, transition.reward, *jax.tree.leaves(transition.metrics))
    kept = _finite(*jax.tree.leaves(after))
    # The environment refuses a step whose outcome is not finite and ends the episode.
    not_finite = healthy & (~made | transition.terminated) | healthy_after & ~kept
    values = jax.vmap(lambda *args: _measured(env, *args))(after, transition, done, lanes.ill)
    beyond = ~(values <= np.asarray([bound.most for bound in BOUNDS]))
    wrong = not_finite | jnp.any(beyond, axis=1)
    corner = jax.vmap(lambda state: _at_corner(env, state))(after) & done
    counts = {
        "episodes": done,
        "corner_goals": corner,
        "hostile_actions": jnp.asarray((kind >= 0) & (kind != _POISONED)),
        "not_finite": not_finite,
        "beyond": beyond,
        "poisoned": hit,
        "unnoticed": certain & ~transition.terminated,
        "restarted": lanes.ill & done,
        "ill_steps": jnp.where(lanes.ill, lanes.ill_steps + 1, 0),
        "ill_after": wrong & lanes.was_ill & ~(lanes.ill & ~done),
        "probed": jnp.zeros_like(done),
        "differing": jnp.zeros_like(done),
    }
    task = jnp.broadcast_to(transition.task[:, None], beyond.shape)
    return Tally(highest=values, task=task, **{name: _ones(count) for name, count in counts.items()})


def _measured(
    env: MetaWorldEnv, state: State, transition: Transition, done: Array, ill: Array
) -> Float[Array, " bounds"]:
    """Quantities of `BOUNDS` of one lane; those of a state that is still ill count as the least."""
    physics, scenes, arm = state.physics, env.engine.scenes, env.engine.arm
    table = env.rows(state.task)
    low, high = (jnp.asarray(scenes.part_limit_range, float)[table.scene][:, i] for i in (0, 1))
    limited = jnp.asarray(scenes.part_limited)[table.scene] > 0
    free, velocity = physics.qpos[FREE_QPOS], physics.qvel[FREE_DOFS]
    fixture = _excess(physics.qpos[PART_QPOS], low, high)
    hand = env.engine.poses(table.scene, physics).hand_pos  # the observed one is clipped
    of_state = [
        jnp.max(_excess(physics.qpos[ARM_DOFS], *np.asarray(arm.limit_range[ARM_DOFS], np.float32).T)),
        jnp.max(_excess(physics.qpos[FINGER_DOFS], *np.asarray(arm.limit_range[FINGER_DOFS], np.float32).T)),
        jnp.max(jnp.where(limited, fixture, 0.0)),
        jnp.max(_excess(hand, jnp.asarray(table.hand_low, float), jnp.asarray(table.hand_high, float))),
        jnp.max(jnp.abs(physics.qvel[ARM_DOFS])),
        jnp.max(jnp.abs(physics.qvel[PART_DOFS])),
        _length(velocity[:3]),
        _length(velocity[3:]),
        jnp.max(jnp.abs(free[:2])),
        FLOOR - free[2],
        jnp.abs(_length(free[3:]) - 1.0),
    ]
    least = -jnp.inf
    ill_now, ill_before = ill & ~done, ill
    reward = jnp.where(ill_before, least, _excess(transition.reward, 0.0, 10.0))
    return jnp.append(jnp.where(ill_now, least, jnp.stack(of_state)), reward)


def _excess(x: Array, low: Any, high: Any) -> Array:
    return jnp.maximum(low - x, x - high)


def _length(x: Array) -> Array:
    return jnp.sqrt(jnp.sum(x * x))


def _at_corner(env: MetaWorldEnv, state: State) -> Bool[Array, ""]:
    table, goal = env.rows(state.task), state.episode.rand_vec
    low, high = (jnp.asarray(bound, goal.dtype) for bound in (table.rand_low, table.rand_high))
    return jnp.all((goal == low) | (goal == high))


def _finite(*arrays: Array) -> Bool[Array, " envs"]:
    """(envs,) True where all entries of a lane are finite."""
    size = len(arrays[0])
    floats = [x for x in arrays if jnp.issubdtype(x.dtype, jnp.floating)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x.reshape(size, -1)), axis=1) for x in floats]), axis=0)


def _same(after: State, transition: Transition, expected: State, outcome: Transition) -> Bool[Array, " envs"]:
    """(envs,) True where a repeated step gave the same bits; a new episode is left out, which is drawn in packs."""
    results = ("next_obs", "reward", "terminated", "truncated", "metrics", "finite")
    pairs = [(getattr(transition, name), getattr(outcome, name)) for name in results]
    done = outcome.terminated | outcome.truncated
    return _equal(pairs) & (done | _equal([(after, expected)]))


def _equal(pairs: Any) -> Bool[Array, " envs"]:
    leaves = jax.tree.leaves([jax.tree.map(lambda a, b: a == b, left, right) for left, right in pairs])
    return jnp.all(jnp.stack([jnp.all(same.reshape(len(same), -1), axis=1) for same in leaves]), axis=0)


def _ones(mask: Array) -> Array:
    return mask.astype(jnp.int32)
