"""brax 0.14's agents call `jax.device_put_replicated`, which jax 0.10 no longer has (google/brax issue 671).

Delete this module when a release of brax does without.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def provide_device_put_replicated() -> None:
    """Give jax the function again, unless it has it."""
    if not hasattr(jax, "device_put_replicated"):
        jax.device_put_replicated = device_put_replicated


def device_put_replicated(x: Any, devices: Sequence[Any]) -> Any:
    """Copies of a tree's arrays on several devices, as arrays with a leading axis over these devices."""
    sharding = NamedSharding(Mesh(np.array(devices), ("devices",)), PartitionSpec("devices"))
    return jax.tree.map(lambda leaf: jax.device_put(jnp.stack([leaf] * len(devices)), sharding), x)
