"""Bad input is refused where it is known and flagged where it is traced; healthy runs pass JAX's checks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld.adapters.gymnax import GymnaxEnv
from mjx_metaworld.episodes import no_episodes
from mjx_metaworld.testing import KinematicEngine
from mjx_metaworld.training.episodes import follow
from mjx_metaworld.vector import reset_to_goals

TASKS = ["reach-v3", "door-open-v3", "door-lock-v3"]
GOALS = mw.goals(TASKS, 1, 2)
ENVS = 6
ZERO = jnp.zeros((ENVS, 4))


class Index:
    """An integer of somebody else's."""

    def __init__(self, number):
        self.number = number

    def __index__(self):
        return self.number


@pytest.fixture(scope="module")
def env():
    return mw.make(TASKS, engine=KinematicEngine)


@pytest.fixture(scope="module")
def vector_env(env):
    return mw.VectorEnv(env, ENVS, resample_task=False)


@pytest.fixture(scope="module")
def step(vector_env):
    return mw.jit(vector_env.step)


@pytest.fixture(scope="module")
def state(vector_env):
    return mw.jit(vector_env.reset)(jax.random.key(0))


@pytest.fixture(scope="module")
def single_steps(env):
    """Of lanes that do not restart."""
    return mw.jit(jax.vmap(env.step))


# --- integers ---


@pytest.mark.parametrize("one", [Index(1), np.int8(1), np.uint64(1), np.array(1), jnp.int32(1)])
def test_whatever_has_an_index_is_an_integer(one, env):
    key = jax.random.key(0)
    assert int(env.reset(key, one).task) == 1
    assert int(env.reset_to(one, jnp.zeros(env.rand_vec_size)).task) == 1
    assert mw.VectorEnv(env, one).num_envs == 1
    assert mw.make("reach-v3", max_episode_steps=one, engine=KinematicEngine).max_episode_steps == 1


@pytest.mark.parametrize("bad", [1.0, True, "1", np.float32(1), jnp.zeros(2, int), [0, 1]])
def test_what_is_no_integer_is_no_task(bad, env):
    for make in (lambda: env.reset(jax.random.key(0), bad), lambda: env.reset_to(bad, jnp.zeros(env.rand_vec_size))):
        with pytest.raises(TypeError, match="task must be one integer"):
            make()


@pytest.mark.parametrize("bad", [-1, 3, np.int64(7), jnp.int32(-2), Index(3)])
def test_a_known_task_out_of_range_is_refused(bad, env):
    for make in (lambda: env.reset(jax.random.key(0), bad), lambda: env.reset_to(bad, jnp.zeros(env.rand_vec_size))):
        with pytest.raises(ValueError, match=r"task must be in 0\.\.2, got"):
            make()


# --- options and keys ---


@pytest.mark.parametrize("option", ["goal_observable", "one_hot", "terminate_on_success", "privileged"])
def test_a_boolean_option_is_a_boolean(option, env):
    with pytest.raises(ValueError, match=f"{option} must be True or False, got 'no'"):
        mw.make("reach-v3", **{option: "no"})
    with pytest.raises(ValueError, match="resample_task must be True or False, got 1"):
        mw.VectorEnv(env, 2, resample_task=1)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"physics": "fast"}, r"physics must be mw.PhysicsConfig\(...\) or None, got 'fast'"),
        ({"physics": {}}, r"physics must be mw.PhysicsConfig\(...\) or None, got {}"),
        ({"engine": "mujoco"}, "engine must make the physics, .*got 'mujoco'"),
        ({"randomise": "friction=0.5,1.5"}, r"takes terms such as .*, got 'friction=0.5,1.5'"),
        ({"randomise": 3}, r"takes terms such as .*, got 3"),
        (
            {"randomise": [mw.randomise.friction]},
            r"takes mw.randomise.friction\(...\), got the function without a call",
        ),
    ],
)
def test_options_of_another_kind_are_refused(options, reason):
    with pytest.raises(TypeError, match=reason):
        mw.make("reach-v3", **options)


@pytest.mark.parametrize("nothing", [None, 5])
def test_what_names_no_tasks_is_refused(nothing):
    with pytest.raises(TypeError, match=f"tasks are names or TaskSpecs, got {nothing}"):
        mw.make(nothing)


def test_what_is_no_key_is_refused_alike(env, vector_env):
    for draw in (env.reset, vector_env.reset, lambda key: mw.rollout(vector_env, None, key, 1)):
        with pytest.raises(TypeError, match=r"key must be a random key, as jax\.random\.key\(0\) .*, got 0"):
            draw(0)


