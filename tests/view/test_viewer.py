"""The page's loop, without a browser: what is asked for, and what viser is told to show."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import support.watched
from support.watched import STEPS, watched

from mjx_metaworld.trajectory import Trajectory
from mjx_metaworld.view.panel import Again, Drive, MoveGoal, Play, Restart, Scrub, Speed, Step
from mjx_metaworld.view.plots import thinned
from mjx_metaworld.view.sources import Simulation

pytest.importorskip("viser")
from mjx_metaworld.view import replay as replays
from mjx_metaworld.view.server import start_server, stop_server
from mjx_metaworld.view.stage import Stage
from mjx_metaworld.view.viewer import Viewer


@pytest.fixture
def server() -> Iterator:
    server = start_server("127.0.0.1", 0)
    yield server
    stop_server(server)


@pytest.fixture
def recorded(server) -> Viewer:
    return Viewer(support.watched.recorded(), "some", server)


@pytest.fixture
def simulation() -> Simulation:
    return watched()


@pytest.fixture
def live(server, simulation) -> Viewer:
    return Viewer(simulation, "some", server)


def do(viewer: Viewer, *requests, seconds: float = 0.0) -> int:
    """Ask for something, let time pass; the frame that is shown then."""
    for request in requests:
        viewer._panel.ask(request)
    viewer.advance(seconds)
    return viewer.player.shown


def test_a_recording_is_played_and_scrubbed(recorded):
    assert do(recorded) == 0
    assert do(recorded, Play(True), seconds=0.25) == 20
    assert do(recorded, Speed(0.1), seconds=0.25) == 22
    assert do(recorded, Scrub(35), seconds=1.0) == 35
    assert do(recorded, Step(-10)) == 25
    assert do(recorded, Step(100)) == STEPS
    assert do(recorded, Again(False), Speed(4.0), Play(True), seconds=10.0) == STEPS
    assert not recorded.player.playing
    assert do(recorded, Restart()) == 0
    assert recorded._panel._position.value == 0


def test_bodies_are_where_the_frame_has_them(recorded, server):
    do(recorded, Scrub(30))
    frame = recorded.source.frame(30)
    for lane, body in itertools.product(range(2), (7, 8)):  # the hand and a finger
        node = server.scene.get_handle_by_name(f"/lane{lane}/body{body}")
        np.testing.assert_allclose(node.position, frame.pos[lane, body], atol=1e-7)
        np.testing.assert_allclose(node.wxyz, frame.quat[lane, body], atol=1e-7)
    assert server.scene.get_handle_by_name("/floor") is not None
    plotted = recorded._plots._rewards.data
    assert len(plotted) == 3  # steps, and the rewards of two lanes
    np.testing.assert_allclose(plotted[2], recorded.source.metrics(30).unscaled_reward[:, 1])
    assert recorded._plots._terms.data[1][-1] == frame.metrics.success[0]


def test_a_simulation_goes_on_as_it_is_watched(live, simulation):
    assert len(simulation) == 1
    assert do(live, Play(True), seconds=0.1) == 8
    assert len(simulation) == 9
    assert do(live, Scrub(2), seconds=1.0) == 2
    assert do(live, Step(10)) == 12
    assert do(live, Play(True), seconds=0.05) == 16
    # A long pause is made up for step by step, so that the page answers meanwhile.
    assert do(live, seconds=60.0) == 24
    for _ in range(5):
        do(live, seconds=0.1)
    assert (live.player.shown, live.player.at_end) == (STEPS, True)
    assert (do(live, seconds=2.0), len(simulation)) == (0, 1)  # the end has been seen
    assert live.player.playing
    assert do(live, seconds=0.1) == 8


def test_an_episode_that_is_not_repeated_stops(live):
    do(live, Again(False), Play(True))
    for _ in range(20):
        do(live, seconds=0.1)
    assert (live.player.shown, live.player.playing) == (STEPS, False)
    assert do(live, Play(True)) == 0  # once more from the start


def test_a_goal_is_dragged(live, simulation, server):
    do(live, Play(True), seconds=0.1)
    do(live, MoveGoal(0, np.array([0.05, 0.82, 0.2])))
    wanted = [0.05, 0.82, 0.2]
    np.testing.assert_allclose(simulation.frame(len(simulation) - 1).goal[0], wanted, atol=1e-6)
    np.testing.assert_allclose(server.scene.get_handle_by_name("/lane0/goal").position, wanted, atol=1e-6)
    handle = server.scene.get_handle_by_name("/goals/lane0")
    np.testing.assert_allclose(handle.position, live._stage.offsets[0] + wanted, atol=1e-6)


def test_the_hand_is_driven_from_where_it_is(live, simulation):
    do(live, Play(True), seconds=0.1)
    live._panel._by_hand.value = True
    do(live, Drive())
    at = simulation.frame(len(simulation) - 1).hand_target[0]
    np.testing.assert_allclose(live._panel.hand_target, at, atol=1e-3)  # the sliders' steps
    live._panel._hand[2].value = 0.12
    do(live, Drive(), Play(True), seconds=0.1)
    assert simulation.frame(len(simulation) - 1).hand_target[0, 2] < at[2] - 0.02
    live._panel._by_hand.value = False
    do(live, Drive())
    assert not simulation.control.by_hand.any()


def test_who_drives_by_hand_goes_on_in_the_lane_that_is_chosen(live, simulation):
    live._panel._by_hand.value = True
    assert do(live, Drive(), Play(True), seconds=0.1) == 8
    live._panel._lane.value = "1"
    for told in live._panel._lane._impl.update_cb:
        told(SimpleNamespace(client="somebody's browser"))
    do(live)
    assert simulation.control.by_hand.tolist() == [False, True]
    np.testing.assert_allclose(live._panel.hand_target, simulation.frame(8).hand_target[1], atol=1e-3)


def test_compiling_does_not_hold_the_page_up(server, simulation, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    def compile_slowly():
        begun.set()
        go_on.wait(10)
        raise RuntimeError("it does not compile")

    monkeypatch.setattr(simulation, "prepare", compile_slowly)
    monkeypatch.setattr(simulation, "_advance", None)
    viewer = Viewer(simulation, "some", server)
    assert do(viewer, Play(True), seconds=1.0) == 0
    assert begun.wait(10)
    assert "Compiling" in viewer._panel._status.content
    go_on.set()
    assert viewer._preparing is not None
    viewer._preparing.join(10)
    with pytest.raises(RuntimeError, match="it does not compile"):
        viewer.advance(0.01)


@pytest.mark.parametrize(("count", "stride", "shown"), [(1, 2, [0]), (2, 4, [0, 1]), (5, 2, [0, 2, 4])])
def test_the_last_moment_is_among_those_of_a_replay(count, stride, shown):
    assert replays.moments(count, stride) == shown


def test_a_replay_shows_how_it_ends(monkeypatch, tmp_path):
    steps = []
    show = Stage.show
    monkeypatch.setattr(Stage, "show", lambda self, frame: (steps.append(int(frame.step[0])), show(self, frame)))
    monkeypatch.setattr(replays, "recording_of", lambda env, trajectory: support.watched.recorded())
    monkeypatch.setattr(Trajectory, "env", None)
    replays.save_replay(tmp_path / "some.html", Trajectory(states=None, tasks=("reach-v3",)), every=12)
    assert steps == [0, 12, 24, 36, STEPS]


@pytest.mark.parametrize("height", [-1, 0, 2.5, '480" onload="alert()'])
def test_a_height_that_cannot_be_is_refused_before_a_replay_is_written(tmp_path, height):
    with pytest.raises(ValueError, match="height must be a positive integer, got"):
        replays.save_replay(tmp_path / "some.html", Trajectory(states=None, tasks=("reach-v3",)), height=height)
    assert not list(tmp_path.iterdir())


def test_a_port_that_is_taken_is_told(capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ValueError, match=f"port {port} of 127.0.0.1 cannot be had.*in use"):
            start_server("127.0.0.1", port)
    assert capsys.readouterr().out == ""


def test_long_plots_are_thinned():
    values = np.arange(5001)
    shown = thinned(values)
    assert len(shown) <= 400
    assert shown[-1] == 5000
    assert thinned(values[:7]).tolist() == list(range(7))
