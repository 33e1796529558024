"""Configuration of the engine: how accurate its results are, and how its program is laid out for the hardware.

`PhysicsConfig` is the user's: its numbers change results. `Execution` is the backend's: its numbers change how a batch
is computed, and results by no more than rounding; `backend.py` holds one for each kind of device. An engine holds one
of each, as `EngineConfig`. All are hashable, so they can be static arguments.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from mjx_metaworld.physics.checks import check_integer

CONTACTS_PER_GROUP = 4  # contacts that a CPU works on together; their rows fit the first-level cache


def _check_integer(config: Any, name: str, *, least: int) -> None:
    number = check_integer(f"{type(config).__name__}.{name}", getattr(config, name), least)
    object.__setattr__(config, name, number)  # a numpy integer would decide dtypes of what it is multiplied with


@dataclass(frozen=True)
class PhysicsConfig:
    """Accuracy of the engine: fixed sizes and iteration counts.

    The defaults come from measurements that `benchmarks/` re-runs.

    Raises:
        ValueError: for a number that is out of range or no integer; it names the field, the value and what is allowed.
    """

    substeps: int = 5  # MuJoCo steps a control step, metaworld's frame_skip
    plane_pairs: int = 1  # nearest pairs tested per narrow-phase kind; 0 leaves the kind out
    sphere_pairs: int = 6
    capsule_pairs: int = 12
    box_pairs: int = 12
    cylinder_box_pairs: int = 16
    convex_pairs: int = 8  # the other pairs that MuJoCo gives to its general convex routine
    convex_search_iterations: int = 8  # support evaluations of that routine when a pair is selected
    convex_iterations: int = 3  # and at every evaluation of the dynamics
    max_contacts: int = 48  # deepest contacts kept; a multiple of CONTACTS_PER_GROUP
    solver_iterations: int = 8  # at most
    linesearch_iterations: int = 6  # at most, in each of them
    solver_tolerance: float = 1e-4  # converged where no qacc moved by more than this, relative to 1 + |qacc|

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if field.name != "solver_tolerance":
                _check_integer(self, field.name, least=0 if field.name.endswith("_pairs") else 1)
        if not any(self.pairs):
            raise ValueError("PhysicsConfig: at least one kind of pairs must be tested, got 0 for all kinds")
        if self.max_contacts % CONTACTS_PER_GROUP:
            allowed = f"a multiple of {CONTACTS_PER_GROUP}"
            raise ValueError(f"PhysicsConfig.max_contacts must be {allowed}, got {self.max_contacts!r}")
        tolerance = self.solver_tolerance
        if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 <= tolerance < math.inf:
            raise ValueError(f"PhysicsConfig.solver_tolerance must be a finite number >= 0, got {tolerance!r}")

    @property
    def pairs(self) -> tuple[int, ...]:
        """Nearest pairs tested of each kind, in the order of `model.PAIR_KINDS`."""
        return (
            self.plane_pairs,
            self.sphere_pairs,
            self.capsule_pairs,
            self.box_pairs,
            self.cylinder_box_pairs,
            self.convex_pairs,
        )


def changed_fields(physics: PhysicsConfig) -> dict[str, int | float]:
    """Fields of an accuracy that are not the defaults, with their values."""
    fields = {field.name: getattr(physics, field.name) for field in dataclasses.fields(physics)}
    return {name: value for name, value in fields.items() if value != getattr(PhysicsConfig, name)}


@dataclass(frozen=True)
class Execution:
    """Layout of a batch and form of the loops; the defaults compute all of a batch, and all of its work, at once.

    Raises:
        ValueError: for a number that is out of range or no integer; it names the field, the value and what is allowed.
    """

    tile: int = 0  # environments in a SIMD tile, 0 for one tile
    block: int = 0  # environments computed at a time, 0 for all
    contact_group: int = 0  # contacts worked on together, 0 for all
    pair_group: int = 64  # near pairs of a kind worked on at a time, where `early_exit`
    early_exit: bool = False  # leave out work that no environment at hand needs
    compaction: int = 0  # unconverged environments are solved in sub-batches of the batch divided by this; 0: they stay
    kernels: bool = False  # use kernels of our own where the device is CUDA's and there is no `early_exit`
    cpu_kernels: bool = False  # use kernels of our own where the device is a CPU

    def __post_init__(self) -> None:
        for name in ("tile", "block", "contact_group", "compaction"):
            _check_integer(self, name, least=0)
        _check_integer(self, "pair_group", least=1)
        for name in ("early_exit", "kernels", "cpu_kernels"):
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise ValueError(f"Execution.{name} must be True or False, got {value!r}")


@dataclass(frozen=True)
class EngineConfig:
    """Accuracy and execution together, as the stages of the physics take them.

    Raises:
        ValueError: if the contacts cannot be divided into groups.
    """

    accuracy: PhysicsConfig = PhysicsConfig()
    execution: Execution = Execution()

    def __post_init__(self) -> None:
        group, contacts = self.execution.contact_group, self.accuracy.max_contacts
        if group and contacts % group:
            allowed = f"0 or a divisor of max_contacts ({contacts})"
            raise ValueError(f"Execution.contact_group must be {allowed}, got {group}")
