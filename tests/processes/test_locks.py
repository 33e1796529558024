"""Folders that one process writes at a time."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mjx_metaworld.processes import locks
from mjx_metaworld.processes.locks import LockedError, exclusive

HOLDS = """
import sys, time
from pathlib import Path
from mjx_metaworld.processes.locks import exclusive
folder = Path(sys.argv[1])
with exclusive(folder, folder / "a.lock"):
    print("held", flush=True)
    time.sleep(600)
"""

FORKS = """
def look_after_a_fork(folder):
    import os
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        print(*os.listdir(folder))

"""


def test_a_second_holder_learns_of_the_first_and_a_kill_frees(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    file = tmp_path / "a.lock"
    with pytest.raises(LockedError, match=rf"{tmp_path} is in use: process {holder.pid} on .*another folder"):
        exclusive(tmp_path, file).__enter__()
    assert file.exists()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert file.exists()  # nobody removed it, and nobody holds it
    with exclusive(tmp_path, file), pytest.raises(LockedError, match=f"process {os.getpid()} on"):
        exclusive(tmp_path, file).__enter__()
    assert list(tmp_path.iterdir()) == []


def test_a_holder_that_removes_the_file_meanwhile_is_no_holder_any_more(tmp_path, monkeypatch):
    file, lock = tmp_path / "a.lock", locks._lock
    removed = []

    def lock_what_is_gone(descriptor: int, folder: Path) -> None:
        lock(descriptor, folder)
        if not removed:
            removed.append(file.unlink())

    monkeypatch.setattr(locks, "_lock", lock_what_is_gone)
    with exclusive(tmp_path, file):
        assert file.read_text().startswith(f"{os.getpid()} on ")
    assert removed == [None]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_fork_neither_keeps_the_lock_nor_removes_it(tmp_path):
    code = HOLDS.replace("time.sleep(600)", "look_after_a_fork(folder)").replace("folder = ", FORKS + "folder = ")
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout.split() == ["held", "a.lock"]
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch):
    def unsupported(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", unsupported)
    with pytest.warns(UserWarning, match="has no locks"), exclusive(tmp_path, tmp_path / "a.lock"):
        pass
    monkeypatch.setattr(locks, "fcntl", None)  # as on Windows
    with exclusive(tmp_path, tmp_path / "a.lock"):
        pass
