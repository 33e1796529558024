"""Tasks in scenes of one's own whose contacts need more slots than there are."""

from __future__ import annotations

import warnings

import pytest
from support.crowded import brush

import mjx_metaworld as mw
from mjx_metaworld.build import slots
from mjx_metaworld.build.slots import check_slots
from mjx_metaworld.tasks import Observed, Point, RewardOutput, task
from mjx_metaworld.tasks.placement import put_free_body, start

pytestmark = pytest.mark.usefixtures("scratch_registry", "kinematic")


@pytest.fixture
def brushing(tmp_path):
    """A task whose brush stands on sixteen boxes."""

    @task(
        "brushing",
        scene=brush(tmp_path, 4),
        hand_init=(0.0, 0.5, 0.15),
        rand_low=(-0.05, 0.6, 0.025),
        rand_high=(0.05, 0.65, 0.025),
        goal_low=(-0.1, 0.5, 0.0),
        goal_high=(0.1, 0.9, 0.1),
        objects=(Observed(Point("body", "brush")),),
        place=lambda rand_vec, settled: put_free_body(
            start(settled, goal=rand_vec, object_init=rand_vec), rand_vec[:3]
        ),
    )
    def brushing(s):
        """Brush. Success: never."""
        zero = 0.0 * s.obs[0]
        return RewardOutput(zero, zero > 1, zero, zero, zero, zero, zero)

    return mw.suites.resolve("brushing")


def test_an_environment_that_loses_contacts_at_rest_is_refused(brushing):
    with pytest.raises(ValueError, match=r"brush4x4 of brushing loses contacts at rest: the box pairs .* nearest 16"):
        mw.make("brushing")
    with pytest.warns(UserWarning, match=r"(?s)loses contacts when the hand is led .*mw.PhysicsConfig\(box_pairs="):
        check_slots(brushing, mw.PhysicsConfig(box_pairs=16, max_contacts=64))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_slots(brushing, mw.PhysicsConfig(box_pairs=64, max_contacts=192))


def test_metaworlds_scenes_are_not_simulated(monkeypatch):
    monkeypatch.setattr(slots, "need_of", None)
    check_slots(mw.suites.resolve("MT50"), mw.PhysicsConfig())
