"""Report of a soak: a row of the results, and the two tables of the page."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax

from benchmarks.soak_account import RESULTS, SETTLED, Account, Soak, plain, shaping
from benchmarks.soak_extremes import replay
from benchmarks.soak_lanes import BOUNDS
from mjx_metaworld.build.machine import describe_machine, versions
from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.suites import resolve

REFERENCE = RESULTS.with_name("soak_reference.json")  # of `soak_reference.py`


def outcome(args: Soak, account: Account, env: MetaWorldEnv) -> dict[str, Any]:
    """A row of the results, with how far MuJoCo C goes from where the highest values came from.

    Raises:
        ValueError: if nothing was run.
    """
    if account.tally is None or account.paths is None:
        raise ValueError(f"{args.folder} holds no soak")
    tally, per_chunk = account.tally, args.num_envs * args.chunk
    counts = {name: value for name, value in plain(tally).items() if name not in ("beyond", "highest", "task")}
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
        **shaping(args),
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
    f"memory, from {SETTLED} chunks to the end": _growth("memory_mb", " MB"),
    "arrays that JAX holds": _growth("live_arrays", ""),
}
