"""Random scenes that fit agree with MuJoCo C at the bars of the 50 tasks, stage by stage."""

from __future__ import annotations

import pytest
from support.random_scenes import random_scene

from mjx_metaworld.parity.scenes import dynamics_errors, measure_scenes, measured, record_scene
from mjx_metaworld.physics.config import PhysicsConfig
from mjx_metaworld.scenes.catalog import load_scene
from mjx_metaworld.scenes.fit import problems

# More than one moving body among many shapes: the default's slots are for metaworld's scenes.
PHYSICS = PhysicsConfig(sphere_pairs=20, capsule_pairs=20, box_pairs=20, cylinder_box_pairs=20, convex_pairs=20)


@pytest.mark.ci
def test_stages_of_random_scenes(tmp_path):
    """All but the narrow phase, whose routines tests/physics compares; every condim is among the contacts."""
    specs = [random_scene(tmp_path, seed) for seed in range(6)]
    assert [list(problems(load_scene(spec), spec.prop)) for spec in specs] == [[]] * len(specs)
    states = [state for spec in specs for state in record_scene(spec, steps=40, every=8)]
    assert {contact.dim for state in states for contact in state.stages.solver_contacts} == {1, 3, 4, 6}
    assert [line for line in measured(dynamics_errors(states)) if not line.holds] == []


@pytest.mark.full
@pytest.mark.parametrize("first", range(0, 48, 8))
def test_random_scenes_agree_with_mujoco(tmp_path, first):
    specs = [random_scene(tmp_path, seed) for seed in range(first, first + 8)]
    assert [list(problems(load_scene(spec), spec.prop)) for spec in specs] == [[]] * len(specs)
    found = measure_scenes(specs, steps=60, every=6, physics=PHYSICS)
    assert [str(line) for line in found if not line.holds] == []
