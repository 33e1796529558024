"""Drawn geometry: that of the original scenes, where MuJoCo has it, as a file that browsers read."""

from __future__ import annotations

import io
import json
import struct

import jax
import mujoco
import numpy as np
import pytest
from PIL import Image

import mjx_metaworld as mw
from mjx_metaworld.rendering.marks import goal_mark
from mjx_metaworld.rendering.render import CAMERAS
from mjx_metaworld.rendering.tables import SITE, build_draw_tables
from mjx_metaworld.rendering.to_mujoco import to_mujoco
from mjx_metaworld.suites import resolve
from mjx_metaworld.view.drawables import Part, _onto_cube, scene_drawables
from mjx_metaworld.view.frames import at, frames_of
from mjx_metaworld.view.glb import to_glb
from mjx_metaworld.view.goals import movable_axes
from mjx_metaworld.view.solids import Triangles, solid
from mjx_metaworld.view.stage import camera_pos, goal_place, lane_offsets, rotate

pytestmark = pytest.mark.usefixtures("kinematic")


def volume(triangles: Triangles) -> float:
    """Of a closed solid whose triangles turn outwards, by the divergence theorem."""
    a, b, c = np.moveaxis(triangles.corners, 1, 0)
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


@pytest.mark.parametrize(
    ("kind", "size", "expected"),
    [
        ("BOX", (1.0, 2.0, 3.0), 48.0),
        ("SPHERE", (2.0, 0.0, 0.0), 4 / 3 * np.pi * 8),
        ("ELLIPSOID", (1.0, 2.0, 3.0), 4 / 3 * np.pi * 6),
        ("CYLINDER", (2.0, 3.0, 0.0), np.pi * 4 * 6),
        ("CAPSULE", (1.0, 2.0, 0.0), np.pi * 4 + 4 / 3 * np.pi),
    ],
)
def test_solids_have_their_volume_and_normals_that_point_outwards(kind, size, expected):
    triangles = solid(int(getattr(mujoco.mjtGeom, f"mjGEOM_{kind}")), np.array(size))
    # Inscribed in what is round, 24 segments around and a dozen along: less by a few hundredths.
    assert 0.93 * expected <= volume(triangles) <= expected * (1 + 1e-9)
    edges = triangles.corners[:, 1:] - triangles.corners[:, :1]
    facing = np.cross(edges[:, 0], edges[:, 1])
    assert np.all(np.einsum("ik,ick->ic", facing, triangles.normals) > 0)
    np.testing.assert_allclose(np.linalg.norm(triangles.normals, axis=-1), 1.0, atol=1e-9)


def test_a_plane_without_end_ends_somewhere():
    assert np.ptp(solid(mujoco.mjtGeom.mjGEOM_PLANE, np.zeros(3)).corners[..., 0]) == 20.0
    with pytest.raises(ValueError, match="mjGEOM_HFIELD"):
        solid(mujoco.mjtGeom.mjGEOM_HFIELD, np.ones(3))


def from_mujoco(env, state, spec) -> np.ndarray:
    """Corners (n, 3) of all that MuJoCo draws, in the world."""
    tables = build_draw_tables((spec.scene_spec,), CAMERAS)
    _, data = to_mujoco(env, state)
    corners = []
    for slot in np.flatnonzero(tables.slots.kind[0] >= 0):
        geom, mesh = int(tables.slots.geom[0, slot]), int(tables.slots.mesh[0, slot])
        if mesh >= 0:
            local = tables.meshes.vertices[mesh][tables.meshes.faces[mesh]].reshape(-1, 3)
        else:
            local = solid(int(tables.slots.kind[0, slot]), tables.slots.size[0, slot]).corners.reshape(-1, 3)
        poses = (data.geom_xpos, data.geom_xmat) if geom > SITE else (data.site_xpos, data.site_xmat)
        pos, mat = (values[geom if geom > SITE else SITE - geom] for values in poses)
        corners.append(local @ mat.reshape(3, 3).T + pos)
    return np.concatenate(corners)


# A door that opens, a goal that hangs on the prop, an object beside a prop.
@pytest.mark.parametrize(
    "name",
    [
        "door-open-v3",
        pytest.param("coffee-pull-v3", marks=pytest.mark.full),
        pytest.param("peg-insert-side-v3", marks=pytest.mark.full),
    ],
)
def test_everything_is_drawn_where_mujoco_has_it(name):
    env = mw.make(name)
    (spec,) = env.tasks
    state = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(3), 1))
    frame, mark = at(frames_of(env, state), 0), goal_mark(spec)
    drawn = scene_drawables(spec.scene_spec, mark.site)
    places = []
    for drawable in [*drawn.bodies, *([drawn.floor] if drawn.floor else [])]:
        for part in drawable.parts:
            corners = part.triangles.corners.reshape(-1, 3)
            pos, quat = frame.pos[drawable.body], frame.quat[drawable.body]
            places.append(rotate(quat, corners) + pos)
    assert drawn.goal is not None
    target = goal_place(jax.tree.map(lambda x: x[None], frame), 0, mark)
    places += [part.triangles.corners.reshape(-1, 3) + target for part in drawn.goal.parts]
    here, there = np.concatenate(places), from_mujoco(env, state, spec)
    assert here.shape == there.shape
    # Poses here are in single precision, of bodies up to two metres away.
    for moment in (np.min, np.max, np.mean, np.std):
        np.testing.assert_allclose(moment(here, axis=0), moment(there, axis=0), atol=2e-6)


