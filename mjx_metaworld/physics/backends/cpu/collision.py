"""Collision detection as two kernels for a CPU: the nearest pairs, and contacts.

These are `cpp/broadphase.cpp` and `cpp/narrowphase.cpp`. Both read the tables of all scenes' colliders and pairs by
themselves, and work on the near pairs of all lanes side by side, whatever lanes and tiles these are of.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from mjx_metaworld.physics import collision
from mjx_metaworld.physics.backends.cpu.operation import kernel_of, kernel_operation, laned
from mjx_metaworld.physics.collision.candidates import (
    Candidates,
    ChosenPairs,
    choose_pairs,
    find_starts,
    look_up_pairs,
    slots_of,
)
from mjx_metaworld.physics.collision.geometry import Geometry
from mjx_metaworld.physics.collision.packing import take_shared
from mjx_metaworld.physics.collision.shapes import WarmStart, collider_table
from mjx_metaworld.physics.collision.weights import ContactFactors, scale
from mjx_metaworld.physics.config import EngineConfig
from mjx_metaworld.physics.model import Contacts, Kinematics

Array = jax.Array
BROADPHASE, NARROWPHASE = kernel_of("broadphase"), kernel_of("narrowphase")

# Rows of a pair's start in the kernels: direction, corners in the frames of both shapes, weights of two corners.
_START = (3, 9, 9, 2)
# Columns of a contact before those that it takes over from its pair: distance, position, frame, and both bodies.
_OWN_COLUMNS = 15


class Tables:
    """Constants of all scenes, as the kernels take them; compared by identity.

    Args:
        geometry: of any lanes.
    """

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry._replace(scene=None, factors=None, invweights=None)
        self.invweights = geometry.invweights

    @functools.cached_property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """Colliders (S, 21, C), pairs (S, P, 2 + parameters), and the hulls' candidates, rows, grids, reaches, faces.

        A collider's rows are body, type, hull, pos, mat, size and extent; a pair's columns are its colliders, -1 on
        padding, and its parameters.
        """
        pairs, hulls = self._geometry.pairs, self._geometry.hulls
        scenes = [self._colliders(scene) for scene in range(len(self._geometry.colliders.body))]
        geoms = np.where(pairs.valid, [pairs.geom1, pairs.geom2], -1)
        faces = np.zeros((len(hulls.first_row), 0, 3)) if hulls.faces is None else hulls.faces
        return (
            np.stack(scenes).astype(np.float32),
            np.concatenate([np.moveaxis(geoms, 0, -1), pairs.parameters], axis=2).astype(np.float32),
            hulls.candidates.astype(np.float32),
            hulls.first_row.astype(np.int32),
            hulls.resolution.astype(np.int32),
            hulls.reach.astype(np.float32),
            faces.astype(np.float32),
        )

    def geometry(self, scene: Array) -> Geometry:
        """The geometry of lanes of these scenes (L,), whose contacts are as the tables say."""
        return self._geometry._replace(scene=scene)

    def numbered_geometry(self, scene: Array) -> Geometry:
        """The same with the rows of the pairs, counted through all scenes, as their last parameter."""
        geometry = self.geometry(scene)
        parameters = geometry.pairs.parameters
        numbers = np.arange(parameters[..., 0].size).reshape(*parameters.shape[:-1], 1)
        return geometry._replace(
            pairs=geometry.pairs.replace(parameters=np.concatenate([parameters, numbers], axis=-1))
        )

    def slots(self, config: EngineConfig) -> tuple[int, ...]:
        """Slots of each kind of pair."""
        return slots_of(self._geometry, config)

    def kinds(self, config: EngineConfig) -> np.ndarray:
        """(2, 6) int32 rows and slots of each kind of pair."""
        return np.array([self._geometry.pairs.counts, self.slots(config)], np.int32)

    @property
    def contact_columns(self) -> int:
        """Columns of `Contacts`."""
        return _OWN_COLUMNS + self._geometry.pairs.parameters.shape[-1] + 1

    def _colliders(self, scene: int) -> np.ndarray:
        own = jax.tree.map(lambda x: np.asarray(x)[scene], self._geometry.colliders)
        return np.concatenate([collider_table(own), own.extent], axis=1).T


class KernelCandidates(struct.PyTreeNode):
    """Pairs for the narrow phase as rows of the scenes' tables, lanes last; like `Candidates`, it has a start."""

    pairs: Array  # (slots of all kinds, L) int32 rows of the lanes' pairs, those of a kind by their gaps
    near: Array  # (6, L) int32 how many of each kind may touch before the next selection
    start: Array  # (23, slots of the convex kind, L)
    scene: Array  # (L,) int32
    factors: ContactFactors | None
    tables: Tables = struct.field(pytree_node=False)

    def going_on(self, start: Any) -> KernelCandidates:
        """The same pairs, from another start."""
        return self.replace(start=start)


