"""An arm that has wound itself up, as one episode in tens of thousands ends: it stays so, here as in MuJoCo C."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld.physics.model import ARM_DOFS

pytestmark = [pytest.mark.full, pytest.mark.usefixtures("true_physics")]

LANES, STEPS, SUBSTEPS = 8, 120, mw.PhysicsConfig().substeps
# A state of the soak (`benchmarks/soak.py`) after 300 steps of wandering actions: the sixth joint is 0.33 rad beyond
# its range, and the hand 0.2 m from the mocap that draws it. Arm and fingers, object, and no fixture.
ARM = (1.357894, -0.437307, 0.175125, -1.429588, 0.351137, 3.31009, 3.502954, -9.6e-05, 9.6e-05)
ARM_SPEED = (0.062059, -0.03663, 0.527196, -0.431792, 0.953949, 0.326819, 1.025098, 0.001127, -0.001121)
OBJECT = (-0.039626, 0.614835, 0.019407, 1.0, 0.000138, -0.000225, 0.0)
OBJECT_SPEED = (0.002819, 0.001727, 0.000556, -0.096702, 0.157822, 0.0)
NO_FIXTURE = (0.0, 0.0, 0.0)
MOCAP = (-0.047174, 0.40574, 0.368851)


def actions() -> np.ndarray:
    """(steps, lanes, 4) wandering."""
    rng, action, made = np.random.default_rng(0), np.zeros((LANES, 4)), []
    for _ in range(STEPS):
        action = np.clip(0.9 * action + 0.45 * rng.normal(size=action.shape), -1.0, 1.0)
        made.append(action)
    return np.array(made, np.float32)


def test_it_is_as_far_beyond_its_range_as_mujocos():
    env, numbers = mw.make("pick-place-v3"), jnp.float32
    state = jax.jit(env.reset)(jax.random.key(0))
    physics = state.physics.replace(
        qpos=jnp.asarray([*ARM, *OBJECT, *NO_FIXTURE], numbers),
        qvel=jnp.asarray([*ARM_SPEED, *OBJECT_SPEED, *NO_FIXTURE], numbers),
        mocap_pos=jnp.asarray(MOCAP, numbers),
    )
    states = jax.tree.map(lambda x: jnp.repeat(x[None], LANES, axis=0), state.replace(physics=physics))
    limits, made = np.asarray(env.engine.arm.limit_range)[ARM_DOFS], actions()

    def beyond(qpos: np.ndarray) -> np.ndarray:
        arm = qpos[..., ARM_DOFS]
        return np.maximum(limits[:, 0] - arm, arm - limits[:, 1]).max(-1)

    step, ours, theirs = mw.jit(jax.vmap(env.step)), [], []
    simulations = [mw.to_mujoco(env, states, i) for i in range(LANES)]
    for taken in made:
        states = step(states, jnp.asarray(taken))
        ours.append(beyond(np.asarray(states.physics.qpos)))
        for (model, data), action, mocap in zip(simulations, taken, states.physics.mocap_pos, strict=True):
            data.mocap_pos[0], data.ctrl[:] = mocap, (action[3], -action[3])
            mujoco.mj_step(model, data, SUBSTEPS)
        theirs.append(beyond(np.array([data.qpos for _, data in simulations])))
    ours, theirs = np.array(ours), np.array(theirs)
    np.testing.assert_allclose(ours[:40], theirs[:40], atol=1e-3)
    # Later some lanes part in what they touch; how far the arm turns does not.
    np.testing.assert_allclose(ours.max(0), theirs.max(0), atol=0.1)
    assert theirs.max() > 0.8
