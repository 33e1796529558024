"""Randomised lanes against MuJoCo: the same edits made on the model, of all that is projected and of control steps."""

from __future__ import annotations

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from support.gradient_probe import PRECISE
from support.scene_files import scene_text

import mjx_metaworld as mw
from mjx_metaworld.observation import FRAME
from mjx_metaworld.parity.record import rollout
from mjx_metaworld.parity.reference import reference_env, reference_policy, start_reference
from mjx_metaworld.physics.collision.weights import object_invweights, scale
from mjx_metaworld.physics.dynamics import Dynamics, contact_factors, vary
from mjx_metaworld.physics.inertia import actuator_force, damping
from mjx_metaworld.physics.model import FRICTION, INVWEIGHT, NV, Scene
from mjx_metaworld.randomise.drawing import draw_by_terms, neutral
from mjx_metaworld.rendering.edits import Originals, edit_model
from mjx_metaworld.scenes.bodies import find_moving_bodies, map_bodies
from mjx_metaworld.scenes.catalog import SCENES, SceneSpec, load_scene
from mjx_metaworld.scenes.colliders import project_colliders
from mjx_metaworld.scenes.project import load_arm, project
from mjx_metaworld.scenes.stack import stack_scenes
from mjx_metaworld.suites import resolve
from mjx_metaworld.testing import state_from_metaworld

r = mw.randomise
TERMS = (
    r.friction(0.3, 2.0),
    r.object_mass(0.3, 3.0),
    r.joint_damping(0.3, 3.0),
    r.actuator_gain(0.5, 1.5),
    r.gravity(7.0, 12.0),
)
LANES = 3  # draws of the parameters a task


def edit_by_hand(model: mujoco.MjModel, dynamics: Dynamics, prop: str | None) -> None:
    """The edits that a MuJoCo user would make, written without the package's own."""
    bodies = map_bodies(model, prop)
    model.geom_friction *= float(dynamics.friction)
    for body in range(model.nbody):
        root = model.body_weldid[body]
        joints = model.jnt_type[model.body_jntadr[root] : model.body_jntadr[root] + model.body_jntnum[root]]
        is_free = mujoco.mjtJoint.mjJNT_FREE in joints
        is_part = bool(root) and root == find_moving_bodies(model).part
        factor = float(dynamics.free_mass) if is_free else float(dynamics.part_mass) if is_part else 1.0
        model.body_mass[body] *= factor
        model.body_inertia[body] *= factor
    model.dof_damping *= np.asarray(dynamics.damping)[bodies.dofs]
    model.actuator_gainprm[:, 0] *= np.asarray(dynamics.gain)
    model.actuator_biasprm[:, 1] *= np.asarray(dynamics.gain)
    model.opt.gravity[:] = np.asarray(dynamics.gravity)
    mujoco.mj_setConst(model, mujoco.MjData(model))


# --- what is projected of a scene ---

_QUICK = (
    "sawyer_pick_place_v3",
    "sawyer_coffee",
    "sawyer_door_pull",
    "sawyer_plate_slide",
)  # free, both, hinge, slides
_EACH_SCENE = [pytest.param(s, id=s.name, marks=() if s.name in _QUICK else pytest.mark.full) for s in SCENES]


def some_dynamics() -> Dynamics:
    ones = np.ones(NV)
    return Dynamics(
        gravity=np.array([0.3, -0.2, -8.0]),
        friction=np.array(1.7),
        free_mass=np.array(2.5),
        part_mass=np.array(0.4),
        damping=ones + np.arange(NV) / NV * np.where((np.arange(NV) >= 9) & (np.arange(NV) < 15), 0.0, 1.0),
        gain=np.array([0.6, 1.3]),
    )


def projected(model: mujoco.MjModel, prop: str | None) -> Scene:
    bodies = map_bodies(model, prop)
    return project(model, bodies, *project_colliders(model, bodies, None))