def broadphase(
    geometry: Geometry, kin: Kinematics, config: EngineConfig, reach: Array | float = 0.0
) -> Candidates | KernelCandidates:
    """Select the nearest pairs of each kind, as `collision.broadphase`."""
    if kin.xpos.dtype != jnp.float32:
        return collision.broadphase(geometry, kin, config, reach)
    tables = Tables(geometry)
    reach = jnp.broadcast_to(jnp.asarray(reach, jnp.float32), geometry.scene.shape)
    found = _broadphase(kin.xpos, kin.xmat, geometry.scene, reach, config=config, tables=tables)
    return KernelCandidates(*found, scene=geometry.scene, factors=geometry.factors, tables=tables)


def narrowphase(
    candidates: Candidates | KernelCandidates, kin: Kinematics, config: EngineConfig
) -> tuple[Contacts, Candidates | KernelCandidates]:
    """Contacts of the selected pairs; also these pairs with the start of the next search; as `collision.narrowphase`.

    Where more points touch than are kept, they are the deepest ones exactly.
    """
    if isinstance(candidates, Candidates):
        return collision.narrowphase(candidates, kin, config)
    tables = candidates.tables
    operands = kin.xpos, kin.xmat, candidates.scene, candidates.pairs, candidates.near, candidates.start
    data, rows, start = _narrowphase(*operands, config=config, tables=tables)
    if candidates.factors is not None:
        data = _scaled(data, rows, candidates.factors, tables.invweights)
    return Contacts(data), candidates.going_on(start)


def _scaled(data: Array, rows: Array, factors: ContactFactors, invweights: np.ndarray | None) -> Array:
    """Contacts (K, columns, L) of pairs (K, L) under the lanes' factors."""
    shares = None if invweights is None else take_shared(invweights, rows)
    parameters = scale(jnp.moveaxis(data[:, _OWN_COLUMNS:-1], 1, 0), factors, shares)
    return jnp.concatenate([data[:, :_OWN_COLUMNS], jnp.moveaxis(parameters, 0, 1), data[:, -1:]], axis=1)


# --- the nearest pairs ---


def _candidate_shapes(xpos: Any, xmat: Any, scene: Any, reach: Any, *, config: EngineConfig, tables: Tables) -> Any:
    lanes, slots = scene.shape[-1], tables.slots(config)
    return [
        laned(lanes, sum(slots), dtype=np.int32),
        laned(lanes, len(slots), dtype=np.int32),
        laned(lanes, sum(_START), slots[-1]),
    ]


def _candidates_in_kernel(shapes: Any, *operands: Array, config: EngineConfig, tables: Tables) -> Sequence[Array]:
    call = jax.ffi.ffi_call(BROADPHASE.target(), shapes)
    return call(
        *operands,
        tables.kinds(config),
        *tables.arrays,
        iterations=np.int32(config.accuracy.convex_search_iterations),
    )


