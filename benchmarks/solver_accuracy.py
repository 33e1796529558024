"""Accuracy and cost of the Newton solver over its fixed counts; prints Markdown tables.

The reference is MuJoCo C's solution with tolerance zero on states along expert rollouts. An error is
abs(dx) / (abs(x) + 1) per entry of qacc. The last row of the first table solves to convergence in float32 and shows
what rounding alone leaves. Costs are of one solve, compile apart.

Usage: python benchmarks/solver_accuracy.py [--envs 512] [--per-task 40]
"""

from __future__ import annotations

import argparse
import functools
import time
import warnings
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.build.machine import cpu_cores
from mjx_metaworld.compile import jit
from mjx_metaworld.parity.dissect import RecordedState, constraints_of, mass_of, record, to_lanes
from mjx_metaworld.physics.config import EngineConfig, Execution, PhysicsConfig
from mjx_metaworld.physics.solver import solve
from mjx_metaworld.processes.programs import compiling_anew

LANES = 16
COUNTS = ((2, 4), (3, 4), (4, 2), (4, 4), (5, 2), (5, 3), (5, 4), (6, 2), (6, 3), (6, 4), (8, 4), (12, 8))


def tile(states: Sequence[RecordedState], num_contacts: int, num_envs: int):
    """Arguments of `solve` for a batch of states, repeated to `num_envs`, as `[tiles, ..., lanes]`."""
    rows = [states[i % len(states)] for i in range(num_envs)]
    args = (
        mass_of(rows),
        to_lanes([state.qfrc_smooth for state in rows]),
        constraints_of(rows, num_contacts),
        to_lanes([state.qacc_warmstart for state in rows]),
    )
    return jax.tree.map(lambda x: jnp.moveaxis(x.reshape(*x.shape[:-1], -1, LANES), -2, 0), args)


def compile_solve(args, accuracy: PhysicsConfig):
    """The compiled batch solver and the seconds its compilation took."""
    config = EngineConfig(accuracy, Execution(contact_group=4))
    batched = jax.vmap(functools.partial(solve, config=config))
    start = time.perf_counter()
    with compiling_anew():
        compiled = jit(batched).lower(*args).compile()
    return compiled, time.perf_counter() - start


def microseconds(compiled, args, num_envs: int) -> float:
    """Best of many runs, per environment."""
    jax.block_until_ready(compiled(*args))
    best = np.inf
    for _ in range(20):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*args))
        best = min(best, time.perf_counter() - start)
    return best / num_envs * 1e6


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--envs", type=int, default=512, help="batch size of the timing, a multiple of 16")
    parser.add_argument("--per-task", type=int, default=40, help="recorded states per task")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")

    states = record(per_task=args.per_task)
    cores = cpu_cores()
    print(f"{len(states)} states, jax {jax.__version__} on {jax.devices()[0].device_kind}, {cores} cores, ", end="")
    print(f"timed at {args.envs} environments\n")

    defaults = PhysicsConfig()
    known = [state for state in states if len(state.solver_contacts) <= defaults.max_contacts]
    reference = np.stack([state.qacc_exact for state in known])
    padded = -(-len(known) // LANES) * LANES
    accuracy_args = tile(known, defaults.max_contacts, padded)
    timing_args = tile(known, defaults.max_contacts, args.envs)
    print("| iterations | line search | median | 99 % | 99.9 % | max | us / env | compile s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for iterations, evaluations in COUNTS:
        accuracy = PhysicsConfig(solver_iterations=iterations, linesearch_iterations=evaluations)
        compiled, _ = compile_solve(accuracy_args, accuracy)
        qacc = np.moveaxis(np.asarray(compiled(*accuracy_args).qacc, np.float64), 1, 2).reshape(-1, reference.shape[1])
        error = np.abs(qacc[: len(known)] - reference) / (1 + np.abs(reference))
        columns = [f"{x:.0e}" for x in (*np.quantile(error, (0.5, 0.99, 0.999)), error.max())]
        compiled, seconds = compile_solve(timing_args, accuracy)
        columns += [f"{microseconds(compiled, timing_args, args.envs):.1f}", f"{seconds:.1f}"]
        print(f"| {iterations} | {evaluations} | {' | '.join(columns)} |", flush=True)

    print("\n| contacts kept | states with no more | us / env | compile s |\n| --- | --- | --- | --- |")
    for num_contacts in (8, 16, 24, 32):
        fitting = [state for state in states if len(state.solver_contacts) <= num_contacts]
        timing_args = tile(fitting, num_contacts, args.envs)
        compiled, seconds = compile_solve(timing_args, defaults)
        cost = microseconds(compiled, timing_args, args.envs)
        print(f"| {num_contacts} | {len(fitting) / len(states):.1%} | {cost:.1f} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
