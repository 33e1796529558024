"""Share of the wall clock that the updates of FastSAC, PPO or RL² take, beside their rollouts.

    python -m benchmarks.learner_share MT10-fastsac-cpu

Times iterations of a preset with all of their updates and with the fewest; the rest of the time is collecting.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import jax
import numpy as np
import tyro
from tyro.conf import Positional

from mjx_metaworld.cli.benchmark import claim_devices
from mjx_metaworld.compile import jit
from mjx_metaworld.inputs.settings import with_settings
from mjx_metaworld.training.config import TrainConfig, preset
from mjx_metaworld.training.devices import placement
from mjx_metaworld.training.fastsac import FastSACConfig
from mjx_metaworld.training.loop import begin
from mjx_metaworld.training.ppo import PPOConfig
from mjx_metaworld.training.rl2 import RL2Config
from mjx_metaworld.training.train import build
from mjx_metaworld.vector import Device


@dataclass(frozen=True)
class LearnerShare:
    """Presets to time."""

    preset: Annotated[str, Positional] = "MT10-fastsac-cpu"
    iterations: int = 30
    devices: int = 2
    set: tuple[str, ...] = ()  # settings of the algorithm, such as updates=16


class _Fresh:
    """Checkpoints of a run that has none."""

    def restore(self, *_: Any) -> None:
        """Nothing."""


def seconds(config: TrainConfig, devices: Sequence[Device], iterations: int) -> float:
    """Median of the later half of some iterations."""
    _, algorithm = build(config, devices if len(devices) > 1 else None)
    state, _ = begin(algorithm, jax.random.key(0), _Fresh())  # pyright: ignore[reportArgumentType]
    iterate = jit(algorithm.iterate, donate_argnums=0, out_shardings=(placement(state, algorithm.sharding), None))
    times = []
    for _ in range(iterations):
        start = time.perf_counter()
        state, _ = jax.block_until_ready(iterate(state))
        times.append(time.perf_counter() - start)
    return float(np.median(times[iterations // 2 :]))


def main(args: LearnerShare) -> None:
    """Print seconds an iteration, and the learner's share of them.

    Raises:
        ValueError: if the preset is for another algorithm, or has the fewest updates there can be.
    """
    config = preset(args.preset)
    algorithm = with_settings(config.algorithm, args.set)
    if isinstance(algorithm, FastSACConfig):
        algorithm = dataclasses.replace(algorithm, warmup_steps=0)
        fewest = dataclasses.replace(algorithm, updates=algorithm.critics_per_actor)
        updates, left = algorithm.updates, fewest.updates
    elif isinstance(algorithm, PPOConfig | RL2Config):
        fewest = dataclasses.replace(algorithm, epochs=1)
        updates, left = (each.epochs * each.minibatches for each in (algorithm, fewest))
    else:
        raise ValueError(f"{args.preset!r} is not for FastSAC, PPO or RL2")
    if updates == left:
        raise ValueError(
            f"{args.preset!r} {' '.join(args.set)} must have more than {left} updates, the fewest there can be"
        )
    devices = claim_devices(args.devices)
    whole, least = (
        seconds(dataclasses.replace(config, algorithm=each), devices, args.iterations) for each in (algorithm, fewest)
    )
    learning = (whole - least) * updates / (updates - left)
    steps = algorithm.num_envs * algorithm.horizon
    print(
        f"{args.preset} {' '.join(args.set)}, {len(devices)} device(s): {whole:.3f} s for {steps:,} steps and "
        f"{updates} updates ({steps / whole:,.0f} steps/s), of which the learner takes {learning / whole:.0%}"
    )


if __name__ == "__main__":
    main(tyro.cli(LearnerShare, description=__doc__))