@pytest.mark.parametrize("bad", [-1, 2.0, True])
def test_a_number_of_steps_is_an_integer(bad, vector_env):
    with pytest.raises(ValueError, match=f"num_steps must be an integer >= 0, got {bad}"):
        mw.rollout(vector_env, None, jax.random.key(0), bad)


# --- goals ---


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_known_goal_that_is_not_finite_is_refused(number, env):
    goals = [np.array(vectors[:2]) for vectors in mw.goals(TASKS, 1)]
    bad = np.pad(goals[1][0], (0, env.rand_vec_size - len(goals[1][0])))
    bad[1] = number
    with pytest.raises(ValueError, match=r"rand_vec must be finite, got \[.*(nan|inf)"):
        env.reset_to(1, bad)
    with pytest.raises(ValueError, match=r"rand_vec must be finite"):
        jax.jit(lambda: env.reset_to(1, bad))()
    goals[1][1, 0] = number
    with pytest.raises(ValueError, match=r"goal vectors must be finite, got \[(nan|inf).*entry 1"):
        reset_to_goals(env, goals)


@pytest.mark.parametrize(
    ("goals", "tasks", "reason"),
    [
        ([GOALS[0]] * 4, None, r"goals of at most 3 tasks \(reach-v3, door-open-v3, door-lock-v3\), got 4 entries"),
        ([GOALS[0], GOALS[0]], [0], "one entry for each of 1 tasks, got 2 entries"),
        ([], None, "those of at least one task, got 0 entries"),
        ([GOALS[0]], [3], r"task must be in 0\.\.2, got 3"),
        ([GOALS[1][:, :2]], [2], r"of door-lock-v3 \(entry 0\) must have shape \(3 or 6,\), got \(2,\)"),
        ([GOALS[1], GOALS[1]], [1, 0], r"of reach-v3 \(entry 1\) must have shape \(6,\), got \(3,\)"),
        ([np.ones((1, 7))], None, r"shape \(n, rand\), rand at most 6, got \(1, 7\) as entry 0"),
        (GOALS[0], None, r"shape \(n, rand\), rand at most 6, got \(6,\) as entry 0; .*: \[vectors\]"),
    ],
)
def test_goals_of_other_tasks_are_refused(goals, tasks, reason, env):
    with pytest.raises(ValueError, match=reason):
        reset_to_goals(env, goals, tasks)
    with pytest.raises(TypeError, match="task must be one integer"):
        reset_to_goals(env, [GOALS[0]], [0.0])


# --- what is traced ---


def test_a_traced_task_out_of_range_is_flagged_and_no_mixture(env, single_steps):
    reset = jax.jit(jax.vmap(env.reset))
    keys, tasks = jax.random.split(jax.random.key(0), ENVS), np.array([-1, 0, 1, 2, 3, 0])
    state = reset(keys, tasks)
    known = [False, True, True, True, False, True]
    assert state.finite.tolist() == known
    assert (~np.isnan(np.asarray(state.episode.rand_vec)))[:, 0].tolist() == known
    assert (~np.isnan(np.asarray(state.obs))).all(axis=1).tolist() == known
    assert state.task.tolist() == tasks.tolist()
    after = single_steps(state, ZERO)
    assert after.finite.tolist() == after.terminated.__invert__().tolist() == known
    np.testing.assert_array_equal(after.reward == 0, ~after.finite)
    alike = reset(keys, np.array([0, 0, 1, 2, 0, 0]))
    np.testing.assert_array_equal(alike.obs[1:4], state.obs[1:4])


def test_a_task_that_is_put_into_a_state_is_flagged_by_its_step(state, single_steps):
    bad = state.replace(task=state.task.at[1].set(3).at[4].set(-1))
    after = single_steps(bad, ZERO)
    assert np.flatnonzero(~np.asarray(after.finite)).tolist() == [1, 4]
    np.testing.assert_array_equal(np.asarray(after.obs)[[1, 4]], np.asarray(state.obs)[[1, 4]])


@pytest.mark.parametrize("tasks", [TASKS, "door-lock-v3"])
def test_a_traced_goal_that_is_not_finite_is_flagged(tasks):
    env = mw.make(tasks, engine=KinematicEngine)
    goal = np.zeros(env.rand_vec_size)
    goal[: len(env.tasks[-1].rand_low)] = mw.goals("door-lock-v3", 1)[0][0]
    task = jnp.full(3, len(env.tasks) - 1)
    state = jax.jit(jax.vmap(env.reset_to))(task, jnp.stack([goal, goal.copy() * np.nan, goal]))
    assert state.finite.tolist() == [True, False, True]
    assert np.isfinite(np.asarray(state.obs)[[0, 2]]).all()


