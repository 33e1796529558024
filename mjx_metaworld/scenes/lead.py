"""The hand led through an original scene in MuJoCo C: to the bodies that move, where it pushes and grips."""

from __future__ import annotations

from collections.abc import Iterator

import mujoco
import numpy as np

from mjx_metaworld.scenes.bodies import find_moving_bodies

HAND_INIT, HAND_LOW, HAND_HIGH = (0.0, 0.5, 0.15), (-0.5, 0.4, 0.04), (0.5, 1.0, 0.5)
_MOCAP_QUAT = (1.0, 0.0, 1.0, 0.0)
_VISIT = 25  # control steps for which the hand goes for one body
_SPREAD = 0.03  # m about a body's origin at which the hand aims
_SPEED = 0.01  # m that the mocap moves in a control step at most, as by an action


def hold_hand(data: mujoco.MjData, pos: tuple[float, ...] = HAND_INIT) -> None:
    """Put the mocap at a place (3,) and open the gripper."""
    data.mocap_pos[0], data.mocap_quat[0], data.ctrl[:] = pos, _MOCAP_QUAT, (-1.0, 1.0)


def lead_hand(
    model: mujoco.MjModel,
    data: mujoco.MjData,
    rng: np.random.Generator,
    steps: int,
    low: tuple[float, ...] = HAND_LOW,
    high: tuple[float, ...] = HAND_HIGH,
) -> Iterator[int]:
    """Move mocap and gripper for one control step after the other, which the caller simulates.

    Args:
        model: the scene.
        data: its simulation.
        rng: of the hand's ways.
        steps: control steps.
        low: bounds (3,) of the mocap.
        high: its upper bounds.
    """
    moving = find_moving_bodies(model)
    goals = [body for body in (moving.free, moving.part) if body is not None] or [moving.hand]
    aim, effort = np.zeros(3), 1.0
    for step in range(steps):
        if step % _VISIT == 0:
            effort = float(rng.choice([-1.0, 1.0]))
        if step % 5 == 0:
            aim = rng.uniform(-_SPREAD, _SPREAD, 3)
        target = data.xpos[goals[step // _VISIT % len(goals)]] + aim
        way = np.clip(target - data.mocap_pos[0], -_SPEED, _SPEED)
        data.mocap_pos[0] = np.clip(data.mocap_pos[0] + way, low, high)
        data.ctrl[:] = effort, -effort
        yield step
