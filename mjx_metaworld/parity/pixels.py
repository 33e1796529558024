"""Differences of the device's pictures from MuJoCo's OpenGL pictures: the same states, the same cameras."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from mjx_metaworld.env import MetaWorldEnv, make
from mjx_metaworld.experts import expert
from mjx_metaworld.rendering.camera import Views, camera
from mjx_metaworld.rendering.opengl import Painter
from mjx_metaworld.rendering.render import CAMERAS, choose_backend
from mjx_metaworld.rendering.tables import SITE
from mjx_metaworld.rendering.to_mujoco import OriginalScene
from mjx_metaworld.suites import Tasks
from mjx_metaworld.types import State, on_host

NEAR = 1e-3  # metres within which depths agree
_WINDOW = 8  # pixels along a side of the squares that SSIM compares
_PEAK = 255.0
_LANES = 10  # drawn at a time


@dataclass(frozen=True)
class PixelAgreement:
    """Agreement of one camera's picture of one state."""

    task: str
    camera: str
    moment: str  # "reset" or "after N steps"
    size: int
    psnr: float  # decibels
    ssim: float
    depth: float  # share of pixels within a millimetre
    labels: float  # share of pixels that show the same geom


@dataclass(frozen=True)
class Shot:
    """A state's two pictures, for a sheet."""

    agreement: PixelAgreement
    device: np.ndarray  # (size, size, 3) uint8
    opengl: np.ndarray


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Peak signal-to-noise ratio of pictures of bytes, in decibels."""
    error = np.mean((one.astype(float) - other) ** 2)
    return float(10 * np.log10(_PEAK**2 / max(error, 1e-10)))


def ssim(one: np.ndarray, other: np.ndarray) -> float:
    """Structural similarity of pictures `(height, width, 3)` of bytes: the mean over all squares of 8 x 8 pixels."""
    x, y = one.astype(float), other.astype(float)
    mean_x, mean_y = _means(x), _means(y)
    var_x, var_y = _means(x * x) - mean_x**2, _means(y * y) - mean_y**2
    both = _means(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * _PEAK) ** 2, (0.03 * _PEAK) ** 2
    value = (2 * mean_x * mean_y + c1) * (2 * both + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return float(value.mean())


def _means(x: np.ndarray) -> np.ndarray:
    """Means over all squares, by sums from the upper left corner."""
    sums = np.pad(x.cumsum(0).cumsum(1), ((1, 0), (1, 0), (0, 0)))
    n = _WINDOW
    return (sums[n:, n:] - sums[:-n, n:] - sums[n:, :-n] + sums[:-n, :-n]) / (n * n)


def moments(env: MetaWorldEnv, num_steps: int) -> dict[str, State]:
    """Every task's reset, and its state after the expert's first steps; a lane a task."""
    count = len(env.tasks)
    keys = jax.random.split(jax.random.key(0), count)
    policy = expert(env)

    def advance(state: State, _: None) -> tuple[State, None]:
        action = jax.vmap(policy)(state.obs, state.task)
        return jax.vmap(env.step)(state, action), None

    start = jax.jit(lambda: jax.vmap(env.reset)(keys, jnp.arange(count)))()
    later = jax.jit(lambda state: jax.lax.scan(advance, state, length=num_steps)[0])(start)
    return {"reset": on_host(start), f"after {num_steps} steps": on_host(later)}


def compare_pixels(
    tasks: Tasks,
    *,
    sizes: Sequence[int] = (128, 480),
    cameras: Sequence[str] = CAMERAS,
    num_steps: int = 40,
    env: MetaWorldEnv | None = None,
    on_shot: Callable[[Shot], None] = lambda shot: None,
) -> list[PixelAgreement]:
    """Draw every task's moments from every camera by both.

    Args:
        tasks: as `make` takes them.
        sizes: pixels a side.
        cameras: a picture each.
        num_steps: the expert's control steps before the second moment.
        env: what to draw instead of `make(tasks)`.
        on_shot: called with every pair of pictures.

    Raises:
        RuntimeError: without OpenGL, or where the device cannot draw.
    """
    env = env or make(tasks)
    backend = choose_backend()
    if backend == "raycast":
        raise RuntimeError("there is no OpenGL to compare with; see the warning of mw.render")
    painter = Painter(backend, max_scenes=1)
    states = moments(env, num_steps)
    found = []
    # Scene by scene, since to load one takes OpenGL longest; a few lanes at a time, since all would fill the memory.
    scenes = [spec.scene_spec for spec in env.tasks]
    order = sorted(range(len(scenes)), key=lambda i: scenes.index(scenes[i]))
    scene = OriginalScene(scenes[0])
    for size in sizes:
        draws = {
            name: jax.jit(jax.vmap(camera(env, name, size, size, depth=True, segmentation="geom"))) for name in cameras
        }
        for first in range(0, len(order), _LANES):
            lanes = np.resize(order[first : first + _LANES], _LANES)
            for moment, state in states.items():
                some = jax.tree.map(operator.itemgetter(lanes), state)
                views = {name: jax.tree.map(np.asarray, draw(some)) for name, draw in draws.items()}
                for row, i in enumerate(order[first : first + _LANES]):
                    if scene.spec != scenes[i]:
                        scene = OriginalScene(scenes[i])
                    scene.pose(env.tasks[i], jax.tree.map(operator.itemgetter(i), state))
                    for name in cameras:
                        one = jax.tree.map(operator.itemgetter(row), views[name])
                        shot = _compare(painter, scene, one, (env.tasks[i].name, name, moment))
                        found.append(shot.agreement)
                        on_shot(shot)
    painter.close()
    return found


def _compare(painter: Painter, scene: OriginalScene, views: Views, about: tuple[str, str, str]) -> Shot:
    """One picture beside OpenGL's of the posed scene."""
    height, width, _ = views.color.shape
    model, data = scene.model, scene.data
    place = model.camera(about[1]).id
    picture = painter.draw(model, data, place, width, height, depth=False)
    depth, kinds, ids = painter.measure(model, data, place, width, height)
    labels = np.where(kinds == mujoco.mjtObj.mjOBJ_SITE, SITE - ids, np.where(kinds < 0, -1, ids))
    color, measured = np.asarray(views.color), np.asarray(views.depth)
    agreement = PixelAgreement(
        *about,
        width,
        psnr(color, picture),
        ssim(color, picture),
        float(np.mean(_close(measured, depth))),
        float(np.mean(np.asarray(views.label) == labels)),
    )
    return Shot(agreement, color, picture)


def _close(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return (np.abs(one - other) <= NEAR) | (one == other)


def markdown(agreements: Sequence[PixelAgreement]) -> str:
    """A table with a row a camera and size."""
    lines = [
        "| camera | pixels | pictures | mean PSNR (dB) | worst task's PSNR (dB) | mean SSIM | depth within 1 mm "
        "| same geom |",
        "| --- |" + " ---: |" * 7,
    ]
    for size in sorted({a.size for a in agreements}):
        for name in dict.fromkeys(a.camera for a in agreements):
            own = [a for a in agreements if a.camera == name and a.size == size]
            tasks = {task: np.mean([a.psnr for a in own if a.task == task]) for task in {a.task for a in own}}
            worst = min(tasks, key=lambda task: tasks[task])
            lines.append(
                f"| {name} | {size} x {size} | {len(own)} | {np.mean([a.psnr for a in own]):.1f} | "
                f"{tasks[worst]:.1f} ({worst}) | {np.mean([a.ssim for a in own]):.3f} | "
                f"{100 * np.mean([a.depth for a in own]):.2f} % | {100 * np.mean([a.labels for a in own]):.2f} % |"
            )
    return "\n".join(lines)