# --- lanes that are not finite ---


@pytest.mark.parametrize("part", ["qpos", "qvel", "mocap_pos"])
def test_a_lane_whose_physics_is_not_finite_ends_and_starts_anew(part, step, state):
    value = getattr(state.physics, part)
    bad = state.replace(physics=state.physics.replace(**{part: value.at[2, 0].set(jnp.nan)}))
    after, transition = step(bad, ZERO)
    expected, healthy = step(state, ZERO)
    if part == "qvel":  # which kinematics alone sets to zero
        assert transition.finite.all()
        return
    assert np.flatnonzero(~np.asarray(transition.finite)).tolist() == [2]
    assert np.flatnonzero(transition.terminated).tolist() == [2]
    assert np.isfinite(np.asarray(transition.next_obs)).all()
    assert float(transition.reward[2]) == 0.0
    assert all(np.isfinite(np.asarray(x)).all() for x in jax.tree.leaves(after))
    assert after.episode.step.tolist() == [1, 1, 0, 1, 1, 1]
    assert after.task.tolist() == state.task.tolist()
    others = np.array([0, 1, 3, 4, 5])
    np.testing.assert_array_equal(transition.next_obs[others], healthy.next_obs[others])
    np.testing.assert_array_equal(after.obs[others], expected.obs[others])
    _, later = step(after, ZERO)
    assert later.finite.all()


def test_other_numbers_of_lanes_are_refused(vector_env, state):
    fewer = jax.tree.map(lambda x: x[:2], state)
    cases = [(state, ZERO[:2], "action"), (fewer, ZERO, "state.task"), (fewer, ZERO[:2], "state.task")]
    for given, action, name in cases:
        with pytest.raises(ValueError, match=rf"{name} must have a row for each of the 6 lanes, got shape \(2,"):
            vector_env.step(given, action)
        with pytest.raises(ValueError, match=rf"{name} must have a row for each of the 6 lanes"):
            vector_env.advance(given, action)
    for done in (jnp.zeros(2, bool), jnp.zeros((6, 1), bool), True):
        with pytest.raises(ValueError, match="done must have a row for each of the 6 lanes, got shape"):
            vector_env.restart(state, done)


@pytest.mark.parametrize("value", [0.5, 1, -1, jnp.nan])
def test_whether_an_episode_ended_is_a_boolean(env, vector_env, state, value):
    done = [value] + [type(value)(0)] * 5
    message = r"done must hold booleans, such as done > 0, got (float|int)"
    with pytest.raises(TypeError, match=message):
        vector_env.restart(state, done)
    with pytest.raises(TypeError, match=message):
        mw.vector.restart(env, jax.tree.map(lambda x: x[0], state), value)
    with pytest.raises(TypeError, match=r"trials must be what mw.begin_trials.*got State"):
        mw.end_trials(vector_env, state, done)


def test_lists_are_taken_for_arrays(vector_env, state):
    assert jax.eval_shape(lambda s: vector_env.step(s, [[0.0] * 4] * 6), state)[1].reward.shape == (6,)
    assert jax.eval_shape(lambda s: vector_env.advance(s, [[0.0] * 4] * 6), state)[1].reward.shape == (6,)
    assert jax.eval_shape(lambda s: vector_env.restart(s, [True, False] * 3), state).reward.shape == (6,)


def test_what_is_no_environment_or_batch_is_refused(env, vector_env, state):
    key = jax.random.key(0)
    calls = [
        (lambda: mw.VectorEnv("reach-v3", 2), "env must be an environment.*got 'reach-v3'"),
        (lambda: mw.VectorEnv(env, 2, devices="cpu"), "devices must be some of jax.devices.*got 'cpu'"),
        (lambda: mw.expert("reach-v3"), "env must be an environment.*got 'reach-v3'"),
        (lambda: mw.rollout(env, lambda obs, key: obs[:4], key, 3), "vector_env must be a batch.*got MetaWorldEnv"),
        (lambda: mw.begin_trials(env, key), "vector_env must be a batch.*got MetaWorldEnv"),
        (lambda: mw.step_trials(vector_env, state, ZERO, 2), "trials must be what mw.begin_trials.*got State"),
        (lambda: jax.jit(lambda state: mw.render(env, state))(state), "mw.render draws on the host.*mw.camera"),
    ]
    for call, message in calls:
        with pytest.raises(TypeError, match=message):
            call()


