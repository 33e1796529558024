"""Pictures of the README and the guides, all written by `make pictures`: a contact sheet, a film, curves, the page.

`python docs/pictures.py curves.png` writes one of them. Each is below 400 kB. The page needs Chromium; where there is
none, its picture stays as it is.
"""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))  # `task_pages` and `chromium`, from wherever this is run

import chromium
import task_pages

import mjx_metaworld as mw
from mjx_metaworld.episodes import batched
from mjx_metaworld.rendering.images import labelled, tiled, upright
from mjx_metaworld.types import CONTROL_RATE
from mjx_metaworld.view.server import start_server, stop_server
from mjx_metaworld.view.sources import Simulation, spread
from mjx_metaworld.view.viewer import Viewer

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "pictures"
MOST_BYTES = 400_000
FILMED = ("door-open-v3", "pick-place-v3", "hammer-v3", "basketball-v3")
WATCHED = FILMED[:3]
_TILE, _FILM_TILE = 128, 190  # pixels a side
_FILM_EVERY = 5  # control steps between two frames
_MOMENT = 60  # control steps, at which the page is shown


def main(wanted: list[str]) -> None:
    """Write the pictures of some names, or all, and say how large they are.

    Raises:
        ValueError: for a name that there is not.
    """
    writers = {"tasks.webp": save_contact_sheet, "experts.webp": save_film, "curves.png": save_curves}
    writers["view.webp"] = save_page
    for name in wanted:
        if name not in writers:
            raise ValueError(f"no picture {name!r}; available: {', '.join(writers)}")
    FOLDER.mkdir(exist_ok=True)
    for name in wanted or writers:
        if name == "view.webp" and chromium.find_chromium() is None:
            print("no Chromium: the picture of the page stays as it is")
        else:
            write(FOLDER / name, writers[name])


def write(path: Path, save: Callable[[io.BytesIO], None]) -> None:
    """Write a file by a function of a binary file.

    Raises:
        RuntimeError: if it is too large for a page that loads at once.
    """
    buffer = io.BytesIO()
    save(buffer)
    content = buffer.getvalue()
    if len(content) > MOST_BYTES:
        raise RuntimeError(f"{path.name} would have {len(content):,} bytes; at most {MOST_BYTES:,} are wanted")
    path.write_bytes(content)
    print(f"{path.relative_to(ROOT)}: {len(content):,} bytes", flush=True)


def save_contact_sheet(file: io.BytesIO) -> None:
    """All tasks at the start of their first frozen goal."""
    pictures = task_pages.pictures()
    small = [Image.open(io.BytesIO(content)).convert("RGB").resize((_TILE, _TILE)) for content in pictures.values()]
    named = [labelled(np.asarray(image), name.removesuffix("-v3")) for name, image in zip(pictures, small, strict=True)]
    Image.fromarray(tiled(np.stack(named), columns=10)).save(file, "webp", quality=80)


def save_film(file: io.BytesIO) -> None:
    """Some experts side by side, as an endless film in simulated time."""
    env = mw.make(list(FILMED))
    trajectory = mw.record(env, mw.expert(env), num_steps=200, every=_FILM_EVERY)
    images = upright(mw.render(trajectory, None, "corner2", _FILM_TILE, _FILM_TILE), "corner2")
    first, *rest = (
        Image.fromarray(tiled(np.stack([labelled(i, n) for i, n in zip(moment, FILMED, strict=True)]), columns=4))
        for moment in images
    )
    shown = round(1000 * _FILM_EVERY / CONTROL_RATE)
    first.save(file, "webp", save_all=True, append_images=rest, duration=shown, loop=0, quality=45, method=6)


def save_curves(file: io.BytesIO) -> None:
    """Success on the frozen goals over the wall clock, of the runs on record that learnt one task on a CPU."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    records = json.loads((ROOT / "benchmarks" / "results" / "training.json").read_text(encoding="utf-8"))
    figure, axes = plt.subplots(figsize=(7, 3.2), dpi=110)
    seen: set[str] = set()
    for record in records:
        if record["device"] == "cpu" and record["curve"] and record["command"] not in seen:
            seen.add(record["command"])
            _, seconds, success = zip(*record["curve"], strict=True)
            label = record["command"].removeprefix("mjx-metaworld train ").replace(" --seed 0", "")
            axes.plot(np.array([0.0, *seconds]) / 60, [0.0, *success], label=label, linewidth=1.4)
    axes.set(xlabel="minutes on two CPU cores, compiling included", ylabel="success on 50 frozen goals", ylim=(0, 1.02))
    axes.legend(fontsize=7, loc="lower right")
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(file, format="png")


@contextmanager
def watching(tasks: tuple[str, ...]) -> Iterator[Viewer]:
    """The page with the experts of some tasks, on a port of its own, served until the block ends."""
    env = mw.make(list(tasks))
    scripted = mw.expert(env)
    simulation = Simulation(env, batched(lambda obs, task, key: scripted(obs, task)), spread(len(tasks), len(tasks)))
    simulation.extend(_MOMENT)
    server = start_server("127.0.0.1", 0)
    viewer = Viewer(simulation, f"**{', '.join(tasks)}**, expert", server)
    ended = threading.Event()

    def serve() -> None:
        while not ended.wait(0.05):
            viewer.advance(0.05)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield viewer
    finally:
        ended.set()
        thread.join()
        stop_server(server)


def save_page(file: io.BytesIO) -> None:
    """The page in a browser, at a moment at which something is seen."""
    with watching(WATCHED) as viewer:
        viewer.go_to(_MOMENT)
        with chromium.Page(f"http://localhost:{viewer.server.get_port()}", 1280, 760) as browser:
            browser.wait("document.querySelector('canvas')", 120)
            browser.wait(f"document.body.innerText.includes('step {_MOMENT}')", 120)
            browser.settle()
            Image.open(io.BytesIO(browser.screenshot())).convert("RGB").save(file, "webp", quality=85)


if __name__ == "__main__":
    main(sys.argv[1:])
