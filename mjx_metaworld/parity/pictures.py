"""Differences of pictures from the live CPU reference's: the same state, drawn with the same library."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from metaworld import env_dict
from metaworld.sawyer_xyz_env import SawyerXYZEnv

from mjx_metaworld.env import make
from mjx_metaworld.parity.record import rollout
from mjx_metaworld.parity.reference import reference_policy, start_reference
from mjx_metaworld.rendering.raycast import raycast
from mjx_metaworld.rendering.render import CAMERAS, Backend, render
from mjx_metaworld.suites import GOALS_SEED, goals
from mjx_metaworld.testing import state_from_metaworld

VISIBLE = 2  # of 255: what rounding a colour can do


@dataclass(frozen=True)
class PictureDifference:
    """Difference of the two pictures of a state."""

    task: str
    camera: str
    largest: int  # difference of a pixel in any channel, of 255
    visible: int  # pixels that differ by more than 2
    pixels: int


def picture_differences(
    task: str,
    backend: Backend,
    *,
    width: int = 160,
    height: int = 120,
    num_steps: int = 40,
    cameras: Sequence[str] = CAMERAS,
) -> list[PictureDifference]:
    """Let the reference's expert act, then draw where it got to.

    Args:
        task: name of the task.
        backend: what draws on both sides; with "raycast" both scenes are cast, as the reference has OpenGL only.
        width: pixels.
        height: pixels.
        num_steps: control steps before the pictures.
        cameras: a picture each.
    """
    with _reference_draws_with(backend):
        cpu_env = env_dict.ALL_V3_ENVIRONMENTS[task](render_mode="rgb_array", width=width, height=height)
        policy = reference_policy(task).get_action
        obs = start_reference(cpu_env, task, goals(task, GOALS_SEED)[0][0])
        for turn in rollout(cpu_env, obs, policy, style="expert", num_steps=num_steps, rounded=False):
            turn.take()
        env = make(task)
        state = state_from_metaworld(env, 0, cpu_env)
        differences = []
        for camera in cameras:
            ours = render(env, state, camera, width, height, backend=backend)
            theirs = _reference_picture(cpu_env, camera, backend, width, height)
            difference = np.abs(ours.astype(int) - theirs.astype(int)).max(axis=-1)
            visible = int(np.sum(difference > VISIBLE))
            differences.append(PictureDifference(task, camera, int(difference.max()), visible, difference.size))
        cpu_env.close()
    return differences


def _reference_picture(cpu_env: SawyerXYZEnv, camera: str, backend: Backend, width: int, height: int) -> np.ndarray:
    camera_id = cpu_env.model.camera(camera).id
    if backend == "raycast":
        return raycast(cpu_env.model, cpu_env.data, camera_id, width, height)
    cpu_env.mujoco_renderer.camera_id = camera_id
    return np.asarray(cpu_env.render())


@contextlib.contextmanager
def _reference_draws_with(backend: Backend) -> Iterator[None]:
    """Set what the reference's renderer goes by when it is made."""
    before = os.environ.get("MUJOCO_GL")
    if backend != "raycast":
        os.environ["MUJOCO_GL"] = backend
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("MUJOCO_GL", None)
        else:
            os.environ["MUJOCO_GL"] = before


def compare_pictures(
    tasks: Sequence[str], backend: Backend, advance: Callable[[], None] = lambda: None
) -> list[PictureDifference]:
    """Every camera's picture of every task; `advance` is called after each task."""
    differences = []
    for task in tasks:
        differences += picture_differences(task, backend)
        advance()
    return differences


def markdown(differences: Sequence[PictureDifference], backend: Backend) -> str:
    """A table in Markdown with a row a task, over all of its pictures."""
    by_task: dict[str, list[PictureDifference]] = {}
    for difference in differences:
        by_task.setdefault(difference.task, []).append(difference)
    lines = [
        "| task | pictures | largest difference of a pixel | pixels that differ visibly |",
        "| --- |" + " ---: |" * 3,
    ]
    for task, own in by_task.items():
        visible, pixels = sum(d.visible for d in own), sum(d.pixels for d in own)
        lines.append(f"| {task} | {len(own)} | {max(d.largest for d in own)} | {visible} of {pixels:,} |")
    return "\n".join(
        [
            *lines,
            "",
            f"The reference's state after 40 steps of its expert, drawn by both with {backend}, from "
            f"{len({d.camera for d in differences})} cameras. Differences are of 255, in any channel; visible is more "
            f"than {VISIBLE}.",
        ]
    )
