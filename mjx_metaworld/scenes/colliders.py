"""The collision geometry of a scene, and the pairs of it that can touch, as tables.

The pairs are those that MuJoCo's own filters leave and those that the file names (`<pair>`), less those that cannot
touch for a geometric reason (`_TouchTest`). Their parameters are those of `scenes.contacts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import mujoco
import numpy as np

from mjx_metaworld.physics import model as layout
from mjx_metaworld.physics.model import PAIR_KINDS, Colliders, Pairs
from mjx_metaworld.scenes.bodies import BodyMap
from mjx_metaworld.scenes.contacts import contact_parameters, explicit_pairs, standard_solref
from mjx_metaworld.scenes.hulls import NAMES as HULL_NAMES
from mjx_metaworld.scenes.hulls import is_metaworlds

_PLANE, _SPHERE, _CAPSULE, _CYLINDER, _BOX, _MESH = (
    int(mujoco.mjtGeom.mjGEOM_PLANE),
    int(mujoco.mjtGeom.mjGEOM_SPHERE),
    int(mujoco.mjtGeom.mjGEOM_CAPSULE),
    int(mujoco.mjtGeom.mjGEOM_CYLINDER),
    int(mujoco.mjtGeom.mjGEOM_BOX),
    int(mujoco.mjtGeom.mjGEOM_MESH),
)
_ROBOT = (layout.HAND, layout.RIGHT_CLAW, layout.LEFT_CLAW)

# Where robot geometry can be: the largest box over the 50 tasks to which metaworld clips the mocap, which holds the
# hand to within millimetres (3 cm are allowed here), grown by the reach of the gripper's geoms from the hand
# (11.2 cm at most, in any orientation that the hand takes).
MOCAP_LOW, MOCAP_HIGH = np.array([-0.5, 0.35, -0.15]), np.array([0.5, 1.0, 0.5])
_ROBOT_LOW, _ROBOT_HIGH = MOCAP_LOW - 0.145, MOCAP_HIGH + 0.145

# Padding rows pass the same arithmetic as real ones, so they must not divide by zero: MuJoCo's defaults.
_PADDING = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 0.02, 1.0, 0.9, 0.95, 0.001, 0.5, 2.0, 1.0, 1.0, 1.0, 0.0])
_SLIDES, _ROLLING = 14, 15  # columns of the parameters that scenes have only if they need them

# Joint limits are soft: a joint is sampled beyond them by this much (m or rad) and this part of its range.
_OVERSHOOT = 0.02
_RELATIVE_OVERSHOOT = 0.1
_JOINT_SAMPLES = 41
_STEP = 0.04  # m that a point moves at most between two samples; half of it is allowed for as clearance


def project_colliders(
    model: mujoco.MjModel, body_map: BodyMap, main_geom: str | None, hull_rows: Mapping[int, int] | None = None
) -> tuple[Colliders, Pairs]:
    """Colliders and pairs of an original scene on the skeleton (numpy leaves, rows not padded).

    Args:
        model: the original scene as MuJoCo compiles it.
        body_map: which skeleton body carries each body of it.
        main_geom: the geom of the task's main object, whose contact with the pads counts as touching.
        hull_rows: rows of the hull table of meshes that are not metaworld's.
    """
    pairs = find_pairs(model, body_map)
    used = sorted({geom for pair in pairs for geom in pair})
    row = {geom: i for i, geom in enumerate(used)}
    poses = [_geom_pose(model, body_map, geom) for geom in used]
    aabb = model.geom_aabb[used]
    colliders = Colliders(
        body=body_map.body[model.geom_bodyid[used]].astype(np.int32),
        type=model.geom_type[used].astype(np.int32),
        pos=np.array([pos for pos, _ in poses]),
        mat=np.array([mat for _, mat in poses]),
        size=model.geom_size[used],
        # A plane has no bounding box; it is never asked for one.
        extent=np.where((model.geom_type[used] == _PLANE)[:, None], 0.0, np.abs(aabb[:, :3]) + aabb[:, 3:]),
        hull=np.array([_hull_row(model, geom, hull_rows or {}) for geom in used], np.int32),
    )
    kinds = [pair_kind(model, pair) for pair in pairs]
    ordered = [pair for kind in PAIR_KINDS for pair, its_kind in zip(pairs, kinds, strict=True) if its_kind == kind]
    counts = tuple(kinds.count(kind) for kind in PAIR_KINDS)
    return colliders, _make_pairs(model, ordered, counts, row, main_geom)


def _hull_row(model: mujoco.MjModel, geom: int, hull_rows: Mapping[int, int]) -> int:
    if model.geom_type[geom] != _MESH:
        return 0
    mesh = int(model.geom_dataid[geom])
    return hull_rows[mesh] if mesh in hull_rows else HULL_NAMES.index(model.mesh(mesh).name)


def own_meshes(model: mujoco.MjModel, body_map: BodyMap) -> tuple[int, ...]:
    """The meshes of a scene that can touch something and are not among metaworld's hulls."""
    used = {geom for pair in find_pairs(model, body_map) for geom in pair}
    meshes = {int(model.geom_dataid[geom]) for geom in used if model.geom_type[geom] == _MESH}
    return tuple(mesh for mesh in sorted(meshes) if not is_metaworlds(model, mesh))


