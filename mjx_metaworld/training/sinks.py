"""Receivers of a run's figures beside its folder's lines of JSON: TensorBoard, on demand Weights & Biases."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from mjx_metaworld.training.checkpoint import Progress
from mjx_metaworld.training.config import TrainConfig, as_json
from mjx_metaworld.training.requires import require

WANDB_FILE = "wandb.json"  # names the run on the service, so that the next process goes on with it


@runtime_checkable
class Sink(Protocol):
    """Receiver of a run's figures."""

    def write(self, kind: str, progress: Progress, figures: Mapping[str, float]) -> None:
        """Take in finite figures of an iteration or an evaluation by their names."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


MakeSink = Callable[[Path, TrainConfig], Sink]  # of a run's folder, which exists, and its configuration


class SinkError(RuntimeError):
    """A sink of the user's cannot be made or takes no figures, for want of its server, say."""


def open_sinks(makers: Iterable[MakeSink], folder: Path, config: TrainConfig) -> list[Sink]:
    """The sinks of a run, in order.

    Raises:
        SinkError: if one cannot reach or write what it needs.
    """
    with _told_apart("a sink could not be made"):
        return [make(folder, config) for make in makers]


def write_to(sink: Sink, kind: str, progress: Progress, figures: Mapping[str, float]) -> None:
    """Hand figures to a sink of the user's.

    Raises:
        SinkError: if it cannot reach or write what it needs.
    """
    with _told_apart(f"the sink {type(sink).__name__} takes no figures"):
        sink.write(kind, progress, figures)


@contextlib.contextmanager
def _told_apart(trouble: str) -> Iterator[None]:
    """An operating system's error, such as a server's that is down, as one that is not of the run's folder."""
    try:
        yield
    except OSError as error:
        raise SinkError(f"{trouble}: {error}") from error


class TensorBoard:
    """Files for TensorBoard, in the run's folder.

    Args:
        folder: the run's.
        resumed: where the run goes on; what TensorBoard has of later steps is dropped.

    Raises:
        ImportError: if tensorboardX is missing.
    """

    def __init__(self, folder: Path, resumed: Progress) -> None:
        writer = require("tensorboardX").SummaryWriter
        self._board = writer(str(folder / "tensorboard"), purge_step=resumed.env_steps + 1)

    def write(self, kind: str, progress: Progress, figures: Mapping[str, float]) -> None:
        """Take in figures, each a scalar over environment steps."""
        for name, value in figures.items():
            self._board.add_scalar(f"{kind}/{name}", value, progress.env_steps)

    def close(self) -> None:
        """Write what is left.

        Raises:
            OSError: if there is no room for it.
        """
        try:
            self._board.close()
        except OSError:
            _give_up(self._board.file_writer.event_writer)
            raise


def _give_up(event_writer: Any) -> None:
    """End a writer of tensorboardX that cannot write: at the exit it would try again, and its thread print, too."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        event_writer._worker.stop()
    event_writer._closed = True


def weights_and_biases(project: str) -> MakeSink:
    """Sink for a run on Weights & Biases, which `WANDB_MODE=offline` keeps in the run's folder.

    Raises:
        ImportError: if wandb is missing, with what to install.
    """
    wandb = require("wandb", extra="wandb", needed_by="--wandb")

    def begin(folder: Path, config: TrainConfig) -> WeightsAndBiases:
        return WeightsAndBiases(wandb, project, folder, config)

    return begin


class WeightsAndBiases:
    """A run on Weights & Biases; a process that goes on with the folder goes on with it.

    Args:
        wandb: the module.
        project: name of the project.
        folder: the run's.
        config: of the run.

    Raises:
        RuntimeError: if the service cannot be used, because nobody has logged in, say.
    """

    def __init__(self, wandb: Any, project: str, folder: Path, config: TrainConfig) -> None:
        try:
            self._run = wandb.init(
                project=project,
                id=_run_id(folder / WANDB_FILE, project),
                name=folder.name,
                dir=str(folder),
                config=as_json(config),
                resume="allow",
                settings=wandb.Settings(console="off", silent=True),  # the terminal belongs to the trainer's table
            )
        except Exception as error:  # wandb raises errors of its own, of Exception
            raise RuntimeError(
                f"Weights & Biases cannot begin: {(str(error).splitlines() or [type(error).__name__])[0]} "
                "(WANDB_MODE=offline keeps all in the run's folder)"
            ) from error

    def write(self, kind: str, progress: Progress, figures: Mapping[str, float]) -> None:
        """Take in figures, over environment steps; what came before a kill is there already."""
        if progress.env_steps >= self._run.step:
            named = {f"{kind}/{name}": value for name, value in figures.items()}
            self._run.log({"seconds": progress.seconds, **named}, step=progress.env_steps)

    def close(self) -> None:
        """Send what is left."""
        self._run.finish()


def _run_id(file: Path, project: str) -> str:
    """Name of the run in a project, which the first process draws."""
    if file.exists():
        with contextlib.suppress(ValueError, KeyError, TypeError):  # else it was altered: another run is begun there
            known = json.loads(file.read_bytes())
            if known["project"] == project:
                return str(known["id"])
    drawn = uuid.uuid4().hex[:8]
    file.write_text(json.dumps({"project": project, "id": drawn}) + "\n")
    return drawn
