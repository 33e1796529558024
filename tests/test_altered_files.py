"""Files that somebody may be given, altered at random places: a clear error, or the same content.

None of them runs code when it is opened.
"""

from __future__ import annotations

import builtins
import json
import os
import random
import shutil
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from flax import struct
from jaxtyping import Array, Float, Key
from support.run_folders import write_run
from support.training_probes import assert_bitwise_equal

import mjx_metaworld as mw
from mjx_metaworld.cli import main as cli
from mjx_metaworld.processes import archive, cache
from mjx_metaworld.training.checkpoint import CheckpointError, Checkpoints, Progress
from mjx_metaworld.training.records import line_of, read_records
from mjx_metaworld.training.run_folder import read_run
from mjx_metaworld.view.dataset import NOTES, note_episode

pytestmark = pytest.mark.usefixtures("kinematic")
SEED = 26
QUICK, FULL = 60, 3000  # alterations of a file
ERRORS = (ValueError, CheckpointError)  # those that a command tells in one line

each_count = pytest.mark.parametrize("count", [QUICK, pytest.param(FULL, marks=pytest.mark.full)])


class Small(struct.PyTreeNode):
    """A train state in which nothing is learnt."""

    key: Key[Array, ""]
    numbers: Float[Array, " numbers"]


def init(key: Key[Array, ""]) -> Small:
    return Small(key, jax.random.normal(key, (500,)))


class Outcome(NamedTuple):
    """What opening an altered file came to."""

    refused: int
    same: int


def alter(content: bytes, rng: random.Random) -> bytes:
    """One to four bits turned, a piece cut off, overwritten, or put in."""
    kind, where = rng.randrange(5), rng.randrange(max(len(content), 1))
    if kind == 0:
        return content[:where]
    if kind == 1:
        return content[:where] + rng.randbytes(8) + content[where + 8 :]
    if kind == 2:
        return content[:where] + rng.randbytes(rng.randrange(1, 8)) + content[where:]
    altered = bytearray(content)
    for _ in range(rng.randrange(1, 5)):
        altered[rng.randrange(len(altered))] ^= 1 << rng.randrange(8)
    return bytes(altered)


def try_alterations(file: Path, read: Callable[[], Any], same: Callable[[Any], bool], count: int) -> Outcome:
    """Open a file in so many alterations; it is whole again afterwards."""
    rng, content, seen = random.Random(SEED), file.read_bytes(), Counter()
    for number in range(count):
        altered = alter(content, rng)
        file.write_bytes(altered)
        try:
            found = read()
        except ERRORS:
            seen["refused"] += 1
        else:
            assert same(found), f"alteration {number} of {file.name} by seed {SEED} went unnoticed"
            seen["same"] += 1
    file.write_bytes(content)
    assert same(read())
    return Outcome(seen["refused"], seen["same"])


@pytest.fixture(scope="module")
def trajectory(kinematic):
    env = mw.make("reach-v3")
    reset = jax.jit(jax.vmap(jax.vmap(env.reset)))
    return mw.Trajectory.of(env, reset(jax.random.split(jax.random.key(0), (2, 2))))


@each_count
def test_trajectories(trajectory, tmp_path, count):
    path = tmp_path / "some.npz"
    trajectory.save(path)

    def same(found: mw.Trajectory) -> bool:
        alike = jax.tree.map(np.array_equal, found.states, trajectory.states)
        return found.tasks == trajectory.tasks and found.every == trajectory.every and all(jax.tree.leaves(alike))

    assert try_alterations(path, lambda: mw.Trajectory.load(path), same, count).refused > count / 2


