"""Environments whose values and best actions are known in closed form, and a run of the real loop on one of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import NamedSharding
from jaxtyping import Array, Float, Int, Key

from mjx_metaworld.episodes import EpisodeStats
from mjx_metaworld.training.algorithm import Algorithm, TrainingEnv
from mjx_metaworld.training.checkpoint import Checkpoints, Progress
from mjx_metaworld.training.clone import CloneConfig
from mjx_metaworld.training.config import ALGORITHMS
from mjx_metaworld.training.fastsac import FastSACConfig
from mjx_metaworld.training.loop import Schedule, begin, run_loop
from mjx_metaworld.training.ppo import PPOConfig
from mjx_metaworld.training.rl2 import RL2Config
from mjx_metaworld.training.sac import SACConfig
from mjx_metaworld.training.shared_checkpoints import SharedCheckpoints
from mjx_metaworld.training.view import Sight, View
from mjx_metaworld.types import Metrics, Transition
from support.trial_probes import remembering_pays, trial_probe

ACTION_SIZE = 2


class ProbeState(struct.PyTreeNode):
    """One lane a row."""

    obs: Float[Array, "envs obs"]
    task: Int[Array, " envs"]
    step: Int[Array, " envs"]
    key: Key[Array, " envs"]


def probe(
    reward: Callable[[Array, Array, Array], Array],
    *,
    num_envs: int = 16,
    num_tasks: int = 1,
    episode_steps: int = 4,
    terminates: bool | Array = False,
    show_step: bool | Array = False,
    show_drawn: bool | Array = False,
) -> TrainingEnv:
    """Episodes of a fixed length whose observation is the step, a random number and the task's one-hot vector.

    Args:
        reward: (task (envs,), obs (envs, 2), action (envs, 2)) -> (envs,).
        num_envs: lanes; lane i has task i modulo `num_tasks`.
        num_tasks: number of tasks.
        episode_steps: length of an episode.
        terminates: whether episodes end by termination instead of truncation.
        show_step: whether the first entry is the step or zero.
        show_drawn: whether the second entry is a number drawn at reset from [-1, 1], the same all episode, or zero.
    """
    one_hot = num_tasks > 1
    tasks = jnp.arange(num_envs) % num_tasks

    def observe(step: Array, key: Array) -> Array:
        drawn = jax.vmap(lambda k: jax.random.uniform(k, (), minval=-1.0, maxval=1.0))(key)
        plain = jnp.stack([step * show_step, drawn * show_drawn], -1)
        return jnp.concatenate([plain, jax.nn.one_hot(tasks, num_tasks)], -1) if one_hot else plain

    def start(key: Array) -> ProbeState:
        step = jnp.zeros(num_envs, jnp.int32)
        return ProbeState(observe(step, key), tasks, step, key)

    def restart(state: ProbeState, done: Array) -> ProbeState:
        fresh = start(jax.vmap(lambda key: jax.random.fold_in(key, 1))(state.key))
        return jax.tree.map(
            lambda new, old: jnp.where(done.reshape(done.shape + (1,) * (new.ndim - 1)), new, old), fresh, state
        )

    def step(state: ProbeState, action: Array) -> tuple[ProbeState, Transition]:
        count = state.step + 1
        successor = state.replace(step=count, obs=observe(count, state.key))
        done = count >= episode_steps
        rewards = reward(state.task, state.obs[:, :2], action)
        zero = jnp.zeros(num_envs)
        transition = Transition(
            obs=state.obs,
            action=action,
            reward=rewards,
            terminated=done & terminates,
            truncated=done & ~jnp.asarray(terminates),
            next_obs=successor.obs,
            metrics=Metrics(*[zero] * 7).replace(success=(rewards > 0).astype(float)),
            task=state.task,
        )
        return restart(successor, done), transition

    return TrainingEnv(
        num_envs=num_envs,
        num_tasks=num_tasks,
        observation_size=2 + (num_tasks if one_hot else 0),
        one_hot=one_hot,
        action_size=ACTION_SIZE,
        episode_steps=episode_steps,
        reset=lambda key: start(jax.random.split(key, num_envs)),
        step=step,
        restart=restart,
        eyes=lambda sight: lambda state: drawn_view(state, sight),
        expert=lambda: expert,
    )


class Kind(struct.PyTreeNode):
    """One of a family of probes whose learners are one program, which takes these numbers."""

    wage: float = 0.0  # of every step
    wage_of_drawn: float = 0.0  # a unit of the drawn number
    cost_of_error: float = 0.0  # a square of what the first action differs from the drawn number
    terminates: bool = False
    show_step: bool = False
    show_drawn: bool = False

    def env(self) -> TrainingEnv:
        """The probe."""

        def reward(task: Array, obs: Array, action: Array) -> Array:
            error = action[:, 0] - obs[:, 1]
            return self.wage + self.wage_of_drawn * obs[:, 1] - self.cost_of_error * error**2

        return probe(reward, terminates=self.terminates, show_step=self.show_step, show_drawn=self.show_drawn)


class Programs(NamedTuple):
    """Compiled functions of a learner of any `Kind`."""

    init: Callable[[Kind, Array], Any]  # of a key
    iterate: Callable[[Kind, Any], tuple[Any, Any]]  # a donated state

    def learn(self, kind: Kind, iterations: int, change: Callable[[Any], Any] = lambda state: state) -> tuple[Any, Any]:
        """State and report after so many iterations; `change` is made to the first state."""
        state, report = change(self.init(kind, jax.random.key(0))), None
        for _ in range(iterations):
            state, report = self.iterate(kind, state)
        return state, report


def programs_of(make: Callable[[Any, TrainingEnv], Algorithm], config: Any) -> Programs:
    """Functions that compile once, not once for each kind."""
    return Programs(
        init=jax.jit(lambda kind, key: make(config, kind.env()).init(key)),
        iterate=jax.jit(lambda kind, state: make(config, kind.env()).iterate(state), donate_argnums=1),
    )


def expert(obs: Float[Array, "envs obs"], task: Int[Array, " envs"]) -> Float[Array, "envs action"]:
    """Answers with the drawn number."""
    return jnp.stack([obs[:, 1], jnp.zeros_like(obs[:, 1])], axis=-1)


def drawn_view(state: ProbeState, sight: Sight) -> View:
    """A black picture with a white spot, farther to the right the larger the drawn number."""
    places = jnp.linspace(-1.5, 1.5, sight.size)
    spot = jnp.exp(-32 * ((places - state.obs[:, 1:2])[:, None] ** 2 + places[:, None] ** 2))
    pictures = jnp.broadcast_to(255 * spot[:, None, :, :, None], (len(spot), len(sight.cameras), *spot.shape[1:], 3))
    return View(pictures.astype(jnp.uint8), jnp.zeros((len(spot), sight.hand_size)))


# --- a run of the real loop, fast enough to be killed and begun again ---

RUN_CONFIG = PPOConfig(num_envs=16, horizon=8, episode_steps=24, hidden=(16,), epochs=2, minibatches=2)
RUN_CONFIGS = {
    "ppo": RUN_CONFIG,
    # Its buffer holds four rollouts, of which the first two are warm-up.
    "sac": SACConfig(
        num_envs=16,
        horizon=8,
        episode_steps=24,
        hidden=(16,),
        updates_per_step=1 / 32,
        batch_per_task=32,
        replay_size=512,
        warmup_steps=129,
    ),
    # Likewise; windows of three steps reach over rollouts and over the ends of episodes.
    "fastsac": FastSACConfig(
        num_envs=16,
        horizon=8,
        episode_steps=24,
        actor_hidden=(16,),
        critic_hidden=(16,),
        updates=4,
        batch_per_task=32,
        replay_size=512,
        warmup_steps=129,
    ),
    # Sequences of half a rollout, and trials that are not over with it.
    "rl2": RL2Config(
        num_envs=16,
        horizon=8,
        sequence=4,
        episode_steps=10,
        hidden=(16,),
        memory_hidden=(8,),
        memory=8,
        epochs=2,
        minibatches=2,
    ),
    "clone": CloneConfig(
        num_envs=16,
        horizon=8,
        episode_steps=24,
        picture_size=16,
        channels=(4,),
        hidden=(16,),
        expert_steps=256,
        replay_size=512,
        updates=2,
        batch_size=32,
    ),
}


class Silent:
    """Records that nobody reads."""

    def iteration(self, progress: Progress, report: object) -> None:
        """Nothing."""

    def evaluation(self, progress: Progress, evaluation: EpisodeStats) -> None:
        """Nothing."""


def probe_learner(algorithm: str, lanes: NamedSharding | None = None) -> Algorithm:
    """A learner on a probe that pays for the drawn number, or on one with trials."""
    config = RUN_CONFIGS[algorithm]
    if isinstance(config, RL2Config):
        trials = trial_probe(remembering_pays, episode_steps=config.episode_steps, cue=True)
        return ALGORITHMS[algorithm].make(config, trials._replace(sharding=lanes))
    env = probe(
        lambda task, obs, action: -((action[:, 0] - obs[:, 1]) ** 2),
        episode_steps=config.episode_steps,
        show_step=True,
        show_drawn=True,
    )
    return ALGORITHMS[algorithm].make(config, env._replace(sharding=lanes))


def run_probe(
    folder: Path,
    iterations: int,
    checkpoint_every: int = 1,
    algorithm: str = "ppo",
    lanes: NamedSharding | None = None,
    *,
    impl: str | None = None,
    evaluate_every: int = 3,
    records: Silent = Silent(),  # noqa: B008 - it holds nothing
) -> tuple[Any, Progress]:
    """Train on a probe that pays for the drawn number, going on from the folder's newest checkpoint.

    Args:
        folder: of the checkpoints.
        iterations: in all, those of earlier calls included.
        checkpoint_every: iterations.
        algorithm: its name.
        lanes: how the lanes lie on several devices.
        impl: of the random key that a fresh run begins with; JAX's default by default.
        evaluate_every: iterations.
        records: told of every iteration.
    """
    learner = probe_learner(algorithm, lanes)
    key = jax.random.key(5, impl=impl)
    return learn_alone(
        learner, key, folder, iterations, checkpoint_every, evaluate_every=evaluate_every, records=records
    )


def learn_alone(
    learner: Algorithm,
    key: Key[Array, ""],
    folder: Path,
    iterations: int,
    checkpoint_every: int,
    *,
    evaluate_every: int = 3,
    records: Silent = Silent(),  # noqa: B008 - it holds nothing
) -> tuple[Any, Progress]:
    """The real loop with checkpoints, without evaluations or records."""
    steps = learner.steps_per_iteration
    schedule = Schedule(iterations * steps, evaluate_every * steps, checkpoint_every * steps, None)
    checkpoints = Checkpoints(folder) if jax.process_count() == 1 else SharedCheckpoints(folder)
    evaluation = EpisodeStats(np.zeros((1, 1), bool), np.zeros((1, 1)))
    try:
        start = begin(learner, key, checkpoints)
        return run_loop(learner, lambda _: evaluation, schedule, start, records, checkpoints, began=0.0)
    finally:
        checkpoints.close()


def assert_goes_on_with_its_buffer(algorithm: Algorithm, folder: Path) -> None:
    """Three iterations, a checkpoint and three more are six, with a buffer that wraps around within them."""

    def run(state: Any, iterations: int) -> Any:
        for _ in range(iterations):
            state, _ = algorithm.iterate(state)
        return state

    expected = run(algorithm.init(jax.random.key(5)), 6)
    assert np.asarray(expected.replay.is_full).all()  # the buffer wraps around
    checkpoints = Checkpoints(folder)
    checkpoints.save(run(algorithm.init(jax.random.key(5)), 3), Progress(iteration=3))
    restored = checkpoints.restore(algorithm.init)
    checkpoints.close()
    assert restored is not None
    assert_bitwise_equal(run(restored[0], 3), expected)


def assert_bitwise_equal(one: object, other: object) -> None:
    """Two train states hold the same numbers."""
    one, other = (jax.tree.map(_numbers, state) for state in (one, other))
    jax.tree.map(np.testing.assert_array_equal, one, other)


def _numbers(leaf: jax.Array) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from support.economy import economize

    economize()
    run_probe(Path(sys.argv[1]), int(sys.argv[2]), algorithm=sys.argv[3])
