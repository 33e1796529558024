"""Tensors of PyTorch and arrays of JAX over the same memory, by DLPack; and how both share a GPU."""

from __future__ import annotations

import os
import warnings
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from mjx_metaworld.processes.installed import install_command

try:
    import torch
except ImportError as error:
    raise ImportError(
        f"this adapter needs PyTorch: {install_command('torch')}, or the build for your machine that "
        "https://pytorch.org/get-started names"
    ) from error

from mjx_metaworld.vector import Device

# Without it JAX takes three quarters of a GPU's memory when it first uses it, which leaves PyTorch little. JAX reads it
# when it makes its devices: with `mw.make` at the latest, and so after the imports of a script.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def to_torch(tree: Any) -> Any:
    """The arrays of a tree as tensors over the same memory, on the same device.

    On a CPU it waits until they are computed. On a GPU it does not: PyTorch's current stream does.
    """
    return jax.tree.map(torch.from_dlpack, tree)


def to_jax(tensor: torch.Tensor) -> Array:
    """A tensor as an array over the same memory, copied only where JAX cannot read it as it lies.

    That is a tensor which is not contiguous, or, on a CPU, begins at an address that is no multiple of 64 bytes.
    """
    return jax.dlpack.from_dlpack(tensor.contiguous())


def check_action(action: Any, shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """An action as the environments take it: of their precision, which floating-point numbers are cast to.

    Raises:
        TypeError: if it is no tensor, or not of a floating-point type.
        ValueError: if it has another shape, lies on another device, or requires a gradient, which no step passes on.
    """
    if not isinstance(action, torch.Tensor):
        raise TypeError(f"action must be a torch.Tensor, got {type(action).__name__}")
    if tuple(action.shape) != shape:
        raise ValueError(f"action must have shape {shape}, got {tuple(action.shape)}")
    if action.device != device:
        raise ValueError(f"action must lie on {device}, as the environments do, got one on {action.device}: use .to()")
    if not action.is_floating_point():
        raise TypeError(f"action must be of a floating-point type, got {action.dtype}")
    if action.requires_grad:
        raise ValueError(
            "action requires a gradient, which steps do not pass on: act under torch.no_grad(), or give action.detach()"
        )
    return action.to(dtype)


def torch_dtype(array: Array) -> torch.dtype:
    """PyTorch's name of an array's floating-point type."""
    return torch.float64 if array.dtype == jnp.float64 else torch.float32


def jax_device(device: torch.device | str | None) -> Device:
    """JAX's name of a device of PyTorch's; JAX's default device where there is none.

    Raises:
        ValueError: for a device that is neither a CPU nor a GPU of CUDA's.
        RuntimeError: for a GPU that JAX does not have.
    """
    if device is None:
        return jnp.zeros(()).devices().pop()
    device = torch.device(device)
    if device.type == "cpu":
        return jax.devices("cpu")[0]
    if device.type != "cuda":
        raise ValueError(f"device must be cpu or cuda, got {device}")
    try:
        found = jax.local_devices(backend="cuda")
    except RuntimeError as error:
        raise RuntimeError(f"JAX has no GPU for device {device}: install jax[cuda13] or jax[cuda12]") from error
    number = torch.cuda.current_device() if device.index is None else device.index
    for candidate in found:
        if candidate.local_hardware_id == number:
            return candidate
    raise RuntimeError(f"JAX does not use GPU {number}, only {[gpu.local_hardware_id for gpu in found]}")


def torch_device(device: Device) -> torch.device:
    """PyTorch's name of a device of JAX's.

    Raises:
        RuntimeError: if the PyTorch that is installed cannot use it.
    """
    if device.platform == "cpu":
        return torch.device("cpu")
    if device.platform == "gpu" and torch.cuda.is_available():
        return torch.device("cuda", device.local_hardware_id)
    raise RuntimeError(
        f"JAX computes on {device}, which this PyTorch ({torch.__version__}) cannot use: install its build for CUDA, "
        "or start with JAX_PLATFORMS=cpu"
    )


def warn_of_preallocation(device: Device) -> None:
    """Warn if JAX has taken most of a GPU's memory in advance, unless the share that it takes was chosen."""
    chosen = {"XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION"} & os.environ.keys()
    stats = None if device.platform == "cpu" or chosen else device.memory_stats()
    if not stats:
        return
    limit = stats.get("bytes_limit", 0)
    idle = stats.get("pool_bytes", 0) - stats.get("bytes_in_use", 0)
    if limit and idle > limit / 2:
        warnings.warn(
            f"JAX holds {idle / 2**30:.1f} GiB of {device} in advance, which PyTorch cannot use: import this adapter "
            "before JAX first computes, or set XLA_PYTHON_CLIENT_PREALLOCATE=false (or XLA_CLIENT_MEM_FRACTION to the "
            "share that JAX is to have)",
            stacklevel=3,
        )
