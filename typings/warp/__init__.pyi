# Warp's kernels are Python only in looks: its types and functions are Any here.
from typing import Any

def __getattr__(name: str) -> Any: ...
