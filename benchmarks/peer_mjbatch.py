"""mjbatch stepping a scene of metaworld, for `benchmarks.compare`; needs nothing but mjbatch, MuJoCo and numpy.

Moves the mocap body and sets the servos as a control step does. No observations, no rewards, no resets, and a MuJoCo
newer than the reference's.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version

import mujoco
import numpy as np
from mjbatch import Batch  # pyright: ignore[reportMissingImports]  # only in an environment of its own


def main(scene: str, start: str, num_envs: str, seconds: str, seed: str) -> None:
    """Print a figure as JSON, as `benchmarks.peers` has it."""
    began, first, count = time.perf_counter(), json.loads(start), int(num_envs)
    batch = Batch(mujoco.MjModel.from_xml_path(scene), num_sims=count)
    qpos, mocap_pos, ctrl = (batch.bind(name) for name in ("qpos", "mocap_pos", "ctrl"))
    mocap_pos = mocap_pos.reshape(count, -1)
    qpos[:], mocap_pos[:] = np.asarray(first["qpos"]), np.ravel(first["mocap_pos"])
    actions = np.random.default_rng(int(seed)).uniform(-1.0, 1.0, (500, count, 4))

    def step(number: int) -> None:
        action = actions[number % len(actions)]
        mocap_pos[:, :3] += 0.01 * action[:, :3]
        ctrl[:, 0], ctrl[:, 1] = action[:, 3], -action[:, 3]
        batch.step(nstep=first["substeps"])

    step(0)
    setup_s, number, timed = time.perf_counter() - began, 0, time.perf_counter()
    while (spent := time.perf_counter() - timed) < float(seconds):
        number += 1
        step(number)
    versions = {"mjbatch": version("mjbatch"), "mujoco of mjbatch": mujoco.__version__}
    figure = {"env_steps_per_second": number * count / spent, "setup_s": setup_s, "versions": versions}
    print(json.dumps(figure | {"note": f"{batch.num_threads} threads"}))


if __name__ == "__main__":
    main(*sys.argv[1:])
