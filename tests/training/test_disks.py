"""Disks that are full, small or read-only: one line that says so, and nothing lost that was whole."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.engines import KINEMATIC_PRELUDE
from support.training_probes import assert_bitwise_equal

from mjx_metaworld.training import load

pytestmark = [pytest.mark.full, pytest.mark.usefixtures("kinematic")]
ITERATIONS = 30
COMMAND = f"{KINEMATIC_PRELUDE}\nfrom mjx_metaworld.cli.main import main\nmain()"
SETTINGS = ["num_envs=8", "horizon=5", "episode_steps=20", "hidden=[64]", "minibatches=2"]


def command(*arguments: str, file_bytes: int = resource.RLIM_INFINITY) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, whose files may be so long."""
    limited = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({file_bytes},) * 2)\n{COMMAND}"
    return subprocess.run([sys.executable, "-c", limited, *arguments], capture_output=True, text=True, check=False)


def train(folder: Path, **options: int) -> subprocess.CompletedProcess[str]:
    steps = ["--env-steps", str(40 * ITERATIONS), "--eval-every", "100000", "--eval-goals", "1"]
    often = ["--checkpoint-every", "40", "--devices", "1", "--output", str(folder)]
    return command("train", "reach-v3", *steps, *often, "--set", *SETTINGS, **options)


def assert_told_in_one_line(ended: subprocess.CompletedProcess[str], *parts: str) -> None:
    lines = ended.stderr.splitlines()
    assert ended.returncode == 1, ended.stderr
    assert len(lines) == 1, ended.stderr
    assert lines[0].startswith("mjx-metaworld: error: ")
    assert all(part in lines[0] for part in parts), lines[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert train(folder).returncode == 0
    return folder


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A disk of its own, in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.geteuid() == 0 and shutil.which("mount") is not None
    if not mounted or subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)


@contextlib.contextmanager
def read_only(disk: Path) -> Iterator[None]:
    remount(disk, "ro")
    try:
        yield
    finally:
        remount(disk, "rw")


@pytest.mark.parametrize("size", ["300k", "500k", "700k"])
def test_a_full_disk_stops_a_run_that_goes_on_when_there_is_room(disk, whole, size):
    remount(disk, f"size={size}")
    run = disk / "run"
    assert_told_in_one_line(train(run), "cannot be written", "o space left")
    assert_told_in_one_line(train(run), "o space left")  # nor does it get worse
    remount(disk, "size=64m")
    assert train(run).returncode == 0
    assert_bitwise_equal(load(run).state, load(whole).state)


@pytest.mark.parametrize("file_bytes", [10_000, 4_000])
def test_files_that_may_not_be_as_long_stop_a_run_that_goes_on_without_the_limit(tmp_path, whole, file_bytes):
    run = tmp_path / "run"
    assert_told_in_one_line(train(run, file_bytes=file_bytes), "cannot be written")
    assert train(run).returncode == 0
    assert_bitwise_equal(load(run).state, load(whole).state)


def test_a_read_only_folder_is_read_and_not_trained_in(disk, whole):
    shutil.copytree(whole, disk / "run")
    with read_only(disk):
        assert_told_in_one_line(train(disk / "run"), "Read-only file system", str(disk))
        assert_bitwise_equal(load(disk / "run").state, load(whole).state)
        told = command("eval", str(disk / "run"), "--num-goals", "1", "--num-steps", "3")
        assert told.returncode == 0, told.stderr
        assert_told_in_one_line(train(disk / "another"), "Read-only file system", str(disk))
