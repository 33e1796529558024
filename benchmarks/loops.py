"""Rates of other people's loops over `VectorEnv`'s, of the same environments, by turns in one process.

Random actions; every client restarts ended episodes by its own means. "In phase": no episode ends while it is timed.
"Spread": the episodes' ends are spread over all steps, as in a long run. One device. A loop in PyTorch and rejax's PPO
are measured where these are installed, as in the environment of `make clients`.

    python -m benchmarks.loops --tasks MT10 --num-envs 512 --document docs/guides/performance.md
"""

from __future__ import annotations

import functools
import importlib.util
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import tyro
from jaxtyping import Array

import mjx_metaworld as mw
from mjx_metaworld.adapters.brax import BraxEnv, wrap
from mjx_metaworld.adapters.gymnax import GymnaxEnv
from mjx_metaworld.build.machine import describe_machine, versions
from mjx_metaworld.cli.markdown import rewrite_section
from mjx_metaworld.compile import jit
from mjx_metaworld.types import EPISODE_STEPS, State


@dataclass(frozen=True)
class Args:
    """Loops to measure."""

    tasks: str = "MT10"
    num_envs: int = 512  # a multiple of 16
    steps_per_call: int = 10
    rounds: int = 7  # calls of each loop that are timed, of which the median counts
    only: tuple[str, ...] = ()  # loops with one of these in their names, and VectorEnv; all when empty
    output: Path | None = None  # append the JSON lines to this file
    document: Path | None = None  # write the table between this Markdown file's `loops` markers


class Client(NamedTuple):
    """A loop around the environment."""

    name: str
    state: Any  # its first state, in phase
    spread: Any  # the same, with the episodes' ends spread
    run: Callable[[Any], Any]  # all steps of a call from a state; the result is what to wait for


class Setting(NamedTuple):
    """Work of every loop."""

    env: mw.MetaWorldEnv
    actions: Array  # (steps, envs, 4)
    state: State  # leading axis envs
    ages: Array  # steps of the episodes so far, spread

    @property
    def spread(self) -> State:
        """First state with the episodes' ends spread."""
        return self.state.replace(episode=self.state.episode.replace(step=self.ages))


@dataclass(frozen=True)
class Figure:
    """The rate of a loop."""

    client: str
    tasks: str
    num_envs: int
    starts: str  # "in phase" or "spread"
    env_steps_per_second: float
    over_vector_env: float  # as a ratio
    compile_seconds: float


