"""The training loop: iterations of an algorithm, with evaluations, checkpoints and records in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from mjx_metaworld.compile import jit
from mjx_metaworld.episodes import EpisodeStats
from mjx_metaworld.processes.signals import EndedTogether, postponed
from mjx_metaworld.training.algorithm import Algorithm
from mjx_metaworld.training.checkpoint import Checkpoints, Progress, policy_part
from mjx_metaworld.training.devices import placement, reports
from mjx_metaworld.training.shared_checkpoints import SharedCheckpoints


@runtime_checkable
class Records(Protocol):
    """Receiver of the loop's reports."""

    def iteration(self, progress: Progress, report: Any) -> None:
        """An iteration is done."""
        ...

    def evaluation(self, progress: Progress, evaluation: EpisodeStats) -> None:
        """An evaluation is done."""
        ...


class DivergedError(RuntimeError):
    """Learning whose networks or statistics are no longer finite."""


class Schedule(NamedTuple):
    """Length of a run, and intervals of evaluations and checkpoints; in environment steps over all lanes."""

    env_steps: int
    eval_every: int
    checkpoint_every: int
    stop_at_success: float | None  # end once an evaluation's mean success is at least this


def run_loop(
    algorithm: Algorithm,
    evaluate: Callable[[Any], EpisodeStats],
    schedule: Schedule,
    start: tuple[Any, Progress],
    records: Records,
    checkpoints: Checkpoints | SharedCheckpoints,
    began: float,
    asked: Callable[[], bool] = lambda: False,
) -> tuple[Any, Progress]:
    """Train until the schedule ends, evaluating and saving at the end in any case.

    Args:
        algorithm: what learns.
        evaluate: takes the train state.
        schedule: how long, and how often.
        start: train state and progress, fresh or of a checkpoint; one that is at its end already returns at once.
        records: told of every iteration and evaluation.
        checkpoints: where to save.
        began: the `time.perf_counter()` from which this process's wall clock counts.
        asked: tells after every iteration if all processes are to end.

    Returns:
        The last train state, and how far it came.

    Raises:
        KeyboardInterrupt: at the end of an iteration in which SIGINT or SIGTERM came; what it reached is saved, unless
            an evaluation was due, which would be left out when the run goes on. When `asked` says so, in all cases with
            a checkpoint (as `EndedTogether`).
        CheckpointError: if a checkpoint cannot be written.
        DivergedError: where an evaluation or a checkpoint is due of networks or statistics that are not finite; the
            checkpoints and records of before stay.
    """
    state, progress = start
    sound = jit(_all_finite, out_shardings=reports(algorithm.sharding))
    before = progress.seconds
    places = placement(state, algorithm.sharding)  # those of what came in: one program serves all iterations
    iterate = jit(algorithm.iterate, donate_argnums=0, out_shardings=(places, reports(algorithm.sharding)))
    while not finished(progress, schedule):
        last, env_steps = progress.env_steps, progress.env_steps + algorithm.steps_per_iteration
        due = env_steps >= schedule.env_steps or _crossed(last, env_steps, schedule.eval_every)
        try:
            with postponed("this iteration", insist=True):
                state, report = jax.block_until_ready(iterate(state))
                seconds = before + time.perf_counter() - began
                progress = Progress(progress.iteration + 1, env_steps, seconds, progress.success)
                records.iteration(progress, report)
        except KeyboardInterrupt:
            if progress.env_steps == env_steps and not due and sound(policy_part(state)):
                checkpoints.save(state, progress)
            raise
        saving = _crossed(last, env_steps, schedule.checkpoint_every)
        if (due or saving) and not sound(policy_part(state)):
            raise DivergedError(
                f"learning has diverged: after {env_steps:,} env steps networks or statistics are not finite, "
                "so nothing is saved of them. A smaller learning_rate may help; the run's checkpoints are of before"
            )
        if due:
            evaluation = evaluate(state)
            seconds = before + time.perf_counter() - began
            progress = Progress(progress.iteration, env_steps, seconds, float(evaluation.success.mean()))
            with postponed("", insist=True):
                records.evaluation(progress, evaluation)
                checkpoints.offer(state, progress)
        ending = asked()
        if ending or finished(progress, schedule) or saving:
            with postponed("", insist=True):
                checkpoints.save(state, progress)
        if ending:
            raise EndedTogether
    return state, progress


def finished(progress: Progress, schedule: Schedule) -> bool:
    """True if a run has come to its end."""
    solved = schedule.stop_at_success is not None and progress.success >= schedule.stop_at_success
    return solved or progress.env_steps >= schedule.env_steps


def begin(
    algorithm: Algorithm, key: Key[Array, ""], checkpoints: Checkpoints | SharedCheckpoints
) -> tuple[Any, Progress]:
    """Train state and progress of the newest checkpoint, or those of a fresh run.

    Raises:
        CheckpointError: if the newest checkpoint cannot be used.
    """
    restored = checkpoints.restore(algorithm.init, algorithm.sharding)
    if restored is not None:
        return restored

    def init(key: Key[Array, ""]) -> Any:
        return jax.tree.map(_strongly_typed, algorithm.init(key))

    if reports(algorithm.sharding) is not None:  # no process could move the others' parts afterwards
        places = placement(jax.eval_shape(init, key), algorithm.sharding)
        return jit(init, out_shardings=places)(key), Progress()
    state = jit(init)(key)
    return jax.device_put(state, placement(state, algorithm.sharding)), Progress()


def _strongly_typed(leaf: Array) -> Array:
    """An array whose type is as fixed as a checkpoint's, so that a resumed run is computed alike.

    Of a number that Python gave a weak type remains, which yields to the types of others.
    """
    return leaf if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else jax.lax.convert_element_type(leaf, leaf.dtype)


def _all_finite(state: Any) -> Array:
    """True if all floating-point numbers of a train state are finite."""
    leaves = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()


def _crossed(last: int, now: int, every: int) -> bool:
    return now // every > last // every
