"""The catalogue, the projection's bookkeeping, stacking, and the skeleton as a MuJoCo and MJX model."""

from __future__ import annotations

import functools
import re

import jax
import jax.numpy as jnp
import metaworld
import mujoco
import numpy as np
import pytest
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from mujoco import mjx
from support.original_scenes import arm, as_lanes, originals, samples
from support.skeleton import as_mjx_model, compile_skeleton, put_skeleton

from mjx_metaworld.physics import model as layout
from mjx_metaworld.physics.inertia import bias_force, dense, mass_matrix, passive_force
from mjx_metaworld.physics.kinematics import kinematics
from mjx_metaworld.physics.model import PAIR_KINDS
from mjx_metaworld.scenes.bodies import find_moving_bodies, map_bodies
from mjx_metaworld.scenes.catalog import SCENES, find_scene, load_scene
from mjx_metaworld.scenes.project import load_arm
from mjx_metaworld.scenes.stack import build_scene, stack_scenes

TASKS = sorted(ALL_V3_ENVIRONMENTS)
SOME_TASKS = ("plate-slide-v3", "lever-pull-v3", "pick-place-v3", "coffee-pull-v3")


def scene_file(env) -> str:
    return env.model_name.rsplit("/", 1)[-1].removesuffix(".xml")


@pytest.mark.ci
@pytest.mark.parametrize("tasks", [SOME_TASKS, pytest.param(tuple(TASKS), marks=pytest.mark.full)], ids=["some", "all"])
def test_catalog_knows_what_tasks_move(tasks):
    files = set()
    for name in tasks:
        benchmark = metaworld.MT1(name, seed=0)
        env = benchmark.train_classes[name]()
        spec = find_scene(scene_file(env))
        files.add(spec.file)
        env.set_task(benchmark.train_tasks[0])
        env.reset()
        model = load_scene(spec)
        np.testing.assert_array_equal(env.model.eq_data, model.eq_data)
        np.testing.assert_array_equal(env.model.body_quat, model.body_quat)
        moved = np.flatnonzero((env.model.body_pos != model.body_pos).any(1))
        assert {model.body(b).name for b in moved} <= {spec.prop}, name
        env.close()
    if len(tasks) == len(TASKS):
        assert files == {spec.file for spec in SCENES}


def test_arm_is_the_same_everywhere():
    for original in originals():
        jax.tree.map(np.testing.assert_array_equal, load_arm(original.model), arm())


def test_arm_names():
    for original in originals():
        model, moving = original.model, find_moving_bodies(original.model)
        joints = [model.joint(model.body_jntadr[b]).name for b in moving.links + moving.claws]
        assert joints == [f"right_j{i}" for i in range(7)] + ["r_close", "l_close"]
        assert model.body(moving.hand).name == "hand"


def test_coordinates_map_one_to_one():
    for original in originals():
        body_map, model = original.body_map, original.model
        assert len(set(body_map.dofs)) == model.nv
        assert len(set(body_map.qpos)) == model.nq
        assert body_map.dofs.min() >= 0
        assert body_map.qpos.min() >= 0


def test_scenes_beyond_the_skeleton_are_refused():
    balls = "".join(f'<body name="b{i}"><freejoint/><geom size=".1"/></body>' for i in range(2))
    arm_only = '<body name="hand"><joint/><geom size=".1"/></body><body name="m" mocap="true"/>'
    xml = (
        f'<mujoco><worldbody>{arm_only}{balls}</worldbody><equality><weld body1="m" body2="hand"/></equality></mujoco>'
    )
    with pytest.raises(ValueError, match=re.escape("not a Meta-World scene")):
        map_bodies(mujoco.MjModel.from_xml_string(xml), None)


def test_stack_pads_without_effect():
    specs = [find_scene("sawyer_window_horizontal"), find_scene("sawyer_pick_place_v3")]
    scenes = [build_scene(spec, None) for spec in specs]
    stacked = stack_scenes(scenes)
    for i, scene in enumerate(scenes):
        taken = jax.tree.map(lambda x, i=i: x[i], stacked)
        jax.tree.map(
            np.testing.assert_array_equal,
            scene.replace(colliders=None, pairs=None, gravity=None),  # which all have alike
            taken.replace(colliders=None, pairs=None),
        )
        own, padded = scene.pairs, taken.pairs
        own = own.replace(parameters=own.parameters[:, : padded.parameters.shape[1]])
        kinds = np.repeat(np.arange(len(PAIR_KINDS)), padded.counts)
        assert np.bincount(kinds[padded.valid], minlength=len(PAIR_KINDS)).tolist() == list(own.counts)
        for ours, theirs in zip(jax.tree.leaves(own), jax.tree.leaves(padded), strict=True):
            np.testing.assert_array_equal(ours, theirs[padded.valid])
        solref = padded.parameters[:, 5:7]
        assert (solref > 0).all()  # divisors in the constraint stage


