"""The adapter for PyTorch: memory that is shared, tensors that are the caller's own, and what it refuses."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld.observation import GOAL
from mjx_metaworld.types import Metrics

pytest.importorskip("torch")

import torch

from mjx_metaworld.adapters import torch_tensors
from mjx_metaworld.adapters.torch import TorchEnv

pytestmark = pytest.mark.usefixtures("kinematic")

NUM_ENVS = 6
STEPS = 3  # of an episode


@pytest.fixture(scope="module")
def vector_env(kinematic):
    env = mw.make(["reach-v3", "door-open-v3"], max_episode_steps=STEPS, terminate_on_success=True, one_hot=True)
    return mw.VectorEnv(env, NUM_ENVS, resample_task=False)


@pytest.fixture(scope="module")
def shared(vector_env):
    return TorchEnv(vector_env, device="cpu")


@pytest.fixture
def env(shared):
    shared.seed(0)
    shared.reset()
    return shared


def actions(seed: int = 0, steps: int = 1) -> torch.Tensor:
    return torch.rand(steps, NUM_ENVS, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def addresses(tree) -> set[int]:
    leaves = jax.tree.leaves(tree)
    arrays = [x for x in leaves if isinstance(x, jax.Array) and not jnp.issubdtype(x.dtype, jax.dtypes.prng_key)]
    tensors = [x for x in leaves if isinstance(x, torch.Tensor)]
    return {x.unsafe_buffer_pointer() for x in arrays} | {x.data_ptr() for x in tensors}


def test_batches_are_tensors_over_the_same_memory():
    arrays = {"float": jnp.arange(6.0).reshape(2, 3), "bool": jnp.array([True, False]), "int": jnp.arange(3)}
    tensors = torch_tensors.to_torch(arrays)
    assert addresses(arrays) == addresses(tensors)
    assert [tensors[name].dtype for name in arrays] == [torch.float32, torch.bool, torch.int32]
    for name, array in arrays.items():
        np.testing.assert_array_equal(tensors[name].numpy(), array)
    action = actions()[0]
    assert addresses(torch_tensors.to_jax(action)) == addresses(action)


def test_a_step_copies_nothing(env, monkeypatch):
    """The arrays that leave the compiled step, and the action that enters it, are the caller's tensors."""
    entered, left = [], []
    compiled = env._step

    def recorded(running, action):
        running, out = compiled(running, action)
        entered.append(action)
        left.append(out)
        return running, out

    monkeypatch.setattr(env, "_step", recorded)
    action = actions()[0]
    out = env.advance(action)
    assert addresses(entered) == addresses(action)
    assert addresses(left) == addresses(out)