def content(glb: bytes) -> tuple[dict, bytes]:
    """Description and data of a file."""
    magic, version, length = struct.unpack_from("<III", glb)
    assert (magic, version, length) == (0x46546C67, 2, len(glb))
    size, kind = struct.unpack_from("<II", glb, 12)
    assert kind == 0x4E4F534A
    assert struct.unpack_from("<II", glb, 20 + size) == (len(glb) - 28 - size, 0x004E4942)
    return json.loads(glb[20 : 20 + size]), glb[28 + size :]


def array(described: dict, data: bytes, accessor: int) -> np.ndarray:
    """Numbers of an accessor."""
    of = described["accessors"][accessor]
    view = described["bufferViews"][of["bufferView"]]
    kind = {5126: np.float32, 5123: np.uint16, 5125: np.uint32}[of["componentType"]]
    width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}[of["type"]]
    return np.frombuffer(data, kind, of["count"] * width, view["byteOffset"]).reshape(-1, width)


def test_a_file_holds_what_was_put_into_it():
    box = solid(mujoco.mjtGeom.mjGEOM_BOX, np.array([1.0, 2.0, 3.0]))
    image = np.full((8, 8, 3), (200, 100, 50), np.uint8)
    _, uv = _onto_cube(box)
    plain, textured = Part(box, None, np.array([1.0, 0.5, 0.0, 0.3]), None), Part(box, uv, np.ones(4), image)
    described, data = content(to_glb([plain, textured, plain]))
    first, second = described["meshes"][0]["primitives"]  # two looks
    faces = array(described, data, first["indices"]).reshape(-1, 3)
    positions = array(described, data, first["attributes"]["POSITION"])
    assert len(positions) == 24  # a corner of a box has three normals, and those of both boxes are the same
    np.testing.assert_allclose(positions[faces], np.concatenate([box.corners] * 2), atol=1e-6)
    assert described["materials"][0]["alphaMode"] == "BLEND"
    # Half of full, as displayed, is a fifth of the light.
    np.testing.assert_allclose(
        described["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"], [1.0, 0.214, 0.0, 0.3], atol=1e-3
    )
    coordinates = array(described, data, second["attributes"]["TEXCOORD_0"])
    assert sorted({tuple(row) for row in coordinates.tolist()}) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    view = described["bufferViews"][described["images"][0]["bufferView"]]
    picture = Image.open(io.BytesIO(data[view["byteOffset"] :][: view["byteLength"]]))
    assert abs(np.asarray(picture).mean((0, 1)) - (200, 100, 50)).max() < 4  # a JPEG


def test_images_on_a_cube_are_not_mirrored():
    box = solid(mujoco.mjtGeom.mjGEOM_BOX, np.ones(3))
    side, uv = _onto_cube(box)
    assert sorted(side) == sorted([*range(6)] * 2)
    edges, along = box.corners[:, 1:] - box.corners[:, :1], uv[:, 1:] - uv[:, :1]
    facing = np.sign(np.einsum("ik,ik->i", np.cross(edges[:, 0], edges[:, 1]), box.normals[:, 0]))
    turned = np.sign(along[:, 0, 0] * along[:, 1, 1] - along[:, 0, 1] * along[:, 1, 0])
    # A cube map shows its images from within.
    assert np.all(turned == facing) or np.all(turned == -facing)


def test_goals_move_where_no_body_would():
    free = {name: movable_axes(resolve(name)[0]) for name in ("reach-v3", "push-v3", "door-open-v3", "basketball-v3")}
    assert free["reach-v3"] == (True, True, True)
    assert free["push-v3"][:2] == (True, True)  # on the table
    assert not any(free["door-open-v3"])
    assert not any(free["basketball-v3"])  # in the hoop, which the goal vector puts somewhere


def test_lanes_stand_apart():
    for count in (1, 3, 4, 10):
        places = lane_offsets(count)
        assert places.shape == (count, 3)
        apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + 10 * np.eye(count)
        assert apart.min() > 1.5  # a table's length


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9, 12])
def test_all_lanes_are_seen(count):
    """In a picture of 1000 by 800 pixels, as it is beside the panel, the hands' places are not at its edges."""
    offsets = lane_offsets(count)
    pos, look_at = camera_pos(offsets)
    forward = (look_at - pos) / np.linalg.norm(look_at - pos)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(right, forward), forward])
    x, y, depth = axes @ (offsets + np.array([0.0, 0.6, 0.2]) - pos).T
    assert np.all(np.abs(x / depth) < 0.9 * 1.25 * np.tan(np.pi / 8))
    assert np.all(np.abs(y / depth) < 0.9 * np.tan(np.pi / 8))
