"""Fingerprints of an environment's programs and of a rollout's bits: whether a change of the code changed either.

The programs of `vmap(reset)`, `vmap(step)` and a gradient through `vmap(step)` are lowered for CPU, TPU and CUDA, and
hashed without locations, symbol names and labels. Nothing is compiled for a device that is not there: kernels of our
own enter by their sources and macros. The rollout is MT50 under random actions on this machine, hashed bit for bit.

    python -m benchmarks.same_program --output before.json
    python -m benchmarks.same_program --against before.json   # exit status 1 where a fingerprint differs
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import tyro
from rich.console import Console

import mjx_metaworld as mw
from mjx_metaworld.physics.backend import Backend
from mjx_metaworld.physics.backends.cuda import nvrtc

LANES, STEPS = 64, 60
# By name, the backend of the engine and the platform to lower for.
_PLATFORMS: dict[str, tuple[Backend, str]] = {
    "cpu": ("cpu-xla", "cpu"),
    "tpu": ("accelerator", "tpu"),
    "gpu": ("cuda", "cuda"),
}
_SYMBOL = re.compile(r"@(?:\"[^\"]*\"|[\w.$\-]+)")
_LABEL = re.compile(r"""jax\.(?:result_info|arg_info) = "[^"]*"|\s*loc\([^()]*\)""")


@dataclass(frozen=True)
class Args:
    """Programs to fingerprint, the file to write to, and earlier fingerprints to compare with."""

    tasks: tuple[str, ...] = ("MT50", "reach-v3")
    platforms: tuple[str, ...] = ("cpu", "tpu", "gpu")
    programs: bool = True
    rollout: bool = True
    output: Path | None = None
    against: Path | None = None


def normalised(text: str) -> str:
    """StableHLO with symbols numbered in order of appearance, and without locations and labels."""
    numbers: dict[str, str] = {}
    text = _LABEL.sub("", text)
    return _SYMBOL.sub(lambda match: numbers.setdefault(match[0], f"@{len(numbers)}"), text)


def digest(text: bytes) -> str:
    """The first 16 digits of a SHA-256."""
    return hashlib.sha256(text).hexdigest()[:16]


def programs(env: mw.MetaWorldEnv) -> Iterator[tuple[str, Callable[..., Any], tuple[Any, ...]]]:
    """The functions to lower, by name, and the shapes of their arguments."""
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), LANES))
    actions = jax.ShapeDtypeStruct((LANES, env.action_size), jnp.float32)
    reset, step = jax.vmap(env.reset), jax.vmap(env.step)

    def gradient(state: mw.State, action: jax.Array) -> jax.Array:
        return jax.grad(lambda action: step(state, action).obs.sum())(action)

    state = jax.eval_shape(reset, keys)
    yield "reset", reset, (keys,)
    yield "step", step, (state, actions)
    yield "gradient", gradient, (state, actions)


def fingerprint_rollout(backend: Backend) -> str:
    """Digest of all leaves of MT50's states along random actions, on the device at hand."""
    env = mw.make("MT50", backend=backend)
    reset, step = mw.jit(jax.vmap(env.reset)), mw.jit(jax.vmap(env.step))
    key = jax.random.key(0)
    state = reset(jax.random.split(key, LANES), jnp.arange(LANES) % len(env.tasks))
    total = hashlib.sha256()
    for step_key in jax.random.split(key, STEPS):
        state = step(state, jax.random.uniform(step_key, (LANES, env.action_size), minval=-1, maxval=1))
        physics = state.physics
        kept = (physics.qpos, physics.qvel, physics.qacc_warmstart, state.obs, state.reward, state.metrics)
        for leaf in jax.tree.leaves(jax.device_get(kept)):
            total.update(leaf.tobytes())
    return total.hexdigest()[:16]


def main(args: Args) -> None:
    """Print, write or compare the fingerprints."""
    nvrtc.is_there = lambda: True
    nvrtc.compile_ptx = lambda source, macros, headers=(): digest(repr((source, macros, headers)).encode())
    found: dict[str, str] = {}
    console = Console()

    def keep(name: str, fingerprint: str) -> None:
        found[name] = fingerprint
        console.print(f"{name:<28} {fingerprint}")

    for tasks in args.tasks if args.programs else ():
        for name_of_platform in args.platforms:
            backend, platform = _PLATFORMS[name_of_platform]
            env = mw.make(tasks, backend=backend)
            for name, fn, shapes in programs(env):
                lowered = jax.jit(fn).trace(*shapes).lower(lowering_platforms=(platform,))
                keep(f"{tasks} {name} {name_of_platform}", digest(normalised(lowered.as_text()).encode()))
    if args.rollout:
        device = jax.default_backend()
        keep(f"MT50 rollout {device}", fingerprint_rollout("auto"))
        if device == "cpu":  # by XLA alone, as on a machine without a compiler
            keep("MT50 rollout cpu-xla", fingerprint_rollout("cpu-xla"))

    if args.output is not None:
        args.output.write_text(json.dumps(found, indent=1) + "\n")
    if args.against is not None:
        before = json.loads(args.against.read_text())
        changed = [name for name in found if found[name] != before.get(name)]
        console.print(f"{len(found) - len(changed)} equal, {len(changed)} changed: {', '.join(changed) or '-'}")
        sys.exit(bool(changed))


if __name__ == "__main__":
    main(tyro.cli(Args))