def test_policies_that_give_too_much_or_too_little_are_told_so(vector_env):
    key = jax.random.key(0)
    with pytest.raises(TypeError, match="without carry gives an action alone, got a tuple of 2"):
        jax.eval_shape(lambda key: mw.rollout(vector_env, lambda obs, key: (ZERO, None), key, 3), key)
    with pytest.raises(TypeError, match=r"with carry gives \(action, carry, extras\), got a tuple of 2"):
        jax.eval_shape(
            lambda key: mw.rollout(vector_env, lambda state, carry, key: (ZERO, carry), key, 3, carry=None), key
        )


def test_a_policy_that_carries_may_give_a_list(vector_env):
    def run(key):
        return mw.rollout(vector_env, lambda state, carry, key: [ZERO, carry, 7], key, 3, carry=None)

    assert jax.eval_shape(run, jax.random.key(0)).extras.shape == (3,)


def test_an_action_that_is_not_finite_is_flagged_and_goes_on(step, state):
    after, transition = step(state, ZERO.at[1, 0].set(jnp.inf).at[3].set(jnp.nan))
    expected, _ = step(state, ZERO)
    assert np.flatnonzero(~np.asarray(transition.finite)).tolist() == [1, 3]
    assert not transition.terminated.any()
    np.testing.assert_array_equal(after.obs, expected.obs)
    assert after.episode.invalid_action.tolist() == (~transition.finite).tolist()


def test_a_reward_that_is_not_finite_is_flagged(scratch_registry):
    from mjx_metaworld.tasks.registry import find_task, task

    reach = find_task("reach-v3")

    @task("reach-by-zero", like="reach-v3")
    def by_zero(s):
        outcome = reach.reward(s)
        return outcome.replace(reward=outcome.reward / s.action[3])

    env = mw.make("reach-by-zero", engine=KinematicEngine)
    state, step = jax.jit(env.reset)(jax.random.key(0)), jax.jit(env.step)
    assert step(state, jnp.ones(4)).finite
    after = step(state, jnp.zeros(4))
    assert not after.finite
    assert after.terminated
    assert (after.reward, after.metrics.unscaled_reward) == (0.0, 0.0)


def test_training_counts_the_steps_that_are_not_finite(step, state):
    _, transition = step(state, ZERO.at[1, 0].set(jnp.inf).at[3].set(jnp.nan))
    _, report = follow(no_episodes(ENVS), jax.tree.map(lambda x: x[None], transition), len(TASKS))
    assert float(report.nonfinite_steps) == 2


def test_the_gymnax_adapter_says_so(env, state):
    adapter = GymnaxEnv(env)
    actions = ZERO.at[0].set(jnp.nan)
    *_, info = jax.jit(jax.vmap(adapter.step))(jax.random.split(jax.random.key(0), ENVS), state, actions)
    assert info["finite"].tolist() == [False, *[True] * (ENVS - 1)]


def test_the_brax_adapter_says_so(env):
    brax = pytest.importorskip("mjx_metaworld.adapters.brax")
    wrapped = brax.wrap(brax.BraxEnv(env), episode_length=5)
    state = jax.jit(wrapped.reset)(jax.random.split(jax.random.key(0), ENVS))
    assert state.info["finite"].all()
    inner = state.pipeline_state.env
    inner = inner.replace(physics=inner.physics.replace(qpos=inner.physics.qpos.at[1].set(jnp.nan)))
    state = state.replace(pipeline_state=state.pipeline_state.replace(env=inner))
    state = jax.jit(wrapped.step)(state, ZERO.at[3].set(jnp.nan))
    assert np.flatnonzero(~np.asarray(state.info["finite"])).tolist() == [1, 3]
    assert np.flatnonzero(state.done).tolist() == [1]
    assert np.isfinite(np.asarray(state.obs)).all()


@pytest.mark.usefixtures("kinematic")
@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_the_gymnasium_adapter_says_so(mode):
    from mjx_metaworld.adapters.gymnasium import make_mt

    envs = make_mt("reach-v3", num_envs=4, seed=1, autoreset_mode=mode)
    envs.reset()
    actions = np.zeros((4, 4), np.float32)
    assert "finite" not in envs.step(actions)[-1]
    envs._state = envs._state.replace(
        physics=envs._state.physics.replace(qpos=envs._state.physics.qpos.at[1].set(jnp.nan))
    )
    actions[2] = np.nan
    obs, reward, terminated, truncated, infos = envs.step(actions)
    assert infos["finite"].tolist() == [True, False, False, True]
    assert infos["_finite"].all()
    assert terminated.tolist() == [False, True, False, False]
    assert reward[1] == 0.0
    assert not truncated.any()
    assert np.isfinite(obs).all()


