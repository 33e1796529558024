"""The reference's steps beside themselves."""

from __future__ import annotations

import numpy as np

from mjx_metaworld.parity import own_scatter as scatter
from mjx_metaworld.suites import goals


def test_a_standing_puck_tells_the_tolerance_but_not_the_rounding(monkeypatch):
    vectors = goals("push-v3", 1)[0][:1]
    own = scatter.own_scatter("push-v3", vectors, style="expert", num_steps=20, every=2)
    assert own.rounded.shape == own.tightened.shape == (10,)
    assert 0.0 < np.median(own.rounded) < 1e-7
    assert np.median(own.tightened) > 1e-6  # the contact's position moves on the puck's rim
    # With the tolerance left alone and nothing rounded the steps are the same to the last bit.
    monkeypatch.setattr(scatter, "TOLERANCE", 1e-6)
    monkeypatch.setattr(scatter, "_round", lambda data: None)
    again = scatter.own_scatter("push-v3", vectors, style="expert", num_steps=20, every=2)
    assert not again.rounded.any()
    assert not again.tightened.any()
