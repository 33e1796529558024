"""Tasks with a button on a box: button-press and button-press-topdown, each also behind a wall."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array

from mjx_metaworld.tasks import rewards, v1
from mjx_metaworld.tasks.placement import put_prop, set_part_joint, start
from mjx_metaworld.tasks.registry import task
from mjx_metaworld.tasks.spec import (
    HAND_HIGH,
    HAND_LOW,
    Observed,
    Orientation,
    Placement,
    Point,
    RewardInputs,
    RewardOutput,
    Settled,
    float32,
)

HOLE, START = range(2)
POINTS = (Point("site", "hole"), Point("site", "buttonStart"))
HAND_INIT = float32(0.0, 0.4, 0.2)
SLIDE = 0
Y, Z = 1, 2  # the axis along which a button is pressed
TOPDOWN_BUTTON = Observed(Point("body", "button", (0.0, 0.0, 0.193)), Orientation("wxyz", "body", "button"))
BUTTON = Observed(Point("body", "button", (0.0, -0.193, 0.0)), Orientation("wxyz", "body", "button"))


def place_box(rand_vec: Array, settled: Settled) -> Placement:
    """Box at the goal vector, goal at the bottom of the button's hole; the button stays as it settled."""
    box = rand_vec[:3]
    points = settled.points.at[: len(POINTS)].add(box - settled.prop_pos)
    placement = start(settled, goal=points[HOLE], object_init=box)
    return put_prop(placement, box).replace(points_init=points)


def place_box_unpressed(rand_vec: Array, settled: Settled) -> Placement:
    """As `place_box`, with the button all the way out."""
    return set_part_joint(place_box(rand_vec, settled), SLIDE, 0.0, stop=True)


def travel(s: RewardInputs, axis: int) -> Array:
    """Travel of a button from its start to the hole's bottom, in m."""
    return jnp.abs(s.goal[axis] - s.points_init[START][axis])


def approach(s: RewardInputs, radius: float) -> tuple[Array, Array]:
    """Distance from the finger tips to the button, and how near that is.

    The margin takes the button where it is now, not where it was at reset.
    """
    distance = rewards.norm(s.object - s.tcp)
    return distance, rewards.tolerance(distance, (0.0, radius), rewards.norm(s.object - s.tcp_init))


def press_outcome(
    s: RewardInputs, reward: Array, to_press: Array, near: Array, pressed: Array, within: float
) -> RewardOutput:
    """The metrics that all button tasks share; `within` is the success threshold."""
    return RewardOutput(
        reward=reward,
        success=to_press <= within,
        near_object=rewards.norm(s.object - s.tcp) <= 0.05,
        grasp_success=s.opening > 0.0,
        grasp_reward=near,
        in_place_reward=pressed,
        obj_to_target=to_press,
    )


def _press_topdown(s: RewardInputs, gripper: Array) -> RewardOutput:
    """Press from above with the gripper as `gripper` (0 to 1) wants it."""
    distance, near = approach(s, 0.01)
    to_press = jnp.abs(s.goal[Z] - s.object[Z])
    pressed = rewards.tolerance(to_press, (0.0, 0.005), travel(s, Z))
    reward = 5.0 * rewards.hamacher_product(gripper, near) + jnp.where(distance <= 0.03, 5.0 * pressed, 0.0)
    return press_outcome(s, reward, to_press, near, pressed, within=0.024)


def press_topdown_v1(s: RewardInputs) -> RewardOutput:
    """Reach the button, then press it along z."""
    return v1.move(s, jnp.abs(s.goal[Z] - s.object[Z]), travel(s, Z), within=0.024)


@task(
    "button-press-topdown-v3",
    scene="sawyer_button_press_topdown",
    hand_init=HAND_INIT,
    rand_low=(-0.1, 0.8, 0.115),
    rand_high=(0.1, 0.9, 0.115),
    goal_low=HAND_LOW,
    goal_high=HAND_HIGH,
    objects=(TOPDOWN_BUTTON,),
    points=POINTS,
    place=place_box,
    reward_v1=press_topdown_v1,
    goal_site=None,
)
def button_press_topdown(s: RewardInputs) -> RewardOutput:
    """Press a button from above. Randomised: box xy. Success: the button within 2.4 cm of the hole's bottom in z."""
    return _press_topdown(s, gripper=1.0 - s.opening)