# --- JAX's own checks ---


@pytest.mark.ci
@pytest.mark.parametrize("backend", ["cpu", "accelerator"])
def test_strict_promotion_traces(backend):
    """The physics, its gradient and the lowering too, alone and in a batch."""
    env = mw.make(["reach-v3", "door-lock-v3"], backend=backend, one_hot=True)
    vector_env = mw.VectorEnv(env, 2)
    states = jax.eval_shape(vector_env.reset, jax.random.key(0))
    goals = jnp.zeros((2, env.rand_vec_size))
    actions = jnp.zeros((2, 4))

    def slope(states, actions):
        return jax.grad(lambda actions: vector_env.step(states, actions)[1].next_obs.sum())(actions)

    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        jax.eval_shape(env.reset, jax.random.key(0))
        jax.jit(vector_env.reset).lower(jax.random.key(0))
        jax.jit(jax.vmap(env.reset_to)).lower(jnp.zeros(2, jnp.int32), goals)
        jax.eval_shape(vector_env.step, states, actions)
        jax.jit(vector_env.restart).lower(states, jnp.ones(2, bool))
        jax.eval_shape(slope, states, actions)
        jax.eval_shape(mw.expert(env), jnp.zeros(env.observation_size), jnp.int32(0))
        if backend == "accelerator":  # which lowers in a third of the time
            jax.jit(slope).lower(states, actions)


def test_debugging_does_not_stop_a_healthy_run(vector_env):
    """The compiled reset and step; both flags at once, as each alone would trace everything again."""
    with jax.debug_nans(True), jax.debug_infs(True):
        state = mw.jit(vector_env.reset)(jax.random.key(1))
        mw.jit(vector_env.step)(state, ZERO)


@pytest.mark.full
@pytest.mark.parametrize("flag", ["jax_debug_nans", "jax_debug_infs"])
def test_debugging_does_not_stop_eager_calls(flag, env, vector_env, state):
    config = {"jax_debug_nans": jax.debug_nans, "jax_debug_infs": jax.debug_infs}[flag]
    with config(True):
        for make in (env.reset, jax.jit(env.reset)):
            make(jax.random.key(0))
        vector_env.reset(jax.random.key(1))
        env.reset_to(1, mw.goals(TASKS, 1)[1][0])
        env.step(jax.tree.map(lambda x: x[0], state), jnp.zeros(4))
        vector_env.step(state, ZERO)
        jax.jit(vector_env.step)(state, ZERO)
        vector_env.restart(state, jnp.ones(ENVS, bool))


def test_floats_of_another_width_are_refused():
    env = mw.make("reach-v3", engine=KinematicEngine)
    state = jax.eval_shape(jax.vmap(env.reset), jax.random.split(jax.random.key(0), ENVS))
    with jax.enable_x64(True):
        with pytest.raises(TypeError, match=r"the state is of float32, but JAX.s default is float64.*jax_enable_x64"):
            jax.eval_shape(jax.vmap(env.step), state, ZERO)
        wide = jax.tree.map(lambda x: x.update(dtype=float) if jnp.issubdtype(x.dtype, jnp.floating) else x, state)
        assert jax.eval_shape(jax.vmap(env.step), wide, ZERO).obs.dtype == jnp.float64


@pytest.mark.ci
@pytest.mark.parametrize("method", ["step", pytest.param("restart", marks=pytest.mark.full)])
def test_a_vector_env_is_exported_with_a_symbolic_batch(method, vector_env, step, state):
    """Its restarts, which are part of a step; of that the number of lanes is known where the physics divides them."""
    (size,) = jax.export.symbolic_shape("envs")
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct((size, *x.shape[1:]), x.dtype), state)
    argument = {"step": ZERO, "restart": jnp.arange(ENVS) % 2 == 0}[method]
    call = getattr(vector_env, method)
    other = jax.ShapeDtypeStruct((size, *argument.shape[1:]), argument.dtype)
    found = jax.export.export(jax.jit(call))(shapes, other).call(state, argument)
    expected = (step if method == "step" else mw.jit(call))(state, argument)
    for mine, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)  # rounded by two compilers' options
