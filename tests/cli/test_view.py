"""`mjx-metaworld view`: how it ends, whatever it is about."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest
from support.children import environment

from mjx_metaworld.cli import main as cli
from mjx_metaworld.processes import background

pytest.importorskip("viser")
from mjx_metaworld.cli import view

# A policy that takes long to compile, with numbers that no earlier program has.
SLOW = """
import time
import jax.numpy as jnp


def make(env):
    start = time.time()

    def policy(obs, task):
        x = obs
        for i in range(1500):
            x = jnp.sin(x * (start + i)) + jnp.sort(x)
        print("traced", flush=True)
        return x[:4]

    return policy
"""
KINEMATIC = """
import sys

from support.engines import default_engine

from mjx_metaworld.cli.main import main
from mjx_metaworld.testing import KinematicEngine

with default_engine(KinematicEngine):
    main(sys.argv[1:])
"""


class FakeViewer:
    """A page that is interrupted."""

    def __init__(self, *_: object) -> None:
        pass

    def run(self, seconds: float | None) -> None:
        raise KeyboardInterrupt


class FakeSource:
    """Something to be watched."""

    num_lanes = 3


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def ended(capsys) -> tuple[int | str | None, str]:
    """Exit code of the command, and what it has printed."""
    with pytest.raises(SystemExit) as end:
        cli.main(["view", "o/a[run]", "--port", "0", "--json"])
    said = capsys.readouterr()
    return end.value.code, said.out + said.err


def test_ctrl_c_while_it_loads_ends_it_as_other_commands(monkeypatch, capsys):
    monkeypatch.setattr(view, "open_source", interrupt)
    assert ended(capsys) == (cli.INTERRUPTED, "")


def test_ctrl_c_ends_the_page(monkeypatch, capsys):
    monkeypatch.setattr(view, "open_source", lambda *_: (FakeSource(), "some"))
    monkeypatch.setattr(view, "Viewer", FakeViewer)
    code, said = ended(capsys)
    assert code == 0
    assert " shows o/a[run]. Ctrl-C ends it.\n" in said
    assert "Ended." in said
    assert '"lanes": 3' in said


def test_a_process_does_not_wait_for_work_that_nobody_wants(monkeypatch):
    with pytest.raises(SystemExit) as end:
        background.leave(3)
    assert end.value.code == 3
    codes, enough = [], threading.Event()
    monkeypatch.setattr(background.os, "_exit", codes.append)
    work = background.Work(target=enough.wait, args=(10,))
    work.start()
    with pytest.raises(SystemExit):  # where os._exit returned
        background.leave(4)
    enough.set()
    work.join(10)
    assert codes == [4]
    assert not background.is_at_work()


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_in_the_midst_of_compiling(tmp_path, number):
    # In a process of its own, which was aborted from within XLA's compiler.
    (tmp_path / "slow.py").write_text(SLOW)
    command = [sys.executable, "-c", KINEMATIC, "view", "reach-v3", "--port", "0", "--policy", "slow:make"]
    process = subprocess.Popen(
        command, env=environment(), cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        assert process.stdout is not None
        lines = iter(process.stdout)
        assert "Ctrl-C ends it" in "".join(next(lines) for _ in range(2))  # after the check of the policy
        assert next(lines) == "traced\n"
        time.sleep(1.0)
        process.send_signal(number)
        said, _ = process.communicate(timeout=10)
        assert (process.returncode, said) == (0, "Ended.\n")
    finally:
        process.kill()
