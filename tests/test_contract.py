"""The environment's contract over the whole registry: MT50, two lanes a task.

Every check covers all tasks and names those that fail. `--full` takes longer random walks, and compares every task
with its unvmapped run, which is a compilation of its own; `test_env.py` does that for reach-v3.
"""

from __future__ import annotations

import functools
import typing
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.mt50 import LANES, TASK_OF_LANE, assert_in_every_lane, compiled, environment, fresh, recorded

import mjx_metaworld as mw
from mjx_metaworld.testing import KinematicEngine
from mjx_metaworld.types import Episode, Metrics, State

QUICK_STEPS, FULL_STEPS = 60, 500
FEW_TASKS = ("pick-place-v3", "door-open-v3", "handle-press-v3")  # a free object, a moving prop, one that settles


class Walk(NamedTuple):
    """A random walk in all lanes; leaves of the arrays have leading axes (steps, lanes)."""

    obs: np.ndarray
    reward: np.ndarray
    qvel: np.ndarray
    metrics: np.ndarray
    truncated: np.ndarray
    state: State  # the last


@functools.cache
def walk(num_steps: int) -> Walk:
    """Actions that wander at random, so that the hand leaves its place and reaches objects and bounds."""
    rng, state, rows = np.random.default_rng(0), fresh(), []
    action = rng.uniform(-1.0, 1.0, (LANES, 4))
    for _ in range(num_steps):
        action = np.clip(0.9 * action + 0.45 * rng.normal(size=(LANES, 4)), -1.0, 1.0)
        state = compiled().step(state, jnp.asarray(action, jnp.float32))
        metrics = jnp.stack(jax.tree.leaves(state.metrics), axis=-1)
        rows.append((state.obs, state.reward, state.physics.qvel, metrics, state.truncated))
    obs, reward, qvel, metrics, truncated = map(np.stack, zip(*jax.device_get(rows), strict=True))
    return Walk(obs, reward, qvel, metrics, truncated, state)


each_length = pytest.mark.parametrize("num_steps", [QUICK_STEPS, pytest.param(FULL_STEPS, marks=pytest.mark.full)])


def lanes_equal(left: State, right: State) -> np.ndarray:
    """(lanes,) whether all of a lane's state is the same to the bit."""

    def same(a, b):
        return np.all(np.asarray(a == b).reshape(LANES, -1), axis=1)

    return np.all(jax.tree.leaves(jax.tree.map(same, left, right)), axis=0)