@task(
    "button-press-topdown-wall-v3",
    scene="sawyer_button_press_topdown_wall",
    hand_init=HAND_INIT,
    rand_low=(-0.1, 0.8, 0.115),
    rand_high=(0.1, 0.9, 0.115),
    goal_low=HAND_LOW,
    goal_high=HAND_HIGH,
    objects=(TOPDOWN_BUTTON,),
    points=POINTS,
    place=place_box,
    reward_v1=press_topdown_v1,
    goal_site=None,
)
def button_press_topdown_wall(s: RewardInputs) -> RewardOutput:
    """Press a button behind a wall from above. Randomised: box xy. Success: within 2.4 cm of the hole's bottom in z."""
    return _press_topdown(s, gripper=s.opening)


def press_forward(s: RewardInputs, way: Array | float) -> RewardOutput:
    """Press along y with an open gripper; `way` is how far the button goes."""
    distance, near = approach(s, 0.05)
    to_press = jnp.abs(s.goal[Y] - s.object[Y])
    pressed = rewards.tolerance(to_press, (0.0, 0.005), way)
    reward = 2.0 * rewards.hamacher_product(s.opening, near) + jnp.where(distance <= 0.05, 8.0 * pressed, 0.0)
    return press_outcome(s, reward, to_press, near, pressed, within=0.02)


def press_forward_v1(s: RewardInputs, way: Array | float, *, within: float) -> RewardOutput:
    """Reach the button with the left finger tip, then press it along y by `way`."""
    return v1.move(s, jnp.abs(s.goal[Y] - s.object[Y]), way, within=within, reach=v1.left_reach(s))


def button_press_v1(s: RewardInputs) -> RewardOutput:
    """Press the button."""
    return press_forward_v1(s, travel(s, Y), within=0.02)


@task(
    "button-press-v3",
    scene="sawyer_button_press",
    hand_init=HAND_INIT,
    rand_low=(-0.1, 0.85, 0.115),
    rand_high=(0.1, 0.9, 0.115),
    goal_low=HAND_LOW,
    goal_high=HAND_HIGH,
    objects=(BUTTON,),
    points=POINTS,
    place=place_box_unpressed,
    reward_v1=button_press_v1,
    goal_site=None,
)
def button_press(s: RewardInputs) -> RewardOutput:
    """Press a button in a wall. Randomised: box xy. Success: the button within 2 cm of the hole's bottom in y."""
    return press_forward(s, travel(s, Y))


def button_press_wall_v1(s: RewardInputs) -> RewardOutput:
    """Press the button; the reference takes its way along z, where it is zero."""
    return press_forward_v1(s, travel(s, Z), within=0.03)


@task(
    "button-press-wall-v3",
    scene="sawyer_button_press_wall",
    hand_init=HAND_INIT,
    rand_low=(-0.05, 0.85, 0.1149),
    rand_high=(0.05, 0.9, 0.1151),
    goal_low=HAND_LOW,
    goal_high=HAND_HIGH,
    objects=(BUTTON,),
    points=POINTS,
    place=place_box_unpressed,
    reward_v1=button_press_wall_v1,
    goal_site=None,
)
def button_press_wall(s: RewardInputs) -> RewardOutput:
    """Press a button behind a wall. Randomised: box xy. Success: the button within 3 cm of the hole's bottom in y."""
    distance, near = approach(s, 0.01)
    to_press = jnp.abs(s.goal[Y] - s.object[Y])
    pressed = rewards.tolerance(to_press, (0.0, 0.005), travel(s, Y))
    far = 2.0 * rewards.hamacher_product((1.0 - s.opening) / 2.0, near)
    close = 2.0 + 2.0 * (1.0 + s.opening) + 4.0 * pressed**2
    return press_outcome(s, jnp.where(distance > 0.07, far, close), to_press, near, pressed, within=0.03)
