"""The page and the replay in a real browser: they load, play and scrub."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator

import chromium
import numpy as np
import pytest
import support.watched
from PIL import Image
from support.watched import STEPS, watched

from mjx_metaworld.trajectory import Trajectory
from mjx_metaworld.view import replay as replays
from mjx_metaworld.view.replay import save_replay

pytest.importorskip("viser")
from mjx_metaworld.view.server import start_server, stop_server
from mjx_metaworld.view.viewer import Viewer

# Several seconds each where WebGL is drawn by the CPU.
pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(chromium.find_chromium() is None, reason="no Chromium on this machine"),
]
BUTTONS = "[...document.querySelectorAll('button')]"
BUTTONS = "[...document.querySelectorAll('button')]"
PLAY, PAUSE = (f"{BUTTONS}.find(button => button.innerText == '{name}')" for name in ("Play", "Pause"))
SLIDER = "document.querySelectorAll('.mantine-Slider-root')[0]"
TIME = "parseFloat(document.querySelector('input').value)"


@pytest.fixture
def viewer() -> Iterator[Viewer]:
    server = start_server("127.0.0.1", 0)
    viewer = Viewer(watched(), "**reach-v3**, expert", server)
    ended = threading.Event()

    def serve() -> None:
        while not ended.wait(0.03):
            viewer.advance(0.03)

    thread = threading.Thread(target=serve)
    thread.start()
    yield viewer
    ended.set()
    thread.join()
    stop_server(server)


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
