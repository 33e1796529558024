"""Views: what a policy acts on that sees pictures instead of reading the observation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, UInt8

from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.observation import HAND_AND_GRIPPER
from mjx_metaworld.rendering.camera import camera
from mjx_metaworld.rendering.render import CAMERAS, Backend, check_picture, render
from mjx_metaworld.types import State

Point = tuple[float, float, float]


class View(struct.PyTreeNode):
    """Pictures of an environment and, where a policy feels it, the pose of the hand; neither tells the goal."""

    pictures: UInt8[Array | np.ndarray, "*envs cameras size size 3"]
    hand: Float[Array | np.ndarray, "*envs hand"]  # position, m, and opening of the gripper; or nothing


Eyes = Callable[[State], View]  # of states with one leading axis


@dataclass(frozen=True)
class Sight:
    """Cameras of a policy, and whether it feels where its hand is.

    Attributes:
        cameras: names, each with the place `@x,y,z` to which it is moved, if any: "corner2@0.75,0.075,0.7".
        size: pixels a side.
        hand: whether the view has the hand's position and the opening of the gripper.

    Raises:
        ValueError: for a camera that is unknown or named twice, a place that is none, or a size outside 1 .. 4096.
    """

    cameras: tuple[str, ...]
    size: int
    hand: bool

    def __post_init__(self) -> None:
        if not self.cameras:
            raise ValueError(f"cameras must name at least one of {', '.join(CAMERAS)}")
        names = [name for name, _ in self.placed()]
        if len(set(names)) < len(names):
            raise ValueError(f"a camera is named twice in {', '.join(self.cameras)}")
        for name in names:
            if name not in CAMERAS:
                raise ValueError(f"no camera {name!r}; available: {', '.join(CAMERAS)}")
            check_picture(name, width=self.size, height=self.size)

    @property
    def hand_size(self) -> int:
        """Numbers of the view beside its pictures."""
        return HAND_AND_GRIPPER.stop if self.hand else 0

    def placed(self) -> list[tuple[str, Point | None]]:
        """Names of the cameras, and the places to which they are moved."""
        return [_placed(text) for text in self.cameras]

    def felt(self, state: State) -> Array | np.ndarray:
        """The numbers of the view beside its pictures."""
        return state.obs[..., : self.hand_size]


def device_eyes(env: MetaWorldEnv, sight: Sight) -> Eyes:
    """Views drawn by `mw.camera`, inside the program that asks for them.

    Raises:
        ImportError: without the extra `pixels`.
        RuntimeError: if JAX computes on a device that cannot draw.
    """
    draws = [camera(env, name, sight.size, sight.size, camera_pos=pos) for name, pos in sight.placed()]

    def look(state: State) -> View:
        pictures = jnp.stack([cast(Array, jax.vmap(draw)(state)) for draw in draws], axis=1)
        return View(pictures, jnp.asarray(sight.felt(state)))

    return look


def look_at_some(look: Eyes, state: State, wanted: Bool[Array, " envs"]) -> View:
    """Views of some states of a batch, zeros for the others; as many are drawn as a power of two of them needs.

    Args:
        look: draws inside compiled programs.
        state: with one leading axis.
        wanted: which of the states.
    """
    count = len(wanted)
    sizes = [count >> halvings for halvings in range(count.bit_length())]
    order = jnp.argsort(~wanted, stable=True)  # the wanted ones first

    def of_size(size: int) -> Callable[[State], View]:
        def draw(state: State) -> View:
            rows = order[:size]
            seen = look(jax.tree.map(lambda x: x[rows], state))
            return jax.tree.map(lambda x: jnp.zeros((count, *x.shape[1:]), x.dtype).at[rows].set(x), seen)

        return draw

    enough = jnp.sum(jnp.asarray(sizes) >= jnp.sum(wanted)) - 1  # the smallest that holds them
    return jax.lax.switch(enough, [of_size(size) for size in sizes], state)


def opengl_eyes(
    env: MetaWorldEnv, sight: Sight, backend: Backend | None = None, on_picture: Callable[[], None] | None = None
) -> Eyes:
    """Views drawn by `mw.render` on the host, of states on either side.

    Args:
        env: the environment that states belong to.
        sight: what to draw.
        backend: as `mw.render` takes it; by default the first of EGL and OSMesa that works.
        on_picture: called after every picture, from the threads that draw.
    """

    def look(state: State) -> View:
        drawn = [
            render(env, state, name, sight.size, sight.size, camera_pos=pos, backend=backend, on_picture=on_picture)
            for name, pos in sight.placed()
        ]
        return View(np.stack(drawn, axis=1), np.asarray(sight.felt(state)))

    return look


def _placed(text: str) -> tuple[str, Point | None]:
    name, at, place = text.partition("@")
    if not at:
        return name, None
    try:
        x, y, z = (float(number) for number in place.split(","))
    except ValueError:
        raise ValueError(f"camera {text!r} must be a name, or name@x,y,z with a place in metres") from None
    return name, (x, y, z)
