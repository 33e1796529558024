"""Ready-made configurations, by tasks and machine."""

from __future__ import annotations

from typing import NamedTuple

from mjx_metaworld.training.config import TrainConfig
from mjx_metaworld.training.ppo import PPOConfig
from mjx_metaworld.training.sac import SACConfig
from mjx_metaworld.types import EPISODE_STEPS


class Preset(NamedTuple):
    """A configuration with a name, and what it is meant for."""

    name: str
    meant_for: str
    config: TrainConfig


_CPU = PPOConfig()
_GPU = PPOConfig(
    num_envs=4096,
    horizon=32,
    episode_steps=EPISODE_STEPS,
    hidden=(512, 512),
    minibatches=16,
    entropy_weight=1e-3,
)
_GPU_SAC = SACConfig(
    num_envs=1280,
    horizon=4,
    episode_steps=EPISODE_STEPS,
    hidden=(400, 400, 400),
    updates_per_step=1 / 80,
    batch_per_task=128,
    replay_size=2_000_000,
    warmup_steps=50_000,
    learning_rate=3e-4,
    temperature_rate=3e-4,
)


def _single(task: str) -> Preset:
    config = TrainConfig(task, _CPU, env_steps=4_000_000, eval_every=100_000, stop_at_success=0.98)
    return Preset(f"{task}-cpu", "two CPU cores, 30 minutes", config)


PRESETS = (
    Preset(
        "reach-v3-cpu",
        "two CPU cores, 10 minutes",
        TrainConfig(
            "reach-v3", _CPU, env_steps=1_000_000, eval_every=50_000, checkpoint_every=50_000, stop_at_success=0.98
        ),
    ),
    _single("drawer-close-v3"),
    _single("button-press-topdown-v3"),
    _single("window-open-v3"),
    Preset(
        "reach-v3-sac-cpu",
        "one CPU core, 25 minutes",
        TrainConfig(
            "reach-v3", SACConfig(), env_steps=400_000, eval_every=20_000, checkpoint_every=50_000, stop_at_success=0.98
        ),
    ),
    Preset(
        "MT10-gpu",
        "one GPU with 40 GB, 30 minutes",
        TrainConfig("MT10", _GPU, env_steps=200_000_000, eval_every=5_000_000, checkpoint_every=5_000_000),
    ),
    Preset(
        "MT10-sac-gpu",
        "one GPU, not tried on one yet; its checkpoints hold the replay buffer, up to 0.7 GB each before compression",
        TrainConfig("MT10", _GPU_SAC, env_steps=50_000_000, eval_every=1_000_000, checkpoint_every=5_000_000),
    ),
)


def preset(name: str) -> TrainConfig:
    """A ready-made configuration.

    Raises:
        ValueError: if there is none of this name.
    """
    for entry in PRESETS:
        if entry.name == name:
            return entry.config
    raise ValueError(f"unknown preset {name!r}; available: {', '.join(entry.name for entry in PRESETS)}")