@pytest.mark.parametrize("moment", ["after reset", "after a step"])
def test_every_field_is_as_annotated(moment):
    """Shapes and types of one lane against the annotations of the structs."""
    env, state = environment(), fresh()
    if moment == "after a step":
        state = compiled().step(state, jnp.zeros((LANES, 4)))
    lane = jax.tree.map(lambda x: x[0], state)
    for struct in (lane, lane.metrics, lane.episode):
        for name, annotation in typing.get_type_hints(type(struct)).items():
            value = getattr(struct, name)
            if name in ("pixels", "randomised"):  # whatever one's cameras draw, and terms say
                assert value is None
                continue
            assert isinstance(value, annotation), (
                type(struct).__name__,
                name,
                annotation,
                jax.tree.map(jnp.shape, value),
            )
    assert (lane.obs.shape, lane.episode.rand_vec.shape) == ((env.observation_size,), (env.rand_vec_size,))
    sizes = {"qpos": 19, "qvel": 18, "mocap_pos": 3, "prop_pos": 3, "qacc_warmstart": 18}
    assert {name: getattr(lane.physics, name).shape for name in sizes} == {name: (n,) for name, n in sizes.items()}
    floats = [leaf for leaf in jax.tree.leaves(lane) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert all(leaf.dtype == jnp.float32 and not leaf.weak_type for leaf in floats)
    assert lane.task.dtype == lane.episode.step.dtype == jnp.int32


def test_a_step_keeps_the_structure():
    """Or it could not be the body of a scan."""
    state = fresh()
    after = jax.eval_shape(compiled().step, state, jnp.zeros((LANES, 4)))
    assert jax.tree.structure(state) == jax.tree.structure(after)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == jax.tree.map(lambda x: (x.shape, x.dtype), after)


def test_reset_is_a_function_of_its_key():
    assert_in_every_lane(lanes_equal(fresh(3), fresh(3)), "another state for the same key")
    # Eight goals a task: two lanes of four keys. Tasks that draw from a bank of 128 may draw a row twice, never often.
    drawn = np.concatenate([fresh(seed).episode.rand_vec.reshape(2, 50, -1) for seed in range(4)])
    distinct = np.array([len(np.unique(drawn[:, task], axis=0)) for task in range(50)])
    assert_in_every_lane(np.tile(distinct >= 6, 2), "the same goals for different keys")


def test_reset_starts_an_episode():
    state = fresh()
    np.testing.assert_array_equal(state.task, TASK_OF_LANE)
    for leaf in (state.reward, state.truncated, state.terminated, state.episode.step, *jax.tree.leaves(state.metrics)):
        np.testing.assert_array_equal(leaf, 0)
    box = environment().observation_space
    assert_in_every_lane(np.all((state.obs >= box.low) & (state.obs <= box.high), axis=1), "reset out of bounds")


@each_length
def test_random_walks_stay_finite(num_steps):
    found = walk(num_steps)
    for name in ("obs", "reward", "qvel", "metrics"):
        finite = np.isfinite(getattr(found, name).reshape(num_steps, LANES, -1))
        assert_in_every_lane(finite.all(axis=(0, 2)), f"{name} not finite")
    assert_in_every_lane(np.ptp(found.obs[..., :3], axis=0).max(axis=1) > 0.01, "the hand stands still")


@each_length
def test_random_walks_stay_in_the_observation_space(num_steps):
    obs, box = walk(num_steps).obs, environment().observation_space
    assert_in_every_lane(((obs >= box.low) & (obs <= box.high)).all(axis=(0, 2)), "observation out of bounds")


@each_length
def test_rewards_stay_in_their_range(num_steps):
    """The v2 rewards and the success of all tasks lie in [0, 10] and {0, 1}; 10 is reached, so rounding counts."""
    found = walk(num_steps)
    assert_in_every_lane(((found.reward >= 0.0) & (found.reward <= 10.0 + 1e-5)).all(axis=0), "reward out of range")
    success = found.metrics[..., list(Metrics.__dataclass_fields__).index("success")]
    assert_in_every_lane(np.isin(success, (0.0, 1.0)).all(axis=0), "success is no truth value")


@each_length
def test_truncation_at_the_end_of_an_episode(num_steps):
    """In the quick form the walk is cut to its last two steps before the 500th."""
    found, length = walk(num_steps), environment().max_episode_steps
    np.testing.assert_array_equal(found.state.episode.step, num_steps)
    expected = np.arange(1, num_steps + 1) >= length
    assert_in_every_lane((found.truncated == expected[:, None]).all(axis=0), "truncated too early or late")
    late: Episode = found.state.episode.replace(step=jnp.full(LANES, length - 2, jnp.int32))
    state = found.state.replace(episode=late)
    for expected_last in (False, True):
        state = compiled().step(state, jnp.zeros((LANES, 4)))
        np.testing.assert_array_equal(state.truncated, expected_last)
    assert not np.any(state.terminated)


def test_no_recompilation_when_tasks_and_goals_change():
    compiled().step(fresh(), jnp.zeros((LANES, 4)))
    before = list(compiled().traces)
    compiled().step(fresh(5, np.flip(TASK_OF_LANE)), jnp.ones((LANES, 4)))
    compiled().step(fresh(6, np.full(LANES, 7)), jnp.ones((LANES, 4)))
    assert compiled().traces == before


def step_in_order(order: np.ndarray) -> tuple[State, State]:
    """One step of the walk's last state as it is, and in another order of lanes (brought back into the first)."""
    state = walk(QUICK_STEPS).state
    action = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, (LANES, 4)), jnp.float32)
    permuted = compiled().step(jax.tree.map(lambda x: x[order], state), action[order])
    back = np.argsort(order)
    return compiled().step(state, action), jax.tree.map(lambda x: x[back], permuted)


def test_a_lane_depends_on_its_place_by_rounding_alone():
    """XLA computes the places at the end of a loop, which fill no vector register, one by one, where it may fuse a
    multiplication with an addition and so round once less; in some ten of these lanes a last bit of qvel differs.
    Exchanging whole tiles moves places, too: environments of equal cost are sorted in the order given, and near pairs
    are packed in the order of their environments.
    """
    tiles_exchanged = np.r_[16:32, 0:16, 32:LANES]
    for order in (tiles_exchanged, np.random.default_rng(1).permutation(LANES)):
        straight, permuted = step_in_order(order)
        assert_in_every_lane(np.abs(straight.obs - permuted.obs).max(axis=1) < 1e-6, "depends on the place")
        np.testing.assert_array_equal(straight.task, permuted.task)


