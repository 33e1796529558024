"""Everything public once, with every annotated shape and type of the package's functions checked while it runs.

A program of its own, whose argument is a suite: functions are decorated when their modules are imported. Nothing is
compiled that tracing shows as well. The structs check their fields in `test_shapes.py`, not when they are made: JAX
makes them of anything.
"""

from __future__ import annotations

import sys
from typing import Any

import flax.struct
import jaxtyping

ROOMS = (
    "env",
    "vector",
    "trials",
    "episodes",
    "suites",
    "observation",
    "tasks",
    "experts",
    "training",
    "adapters.gymnax",
)

_dataclass = flax.struct.dataclass


def _unchecked_dataclass(cls: type) -> Any:
    made: Any = _dataclass(cls)
    made.__no_type_check__ = True
    return made


flax.struct.dataclass = _unchecked_dataclass
with jaxtyping.install_import_hook([f"mjx_metaworld.{room}" for room in ROOMS], "beartype.beartype"):
    import mjx_metaworld as mw
    from mjx_metaworld import env, experts, observation, suites, training, vector  # noqa: F401
    from mjx_metaworld.adapters import gymnax
    from mjx_metaworld.testing import KinematicEngine

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

from support.economy import economize  # noqa: E402

economize()
FEW = ["reach-v3", "door-open-v3", "door-lock-v3"]


def trace_step(physics: mw.MetaWorldEnv) -> None:
    """A reset and a step of one environment."""
    state = jax.eval_shape(physics.reset, jax.random.key(0))
    jax.eval_shape(physics.step, state, jnp.zeros(4))


def trace_environment(physics: mw.MetaWorldEnv) -> None:
    """Reset in all its forms and a step, alone and in a batch."""
    keys = jax.random.split(jax.random.key(0), 4)
    trace_step(physics)
    jax.eval_shape(physics.reset, keys[0], 1)
    jax.eval_shape(physics.reset_to, 0, jnp.zeros(physics.rand_vec_size))
    states = jax.eval_shape(jax.vmap(physics.reset), keys, jnp.arange(4) % 3)
    jax.eval_shape(jax.vmap(physics.step), states, jnp.zeros((4, 4)))


def trace_batches(physics: mw.MetaWorldEnv) -> None:
    """The vector environment, rollouts, and an adapter."""
    vector_env = mw.VectorEnv(physics, 6, resample_task=False)
    state = jax.eval_shape(vector_env.reset, jax.random.key(0))
    jax.eval_shape(vector_env.step, state, jnp.zeros((6, 4)))
    jax.eval_shape(vector_env.restart, state, jnp.zeros(6, bool))
    jax.eval_shape(lambda key: mw.rollout(vector_env, lambda obs, key: jnp.zeros((6, 4)), key, 3), jax.random.key(0))
    single = gymnax.GymnaxEnv(physics)
    obs, state = jax.eval_shape(single.reset, jax.random.key(0), single.default_params)
    assert obs.shape == (39,)
    jax.eval_shape(single.step, jax.random.key(0), state, jnp.zeros(4), single.default_params)


def trace_tasks(suite: str) -> None:
    """Rewards, placements and experts of a suite's tasks, and goals of all."""
    several = mw.make(suite, engine=KinematicEngine)
    state = jax.eval_shape(several.reset, jax.random.key(0))
    for version in env.REWARD_VERSIONS:
        several.reward_version = version
        jax.eval_shape(several.step, state, jnp.zeros(4))
    count = len(several.tasks)
    jax.eval_shape(jax.vmap(experts.expert(several)), jnp.zeros((count, 39)), jnp.arange(count))
    assert len(mw.goals("MT50", seed=1)) == 50


def trace_training(physics: mw.MetaWorldEnv) -> None:
    """An iteration of both algorithms."""
    vector_env = mw.VectorEnv(physics, 6, resample_task=False)
    learning = training.algorithm.training_env(vector_env)
    ppo = training.ppo.PPOConfig(num_envs=6, horizon=4, episode_steps=8, hidden=(8,), minibatches=2)
    sac = training.sac.SACConfig(num_envs=6, horizon=4, episode_steps=8, hidden=(8,), updates_per_step=1 / 24)
    for config, make in ((ppo, training.ppo.make_ppo), (sac, training.sac.make_sac)):
        algorithm = make(config, learning)
        state = jax.eval_shape(algorithm.init, jax.random.key(0))
        jax.eval_shape(algorithm.iterate, state)


def trace_trials(physics: mw.MetaWorldEnv) -> None:
    """An iteration of RL2, and its policy in an evaluation."""
    vector_env = mw.VectorEnv(physics, 6, resample_task=False)
    config = training.RL2Config(num_envs=6, horizon=4, sequence=2, episode_steps=8, hidden=(8,), minibatches=2)
    algorithm = training.make_rl2(config, training.training_env(vector_env, config.trial_episodes))
    state = jax.eval_shape(algorithm.init, jax.random.key(0))
    jax.eval_shape(algorithm.iterate, state)

    def act(state: Any, obs: jax.Array, key: jax.Array) -> jax.Array:
        assert algorithm.recurrent is not None
        policy = algorithm.recurrent(state)
        return policy.act(policy.start(3), obs, training.no_past(3, 4), key)[0]

    jax.eval_shape(act, state, jnp.zeros((3, 39)), jax.random.key(0))


def main() -> None:
    """Trace all of it, and see that a wrong shape is found at all."""
    few = mw.make(FEW, engine=KinematicEngine)
    for part in (trace_environment, trace_batches):
        part(few)
    trace_tasks(sys.argv[1])
    trace_step(mw.make(FEW))
    trace_training(mw.make(FEW, engine=KinematicEngine, one_hot=True))
    trace_trials(few)
    try:
        few.reset_to(0, jnp.zeros((2, few.rand_vec_size)), jax.random.key(0))
    except jaxtyping.TypeCheckError:
        print("checked")
    else:
        raise AssertionError("shapes are not checked")


if __name__ == "__main__":
    main()