def with_armature(folder: Path, com: str) -> SceneSpec:
    """A scene of one's own whose free joint has armature."""
    body = f"""<body name="marble" pos="0 0.6 0.03"><joint type="free" armature="0.05" limited="false"/>
    <inertial pos="{com}" mass="0.05" diaginertia="2e-5 3e-5 2e-5"/><geom type="sphere" size="0.025"/></body>"""
    file = folder / "marble.xml"
    file.write_text(scene_text(body))
    return SceneSpec(file)


def test_a_mass_with_armature_changes_as_edits_of_its_model_do(tmp_path):
    test_parameters_change_a_scene_as_edits_of_its_model_do(with_armature(tmp_path, "0 0 0"))


def test_a_mass_whose_weight_armature_alters_otherwise_is_refused(tmp_path):
    scene = projected(load_scene(with_armature(tmp_path, "0.1 0 0")), None)
    with pytest.raises(
        ValueError, match=r"scene 0: the mass of a free body cannot .* armature \(got 0\.05\) and its centre"
    ):
        object_invweights(stack_scenes([scene]))


@pytest.mark.parametrize("spec", _EACH_SCENE)
def test_parameters_change_a_scene_as_edits_of_its_model_do(spec):
    """All that is read of a compiled scene, inverse weights included, with the edits made before or after."""
    dynamics = some_dynamics()
    model, edited = load_scene(spec), load_scene(spec)
    edit_by_hand(edited, dynamics, spec.prop)
    plain, expected = (projected(m, spec.prop) for m in (model, edited))

    with jax.enable_x64(True):
        lane, given = jax.tree.map(lambda x: jnp.asarray(x)[..., None], (plain.replace(pairs=None), dynamics))
        varied = vary(load_arm(model), lane, given)
        for name in ("free_mass", "free_inertia", "free_damping", "part_mass", "part_inertia", "part_damping"):
            np.testing.assert_allclose(getattr(varied, name)[..., 0], getattr(expected, name), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(varied.part_dof_invweight0[..., 0], expected.part_dof_invweight0, rtol=1e-9)
        assert varied.gravity is not None
        np.testing.assert_allclose(varied.gravity[..., 0], edited.opt.gravity)
        np.testing.assert_allclose(damping(load_arm(model), varied)[:9, 0], load_arm(edited).damping, rtol=1e-12)
        ctrl, qpos = jnp.array([[0.5], [-0.5]]), jnp.linspace(0.0, 0.1, 19)[:, None]
        force, theirs = (actuator_force(load_arm(m), s, qpos, ctrl) for m, s in ((model, varied), (edited, lane)))
        np.testing.assert_allclose(force, theirs, rtol=1e-12)

        factors = jax.tree.map(lambda x: x[None], contact_factors(lane, given))
        shares = jnp.asarray(object_invweights(stack_scenes([plain]))[0].T[:, :, None])
        columns = scale(jnp.asarray(plain.pairs.parameters.T[:, :, None]), factors, shares)[..., 0].T
    assert not np.allclose(columns, plain.pairs.parameters)
    for column in (*FRICTION, INVWEIGHT):
        np.testing.assert_allclose(columns[:, column], expected.pairs.parameters[:, column], rtol=1e-9)


def test_edits_can_be_taken_back():
    spec = resolve("coffee-push-v3")[0].scene_spec
    model, bodies = load_scene(spec), map_bodies(load_scene(spec), spec.prop)
    originals, fresh = Originals.of(model), load_scene(spec)
    names = (*Originals._fields[:-1], "body_invweight0", "dof_invweight0", "dof_M0", "body_subtreemass", "eq_data")
    edit_model(model, originals, bodies, some_dynamics())
    by_hand = load_scene(spec)
    edit_by_hand(by_hand, some_dynamics(), spec.prop)
    for name in names:
        np.testing.assert_allclose(getattr(model, name), getattr(by_hand, name), rtol=1e-12, err_msg=name)
    edit_model(model, originals, bodies, None)
    for name in names:
        np.testing.assert_allclose(getattr(model, name), getattr(fresh, name), rtol=1e-9, err_msg=name)
    np.testing.assert_array_equal(model.opt.gravity, fresh.opt.gravity)


# --- control steps ---


@functools.cache
def environment() -> mw.MetaWorldEnv:
    """A free body that is grasped, a part that is pulled, and both."""
    return mw.make(["pick-place-v3", "drawer-open-v3", "coffee-push-v3"], randomise=TERMS)


def recorded(env: mw.MetaWorldEnv, task: int, style: str, num_steps: int, every: int):
    """States before steps of the reference on an edited model, the actions, the frames (n, 18) after, and contacts."""
    spec = env.tasks[task]
    policy, rows = reference_policy(spec.name).get_action, []
    for lane, goal in enumerate(mw.goals(spec.name, 1)[0][:LANES]):
        cpu_env = reference_env(spec.name)
        first = start_reference(cpu_env, spec.name, goal)
        drawn = draw_by_terms(TERMS, jax.random.key(lane), env.nominal(jnp.int32(task)))
        edit_by_hand(cpu_env.model, drawn.dynamics, spec.scene_spec.prop)
        for turn in rollout(cpu_env, first, policy, style=style, num_steps=num_steps):
            if turn.index % every == 0:
                before = state_from_metaworld(env, task, cpu_env).replace(randomised=drawn)
                rows.append((before, turn.action, turn.take().obs[FRAME], cpu_env.data.ncon))
        cpu_env.close()
    return jax.tree.map(lambda *leaves: np.stack(jax.device_get(leaves)), *rows)


@pytest.mark.full
@pytest.mark.parametrize("style", ["expert", "random"])
@pytest.mark.parametrize("task", range(3))
def test_a_randomised_lane_steps_as_the_edited_scene(task, style):
    """At the bars of the 50 tasks, along rollouts with contact; the same states without the parameters are far off."""
    env = environment()
    state, action, frame, contacts = recorded(env, task, style, num_steps=100, every=4)
    assert np.any(contacts)
    plain = state.replace(randomised=jax.vmap(lambda s: neutral(s.randomised, env.nominal(s.task)))(state))
    step = mw.jit(jax.vmap(env.step))
    observed = np.any(frame != 0.0, axis=0)
    errors, without = (
        np.abs(np.asarray(step(s, jnp.asarray(action, jnp.float32)).obs)[:, FRAME] - frame)[:, observed]
        for s in (state, plain)
    )
    assert np.median(errors) < 1e-5
    assert np.quantile(errors, 0.99) < 1e-3
    assert np.quantile(without, 0.99) > 3 * np.quantile(errors, 0.99)


@pytest.mark.full
def test_a_step_has_derivatives_of_its_parameters():
    """Of the observation after a step in which the object slides, against central differences in float64."""
    with jax.enable_x64(True):
        env = mw.make("push-v3", randomise=TERMS, physics=PRECISE)
        state = jax.jit(env.reset)(jax.random.key(0))
        velocity = state.physics.qvel.at[9].set(0.3)  # the object slides over the table
        state = state.replace(physics=state.physics.replace(qvel=velocity))

        def end(dynamics: Dynamics) -> jax.Array:
            now = state.replace(randomised=state.randomised.replace(dynamics=dynamics))
            now = env.step(now, jnp.array([0.1, 0.2, -0.1, 0.3]))
            return now.obs @ jnp.linspace(1.0, 2.0, 39)

        dynamics, value = state.randomised.dynamics, mw.jit(end)
        gradient = mw.jit(jax.grad(end))(dynamics)
        for name in ("friction", "gain", "damping", "gravity"):
            x, slope = getattr(dynamics, name), np.ravel(getattr(gradient, name))
            entry = int(np.argmax(np.abs(slope)))
            shift = np.zeros(np.size(x))
            shift[entry] = 1e-5
            ends = [value(dynamics.replace(**{name: x + sign * shift.reshape(np.shape(x))})) for sign in (1, -1)]
            assert slope[entry] != 0.0
            np.testing.assert_allclose(slope[entry], (ends[0] - ends[1]) / 2e-5, rtol=1e-2, err_msg=name)