def test_a_lane_does_not_depend_on_its_neighbours():
    """Every second lane is given another task and wild numbers; the lanes between give the same, but for the rounding
    that comes with their place: sorted among neighbours of other costs they stand elsewhere in a tile (see above).
    """
    rng, state = np.random.default_rng(2), walk(QUICK_STEPS).state
    action = jnp.asarray(rng.uniform(-1, 1, (LANES, 4)), jnp.float32)
    kept = np.arange(LANES) % 2 == 0
    calm = fresh(9, np.roll(TASK_OF_LANE, 13))
    wild = calm.replace(physics=calm.physics.replace(qvel=calm.physics.qvel.at[:].set(jnp.nan)))

    def mix(mine, other):
        return jnp.where(kept.reshape(-1, *[1] * (mine.ndim - 1)), mine, other)

    def beside(other: State) -> State:
        return compiled().step(jax.tree.map(mix, state, other), mix(action, jnp.ones_like(action)))

    straight, beside_calm, beside_wild = compiled().step(state, action), beside(calm), beside(wild)
    # In the same places, it makes no difference at all what the neighbours' numbers are.
    assert_in_every_lane(lanes_equal(beside_calm, beside_wild) | ~kept, "depends on its neighbours' numbers")
    near = np.abs(straight.obs - beside_wild.obs).max(axis=1) < 1e-6
    assert_in_every_lane(near | ~kept, "depends on its neighbours")


def assert_close(ours, theirs, task: str, *, atol: float, rtol: float = 0.0) -> None:
    """Every leaf of two structs."""
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol, atol, err_msg=task), ours, theirs)


def take_lane(tree, lane: int):
    return jax.tree.map(lambda x: x[lane], tree)


@pytest.mark.parametrize("names", [FEW_TASKS[:1], pytest.param(FEW_TASKS, marks=pytest.mark.full)], ids=len)
def test_eager_reset_equals_the_jitted_one(names):
    """Few tasks, since an eager reset compiles its branches anew. Fused multiplications round once instead of twice, so
    float32's resolution of positions of 1 m and angles of 2 rad is allowed.
    """
    env, key = mw.make(list(names), engine=KinematicEngine), jax.random.key(0)
    reset = jax.jit(env.reset)
    for task, name in enumerate(names):
        eager, jitted = env.reset(key, task), reset(key, task)
        assert_close((eager.obs, eager.physics), (jitted.obs, jitted.physics), name, atol=2e-6)


@pytest.mark.full
def test_single_environments_equal_their_lanes():
    """Float32 rounding differs without vmap, and a contact that is just made or lost magnifies it; 1e-5 is the bar of
    the parity with the reference, 1e-3 that of its tail.
    """
    state = walk(QUICK_STEPS).state
    action = jnp.asarray(np.random.default_rng(3).uniform(-1, 1, (LANES, 4)), jnp.float32)
    lanes = compiled().step(state, action)
    single = jax.jit(environment().step)
    error = np.zeros(LANES)
    for lane in range(LANES):
        after = single(take_lane(state, lane), action[lane])
        error[lane] = np.abs(after.obs - lanes.obs[lane]).max()
    assert np.median(error) < 1e-5
    assert_in_every_lane(error < 1e-3, "a single environment differs from its lane")


@pytest.mark.parametrize(
    "every", [pytest.param(5, id="some-tasks"), pytest.param(1, id="all-tasks", marks=pytest.mark.full)]
)
def test_eager_rewards_equal_jitted_ones(every):
    """The reward part of a step; its physics part would take minutes to run eagerly. Roundings of float32, on rewards
    up to 10.
    """
    env = environment()
    for task in range(0, len(env.tasks), every):
        spec = env.tasks[task]
        rewarded = jax.vmap(lambda inputs, spec=spec: spec.reward_of("v2")(inputs).metrics())
        inputs = jax.tree.map(jnp.asarray, recorded(task).inputs)
        assert_close(rewarded(inputs), jax.jit(rewarded)(inputs), spec.name, rtol=1e-5, atol=1e-5)