def _candidates_by_xla(
    xpos: Array, xmat: Array, scene: Array, reach: Array, *, config: EngineConfig, tables: Tables
) -> list[Array]:
    geometry, config, kin = tables.geometry(scene), _side_by_side(config), _kinematics(xpos, xmat)
    chosen = choose_pairs(geometry, kin, config, reach)
    start = find_starts(look_up_pairs(geometry, chosen, config), kin, config).start
    near = iter(chosen.near)
    return [
        jnp.concatenate(chosen.indices),
        jnp.stack([next(near) if count else jnp.zeros_like(scene) for count in tables.slots(config)]),
        jnp.zeros((sum(_START), 0, len(scene)), xpos.dtype) if start is None else _packed(start),
    ]


def _side_by_side(config: EngineConfig) -> EngineConfig:
    """The same with one layout for all pairs: slot by slot for every lane."""
    return dataclasses.replace(config, execution=dataclasses.replace(config.execution, early_exit=False))


def _kinematics(xpos: Array, xmat: Array) -> Kinematics:
    """Kinematics of which collision detection reads nothing but the poses of bodies."""
    nothing = jnp.zeros((0, *xpos.shape[1:]), xpos.dtype)
    return Kinematics(xpos, xmat, nothing, nothing, nothing, nothing, nothing)


def _packed(start: WarmStart) -> Array:
    """(23, S, L) a start as the kernels have it."""
    return jnp.concatenate(
        [x.reshape(-1, *x.shape[-2:]) for x in (start.normal, start.first, start.second, start.weights)]
    )


def _unpacked(start: Array) -> WarmStart:
    normal, first, second, weights = jnp.split(start, np.cumsum(_START)[:-1].tolist())
    corners = (3, 3, *start.shape[1:])
    return WarmStart(normal, first.reshape(corners), second.reshape(corners), weights)


_broadphase = kernel_operation(
    "broadphase_in_kernel", shapes=_candidate_shapes, in_kernel=_candidates_in_kernel, by_xla=_candidates_by_xla
)


# --- contacts ---


def _contact_shapes(xpos: Any, *operands: Any, config: EngineConfig, tables: Tables) -> list[jax.ShapeDtypeStruct]:
    lanes, count, start = xpos.shape[-1], config.accuracy.max_contacts, operands[-1]
    return [
        laned(lanes, count, tables.contact_columns),
        laned(lanes, count, dtype=np.int32),
        jax.ShapeDtypeStruct(start.shape, np.float32),
    ]


def _contacts_in_kernel(shapes: Any, *operands: Array, config: EngineConfig, tables: Tables) -> Sequence[Array]:
    call = jax.ffi.ffi_call(NARROWPHASE.target(), shapes)
    return call(
        *operands,
        tables.kinds(config),
        *tables.arrays,
        iterations=np.int32(config.accuracy.convex_iterations),
    )


def _contacts_by_xla(
    xpos: Array,
    xmat: Array,
    scene: Array,
    pairs: Array,
    near: Array,
    start: Array,
    *,
    config: EngineConfig,
    tables: Tables,
) -> list[Array]:
    geometry, config, slots = tables.numbered_geometry(scene), _side_by_side(config), tables.slots(config)
    parts = jnp.split(pairs, np.cumsum(slots)[:-1].tolist())
    chosen = ChosenPairs([p for p in parts if len(p)], [n for n, p in zip(near, parts, strict=True) if len(p)])
    candidates = look_up_pairs(geometry, chosen, config)
    if slots[-1]:
        candidates = candidates.going_on(_unpacked(start))
    contacts, candidates = collision.narrowphase(candidates, _kinematics(xpos, xmat), config)
    columns = tables.contact_columns
    data, numbers, active = jnp.split(contacts.data, [columns - 1, columns], axis=1)
    start = start if candidates.start is None else _packed(candidates.start)
    return [jnp.concatenate([data, active], axis=1), numbers[:, 0].astype(jnp.int32), start]


_narrowphase = kernel_operation(
    "narrowphase_in_kernel", shapes=_contact_shapes, in_kernel=_contacts_in_kernel, by_xla=_contacts_by_xla
)
