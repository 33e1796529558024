"""Meta-World for skrl in PyTorch: `SkrlEnv(mw.VectorEnv(mw.make("MT10"), 512))` in place of `wrap_env(...)`."""

from __future__ import annotations

from typing import Any

from mjx_metaworld.adapters.torch import TorchEnv
from mjx_metaworld.adapters.torch_tensors import torch
from mjx_metaworld.vector import VectorEnv

try:
    from skrl.envs.wrappers.torch import Wrapper  # pyright: ignore[reportMissingImports] - where `make clients` runs
except ImportError as error:
    raise ImportError(f"this adapter needs skrl ({error}): pip install 'skrl>=2'") from error


class SkrlEnv(Wrapper):
    """A batch of environments as a wrapped environment of skrl 2, for its agents and trainers.

    Episodes restart by themselves, so that `reset` starts episodes only when it is first called, as in skrl's own
    wrappers of batched simulators. `infos["episode"]["success"]` is the mean over the episodes that ended, where any
    did, which skrl's trainers record; `infos["terminal_observation"]` (envs, obs) is the true successor.

    Args:
        vector_env: the environments.
        seed: of the first episodes, and of all that follow.
        device: as for `TorchEnv`.
    """

    def __init__(self, vector_env: VectorEnv, *, seed: int = 0, device: torch.device | str | None = None) -> None:
        super().__init__(TorchEnv(vector_env, seed=seed, device=device))
        self._obs: torch.Tensor | None = None

    def reset(self) -> tuple[torch.Tensor, dict[str, Any]]:
        """Present observations (envs, obs) and an empty dict; the first call starts the episodes."""
        obs = self._env.reset() if self._obs is None else self._obs
        self._obs = obs
        return obs, {}

    def step(
        self, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]:
        """One control step of every environment, then a new episode where one ended.

        Args:
            actions: (envs, 4).

        Returns:
            Observations (envs, obs); rewards, whether an episode terminated, and whether it was truncated, each
            (envs, 1); and infos.
        """
        out = self._env.advance(actions)
        self._obs = out.obs
        infos: dict[str, Any] = {"terminal_observation": out.final_obs}
        done = out.terminated | out.truncated
        if done.any():
            infos["episode"] = {"success": out.stats.success[done].float().mean()}
        truncated = out.truncated & ~out.terminated
        return out.obs, out.reward.view(-1, 1), out.terminated.view(-1, 1), truncated.view(-1, 1), infos

    def state(self) -> None:
        """None: there is no state beside the observations."""

    def render(self, *args: Any, **kwargs: Any) -> None:
        """None; `mw.render(env, wrapped.torch_env.state)` makes pictures."""

    @property
    def torch_env(self) -> TorchEnv:
        """Environments below the wrapper."""
        return self._env

    def close(self) -> None:
        """Forget the episodes."""
        self._env.close()
