"""Environment steps per second, with compile and run timed apart and the results awaited."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass

import jax

from mjx_metaworld.build.machine import cpu_cores, describe_machine, versions
from mjx_metaworld.cli.memory import release_freed
from mjx_metaworld.compile import jit
from mjx_metaworld.env import make
from mjx_metaworld.inputs.keys import key_of_seed
from mjx_metaworld.physics.backend import Backend
from mjx_metaworld.physics.checks import check_integer
from mjx_metaworld.physics.config import Execution, PhysicsConfig
from mjx_metaworld.processes.hosts import exchange
from mjx_metaworld.processes.programs import compiling_anew
from mjx_metaworld.vector import Device, VectorEnv, rollout

# Lanes of a device below which its chunks are smaller than what the physics divides a batch into.
_LEAST_LANES = 64


@dataclass(frozen=True)
class Throughput:
    """The figures of one batch size, and what they were measured on."""

    tasks: str
    num_envs: int
    devices: int
    env_steps_per_second: float
    compile_reset_s: float
    compile_step_s: float
    peak_memory_mb: int  # of the process so far, on the host
    device: str
    machine: str
    versions: dict[str, str]


def claim_devices(count: int) -> list[Device]:
    """The first `count` devices; on CPU JAX is told to make as many, if it has not started yet.

    Raises:
        ValueError: if there are fewer, or if it is too late to make them.
    """
    check_integer("devices", count)
    if count > 1:
        with contextlib.suppress(RuntimeError):  # JAX has started: what there is must do
            jax.config.update("jax_num_cpu_devices", count)
    devices = jax.devices()
    if len(devices) < count:
        late = " (JAX has started; its CPU devices are made before that)" if devices[0].platform == "cpu" else ""
        raise ValueError(f"devices must be at most {len(devices)} here, got {count}{late}")
    return devices[:count]


def default_devices(num_envs: int) -> int:
    """Devices that suit a batch: on CPU one a core, elsewhere all; fewer where they do not divide it well."""
    with contextlib.suppress(RuntimeError):  # JAX has started: what there is must do
        jax.config.update("jax_num_cpu_devices", cpu_cores())
    most = min(len(jax.devices()), max(1, num_envs // _LEAST_LANES))
    return max(count for count in range(1, most + 1) if num_envs % count == 0)


def claim_devices_of_all(num_envs: int, count: int | None = None) -> list[Device]:
    """The first devices of every process that is connected, the same number of each, process by process.

    Args:
        num_envs: lanes, which the processes share.
        count: devices of each; by default as many as suit a process's share, as far as every process has them.

    Raises:
        ValueError: if there are fewer, or if they do not divide the lanes.
    """
    with contextlib.suppress(RuntimeError):  # JAX has started: what there is must do
        jax.config.update("jax_num_cpu_devices", cpu_cores() if count is None else check_integer("devices", count))
    present = min(exchange(jax.local_device_count()))
    processes = jax.process_count()
    if count is None:
        most = min(present, max(1, num_envs // processes // _LEAST_LANES))
        count = max(count for count in range(1, most + 1) if num_envs % (count * processes) == 0 or count == 1)
    if present < count:
        raise ValueError(f"devices must be at most {present} of each process here, got {count}")
    of_process: dict[int, list[Device]] = {index: [] for index in range(processes)}
    for device in jax.devices():
        of_process[device.process_index].append(device)
    return [device for own in of_process.values() for device in own[:count]]


class Batch:
    """A compiled vector environment under random actions, autoreset on.

    Args:
        tasks: a suite or a task.
        num_envs: lanes.
        devices: divide the lanes among these.
        steps_per_call: control steps in one jitted call.
        seed: of goals and actions.
        physics: accuracy of the engine.
        backend: how batches are laid out.

    Attributes:
        calls: made so far, with their `seconds`, not counting the first.

    Raises:
        ValueError: for an unknown suite, or a number of environments that the devices do not divide.
    """

    def __init__(
        self,
        tasks: str,
        num_envs: int,
        devices: Sequence[Device],
        *,
        steps_per_call: int = 10,
        seed: int = 0,
        physics: PhysicsConfig | None = None,
        backend: Backend | Execution = "auto",
    ) -> None:
        self.tasks, self.devices, self._steps_per_call = tasks, devices, steps_per_call
        # A single device needs no mesh: this is the program of a plain `VectorEnv`.
        sharded = devices if len(devices) > 1 or devices[0] != jax.devices()[0] else None
        self.vector_env = VectorEnv(make(tasks, physics=physics, backend=backend), num_envs, devices=sharded)
        release_freed()

        def policy(obs, key):
            return jax.random.uniform(key, (num_envs, 4), minval=-1.0, maxval=1.0)

        def run(state, key):
            state, transition = rollout(self.vector_env, policy, key, steps_per_call, state)
            return state, transition.reward.mean()

        self._key = key_of_seed(seed)
        start = time.perf_counter()
        with compiling_anew():
            reset = jit(self.vector_env.reset).lower(self._key).compile()
        self.compile_reset_s = time.perf_counter() - start
        state = jax.block_until_ready(reset(self._key))
        start = time.perf_counter()
        with compiling_anew():
            self._compiled = jit(run).lower(state, self._key).compile()
        self.compile_step_s = time.perf_counter() - start
        self._state, _ = jax.block_until_ready(self._compiled(state, self._key))
        self.calls, self.seconds = 0, 0.0

    def run(self, seconds: float) -> None:
        """Go on for at least this long, and for one call at least."""
        calls, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds or calls == 0:
            self._key, step_key = jax.random.split(self._key)
            self._state, _ = jax.block_until_ready(self._compiled(self._state, step_key))
            calls += 1
        self.calls += calls
        self.seconds += elapsed

    def program(self) -> str:
        """The compiled program of a call, as text."""
        return self._compiled.as_text() or ""

    def throughput(self) -> Throughput:
        """The figures of all runs so far."""
        env_steps = self.calls * self._steps_per_call * self.vector_env.num_envs
        return Throughput(
            tasks=self.tasks,
            num_envs=self.vector_env.num_envs,
            devices=len(self.devices),
            env_steps_per_second=round(env_steps / self.seconds, 1),
            compile_reset_s=round(self.compile_reset_s, 2),
            compile_step_s=round(self.compile_step_s, 2),
            peak_memory_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            device=self.devices[0].device_kind,
            machine=describe_machine(),
            versions=versions(),
        )


def measure(
    tasks: Sequence[str],
    num_envs: int,
    devices: Sequence[int],
    *,
    seconds: float = 10.0,
    rounds: int = 10,
    steps_per_call: int = 10,
    seed: int = 0,
    physics: PhysicsConfig | None = None,
    backend: Backend | Execution = "auto",
) -> list[Throughput]:
    """Compile a batch for each set of tasks and number of devices, then run them by turns.

    What else the machine does is then shared among all of them, so that their ratios hold where their figures drift.

    Args:
        tasks: suites or tasks, each a batch of its own.
        num_envs: lanes.
        devices: numbers of devices.
        seconds: run each at least this long in all, after the warm-up.
        rounds: turns into which each one's time is divided.
        steps_per_call: control steps in one jitted call.
        seed: of goals and actions.
        physics: accuracy of the engine.
        backend: how batches are laid out.

    Returns:
        The figures of each set of tasks on each number of devices, devices running fastest.

    Raises:
        ValueError: for an unknown suite or a bad number of environments or devices.
    """
    claimed = claim_devices(max(devices))
    batches = [
        Batch(
            name, num_envs, claimed[:count], steps_per_call=steps_per_call, seed=seed, physics=physics, backend=backend
        )
        for name in tasks
        for count in devices
    ]
    turns = rounds if len(batches) > 1 else 1
    for _ in range(turns):
        for batch in batches:
            batch.run(seconds / turns)
    return [batch.throughput() for batch in batches]


def markdown(figures: Sequence[Throughput]) -> str:
    """The figures as a Markdown table, with device and versions beneath."""
    rows = [
        f"| {f.tasks} | {f.num_envs:,} | {f.devices} | {f.env_steps_per_second:,.0f} | {f.compile_reset_s:.0f} "
        f"| {f.compile_step_s:.0f} | {f.peak_memory_mb:,} |"
        for f in figures
    ]
    versions = ", ".join(f"{name} {version}" for name, version in figures[0].versions.items())
    return "\n".join(
        [
            "| tasks | environments | devices | env steps/s | compile reset, s | compile step, s | peak memory, MB |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
            *rows,
            "",
            f"On {figures[0].device} ({figures[0].machine}); {versions}.",
        ]
    )
