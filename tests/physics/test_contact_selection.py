"""Contacts in states where the selection of pairs or the search for the least depth can go wrong."""

from __future__ import annotations

from support.collision_agreement import FACE_CONTACTS, RINGS, comparisons


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
