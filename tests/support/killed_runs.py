"""Training in processes that are forked from one which has imported everything, so that hundreds can be killed.

As a script it reads requests from stdin, a line of JSON each, forks a process for it and answers with its number. JAX
begins to work in these alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

DEVICES = 2


@dataclass(frozen=True)
class Request:
    """A run to go on with.

    Attributes:
        folder: of the run.
        iterations: in all.
        kind: "probe" for the loop and its checkpoints alone, on a probe; "train" for all that `train` does, on reach-v3
            without dynamics.
        algorithm: its name.
        devices: 1, or 2.
        checkpoint_every: iterations.
    """

    folder: str
    iterations: int
    kind: str
    algorithm: str
    devices: int
    checkpoint_every: int = 1


class Forks:
    """Processes, one after the other, each forked from the same one.

    Args:
        process: the one that imported everything.
        last_words: file of what the processes print on stderr.
    """

    def __init__(self, process: subprocess.Popen[str], last_words: Path) -> None:
        self._process = process
        self._last_words = last_words

    def start(self, request: Request) -> int:
        """Fork a process that trains; its number."""
        return int(self._ask(json.dumps(asdict(request))))

    def join(self, pid: int) -> int:
        """Wait for a process; its exit code, negative for a signal."""
        code = int(self._ask(str(pid)))
        assert code in (0, -signal.SIGKILL), self._last_words.read_text()[-3000:]
        return code

    def kill(self, request: Request, seconds: float, begun: Callable[[], bool] = lambda: True) -> bool:
        """SIGKILL a run so long after it has begun; False if it had ended by itself."""
        pid, end = self.start(request), time.monotonic() + 300
        while not begun():
            assert time.monotonic() < end, self._last_words.read_text()[-3000:]
            time.sleep(0.01)
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)  # nobody has waited for it yet, so the number is no other's
        return self.join(pid) != 0

    def _ask(self, line: str) -> str:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(line + "\n")
        stdin.flush()
        return stdout.readline()


@contextlib.contextmanager
def forks(cache: Path) -> Iterator[Forks]:
    """A process to fork from, whose forks keep what they compile in a folder, as outside of tests."""
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    environment |= {"MJX_METAWORLD_CACHE": str(cache)}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), environment.get("PYTHONPATH", "")])
    with tempfile.NamedTemporaryFile("w", suffix=".log") as log:
        command = [sys.executable, "-m", "support.killed_runs"]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )
        try:
            yield Forks(process, Path(log.name))
        finally:
            process.communicate()


def _train(request: Request) -> None:
    import jax
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    from support.training_probes import run_probe

    jax.config.update("jax_num_cpu_devices", request.devices)
    folder = Path(request.folder)
    if request.kind == "probe":
        mesh = Mesh(np.asarray(jax.devices()), ("lanes",))
        lanes = NamedSharding(mesh, PartitionSpec("lanes")) if request.devices > 1 else None
        run_probe(folder, request.iterations, request.checkpoint_every, request.algorithm, lanes)
        return
    from mjx_metaworld.env import environment
    from mjx_metaworld.testing import KinematicEngine
    from mjx_metaworld.training import TrainConfig, train
    from support.training_probes import RUN_CONFIGS

    environment.Engine = KinematicEngine
    algorithm = RUN_CONFIGS[request.algorithm]
    steps = algorithm.num_envs * algorithm.horizon
    config = TrainConfig(
        "reach-v3",
        algorithm,
        env_steps=steps * request.iterations,
        eval_every=3 * steps,
        eval_goals=2,
        checkpoint_every=request.checkpoint_every * steps,
    )
    train(config, jax.random.key(5), folder, devices=jax.devices() if request.devices > 1 else None)


def _serve() -> None:
    import mjx_metaworld.training.train  # noqa: F401
    from support import training_probes  # noqa: F401 - so that the forks need not
    from support.economy import economize

    economize()
    warnings.simplefilter("ignore")  # JAX warns of forks; it does not work yet
    answers = os.dup(1)
    os.dup2(2, 1)
    for line in sys.stdin:
        if line.strip().isdigit():
            answer = os.waitstatus_to_exitcode(os.waitpid(int(line), 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                code = 1
                try:
                    _train(Request(**json.loads(line)))
                    code = 0
                finally:
                    if code:
                        import traceback

                        traceback.print_exc()
                    os._exit(code)
        os.write(answers, f"{answer}\n".encode())


if __name__ == "__main__":
    _serve()
