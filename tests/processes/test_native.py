"""Kernels in C++: compiled once a machine, read again, and left out with a reason where they cannot be made."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from mjx_metaworld.physics.backends.cpu.newton import KERNEL
from mjx_metaworld.processes import native

WORKING = native.compiler() or ()
needs_compiler = pytest.mark.skipif(not WORKING, reason="there is no compiler of C++")


@pytest.fixture(autouse=True)
def asked_anew(tmp_path, monkeypatch):
    """An empty cache, and nothing known of any kernel."""
    monkeypatch.setenv("MJX_METAWORLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(native, "_register", lambda kernel, library: None)
    native._hindrance.cache_clear()
    yield
    native._hindrance.cache_clear()


def script(folder: Path, text: str) -> str:
    """A compiler of this text."""
    path = folder / "own-c++"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_without_a_compiler_the_reason_says_what_was_looked_for(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert KERNEL.hindrance() == "there is no compiler of C++ (looked for the variable CXX, c++, g++, clang++)"


@pytest.mark.parametrize("chosen", ["nonsense++ -pipe", "'g++"])
def test_a_command_that_is_none_is_quoted(monkeypatch, chosen):
    monkeypatch.setenv("CXX", chosen)
    assert KERNEL.hindrance() == f"there is no compiler of C++ (the variable CXX gives {chosen!r})"


@needs_compiler
def test_a_command_of_several_words_compiles(monkeypatch, tmp_path):
    source = tmp_path / "little.cpp"
    source.write_text("#ifndef ASKED\n#error not asked\n#endif\n")
    wrapper = script(tmp_path, 'exec "$@"')
    for command in ((*WORKING, "-pipe", "-DASKED"), (wrapper, *WORKING, "-DASKED=two words")):
        monkeypatch.setenv("CXX", shlex.join(command))
        assert native.compiler() == command
        native._hindrance.cache_clear()
        assert native.NativeKernel(source).hindrance() == ""
    kept = tmp_path / "cache" / "mjx-metaworld" / "kernels"
    assert len(list(kept.iterdir())) == 2  # since flags may change what is compiled


def test_a_compiler_in_a_folder_with_a_space_is_found(monkeypatch, tmp_path):
    folder = tmp_path / "own tools"
    folder.mkdir()
    tool = script(folder, "exit 0")
    monkeypatch.setenv("CXX", tool)
    assert native.compiler() == (tool,)


def test_a_compiler_that_fails_is_quoted(monkeypatch, tmp_path):
    tool = script(tmp_path, "echo 'unknown argument: -march=native' >&2; exit 1")
    monkeypatch.setenv("CXX", tool)
    assert KERNEL.hindrance() == f"{tool} does not compile newton.cpp: unknown argument: -march=native"


def test_a_compiler_that_makes_nothing_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", script(tmp_path, "exit 0"))
    assert "makes no kernel of newton.cpp that runs" in KERNEL.hindrance()


@needs_compiler
def test_what_was_compiled_is_read_again_unless_it_was_altered(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(native, "_compile", lambda kernel, tool: calls.append(tool) or b"a library")
    for _ in range(2):
        native._hindrance.cache_clear()
        assert KERNEL.hindrance() == ""
    assert len(calls) == 1
    (kept,) = (tmp_path / "cache" / "mjx-metaworld" / "kernels").iterdir()
    kept.write_bytes(kept.read_bytes()[:-1])
    native._hindrance.cache_clear()
    assert KERNEL.hindrance() == ""
    assert len(calls) == 2


@needs_compiler
def test_a_kernel_of_another_source_has_another_name(tmp_path):
    other = tmp_path / "newton.cpp"
    other.write_text(KERNEL.source.read_text() + "\n")
    assert native.NativeKernel(other).target() != KERNEL.target()


@pytest.mark.full  # since compilers to come may warn of more
@needs_compiler
def test_the_source_compiles_without_a_warning(tmp_path):
    command = [*WORKING, *native._FLAGS, "-Wall", "-Wextra", "-Werror", f"-I{native.jax.ffi.include_dir()}"]
    command = [x for x in command if x != "-O3"]
    made = subprocess.run([*command, str(KERNEL.source), "-o", str(tmp_path / "x.so")], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