@each_count
def test_records_of_runs(tmp_path, count):
    """`run.json` whole, and the lines of `metrics.jsonl` one by one: those that were altered are left out."""
    folder = write_run(tmp_path / "run", {"reach-v3": [0.25, 0.5]})
    config = read_run(folder)
    outcome = try_alterations(folder / "run.json", lambda: read_run(folder), lambda found: found == config, count)
    assert outcome.refused > count / 2
    lines = [{"kind": "iteration", "env_steps": 100 * i, "loss": 0.5 + i} for i in range(4)]
    (folder / "metrics.jsonl").write_text("".join(map(line_of, lines)))

    def read() -> list[dict[str, Any]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read_records(folder)

    def same(found: list[dict[str, Any]]) -> bool:
        return all(record in lines for record in found)

    assert try_alterations(folder / "metrics.jsonl", read, same, count).same == count


def test_an_altered_record_is_left_out_with_a_warning(tmp_path):
    lines = [{"kind": "iteration", "env_steps": i, "loss": 0.5} for i in (10, 20, 30)]
    file = tmp_path / "metrics.jsonl"
    file.write_text("".join(map(line_of, lines)).replace('"env_steps": 20', '"env_steps": 21'))
    with pytest.warns(UserWarning, match=rf"line 2 of {file} was altered and is left out"):
        assert read_records(tmp_path) == [lines[0], lines[2]]
    file.write_text("[1]\n")
    with pytest.warns(UserWarning, match=rf"line 1 of {file} was altered and is left out"):
        assert read_records(tmp_path) == []
    file.write_text(line_of(lines[0]).replace('"crc"', '"#rc"'))  # none of the others has a checksum, either
    with pytest.warns(UserWarning, match=rf"line 1 of {file} was altered and is left out"):
        assert read_records(tmp_path) == []
    file.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"kind": "it')  # of before, and cut short
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_records(tmp_path) == lines


@pytest.mark.ci
@pytest.mark.parametrize("count", [4, pytest.param(60, marks=pytest.mark.full)])
def test_checkpoints(tmp_path, count):
    """Every file of one, each opened anew; of what orbax keeps for itself nothing but the names matters."""
    whole, state = tmp_path / "whole", jax.jit(init)(jax.random.key(5))
    checkpoints = Checkpoints(whole)
    checkpoints.save(state, Progress(1, 16))
    checkpoints.close()
    refused, copy = 0, tmp_path / "copy"
    for file in sorted(path for path in whole.rglob("*") if path.is_file()):
        shutil.copytree(whole, copy)
        outcome = try_alterations(
            copy / file.relative_to(whole), lambda: restored(copy), lambda found: is_same(found, state), count
        )
        refused += outcome.refused > 0
        shutil.rmtree(copy)
    assert refused > 1


def restored(folder: Path) -> Small | None:
    checkpoints = Checkpoints(folder)
    try:
        found = checkpoints.restore(init)
    finally:
        checkpoints.close()
    return None if found is None else found[0]


def is_same(found: Small | None, expected: Small) -> bool:
    if found is None:  # it does not count any more
        return True
    assert_bitwise_equal(found, expected)
    return True


@each_count
def test_files_of_the_cache(tmp_path, monkeypatch, count):
    """Traces, tables and settled states: what was altered is not there."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    content = np.arange(100.0)
    cache.write_arrays("traces/x", {"content": content})

    def read() -> dict[str, np.ndarray] | None:
        return cache.read_arrays("traces/x")

    def same(found: dict[str, np.ndarray] | None) -> bool:
        return found is None or np.array_equal(found["content"], content)

    try_alterations(tmp_path / "mjx-metaworld" / "traces" / "x", read, same, count)


@each_count
def test_notes_of_datasets(tmp_path, count):
    """Their errors; a number that became another shows when the episode is simulated again."""
    pytest.importorskip("pyarrow")
    from mjx_metaworld.view.dataset import read_episodes

    note_episode(tmp_path, "reach-v3", np.arange(6.0))
    try_alterations(tmp_path / NOTES, lambda: read_episodes(tmp_path, 1), lambda found: True, count)


# --- no code is run ---


def test_a_run_that_names_a_module_imports_nothing(tmp_path, monkeypatch, capsys):
    """A module of this name lies beside the run, where `python -m` would find it."""
    (tmp_path / "lying_in_wait.py").write_text("import builtins\nbuiltins.was_run = True\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    folder = write_run(tmp_path / "run", {"reach-v3": [0.25]})
    data = json.loads((folder / "run.json").read_text())
    data["config"]["randomise"] = ["lying_in_wait:term"]
    data["config"]["tasks"] = "reach-v3"
    del data["digest"]  # as who means harm would
    (folder / "run.json").write_text(json.dumps(data))
    (folder / "checkpoints").mkdir()
    assert read_run(folder).config.randomise == ("lying_in_wait:term",)
    for command in (["compare", str(folder)], ["eval", str(folder)], ["view", str(folder)]):
        with pytest.raises(SystemExit):
            cli.main(command)
    told = capsys.readouterr().err
    assert "opening a run imports nothing: import it before, on the command line by --import lying_in_wait" in told
    assert "lying_in_wait" not in sys.modules
    assert not hasattr(builtins, "was_run")


@pytest.mark.parametrize(
    "named",
    [
        ["os", "system"],
        ["mjx_metaworld.__main__", "main"],
        ["mjx_metaworld.cli.main", "main"],
        ["mjx_metaworld.processes.forks", "os"],
        ["subprocess", "Popen"],
    ],
)
def test_a_description_makes_nothing_but_structs(named, monkeypatch):
    monkeypatch.setattr(os, "system", lambda *args: pytest.fail("it was called"))
    with pytest.raises(ValueError, match=r"no struct|no description"):
        archive.rebuild({"struct": [*named, {}]}, [])


def test_arrays_of_objects_are_not_unpickled(tmp_path):
    path = tmp_path / "some.npz"
    np.savez(path, description=np.array([Path("x"), None], object))
    with pytest.raises(ValueError, match=r"no trajectory: .*(Object arrays|allow_pickle)"):
        mw.Trajectory.load(path)
