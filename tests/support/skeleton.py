"""The universal skeleton as a MuJoCo model, and any scene as an `mjx.Model` of it.

The stages of `physics` compute from `Arm` and `Scene`; the model here is the same skeleton in MuJoCo's own terms, for
MuJoCo tools and for comparing with MJX's stages. It has no geoms: MJX fixes the types of geoms when a model is
compiled, while the colliders of `Scene` are data.

Fields are replaced in the `mjx.Model`, never in the compiled `MjModel`: MuJoCo C derives flags when it compiles and
would go on using them.
"""

from __future__ import annotations

import mujoco
import numpy as np
from mujoco import mjx

from mjx_metaworld.physics import model as layout
from mjx_metaworld.physics.model import Arm, Scene

MOCAP = layout.NUM_BODIES  # the one body after those of the layout
_LINK_JOINTS = tuple(f"right_j{i}" for i in range(7))
_CLAW_JOINTS = ("r_close", "l_close")
_NO_LIMIT = 1e10  # a bound that a joint without limits never reaches


def compile_skeleton(arm: Arm) -> mujoco.MjModel:
    """Compile the skeleton: the robot as it is, and placeholders for the free body, the prop and the part."""
    spec = mujoco.MjSpec()
    spec.modelname = "universal skeleton"
    spec.compiler.degree = False
    spec.option.timestep = arm.timestep
    spec.option.gravity = arm.gravity
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.solver = mujoco.mjtSolver.mjSOL_NEWTON

    parent = spec.worldbody
    for i, name in enumerate(_LINK_JOINTS):
        parent = _add_robot_body(parent, arm, i, f"right_l{i}", name, mujoco.mjtJoint.mjJNT_HINGE)
    # The sign of the orientation folds metaworld's relative quaternion (-1, 0, 0, 0) into the site.
    parent.add_site(name="hand", pos=arm.hand_pos, quat=arm.hand_quat * arm.weld_relquat[0])
    for i, name in enumerate(_CLAW_JOINTS):
        claw = name.replace("r_close", "rightclaw").replace("l_close", "leftclaw")
        _add_robot_body(parent, arm, 7 + i, claw, name, mujoco.mjtJoint.mjJNT_SLIDE)

    free = _add_placeholder(spec.worldbody, "free")
    free.add_freejoint(name="free")
    spec.worldbody.add_body(name="prop")
    mount = spec.worldbody.add_body(name="mount")
    part = _add_placeholder(mount, "part")
    for name, kind in (
        ("part_slide1", mujoco.mjtJoint.mjJNT_SLIDE),
        ("part_slide2", mujoco.mjtJoint.mjJNT_SLIDE),
        ("part_hinge", mujoco.mjtJoint.mjJNT_HINGE),
    ):
        part.add_joint(name=name, type=kind, limited=True, range=(-_NO_LIMIT, _NO_LIMIT), armature=1.0)
    mocap = spec.worldbody.add_body(name="mocap", mocap=True)
    mocap.add_site(name="mocap")

    weld = spec.add_equality(type=mujoco.mjtEq.mjEQ_WELD, objtype=mujoco.mjtObj.mjOBJ_SITE, name1="mocap", name2="hand")
    weld.data[10] = arm.weld_torquescale
    weld.solref, weld.solimp = arm.weld_solref, arm.weld_solimp
    for i, name in enumerate(_CLAW_JOINTS):
        servo = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        servo.gainprm[0] = arm.actuator_gain[i]
        servo.biastype = mujoco.mjtBias.mjBIAS_AFFINE
        servo.biasprm[1] = arm.actuator_bias[i]
        servo.ctrllimited, servo.ctrlrange = True, arm.ctrl_range[i]
    return spec.compile()


def put_skeleton(arm: Arm) -> mjx.Model:
    """The skeleton in MJX, compiled and loaded once for all scenes."""
    model = mjx.put_model(compile_skeleton(arm))
    robot = np.arange(layout.NV)[layout.ROBOT_DOFS]
    return model.replace(
        dof_invweight0=model.dof_invweight0.at[robot].set(arm.dof_invweight0),
        # The weld takes the weight of the original body `hand`, which is fused to the last link here.
        body_invweight0=model.body_invweight0.at[layout.HAND].set(arm.weld_invweight),
    )