def stack_colliders(projected: Sequence[tuple[Colliders, Pairs]]) -> tuple[Colliders, Pairs]:
    """Pad the rows of several scenes to common lengths, kind by kind, and stack them along a leading scene axis."""
    colliders = jax.tree.map(_stack_padded, *(colliders for colliders, _ in projected))
    scenes = [_by_kind(pairs) for _, pairs in projected]
    kinds = [jax.tree.map(_stack_padded, *tables) for tables in zip(*scenes, strict=True)]
    counts = tuple(kind.valid.shape[1] for kind in kinds)
    pairs = jax.tree.map(lambda *rows: np.concatenate(rows, axis=1), *kinds).replace(counts=counts)
    parameters = np.where(pairs.valid[..., None], pairs.parameters, _PADDING)
    return colliders, pairs.replace(parameters=parameters[..., : _columns_in_use(parameters)])


def _columns_in_use(parameters: np.ndarray) -> int:
    """Columns of the pairs' parameters up to the last that any scene needs."""
    if parameters[..., _ROLLING].any():
        return _ROLLING + 1
    return _SLIDES if parameters[..., _SLIDES].all() else _SLIDES + 1


def _by_kind(pairs: Pairs) -> list[Pairs]:
    ends = np.cumsum(pairs.counts)
    bare = pairs.replace(counts=())
    return [
        jax.tree.map(lambda x, end=end, count=count: x[end - count : end], bare)
        for end, count in zip(ends, pairs.counts, strict=True)
    ]


def pair_kind(model: mujoco.MjModel, pair: tuple[int, int]) -> str:
    """Kind, of `PAIR_KINDS`, of a pair in narrow-phase order (lower geom type first)."""
    type1, type2 = (int(model.geom_type[g]) for g in pair)
    if type1 == _PLANE:
        return "plane"
    if type1 == _SPHERE and type2 != _MESH:
        return "sphere"
    if type1 == _CAPSULE and type2 in (_CAPSULE, _BOX):
        return "capsule"
    if type1 == type2 == _BOX:
        return "box"
    if (type1, type2) == (_CYLINDER, _BOX):
        return "cylinder_box"
    return "convex"


def _stack_padded(*rows: np.ndarray) -> np.ndarray:
    longest = max(len(r) for r in rows)
    # Zeros are safe padding: `valid` False, collider 0, body 0.
    return np.stack([np.concatenate([r, np.zeros((longest - len(r), *r.shape[1:]), r.dtype)]) for r in rows])


def find_pairs(model: mujoco.MjModel, body_map: BodyMap) -> list[tuple[int, int]]:
    """Geom pairs in narrow-phase order that pass MuJoCo's filters and can touch."""
    can_touch = _TouchTest(model, body_map)
    explicit = explicit_pairs(model)
    found = [pair for pair in explicit if _moves_apart(model, *pair) and can_touch(*pair)]
    for g1 in range(model.ngeom):
        for g2 in range(g1 + 1, model.ngeom):
            if passes_filters(model, g1, g2):
                pair = (g2, g1) if model.geom_type[g1] > model.geom_type[g2] else (g1, g2)
                if pair not in explicit and pair[::-1] not in explicit and can_touch(*pair):
                    found.append(pair)
    return found


