"""Soak: MT50 mixed under random actions for as long as it takes, with hostile lanes among them, and counts of all harm.

    python -m benchmarks.soak --steps 1e8 --num-envs 4096 --devices 2
    python -m benchmarks.soak --record      # no steps: the results and the page, of what the folder holds

One lane in ten is hostile: its actions hold NaN or infinity, are huge, denormal, constant at the extremes or change
sign at every step, or its states are poisoned with a bad number. One episode in ten has a goal at a corner of its goal
space. See `soak_lanes.py` for what is counted.

SIGTERM and SIGINT end it after the chunk under way, and the same command goes on; state and counts lie in the folder,
written all or nothing. Writes `benchmarks/results/soak.json`, a row for each kind of device, and the tables of
`docs/guides/reliability.md`.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import tyro
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.soak_account import Account, Process, Soak, load, save
from benchmarks.soak_extremes import PHYSICS
from benchmarks.soak_lanes import CornerGoals, Lanes, first_lanes, make_chunk
from benchmarks.soak_report import markdown, outcome, record
from mjx_metaworld.cli.benchmark import claim_devices, default_devices
from mjx_metaworld.cli.markdown import check_section, rewrite_section
from mjx_metaworld.cli.memory import release_freed
from mjx_metaworld.compile import jit
from mjx_metaworld.env import EngineFactory, MetaWorldEnv
from mjx_metaworld.processes.locks import exclusive
from mjx_metaworld.processes.signals import Terminated, postponed, termination
from mjx_metaworld.suites import resolve
from mjx_metaworld.types import EPISODE_STEPS
from mjx_metaworld.vector import Device, VectorEnv

_COMPILED = "/jax/core/compile/backend_compile_duration"


def run(args: Soak, console: Console, env: MetaWorldEnv, devices: Sequence[Device] = ()) -> Account:
    """Go on until all steps are made or a signal asks to end.

    Args:
        args: of the command.
        console: gets the progress.
        env: of `make_env`.
        devices: among which the lanes are divided, if there are several.

    Raises:
        KeyboardInterrupt: after a signal, with everything saved.
        LockedError: if another process has the folder.
        ValueError: if the folder holds another soak.
    """
    args.folder.mkdir(parents=True, exist_ok=True)
    with exclusive(args.folder, args.folder / "soak.lock"):
        vector_env = VectorEnv(env, args.num_envs, devices=devices if len(devices) > 1 else None)
        release_freed()
        key = jax.random.key(args.seed)
        account, lanes = load(args, shapes_of(vector_env))
        if lanes is None:
            lanes = jit(lambda key: first_lanes(vector_env, key))(key)
        if vector_env.sharding is not None:
            lanes = jax.device_put(lanes, vector_env.sharding)
        return _go_on(args, console, vector_env, lanes, key, account)


def make_env(tasks: str, engine: EngineFactory | None = None) -> CornerGoals:
    """The environment of a soak."""
    return CornerGoals(
        resolve(tasks),
        goal_observable=True,
        one_hot=False,
        reward_version="v2",
        max_episode_steps=EPISODE_STEPS,
        terminate_on_success=False,
        physics=PHYSICS,
        engine=engine,
    )


def shapes_of(vector_env: VectorEnv) -> Lanes:
    """Shapes of all lanes."""
    return jax.eval_shape(lambda key: first_lanes(vector_env, key), jax.random.key(0))


def _go_on(args: Soak, console: Console, vector_env: VectorEnv, lanes: Lanes, key: Any, account: Account) -> Account:
    placed = {} if vector_env.sharding is None else {"out_shardings": (vector_env.sharding, None, None)}
    chunk = jit(make_chunk(vector_env, args.chunk), donate_argnums=0, **placed)
    events: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(lambda event, duration_secs, **_: events.append(event))
    here = Process()
    account.processes.append(here)
    per_chunk, saved = args.num_envs * args.chunk, time.monotonic()
    with _bars(console) as bars:
        bar = bars.add_task("", total=args.steps, completed=account.chunks * per_chunk, rate="compiling")
        try:
            while account.chunks * per_chunk < args.steps:
                with postponed("this chunk"):
                    began = time.perf_counter()
                    number = jnp.asarray(account.chunks, jnp.int32)
                    lanes, *found = jax.block_until_ready(chunk(lanes, key, number))
                    tally, paths = jax.device_get(found)
                    account.tally = tally if account.tally is None else account.tally.merged(tally)
                    account.paths = paths if account.paths is None else account.paths.merged(paths)
                    if here.chunks:
                        here.timed += 1
                        here.seconds += time.perf_counter() - began
                        here.recompiled += events.count(_COMPILED)
                    events.clear()
                    here.chunks += 1
                    here.sample(resident_mb(), len(jax.live_arrays()))
                    rate = f"{per_chunk * account.chunks_per_second:,.0f}/s"
                    bars.update(bar, completed=account.chunks * per_chunk, rate=rate)
                if time.monotonic() - saved > args.save_every:
                    with postponed(""):
                        save(args, lanes, account)
                    saved = time.monotonic()
                    if not console.is_terminal:
                        console.print(f"{account.chunks * per_chunk:,} of {args.steps:,.0f} lane steps, {rate}")
        finally:
            with postponed(""):
                save(args, lanes, account)
    return account


def _bars(console: Console) -> Progress:
    columns = (TextColumn("lane steps"), BarColumn(), TextColumn("{task.percentage:.1f}% of {task.total:.3g}"))
    columns += (TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, speed_estimate_period=600)


def resident_mb() -> int:
    """Memory of this process on the host, in MB."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize() >> 20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def main(args: Soak) -> int:
    """Run, then record; the exit status is 130 or 143 after a signal."""
    console = Console(soft_wrap=True)
    if args.document is not None:
        check_section(args.document, "soak")
    devices = [] if args.record else claim_devices(args.devices or default_devices(args.num_envs))
    env = make_env(args.tasks)
    if args.record:
        account = load(args, shapes_of(VectorEnv(env, args.num_envs)))[0]
    else:
        try:
            with termination():
                account = run(args, console, env, devices)
        except KeyboardInterrupt as asked:
            console.print(f"Saved in {args.folder}; the same command goes on.")
            return 143 if isinstance(asked, Terminated) else 130
    row = outcome(args, account, env)
    rows = [row] if args.results is None else record(args.results, row)
    table = markdown(rows)
    if args.document is not None:
        rewrite_section(args.document, "soak", table)
    console.print(table, markup=False, highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Soak, description=__doc__)))