def test_skeleton_has_the_layout():
    model = compile_skeleton(arm())
    assert (model.nq, model.nv) == (layout.NQ, layout.NV)
    names = {layout.HAND: "right_l6", layout.LEFT_CLAW: "leftclaw", layout.FREE: "free", layout.PROP: "prop"}
    names |= {layout.MOUNT: "mount", layout.PART: "part"}
    assert {i: model.body(i).name for i in names} == names
    moved = np.zeros((model.nbody, model.nv), bool)
    for body in range(1, model.nbody):
        dofs = model.body_dofadr[body] + np.arange(model.body_dofnum[body])
        moved[body] = moved[model.body_parentid[body]]
        moved[body, dofs] = True
    np.testing.assert_array_equal(moved[: layout.NUM_BODIES], layout.moves())


def test_skeleton_weld_equals_the_original():
    original = load_scene(SCENES[0])
    skeleton = compile_skeleton(arm())
    sample = samples(1)[0]
    datas = mujoco.MjData(original), mujoco.MjData(skeleton)
    for model, data in zip((original, skeleton), datas, strict=True):
        data.qpos[:9], data.qvel[:9] = sample.qpos[:9], sample.qvel[:9]
        data.mocap_pos[:], data.mocap_quat[:] = [0.1, 0.6, 0.2], [1, 0, 1, 0]
        data.ctrl[:] = [0.5, -0.5]
        mujoco.mj_forward(model, data)
    first, second = datas
    # Float64 through two different compilations of the same tree.
    jac = [d.efc_J.reshape(-1, m.nv)[:6, :9] for m, d in ((original, first), (skeleton, second))]
    np.testing.assert_allclose(*jac, atol=1e-12)
    np.testing.assert_allclose(first.efc_pos[:6], second.efc_pos[:6], atol=1e-12)
    np.testing.assert_allclose(first.efc_aref[:6], second.efc_aref[:6], rtol=1e-9)
    np.testing.assert_allclose(first.qfrc_actuator[:9], second.qfrc_actuator[:9], atol=1e-9)


@functools.cache
def mjx_stages():
    """MJX's smooth stages, compiled once: without optimization and without fusion, which recomputes the tree."""

    def stages(model, qpos, qvel):
        data = mjx.make_data(model).replace(qpos=qpos, qvel=qvel)
        data = mjx.crb(model, mjx.com_pos(model, mjx.kinematics(model, data)))
        data = mjx.fwd_velocity(model, data)
        return data.xpos, data.xmat, mjx.full_m(model, data), data.qfrc_bias, data.qfrc_passive

    model = as_mjx_model(put_skeleton(arm()), originals()[0].scene)
    lowered = jax.jit(stages).lower(model, jnp.zeros(layout.NQ), jnp.zeros(layout.NV))
    return lowered.compile({"xla_backend_optimization_level": 0, "xla_disable_hlo_passes": "fusion"})


@pytest.mark.full  # MJX's stages take eight seconds to compile; `test_smooth_dynamics.py` has the same from MuJoCo C
def test_mjx_agrees_on_projected_scenes():
    drawn = samples(1)
    skeleton = put_skeleton(arm())
    scene = as_lanes([originals()[s.index].scene for s in drawn], jnp.float32)
    qpos, qvel, prop_pos = as_lanes([(s.qpos, s.qvel, s.prop_pos) for s in drawn], jnp.float32)

    @jax.jit
    def ours(scene, qpos, qvel, prop_pos):
        kin = kinematics(arm(), scene, qpos, prop_pos)
        mass = dense(mass_matrix(arm(), scene, kin))
        passive = passive_force(arm(), scene, qpos, qvel)
        return kin.xpos, kin.xmat, mass, bias_force(arm(), scene, kin, qvel), passive

    results = [np.moveaxis(np.asarray(x), -1, 0) for x in ours(scene, qpos, qvel, prop_pos)]
    for i, sample in enumerate(drawn):
        prop = sample.prop_pos if originals()[sample.index].spec.prop else None
        model = as_mjx_model(skeleton, originals()[sample.index].scene, prop)
        expected = [np.asarray(x) for x in mjx_stages()(model, qpos[:, i], qvel[:, i])]
        expected[:2] = (x[: layout.NUM_BODIES] for x in expected[:2])
        # Two float32 computations; MJX takes moments about the tree's centre of mass. Where a scene has 1e5 kg m^2,
        # roundings of that number stand off the diagonal of MJX's M and in its gyroscopic torque; ours are zero.
        declared = max(1.0, np.abs(originals()[sample.index].scene.free_inertia).max())
        diagonal = np.sqrt(np.diag(expected[2]))
        scales = (1, 1, np.maximum(1, np.outer(diagonal, diagonal)), declared, 1)
        for ours_x, mjx_x, scale in zip(results, expected, scales, strict=True):
            np.testing.assert_allclose(ours_x[i] / scale, mjx_x / scale, rtol=1e-5, atol=2e-5)
