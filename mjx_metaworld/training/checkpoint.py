"""Checkpoints of a run with orbax: whole or not there at all, and everything that the run goes on from."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jaxtyping import Array, Key

from mjx_metaworld.training.config import TrainConfig, as_json, differences, from_json
from mjx_metaworld.training.devices import placement
from mjx_metaworld.training.requires import require

RUN_FILE = "run.json"
_KEEP = 3  # the newest checkpoints; older ones are deleted


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be used: broken, of another run, or of another version."""


@dataclass(frozen=True)
class Progress:
    """Progress of a run."""

    iteration: int = 0
    env_steps: int = 0
    seconds: float = 0.0  # wall clock since the run began, with compiling, over all of its processes
    success: float = 0.0  # of the last evaluation, in the mean


class Checkpoints:
    """The checkpoints of a run folder.

    Args:
        folder: the run's; made if it does not exist.

    Raises:
        ImportError: if orbax is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._ocp = require("orbax.checkpoint")
        self._folder = folder.absolute() / "checkpoints"
        # Writing waits for the disk: the arrays of the train state may be overwritten right afterwards.
        options = self._ocp.CheckpointManagerOptions(max_to_keep=_KEEP, enable_async_checkpointing=False)
        self._manager = self._ocp.CheckpointManager(self._folder, options=options)

    def save(self, state: Any, progress: Progress) -> None:
        """Write a checkpoint; one that a kill interrupts does not count."""
        args = self._ocp.args
        composite = args.Composite(
            state=args.StandardSave(_named_arrays(state)), progress=args.JsonSave(asdict(progress))
        )
        self._manager.save(progress.iteration, args=composite)

    def restore(
        self, init: Callable[[Key[Array, ""]], Any], lanes: NamedSharding | None = None
    ) -> tuple[Any, Progress] | None:
        """The newest checkpoint, or None if there is none.

        Args:
            init: what made the first train state; it is only traced, for the shapes.
            lanes: how the environments' lanes lie on several devices, which may be others than those of the run so far.

        Raises:
            CheckpointError: if the checkpoint cannot be read, or holds another kind of train state.
        """
        iteration = self._manager.latest_step()
        if iteration is None:
            return None
        template = jax.eval_shape(init, jax.random.key(0))
        places = placement(template, lanes)
        args = self._ocp.args
        try:
            restored = self._manager.restore(
                iteration,
                args=args.Composite(state=args.StandardRestore(_wanted(template, places)), progress=args.JsonRestore()),
            )
            state = jax.device_put(_state_of(restored.state, template), places)
            return state, Progress(**restored.progress)
        except Exception as error:  # orbax and tensorstore raise whatever their file formats meet
            raise CheckpointError(
                f"the checkpoint {self._folder / str(iteration)} is broken or of another version of mjx_metaworld; "
                f"delete that folder to go on from the one before ({_first_line(error)})"
            ) from error

    def close(self) -> None:
        """Release what orbax holds."""
        self._manager.close()


class Run(NamedTuple):
    """Configuration and first random key of a run."""

    config: TrainConfig
    key: list[int]  # the words of the random key that it began with


def open_run(folder: Path, config: TrainConfig, key: Key[Array, ""], facts: dict[str, Any]) -> None:
    """Begin a run in a folder, or see that the folder holds this very run.

    Args:
        folder: made if it does not exist.
        config: what is trained.
        key: starts the run's only random stream.
        facts: for the reader, such as device and versions.

    Raises:
        CheckpointError: if the folder holds another run, or something else.
    """
    file = folder / RUN_FILE
    partial = file.with_suffix(".tmp")  # all that a kill at the very start leaves
    if file.exists():
        stored = read_run(folder)
        changed = differences(stored.config, config)
        if stored.key != key_words(key):
            changed.append(f"random key {stored.key}, now {key_words(key)}")
        if changed:
            raise CheckpointError(f"{folder} holds another run: {'; '.join(changed)}. Name another folder.")
    elif folder.exists() and any(path != partial for path in folder.iterdir()):
        raise CheckpointError(f"{folder} is not empty and holds no training run ({RUN_FILE} is missing)")
    folder.mkdir(parents=True, exist_ok=True)
    written = json.dumps({"config": as_json(config), "key": key_words(key), **facts}, indent=1)
    partial.write_text(written + "\n")
    partial.replace(file)


def read_run(folder: Path) -> Run:
    """Read the configuration and first random key of the run in a folder.

    Raises:
        CheckpointError: if there is none.
    """
    file = folder / RUN_FILE
    if not file.is_file():
        raise CheckpointError(f"{folder} holds no training run ({RUN_FILE} is missing)")
    try:
        data = json.loads(file.read_text())
        return Run(from_json(data["config"]), [int(word) for word in data["key"]])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{file} is broken or of another version: {_first_line(error)}") from error


def key_words(key: Key[Array, ""]) -> list[int]:
    """The numbers of a random key, as `run.json` holds them."""
    return np.asarray(jax.random.key_data(key)).tolist()


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _named_arrays(state: Any) -> dict[str, Array]:
    """The leaves by path, as the file format wants them: typed keys as words, and no empty arrays."""
    return {
        jax.tree_util.keystr(path): jax.random.key_data(leaf) if _is_key(leaf) else leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
        if leaf.size
    }


def _wanted(template: Any, places: Any) -> dict[str, jax.ShapeDtypeStruct]:
    """Arrays to read, with their shardings: left to itself, orbax would look for the devices that wrote them."""
    by_name = {jax.tree_util.keystr(path): place for path, place in jax.tree_util.tree_leaves_with_path(places)}
    arrays = jax.eval_shape(_named_arrays, template)
    return {
        name: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=by_name[name]) for name, array in arrays.items()
    }


def _state_of(arrays: dict[str, Array], template: Any) -> Any:
    """The state that `_named_arrays` took apart."""

    def leaf_of(path: Any, leaf: Any) -> Array:
        if not leaf.size:
            return jnp.zeros(leaf.shape, leaf.dtype)
        array = arrays[jax.tree_util.keystr(path)]
        return jax.random.wrap_key_data(array) if _is_key(leaf) else array

    return jax.tree_util.tree_map_with_path(leaf_of, template)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
