"""Pictures: the reference's own, through OpenGL where there is one, by ray casting anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld.parity.pictures import VISIBLE, picture_differences
from mjx_metaworld.rendering import opengl
from mjx_metaworld.rendering import render as rendering
from mjx_metaworld.rendering.marks import goal_mark
from mjx_metaworld.rendering.raycast import raycast
from mjx_metaworld.rendering.render import CAMERAS, free_lookats, list_cameras, render
from mjx_metaworld.rendering.to_mujoco import find_goal_site, to_mujoco
from mjx_metaworld.scenes.catalog import SCENES, load_scene
from mjx_metaworld.suites import resolve
from mjx_metaworld.tasks import task
from mjx_metaworld.testing import KinematicEngine

# The reference marks the goal beside itself (door-open), at a site of its own (coffee-pull).
QUICK = ("door-open-v3", "coffee-pull-v3")
EACH_TASK = [
    name if name == QUICK[0] else pytest.param(name, marks=pytest.mark.ci if name in QUICK else pytest.mark.full)
    for name in mw.list_tasks()
]
SIZE = {"width": 160, "height": 120}


@pytest.fixture(scope="module")
def env():
    return mw.make(["door-open-v3", "pick-place-v3"])


@pytest.fixture(scope="module")
def state(env):
    return jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 4), jnp.arange(4) % 2)


@pytest.fixture(scope="module")
def backend():
    """What this machine draws with by default."""
    with warnings.catch_warnings(action="ignore"):
        return rendering._first_that_works()


@pytest.fixture
def any_opengl(backend):
    if backend == "raycast":
        pytest.skip("no OpenGL library on this machine")
    return backend


# --- the same picture as the reference's ---


@pytest.mark.parametrize("name", EACH_TASK)
def test_pictures_are_the_reference_environments(name, backend):
    for d in picture_differences(name, backend, **SIZE):
        print(f"{name}, {d.camera}: largest difference {d.largest}, {d.visible} of {d.pixels} pixels above {VISIBLE}")
        # float32 positions move an edge by 1e-6 m: a pixel that it crosses takes a little more of one side's colour. A
        # goal's mark at another place is some ten pixels off by 100 and more.
        assert d.visible <= 4, d
        assert d.largest < 80, d


# --- shapes, cameras, threads ---


def test_leading_axes_are_the_states(env, state):
    batch = render(env, state, width=64, height=48, backend="raycast")
    assert batch.shape == (4, 48, 64, 3)
    assert batch.dtype == np.uint8
    assert batch.std(axis=(1, 2, 3)).min() > 20  # no blank pictures
    assert not np.array_equal(batch[0], batch[1])
    single = jax.tree.map(lambda x: x[1], state)
    np.testing.assert_array_equal(render(env, single, width=64, height=48, backend="raycast"), batch[1])
    # Every leaf is reshaped by its leading axis: two moments of two lanes.
    trajectory = jax.tree.map(lambda x: x.reshape(2, 2, *x.shape[1:]), state)
    drawn = render(env, trajectory, width=64, height=48, backend="raycast")
    np.testing.assert_array_equal(drawn, batch.reshape(2, 2, 48, 64, 3))


def test_every_scene_has_every_camera():
    assert list_cameras() == list(CAMERAS)
    for scene in SCENES[::9]:
        model = load_scene(scene)
        assert {model.camera(i).name for i in range(model.ncam)} == set(CAMERAS)


def test_cameras_differ(env, state):
    lane = jax.tree.map(lambda x: x[0], state)
    pictures = [render(env, lane, camera, 32, 32, backend="raycast") for camera in list_cameras()]
    assert len({picture.tobytes() for picture in pictures}) == len(CAMERAS)


def test_a_moved_camera_moves_only_that_picture(env, state):
    lane = jax.tree.map(lambda x: x[0], state)
    size = {"width": 32, "height": 32, "backend": "raycast"}
    before = render(env, lane, "corner2", **size)
    depth, nearer = (
        render(env, lane, "corner2", depth=True, camera_pos=pos, **size) for pos in (None, (0.9, 0.0, 0.9))
    )
    assert nearer.min() < depth.min() - 0.05  # the scene's own is at (1.3, -0.2, 1.1), and looks at the table
    np.testing.assert_array_equal(render(env, lane, "corner2", **size), before)


@pytest.mark.ci
def test_threads_draw_the_same_and_report_every_picture(env, state, backend):
    drawn = []
    alone = render(env, state, width=64, height=48, num_threads=1, on_picture=lambda: drawn.append(1))
    together = render(env, state, width=64, height=48, num_threads=3, on_picture=lambda: drawn.append(1))
    np.testing.assert_array_equal(alone, together)
    assert len(drawn) == 8


def test_a_progress_bar_counts_the_pictures(env, state, capsys):
    drawn = []
    render(env, state, width=16, height=12, backend="raycast", progress=True, on_picture=lambda: drawn.append(1))
    assert len(drawn) == 4
    said = capsys.readouterr()
    assert said.out == ""
    assert "4/4" in said.err


def test_scenes_do_not_mix(env, state):
    once = render(env, state, width=64, height=48)
    swapped = render(env, jax.tree.map(lambda x: x[::-1], state), width=64, height=48)
    np.testing.assert_array_equal(once, swapped[::-1])


def test_an_error_in_a_thread_reaches_the_caller(env, state):
    def fail():
        raise KeyError("from the callback")

    with pytest.raises(KeyError, match="from the callback"):
        render(env, state, width=16, height=16, backend="raycast", num_threads=2, on_picture=fail)
    assert render(env, state, width=16, height=16, backend="raycast").shape == (4, 16, 16, 3)  # the threads live on


@pytest.mark.full
def test_contexts_are_freed_when_the_process_ends(any_opengl):
    code = (
        "import mujoco; from mjx_metaworld.rendering import studios\n"
        "from mjx_metaworld.scenes.catalog import SCENES, load_scene\n"
        "from mjx_metaworld.rendering.to_mujoco import OriginalScene\n"
        "def draw():\n"
        "    scene = OriginalScene(SCENES[0]); mujoco.mj_forward(scene.model, scene.data)\n"
        f"    painter = studios.studio().painter({any_opengl!r})\n"
        "    print(painter.draw(scene.model, scene.data, 0, 32, 32, depth=False).std())\n"
        "studios.in_parallel([draw, draw])\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ)
    assert ended.returncode == 0
    assert ended.stderr == ""
    assert all(float(line) > 5 for line in ended.stdout.split())


# --- depth, and the ray caster ---


def test_depth_is_the_distance_along_the_cameras_axis(env, state, backend):
    lane = jax.tree.map(lambda x: x[1], state)
    depth = render(env, lane, "corner3", 120, 120, depth=True)
    assert depth.shape == (120, 120)
    assert depth.dtype == np.float32
    model, data = to_mujoco(env, state, 1)
    camera = model.camera("corner3").id
    inverse = data.cam_xmat[camera].reshape(3, 3).T
    focal = 60 / np.tan(np.deg2rad(model.cam_fovy[camera]) / 2)
    local = inverse @ (data.site("goal").xpos - data.cam_xpos[camera])
    row, column = (int(60 - focal * local[1] / -local[2]), int(60 + focal * local[0] / -local[2]))
    # The goal's mark is a ball: its surface is a radius nearer than its centre.
    radius = model.site("goal").size[0]
    assert abs(depth[row, column] - (-local[2] - radius)) < 0.3 * radius


def test_a_depth_buffer_has_the_reciprocals_of_metres(env, state, backend):
    lane = jax.tree.map(lambda x: x[1], state)
    model, _ = to_mujoco(env, state, 1)
    near, far = opengl.clipping_planes(model)
    for drawn_by in {backend, "raycast"}:
        size = {"width": 64, "height": 48, "backend": drawn_by, "depth": True}
        metres, buffer = (render(env, lane, "corner3", zbuffer=zbuffer, **size) for zbuffer in (False, True))
        assert buffer.dtype == np.float32
        assert 0.0 < buffer.min() < buffer.max() <= 1.0
        seen = np.isfinite(metres)
        again = near * far / (far - buffer[seen].astype(float) * (far - near))
        # Nearly all pixels: smoothed edges have a depth in between in OpenGL.
        assert np.quantile(np.abs(again - metres[seen]) / metres[seen], 0.9) < 0.01


def test_the_free_camera_looks_at_the_middle_of_the_scene(env, state):
    size = {"width": 33, "height": 33, "backend": "raycast"}
    points = free_lookats(env, state)
    model, data = to_mujoco(env, state, 2)
    np.testing.assert_allclose(points[2], np.median(data.geom_xpos, axis=0), atol=1e-12)
    pictures = render(env, state, "free", **size)
    np.testing.assert_array_equal(render(env, state, "free", lookat=points, **size), pictures)
    assert not np.array_equal(render(env, state, "free", lookat=points + 0.2, **size), pictures)
    before = render(env, state, "topview", **size)
    # From the model's extent away the goal's mark appears at its depth: straight ahead if it is looked at.
    lane = jax.tree.map(lambda x: x[1], state)
    _, data = to_mujoco(env, state, 1)
    ahead = render(env, lane, "free", lookat=data.site("goal").xpos, depth=True, **size)
    assert ahead[16, 16] <= model.stat.extent
    np.testing.assert_array_equal(render(env, state, "topview", **size), before)  # which is moved meanwhile
    with pytest.raises(ValueError, match=r"lookat must have shape \(4, 3\), .*, got \(3,\)"):
        render(env, state, "free", lookat=points[0])
    with pytest.raises(ValueError, match="only the free camera takes a point to look at, got camera='corner'"):
        render(env, state, "corner", lookat=points)


def test_ray_caster_and_opengl_draw_the_same_scene(env, state, any_opengl):
    for lane, single in enumerate(jax.tree.map(lambda x, i=i: x[i], state) for i in range(2)):
        drawn = render(env, single, "corner2", 160, 160).astype(float)
        cast = render(env, single, "corner2", 160, 160, backend="raycast").astype(float)
        # Shading differs (textures, shadows), outlines do not: brightness correlates over the pixels of the scene.
        # Shifting one picture by 8 pixels, the size of the error of a wrong field of view, breaks that.
        seen = cast.min(axis=-1) < 180
        assert np.corrcoef(drawn.mean(-1)[seen], cast.mean(-1)[seen])[0, 1] > 0.8, lane
        shifted = np.roll(cast, 8, axis=1)
        assert np.corrcoef(drawn.mean(-1)[seen], shifted.mean(-1)[seen])[0, 1] < 0.7
        drawn, cast = (render(env, single, "corner2", 160, 160, depth=True, backend=b) for b in (any_opengl, "raycast"))
        finite = np.isfinite(drawn) & np.isfinite(cast)
        assert np.mean(np.isfinite(drawn) != np.isfinite(cast)) < 0.01  # outlines again
        # Only pixels that an outline crosses can differ: OpenGL's triangles are not the ray caster's exact cylinders.
        assert np.quantile(np.abs(drawn[finite] - cast[finite]), 0.98) < 1e-3


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


_SITE = """
<mujoco>
  <worldbody>
    <camera name="front" pos="0 -3 0" xyaxes="1 0 0 0 0 1"/>
    <geom size="0.1" pos="0 -9 0"/>
    <site type="{kind}" size="{size}" euler="0 {turn} 0" rgba="1 0 0 1"/>
  </worldbody>
