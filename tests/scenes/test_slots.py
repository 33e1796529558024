"""Slots that a scene needs, counted in MuJoCo C, against those of an accuracy."""

from __future__ import annotations

import numpy as np
import pytest
from support.crowded import brush

import mjx_metaworld as mw
from mjx_metaworld.parity.scenes import contact_errors, record_scene
from mjx_metaworld.scenes import slots
from mjx_metaworld.scenes.slots import FIELDS, Need, need_of, shortage_of

BOX, CONTACTS = FIELDS.index("box_pairs"), FIELDS.index("max_contacts")
DEFAULT = mw.PhysicsConfig()


def need(resting: int, ever: int, contacts: int = 0) -> Need:
    """Of boxes at rest and ever, and of contacts ever."""
    numbers = np.zeros((2, len(FIELDS)), int)
    numbers[:, BOX], numbers[1, CONTACTS] = (resting, ever), contacts
    return Need(*numbers)


def test_what_has_slots_is_not_short():
    assert shortage_of({"it": need(12, 12, 48)}, DEFAULT) is None
    assert shortage_of({"it": need(20, 20)}, mw.PhysicsConfig(box_pairs=20)) is None


def test_the_shortage_of_all_scenes_is_told_with_what_ends_it():
    moving = shortage_of({"one": need(3, 13), "other": need(3, 15, 50), "third": need(1, 1)}, DEFAULT)
    assert moving is not None
    assert not moving.at_rest
    assert moving.text.splitlines() == [
        "one loses contacts when the hand is led to what moves: the box pairs that touch are among the nearest 13, "
        "box_pairs is 12.",
        "other loses contacts when the hand is led to what moves: the box pairs that touch are among the nearest 15, "
        "box_pairs is 12; 52 at once, max_contacts is 48.",
        "physics=mw.PhysicsConfig(box_pairs=15, max_contacts=52) has room for them (in commands --physics box_pairs=15 "
        "max_contacts=52)",
    ]
    given = mw.PhysicsConfig(box_pairs=4, solver_iterations=9)
    resting = shortage_of({"it": need(5, 5)}, given)
    assert resting is not None
    assert resting.at_rest
    assert "it loses contacts at rest: the box pairs that touch are among the nearest 5, box_pairs is 4" in resting.text
    assert "PhysicsConfig(box_pairs=5, solver_iterations=9) has room" in resting.text


def test_what_a_scene_needs_is_counted_once(tmp_path, monkeypatch):
    monkeypatch.setenv("MJX_METAWORLD_CACHE", str(tmp_path / "cache"))
    spec = brush(tmp_path, 4)
    found = need_of(spec)
    assert found.resting[BOX] == 16
    assert found.resting[CONTACTS] == 64  # four corners each
    assert (found.ever >= found.resting).all()
    monkeypatch.setattr(slots, "_simulate", None)
    np.testing.assert_array_equal(need_of(spec), found)
    (line,) = mw.check_scene(spec)
    assert "it loses contacts at rest: the box pairs that touch are among the nearest 16, box_pairs is 12" in line
    assert mw.check_scene(spec, mw.PhysicsConfig(box_pairs=64, max_contacts=192)) == []
    numbers = {"box_pairs": 16, "max_contacts": 64}
    with pytest.warns(UserWarning, match=r"brush4x4.xml: it loses contacts when the hand is led to what moves"):
        assert mw.check_scene(spec, mw.PhysicsConfig(**numbers)) == []


@pytest.mark.full
def test_the_engine_loses_contacts_without_these_slots_and_none_with_them(tmp_path):
    spec = brush(tmp_path, 6)
    states = record_scene(spec, steps=60, every=6)
    needed = {name: int(number) for name, number in zip(FIELDS, need_of(spec).ever, strict=True) if name != FIELDS[-1]}
    lost = [
        float(contact_errors(states, physics)["contacts that one side lacks"].max(initial=0.0))
        for physics in (DEFAULT, mw.PhysicsConfig(**{k: max(v, 1) for k, v in needed.items()}))
    ]
    assert lost[0] > 1e-4 > lost[1]
