"""A scene of one's own, from its file to a policy: `python examples/own_scene/hatch.py`.

The hand pushes a wedge through a hatch that swings in its stand. Run as a program this checks the scene, compares it
with MuJoCo C at the bars of the 50 tasks, steps it, draws it, and trains on it for a moment. The commands take the
task, too: `mjx-metaworld train hatch-push --import examples/own_scene/hatch.py`.
"""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp

import mjx_metaworld as mw
from mjx_metaworld.tasks import (
    Observed,
    Placement,
    Point,
    RewardInputs,
    RewardOutput,
    SceneSpec,
    Settled,
    rewards,
    task,
)
from mjx_metaworld.tasks.placement import put_free_body, put_prop, start

SCENE = SceneSpec(Path(__file__).with_name("hatch.xml"), prop="stand")


def place(rand_vec: jax.Array, settled: Settled) -> Placement:
    """Wedge at the goal vector, the stand 20 cm behind it, the goal behind the hatch."""
    placed = start(settled, goal=rand_vec + jnp.array([0.0, 0.28, 0.02]), object_init=rand_vec)
    return put_prop(put_free_body(placed, rand_vec), rand_vec + jnp.array([0.0, 0.2, -0.02]))


@task(
    "hatch-push",
    scene=SCENE,
    hand_init=(0.0, 0.45, 0.1),
    rand_low=(-0.1, 0.58, 0.02),
    rand_high=(0.1, 0.62, 0.02),
    goal_low=(-0.1, 0.8, 0.0),
    goal_high=(0.1, 0.95, 0.1),
    objects=(Observed(Point("body", "wedge")), Observed(Point("site", "edge"))),
    place=place,
)
def hatch_push(s: RewardInputs) -> RewardOutput:
    """Push a wedge through a hatch. Randomised: wedge, stand, goal. Success: the wedge within 5 cm of the goal."""
    error = rewards.norm(s.object - s.goal)
    reach = rewards.tolerance(rewards.norm(s.object - s.tcp), (0.0, 0.03), 0.2)
    nearness = rewards.tolerance(error, (0.0, 0.05), 0.28)
    return RewardOutput(
        reward=3.0 * reach + 7.0 * nearness,
        success=error <= 0.05,
        near_object=reach > 0.9,
        grasp_success=0.0,
        grasp_reward=reach,
        in_place_reward=nearness,
        obj_to_target=error,
    )


def main(output: Path = Path("out/own_scene")) -> None:
    """Check, compare, step, draw, train."""
    from PIL import Image

    from mjx_metaworld.parity.scenes import measure_scenes
    from mjx_metaworld.rendering.images import upright
    from mjx_metaworld.training import PPOConfig, TrainConfig, train

    output.mkdir(parents=True, exist_ok=True)
    print("what the engine does not compute of it:", mw.check_scene(SCENE))
    print(*measure_scenes([SCENE], steps=100, every=4), sep="\n")

    env = mw.make("hatch-push")
    reset, step = mw.jit(jax.vmap(env.reset)), mw.jit(jax.vmap(env.step))
    state = reset(jax.random.split(jax.random.key(0), 4))
    for _ in range(40):
        state = step(state, jnp.tile(jnp.array([0.0, 1.0, -0.3, 1.0]), (4, 1)))
    print("wedge after 40 steps:", state.obs[:, 4:7].round(3).tolist())
    picture = upright(mw.render(env, state, camera="corner2")[0], "corner2")  # this camera is mounted upside down
    Image.fromarray(picture).save(output / "hatch.png")
    model, data = mw.to_mujoco(env, state, 0)  # the same lane in MuJoCo itself
    print("hatch in MuJoCo:", data.joint("hatch").qpos, "of", model.joint("hatch").range)

    config = TrainConfig("hatch-push", PPOConfig(num_envs=32), env_steps=8_000, eval_goals=4)
    train(config, jax.random.key(0), output / "run")
    print("trained, see", output)


if __name__ == "__main__":
    main()
