"""Configurations from texts."""

from __future__ import annotations

import pytest

from mjx_metaworld.inputs.settings import physics_of
from mjx_metaworld.physics.config import PhysicsConfig


def test_an_accuracy_is_the_default_or_another_with_what_is_set():
    assert physics_of(()) == PhysicsConfig()
    small = physics_of(("max_contacts=16", "solver_tolerance=0"))
    assert small == PhysicsConfig(max_contacts=16, solver_tolerance=0.0)
    assert physics_of(("box_pairs=20",), small) == PhysicsConfig(max_contacts=16, solver_tolerance=0.0, box_pairs=20)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("boxes=3", "unknown setting 'boxes=3'; expected name=value with one of substeps, plane_pairs"),
        ("box_pairs", "unknown setting 'box_pairs'"),
        ("box_pairs=1.5", "box_pairs must be an integer such as 12, got '1.5'"),
        ("max_contacts=5", "PhysicsConfig.max_contacts must be a multiple of 4, got 5"),
    ],
)
def test_what_is_no_accuracy_is_named(text, told):
    with pytest.raises(ValueError, match=told):
        physics_of((text,))
