"""LeRobot: the vector environment's contract without LeRobot, and LeRobot itself where it is installed."""

# pyright: reportMissingImports=false
from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import jax
import mujoco
import numpy as np
import pytest
from support.metaworld_reference import seeded_goal

import mjx_metaworld as mw
from mjx_metaworld.adapters.lerobot import vector_env as vector_env_module
from mjx_metaworld.adapters.lerobot.simulator import simulator
from mjx_metaworld.adapters.lerobot.vector_env import LeRobotVectorEnv
from mjx_metaworld.parity.reference import reference_env, start_reference
from mjx_metaworld.rendering.raycast import raycast
from mjx_metaworld.rendering.render import choose_backend, render
from mjx_metaworld.suites import list_tasks

pytestmark = pytest.mark.usefixtures("kinematic")

LANES = 8
TASKS = ("reach-v3", "push-back-v3")
STEPS = 70  # enough for the expert to reach most goals, and a time limit for the other task


def build(task: str = "reach-v3", **options: Any) -> LeRobotVectorEnv:
    settings: dict[str, Any] = {"compiled_for": TASKS, "max_episode_steps": STEPS, "width": 16, "height": 12} | options
    return LeRobotVectorEnv(task, LANES, task_description=f"do {task}", **settings)


# --- the vector environment ---


@pytest.fixture(scope="module")
def episode(kinematic: None) -> Iterator[tuple[LeRobotVectorEnv, list]]:
    """The expert on reach until all lanes are done and a few steps more, with what each step returned."""
    env = build(obs_type="state")
    observation, info = env.reset(seed=list(range(LANES)))
    assert not info["is_success"].any()
    policy = jax.jit(jax.vmap(mw.expert(mw.make("reach-v3")), in_axes=(0, None)))
    steps = []
    for _ in range(STEPS + 3):
        action = np.clip(policy(observation["environment_state"].astype(np.float32), 0), -1, 1)
        observation, *rest = env.step(np.asarray(action))
        steps.append((observation, *rest))
    yield env, steps
    env.close()


def test_an_episode_ends_at_its_first_success(episode):
    _, steps = episode
    success = np.array([info["is_success"] for *_, info in steps])
    terminated = np.array([terminated for _, _, terminated, _, _ in steps])
    truncated = np.array([truncated for *_, truncated, _ in steps])
    np.testing.assert_array_equal(success, terminated)
    assert terminated[-1].sum() >= LANES // 2  # the expert needs 35 to 80 steps
    assert (terminated[-1] | truncated[-1]).all()
    assert not terminated[10].any()
    for step, (*_, info) in enumerate(steps):
        ended = terminated[step] | truncated[step]
        assert ("final_info" in info) == ended.any()
        if ended.any():
            np.testing.assert_array_equal(info["final_info"]["is_success"], success[step])


def test_finished_lanes_stand_still(episode):
    _, steps = episode
    lane = int(np.argmax(steps[-1][2]))
    end = next(i for i, step in enumerate(steps) if step[2][lane])
    assert steps[end][1][lane] > 0  # the success itself is rewarded
    for observation, reward, terminated, truncated, info in steps[end + 1 :]:
        assert reward[lane] == 0
        assert terminated[lane]
        assert not truncated[lane]
        assert info["is_success"][lane]
        for name, values in observation.items():
            np.testing.assert_array_equal(values[lane], steps[end][0][name][lane])
    moving = [not (step[2] | step[3])[lane] for step in steps[:end]]
    assert all(moving)


def test_observations_are_of_the_declared_kind(episode):
    env, steps = episode
    observation, reward, terminated, _, _ = steps[0]
    assert env.observation_space.contains(observation)
    assert env.action_space.shape == (LANES, 4)
    assert observation["environment_state"].shape == (LANES, 39)
    np.testing.assert_array_equal(observation["agent_pos"], observation["environment_state"][:, :4])
    assert (reward.shape, reward.dtype, terminated.dtype) == ((LANES,), np.float64, np.bool_)


