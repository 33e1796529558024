"""Reset: settled hand and `place` against the live reference after its own `reset()`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from support.metaworld_reference import EACH_TASK, SPECS, reset_to

from mjx_metaworld import observation, suites
from mjx_metaworld.build.readings import SkeletonState, read_frame, read_skeleton, write_skeleton
from mjx_metaworld.build.settle import settle
from mjx_metaworld.scenes.bodies import map_bodies
from mjx_metaworld.tasks.spec import Placement, Settled, TaskSpec
from mjx_metaworld.testing import REMEMBERED_HEIGHTS, points_init

# One simulation with the prop where the scene file has it, one with the prop in place: rounding of the same physics.
SETTLED_TOLERANCE = 1e-9


def settled_hand(spec: TaskSpec, prop_pos: np.ndarray | None) -> Settled:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), settle(spec, None if prop_pos is None else prop_pos[None]))


def place(spec: TaskSpec, rand_vec: np.ndarray) -> tuple[Settled, Placement]:
    """In float64, from the hand settled with the prop in place where that matters."""
    settled = settled_hand(spec, None)
    placement = jax.jit(spec.place)(jnp.asarray(rand_vec), settled)
    if spec.settles_against_prop:
        settled = settled_hand(spec, np.asarray(placement.prop_pos))
        placement = jax.jit(spec.place)(jnp.asarray(rand_vec), settled)
    return settled, placement


def placed_frame(spec: TaskSpec, placement: Placement, model: mujoco.MjModel) -> np.ndarray:
    """The frame of the placed state after a forward pass of MuJoCo."""
    bodies = map_bodies(model, spec.scene_spec.prop)
    data = mujoco.MjData(model)
    state = SkeletonState(np.asarray(placement.qpos), np.asarray(placement.qvel), np.zeros(18))
    write_skeleton(data, bodies, state)
    mujoco.mj_forward(model, data)
    return read_frame(data, spec)


# The points whose initial position the task's reward reads.
INITIAL_POINTS: dict[str, list[int]] = {name: [] for name in SPECS} | {
    "assembly-v3": [2],
    "box-close-v3": [0],
    "peg-insert-side-v3": [0],
    "dial-turn-v3": [0],
    "stick-push-v3": [0],
    "stick-pull-v3": [0],
    "handle-press-v3": [1],
    "handle-press-side-v3": [1],
    "button-press-v3": [0, 1],
    "button-press-topdown-v3": [0, 1],
    "button-press-topdown-wall-v3": [0, 1],
    "button-press-wall-v3": [0, 1],
    "window-open-v3": [0],
    "window-close-v3": [0],
}


@pytest.mark.parametrize("name", EACH_TASK)
def test_place_equals_a_reset_of_the_reference(name: str) -> None:
    spec = SPECS[name]
    for rand_vec in suites.goals(name, seed=5)[0][:4]:
        env, obs = reset_to(name, rand_vec)
        with jax.enable_x64(True):
            settled, placement = place(spec, rand_vec)
            model = env.model
            state = read_skeleton(env.data, map_bodies(model, spec.scene_spec.prop))
            fresh = placed_frame(spec, placement, model)
            frame = observation.reset_frame(
                jnp.asarray(fresh),
                settled.frame,
                placement.prop_pos - settled.prop_pos,
                jnp.asarray(spec.stale_reset),
            )
            first = observation.stack_frames(frame, frame, placement.goal, goal_observable=True)

        pairs = {
            "qpos": (placement.qpos, state.qpos),
            "qvel": (placement.qvel, state.qvel),
            "goal": (placement.goal, env._target_pos),
            "object_init": (placement.object_init, env.obj_init_pos),
            "tcp_init": (settled.tcp, env.init_tcp),
            "observation": (first, obs),
        }
        if spec.scene_spec.prop is not None:
            pairs["prop"] = (placement.prop_pos, model.body(spec.scene_spec.prop).pos)
        for what, (ours, theirs) in pairs.items():
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=SETTLED_TOLERANCE, err_msg=what)
        rows, axes = INITIAL_POINTS[name], slice(2, 3) if name in REMEMBERED_HEIGHTS else slice(None)
        ours, theirs = np.asarray(placement.points_init), points_init(env, spec)
        np.testing.assert_allclose(ours[rows, axes], theirs[rows, axes], rtol=0, atol=SETTLED_TOLERANCE)
