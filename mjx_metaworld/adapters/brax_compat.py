"""A stand-in for `jax.device_put_replicated`, which brax 0.14's agents call and jax 0.10 no longer has.

It is given to brax's own modules; `jax` itself stays as it is (google/brax issue 671). Delete this module when a
release of brax does without.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


class _JaxOfBrax(types.ModuleType):
    """The module `jax` with the function that it no longer has."""

    def __init__(self) -> None:
        super().__init__("jax", jax.__doc__)
        self.device_put_replicated = device_put_replicated

    def __getattr__(self, name: str) -> Any:
        return getattr(jax, name)


def provide_device_put_replicated() -> None:
    """Let the agents of brax that are loaded find the function; does nothing where jax still has it."""
    if hasattr(jax, "device_put_replicated"):
        return
    stand_in = _JaxOfBrax()
    for name, module in list(sys.modules.items()):
        if name.startswith("brax.training.") and getattr(module, "jax", None) is jax:
            module.__dict__["jax"] = stand_in  # what `import jax` in that module has bound


def device_put_replicated(x: Any, devices: Sequence[Any]) -> Any:
    """Copies of a tree's arrays on several devices, as arrays with a leading axis over these devices."""
    sharding = NamedSharding(Mesh(np.array(devices), ("devices",)), PartitionSpec("devices"))
    return jax.tree.map(lambda leaf: jax.device_put(jnp.stack([leaf] * len(devices)), sharding), x)
