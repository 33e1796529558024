"""Soak: MT50 mixed under random actions for as long as it takes, with hostile lanes among them, and counts of all harm.

    python -m benchmarks.soak --steps 1e8 --num-envs 4096 --devices 2
    python -m benchmarks.soak --record      # no steps: the results and the page, of what the folder holds

One lane in ten is hostile: its actions hold NaN or infinity, are huge, denormal, constant at the extremes or change
sign at every step, or its states are poisoned with a bad number. One episode in ten has a goal at a corner of its goal
space. See `soak_lanes.py` for what is counted.

SIGTERM and SIGINT end it after the chunk under way, and the same command goes on; state and counts lie in the folder,
written all or nothing. Writes `benchmarks/results/soak.json`, a row for each kind of device, and the table of
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.soak_extremes import PHYSICS, Paths, replay
from benchmarks.soak_lanes import BOUNDS, CornerGoals, Lanes, Tally, first_lanes, make_chunk
from mjx_metaworld.build.machine import describe_machine, versions
from mjx_metaworld.cli.benchmark import claim_devices, default_devices
from mjx_metaworld.cli.markdown import check_section, rewrite_section
from mjx_metaworld.cli.memory import release_freed
from mjx_metaworld.compile import jit
from mjx_metaworld.env import EngineFactory, MetaWorldEnv
from mjx_metaworld.processes.archive import read_npz
from mjx_metaworld.processes.locks import exclusive
from mjx_metaworld.processes.signals import Terminated, postponed, termination
from mjx_metaworld.suites import resolve
from mjx_metaworld.types import EPISODE_STEPS
from mjx_metaworld.vector import VectorEnv

RESULTS = Path("benchmarks/results/soak.json")
REFERENCE = RESULTS.with_name("soak_reference.json")  # of `soak_reference.py`
PAGE = Path("docs/guides/reliability.md")
_SETTLED = 10  # chunks of a process after which its memory should not grow
_COMPILED = "/jax/core/compile/backend_compile_duration"


@dataclass(frozen=True)
class Soak:
    """A soak."""

    steps: float = 1e8  # lane steps in all
    num_envs: int = 4096
    devices: int | None = None  # divide the lanes among so many. None: what is best
    tasks: str = "MT50"
    chunk: int = 100  # control steps between two probes
    seed: int = 0
    folder: Path = Path("out/soak")  # state and counts
    save_every: float = 300.0  # seconds
    record: bool = False  # make no steps
    results: Path | None = RESULTS
    document: Path | None = PAGE


@dataclass
class Process:
    """Figures of one process of a soak."""

    chunks: int = 0
    timed: int = 0  # chunks after the first, in which it compiles
    seconds: float = 0.0  # of these
    recompiled: int = 0  # programs compiled in these
    memory_mb: tuple[int, int] = (0, 0)  # resident: when it should have settled, and at the end
    live_arrays: tuple[int, int] = (0, 0)

    def sample(self, memory_mb: int, live_arrays: int) -> None:
        """Note memory and arrays after a chunk."""
        settling = self.chunks <= _SETTLED
        self.memory_mb = (memory_mb if settling else self.memory_mb[0], memory_mb)
        self.live_arrays = (live_arrays if settling else self.live_arrays[0], live_arrays)


@dataclass
class Account:
    """Counts of a soak so far, over all of its processes."""

    processes: list[Process] = field(default_factory=list)
    tally: Tally | None = None
    paths: Paths | None = None  # what the highest values came from

    @property
    def chunks(self) -> int:
        """Chunks that were made."""
        return sum(process.chunks for process in self.processes)

    @property
    def chunks_per_second(self) -> float:
        """Speed without compiling; 0 where nothing was timed yet."""
        seconds = sum(process.seconds for process in self.processes)
        return sum(process.timed for process in self.processes) / seconds if seconds else 0.0


def run(args: Soak, console: Console, engine: EngineFactory | None = None) -> Account:
    """Go on until all steps are made or a signal asks to end.

    Args:
        args: of the command.
        console: gets the progress.
        engine: what simulates.

    Raises:
        KeyboardInterrupt: after a signal, with everything saved.
        LockedError: if another process has the folder.
        ValueError: if the folder holds another soak.
    """
    args.folder.mkdir(parents=True, exist_ok=True)
    with exclusive(args.folder, args.folder / "soak.lock"):
        devices = claim_devices(args.devices or default_devices(args.num_envs))
        env = make_env(args.tasks, engine)
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


# --- the folder ---


def save(args: Soak, lanes: Lanes, account: Account) -> None:
    """Write state and counts, all or nothing."""
    arrays = {str(i): np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(lanes))}
    arrays |= {f"path{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(account.paths))}
    told = {"soak": _shaping(args), "processes": [dataclasses.asdict(process) for process in account.processes]}
    if account.tally is not None:
        told["tally"] = _plain(account.tally)
    buffer = io.BytesIO()
    np.savez(buffer, account=np.frombuffer(json.dumps(told).encode(), np.uint8), **arrays)  # pyright: ignore[reportArgumentType]
    partial = _file(args).with_suffix(".tmp")
    with partial.open("wb") as file:
        file.write(buffer.getvalue())
        file.flush()
        os.fsync(file.fileno())
    partial.replace(_file(args))


def load(args: Soak, template: Lanes) -> tuple[Account, Lanes | None]:
    """Read counts and, of the template's shapes, state; nothing of either where the folder is new.

    Raises:
        ValueError: if the folder holds another soak, or one of other arrays.
    """
    if not _file(args).exists():
        return Account(), None
    arrays = read_npz(_file(args))
    told = json.loads(arrays.pop("account").tobytes())
    if told["soak"] != _shaping(args):
        raise ValueError(f"{args.folder} holds another soak: {told['soak']}, now {_shaping(args)}")
    paths = [arrays.pop(f"path{i}") for i in range(sum(name.startswith("path") for name in arrays))]
    leaves = [arrays[str(i)] for i in range(len(arrays))]
    shapes, structure = jax.tree.flatten(template)
    whole = bool(paths) == ("tally" in told)
    if not whole or [(x.shape, x.dtype) for x in shapes] != [(x.shape, x.dtype) for x in leaves]:
        raise ValueError(f"{args.folder} holds a soak of another version; remove it, or name another folder")
    account = Account([Process(**process) for process in told["processes"]])
    if "tally" in told:
        account.tally = Tally(**{name: np.asarray(count) for name, count in told["tally"].items()})
        account.paths = Paths.of_leaves(paths, template.state)
    return account, jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in leaves])


def _file(args: Soak) -> Path:
    return args.folder / "soak.npz"


def _shaping(args: Soak) -> dict[str, Any]:
    """Arguments that decide the steps; their number and that of the devices may change."""
    return {name: getattr(args, name) for name in ("num_envs", "tasks", "chunk", "seed")}


def _plain(tally: Tally) -> dict[str, Any]:
    return {name: np.asarray(getattr(tally, name)).tolist() for name in Tally.__dataclass_fields__}


# --- the record ---


def outcome(args: Soak, account: Account, env: MetaWorldEnv) -> dict[str, Any]:
    """A row of the results, with how far MuJoCo C goes from where the highest values came from.

    Raises:
        ValueError: if nothing was run.
    """
    if account.tally is None or account.paths is None:
        raise ValueError(f"{args.folder} holds no soak")
    tally, per_chunk = account.tally, args.num_envs * args.chunk
    counts = {name: value for name, value in _plain(tally).items() if name not in ("beyond", "highest", "task")}
    names = [spec.name for spec in resolve(args.tasks)]
    theirs = replay(env, account.paths, [bound.name for bound in BOUNDS])
    bounds = [
        {
            **bound._asdict(),
            "highest": round(float(high), 6),
            "task": names[task],
            "beyond": int(beyond),
            "mujoco": [None if value is None else round(value, 6) for value in same],
        }
        for bound, high, task, beyond, same in zip(BOUNDS, tally.highest, tally.task, tally.beyond, theirs, strict=True)
    ]
    return {
        **_shaping(args),
        "lane_steps": account.chunks * per_chunk,
        "lane_steps_per_second": round(per_chunk * account.chunks_per_second, 1),
        "devices": args.devices,
        **counts,
        "bounds": bounds,
        "processes": [dataclasses.asdict(process) for process in account.processes],
        "device": jax.devices()[0].device_kind,
        "machine": describe_machine(),
        "versions": versions(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def record(path: Path, row: dict[str, Any]) -> list[dict[str, Any]]:
    """Add a row to the results in place of one of the same device and tasks; returns all rows."""
    rows = json.loads(path.read_text()) if path.exists() else []
    same = [row[name] for name in ("device", "tasks")]
    rows = [other for other in rows if [other[name] for name in ("device", "tasks")] != same] + [row]
    path.write_text(json.dumps(rows, indent=1) + "\n")
    return rows


def markdown(rows: list[dict[str, Any]]) -> str:
    """The results as two tables: counts, and the bounds with the largest values."""
    heads = [f"{row['tasks']}, {row['device']}" for row in rows]
    lines = [f"| | {' | '.join(heads)} |", f"| --- |{' ---: |' * len(rows)}"]
    for title, value in _ROWS.items():
        lines.append(f"| {title} | {' | '.join(value(row) for row in rows)} |")
    reference = json.loads(REFERENCE.read_text()) if REFERENCE.exists() else {}
    shown = " | ".join(f"highest, {head} | MuJoCo C, that step | its steps so far" for head in heads)
    lines += ["", f"| bound | most | {shown} | CPU metaworld | reason |"]
    lines += [f"| --- | ---: |{' ---: | ---: | ---: |' * len(rows)} ---: | --- |"]
    for i, bound in enumerate(rows[0]["bounds"]):
        cells = []
        for row in rows:
            one = row["bounds"][i]
            theirs = ["" if value is None else f"{value:.3g}" for value in one["mujoco"]]
            cells += [f"{one['highest']:.3g} ({one['task']})", *theirs]
        known = reference.get(bound["name"])
        cells = " | ".join([*cells, "" if known is None else f"{known['highest']:.3g} ({known['task']})"])
        lines.append(f"| {bound['name']} | {bound['most']:g} {bound['unit']} | {cells} | {bound['reason']} |")
    machines = "; ".join(
        f"{head}: {row['machine']}, {', '.join(f'{n} {v}' for n, v in row['versions'].items())}, {row['date']}"
        for head, row in zip(heads, rows, strict=True)
    )
    return "\n".join([*lines, "", f"{machines}."])


def _growth(name: str, unit: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: ", ".join(f"{p[name][0]:,} to {p[name][1]:,}{unit}" for p in row["processes"])


_ROWS: dict[str, Callable[[dict[str, Any]], str]] = {
    "lanes": lambda row: f"{row['num_envs']:,}",
    "lane steps": lambda row: f"{row['lane_steps']:,}",
    "lane steps a second, with the counting": lambda row: f"{row['lane_steps_per_second']:,.0f}",
    "episodes": lambda row: f"{row['episodes']:,}",
    "of these with a goal at a corner of its space": lambda row: f"{row['corner_goals']:,}",
    "hostile actions": lambda row: f"{row['hostile_actions']:,}",
    "poisoned states": lambda row: f"{row['poisoned']:,}",
    "**outside poisoned lanes:** steps with NaN or infinity, or refused": lambda row: f"{row['not_finite']:,}",
    "steps beyond a bound": lambda row: f"{sum(b['beyond'] for b in row['bounds']):,}",
    "steps made once more beside other neighbours": lambda row: f"{row['probed']:,}",
    "of these with other bits": lambda row: f"{row['differing']:,}",
    "**poisoned lanes:** NaN or infinity in positions or speeds that did not end the episode at once": (
        lambda row: f"{row['unnoticed']:,}"
    ),
    "restarted": lambda row: f"{row['restarted']:,}",
    "most steps until the restart": lambda row: f"{row['ill_steps']:,}",
    "steps with any fault after it": lambda row: f"{row['ill_after']:,}",
    "**programs** compiled after a process's first chunk": (
        lambda row: f"{sum(p['recompiled'] for p in row['processes']):,}"
    ),
    f"memory, from {_SETTLED} chunks to the end": _growth("memory_mb", " MB"),
    "arrays that JAX holds": _growth("live_arrays", ""),
}


def main(args: Soak) -> int:
    """Run, then record; the exit status is 130 or 143 after a signal."""
    console = Console(soft_wrap=True)
    if args.document is not None:
        check_section(args.document, "soak")
    if args.record:
        account = load(args, shapes_of(VectorEnv(make_env(args.tasks), args.num_envs)))[0]
    else:
        try:
            with termination():
                account = run(args, console)
        except KeyboardInterrupt as asked:
            console.print(f"Saved in {args.folder}; the same command goes on.")
            return 143 if isinstance(asked, Terminated) else 130
    row = outcome(args, account, make_env(args.tasks))
    rows = [row] if args.results is None else record(args.results, row)
    table = markdown(rows)
    if args.document is not None:
        rewrite_section(args.document, "soak", table)
    console.print(table, markup=False, highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Soak, description=__doc__)))
