"""Meta-World for PyTorch: `TorchEnv(mw.VectorEnv(mw.make("MT10"), 512))` takes and gives tensors, without a copy.

Its `reset` and `step` are those that FastTD3 and other training scripts around batched simulators call. For rsl_rl and
skrl there are `adapters.rsl_rl` and `adapters.skrl`, which stand on it.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import SingleDeviceSharding
from jaxtyping import Array, Int

from mjx_metaworld.adapters import torch_tensors as tensors  # before `torch`: it says what to install
from mjx_metaworld.adapters.torch_tensors import torch
from mjx_metaworld.compile import jit
from mjx_metaworld.episodes import Episodes, EpisodeStats, begin_episodes, no_episodes
from mjx_metaworld.inputs.keys import key_of_seed
from mjx_metaworld.types import Metrics, State
from mjx_metaworld.vector import VectorEnv, select_envs


class StepOutput(struct.PyTreeNode):
    """Outputs of a step, arrays of JAX's inside and tensors outside.

    Each is in memory of its own: a tensor may be written to, and nothing else changes.
    """

    obs: Any  # (envs, obs) already of the new episode where one ended
    final_obs: Any  # (envs, obs) the true successor
    reward: Any  # (envs,)
    terminated: Any  # (envs,) bool
    truncated: Any  # (envs,) bool
    metrics: Metrics
    task: Any  # (envs,)
    stats: EpisodeStats  # of the episode that the step belongs to, this step included
    length: Any  # (envs,)
    pixels: Any = None  # (envs, ...) as `state.pixels`, already of the new episode where one ended; None without


class TorchEnv:
    """A batch of environments that restart by themselves, with tensors in and out.

    Tensors share the memory of JAX's arrays, on a CPU and on a GPU. Each belongs to the caller: it stays as it is when
    the environments go on, and writing to it changes nothing but itself. Gradients do not pass through a step.

    With `VectorEnv(..., devices=...)` observations and the rest are gathered on the first of the devices.

    Args:
        vector_env: the environments.
        seed: of the first episodes, and of all that follow.
        device: where to compute, and where the tensors lie: "cpu", or "cuda" with or without a number; of the kind that
            the environment was made for (`mw.make(..., backend=...)`). JAX's default device when None; that of
            `vector_env` if it has devices, which then must not be given here.

    Attributes:
        num_envs: number of environments.
        num_obs: length of an observation.
        num_actions: 4.
        num_tasks: number of tasks.
        max_episode_steps: steps until truncation.
        device: PyTorch's device of all tensors.
        observation_space: gymnasium's Box of one environment's observation.
        action_space: the same of its action.
        asymmetric_obs: False: a critic sees what the policy sees.
        num_privileged_obs: 0.

    Raises:
        ValueError: for a device of another kind, or one beside the devices of `vector_env`.
        RuntimeError: for a GPU that JAX or PyTorch cannot use.
    """

    asymmetric_obs = False
    num_privileged_obs = 0

    def __init__(self, vector_env: VectorEnv, *, seed: int = 0, device: torch.device | str | None = None) -> None:
        if vector_env.sharding is None:
            self._jax_device = tensors.jax_device(device)
        elif device is None:
            self._jax_device = min(vector_env.sharding.addressable_devices, key=lambda each: each.id)
        else:
            raise ValueError(f"device must be None where the VectorEnv has devices, got {device}")
        env = vector_env.env
        self.vector_env = vector_env
        self.num_envs = vector_env.num_envs
        self.num_obs = env.observation_size
        self.num_actions = env.action_size
        self.num_tasks = len(env.tasks)
        self.max_episode_steps = env.max_episode_steps
        self.observation_space = env.observation_space
        self.action_space = env.action_space
        self.device = tensors.torch_device(self._jax_device)
        tensors.warn_of_preallocation(self._jax_device)
        self._placement = vector_env.sharding or SingleDeviceSharding(self._jax_device)
        self._reset = jit(self._first, out_shardings=self._placement)  # one placement, so one program of a step
        self._step = jit(self._next, out_shardings=self._placement)
        self._running: Episodes | None = None
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Choose what the next `reset` draws, and the resets after it."""
        alone = self.vector_env.sharding is None
        self._key = jax.device_put(key_of_seed(seed), self._jax_device if alone else None)

    @property
    def state(self) -> State:
        """Present state, such as `mw.render` and `mw.to_mujoco` take; it stays valid when the environments go on.

        To set it lets the environments go on from there, as new episodes in their statistics; `mw.reset_to_goals`, say,
        makes states with given goals.

        Raises:
            RuntimeError: before the first `reset`.
            ValueError: to set a state of another number of environments.
        """
        return self._started().state

    @state.setter
    def state(self, state: State) -> None:
        if state.task.shape != (self.num_envs,):
            raise ValueError(f"state must have a leading axis of {self.num_envs}, got tasks {state.task.shape}")
        self._running = jax.device_put(begin_episodes(state), self._placement)

    def reset(self, *, random_start_init: bool = False) -> torch.Tensor:
        """Start new episodes in all environments; every call draws others.

        Args:
            random_start_init: spread the ends of the first episodes evenly over time, as if they had begun long ago.

        Returns:
            Observations (envs, obs).
        """
        self._key, key = jax.random.split(self._key)
        self._running, obs = self._reset(key)
        if random_start_init:
            self._begin_at(jax.random.randint(jax.random.fold_in(key, 1), (self.num_envs,), 0, self.max_episode_steps))
        return self._tensors(obs)

    def step(self, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]:
        """One control step of every environment, then a new episode where one ended.

        Args:
            action: (envs, 4), floating-point, on `device`, without a gradient.

        Returns:
            Observations (envs, obs), already of the new episode where one ended; rewards (envs,); whether the episode
            ended (envs,), bool; and a dict of tensors (envs, ...):

            - `time_outs`: whether it ended by the time limit, and not by a success that terminates.
            - `terminal_observation`: the true successor of every environment, also where the episode ended. The same
                tensor as `infos["observations"]["raw"]["obs"]`, where FastTD3 looks for it.
            - `episode`: `success` at any step so far, `return` and `length`, of the episode that the step belongs to.
            - `pixels`: the pictures beside the observations, (envs, height, width, 3) uint8, if the environment draws
                any; of the first state of the new episode where one ended.
            - `task`: index into the tasks. `success` and the other metrics of `mw.Metrics`: of this step.

        Raises:
            TypeError: if `action` is no tensor of a floating-point type.
            ValueError: if it has the wrong shape or device, or requires a gradient.
            RuntimeError: before the first `reset`.
        """
        out = self.advance(action)
        infos = {field.name: getattr(out.metrics, field.name) for field in fields(out.metrics)}
        infos |= {
            "time_outs": out.truncated & ~out.terminated,
            "terminal_observation": out.final_obs,
            "observations": {"raw": {"obs": out.final_obs}},
            "episode": {"success": out.stats.success, "return": out.stats.episode_return, "length": out.length},
            "task": out.task,
        }
        if out.pixels is not None:
            infos["pixels"] = out.pixels
        return out.obs, out.reward, out.terminated | out.truncated, infos

    def advance(self, action: torch.Tensor) -> StepOutput:
        """Step as `step` does, and return all that it gives as tensors in one struct."""
        running = self._started()
        dtype = tensors.torch_dtype(running.state.obs)
        action = tensors.check_action(action, (self.num_envs, self.num_actions), self.device, dtype)
        self._running, out = self._step(running, jax.device_put(tensors.to_jax(action), self._placement))
        return self._tensors(out)

    @property
    def pixels(self) -> Any:
        """Present pictures (envs, height, width, 3), also after `reset`, or a struct of them; a copy.

        Raises:
            RuntimeError: before the first `reset`, or of an environment that was made without `pixels`.
        """
        pixels = self.state.pixels
        if pixels is None:
            raise RuntimeError("this environment draws nothing: make it with mw.make(..., pixels=mw.Pixels())")
        return jax.tree.map(lambda tensor: tensor.clone(), self._tensors(pixels))

    @property
    def episode_length(self) -> torch.Tensor:
        """Steps of the present episodes so far (envs,), int32; a copy.

        Raises:
            RuntimeError: before the first `reset`.
        """
        return self._tensors(self.state.episode.step).clone()

    def set_episode_length(self, steps: torch.Tensor) -> None:
        """Let the present episodes end as if they had taken so many steps (envs,).

        Raises:
            ValueError: for another number of environments.
            RuntimeError: before the first `reset`.
        """
        if tuple(steps.shape) != (self.num_envs,):
            raise ValueError(f"steps must have shape ({self.num_envs},), got {tuple(steps.shape)}")
        self._begin_at(jnp.array(tensors.to_jax(steps.to(self.device, torch.int32))))  # copied: it may change

    def close(self) -> None:
        """Forget the episodes; there is nothing else to close."""
        self._running = None

    # --- in JAX ---

    def _first(self, key: Array) -> tuple[Episodes, Array]:
        state = self.vector_env.reset(key)
        return begin_episodes(state), state.obs

    def _next(self, running: Episodes, action: Array) -> tuple[Episodes, StepOutput]:
        state, last = self.vector_env.step(running.state, action)
        stats = running.stats.after(last.metrics.success, last.reward)
        out = StepOutput(
            obs=state.obs,
            final_obs=last.next_obs,
            reward=last.reward,
            terminated=last.terminated,
            truncated=last.truncated,
            metrics=last.metrics,
            task=last.task,
            stats=stats,
            length=running.state.episode.step + 1,
            pixels=state.pixels,
        )
        fresh = select_envs(last.terminated | last.truncated, no_episodes(self.num_envs), stats)
        # Copied, since an output that is also an input, such as the task, would be the memory of the state.
        return Episodes(state, fresh), jax.tree.map(jnp.copy, out)

    def _begin_at(self, step: Int[Array, " envs"]) -> None:
        running = self._started()
        episode = running.state.episode.replace(step=jax.device_put(step, self._placement))
        self._running = running.replace(state=running.state.replace(episode=episode))

    def _tensors(self, tree: Any) -> Any:
        return tensors.to_torch(jax.device_put(tree, self._jax_device))  # gathered, if there are several devices

    def _started(self) -> Episodes:
        if self._running is None:
            raise RuntimeError("call reset() first")
        return self._running