def passes_filters(model: mujoco.MjModel, g1: int, g2: int) -> bool:
    """MuJoCo's static filters: contype and conaffinity, bodies welded together, weld parent and child, excludes."""
    affine = model.geom_contype[g1] & model.geom_conaffinity[g2] or model.geom_contype[g2] & model.geom_conaffinity[g1]
    planes = model.geom_type[g1] == _PLANE and model.geom_type[g2] == _PLANE
    if not affine or planes:
        return False
    if not _moves_apart(model, g1, g2) or _signature(model, g1, g2) in model.exclude_signature:
        return False
    weld1, weld2 = (int(model.body_weldid[model.geom_bodyid[g]]) for g in (g1, g2))
    parent1, parent2 = (int(model.body_weldid[model.body_parentid[w]]) for w in (weld1, weld2))
    return weld1 == 0 or weld2 == 0 or (weld1 != parent2 and weld2 != parent1)


def _moves_apart(model: mujoco.MjModel, g1: int, g2: int) -> bool:
    """True if the two geoms can move against each other."""
    weld1, weld2 = (model.body_weldid[model.geom_bodyid[g]] for g in (g1, g2))
    return bool(weld1 != weld2)


def _signature(model: mujoco.MjModel, g1: int, g2: int) -> int:
    """MuJoCo's number of two geoms' bodies."""
    first, second = sorted(int(model.geom_bodyid[g]) for g in (g1, g2))
    return (first << 16) + second


class _TouchTest:
    """Test if two geoms that MuJoCo would test can ever touch.

    Three arguments rule pairs out; all else is kept.
    - The robot stays where the mocap can lead it: it touches no static geom outside that box, the floor included.
    - The part moves against what carries it by its joints alone: their distance is measured over the joints' range.
    - The claws move against each other by their slides alone: likewise.
    """

    def __init__(self, model: mujoco.MjModel, body_map: BodyMap):
        self._model = model
        self._body = body_map.body[model.geom_bodyid]
        self._on_prop = self._part_on_prop(body_map)
        self._at_rest, self._moved = _forward(model), mujoco.MjData(model)
        self._claw_poses = self._sample((layout.RIGHT_CLAW, layout.LEFT_CLAW), body_map)
        self._part_poses = self._sample((layout.PART,), body_map)

    def __call__(self, g1: int, g2: int) -> bool:
        bodies = {int(self._body[g1]), int(self._body[g2])}
        if bodies == {layout.RIGHT_CLAW, layout.LEFT_CLAW}:
            return self._meets(self._claw_poses, g1, g2)
        base = layout.PROP if self._on_prop else layout.WORLD
        if layout.PART in bodies and base in bodies:
            return self._meets(self._part_poses, g1, g2)
        if layout.WORLD in bodies and bodies & set(_ROBOT):
            return self._in_reach(g1 if self._body[g1] == layout.WORLD else g2)
        # The floor is 0.9 m below the table: only a free body can fall there.
        return not (self._model.geom_type[g1] == _PLANE and layout.FREE not in bodies)

    def _part_on_prop(self, body_map: BodyMap) -> bool:
        parts = np.flatnonzero(body_map.body == layout.PART)
        return bool(parts.size > 0 and body_map.body[self._model.body_parentid[parts[0]]] == layout.PROP)

    def _in_reach(self, geom: int) -> bool:
        if self._model.geom_type[geom] == _PLANE:
            return False
        pos, mat = self._at_rest.geom_xpos[geom], self._at_rest.geom_xmat[geom].reshape(3, 3)
        half = np.abs(mat) @ (np.abs(self._model.geom_aabb[geom, :3]) + self._model.geom_aabb[geom, 3:])
        return bool((pos + half > _ROBOT_LOW).all() and (pos - half < _ROBOT_HIGH).all())

    def _sample(self, bodies: tuple[int, ...], body_map: BodyMap) -> np.ndarray | None:
        """Configurations (n, nq) with the joints of some bodies along their ranges; None where one has no range."""
        model = self._model
        joints = [j for j in range(model.njnt) if body_map.body[model.jnt_bodyid[j]] in bodies]
        if not joints or not model.jnt_limited[joints].all():
            return None
        count = round(_JOINT_SAMPLES ** (2 / (1 + len(joints))))
        axes = []
        for joint in joints:
            low, high = model.jnt_range[joint]
            slack = _OVERSHOOT + _RELATIVE_OVERSHOOT * (high - low)
            travel = (high - low + 2 * slack) * self._arm(joint)
            axes.append(np.linspace(low - slack, high + slack, max(count, 1 + int(np.ceil(travel / _STEP)))))
        values = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(joints))
        samples = np.tile(self._at_rest.qpos, (len(values), 1))
        samples[:, model.jnt_qposadr[joints]] = values
        return samples

    def _arm(self, joint: int) -> float:
        """Distance that the farthest colliding point moves per unit of a joint: 1 for slides, for hinges its radius."""
        model = self._model
        if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_SLIDE:
            return 1.0
        carried = np.flatnonzero(model.body_weldid[model.geom_bodyid] == model.jnt_bodyid[joint])
        geoms = carried[(model.geom_contype[carried] | model.geom_conaffinity[carried]) != 0]
        data = self._at_rest
        reach = np.linalg.norm(data.geom_xpos[geoms] - data.xanchor[joint], axis=1) + model.geom_rbound[geoms]
        return float(reach.max(initial=0.0))

    def _meets(self, samples: np.ndarray | None, g1: int, g2: int) -> bool:
        if samples is None:
            return True
        data = self._moved
        for qpos in samples:
            data.qpos[:] = qpos
            mujoco.mj_kinematics(self._model, data)
            if mujoco.mj_geomDistance(self._model, data, g1, g2, 1.0, None) < _STEP / 2:  # the clearance
                return True
        return False


