"""Data of the physics stages: the robot's constants, scenes, state, kinematics and contacts.

Shapes below are those of one environment. Inside the physics every leaf of `Scene`, `Kinematics`, `Candidates` and
`Contacts` carries one more axis at its **end**, the lanes (environments); see `spatial.py` for why. Units are SI;
quaternions are w, x, y, z.

The skeleton's generalized coordinates:

| dofs | qpos | what |
| --- | --- | --- |
| 0..6 | 0..6 | arm hinges `right_j0` .. `right_j6` |
| 7, 8 | 7, 8 | finger slides `r_close`, `l_close` |
| 9..14 | 9..15 | the free body: position and quaternion; velocity is linear (world frame), then angular (body frame) |
| 15, 16, 17 | 16, 17, 18 | the fixture's moving part: slide, slide, hinge |

A coordinate that a scene does not have is kept at rest exactly: its axis (or, for the free body, its mass and
inertia) is zero and its armature one, so its row of the mass matrix is the identity's and no force acts on it.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array

from mjx_metaworld.physics.exportable import exportable

NQ = 19
NV = 18
NUM_BODIES = 14

ARM_DOFS = slice(0, 7)
FINGER_DOFS = slice(7, 9)
ROBOT_DOFS = slice(0, 9)
FREE_DOFS = slice(9, 15)
PART_DOFS = slice(15, 18)
FREE_QPOS = slice(9, 16)
PART_QPOS = slice(16, 19)

# Skeleton bodies, in tree order.
WORLD = 0
LINK0 = 1  # right_l0; links 1..7 are right_l0 .. right_l6
HAND = 7  # right_l6 with right_hand and hand fused to it
RIGHT_CLAW = 8
LEFT_CLAW = 9
FREE = 10
PROP = 11  # the static body that a task moves at reset (body_pos); never rotates
MOUNT = 12  # the frame of the moving part at its joints' reference position
PART = 13


class Arm(NamedTuple):
    """Constants of the Sawyer robot, equal in all 36 scenes (numpy float64; they become literals when traced).

    Bodies are the nine moving ones, right_l0 .. right_l6, rightclaw, leftclaw, each with everything welded to it
    composed into one inertia.
    """

    parent: np.ndarray  # (9,) skeleton body id of the parent
    pos: np.ndarray  # (9, 3) body frame in its parent's
    quat: np.ndarray  # (9, 4)
    mass: np.ndarray  # (9,)
    com: np.ndarray  # (9, 3) centre of mass in the body frame
    inertia: np.ndarray  # (9, 3, 3) about the centre of mass, body axes
    axis: np.ndarray  # (9, 3) joint axis in the body frame (hinges 0..6, slides 7, 8)
    anchor: np.ndarray  # (9, 3) joint anchor in the body frame
    qpos0: np.ndarray  # (9,)
    armature: np.ndarray  # (9,)
    damping: np.ndarray  # (9,)
    dof_invweight0: np.ndarray  # (9,)
    limit_range: np.ndarray  # (9, 2)
    limit_solref: np.ndarray  # (9, 2)
    limit_solimp: np.ndarray  # (9, 5)
    hand_pos: np.ndarray  # (3,) body `hand` in the frame of right_l6
    hand_quat: np.ndarray  # (4,)
    weld_relquat: np.ndarray  # (4,) as metaworld's reset_mocap_welds sets it
    weld_torquescale: float
    weld_solref: np.ndarray  # (2,)
    weld_solimp: np.ndarray  # (5,)
    weld_invweight: np.ndarray  # (2,) body_invweight0 of hand (mocap's is zero): translation, rotation
    actuator_gain: np.ndarray  # (2,) kp of r_close, l_close; force = gain * ctrl + bias * qpos
    actuator_bias: np.ndarray  # (2,)
    ctrl_range: np.ndarray  # (2, 2)
    gravity: np.ndarray  # (3,), unless `Scene` has its own
    timestep: float


# The kinds of pairs that the narrow phase tells apart, in the order of a pair table's rows.
PAIR_KINDS = ("plane", "sphere", "capsule", "box", "cylinder_box", "convex")


MOST_PARAMETERS = 16  # of a pair, see `Pairs`
# Columns among them: friction (sliding, torsional, rolling), and the inverse weight of translation.
FRICTION, INVWEIGHT = (3, 4, 15), 12


class Pairs(struct.PyTreeNode):
    """Collider pairs of a scene, kind after kind, with MuJoCo's parameter mixing already applied (P rows, padded).

    The columns of `parameters`: margin (contacts with less distance are active; MuJoCo's gap is taken off), 1 for
    condim 4 and 6 and else 0, 1 for the left pad with the task's main object and 2 for the right one, sliding and
    torsional friction, solref (2), solimp (5), and the sums of both bodies' invweight0 of translation and rotation.
    Two more follow where a scene has contacts of condim 1 or 6: 0 for condim 1 and else 1, and, where there is condim
    6, the rolling friction, which is zero for others.
    """

    geom1: Array  # (P,) int32 collider rows, in the order in which MuJoCo passes them to the narrow phase
    geom2: Array  # (P,) int32
    valid: Array  # (P,) bool; False on padding
    parameters: Array  # (P, 14), (P, 15) or (P, 16)
    counts: tuple[int, ...] = struct.field(pytree_node=False)  # rows of each of `PAIR_KINDS`

    @property
    def num_rows(self) -> int:
        """Constraint rows of a contact: 4, or 6 where some roll."""
        return 4 if self.parameters.shape[-1] < MOST_PARAMETERS else 6


class Colliders(struct.PyTreeNode):
    """Collision geometry of a scene (C rows, padded)."""

    body: Array  # (C,) int32 skeleton body
    type: Array  # (C,) int32 mujoco.mjtGeom
    pos: Array  # (C, 3) in the body frame
    mat: Array  # (C, 3, 3) in the body frame
    size: Array  # (C, 3) MuJoCo's geom_size
    extent: Array  # (C, 3) half-extents of the bounding box, centred on the geom frame
    hull: Array  # (C,) int32 row of the engine's hull table (0 where the collider is no mesh)


class Scene(struct.PyTreeNode):
    """One Meta-World scene projected onto the skeleton."""

    free_mass: Array  # ()
    free_com: Array  # (3,)
    free_inertia: Array  # (3, 3) about the centre of mass, body axes
    free_armature: Array  # (6,)
    free_damping: Array  # (6,)
    prop_pos: Array  # (3,) position in the XML; an environment carries its own
    prop_quat: Array  # (4,)
    mount_pos: Array  # (3,) with the prop at prop_pos
    mount_quat: Array  # (4,)
    mount_on_prop: Array  # () 1.0 when the mount moves with the prop, else 0.0
    part_mass: Array  # ()
    part_com: Array  # (3,)
    part_inertia: Array  # (3, 3)
    part_axis: Array  # (3, 3) row per joint (slide, slide, hinge), in the part's frame; zero where absent
    part_anchor: Array  # (3,) of the hinge, in the part's frame
    part_qpos0: Array  # (3,)
    part_armature: Array  # (3,)
    part_damping: Array  # (3,)
    part_stiffness: Array  # (3,)
    part_springref: Array  # (3,)
    part_dof_invweight0: Array  # (3,)
    part_limited: Array  # (3,) bool
    part_limit_range: Array  # (3, 2)
    part_limit_solref: Array  # (3, 2)
    part_limit_solimp: Array  # (3, 5)
    colliders: Colliders
    pairs: Pairs
    gravity: Array | None = None  # (3,), None where all scenes have the robot's
    # Of lanes alone, which `dynamics.vary` sets; None where they are the robot's.
    robot_damping: Array | None = None  # (9,)
    servo_gain: Array | None = None  # (2,) factors of the robot's gain and bias


@exportable
class PhysicsState(struct.PyTreeNode):
    """All that must be carried from step to step."""

    qpos: Array  # (19,)
    qvel: Array  # (18,)
    mocap_pos: Array  # (3,)
    prop_pos: Array  # (3,) constant within an episode
    qacc_warmstart: Array  # (18,)


class Kinematics(struct.PyTreeNode):
    """World poses of the skeleton's bodies and the motion of each dof.

    A point p on a body that dof i moves has velocity `lin[i] + ang[i] x (p - anchor[i])` per unit of qvel[i].
    """

    xpos: Array  # (14, 3)
    xmat: Array  # (14, 3, 3)
    ang: Array  # (18, 3)
    lin: Array  # (18, 3)
    anchor: Array  # (18, 3)
    hand_pos: Array  # (3,) body `hand`
    hand_quat: Array  # (4,) body `hand`


_PLAIN_COLUMNS = 30  # of `Contacts` that all have friction and do not roll


class Contacts(struct.PyTreeNode):
    """The K kept contacts; rows with `active` False have no effect.

    They are kept in one array, so that a group of contacts is one slice.
    """

    data: Array  # (K, 30); (K, 31) where some have no friction, (K, 32) where some roll

    @classmethod
    def of(cls, **fields: Array) -> Contacts:
        """Contacts of all the properties below, whose first axis is K and whose last is the lanes."""
        order = ("dist", "pos", "frame", "body1", "body2", "margin", "torsional", "touch", "friction")
        order += ("solref", "solimp", "invweight")
        order += (*(name for name in ("slides", "rolling") if fields.get(name) is not None), "active")
        count, lanes, dtype = *fields["dist"].shape, fields["dist"].dtype
        return cls(jnp.concatenate([fields[name].astype(dtype).reshape(count, -1, lanes) for name in order], axis=1))

    @property
    def dist(self) -> Array:
        """(K,) negative when penetrating."""
        return self.data[:, 0]

    @property
    def pos(self) -> Array:
        """(K, 3) midpoint, world."""
        return self.data[:, 1:4]

    @property
    def frame(self) -> Array:
        """(K, 3, 3) rows: normal from geom1 to geom2, then two tangents."""
        return self.data[:, 4:13].reshape(-1, 3, 3, *self.data.shape[2:])

    @property
    def body1(self) -> Array:
        """(K,) int32 skeleton body."""
        return self.data[:, 13].astype(jnp.int32)

    @property
    def body2(self) -> Array:
        """(K,) int32 skeleton body."""
        return self.data[:, 14].astype(jnp.int32)

    @property
    def margin(self) -> Array:
        """(K,) contacts with less distance push."""
        return self.data[:, 15]

    @property
    def torsional(self) -> Array:
        """(K,) bool: with friction about the normal."""
        return self.data[:, 16] > 0

    @property
    def touch(self) -> Array:
        """(K,) int32: 1 or 2 where the left or the right pad touches the main object."""
        return self.data[:, 17].astype(jnp.int32)

    @property
    def friction(self) -> Array:
        """(K, 2) sliding and torsional."""
        return self.data[:, 18:20]

    @property
    def solref(self) -> Array:
        """(K, 2)."""
        return self.data[:, 20:22]

    @property
    def solimp(self) -> Array:
        """(K, 5)."""
        return self.data[:, 22:27]

    @property
    def invweight(self) -> Array:
        """(K, 2)."""
        return self.data[:, 27:29]

    @property
    def active(self) -> Array:
        """(K,) bool: a real pair with dist < margin."""
        return self.data[:, self.data.shape[1] - 1] > 0

    @property
    def slides(self) -> Array | None:
        """(K,) bool: with friction; None where all contacts have."""
        return self.data[:, 29] > 0 if self.data.shape[1] > _PLAIN_COLUMNS else None

    @property
    def rolling(self) -> Array | None:
        """(K,) rolling friction, zero for contacts without; None where no contact has."""
        return self.data[:, 30] if self.data.shape[1] > _PLAIN_COLUMNS + 1 else None

    @property
    def num_rows(self) -> int:
        """Constraint rows of a contact: 4, or 6 where some roll."""
        return 4 if self.data.shape[1] < _PLAIN_COLUMNS + 2 else 6


def moves() -> np.ndarray:
    """(14, 18) bool: which dof moves which skeleton body."""
    table = np.zeros((NUM_BODIES, NV), bool)
    for link in range(7):
        table[LINK0 + link, : link + 1] = True
    table[RIGHT_CLAW, :7] = table[LEFT_CLAW, :7] = True
    table[RIGHT_CLAW, 7] = True
    table[LEFT_CLAW, 8] = True
    table[FREE, FREE_DOFS] = True
    table[PART, PART_DOFS] = True
    return table