def test_a_step_is_that_of_the_vector_env(vector_env, env):
    state, step = env.state, jax.jit(vector_env.step)
    for action in actions(steps=2 * STEPS):
        obs, reward, done, infos = env.step(action)
        state, last = step(state, jnp.asarray(action.numpy()))
        np.testing.assert_allclose(obs.numpy(), state.obs, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(reward.numpy(), last.reward, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(done.numpy(), last.terminated | last.truncated)
        np.testing.assert_array_equal(infos["time_outs"].numpy(), last.truncated & ~last.terminated)
        np.testing.assert_allclose(infos["terminal_observation"].numpy(), last.next_obs, rtol=1e-5, atol=1e-6)
        assert infos["observations"]["raw"]["obs"] is infos["terminal_observation"]
        assert infos["task"].tolist() == [0, 1] * (NUM_ENVS // 2)
        assert set(Metrics.__dataclass_fields__) <= set(infos)
    assert (obs.dtype, reward.dtype, done.dtype, infos["time_outs"].dtype) == (torch.float32,) * 2 + (torch.bool,) * 2
    assert done.all()


def test_episodes_are_counted_and_restart_with_other_goals(env):
    """As FastTD3 reads them: the true successor where an episode ended, and its success."""
    first = env.reset()
    rewards = []
    for i, action in enumerate(actions(seed=1, steps=STEPS)):
        obs, reward, dones, infos = env.step(action)
        rewards.append(reward)
        assert dones.all() == infos["time_outs"].all() == (i == STEPS - 1)
        assert infos["episode"]["length"].tolist() == [i + 1] * NUM_ENVS
    true_next_obs = torch.where(dones[:, None] > 0, infos["observations"]["raw"]["obs"], obs)
    goals = slice(GOAL.start, GOAL.stop)
    assert torch.equal(true_next_obs[:, goals], first[:, goals])
    assert not torch.any(torch.all(obs[:, goals] == first[:, goals], dim=1))
    torch.testing.assert_close(infos["episode"]["return"], sum(rewards))
    _, reward, dones, infos = env.step(actions()[0])
    assert not dones.any()
    torch.testing.assert_close(infos["episode"]["return"], reward)
    assert not infos["episode"]["success"].any()


def test_a_success_that_terminates_is_no_time_out(env):
    state = env.state
    goal = state.episode.goal.at[0].set(state.episode.tcp_init[0])  # where the hand already is
    env.state = state.replace(episode=state.episode.replace(goal=goal))
    for i in range(STEPS):
        _, _, dones, infos = env.step(torch.zeros(NUM_ENVS, 4))
        ends = [i == 0] + [i == STEPS - 1] * (NUM_ENVS - 1)
        assert dones.tolist() == ends
        assert infos["time_outs"].tolist() == [False, *ends[1:]]
        assert infos["episode"]["success"].tolist() == [i == 0] + [False] * (NUM_ENVS - 1)


def test_writing_to_a_tensor_changes_nothing_else(env):
    """Not even one that a step passes through, such as the task."""

    def run(write: bool) -> list[torch.Tensor]:
        env.seed(3)
        obs = env.reset()
        kept = []
        for action in actions(seed=2, steps=2 * STEPS):
            before, action = env.state, action.clone()
            out = env.advance(action)
            assert len(addresses(out)) == len(jax.tree.leaves(out))
            assert not addresses(out) & (addresses(before) | addresses(env.state))
            kept += [tensor.clone() for tensor in jax.tree.leaves(out)]
            if write:
                for tensor in (obs, action, *jax.tree.leaves(out)):
                    tensor.zero_()
        return kept

    for written, alone in zip(run(True), run(False), strict=True):
        assert torch.equal(written, alone)


def test_tensors_and_states_outlive_the_steps_after_them(env):
    out, state = env.advance(actions()[0]), env.state
    kept = [tensor.clone() for tensor in jax.tree.leaves(out)]
    for action in actions(seed=4, steps=STEPS):
        env.step(action)
    assert all(torch.equal(*pair) for pair in zip(jax.tree.leaves(out), kept, strict=True))
    np.testing.assert_array_equal(state.obs, out.obs.numpy())


def test_a_state_can_be_taken_up_again(env):
    action = actions()[0]
    env.step(action)
    state = env.state
    first = env.step(action)
    env.state = state
    again = env.step(action)
    assert torch.equal(first[0], again[0])
    assert again[3]["episode"]["length"].tolist() == [2] * NUM_ENVS
    assert torch.equal(again[3]["episode"]["return"], again[1])  # counted from there
    assert env._step._cache_size() == 1
    with pytest.raises(ValueError, match=r"leading axis of 6, got tasks \(5,\)"):
        env.state = jax.tree.map(lambda x: x[:5], state)


def test_seeds_decide_and_resets_differ(env):
    env.seed(5)
    first, second = env.reset(), env.reset()
    assert not torch.equal(first, second)
    env.seed(5)
    assert torch.equal(env.reset(), first)
    assert torch.equal(env.reset(), second)


def test_ends_can_be_spread(env):
    env.reset(random_start_init=True)
    ages = env.episode_length
    assert len(set(ages.tolist())) > 1
    ages += 100  # a copy
    wanted = torch.arange(NUM_ENVS) % STEPS
    env.set_episode_length(wanted)
    assert env.episode_length.tolist() == wanted.tolist()
    _, _, dones, infos = env.step(torch.zeros(NUM_ENVS, 4))
    assert dones.tolist() == [age == STEPS - 1 for age in wanted.tolist()]
    assert infos["episode"]["length"].tolist() == (wanted + 1).tolist()
    with pytest.raises(ValueError, match=r"steps must have shape \(6,\), got \(5,\)"):
        env.set_episode_length(torch.zeros(5))


@pytest.mark.parametrize(
    "change",
    [
        lambda action: action.double(),
        lambda action: action.T.contiguous().T,
        lambda action: torch.cat([torch.zeros(1, 4), action])[1:],
        lambda action: torch.stack([action, action])[0],
        lambda action: torch.nn.Parameter(action).detach(),
    ],
    ids=["float64", "not contiguous", "at an odd address", "a view", "detached"],
)
def test_an_action_in_any_form_is_the_same_action(env, change):
    action = actions()[0]
    results = []
    for given in (action, change(action)):
        env.seed(0)
        env.reset()
        results.append(env.step(given)[0])
    assert torch.equal(*results)


def test_coarser_floats_and_one_action_for_all(env):
    half = actions()[0].bfloat16()
    for given, exact in ((half, half.float()), (torch.ones(1, 4).expand(NUM_ENVS, 4), torch.ones(NUM_ENVS, 4))):
        results = []
        for action in (given, exact):
            env.seed(0)
            env.reset()
            results.append(env.step(action)[0])
        assert torch.equal(*results)


def test_a_form_of_an_action_compiles_nothing(env):
    for given in (actions()[0], actions()[0].double(), actions()[0].T.contiguous().T):
        env.step(given)
    env.reset(random_start_init=True)
    env.set_episode_length(torch.zeros(NUM_ENVS, dtype=torch.long))
    env.step(actions()[0])
    assert env._step._cache_size() == 1


def test_inference_mode_and_no_grad(env):
    layer = torch.nn.Linear(env.num_obs, 4)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            obs = env.reset()
            obs, *_ = env.step(layer(obs))
            assert obs.isfinite().all()
    loss = layer(env.reset()).square().sum()  # outside, observations are ordinary inputs
    loss.backward()
    assert layer.weight.grad is not None


@pytest.mark.parametrize(
    ("action", "error", "words"),
    [
        (np.zeros((NUM_ENVS, 4), np.float32), TypeError, "must be a torch.Tensor, got ndarray"),
        (torch.zeros(NUM_ENVS, 4, dtype=torch.int64), TypeError, "floating-point type, got torch.int64"),
        (torch.zeros(4), ValueError, r"must have shape \(6, 4\), got \(4,\)"),
        (torch.zeros(NUM_ENVS, 3), ValueError, r"must have shape \(6, 4\), got \(6, 3\)"),
        (torch.zeros(NUM_ENVS, 4, device="meta"), ValueError, "must lie on cpu.*on meta"),
        (torch.zeros(NUM_ENVS, 4, requires_grad=True), ValueError, r"torch.no_grad\(\), or give action.detach\(\)"),
    ],
    ids=["numpy", "integers", "one", "three entries", "another device", "with a gradient"],
)
def test_other_actions_are_refused(env, action, error, words):
    with pytest.raises(error, match=words):
        env.step(action)


def test_nothing_happens_before_a_reset(vector_env):
    env = TorchEnv(vector_env)
    for call in (lambda: env.step(actions()[0]), lambda: env.state, lambda: env.episode_length):
        with pytest.raises(RuntimeError, match=r"call reset\(\) first"):
            call()


def test_what_scripts_ask_about_it(env):
    assert (env.num_envs, env.num_obs, env.num_actions, env.num_tasks) == (NUM_ENVS, 41, 4, 2)
    assert env.max_episode_steps == STEPS
    assert (env.asymmetric_obs, env.num_privileged_obs) == (False, 0)
    assert env.device == torch.device("cpu")
    assert env.observation_space.contains(env.reset()[0].numpy())
    assert env.action_space.shape == (4,)
    assert mw.to_mujoco(env.vector_env.env, env.state, 0) is not None


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    ("device", "error", "words"),
    [("cuda", RuntimeError, r"JAX has no GPU.*jax\[cuda13\]"), ("mps", ValueError, "must be cpu or cuda, got mps")],
)
def test_other_devices_are_refused(vector_env, device, error, words):
    with pytest.raises(error, match=words):
        TorchEnv(vector_env, device=device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_of_jaxs_needs_a_pytorch_for_it():
    with pytest.raises(RuntimeError, match=r"which this PyTorch .* cannot use: install its build for CUDA"):
        torch_tensors.torch_device(SimpleNamespace(platform="gpu", local_hardware_id=0))


def test_memory_taken_in_advance_is_told(monkeypatch, recwarn):
    def device(idle: float) -> SimpleNamespace:
        stats = {"bytes_limit": 60 * 2**30, "pool_bytes": int(idle * 2**30) + 7, "bytes_in_use": 7}
        return SimpleNamespace(platform="gpu", memory_stats=lambda: stats)

    torch_tensors.warn_of_preallocation(jax.devices("cpu")[0])
    torch_tensors.warn_of_preallocation(device(2))
    assert not recwarn.list
    with pytest.warns(UserWarning, match=r"JAX holds 60.0 GiB.*XLA_PYTHON_CLIENT_PREALLOCATE=false"):
        torch_tensors.warn_of_preallocation(device(60))
    monkeypatch.setenv("XLA_CLIENT_MEM_FRACTION", "0.5")
    torch_tensors.warn_of_preallocation(device(60))
    assert not recwarn.list


def test_jax_leaves_memory_to_pytorch_unless_told_otherwise(monkeypatch):
    name = "XLA_PYTHON_CLIENT_PREALLOCATE"
    for told, then in ((None, "false"), ("true", "true")):
        monkeypatch.delenv(name, raising=False) if told is None else monkeypatch.setenv(name, told)
        importlib.reload(torch_tensors)
        assert os.environ[name] == then


def test_several_devices_are_gathered():
    """In a process of its own, which makes two devices of a CPU."""
    code = (
        "import jax; jax.config.update('jax_num_cpu_devices', 2)\n"
        "import numpy, mjx_metaworld as mw\n"
        "from mjx_metaworld.adapters.torch import TorchEnv, torch\n"
        "from mjx_metaworld.testing import KinematicEngine\n"
        "env = mw.make('reach-v3', max_episode_steps=2, engine=KinematicEngine)\n"
        "two = TorchEnv(mw.VectorEnv(env, 4, devices=jax.devices()))\n"
        "obs = two.reset()\n"
        "for _ in range(2):\n"
        "    assert len(two.state.obs.devices()) == 2\n"
        "    numpy.testing.assert_array_equal(obs.numpy(), two.state.obs)\n"
        "    obs, *_ = two.step(torch.ones(4, 4))\n"
        "two.set_episode_length(torch.tensor([1, 0, 1, 0]))\n"
        "print(two.step(torch.ones(4, 4))[2].tolist())\n"
        "try:\n"
        "    TorchEnv(two.vector_env, device='cpu')\n"
        "except ValueError as error:\n"
        "    print(error)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    lines = ended.stdout.splitlines()
    assert lines == ["[True, False, True, False]", "device must be None where the VectorEnv has devices, got cpu"]


def test_pictures_are_tensors_too_drawn_after_the_restart(kinematic, env):
    pytest.importorskip("warp")
    with pytest.raises(RuntimeError, match=r"pixels=mw\.Pixels"):
        env.pixels  # noqa: B018
    seeing = mw.make("reach-v3", max_episode_steps=STEPS, pixels=mw.Pixels(width=16, height=16))
    batch = TorchEnv(mw.VectorEnv(seeing, NUM_ENVS), device="cpu")
    camera = jax.jit(jax.vmap(mw.camera(seeing, "corner2", 16, 16)))
    batch.reset()
    first = batch.pixels
    assert (first.shape, first.dtype) == ((NUM_ENVS, 16, 16, 3), torch.uint8)
    np.testing.assert_array_equal(first.numpy(), camera(batch.state))
    for action in actions(steps=STEPS):
        _, _, done, infos = batch.step(action)
        np.testing.assert_array_equal(infos["pixels"].numpy(), batch.pixels.numpy())
    assert done.all()
    np.testing.assert_array_equal(infos["pixels"].numpy(), camera(batch.state))
    infos["pixels"].zero_()  # the caller's own
    assert batch.pixels.numpy().any()
