"""Arguments, counts and folder of a soak, from which the same command goes on."""

from __future__ import annotations

import dataclasses
import io
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.soak_extremes import Paths
from benchmarks.soak_lanes import Lanes, Tally
from mjx_metaworld.processes.archive import read_npz

RESULTS = Path("benchmarks/results/soak.json")
PAGE = Path("docs/guides/reliability.md")
SETTLED = 10  # chunks of a process after which its memory should not grow


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
        settling = self.chunks <= SETTLED
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


def save(args: Soak, lanes: Lanes, account: Account) -> None:
    """Write state and counts, all or nothing."""
    arrays = {str(i): np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(lanes))}
    arrays |= {f"path{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(account.paths))}
    told = {"soak": shaping(args), "processes": [dataclasses.asdict(process) for process in account.processes]}
    if account.tally is not None:
        told["tally"] = plain(account.tally)
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
    if told["soak"] != shaping(args):
        raise ValueError(f"{args.folder} holds another soak: {told['soak']}, now {shaping(args)}")
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


def shaping(args: Soak) -> dict[str, Any]:
    """Arguments that decide the steps; their number and that of the devices may change."""
    return {name: getattr(args, name) for name in ("num_envs", "tasks", "chunk", "seed")}


def plain(tally: Tally) -> dict[str, Any]:
    """Counts as JSON holds them."""
    return {name: np.asarray(getattr(tally, name)).tolist() for name in Tally.__dataclass_fields__}
