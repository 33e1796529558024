"""Names of this package's structs in files of `jax.export`."""

from __future__ import annotations

import json
from typing import TypeVar

import jax.export

Struct = TypeVar("Struct")


def exportable(struct: type[Struct]) -> type[Struct]:
    """Register a struct, so that an exported function that takes or gives it can be written to a file.

    It is read again where this package is imported. What of the struct is no array has to be plain data.
    """
    jax.export.register_pytree_node_serialization(
        struct,
        serialized_name=f"mjx_metaworld.{struct.__name__}",
        serialize_auxdata=lambda constants: json.dumps(constants).encode(),
        deserialize_auxdata=lambda data: tuple(json.loads(data)),
    )
    return struct
