#!/usr/bin/env bash
# gymnasium 1.4.0: episode statistics of a vector environment, when only some of its lanes are reset.
#
# SyncVectorEnv.reset takes `reset_mask` out of the caller's options (`options.pop`). The vector wrapper
# RecordEpisodeStatistics first calls it with these options, and then looks whether they have a mask: they have none any
# more, so it counts from zero for every lane, those included whose episode goes on. Their next episode is recorded with
# too small a return and length. An environment that leaves the options alone is recorded rightly.
#
# Seen: four steps of two lanes, then a reset of lane 0 alone: lengths [0, 0], where [0, 4] is right.
# Passes while gymnasium behaves so; fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check gymnasium==1.4.0 numpy
"$folder/env/bin/python" - <<'PYTHON'
import gymnasium as gym
import numpy as np
from gymnasium.wrappers.vector import RecordEpisodeStatistics

for mode in ("SameStep", "NextStep", "Disabled"):
    envs = RecordEpisodeStatistics(
        gym.make_vec("CartPole-v1", 2, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode})
    )
    envs.reset(seed=0)
    for _ in range(4):
        envs.step(np.array([0, 1]))
    envs.reset(options={"reset_mask": np.array([True, False])})
    print(f"{mode}: lengths after a reset of lane 0 alone: {envs.episode_lengths.tolist()}, right is [0, 4]")
    assert envs.episode_lengths.tolist() == [0, 0], "mended, or changed"
PYTHON