def test_pictures_come_with_the_observation_and_are_not_drawn_twice(monkeypatch):
    drawn = []

    def count(env, state, lanes, width, height, renderer):
        drawn.append(lanes.tolist())
        return np.full((len(lanes), height, width, 3), len(drawn), np.uint8)

    monkeypatch.setattr(vector_env_module, "draw", count)
    env = build()
    observation, _ = env.reset(seed=0)
    assert (observation["pixels"].shape, observation["pixels"].dtype) == ((LANES, 12, 16, 3), np.uint8)
    assert env.observation_space.contains(observation)
    rendered = env.call("render")
    assert len(rendered) == LANES
    np.testing.assert_array_equal(np.stack(rendered), observation["pixels"])
    assert drawn == [list(range(LANES))]
    # A goal where the hand already is, in lane 2: it succeeds at the first step, is drawn once more, then no more.
    assert env._state is not None
    goal = env._state.episode.goal.at[2].set(env._state.episode.tcp_init[2])
    env._state = env._state.replace(episode=env._state.episode.replace(goal=goal))
    _, _, terminated, _, _ = env.step(np.zeros((LANES, 4), np.float32))
    assert terminated.tolist() == [lane == 2 for lane in range(LANES)]
    observation, *_ = env.step(np.zeros((LANES, 4), np.float32))
    assert drawn[1:] == [list(range(LANES)), [lane for lane in range(LANES) if lane != 2]]
    assert observation["pixels"][2].max() == 2
    assert observation["pixels"][3].min() == 3


def test_seeds_and_generators():
    env = build(obs_type="state")
    by_list, _ = env.reset(seed=list(range(5, 5 + LANES)))
    by_start, _ = env.reset(seed=5)
    np.testing.assert_array_equal(by_list["environment_state"], by_start["environment_state"])
    going_on, _ = env.reset()
    assert not np.any(np.all(going_on["environment_state"] == by_start["environment_state"], axis=1))
    again, _ = build(obs_type="state").reset(seed=5)
    np.testing.assert_array_equal(again["environment_state"], by_start["environment_state"])
    with pytest.raises(ValueError, match="one a lane"):
        env.reset(seed=[1, 2])


def test_building_anew_compiles_nothing(episode):
    first = simulator(TASKS, LANES, STEPS)
    env = build("push-back-v3", obs_type="state")
    assert env._simulator is None  # nothing is built before the first reset
    env.reset(seed=0)
    assert env._simulator is first
    assert env._state is not None
    assert env._state.task.tolist() == [1] * LANES
    env.close()
    env.close()
    with pytest.raises(RuntimeError, match="reset"):
        env.step(np.zeros((LANES, 4)))
    observation, _ = env.reset(seed=0)  # a closed environment may start again
    assert observation["agent_pos"].shape == (LANES, 4)


def test_it_and_gymnasiums_adapter_do_not_disturb_each_other():
    gymnasium_adapter = importlib.import_module("mjx_metaworld.adapters.gymnasium")
    actions = np.random.default_rng(0).uniform(-1, 1, (4, LANES, 4)).astype(np.float32)

    def ours() -> Iterator[np.ndarray]:
        env = build(obs_type="state")
        yield env.reset(seed=0)[0]["environment_state"]
        for action in actions:
            yield env.step(action)[0]["environment_state"]
        env.close()

    def gymnasiums() -> Iterator[np.ndarray]:
        envs = gymnasium_adapter.make_mt(list(TASKS), num_envs=LANES, seed=0)
        yield envs.reset(seed=0)[0]
        for action in actions:
            yield envs.step(action)[0]
        envs.close()

    alone = list(ours()), list(gymnasiums())
    together = zip(*zip(ours(), gymnasiums(), strict=True), strict=True)  # by turns
    for before, now in zip(alone, together, strict=True):
        np.testing.assert_array_equal(before, now)


@pytest.mark.full
@pytest.mark.usefixtures("true_physics")
def test_all_fifty_tasks_share_one_program():
    """A group or suite of LeRobot's is compiled once; every task of it starts where metaworld starts it."""
    tasks = tuple(list_tasks())
    generator = np.random.default_rng(0)
    for task in tasks:
        env = build(task, obs_type="state", compiled_for=tasks)
        observation, info = env.reset(seed=1000)
        # Where the hand settles against a fixture, a reset of the reference depends on the one before; not this.
        expected = start_reference(reference_env(task), task, seeded_goal(task, 1000))
        # float32 against float64: the bar of a reset, see docs/guides/parity.md.
        np.testing.assert_allclose(observation["environment_state"][0], expected, atol=1e-5, err_msg=task)
        assert not info["is_success"].any()
        observation, reward, terminated, truncated, info = env.step(generator.uniform(-1, 1, (LANES, 4)))
        assert np.isfinite(observation["environment_state"]).all()
        assert np.isfinite(reward).all()
        np.testing.assert_array_equal(info["is_success"], terminated)
        assert not truncated.any()
        env.close()
    assert simulator(tasks, LANES, STEPS) is simulator(tasks, LANES, STEPS)


