"""Contacts of MuJoCo C and of the stages in states of rollouts, compared in one batch: collision is compiled once."""

from __future__ import annotations

import functools

import mjx_metaworld as mw
from mjx_metaworld.parity import collisions as states
from mjx_metaworld.parity.record import Style, episode
from mjx_metaworld.physics.config import EngineConfig
from mjx_metaworld.suites import resolve

# Control steps of the expert on the first frozen goal of MT50 at which a box is deepest along its own face: the plate's
# rim in the goal's net; the gripper's base in the door, and in the button's housing.
FACE_CONTACTS = {"plate-slide-side-v3": (79, 80), "door-unlock-v3": (40, 41), "button-press-v3": (98, 99)}
# Control steps of actions that wander, at which the wrench, of 24 capsules, lies under the fingers on the table.
RINGS = {"assembly-v3": (49, 50, 51, 52, 53, 58)}


def snapshots_of(task: str, steps: tuple[int, ...], style: Style) -> list[states.Snapshot]:
    """States of the reference before these control steps, of the task's first frozen goal in MT50."""
    vectors = dict(zip((spec.name for spec in resolve("MT50")), mw.goals("MT50", seed=1), strict=True))[task]
    turns = episode(task, vectors[0], style, max(steps) + 1)
    return [states.snapshot(task, turn.cpu_env) for turn in turns if turn.index in steps]


@functools.cache
def record() -> list[states.Snapshot]:
    """States of the scenes of MT10 and two others along expert rollouts, and the states above."""
    snapshots = [s for task in states.QUICK_TASKS for s in states.record(task, episodes=1, every=12)]
    snapshots += [s for task, steps in FACE_CONTACTS.items() for s in snapshots_of(task, steps, "expert")]
    snapshots += [s for task, steps in RINGS.items() for s in snapshots_of(task, steps, "random")]
    return snapshots


@functools.cache
def comparisons() -> list[states.Comparison]:
    """Every pair that touches in these states in MuJoCo C or here."""
    return compare(record())


def compare(snapshots: list[states.Snapshot]) -> list[states.Comparison]:
    """Every pair that touches in MuJoCo C or here."""
    batch = states.to_batch(snapshots)
    return states.compare(batch, states.collide_batch(batch, EngineConfig()))
