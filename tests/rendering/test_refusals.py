"""Pictures on the device that cannot be drawn: every way to ask for them says why, and what to do."""

from __future__ import annotations

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld.rendering.render import backend_of, free_lookats, render
from mjx_metaworld.testing import KinematicEngine

warp = pytest.importorskip("warp")


@pytest.fixture(scope="module")
def env():
    return mw.make("reach-v3", engine=KinematicEngine)


@pytest.fixture(scope="module")
def state(env):
    return jax.jit(env.reset)(jax.random.key(0))


def by_gymnasium(env, state):
    from mjx_metaworld.adapters.gymnasium import make_mt

    make_mt("reach-v3", pixels=mw.Pixels(), num_goals=1)


WAYS = {
    "mw.camera": lambda env, state: mw.camera(env),
    "mw.make": lambda env, state: mw.make("reach-v3", engine=KinematicEngine, pixels=mw.Pixels()),
    "mw.render": lambda env, state: render(env, state, backend="device"),
    "an environment's renderer": lambda env, state: backend_of("device"),
    "gymnasium": by_gymnasium,
}


@pytest.fixture(params=WAYS)
def ask(request, env, state):
    return lambda: WAYS[request.param](env, state)


def test_a_missing_extra_is_named(ask, monkeypatch):
    monkeypatch.setitem(sys.modules, "mjx_metaworld.rendering.device.bridge", None)
    if "mjx_metaworld.rendering.device" in sys.modules:
        monkeypatch.delattr(sys.modules["mjx_metaworld.rendering.device"], "bridge", raising=False)
    with pytest.raises(ImportError, match=r"pip install .*\[pixels\]"):
        ask()
    assert backend_of("auto") is None  # OpenGL's turn


