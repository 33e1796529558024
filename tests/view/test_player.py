"""Playing, pausing and scrubbing, without a page."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mjx_metaworld.types import CONTROL_RATE
from mjx_metaworld.view.player import Player, grown, pause, play, scrub, tick, to_last, with_speed

RECORDED = Player(last=100)
SECOND = 1.0


def test_a_second_is_as_many_frames_as_control_steps():
    assert tick(play(Player(last=1000)), SECOND).shown == CONTROL_RATE
    assert tick(with_speed(play(Player(last=1000)), 0.5), SECOND).shown == CONTROL_RATE // 2


def test_time_stands_still_while_paused():
    assert tick(RECORDED, SECOND) == RECORDED
    paused = pause(tick(play(RECORDED), 0.51))
    assert paused.at == paused.shown == 40  # between two frames nothing would be seen to be there
    assert tick(paused, SECOND) == paused


def test_a_recording_begins_anew_or_stops():
    ended = tick(play(RECORDED), 2 * SECOND)
    assert (ended.shown, ended.playing) == (0, True)
    ended = tick(play(RECORDED._replace(again=False)), 2 * SECOND)
    assert (ended.shown, ended.playing, ended.at_end) == (100, False, True)
    assert play(ended).shown == 0
    resting = tick(play(RECORDED), 2 * SECOND, rests=True)
    assert (resting.shown, resting.playing, resting.at_end) == (100, True, True)


def test_a_simulation_is_waited_for():
    ahead = tick(play(Player(live=True)), SECOND)
    assert (ahead.wanted, ahead.shown) == (80, 0)
    late = grown(ahead, 8, live=True)
    assert (late.at, late.shown, late.at_end) == (8.0, 8, False)
    assert grown(ahead, 500, live=False).at == ahead.at


def test_scrubbing_stays_within_what_there_is():
    assert [scrub(RECORDED, i).shown for i in (-3, 40, 1000)] == [0, 40, 100]
    assert not scrub(play(RECORDED), 40).playing
    assert to_last(RECORDED).shown == 100
    # From the middle it plays what is there, then goes on with what comes.
    again = tick(play(scrub(Player(last=100, live=True), 90)), 0.25)
    assert (again.shown, again.wanted) == (100, 110)


def test_a_speed_is_positive():
    with pytest.raises(ValueError, match="must be positive, got 0"):
        with_speed(RECORDED, 0)


STEPS = st.lists(
    st.one_of(
        st.floats(0, 2).map(lambda seconds: lambda player: tick(player, seconds)),
        st.integers(-10, 300).map(lambda index: lambda player: scrub(player, index)),
        st.integers(0, 40).map(lambda more: lambda player: grown(player, player.last + more, live=player.live)),
        st.sampled_from([play, pause, to_last]),
    )
)


@given(STEPS, st.booleans(), st.booleans())
def test_there_is_always_a_frame_to_show(steps, live, again):
    player = Player(last=50, live=live, again=again)
    for step in steps:
        player = step(player)
        assert 0 <= player.shown <= player.last
        assert live or player.at <= player.last
