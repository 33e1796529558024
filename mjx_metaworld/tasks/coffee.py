"""Tasks with the coffee machine: coffee-button, coffee-push, coffee-pull."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
from jaxtyping import Array

from mjx_metaworld.physics.model import FREE_QPOS
from mjx_metaworld.tasks import rewards, v1
from mjx_metaworld.tasks.button import press_forward, press_forward_v1
from mjx_metaworld.tasks.placement import put_prop, shifted, start
from mjx_metaworld.tasks.registry import task
from mjx_metaworld.tasks.spec import (
    Observed,
    Orientation,
    Placement,
    Point,
    RewardInputs,
    RewardOutput,
    Settled,
)

HAND_INIT = (0.0, 0.4, 0.2)
MUG = Observed(Point("body", "obj"), Orientation("xyzw", "geom", "mug"))
BUTTON_WAY = 0.03
MUG_LOW, MUG_HIGH = (-0.1, 0.55, -0.001), (0.1, 0.65, 0.001)  # in front of the machine
SPOUT_LOW, SPOUT_HIGH = (-0.05, 0.7, -0.001), (0.05, 0.75, 0.001)  # under its spout
MACHINE_BEHIND_SPOUT = (0.0, 0.22, 0.0)
WRITTEN_DOFS = slice(3, 9)  # arm and fingers


def put_mug(placement: Placement, pos: Array) -> Placement:
    """Put the mug's origin at `pos`.

    The reference means to bring it to rest. But in this scene the mug's joint comes first, so that what it zeroes are
    the velocities of the arm's last joints and the fingers, and the mug keeps its own.
    """
    first = FREE_QPOS.start
    return placement.replace(
        qpos=placement.qpos.at[first : first + 3].set(pos), qvel=placement.qvel.at[WRITTEN_DOFS].set(0.0)
    )


def place_machine_and_mug(rand_vec: Array, settled: Settled) -> Placement:
    """Machine at the goal vector, mug under its spout, goal where the pressed button is."""
    machine = rand_vec[:3]
    goal = shifted(machine, (0.0, -0.22 + BUTTON_WAY, 0.3))
    placement = put_prop(start(settled, goal=goal, object_init=machine), machine)
    return put_mug(placement, shifted(machine, (0.0, -0.22, 0.0)))


def place_mug_away(rand_vec: Array, settled: Settled) -> Placement:
    """Mug at the first place of the goal vector, goal at the second, under the machine's spout."""
    mug, goal = rand_vec[:3], rand_vec[3:6]
    placement = put_mug(start(settled, goal=goal, object_init=mug), mug)
    return put_prop(placement, shifted(goal, MACHINE_BEHIND_SPOUT))


def place_mug_at_spout(rand_vec: Array, settled: Settled) -> Placement:
    """Mug at the first place of the goal vector, under the machine's spout, goal at the second."""
    mug, goal = rand_vec[:3], rand_vec[3:6]
    placement = put_mug(start(settled, goal=goal, object_init=mug), mug)
    return put_prop(placement, shifted(mug, MACHINE_BEHIND_SPOUT))


@task(
    "coffee-button-v3",
    scene="sawyer_coffee",
    hand_init=HAND_INIT,
    rand_low=(-0.1, 0.8, -0.001),
    rand_high=(0.1, 0.9, 0.001),
    goal_low=(-0.101, 0.61, 0.298),
    goal_high=(0.101, 0.71, 0.302),
    objects=(Observed(Point("site", "buttonStart"), Orientation("identity")),),
    place=place_machine_and_mug,
    reward_v1=partial(press_forward_v1, way=BUTTON_WAY, within=0.02),
    goal_site=None,
)
def coffee_button(s: RewardInputs) -> RewardOutput:
    """Press a coffee machine's button. Randomised: machine xy. Success: the button within 2 cm of the goal in y."""
    return press_forward(s, BUTTON_WAY)


