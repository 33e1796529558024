"""The physics as functions of one environment: projected scenes in, state and poses out."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array

from mjx_metaworld.physics.backend import execution_of
from mjx_metaworld.physics.batching import Division, lanes_last
from mjx_metaworld.physics.collision import Geometry
from mjx_metaworld.physics.collision.hull_support import HullTable
from mjx_metaworld.physics.collision.weights import object_invweights
from mjx_metaworld.physics.config import EngineConfig
from mjx_metaworld.physics.copies import reduce_to_itself
from mjx_metaworld.physics.derivative import DiffOutputs, DiffState, pull_lanes, with_pullback
from mjx_metaworld.physics.dynamics import Dynamics, contact_factors, vary
from mjx_metaworld.physics.kinematics import kinematics
from mjx_metaworld.physics.lookup import rows_of_lanes
from mjx_metaworld.physics.model import Arm, Kinematics, PhysicsState, Scene
from mjx_metaworld.physics.step import control_step


class Poses(struct.PyTreeNode):
    """Poses after a control step, for observation and reward."""

    xpos: Array  # (14, 3) skeleton bodies
    xmat: Array  # (14, 3, 3)
    hand_pos: Array  # (3,)
    touching: Array  # () bool: both pads press on the main object


class Engine:
    """Physics of several scenes with one compiled program.

    Args:
        arm: constants of the robot.
        scenes: projected scenes with a leading scene axis (numpy float64).
        hulls: hulls of the meshes that the scenes' colliders refer to.
        config: accuracy, and how batches are laid out.

    Copies, also those of `pickle`, are itself within a process. In another one a pickled engine leaves out kernels that
    cannot run there.
    """

    def __init__(self, arm: Arm, scenes: Scene, hulls: HullTable, config: EngineConfig) -> None:
        self.arm, self.scenes, self.hulls = arm, scenes, hulls
        self.config = config
        self.operations: dict[Any, Any] = {}  # what others have made of this engine, to be found again
        self._lanes, self._chunk = config.execution.tile, config.execution.block or None
        alone = dataclasses.replace(config, execution=dataclasses.replace(config.execution, early_exit=False))
        step = self.on_lanes(
            functools.partial(self._step_lanes, config),
            order=lambda scene, state, ctrl, cost, dynamics: cost,
            alone=functools.partial(self._step_lanes, alone),
            shapes=lambda scene, state, ctrl, cost, dynamics: (
                jax.tree.map(_shape, state),
                _poses_shapes(state.qpos.dtype),
                _shape(cost),
            ),
        )
        pullback = self.on_lanes(
            functools.partial(self._pull_lanes, config),
            alone=functools.partial(self._pull_lanes, alone),
            shapes=lambda scene, state, ctrl, dynamics, diff_state, diff_outputs: (
                jax.tree.map(_shape, diff_state),
                _shape(ctrl),
                jax.tree.map(_shape, dynamics),
            ),
        )
        self._step = with_pullback(step, pullback)
        self._poses = self.on_lanes(
            self._poses_lanes,
            alone=self._poses_lanes,
            shapes=lambda scene, state: _poses_shapes(state.qpos.dtype),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_to_itself(self, _make_here, type(self), self.arm, self.scenes, self.hulls, self.config)

    @property
    def is_overwritten(self) -> bool:
        """True if this engine has an attribute of its own in place of one of its class, such as a method."""
        kinds = {name: inspect.getattr_static(type(self), name, None) for name in vars(self)}
        return any(kind is not None and not isinstance(kind, functools.cached_property) for kind in kinds.values())

    def on_lanes(self, fn: Callable[..., Any], **options: Callable[..., Any]) -> Callable[..., Any]:
        """A function of one environment from one of lanes-last arrays, laid out as this engine batches.

        `options` are those of `lanes_last`.
        """
        return lanes_last(fn, lanes=self._lanes, chunk=self._chunk, **options)

    def division(self, num_envs: int) -> Division:
        """Division of a batch into this engine's chunks and tiles."""
        return Division.of(num_envs, self._lanes or num_envs, self._chunk)

    def step(
        self,
        scene: Array,
        state: PhysicsState,
        ctrl: Array,
        cost_estimate: Array,
        dynamics: Dynamics | None = None,
    ) -> tuple[PhysicsState, Poses, Array]:
        """One control step, and the forward pass that the reference makes before it observes.

        Args:
            scene: () row of the stacked scenes.
            state: the state of one environment.
            ctrl: (2,) targets of the finger servos.
            cost_estimate: () int32 that the step before returned, 0 at first; any value gives the same results.
            dynamics: physical parameters that differ from the scene's; None for the scene as it is.

        Returns:
            The new state, its poses, and the next cost estimate, by which a CPU computes environments of alike cost
            together.
        """
        return self._step(scene, state, ctrl, cost_estimate, dynamics)

    def poses(self, scene: Array, state: PhysicsState) -> Poses:
        """Poses of a state by forward kinematics alone; `touching` is False."""
        return self._poses(scene, state)

    def _step_lanes(
        self,
        config: EngineConfig,
        scene: Array,
        state: PhysicsState,
        ctrl: Array,
        cost_estimate: Array,
        dynamics: Dynamics | None,
    ) -> tuple[PhysicsState, Poses, Array]:
        rows = self.select(scene)
        geometry = self._geometry(scene, dynamics)._replace(factors=contact_factors(rows, dynamics))
        made = control_step(self.arm, vary(self.arm, rows, dynamics), geometry, state, ctrl, config)
        return made.state, _poses(made.kin, made.touching), made.cost_estimate

    def _pull_lanes(
        self,
        config: EngineConfig,
        scene: Array,
        state: PhysicsState,
        ctrl: Array,
        dynamics: Dynamics | None,
        diff_state: DiffState,
        diff_outputs: DiffOutputs,
    ) -> tuple[DiffState, Array, Dynamics | None]:
        geometry, rows = self._geometry(scene, dynamics), self.select(scene)
        return pull_lanes(self.arm, rows, geometry, state, ctrl, dynamics, diff_state, diff_outputs, config)

    def _poses_lanes(self, scene: Array, state: PhysicsState) -> Poses:
        kin = kinematics(self.arm, self.select(scene), state.qpos, state.prop_pos)
        return _poses(kin, jnp.zeros(scene.shape, bool))

    def _geometry(self, scene: Array, dynamics: Dynamics | None) -> Geometry:
        geometry = Geometry.of(self.scenes, self.hulls, scene)
        if dynamics is None or (dynamics.free_mass is None and dynamics.part_mass is None):
            return geometry
        return geometry._replace(invweights=self._invweights)

    @functools.cached_property
    def _invweights(self) -> np.ndarray:
        return object_invweights(self.scenes).reshape(-1, 2)

    def select(self, scene: Array) -> Scene:
        """The scenes of the lanes, (L,) rows, lanes last, without their colliders and pairs."""
        return rows_of_lanes(self.scenes.replace(colliders=None, pairs=None), scene)


def _make_here(kind: type[Engine], arm: Arm, scenes: Scene, hulls: HullTable, config: EngineConfig) -> Engine:
    """An engine that comes from another process, whose kernels are unknown to XLA until they are looked for here."""
    return kind(arm, scenes, hulls, dataclasses.replace(config, execution=execution_of(config.execution)))


def _shape(x: Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x))


def _poses_shapes(dtype: Any) -> Poses:
    def numbers(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype)

    return Poses(numbers(14, 3), numbers(14, 3, 3), numbers(3), jax.ShapeDtypeStruct((), bool))


def _poses(kin: Kinematics, touching: Array) -> Poses:
    return Poses(xpos=kin.xpos, xmat=kin.xmat, hand_pos=kin.hand_pos, touching=touching)
