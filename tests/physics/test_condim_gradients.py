"""Derivatives of control steps in scenes of one's own whose contacts have no friction (condim 1), or roll (condim 6).

Against central differences in float64, by the object's first velocity, the actions and the factor of friction, while
the object slides and rolls over the table, and while the fingers hold it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from support.gradient_probe import PRECISE
from support.scene_files import scene_text

import mjx_metaworld as mw
from mjx_metaworld.observation import OBJECT
from mjx_metaworld.physics.model import FREE_DOFS, NV
from mjx_metaworld.scenes.catalog import SceneSpec
from mjx_metaworld.tasks import Observed, Placement, Point, RewardInputs, RewardOutput, Settled, task
from mjx_metaworld.tasks.placement import put_free_body, start
from mjx_metaworld.types import State

pytestmark = [pytest.mark.full, pytest.mark.usefixtures("scratch_registry")]

STEPS = 8
WIDTHS = (1e-7, 1e-6, 1e-5)  # over which differences are taken, see test_gradients.py
LANES = 4  # a task
CLOSE = [0.0, 0.0, 0.0, 1.0]
SHAPES = {
    "ball": 'type="sphere" size="0.025"',
    "rod": 'type="capsule" size="0.02 0.03" euler="0 1.5707963 0.4"',
    "stone": 'type="mesh" mesh="stone"',
}
_VERTICES = (
    "0.02 0.015 0.025  0.03 -0.01 0.02  -0.025 -0.015 0.022  -0.02 0.02 0.025 "
    "0.025 0.02 -0.025  0.03 -0.02 -0.025  -0.03 -0.02 -0.025  -0.025 0.025 -0.025"
)
_STONE = f"""
  <asset><mesh name="stone" vertex="{_VERTICES}"/></asset>"""
_OBJECT = """
    <body name="object" pos="0 0.6 0.03">
      <freejoint/>
      <inertial pos="0 0 0" mass="0.1" diaginertia="4e-5 4e-5 4e-5"/>
      <geom name="object" {shape} condim="{condim}" priority="1" friction="0.8 0.01 0.002"/>
    </body>"""


def place(rand_vec: jax.Array, settled: Settled) -> Placement:
    return put_free_body(start(settled, goal=rand_vec, object_init=rand_vec), rand_vec)


def reward(s: RewardInputs) -> RewardOutput:
    """None."""
    zero = jnp.zeros(())
    return RewardOutput(zero, zero, zero, zero, zero, zero, zero)


def declare(folder: Path, shape: str, condim: int) -> list[str]:
    """Tasks in one scene, with the object free on the table and between the fingers; their names.

    A mesh is not held: where the searches of its contacts with fingers and table end leaves more in the differences
    than is compared, with any condim.
    """
    path = folder / f"{shape}{condim}.xml"
    path.write_text(scene_text(_OBJECT.format(shape=SHAPES[shape], condim=condim), head=_STONE))
    names = [f"{shape}-{condim}-{way}" for way in (("free",) if shape == "stone" else ("free", "held"))]
    for name in names:
        task(
            name,
            scene=SceneSpec(path),
            hand_init=(0.0, 0.6, 0.25 if "free" in name else 0.12),
            rand_low=(-0.005, 0.595, 0.025),
            rand_high=(0.005, 0.605, 0.025),
            goal_low=(-0.1, 0.5, 0.0),
            goal_high=(0.1, 0.9, 0.1),
            objects=(Observed(Point("body", "object")),),
            place=place,
        )(reward)
    return names


class Knobs(NamedTuple):
    """What an episode is differentiated by; leading axis of lanes."""

    velocity: Array  # (lanes, 6) of the free body
    actions: Array  # (lanes, steps, 4)
    friction: Array  # (lanes,) factor


def moving_states(env: mw.MetaWorldEnv, names: list[str], rng: np.random.Generator) -> tuple[State, Knobs]:
    """Episodes a few steps old in all tasks, and what makes them move: pushed over the table, or held."""
    lanes = LANES * len(names)
    tasks = jnp.arange(lanes, dtype=jnp.int32) % len(names)
    state = mw.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), lanes), tasks)
    held = np.array(["held" in names[i] for i in np.asarray(tasks)])
    step = mw.jit(jax.vmap(env.step))
    for action in [[0.0, 0.0, -1.0, -1.0]] * 14 + [CLOSE] * 10:  # around it, and together
        state = step(state, jnp.where(held[:, None], jnp.array(action), 0.0))
    speed = rng.normal(size=(lanes, 6)) * [0.3, 0.3, 0.0, 4.0, 4.0, 4.0]  # m/s and rad/s
    speed *= np.where(held, 0.1, 1.0)[:, None]
    actions = 0.7 * np.where(held[:, None, None], CLOSE, 0.0) + rng.uniform(-0.2, 0.2, (lanes, STEPS, 4))
    return state, Knobs(jnp.asarray(speed), jnp.asarray(actions), jnp.asarray(rng.uniform(0.8, 1.2, lanes)))


@pytest.mark.parametrize(
    "scenes",
    [{"ball": [1], "rod": [1], "stone": [1]}, {"ball": [6, 1], "rod": [6], "stone": [6]}],
    ids=["1", "6 and 1"],  # rows of other numbers
)
def test_gradients_by_condim(tmp_path, scenes):
    each = [(shape, condim) for shape, condims in scenes.items() for condim in condims]
    names = [name for shape, condim in each for name in declare(tmp_path, shape, condim)]
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        env = mw.make(names, physics=PRECISE, randomise=mw.randomise.friction(1.0, 1.0))
        state, knobs = moving_states(env, names, rng)
        lanes = len(knobs.friction)
        weights = jnp.asarray(rng.normal(size=(lanes, 39 + NV)))

        def end(knobs: Knobs) -> tuple[Array, Array]:
            """(lanes,) a weighted sum of the last observation and velocity, and (lanes, 3) where the object is."""
            physics = state.physics.replace(qvel=state.physics.qvel.at[:, FREE_DOFS].set(knobs.velocity))
            drawn = state.randomised.replace(dynamics=state.randomised.dynamics.replace(friction=knobs.friction))
            now = state.replace(physics=physics, randomised=drawn)
            now, _ = jax.lax.scan(
                lambda now, action: (jax.vmap(env.step)(now, action), None), now, jnp.moveaxis(knobs.actions, 1, 0)
            )
            return jnp.sum(weights * jnp.concatenate([now.obs, now.physics.qvel], 1), 1), now.obs[:, OBJECT]

        value = mw.jit(end)
        gradient = mw.jit(jax.grad(lambda knobs: jnp.sum(end(knobs)[0])))(knobs)
        found, needed, moved = {}, {}, {}
        for name in Knobs._fields:
            slope, at = np.asarray(getattr(gradient, name)), getattr(knobs, name)
            direction = rng.normal(size=at.shape)
            found[name] = np.sum((slope * direction).reshape(lanes, -1), 1)
            ends = [
                [value(knobs._replace(**{name: at + side * width * direction})) for side in (1, -1)] for width in WIDTHS
            ]
            needed[name] = np.array(
                [np.asarray(ahead[0] - behind[0]) / (2 * w) for w, (ahead, behind) in zip(WIDTHS, ends, strict=True)]
            )
            moved[name] = np.abs(np.asarray(ends[-1][0][1] - ends[-1][1][1])).max(1) / WIDTHS[-1]
        height = np.asarray(value(knobs)[1])[:, 2]

    lane_names = [names[lane % len(names)] for lane in range(lanes)]
    for name in Knobs._fields:
        assert np.isfinite(found[name]).all(), name
        error = np.abs(found[name] - needed[name]).min(axis=0) / (np.abs(needed[name]).max(axis=0) + 1e-3)
        assert (error < 1e-4).mean() > 0.9, (name, np.array(lane_names)[error >= 1e-4])
    slides = np.array(["-1-" in name for name in lane_names])
    held = np.array(["held" in name for name in lane_names])
    assert np.all(height > 0.01)  # the table carries it
    assert np.all(moved["actions"][held] > 1e-6)  # and the hand moves it
    assert not found["friction"][slides & ~held].any()  # nothing rubs there
    assert np.all(found["friction"][~slides & ~held] != 0.0)