def test_one_hot_among_a_list_of_tasks():
    env = build("push-back-v3", obs_type="state", one_hot=("door-open-v3", "push-back-v3", "reach-v3"))
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert observation["environment_state"].shape == (LANES, 42)
    assert observation["environment_state"][:, 39:].tolist() == [[0, 1, 0]] * LANES


def test_what_lerobot_asks_the_lanes_for():
    env = build("push-back-v3", max_episode_steps=123)
    assert env.call("_max_episode_steps") == (123,) * LANES
    assert env.call("task") == env.get_attr("task") == ("push-back-v3",) * LANES
    assert env.call("task_description") == ("do push-back-v3",) * LANES
    assert [(lane.task, lane.task_description) for lane in env.envs] == [("push-back-v3", "do push-back-v3")] * LANES
    assert env.unwrapped.metadata["render_fps"] == 80
    with pytest.raises(AttributeError, match="colour"):
        env.call("colour")
    with pytest.raises(AttributeError, match="colour"):
        env.get_attr("colour")
    with pytest.raises(RuntimeError, match="reset"):
        env.call("render")
    env.close()


@pytest.mark.parametrize(
    "bad",
    [
        {"obs_type": "smell"},
        {"compiled_for": ("door-open-v3",)},
        {"one_hot": ("door-open-v3",)},
        {"max_episode_steps": 0},
        {"width": 0},
    ],
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        build(**bad)


def test_a_suite_is_no_task():
    with pytest.raises(ValueError, match="'MT10' is a suite; name one of its tasks, such as 'reach-v3'"):
        LeRobotVectorEnv("MT10", LANES)


def test_bad_actions_are_refused(episode):
    env, _ = episode
    with pytest.raises(ValueError, match="actions"):
        env.step(np.zeros((LANES, 3)))


def test_the_camera_can_be_moved():
    env, place = mw.make("reach-v3"), (0.75, 0.075, 0.7)
    state = jax.jit(env.reset)(jax.random.key(0))
    moved = render(env, state, width=24, height=24, camera_pos=place, backend="raycast")
    model, data = mw.to_mujoco(env, state)
    camera = model.camera("corner2").id
    assert not np.allclose(model.cam_pos[camera], place)
    model.cam_pos[camera] = place
    mujoco.mj_camlight(model, data)
    np.testing.assert_array_equal(moved, raycast(model, data, camera, 24, 24, depth=False))
    unmoved = render(env, state, width=24, height=24, backend="raycast")
    assert np.abs(unmoved.astype(int) - moved).mean() > 5  # another view, so the model was left as it was


# --- LeRobot itself: skipped where it is not installed ---


@pytest.mark.full
def test_lerobot_knows_the_environment_and_its_groups():
    pytest.importorskip("lerobot")
    from lerobot.envs.factory import make_env, make_env_config
    from lerobot.envs.metaworld import DIFFICULTY_TO_TASKS, TASK_DESCRIPTIONS

    importlib.import_module("mjx_metaworld.adapters.lerobot.config")
    for group, names in DIFFICULTY_TO_TASKS.items():
        envs = make_env(make_env_config("mjx_meta_world", task=group), n_envs=2)
        assert [env.task for env in envs[group].values()] == names  # the same task ids
    envs = make_env(make_env_config("mjx_meta_world", task=",".join(TASK_DESCRIPTIONS)), n_envs=2)
    texts = {name: env.call("task_description") for name, group in envs.items() for env in group.values()}
    assert texts == {name: (text,) * 2 for name, text in TASK_DESCRIPTIONS.items()}
    corrected = make_env(make_env_config("mjx_meta_world", task="MT50", task_texts="corrected"), n_envs=1)
    assert len({env.task_description for env in corrected["MT50"].values()}) == 50


@pytest.mark.full
@pytest.mark.usefixtures("true_physics")
def test_episodes_are_those_of_lerobots_own_environment(monkeypatch):
    pytest.importorskip("lerobot")
    from lerobot.envs.metaworld import MetaworldEnv

    env = build("push-back-v3", obs_type="state")
    observation, _ = env.reset(seed=1000)
    reference = MetaworldEnv("push-back-v3", obs_type="pixels_agent_pos")
    reference._ensure_env()
    monkeypatch.setattr(reference._env, "render", lambda: np.zeros((2, 2, 3), np.uint8))
    expected, _ = reference.reset(seed=1000)
    # float32 physics against float64: resets agree to 1e-5, steps with little contact to 1e-4.
    np.testing.assert_allclose(observation["agent_pos"][0], expected["agent_pos"], atol=1e-5)
    for _ in range(20):
        action = reference.expert_policy.get_action(observation["environment_state"][0]).clip(-1, 1).astype(np.float32)
        observation, reward, *_ = env.step(np.tile(action, (LANES, 1)))
        expected, expected_reward, *_ = reference.step(action)
        np.testing.assert_allclose(observation["agent_pos"][0], expected["agent_pos"], atol=1e-4)
        np.testing.assert_allclose(reward[0], expected_reward, atol=1e-3)


@pytest.mark.full
@pytest.mark.usefixtures("true_physics")
def test_pictures_are_those_of_lerobots_own_environment(monkeypatch):
    pytest.importorskip("lerobot")
    from lerobot.envs.factory import make_env, make_env_config
    from lerobot.envs.metaworld import MetaworldEnv

    backend = choose_backend()
    if backend == "raycast":
        pytest.skip("LeRobot's own environment draws with OpenGL only")
    monkeypatch.setenv("MUJOCO_GL", backend)
    importlib.import_module("mjx_metaworld.adapters.lerobot.config")
    config = make_env_config("mjx_meta_world", task="push-back-v3,door-open-v3")
    assert config.features["pixels/top"].shape == (480, 480, 3)
    assert config.features["agent_pos"].shape == (4,)
    action = np.array([0.5, -0.5, -0.5, 1.0], np.float32)
    for task, group in make_env(config, n_envs=LANES).items():
        env, reference = group[0], MetaworldEnv(task, obs_type="pixels_agent_pos")
        env.reset(seed=[1000] * LANES)
        reference.reset(seed=1000)
        for _ in range(3):  # in its first picture LeRobot's shows the goal's mark where it was before
            observation, *_ = env.step(np.tile(action, (LANES, 1)))
            expected, *_ = reference.step(action)
        assert (observation["pixels"].shape, observation["pixels"].dtype) == ((LANES, 480, 480, 3), np.uint8)
        assert observation["agent_pos"].shape == (LANES, 4)
        np.testing.assert_array_equal(np.stack(env.call("render")), observation["pixels"])
        difference = np.abs(observation["pixels"][0].astype(int) - expected["pixels"]).max(axis=-1)
        print(f"{task}: largest difference {difference.max()}, {np.sum(difference > 2)} of {difference.size} above 2")
        # The states agree to 1e-5 m after three steps, and a pixel is some 2 mm: those that an edge crosses may differ.
        assert np.sum(difference > 2) <= 0.0005 * difference.size
        reference.close()
        env.close()


@pytest.mark.full
def test_lerobot_eval_runs_a_small_policy_on_two_tasks(tmp_path):
    pytest.importorskip("lerobot")
    script = "from lerobot.scripts.lerobot_eval import main; main()"
    small = (
        "--policy.type=act --policy.pretrained_backbone_weights=null --policy.dim_model=64 --policy.n_heads=2 "
        "--policy.dim_feedforward=64 --policy.n_encoder_layers=1 --policy.n_vae_encoder_layers=1 "
        "--policy.device=cpu --policy.push_to_hub=false"
    )
    task = (
        "--env.type=mjx_meta_world --env.task=reach-v3,push-back-v3 --env.episode_length=3 "
        "--env.observation_width=96 --env.observation_height=96 --eval.batch_size=8 --eval.n_episodes=8"
    )
    discovery = "--env.discover_packages_path=mjx_metaworld.adapters.lerobot"
    arguments = [*small.split(), *task.split(), discovery, f"--output_dir={tmp_path}"]
    subprocess.run([sys.executable, "-c", script, *arguments], check=True)
    results = json.loads((tmp_path / "eval_info.json").read_text())
    assert set(results["per_group"]) == set(TASKS)
    assert results["overall"]["n_episodes"] == 16
    assert len(results["overall"]["video_paths"]) == 16
