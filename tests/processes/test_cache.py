"""Files that are kept for the next process: whole or not there, bounded, switched off, cleared."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time

import numpy as np
import pytest

from mjx_metaworld.processes import archive, cache
from mjx_metaworld.types import Metrics


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "kept"))
    return cache.cache_folder()


def test_files_of_others_in_the_named_folder_stay(folder, monkeypatch):
    monkeypatch.setattr(cache, "MAX_BYTES", 0)
    mine = folder.parent / "thesis" / "results.csv"
    mine.parent.mkdir(parents=True)
    mine.write_text("1")
    os.utime(mine, (0, 0))
    cache.write_bytes("tables/x", b"makes room, and is too large")
    assert cache.cached_files() == []
    cache.write_bytes("tables/y", b"content")
    cache.clear_cache()
    assert mine.read_text() == "1"


def test_a_relative_folder_stays_where_it_was_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(cache.VARIABLE, "kept")
    folder = cache.cache_folder()
    assert folder == tmp_path / "kept" / "mjx-metaworld"


def test_what_is_written_is_read(folder):
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array(True)}
    cache.write_arrays("tables/x", arrays)
    read = cache.read_arrays("tables/x")
    assert read is not None
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
    assert cache.read_bytes("tables/y") is None
    assert folder.stat().st_mode & 0o077 == 0 or os.name == "nt", "others could write programs there"


@pytest.mark.parametrize(
    "change", [lambda b: b"", lambda b: b[:-1], lambda b: b[:40] + b"?" + b[41:], lambda b: b + b"."]
)
def test_an_altered_file_counts_as_not_there(folder, change):
    cache.write_bytes("x", b"content of some length, so that there is a byte to change")
    (folder / "x").write_bytes(change((folder / "x").read_bytes()))
    assert cache.read_bytes("x") is None
    cache.write_bytes("x", b"new")
    assert cache.read_bytes("x") == b"new"


def test_no_pickle_is_loaded(folder, tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}], object), allow_pickle=True)
    cache.write_bytes("x", (tmp_path / "x.npy").read_bytes())
    assert cache.read_arrays("x") is None


def test_the_longest_unread_files_make_room(folder, monkeypatch):
    monkeypatch.setattr(cache, "MAX_BYTES", 400)
    for age, name in enumerate(("old", "middle", "new")):
        cache.write_bytes(name, bytes(100))
        os.utime(folder / name, (1e9 + age, 1e9 + age))
    cache.read_bytes("old")  # counts as used now
    cache.write_bytes("newest", bytes(100))
    assert {path.name for path in cache.cached_files()} == {"old", "new", "newest"}
    assert cache.cache_size() <= 400
    assert cache.clear_cache() == 3
    assert cache.cached_files() == []


@pytest.mark.parametrize("value", ["off", "OFF", "0"])
def test_the_cache_can_be_switched_off(monkeypatch, value):
    monkeypatch.setenv(cache.VARIABLE, value)
    cache.write_bytes("x", b"content")
    assert cache.cache_folder() is None
    assert cache.read_bytes("x") is None
    assert (cache.cached_files(), cache.cache_size(), cache.clear_cache()) == ([], 0, 0)


def test_an_unwritable_folder_does_no_harm(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file" / "kept"))
    cache.write_bytes("x", b"content")
    assert cache.read_bytes("x") is None


def test_a_tree_of_structs_comes_back():
    tree = (Metrics(*(np.float64(i) for i in range(7))), [None, "name", 1.5, True], (), {"b": {}, "a": [1]})
    leaves: list = []
    described = json.loads(json.dumps(archive.describe(tree, leaves)))
    again = archive.rebuild(described, leaves)
    assert again == tree
    assert type(again[0]) is Metrics


@pytest.mark.parametrize(
    "description",
    [
        {"struct": ["os", "system", {"command": {"value": "true"}}]},
        {"struct": ["mjx_metaworld.processes.cache", "clear_cache", {}]},
        {"struct": ["mjx_metaworld.processes.cache", "Path", {}]},
        {"struct": ["mjx_metaworld.types", "Metrics", {"no_such_field": {"value": 1}}]},
        {"leaf": 3},
        {"leaf": "a", "value": 1},
        {"value": []},
        {"call": "x"},
        [],
        None,
    ],
)
def test_only_structs_of_the_package_are_made(description):
    with pytest.raises(ValueError, match=r"no description|no struct"):
        archive.rebuild(description, [])


def test_other_objects_are_not_described():
    with pytest.raises(TypeError, match="cannot be kept"):
        archive.describe({1: 2}, [])


# --- several processes, and those that are killed ---

WRITES = """
import os, random, sys
from mjx_metaworld.processes import cache
rng = random.Random(os.getpid())
print("ready", flush=True)
for turn in range(int(sys.argv[1])):
    name = f"tables/{rng.randrange(4)}"
    cache.write_bytes(name, bytes([rng.randrange(256)]) * rng.randrange(1, 1_000_000))
    content = cache.read_bytes(name)
    assert content is None or len(set(content)) == 1, "half of one and half of another"
"""


def writer(turns: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITES, str(turns)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.full
def test_processes_that_write_the_same_files_read_whole_ones(folder):
    writers = [writer(300) for _ in range(3)]
    for process in writers:
        assert process.communicate()[1] == ""
        assert process.returncode == 0
    assert {path.name for path in cache.cached_files()} == {"0", "1", "2", "3"}


@pytest.mark.full
def test_a_kill_in_the_middle_of_a_write_leaves_whole_files_or_none(folder, monkeypatch):
    rng, left = random.Random(26), 0
    for _ in range(20):
        process = writer(1_000_000)
        time.sleep(rng.uniform(0.0, 0.1))
        process.kill()
        process.communicate()
        for path in cache.cached_files():
            if path.name.startswith(cache._TEMPORARY):
                left += 1
            else:
                content = cache.read_bytes(str(path.relative_to(folder)))
                assert content is not None
                assert len(set(content)) == 1
    assert left, "no kill came in the middle of a write"
    monkeypatch.setattr(cache, "MAX_BYTES", 0)
    cache.make_room()  # what is left is only a file that nobody reads
    assert cache.cached_files() == []