def _move_mug(s: RewardInputs) -> RewardOutput:
    radius = 0.05
    scale = jnp.asarray((2.0, 2.0, 1.0), s.goal.dtype)
    scaled = rewards.norm((s.object - s.goal) * scale)
    in_place = rewards.tolerance(scaled, (0.0, radius), rewards.norm((s.object_init - s.goal) * scale))
    caging = rewards.caging_reward(
        s,
        s.object,
        s.object_init,
        obj_radius=0.02,
        pad_success_thresh=0.05,
        xz_thresh=0.05,
        object_reach_radius=0.04,
        desired_gripper_effort=0.7,
        density="medium",
    )
    tcp_to_mug = rewards.norm(s.object - s.tcp)
    grasped = (tcp_to_mug < 0.04) & (s.opening > 0.0)
    reward = rewards.hamacher_product(caging, in_place) + jnp.where(grasped, 1.0 + 5.0 * in_place, 0.0)
    distance = rewards.norm(s.object - s.goal)
    return RewardOutput(
        reward=jnp.where(scaled < radius, 10.0, reward),
        success=distance <= 0.07,
        near_object=tcp_to_mug <= 0.03,
        grasp_success=s.touching & (s.opening > 0.0),
        grasp_reward=caging,
        in_place_reward=in_place,
        obj_to_target=distance,
    )


def _report_mug_v1(s: RewardInputs, reward: Array) -> RewardOutput:
    """The mug's distance in space; the reward takes it in xy."""
    return v1.report(reward, rewards.norm(s.object - s.goal), 0.07)


def coffee_push_v1(s: RewardInputs) -> RewardOutput:
    """Reach the mug, then push it."""
    return _report_mug_v1(s, v1.push(s, within=0.07).reward)


@task(
    "coffee-push-v3",
    scene="sawyer_coffee",
    hand_init=HAND_INIT,
    rand_low=MUG_LOW + SPOUT_LOW,
    rand_high=MUG_HIGH + SPOUT_HIGH,
    min_separation=0.15,
    goal_low=SPOUT_LOW,
    goal_high=SPOUT_HIGH,
    objects=(MUG,),
    main_geom="mug",
    place=place_mug_away,
    reward_v1=coffee_push_v1,
    goal_site="mug_goal",
)
def coffee_push(s: RewardInputs) -> RewardOutput:
    """Push a mug under a coffee machine. Randomised: mug, goal with machine. Success: the mug within 7 cm of it."""
    return _move_mug(s)


def coffee_pull_v1(s: RewardInputs) -> RewardOutput:
    """Reach the mug, grip it, then pull it."""
    reach = rewards.norm(s.object - s.tcp)
    # The reference means the way to a point above the mug, but forgets to subtract the fingers' place.
    above = rewards.norm(s.object.at[2].set(s.tcp_init[2]))
    gripping = 0.1 - reach + jnp.where(reach < v1.REACHED, v1.closing(s), 0.0)
    pulled = v1.progress(rewards.norm(s.object[:2] - s.goal[:2]), rewards.norm(s.object_init[:2] - s.goal[:2]))
    return _report_mug_v1(s, jnp.where(above < 0.05, gripping, -above) + v1.gain(reach < v1.REACHED, pulled))


@task(
    "coffee-pull-v3",
    scene="sawyer_coffee",
    hand_init=HAND_INIT,
    rand_low=SPOUT_LOW + MUG_LOW,
    rand_high=SPOUT_HIGH + MUG_HIGH,
    min_separation=0.15,
    goal_low=MUG_LOW,
    goal_high=MUG_HIGH,
    objects=(MUG,),
    main_geom="mug",
    place=place_mug_at_spout,
    reward_v1=coffee_pull_v1,
    goal_site="mug_goal",
)
def coffee_pull(s: RewardInputs) -> RewardOutput:
    """Pull a mug from a coffee machine. Randomised: mug with machine, goal. Success: the mug within 7 cm of it."""
    return _move_mug(s)
