"""The names of jaxtyping that this package uses, as pyright shall see them.

`Array` takes anything besides JAX's arrays: the host builds the same structs of NumPy arrays that a step receives as
JAX arrays, and a struct's number may be Python's own. What is an array of which shape is checked at run time, by tests.
"""

from collections.abc import Sequence
from typing import Annotated as Bool
from typing import Annotated as Float
from typing import Annotated as Int
from typing import Annotated as Key
from typing import Annotated as UInt
from typing import Annotated as UInt8
from typing import Any, TypeAlias

import jax

__all__ = ["Array", "Bool", "Float", "Int", "Key", "PyTree", "UInt", "UInt8", "install_import_hook", "jaxtyped"]

Array: TypeAlias = jax.Array | Any
PyTree: TypeAlias = Any

def jaxtyped(*, typechecker: Any) -> Any: ...
def install_import_hook(modules: str | Sequence[str], typechecker: str | None) -> Any: ...