def clients(setting: Setting) -> Iterator[Client]:
    """The loops to measure, `VectorEnv`'s first."""
    env, state, spread = setting.env, setting.state, setting.spread
    num_envs = len(state.task)
    keys = jax.random.split(jax.random.key(0), num_envs)

    def scanned(step: Callable[[Any, Array], Any]) -> Callable[[Any], Any]:
        return jit(lambda s: jax.lax.scan(lambda s, a: (step(s, a), None), s, setting.actions)[0])

    vector_env = mw.VectorEnv(env, num_envs)
    yield Client("VectorEnv", state, spread, scanned(lambda s, a: vector_env.step(s, a)[0]))

    adapter = GymnaxEnv(env)
    step = scanned(lambda s, a: jax.vmap(adapter.step)(keys, s, a)[1])
    yield Client("gymnax adapter under `vmap`", state, spread, step)

    for seeds in (2, 8):
        some = mw.VectorEnv(env, num_envs // seeds)
        step = scanned(functools.partial(_by_seed, lambda s, a, some=some: some.step(s, a)[0], seeds))
        yield Client(f"`vmap` over {seeds} seeds of VectorEnv", state, spread, step)

    step = scanned(functools.partial(_by_seed, jax.vmap(env.step), 16))
    yield Client("`vmap(vmap(env.step))`, no restarts", state, state, step)

    brax_env = wrap(BraxEnv(env), episode_length=EPISODE_STEPS)
    brax_state = jit(brax_env.reset)(keys)
    steps = setting.ages.astype(brax_state.info["steps"].dtype)
    brax_spread = brax_state.replace(info=brax_state.info | {"steps": steps})
    yield Client("brax's wrapped environment", brax_state, brax_spread, scanned(brax_env.step))

    advance = jit(vector_env.step)

    def call_by_call(state: State) -> State:
        for action in setting.actions:
            state, _ = advance(state, action)
        return state

    yield Client("VectorEnv in a loop of Python", state, spread, call_by_call)
    if importlib.util.find_spec("torch") is not None:
        yield _in_pytorch(setting)
    if importlib.util.find_spec("rejax") is not None:
        yield _rejax_ppo(setting)


def _in_pytorch(setting: Setting) -> Client:
    """A loop in Python that steps with tensors."""
    from mjx_metaworld.adapters.torch import TorchEnv
    from mjx_metaworld.adapters.torch_tensors import to_torch

    torch_env = TorchEnv(mw.VectorEnv(setting.env, len(setting.state.task)))
    actions = to_torch(list(setting.actions))

    def run(state: State) -> State:
        torch_env.state = state
        for action in actions:
            torch_env.step(action)
        return torch_env.state

    return Client("`TorchEnv` in a loop of Python", setting.state, setting.spread, run)


def _rejax_ppo(setting: Setting) -> Client:
    """Iterations of PPO by its defaults: a step of the policy and of all environments, and the updates."""
    from rejax import PPO  # pyright: ignore[reportMissingImports] - in the environment of `make clients`

    num_steps, num_envs, _ = setting.actions.shape
    adapter = GymnaxEnv(setting.env, separate_truncation=False)
    learner = PPO.create(env=adapter, env_params=adapter.default_params, num_envs=num_envs, num_steps=num_steps)
    first = jit(learner.init_state)(jax.random.key(0))
    state, spread = (first.replace(env_state=s, last_obs=s.obs) for s in (setting.state, setting.spread))
    return Client("rejax's PPO, updates included", state, spread, jit(learner.train_iteration))


def _by_seed(step: Callable[[Any, Array], Any], seeds: int, state: Any, actions: Array) -> Any:
    """Step a batch that is divided among seeds, one more `vmap` around."""
    divided = jax.tree.map(lambda x: x.reshape(seeds, len(x) // seeds, *x.shape[1:]), (state, actions))
    return jax.tree.map(lambda x: x.reshape(len(actions), *x.shape[2:]), jax.vmap(step)(*divided))


def measure(args: Args) -> list[Figure]:
    """Time all loops by turns."""
    env = mw.make(args.tasks)
    shape = (args.steps_per_call, args.num_envs, env.action_size)
    actions = jax.random.uniform(jax.random.key(1), shape, minval=-1.0, maxval=1.0)
    state = jit(mw.VectorEnv(env, args.num_envs).reset)(jax.random.key(0))
    ages = jax.random.randint(jax.random.key(3), (args.num_envs,), 0, EPISODE_STEPS)
    around = [
        client
        for i, client in enumerate(clients(Setting(env, actions, state, ages)))
        if i == 0 or not args.only or any(part in client.name for part in args.only)
    ]

    def compile_seconds_of(client: Client) -> float:
        begin = time.perf_counter()
        jax.block_until_ready(client.run(client.state))
        return time.perf_counter() - begin

    compiled = [compile_seconds_of(client) for client in around]
    figures = []
    for starts in ("in phase", "spread"):
        seconds: list[list[float]] = [[] for _ in around]
        for _ in range(args.rounds):
            for client, times in zip(around, seconds, strict=True):
                state = client.state if starts == "in phase" else client.spread
                begin = time.perf_counter()
                jax.block_until_ready(client.run(state))
                times.append(time.perf_counter() - begin)
        medians = [statistics.median(times) for times in seconds]
        steps = args.steps_per_call * args.num_envs
        for client, compile_seconds, median in zip(around, compiled, medians, strict=True):
            rate, ratio = steps / median, medians[0] / median
            figures.append(Figure(client.name, args.tasks, args.num_envs, starts, rate, ratio, compile_seconds))
    return figures


def markdown(figures: list[Figure]) -> str:
    """The table in Markdown."""
    lines = [
        "| loop | tasks | environments | over VectorEnv, in phase | spread |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    phase, spread = ([f for f in figures if f.starts == starts] for starts in ("in phase", "spread"))
    for one, other in zip(phase, spread, strict=True):
        ratios = f"{one.over_vector_env:.2f} | {other.over_vector_env:.2f}"
        lines.append(f"| {one.client} | {one.tasks} | {one.num_envs:,} | {ratios} |")
    slower = spread[0].env_steps_per_second / phase[0].env_steps_per_second
    installed = ", ".join(f"{name} {version}" for name, version in versions().items())
    return "\n".join(
        [
            *lines,
            "",
            f"VectorEnv: {phase[0].env_steps_per_second:,.0f} environment steps/s in phase, {slower:.2f} of it spread. "
            f"On {describe_machine()}, one device; {installed}.",
        ]
    )


def main(args: Args) -> None:
    """Print the figures and the table; keep them where the arguments say."""
    figures = measure(args)
    lines = "".join(json.dumps(asdict(figure)) + "\n" for figure in figures)
    print(lines + markdown(figures), flush=True)
    if args.output is not None:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        with args.output.open("a") as file:
            file.write(lines)
    if args.document is not None:
        rewrite_section(args.document, "loops", markdown(figures))


if __name__ == "__main__":
    main(tyro.cli(Args))
