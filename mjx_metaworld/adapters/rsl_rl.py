"""Meta-World for rsl_rl: `OnPolicyRunner(RslRlVecEnv(mw.VectorEnv(mw.make("reach-v3"), 512)), config, ...)`."""

from __future__ import annotations

from typing import Any

from mjx_metaworld.adapters.torch import TorchEnv
from mjx_metaworld.adapters.torch_tensors import torch
from mjx_metaworld.vector import VectorEnv

try:
    from rsl_rl.env import VecEnv  # pyright: ignore[reportMissingImports] - in the environment of `make clients`
    from tensordict import TensorDict  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise ImportError(f"this adapter needs rsl_rl ({error}): pip install 'rsl-rl-lib>=5'") from error


class RslRlVecEnv(VecEnv):
    """A batch of environments as the `VecEnv` of rsl_rl 5, whose runners and algorithms it serves.

    The one group of observations is "policy". `extras["time_outs"]` are the ends by the time limit, from which rsl_rl
    bootstraps, and `extras["log"]` has the mean of `Episode/success` over the episodes that ended, where any did.

    Args:
        vector_env: the environments.
        seed: of the first episodes, and of all that follow.
        device: as for `TorchEnv`; the runner's own should be the same.
        cfg: what rsl_rl keeps with a run's records; free.

    Attributes:
        torch_env: what it stands on; its `state` is for `mw.render`.
    """

    def __init__(
        self,
        vector_env: VectorEnv,
        *,
        seed: int = 0,
        device: torch.device | str | None = None,
        cfg: dict[str, Any] | None = None,
    ) -> None:
        self.torch_env = TorchEnv(vector_env, seed=seed, device=device)
        self.num_envs = self.torch_env.num_envs
        self.num_actions = self.torch_env.num_actions
        self.max_episode_length = self.torch_env.max_episode_steps
        self.device = self.torch_env.device
        tasks = [spec.name for spec in vector_env.env.tasks]
        self.cfg = {"tasks": tasks, "num_envs": self.num_envs, "seed": seed} if cfg is None else cfg
        self._obs = self.torch_env.reset()

    @property
    def episode_length_buf(self) -> torch.Tensor:
        """Steps of the present episodes so far (envs,), int64; a copy, which can be set as a whole."""
        return self.torch_env.episode_length.long()

    @episode_length_buf.setter
    def episode_length_buf(self, steps: torch.Tensor) -> None:
        self.torch_env.set_episode_length(steps)

    def reset(self) -> tuple[TensorDict, dict[str, Any]]:
        """Start new episodes in all environments; an empty dict stands beside the observations."""
        self._obs = self.torch_env.reset()
        return self.get_observations(), {}

    def get_observations(self) -> TensorDict:
        """Present observations, (envs, obs) under "policy"."""
        return TensorDict({"policy": self._obs}, batch_size=[self.num_envs])

    def step(self, actions: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict[str, Any]]:
        """One control step of every environment, then a new episode where one ended.

        Args:
            actions: (envs, 4).

        Returns:
            Observations, rewards (envs,), 1 where an episode ended (envs,), and extras.
        """
        self._obs, reward, done, infos = self.torch_env.step(actions)
        extras: dict[str, Any] = {"time_outs": infos["time_outs"]}
        if done.any():
            extras["log"] = {"Episode/success": infos["episode"]["success"][done].float().mean()}
        return self.get_observations(), reward, done.long(), extras