def _forward(model: mujoco.MjModel) -> mujoco.MjData:
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    return data


def _geom_pose(model: mujoco.MjModel, body_map: BodyMap, geom: int) -> tuple[np.ndarray, np.ndarray]:
    """Pose of a geom in the frame of the skeleton body that carries it."""
    body = model.geom_bodyid[geom]
    outer, inner = _matrix(body_map.quat[body]), _matrix(model.geom_quat[geom])
    return body_map.pos[body] + outer @ model.geom_pos[geom], outer @ inner


def _matrix(quat: np.ndarray) -> np.ndarray:
    mat = np.zeros(9)
    mujoco.mju_quat2Mat(mat, quat)
    return mat.reshape(3, 3)


def _make_pairs(
    model: mujoco.MjModel,
    pairs: list[tuple[int, int]],
    counts: tuple[int, ...],
    row: dict[int, int],
    main_geom: str | None,
) -> Pairs:
    g = np.array(pairs, int).reshape(-1, 2)
    explicit = explicit_pairs(model)
    mixed = [contact_parameters(model, pair, explicit.get(pair)) for pair in pairs]
    condim = np.array([p.condim for p in mixed])
    columns = (
        [p.margin for p in mixed],
        condim >= 4,
        [_touch(model, pair, main_geom) for pair in pairs],
        *np.array([p.friction[[0, 2]] for p in mixed]).reshape(-1, 2).T,
        *np.array([standard_solref(p.solref, model.opt.timestep) for p in mixed]).reshape(-1, 2).T,
        *np.array([p.solimp for p in mixed]).reshape(-1, 5).T,
        *model.body_invweight0[model.geom_bodyid[g]].sum(1).T,
        condim > 1,
        [p.rolling for p in mixed],
    )
    return Pairs(
        geom1=np.array([row[a] for a, _ in pairs], np.int32),
        geom2=np.array([row[b] for _, b in pairs], np.int32),
        valid=np.ones(len(pairs), bool),
        parameters=np.stack([np.asarray(column, float) for column in columns], axis=1),
        counts=counts,
    )


def _touch(model: mujoco.MjModel, pair: tuple[int, int], main_geom: str | None) -> int:
    names = {model.geom(geom).name for geom in pair}
    if main_geom is None or main_geom not in names:
        return 0
    return 1 if "leftpad_geom" in names else 2 if "rightpad_geom" in names else 0
