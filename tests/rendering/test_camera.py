"""Cameras as pure functions: the same pictures as OpenGL's, under every transform, and clear refusals."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld.parity.pixels import compare_pixels, psnr, ssim
from mjx_metaworld.rendering import camera as cameras
from mjx_metaworld.rendering.render import CAMERAS, backend_of, choose_backend, render
from mjx_metaworld.testing import KinematicEngine

pytestmark = pytest.mark.skipif(not find_spec("warp"), reason="warp is not installed")

TASKS = ("pick-place-v3", "window-open-v3", "drawer-open-v3")  # opaque, glass, a part that moves
SIZE = 64


@pytest.fixture(scope="module")
def env():
    return mw.make(TASKS, engine=KinematicEngine)


@pytest.fixture(scope="module")
def state(env):
    return jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 4), jnp.arange(4) % 3)


@pytest.fixture(scope="module")
def draw(env):
    return mw.camera(env, "corner2", SIZE, SIZE)


@pytest.fixture(scope="module")
def pictures(draw, state):
    return np.asarray(jax.jit(jax.vmap(draw))(state))


@pytest.fixture(scope="module")
def opengl():
    if (backend := choose_backend()) == "raycast":
        pytest.skip("no OpenGL library on this machine")
    return backend


# --- what it looks like ---


@pytest.mark.ci
@pytest.mark.parametrize("camera", ["corner2", pytest.param("gripperPOV", marks=pytest.mark.full)])
def test_pictures_are_opengls(env, opengl, camera):
    for agreement in compare_pixels(TASKS, env=env, sizes=(SIZE,), cameras=(camera,), num_steps=1):
        assert agreement.psnr > 30.0, agreement
        assert agreement.ssim > 0.95, agreement
        assert agreement.depth > 0.99, agreement
        assert agreement.labels > 0.985, agreement


@pytest.mark.ci
def test_a_state_that_is_nan_shows_what_never_moves_and_leaves_the_others_alone(draw, state, pictures):
    def broken(x):
        return x.at[1].set(jnp.nan) if jnp.issubdtype(x.dtype, jnp.floating) else x

    found = np.asarray(jax.jit(jax.vmap(draw))(jax.tree.map(broken, state)))
    same = np.all(found == pictures, axis=-1)
    assert np.all(same[[0, 2, 3]])
    assert 0.5 < same[1].mean() < 1.0


def test_a_camera_that_is_nowhere_leaves_the_others_alone(env, state):
    draw = jax.jit(jax.vmap(lambda one, pos: mw.camera(env, "corner2", SIZE, SIZE)(one, camera_pos=pos)))
    pos = jnp.array([[1.3, -0.2, 1.1]] * 4)
    whole, partly = np.asarray(draw(state, pos)), np.asarray(draw(state, pos.at[1].set(jnp.nan)))
    np.testing.assert_array_equal(partly[[0, 2, 3]], whole[[0, 2, 3]])
    assert not np.array_equal(partly[1], whole[1])


@pytest.mark.full
@pytest.mark.parametrize("camera", CAMERAS)
def test_all_tasks_pictures_are_opengls(opengl, camera):
    env = mw.make("MT50", engine=KinematicEngine)
    found = compare_pixels("MT50", env=env, sizes=(128,), cameras=(camera,), num_steps=1)
    assert np.mean([a.psnr for a in found]) >= 32.0
    assert np.mean([a.ssim for a in found]) >= 0.95
    assert min(a.psnr for a in found) >= 28.0
    assert np.mean([a.depth for a in found]) >= 0.99
    assert np.mean([a.labels for a in found]) >= 0.99


def test_what_never_moves_is_drawn_alike_once_and_each_time(env, draw, state, pictures):
    own_place = (1.3, -0.2, 1.1)  # corner2's, given as if it moved
    anew = jax.jit(jax.vmap(lambda s: draw(s, camera_pos=jnp.array(own_place))))(state)
    assert psnr(np.asarray(anew), pictures) > 40.0
    placed = mw.camera(env, "corner2", SIZE, SIZE, camera_pos=own_place)
    np.testing.assert_array_equal(jax.jit(jax.vmap(placed))(state), pictures)


def test_similarity_of_a_picture_with_itself_and_with_noise():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    assert ssim(image, image) == pytest.approx(1.0)
    assert ssim(image, 255 - image) < 0.0
    assert psnr(image, image) > 100.0


# --- transforms ---


def test_one_environment_is_drawn_as_in_a_batch(draw, state, pictures):
    one = jax.tree.map(lambda x: x[1], state)
    np.testing.assert_array_equal(jax.jit(draw)(one), pictures[1])


def test_nested_vmap_and_scan_draw_the_same(draw, state, pictures):
    twice = jax.tree.map(lambda x: x.reshape(2, 2, *x.shape[1:]), state)
    nested = jax.jit(jax.vmap(jax.vmap(draw)))(twice)
    np.testing.assert_array_equal(np.reshape(nested, pictures.shape), pictures)
    scanned = jax.jit(lambda s: jax.lax.scan(lambda c, one: (c, draw(one)), 0, s)[1])(state)
    np.testing.assert_array_equal(scanned, pictures)


def test_a_gradient_passes_a_picture_by(env, draw, state):
    one = jax.tree.map(lambda x: x[0], state)

    def brightness(height):
        moved = one.replace(physics=one.physics.replace(mocap_pos=one.physics.mocap_pos.at[2].set(height)))
        return draw(moved).astype(jnp.float32).mean() + height

    assert jax.jit(jax.grad(brightness))(0.2) == pytest.approx(1.0)


def test_several_cameras_have_an_axis(env, draw, state, pictures):
    both = mw.camera(env, ("topview", "corner2"), SIZE, SIZE, depth=True, segmentation="body")
    views = jax.jit(jax.vmap(both))(state)
    assert views.color.shape == (4, 2, SIZE, SIZE, 3)
    assert views.depth.shape == views.label.shape == (4, 2, SIZE, SIZE)
    np.testing.assert_array_equal(views.color[:, 1], pictures)
    assert np.isinf(views.depth).sum() == (np.asarray(views.label) == -1).sum()


def test_colours_and_poses_may_differ_from_lane_to_lane(draw, state, pictures):
    floor = next(i for i, name in enumerate(draw.slots(0)) if "floor" in name)
    tint = jnp.ones((4, draw.num_slots, 3)).at[1:, floor].set(jnp.array([1.0, 0.0, 0.0]))
    tinted = np.asarray(jax.jit(jax.vmap(lambda s, t: draw(s, tint=t)))(state, tint))
    assert psnr(tinted[0], pictures[0]) > 40.0
    red = np.asarray(tinted[1:].astype(int).sum((0, 1, 2)))
    assert red[0] > 1.3 * red[1]
    places = jnp.array([[1.3, -0.2, 1.1], [0.9, 0.0, 1.5], [1.3, -0.2, 1.1], [1.3, -0.2, 1.1]])
    moved = np.asarray(jax.jit(jax.vmap(lambda s, p: draw(s, camera_pos=p)))(state, places))
    assert psnr(moved[1], pictures[1]) < 20.0 < 40.0 < psnr(moved[2], pictures[2])


# --- beside mw.render ---


def test_render_draws_on_the_device(env, state, pictures):
    drawn = render(env, state, "corner2", SIZE, SIZE, backend="device")
    np.testing.assert_array_equal(drawn, pictures)
    few = jax.tree.map(lambda x: x[:3].reshape(1, 3, *x.shape[1:]), state)
    assert render(env, few, "corner2", SIZE, SIZE, backend="device", depth=True).shape == (1, 3, SIZE, SIZE)
    assert backend_of("auto") == "device"
    assert backend_of("opengl") is None


# --- refusals ---


def test_bad_requests_are_refused(env, draw, state):
    with pytest.raises(ValueError, match="no camera 'side'; available: topview"):
        mw.camera(env, "side")
    with pytest.raises(ValueError, match="no camera named"):
        mw.camera(env, ())
    with pytest.raises(ValueError, match="width"):
        mw.camera(env, "corner2", 0, SIZE)
    with pytest.raises(ValueError, match="segmentation by 'colour'"):
        mw.camera(env, "corner2", segmentation="colour")
    with pytest.raises(ValueError, match=r"vmap it over axes \(4,\)"):
        draw(state)
    with pytest.raises(TypeError, match="not a dict"):
        draw({})
    one = jax.tree.map(lambda x: x[0], state)
    with pytest.raises(ValueError, match=r"tint must have shape \(\d+, 3\), got \(2, 3\)"):
        jax.eval_shape(draw, one, tint=jnp.ones((2, 3)))
    with pytest.raises(ValueError, match=r"camera_pos must have shape \(3,\), got \(2,\)"):
        jax.eval_shape(draw, one, camera_pos=jnp.ones(2))
    with pytest.raises(ValueError, match="unknown renderer 'vulkan'"):
        backend_of("vulkan")


def test_a_missing_extra_is_named(env, monkeypatch):
    monkeypatch.setitem(sys.modules, "mjx_metaworld.rendering.device.bridge", None)
    monkeypatch.delattr(sys.modules["mjx_metaworld.rendering.device"], "bridge", raising=False)
    with pytest.raises(ImportError, match=r"pip install .*\[pixels\]"):
        mw.camera(env)


def test_platforms_that_cannot_draw_are_named(monkeypatch):
    from mjx_metaworld.rendering.device import bridge

    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    with pytest.raises(RuntimeError, match="JAX computes on 'tpu' here"):
        bridge.check_device()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr("warp.get_cuda_device_count", lambda: 0)
    with pytest.raises(RuntimeError, match="Warp finds no CUDA device"):
        bridge.check_device()
    monkeypatch.undo()

    def refuse(device):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(bridge, "load_kernels", refuse)
    with pytest.raises(RuntimeError, match=r"Permission denied.*set WARP_CACHE_PATH"):
        bridge.check_device()


def test_every_camera_of_render_is_one_here(env):
    assert cameras.CAMERAS == CAMERAS
