"""LeRobot's evaluation of a small policy: its own Meta-World environment beside this one; prints a Markdown table.

Runs what `lerobot-eval` runs (`eval_policy_all`, LeRobot's preprocessing and an untrained ACT policy, which acts in
chunks of 100 steps) on one task and 480x480 pictures, with the videos that the command records. An evaluation of few
steps and one of more are timed, and their difference is divided by the steps between: resets, compilation and the
policy's one pass do not count.

Needs an environment that has LeRobot beside this package; not the one of `make`.

Usage: python -m benchmarks.lerobot_eval [--task reach-v3] [--batch-size 10] [--steps 5 25] [--turns 3]
    [--videos 10] [--variants own own-async opengl device] [--document docs/lerobot.md]
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import argparse
import importlib.metadata
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("MUJOCO_GL", "egl")  # of LeRobot's own environment
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import numpy as np
from gymnasium.vector import AsyncVectorEnv

from mjx_metaworld.adapters.lerobot.config import MjxMetaWorldEnv
from mjx_metaworld.adapters.lerobot.vector_env import LeRobotVectorEnv
from mjx_metaworld.build.machine import cpu_cores, versions
from mjx_metaworld.cli.markdown import rewrite_section

_NAMES = {
    "own": "LeRobot's own, one after the other",
    "own-async": "LeRobot's own, a process each",
    "opengl": "`--env.renderer=opengl`",
    "device": "`--env.renderer=device`",
}


def prepare(variant: str, task: str, batch_size: int, videos: int) -> Callable[[int], float]:
    """A function that evaluates for a number of control steps, and tells how many seconds that took."""
    import torch
    from lerobot.envs.configs import MetaworldEnv
    from lerobot.envs.factory import make_env, make_env_pre_post_processors
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.factory import make_policy, make_pre_post_processors
    from lerobot.scripts.lerobot_eval import eval_policy_all

    own = variant.startswith("own")
    config: Any = MetaworldEnv(task=task) if own else MjxMetaWorldEnv(task=task, renderer=variant)
    small = {"dim_model": 64, "n_heads": 2, "dim_feedforward": 64, "n_encoder_layers": 1, "n_vae_encoder_layers": 1}
    policy_config = ACTConfig(pretrained_backbone_weights=None, device="cpu", push_to_hub=False, **small)
    policy = make_policy(cfg=policy_config, env_cfg=config)
    policy.eval()
    preprocessor, postprocessor = make_pre_post_processors(policy_cfg=policy_config)
    env_preprocessor, env_postprocessor = make_env_pre_post_processors(env_cfg=config, policy_cfg=policy_config)
    envs = (
        make_env(config, n_envs=batch_size, use_async_envs=variant == "own-async")
        if own
        else config.create_envs(n_envs=batch_size)
    )
    (env,) = (env for group in envs.values() for env in group.values())

    if not own and importlib.metadata.version("lerobot").startswith(("0.4", "0.5")):
        # LeRobot before 0.6 records videos of gymnasium's own two kinds of vector environments only; it asks the lanes
        # of this kind by name.
        env.__class__ = type("Recorded", (LeRobotVectorEnv, AsyncVectorEnv), {})
    # LeRobot from 0.6 on closes what it has evaluated, and here it is evaluated again: its own environment would draw
    # black pictures, at once, and this one would begin with loading and compiling.
    env.close = lambda **_: None
    folder = Path(tempfile.mkdtemp(prefix="lerobot-eval-"))

    def evaluate(steps: int) -> float:
        # How long an evaluation goes on is asked of the environment.
        if own:
            env.set_attr("_max_episode_steps", steps)
        else:
            env._max_episode_steps = steps
        begin = time.perf_counter()
        with torch.no_grad():
            eval_policy_all(
                envs=envs,
                policy=policy,
                env_preprocessor=env_preprocessor,
                env_postprocessor=env_postprocessor,
                preprocessor=preprocessor,
                postprocessor=postprocessor,
                n_episodes=batch_size,
                max_episodes_rendered=videos,
                videos_dir=folder,
                start_seed=1000,
            )
        return time.perf_counter() - begin

    if not own:
        env.reset(seed=0)  # compiled for episodes of the usual length; shorter ones only stop being asked for
    return evaluate


def main() -> None:
    """Evaluate by turns, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="reach-v3")
    parser.add_argument("--batch-size", type=int, default=10)
    parser.add_argument("--steps", nargs=2, type=int, default=[5, 25])
    parser.add_argument("--videos", type=int, default=10, help="episodes recorded; the command records 10")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--variants", nargs="+", default=["own", "opengl", "device"], choices=list(_NAMES))
    parser.add_argument("--document", type=Path, default=None)
    args = parser.parse_args()
    few, more = args.steps
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)

    evaluations = {variant: prepare(variant, args.task, args.batch_size, args.videos) for variant in args.variants}
    for evaluate in evaluations.values():
        evaluate(2)
    rates: dict[str, list[float]] = {variant: [] for variant in args.variants}
    for _ in range(args.turns):
        for variant, evaluate in evaluations.items():
            short = evaluate(few)
            rates[variant].append(args.batch_size * (more - few) / (evaluate(more) - short))
    found = {variant: float(np.median(each)) for variant, each in rates.items()}
    owns = [found[variant] for variant in found if variant.startswith("own")]
    lines = [
        "| environment | steps with a picture, a second | over LeRobot's own |",
        "| --- | ---: | ---: |",
        *(
            f"| {_NAMES[variant]} | {rate:,.1f} | {f'{rate / owns[0]:.1f}' if owns else ''} |"
            for variant, rate in found.items()
        ),
    ]
    libraries = versions() | {name: importlib.metadata.version(name) for name in ("lerobot", "torch", "warp-lang")}
    lines += [
        "",
        f"{args.task}, {args.batch_size} environments, {args.videos} videos, {jax.devices()[0].device_kind}, "
        f"{cpu_cores()} cores, "
        f"{', '.join(f'{name} {version}' for name, version in libraries.items())}; medians of {args.turns} turns. "
        "`python -m benchmarks.lerobot_eval` wrote this.",
    ]
    table = "\n".join(lines)
    print(table)
    if args.document is not None:
        rewrite_section(args.document, "evaluation", table)


if __name__ == "__main__":
    main()
