"""Pictures: through OpenGL where there is one, by ray casting anywhere."""

from __future__ import annotations

import subprocess
import warnings

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld import rendering
from mjx_metaworld.export import to_mujoco
from mjx_metaworld.raycast import raycast


@pytest.fixture(scope="module")
def env():
    return mw.make(["door-open-v3", "pick-place-v3"])


@pytest.fixture(scope="module")
def state(env):
    return jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 2), jnp.arange(2))


@pytest.fixture
def without_opengl(monkeypatch):
    monkeypatch.setattr(rendering, "_opengl", lambda: None)


def has_opengl() -> bool:
    with warnings.catch_warnings(action="ignore"):
        return rendering._opengl() is not None


def test_batch_of_pictures(env, state, without_opengl):
    images = rendering.render(env, state, width=64, height=48)
    assert images.shape == (2, 48, 64, 3)
    assert images.dtype == np.uint8
    assert images.std(axis=(1, 2, 3)).min() > 20  # no blank pictures
    assert not np.array_equal(images[0], images[1])


def test_single_state_is_a_batch_of_one(env, state, without_opengl):
    single = jax.tree.map(lambda x: x[1], state)
    images = rendering.render(env, single, camera="corner", width=32, height=32)
    np.testing.assert_array_equal(images, rendering.render(env, state, camera="corner", width=32, height=32)[1:])


def test_scenes_do_not_mix_in_opengl(env, state):
    if not has_opengl():
        pytest.skip("no OpenGL library on this machine")
    once = rendering.render(env, state, width=64, height=48)
    swapped = rendering.render(env, jax.tree.map(lambda x: x[::-1], state), width=64, height=48)
    np.testing.assert_array_equal(once, swapped[::-1])
    assert not np.array_equal(once[0], once[1])


def test_ray_caster_and_opengl_draw_the_same_scene(env, state):
    if not has_opengl():
        pytest.skip("no OpenGL library on this machine")
    for lane in range(2):
        model, data = to_mujoco(env, state, lane)
        camera = model.camera("corner2").id
        drawn = rendering._draw_opengl(env.tasks[lane].scene_spec, model, data, camera, 160, 160).astype(float)
        cast = raycast(model, data, camera, 160, 160).astype(float)
        # Shading differs (textures, shadows), outlines do not: brightness correlates over the pixels of the scene.
        # Shifting one picture by 8 pixels, the size of the error of a wrong field of view, breaks that.
        seen = cast.min(axis=-1) < 180
        assert np.corrcoef(drawn.mean(-1)[seen], cast.mean(-1)[seen])[0, 1] > 0.8
        shifted = np.roll(cast, 8, axis=1)
        assert np.corrcoef(drawn.mean(-1)[seen], shifted.mean(-1)[seen])[0, 1] < 0.7


def test_goal_is_drawn_where_it_is(env, state):
    model, data = to_mujoco(env, state, 1)
    camera = model.camera("corner3").id
    with_goal = raycast(model, data, camera, 120, 120).astype(int)
    model.site("goal").rgba = (0, 0, 0, 0)
    rows, columns = np.nonzero(np.abs(with_goal - raycast(model, data, camera, 120, 120)).sum(-1))
    local = data.cam_xmat[camera].reshape(3, 3).T @ (state.episode.goal[1] - data.cam_xpos[camera])
    focal = 60 / np.tan(np.deg2rad(model.cam_fovy[camera]) / 2)
    expected = np.array([60 - focal * local[1] / -local[2], 60 + focal * local[0] / -local[2]])
    # The marker is a few pixels wide and seen whole; its middle is known to about a pixel.
    np.testing.assert_allclose([rows.mean() + 0.5, columns.mean() + 0.5], expected, atol=1.5)


def test_unknown_camera_lists_the_cameras(env, state, without_opengl):
    with pytest.raises(ValueError, match=r"'nowhere'.*topview.*corner2"):
        rendering.render(env, state, camera="nowhere")


@pytest.mark.parametrize("size", [{"width": 0}, {"height": -5}, {"width": 10_000}, {"height": 12.5}])
def test_bad_sizes_are_refused(env, state, size):
    name = next(iter(size))
    with pytest.raises(ValueError, match=name):
        rendering.render(env, state, **size)


def test_missing_libraries_are_named(monkeypatch):
    def fail(command, **_):
        return subprocess.CompletedProcess(command, 1, "", "Traceback\nImportError: no such library")

    monkeypatch.setattr(subprocess, "run", fail)
    monkeypatch.setattr("platform.system", lambda: "Linux")
    with pytest.warns(UserWarning, match=r"libosmesa6.*egl: ImportError.*osmesa: ImportError"):
        assert rendering._opengl.__wrapped__() is None


def test_exported_model_is_a_copy(env, state):
    model, _ = to_mujoco(env, state, 0)
    model.geom_rgba[:] = 0
    assert np.any(to_mujoco(env, state, 0)[0].geom_rgba)
    assert isinstance(model, mujoco.MjModel)
