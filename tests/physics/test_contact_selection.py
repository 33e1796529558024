"""Contacts in states where the selection of pairs or the search for the least depth can go wrong."""

from __future__ import annotations

import functools
from pathlib import Path

import collision_states as states
import numpy as np

import mjx_metaworld as mw
from mjx_metaworld.parity.reference import reference_env, reference_policy, start_reference
from mjx_metaworld.physics.config import EngineConfig

# Control steps of the expert on the first frozen goal of MT50 at which a box is deepest along its own face: the plate's
# rim in the goal's net; the gripper's base in the door, and in the button's housing.
FACE_CONTACTS = {"plate-slide-side-v3": (79, 80), "door-unlock-v3": (40, 41), "button-press-v3": (98, 99)}
# Control steps of actions that wander, at which the wrench, of 24 capsules, lies under the fingers on the table.
RINGS = {"assembly-v3": (49, 50, 51, 52, 53, 58)}


def snapshots_of(task: str, steps: tuple[int, ...], *, expert: bool) -> list[states.Snapshot]:
    """States of the reference before these control steps."""
    row = [spec.name for spec in mw.make("MT50").tasks].index(task)
    cpu_env, policy = reference_env(task), reference_policy(task)
    obs = start_reference(cpu_env, task, mw.goals("MT50", seed=1)[row][0])
    scene = states.find_scene(Path(cpu_env.fullpath).stem)
    body_map = states.map_bodies(cpu_env.model, scene.prop)
    rng = np.random.default_rng(0)
    wander = rng.uniform(-1.0, 1.0, 4)
    snapshots = []
    for step in range(max(steps) + 1):
        if step in steps:
            poses = states.skeleton_poses(cpu_env.model, cpu_env.data, body_map)
            snapshots.append(states.Snapshot(task, scene, *poses, states.contacts_of(cpu_env.data)))
        wander = np.clip(0.9 * wander + 0.45 * rng.normal(size=4), -1.0, 1.0)
        obs, *_ = cpu_env.step(np.clip(policy.get_action(obs.copy()), -1.0, 1.0) if expert else wander)
    cpu_env.close()
    return snapshots


@functools.cache
def comparisons() -> list[states.Comparison]:
    """All states in one batch, so that collision is compiled once."""
    snapshots = [s for task, steps in FACE_CONTACTS.items() for s in snapshots_of(task, steps, expert=True)]
    snapshots += [s for task, steps in RINGS.items() for s in snapshots_of(task, steps, expert=False)]
    batch = states.to_batch(snapshots)
    return states.compare(batch, states.collide_batch(batch, EngineConfig()))


def test_boxes_flat_against_hulls():
    """MuJoCo's depth and normal, where a descent from elsewhere ends 0.1 to 6 mm deeper."""
    deep = [c for c in comparisons() if c.kind == "box-mesh" and c.theirs and c.touching_depth > 3e-3]
    assert {c.task for c in deep} >= set(FACE_CONTACTS)
    for comparison in deep:
        # MuJoCo's own tolerance is 1e-6 m, and float32 resolves as much of a hull's reach.
        assert comparison.depth_error < 5e-6, comparison
        assert comparison.normal_error < 1e-3, comparison


def test_rings_of_capsules():
    """As many contacts as MuJoCo has, though more capsules of the wrench are near than touch."""
    rings = [c for c in comparisons() if c.task in RINGS]
    assert len(rings) >= 30
    for comparison in rings:
        assert len(comparison.ours) == len(comparison.theirs), comparison
