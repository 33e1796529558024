"""The settled hand against the reference's live `_reset_hand`, and the cache that keeps it."""

from __future__ import annotations

from dataclasses import fields

import metaworld.env_dict
import mujoco
import numpy as np
import pytest

from mjx_metaworld.build import shipped
from mjx_metaworld.build.bank import settle_task
from mjx_metaworld.build.readings import read_frame, read_skeleton, write_skeleton
from mjx_metaworld.build.settle import _cache_name, settle
from mjx_metaworld.physics import model as layout
from mjx_metaworld.processes.cache import cached_files
from mjx_metaworld.scenes.bodies import map_bodies
from mjx_metaworld.tasks import registered
from mjx_metaworld.tasks.spec import Settled, TaskSpec

QUICK = ("reach-v3", "push-v3", "drawer-open-v3", "door-open-v3", "window-open-v3", "peg-insert-side-v3")


def tasks() -> list:
    return [pytest.param(t, id=t.name, marks=() if t.name in QUICK else pytest.mark.full) for t in registered()]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MJX_METAWORLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(shipped, "_names", dict)  # nothing comes with the package
    return tmp_path / "cache" / "mjx-metaworld"


def live_env(spec: TaskSpec):
    """A reference environment right after a second `_reset_hand`, its prop where a random goal put it."""
    env = metaworld.env_dict.ALL_V3_ENVIRONMENTS[spec.name]()
    env._freeze_rand_vec, env._set_task_called, env.seeded_rand_vec = False, True, True
    env.seed(3)
    env.reset()
    mujoco.mj_resetData(env.model, env.data)
    env._reset_hand()
    if spec.extra_substeps:
        mujoco.mj_step(env.model, env.data, nstep=spec.extra_substeps)
    return env


def equal(a: Settled, b: Settled) -> bool:
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(Settled))


@pytest.mark.parametrize("spec", tasks())
def test_hand_settles_as_in_the_reference(spec, cache):
    env = live_env(spec)
    prop = spec.scene_spec.prop
    at_goal = None if prop is None else env.model.body(prop).pos[None]
    settled = settle(spec, at_goal)
    expected = read_skeleton(env.data, map_bodies(env.model, prop))
    # The very same program runs in both: nothing but the state before the first step could differ.
    np.testing.assert_array_equal(settled.qpos[0], expected.qpos)
    np.testing.assert_array_equal(settled.qvel[0], expected.qvel)
    np.testing.assert_array_equal(settled.qacc_warmstart[0], expected.qacc_warmstart)
    np.testing.assert_array_equal(settled.tcp[0], env.init_tcp)


@pytest.mark.parametrize("spec", tasks())
def test_the_props_place_does_not_move_the_hand(spec, cache):
    if spec.settles_against_prop:
        pytest.skip("this hand rests against the prop")
    env = live_env(spec)
    expected = read_skeleton(env.data, map_bodies(env.model, spec.scene_spec.prop))
    robot = layout.ROBOT_DOFS
    # Settled to well below the 1e-5 that first observations must keep; the prop is never touched.
    np.testing.assert_allclose(settle(spec).qpos[0][robot], expected.qpos[robot], atol=1e-9)
    np.testing.assert_allclose(settle(spec).qvel[0][robot], expected.qvel[robot], atol=1e-9)


@pytest.mark.parametrize("spec", tasks())
def test_frame_reads_what_the_reference_observes(spec):
    env = live_env(spec)
    # Rotation.from_matrix and our reading are one call on one matrix; bodies' quaternions are copied.
    np.testing.assert_array_equal(read_frame(env.data, spec), env._get_curr_obs_combined_no_goal())


def test_skeleton_state_survives_a_round_trip():
    env = live_env(registered()[0])
    bodies = map_bodies(env.model, registered()[0].scene_spec.prop)
    state = read_skeleton(env.data, bodies)
    other = mujoco.MjData(env.model)
    write_skeleton(other, bodies, state)
    np.testing.assert_array_equal(other.qpos, env.data.qpos)
    np.testing.assert_array_equal(other.qvel, env.data.qvel)
    np.testing.assert_array_equal(other.qacc_warmstart, env.data.qacc_warmstart)


def test_no_hand_of_metaworlds_tasks_is_simulated(tmp_path, monkeypatch):
    monkeypatch.setenv("MJX_METAWORLD_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(mujoco, "mj_step", lambda *_, **__: pytest.fail("simulated what comes with the package"))
    for spec in registered():
        settle_task(spec)


@pytest.mark.parametrize("spec", tasks())
def test_what_comes_with_the_package_is_what_settles_here(spec, cache, monkeypatch):
    fresh = settle(spec)
    monkeypatch.undo()
    came = shipped.read_shipped(_cache_name(spec, None))
    assert came is not None
    # Equal where the arithmetic is: a machine with other libraries may round otherwise.
    for field in fields(Settled):
        np.testing.assert_allclose(came[field.name], getattr(fresh, field.name), rtol=0.0, atol=1e-9)


def test_cache_is_used(cache, monkeypatch):
    first = settle(registered()[0])
    assert len(cached_files()) == 1
    monkeypatch.setattr(mujoco, "mj_step", lambda *_, **__: pytest.fail("simulated in spite of the cache"))
    assert equal(settle(registered()[0]), first)


@pytest.mark.parametrize("content", [b"", b"no zip archive", b"PK\x03\x04 cut off"])
def test_corrupt_cache_file_is_computed_again(cache, content):
    first = settle(registered()[0])
    (file,) = cached_files()
    file.write_bytes(content)
    assert equal(settle(registered()[0]), first)
    assert file.stat().st_size > len(content)


def test_truncated_cache_file_is_computed_again(cache):
    first = settle(registered()[0])
    (file,) = cached_files()
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert equal(settle(registered()[0]), first)


def test_unwritable_cache_does_no_harm(cache):
    cache.parent.write_text("a file where the folder should be")
    assert settle(registered()[0]).qpos.shape == (1, layout.NQ)


def test_many_prop_places_settle_in_one_call(cache):
    spec = next(t for t in registered() if t.scene_spec.prop is not None)
    places = np.array([[0.0, 0.8, 0.0], [0.1, 0.9, 0.0]])
    settled = settle(spec, places)
    assert settled.qpos.shape == (2, layout.NQ)
    np.testing.assert_array_equal(settled.prop_pos, places)
    assert equal(Settled(*(getattr(settled, f.name)[1:] for f in fields(Settled))), settle(spec, places[1:]))