</mujoco>"""


@pytest.mark.parametrize("turn", [0, 90])
@pytest.mark.parametrize(
    ("kind", "size", "halves"),  # half of what it measures
    [
        ("sphere", "0.5", (0.5, 0.5, 0.5)),
        ("box", "0.8 0.1 0.2", (0.8, 0.1, 0.2)),
        ("cylinder", "0.2 0.6", (0.2, 0.2, 0.6)),
        ("capsule", "0.2 0.6", (0.2, 0.2, 0.8)),
        ("ellipsoid", "0.8 0.1 0.2", (0.8, 0.1, 0.2)),
    ],
)
def test_a_site_is_cast_in_its_own_shape_and_orientation(kind, size, halves, turn):
    model = mujoco.MjModel.from_xml_string(_SITE.format(kind=kind, size=size, turn=turn))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    depth = raycast(model, data, 0, 80, 80, depth=True)
    seen = np.isfinite(depth)
    pixel = 2 * 3 * np.tan(np.deg2rad(model.cam_fovy[0]) / 2) / 80  # m at the site
    wide, tall = (2 * halves[i] for i in ((2, 0) if turn else (0, 2)))
    drawn = pixel * seen.any(axis=0).sum(), pixel * seen.any(axis=1).sum()
    assert drawn == pytest.approx((wide, tall), rel=0.15, abs=0.05)  # what is nearer looks larger
    assert depth.min() == pytest.approx(3 - halves[1], abs=0.01)
    assert (seen.sum() == seen.any(axis=0).sum() * seen.any(axis=1).sum()) == (kind == "box")
    colors = raycast(model, data, 0, 80, 80).astype(int)
    assert (colors[seen][:, 0] > colors[seen][:, 1]).mean() > 0.9
    model.cam_pos[0] = 0  # OpenGL shows nothing from within
    mujoco.mj_forward(model, data)
    assert not np.isfinite(raycast(model, data, 0, 8, 8, depth=True)).any()


@pytest.mark.usefixtures("scratch_registry")
@pytest.mark.parametrize(
    "names", [["coffee-push-v3", "hammer-v3", "disassemble-v3"], pytest.param(mw.list_tasks(), marks=pytest.mark.ci)]
)
def test_a_variant_marks_the_goal_where_the_original_does(names):
    for name in names:
        (original,) = resolve(name)
        task(f"my-{name}", like=name)(original.reward)
        (variant,) = resolve(f"my-{name}")
        np.testing.assert_equal(goal_mark(variant), goal_mark(original), err_msg=name)
        assert find_goal_site(load_scene(variant.scene_spec), variant) == goal_mark(original).site
    marked = {name: resolve(f"my-{name}")[0] for name in ("coffee-push-v3", "hammer-v3", "disassemble-v3")}
    assert [spec.goal_site for spec in marked.values()] == ["mug_goal", None, "pegTop"]
    assert marked["disassemble-v3"].goal_site_shift == (0.0, 0.0, 0.08)
    # In another scene there are other sites.
    task("elsewhere", like="disassemble-v3", scene="sawyer_reach_v3")(resolve("disassemble-v3")[0].reward)
    (elsewhere,) = resolve("elsewhere")
    assert (elsewhere.goal_site, elsewhere.goal_site_shift) == ("goal", None)


@pytest.mark.usefixtures("scratch_registry")
def test_a_mark_may_be_of_ones_own():
    task("marked", like="reach-v3", goal_site="endEffector", goal_site_shift=[0, 0, 0.08])(
        resolve("reach-v3")[0].reward
    )
    env = mw.make("marked", engine=KinematicEngine)
    state = jax.jit(env.reset)(jax.random.key(0))
    model, _ = to_mujoco(env, state)
    np.testing.assert_allclose(
        model.site("endEffector").pos, np.add(state.episode.object_init, (0, 0, 0.08)), atol=1e-6
    )


# --- bad input, missing libraries ---


def test_unknown_camera_lists_the_cameras(env, state):
    with pytest.raises(ValueError, match=r"'nowhere'.*topview.*corner2"):
        render(env, state, camera="nowhere")


@pytest.mark.parametrize("bad", [{"width": 0}, {"height": -5}, {"width": 10_000}, {"height": 12.5}, {"num_threads": 0}])
def test_bad_numbers_are_refused(env, state, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        render(env, state, **bad)


def test_what_is_no_state_is_refused(env):
    with pytest.raises(TypeError, match="not a ndarray"):
        render(env, np.zeros(3))


def test_unknown_backend_lists_the_backends(env, state):
    with pytest.raises(ValueError, match=r"'vulkan'.*egl, osmesa, raycast"):
        render(env, state, backend="vulkan")


@pytest.fixture
def without_libraries(monkeypatch):
    def fail(command, **_):
        return subprocess.CompletedProcess(command, 1, "", "Traceback\nImportError: no such library")

    monkeypatch.setattr(subprocess, "run", fail)
    monkeypatch.setattr(opengl, "probe", opengl.probe.__wrapped__)
    monkeypatch.setattr("platform.system", lambda: "Linux")


def test_missing_libraries_are_named_once(without_libraries):
    with pytest.warns(UserWarning, match=r"libegl1.*libosmesa6.*egl: ImportError.*osmesa: ImportError"):
        assert rendering._first_that_works.__wrapped__() == "raycast"


def test_a_missing_backend_that_was_asked_for_is_an_error(env, state, without_libraries):
    with pytest.raises(RuntimeError, match=r"'osmesa' cannot draw.*libosmesa6.*ImportError: no such library"):
        render(env, state, backend="osmesa")


def test_exported_model_is_a_copy(env, state):
    model, _ = to_mujoco(env, state, 0)
    model.geom_rgba[:] = 0
    assert np.any(to_mujoco(env, state, 0)[0].geom_rgba)
    assert isinstance(model, mujoco.MjModel)
