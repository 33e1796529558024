"""Tasks with a button on a box: button-press-topdown."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array

from mjx_metaworld import rewards
from mjx_metaworld.tasks.placement import put_prop, start
from mjx_metaworld.tasks.spec import (
    HAND_HIGH,
    HAND_LOW,
    Observed,
    Orientation,
    Outcome,
    Placement,
    Point,
    RewardInputs,
    Settled,
    task,
)

HOLE, START = range(2)
POINTS = (Point("site", "hole"), Point("site", "buttonStart"))


def place_box(rand_vec: Array, settled: Settled) -> Placement:
    """Box at the goal vector, goal at the bottom of the button's hole; the button stays as it settled."""
    box = rand_vec[:3]
    points = settled.points.at[: len(POINTS)].add(box - settled.prop_pos)
    placement = start(settled, goal=points[HOLE], object_init=box)
    return put_prop(placement, box).replace(points_init=points)


@task(
    "button-press-topdown-v3",
    scene="sawyer_button_press_topdown",
    hand_init=(0.0, 0.4, 0.2),
    rand_low=(-0.1, 0.8, 0.115),
    rand_high=(0.1, 0.9, 0.115),
    goal_low=HAND_LOW,
    goal_high=HAND_HIGH,
    objects=(Observed(Point("body", "button", (0.0, 0.0, 0.193)), Orientation("wxyz", "body", "button")),),
    points=POINTS,
    place=place_box,
)
def button_press_topdown(s: RewardInputs) -> Outcome:
    """Press a button from above. Randomised: box xy. Success: the button within 2.4 cm of the hole's bottom in z."""
    tcp_to_button = rewards.norm(s.object - s.tcp)
    to_press = jnp.abs(s.goal[2] - s.object[2])
    # The margin takes the button where it is now, not where it was at reset.
    near_button = rewards.tolerance(tcp_to_button, (0.0, 0.01), rewards.norm(s.object - s.tcp_init))
    travel = jnp.abs(s.goal[2] - s.points_init[START][2])
    pressed = rewards.tolerance(to_press, (0.0, 0.005), travel)
    reward = 5.0 * rewards.hamacher_product(1.0 - s.opening, near_button)
    return Outcome(
        reward=reward + jnp.where(tcp_to_button <= 0.03, 5.0 * pressed, 0.0),
        success=to_press <= 0.024,
        near_object=tcp_to_button <= 0.05,
        grasp_success=s.opening > 0.0,
        grasp_reward=near_button,
        in_place_reward=pressed,
        obj_to_target=to_press,
    )