def test_a_gpu_without_cuda_for_warp_is_named(ask, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(warp, "get_cuda_device_count", lambda: 0)
    with pytest.raises(RuntimeError, match=r"Warp finds no CUDA device.*mw\.render draws on the host"):
        ask()
    assert backend_of("auto") is None


@pytest.mark.parametrize("size", [0, 4097, 2.5])
def test_sizes_that_cannot_be_are_refused(env, state, size):
    ways = (
        lambda: mw.camera(env, "corner2", size, 8),
        lambda: mw.Pixels("corner2", size, 8),
        lambda: render(env, state, width=size, backend="device"),
    )
    for ask in ways:
        with pytest.raises(ValueError, match="width must be an integer from 1 to 4096, got"):
            ask()


def test_unknown_cameras_are_refused(env, state):
    ways = (
        lambda: mw.camera(env, ("corner2", "side")),
        lambda: mw.Pixels(("corner2", "side")),
        lambda: render(env, state, "side", backend="device"),
    )
    for ask in ways:
        with pytest.raises(ValueError, match="no camera 'side'; available: topview, corner"):
            ask()
    with pytest.raises(ValueError, match="segmentation by 'colour'; available: geom, body"):
        mw.Pixels(segmentation="colour")


def test_places_that_cannot_be_are_refused(env, state):
    ways = (
        lambda place: mw.camera(env, camera_pos=place),
        lambda place: mw.Pixels(camera_pos=place),
        lambda place: render(env, state, camera_pos=place, backend="raycast"),
    )
    for place, reason in (
        (1.0, r"have shape \(3,\), got \(\)"),
        ((1.0, 2.0), r"have shape \(3,\), got \(2,\)"),
        ((np.nan, 0.0, 0.0), r"be three finite numbers, got \(nan, 0.0, 0.0\)"),
        (("a", "b", "c"), r"be three finite numbers, got \('a', 'b', 'c'\)"),
    ):
        for ask in ways:
            with pytest.raises(ValueError, match=f"camera_pos must {reason}"):
                ask(place)


@pytest.mark.parametrize("backend", ["raycast", "device"])
def test_what_would_be_ignored_is_refused(env, state, backend):
    with pytest.raises(ValueError, match=r"the free camera takes .*lookat, and no camera_pos, got \(0.0, 0.0, 3.0\)"):
        render(env, state, "free", camera_pos=(0.0, 0.0, 3.0), backend=backend)
    with pytest.raises(ValueError, match=r"zbuffer .* needs depth=True"):
        render(env, state, zbuffer=True, backend=backend)


@pytest.mark.parametrize("point", [[np.nan] * 3, [0.0, np.inf, 0.0], ["a", "b", "c"]])
def test_points_to_look_at_must_be_finite(env, state, point):
    with pytest.raises(ValueError, match=r"lookat must be finite numbers, got \["):
        render(env, state, "free", 8, 8, lookat=point, backend="raycast")


@pytest.mark.parametrize("names", [{"corner2", "topview"}, frozenset({"corner2"})])
def test_cameras_without_an_order_are_refused(env, names):
    for ask in (lambda: mw.camera(env, names), lambda: mw.Pixels(names)):
        with pytest.raises(TypeError, match="camera must be a name or a sequence of names, got"):
            ask()


@pytest.mark.parametrize("task", ["reach-v3", -1, 1, 0.0, None])
def test_slots_are_of_one_of_the_tasks(env, task):
    draw = mw.camera(env, "corner2", 8, 8)
    assert len(draw.slots(np.int32(0))) == draw.num_slots
    with pytest.raises(ValueError, match="task must be an integer from 0 to 0, got"):
        draw.slots(task)


def test_a_tint_is_a_list_or_of_integers_too(env, state):
    draw = mw.camera(env, "corner2", 8, 8)
    tints = np.ones((draw.num_slots, 3)), np.ones((draw.num_slots, 3), int), [[1, 1, 1]] * draw.num_slots
    expected, *others = (draw(state, tint=tint) for tint in tints)
    for other in others:
        np.testing.assert_array_equal(other, expected)


@pytest.mark.parametrize("task", [-1, 1])
def test_states_of_other_tasks_are_refused(env, state, task):
    other = state.replace(task=np.int32(task))
    ways = (
        lambda: render(env, other, backend="raycast"),
        lambda: render(env, other, backend="device"),
        lambda: free_lookats(env, other),
        lambda: mw.to_mujoco(env, other),
    )
    for ask in ways:
        with pytest.raises(ValueError, match=rf"task must be in 0\.\.0, got {task}"):
            ask()


# In a process of its own, in which Warp has not begun. A file stands where a folder should be, since whoever may write
# everywhere, as tests in a container may, cannot be refused otherwise.
UNWRITABLE = """
import os, pathlib, shutil, sys
from mjx_metaworld.rendering.camera import check_available
import warp

def refusal():
    try:
        check_available()
    except RuntimeError as error:
        print(error)

folder = pathlib.Path(sys.argv[1])
(folder / "file").write_text("")
os.environ["WARP_CACHE_PATH"] = str(folder / "file" / "cache")
refusal()
os.environ["WARP_CACHE_PATH"], warp.config.kernel_cache_dir = str(folder / "cache"), None
warp.config.quiet = True
warp.init()
cache = pathlib.Path(warp.config.kernel_cache_dir)
shutil.rmtree(cache)
cache.write_text("")
refusal()
"""


@pytest.mark.ci
def test_a_folder_for_kernels_that_cannot_be_written_is_named(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", UNWRITABLE, str(tmp_path)], capture_output=True, text=True, env=os.environ, check=False
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    lines = [line for line in ended.stdout.splitlines() if line.startswith("Warp cannot keep its compiled kernels in")]
    assert len(lines) == 2, ended.stdout
    for line, name in zip(lines, ("file/cache", "cache"), strict=True):
        assert f"in {tmp_path / name}" in line
        assert "Not a directory" in line
        assert line.endswith("set WARP_CACHE_PATH to a folder that it can write")


def test_pictures_of_nothing_are_an_empty_array(env):
    none = jax.eval_shape(jax.vmap(env.reset), jax.random.split(jax.random.key(0), 2))
    none = jax.tree.map(lambda x: np.zeros((0, *x.shape[1:]), x.dtype), none)
    assert render(env, none, width=8, height=6, backend="device").shape == (0, 6, 8, 3)
