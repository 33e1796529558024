"""Learning on the tasks: algorithms, checkpoints, evaluation and records. Needs the extra `train`.

import jax
from pathlib import Path
from mjx_metaworld import training

training.train(training.preset("reach-v3-cpu"), jax.random.key(0), Path("out/reach"))
trained = training.load(Path("out/reach"))
actions = trained.policy(obs, task)  # (n, obs), (n,) -> (n, 4)
"""

from __future__ import annotations

from mjx_metaworld.training.requires import require

for _module in ("rich", "orbax.checkpoint", "tensorboardX", "matplotlib", "flashbax"):
    require(_module)

from mjx_metaworld.training.algorithm import Algorithm, TrainingEnv, training_env  # noqa: E402
from mjx_metaworld.training.checkpoint import CheckpointError, Progress  # noqa: E402
from mjx_metaworld.training.clone import CloneConfig, CloneState, make_clone  # noqa: E402
from mjx_metaworld.training.config import PRESETS, TrainConfig, preset  # noqa: E402
from mjx_metaworld.training.fastsac import FastSACConfig, make_fastsac  # noqa: E402
from mjx_metaworld.training.loop import DivergedError  # noqa: E402
from mjx_metaworld.training.plots import plot_success  # noqa: E402
from mjx_metaworld.training.ppo import PPOConfig, make_ppo  # noqa: E402
from mjx_metaworld.training.recurrent import Past, RecurrentPolicy, no_past, past_after  # noqa: E402
from mjx_metaworld.training.rl2 import RL2Config, make_rl2  # noqa: E402
from mjx_metaworld.training.sac import SACConfig, make_sac  # noqa: E402
from mjx_metaworld.training.sinks import Sink, SinkError, weights_and_biases  # noqa: E402
from mjx_metaworld.training.train import Trained, load, train  # noqa: E402
from mjx_metaworld.training.view import Sight, View, opengl_eyes  # noqa: E402

__all__ = [
    "PRESETS",
    "Algorithm",
    "CheckpointError",
    "CloneConfig",
    "CloneState",
    "DivergedError",
    "FastSACConfig",
    "PPOConfig",
    "Past",
    "Progress",
    "RL2Config",
    "RecurrentPolicy",
    "SACConfig",
    "Sight",
    "Sink",
    "SinkError",
    "TrainConfig",
    "Trained",
    "TrainingEnv",
    "View",
    "load",
    "make_clone",
    "make_fastsac",
    "make_ppo",
    "make_rl2",
    "make_sac",
    "no_past",
    "opengl_eyes",
    "past_after",
    "plot_success",
    "preset",
    "train",
    "training_env",
    "weights_and_biases",
]
