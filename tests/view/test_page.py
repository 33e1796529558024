"""The page and the replay in a real browser: they load, play and scrub."""

from __future__ import annotations

import contextlib
import io
import math
import threading
import time
from collections.abc import Callable, Iterator

import chromium
import numpy as np
import pytest
import support.watched
from PIL import Image
from support.watched import STEPS, watched

from mjx_metaworld.trajectory import Trajectory
from mjx_metaworld.view import replay as replays
from mjx_metaworld.view.frames import Frame
from mjx_metaworld.view.panel import EACH_ANOTHER
from mjx_metaworld.view.replay import save_replay
from mjx_metaworld.view.sources import Simulation
from mjx_metaworld.view.stage import _SEEN, lane_offsets, rotate

pytest.importorskip("viser")
from mjx_metaworld.view.server import start_server, stop_server
from mjx_metaworld.view.viewer import Viewer

# Several seconds each where WebGL is drawn by the CPU.
pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(chromium.find_chromium() is None, reason="no Chromium on this machine"),
]
BUTTONS = "[...document.querySelectorAll('button')]"
PLAY, PAUSE = (f"{BUTTONS}.find(button => button.innerText == '{name}')" for name in ("Play", "Pause"))
SLIDER = "document.querySelectorAll('.mantine-Slider-root')[0]"
# Scrolls an element into view and measures it.
_SHOW = (
    "(e => { e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
    "return [b.x, b.y, b.width, b.height]; })"
)
TIME = "parseFloat(document.querySelector('input').value)"


@contextlib.contextmanager
def serving(simulation: Simulation) -> Iterator[Viewer]:
    """A page that shows a simulation, as long as it is served."""
    server = start_server("127.0.0.1", 0)
    viewer = Viewer(simulation, "**reach-v3**, expert", server)
    ended = threading.Event()

    def serve() -> None:
        while not ended.wait(0.03):
            viewer.advance(0.03)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield viewer
    finally:
        ended.set()
        thread.join()
        stop_server(server)


@pytest.fixture
def viewer() -> Iterator[Viewer]:
    with serving(watched()) as viewer:
        yield viewer


@contextlib.contextmanager
def opened(viewer: Viewer) -> Iterator[chromium.Page]:
    """The page in a browser, once it is drawn; at its end nothing has failed in it."""
    with chromium.Page(f"http://localhost:{viewer.server.get_port()}", 1040, 600) as page:  # few pixels are drawn soon
        page.wait(PLAY, 60)
        page.settle(2)
        yield page
        assert page.errors == []


def row(label: str) -> str:
    """The row of the panel with a control, by its label."""
    labels = "[...document.querySelectorAll('label')]"
    return f"{labels}.find(label => label.innerText == '{label}').closest('.mantine-Flex-root')"


def press(page: chromium.Page, element: str, along: float = 0.5) -> None:
    """Scroll an element into view and click on it, from its left end, 0, to its right, 1."""
    page.wait(element)
    box = page.evaluate(f"{_SHOW}({element})")
    page.click(box[0] + along * box[2], box[1] + box[3] / 2)


def slide(page: chromium.Page, label: str, along: float) -> None:
    press(page, f"{row(label)}.querySelector('.mantine-Slider-root')", along)


def await_that(holds: Callable[[], bool], page: chromium.Page) -> None:
    """Wait for something in this process while the page goes on."""
    end = time.monotonic() + 30.0
    while not holds():
        assert time.monotonic() < end, "the page's wish has not arrived"
        page.evaluate("new Promise(done => requestAnimationFrame(() => done(true)))")


def place_on_page(viewer: Viewer, point: np.ndarray) -> np.ndarray:
    """(2,) pixels at which a point (3,) of the scene is drawn, by the page's own camera."""
    (client,) = viewer.server.get_clients().values()
    camera = client.camera
    x, y, depth = rotate(camera.wxyz * [1.0, -1.0, -1.0, -1.0], point - camera.position)
    focal = camera.image_height / 2 / math.tan(camera.fov / 2)
    return np.array([camera.image_width, camera.image_height]) / 2 + focal * np.array([x, y]) / depth