def as_mjx_model(skeleton: mjx.Model, scene: Scene, prop_pos: np.ndarray | None = None) -> mjx.Model:
    """The skeleton with a scene's data in its leaves.

    Args:
        skeleton: from `put_skeleton`.
        scene: one scene, numpy leaves without scene or lane axis; its collider tables are not used.
        prop_pos: (3,) where the prop stands; by default where the scene's file puts it.
    """
    model = skeleton
    placed = scene.prop_pos if prop_pos is None else prop_pos
    mount_pos = scene.mount_pos + scene.mount_on_prop * (placed - scene.prop_pos)
    free_inertia, free_iquat = _principal(scene.free_inertia)
    part_inertia, part_iquat = _principal(scene.part_inertia)
    joints = slice(-3, None)  # the part's joints come last
    limits = np.where(scene.part_limited[:, None], scene.part_limit_range, [-_NO_LIMIT, _NO_LIMIT])
    bodies = np.array([layout.FREE, layout.PART])
    dof = np.r_[layout.FREE_DOFS, layout.PART_DOFS]
    return model.replace(
        body_pos=model.body_pos.at[layout.PROP].set(placed).at[layout.MOUNT].set(mount_pos),
        body_quat=model.body_quat.at[layout.PROP].set(scene.prop_quat).at[layout.MOUNT].set(scene.mount_quat),
        body_mass=model.body_mass.at[bodies].set(np.stack([scene.free_mass, scene.part_mass])),
        body_ipos=model.body_ipos.at[bodies].set(np.stack([scene.free_com, scene.part_com])),
        body_iquat=model.body_iquat.at[bodies].set(np.stack([free_iquat, part_iquat])),
        body_inertia=model.body_inertia.at[bodies].set(np.stack([free_inertia, part_inertia])),
        jnt_axis=model.jnt_axis.at[joints].set(scene.part_axis),
        jnt_pos=model.jnt_pos.at[-1].set(scene.part_anchor),
        jnt_range=model.jnt_range.at[joints].set(limits),
        jnt_solref=model.jnt_solref.at[joints].set(scene.part_limit_solref),
        jnt_solimp=model.jnt_solimp.at[joints].set(scene.part_limit_solimp),
        jnt_stiffness=model.jnt_stiffness.at[joints].set(scene.part_stiffness),
        qpos0=model.qpos0.at[layout.PART_QPOS].set(scene.part_qpos0),
        qpos_spring=model.qpos_spring.at[layout.PART_QPOS].set(scene.part_springref),
        dof_armature=model.dof_armature.at[dof].set(np.concatenate([scene.free_armature, scene.part_armature])),
        dof_damping=model.dof_damping.at[dof].set(np.concatenate([scene.free_damping, scene.part_damping])),
        dof_invweight0=model.dof_invweight0.at[layout.PART_DOFS].set(scene.part_dof_invweight0),
    )


def _add_robot_body(
    parent: mujoco.MjsBody, arm: Arm, index: int, body_name: str, joint_name: str, kind: mujoco.mjtJoint
) -> mujoco.MjsBody:
    body = parent.add_body(name=body_name, pos=arm.pos[index], quat=arm.quat[index])
    inertia = arm.inertia[index]
    body.mass, body.ipos, body.explicitinertial = arm.mass[index], arm.com[index], True
    body.fullinertia = [inertia[0, 0], inertia[1, 1], inertia[2, 2], inertia[0, 1], inertia[0, 2], inertia[1, 2]]
    joint = body.add_joint(name=joint_name, type=kind, axis=arm.axis[index], pos=arm.anchor[index], limited=True)
    joint.range, joint.ref = arm.limit_range[index], arm.qpos0[index]
    joint.armature, joint.damping = arm.armature[index], arm.damping[index]
    joint.solref_limit, joint.solimp_limit = arm.limit_solref[index], arm.limit_solimp[index]
    return body


def _add_placeholder(parent: mujoco.MjsBody, name: str) -> mujoco.MjsBody:
    """A moving body whose inertia the scene will give; MuJoCo does not compile one without mass."""
    body = parent.add_body(name=name)
    body.mass, body.inertia, body.explicitinertial = 1.0, np.ones(3), True
    return body


def _principal(inertia: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Principal moments (3,) and the quaternion (4,) of the principal axes of an inertia matrix (3, 3)."""
    moments, axes = np.linalg.eigh(inertia)
    axes[:, 2] *= np.sign(np.linalg.det(axes))
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, axes.flatten())
    return moments, quat
