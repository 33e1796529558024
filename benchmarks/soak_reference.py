"""Largest values of the soak's quantities that CPU metaworld reaches under such actions, from which the bounds come.

    python -m benchmarks.soak_reference

Each task runs with constant actions at corners, with signs that flip at every step, and wandering. Writes
`benchmarks/results/soak_reference.json`, which the table of `benchmarks.soak` shows beside its own values.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
import tyro
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from rich.progress import track

RESULTS = Path("benchmarks/results/soak_reference.json")
FLOOR = -0.913  # height of the floor, m


@dataclass(frozen=True)
class Reference:
    """Episodes to run."""

    corners: int = 6  # constant actions a task, of the 16 corners
    num_steps: int = 400
    seed: int = 0
    results: Path = RESULTS


def measured(
    model: mujoco.MjModel, data: mujoco.MjData, hand_low: np.ndarray, hand_high: np.ndarray
) -> Iterator[tuple[str, float]]:
    """Quantities of the bounds in a state, by their names; those of several joints come once each."""
    for joint in range(model.njnt):
        name, kind = model.joint(joint).name, model.jnt_type[joint]
        place, dof = model.jnt_qposadr[joint], model.jnt_dofadr[joint]
        if kind == mujoco.mjtJoint.mjJNT_FREE:
            yield "object speed", float(np.linalg.norm(data.qvel[dof : dof + 3]))
            yield "object spin", float(np.linalg.norm(data.qvel[dof + 3 : dof + 6]))
            yield "object away from the cell", float(np.abs(data.qpos[place : place + 2]).max())
            yield "object below the floor", FLOOR - float(data.qpos[place + 2])
            continue
        part = "finger" if name in ("r_close", "l_close") else "arm joint" if name.startswith("right_j") else "fixture"
        if part != "finger":
            yield f"{part} speed", abs(float(data.qvel[dof]))
        if model.jnt_limited[joint]:
            low, high = model.jnt_range[joint]
            yield f"{part} beyond its range", float(max(low - data.qpos[place], data.qpos[place] - high))
    hand = data.body("hand").xpos
    yield "hand outside its workspace", float(max((hand_low - hand).max(), (hand - hand_high).max()))


def actions(kind: int, num_steps: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Actions of an episode: wandering, flipping, or constant at a corner."""
    action, corner = np.zeros(4), rng.choice([-1.0, 1.0], 4)
    for step in range(num_steps):
        if kind == 0:
            action = np.clip(0.9 * action + 0.45 * rng.normal(size=4), -1.0, 1.0)
        else:
            action = corner * (1 - 2 * (step % 2)) if kind == 1 else corner
        yield action.astype(np.float32)


def main(args: Reference) -> int:
    """Measure all tasks and write the largest values with their tasks."""
    rng, highest = np.random.default_rng(args.seed), {}
    for task, make in track(list(ALL_V3_ENVIRONMENTS.items()), "CPU metaworld"):
        env = make()
        env._freeze_rand_vec, env._set_task_called, env.max_path_length = False, True, sys.maxsize
        for kind in range(2 + args.corners):
            env.reset()
            for action in actions(kind, args.num_steps, rng):
                env.step(action)
                for name, value in measured(env.model, env.data, env.mocap_low, env.mocap_high):
                    if value > highest.get(name, (-np.inf, ""))[0]:
                        highest[name] = (value, task)
        env.close()
    rounded = {name: {"highest": round(value, 6), "task": task} for name, (value, task) in sorted(highest.items())}
    args.results.write_text(json.dumps(rounded, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Reference, description=__doc__)))