def scene(page: chromium.Page) -> np.ndarray:
    """The left half of the page, without the panel and without what the browser says of its graphics."""
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    return np.asarray(image)[image.height // 3 :, : image.width // 2]


def test_the_page_loads_plays_and_scrubs(viewer):
    with chromium.Page(f"http://localhost:{viewer.server.get_port()}") as page:
        page.wait(PLAY, 60)
        page.wait("document.querySelector('canvas')")
        page.wait("document.body.innerText.includes('reach-v3')")
        page.click(*page.centre(PLAY))
        page.wait(PAUSE)
        page.wait("/step [1-9]/.test(document.body.innerText)")
        page.click(*page.centre(PAUSE))
        page.wait(PLAY)
        assert not viewer.player.playing
        while viewer.source.live:
            viewer.source.extend(STEPS)
        page.wait(f"document.body.innerText.includes('{STEPS}')")
        before = viewer.player.shown
        page.click(*page.centre(SLIDER))
        page.wait(f"document.body.innerText.includes('step {STEPS // 2}')")
        assert viewer.player.shown == STEPS // 2 != before
        assert scene(page).std() > 20  # a robot at a table
        assert page.errors == []
        assert all(url.startswith(("http://localhost", "data:", "blob:")) for url in page.requests)


def last(viewer: Viewer) -> Frame:
    return viewer.source.frame(len(viewer.source) - 1)


def test_the_scene_stands_beside_the_panel(viewer):
    with opened(viewer) as page:
        left = page.evaluate(f"{PLAY}.getBoundingClientRect().x")
        right = page.evaluate("document.querySelector('canvas').getBoundingClientRect().right")
        assert 0.5 * page.evaluate("innerWidth") < right < left
        # The page's camera sees what it is meant to: the bounds of what is to be seen of each lane.
        for corner in np.array(np.meshgrid(*_SEEN.T)).reshape(3, -1).T:
            for offset in lane_offsets(viewer.source.num_lanes):
                x, y = place_on_page(viewer, offset + corner)
                assert 0 <= x <= right
                assert 0 <= y <= page.evaluate("innerHeight")


BY_HAND, TASK = (f"{row(label)}.querySelector('input')" for label in ("drive by hand", "task"))


def pick_task(page: chromium.Page, name: str) -> None:
    press(page, TASK)
    press(page, f"[...document.querySelectorAll('[role=option]')].find(option => option.innerText == '{name}')")


def test_the_hand_follows_the_sliders(viewer):
    simulation = viewer.source
    with opened(viewer) as page:
        begin = last(viewer).hand_target[0]
        press(page, BY_HAND)
        await_that(lambda: bool(simulation.control.by_hand[0]), page)
        np.testing.assert_allclose(simulation.control.target, begin, atol=1e-3)  # from where the hand is
        slide(page, "z", 0.15)
        await_that(lambda: simulation.control.target[2] < begin[2] - 0.02, page)
        wanted = np.array(simulation.control.target)
        np.testing.assert_allclose(wanted[:2], begin[:2], atol=1e-3)
        press(page, f"{row('again at the end')}.querySelector('input')")  # what is driven ends where it was driven to
        press(page, PLAY)
        await_that(lambda: np.abs(last(viewer).hand_target[0] - wanted).max() < 1e-3, page)
        assert np.abs(last(viewer).hand_target[1] - wanted).max() > 0.01  # the other lane's expert goes its own way
        slide(page, "grip", 0.9)
        await_that(lambda: float(simulation.control.grip) > 0.5, page)
        press(page, BY_HAND)
        await_that(lambda: not simulation.control.by_hand.any(), page)


def test_the_goal_is_dragged_along_an_axis(viewer):
    with opened(viewer) as page:
        begin = last(viewer).goal[0]
        handle = lane_offsets(viewer.source.num_lanes)[0] + begin
        arrow = np.array([place_on_page(viewer, handle + np.array([0.0, 0.0, z])) for z in (0.08, 0.14, 0.2)])
        page.drag([tuple(arrow[0] + part * (arrow[2] - arrow[0])) for part in np.linspace(0.0, 1.0, 8)])
        await_that(lambda: last(viewer).goal[0, 2] > begin[2] + 0.05, page)
        moved = last(viewer).goal
        np.testing.assert_allclose(moved[0, :2], begin[:2], atol=1e-5)
        np.testing.assert_allclose(moved[0, 2] - begin[2], 0.12, atol=0.03)
        np.testing.assert_array_equal(moved[1], viewer.source.frame(0).goal[1])
        mark = viewer.server.scene.get_handle_by_name("/lane0/goal")
        await_that(lambda: np.allclose(mark.position, last(viewer).goal[0], atol=1e-6), page)


def test_tasks_and_goals_are_picked():
    simulation = watched(("reach-v3", "push-v3"))
    with serving(simulation) as viewer, opened(viewer) as page:
        assert last(viewer).task.tolist() == [0, 1]
        pick_task(page, "push-v3")
        await_that(lambda: last(viewer).task.tolist() == [1, 1], page)
        first = last(viewer).goal
        assert not np.array_equal(first[0], first[1])  # the lanes of a task have different goals
        slide(page, "goal", 0.5)
        await_that(lambda: not np.array_equal(last(viewer).goal, first), page)
        assert 20 < simulation.choice.goal < 30
        pick_task(page, EACH_ANOTHER)
        await_that(lambda: last(viewer).task.tolist() == [0, 1], page)


def test_a_replay_plays_without_a_server(tmp_path, monkeypatch):
    recording = support.watched.recorded()
    monkeypatch.setattr(replays, "recording_of", lambda env, trajectory: recording)
    monkeypatch.setattr(Trajectory, "env", None)
    trajectory = Trajectory(states=None, tasks=("reach-v3",))
    replay = save_replay(tmp_path / "new" / "some.html", trajectory)
    assert replay.path.stat().st_size < 5e6
    with chromium.Page(replay.path.as_uri()) as page:
        page.wait(f"document.querySelector('input') && {TIME} > 0", 60)
        page.call("Input.dispatchKeyEvent", type="keyDown", code="Space", key=" ")  # pauses
        page.call("Input.dispatchKeyEvent", type="keyUp", code="Space", key=" ")
        page.click(*page.centre(SLIDER))
        end = STEPS / 80
        page.wait(f"Math.abs({TIME} - {end / 2}) < 0.06")
        assert scene(page).std() > 20
        assert page.errors == []
        assert {url.split(":")[0] for url in page.requests} <= {"file", "data", "blob"}
    assert 'srcdoc="&lt;!doctype html&gt;' in replay._repr_html_()
