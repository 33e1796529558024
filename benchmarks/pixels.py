"""Pictures a second inside a compiled program, over those of `mw.render` through OpenGL; prints a Markdown table.

Both draw the same batch of MT50's tasks mixed, by turns in one process, on all cores. Times are of calls that end with
the pictures: on the device's side they are JAX arrays then, on the host's NumPy arrays. The first call is timed apart,
once with kernels to compile (only if Warp's cache is empty) or to load.

Usage: python -m benchmarks.pixels [--sizes 64 128 480] [--num-envs 256] [--camera corner2] [--turns 3]
    [--host-lanes 16] [--document FILE]
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import mjx_metaworld as mw
from mjx_metaworld.build.machine import cpu_cores, versions
from mjx_metaworld.cli.markdown import rewrite_section
from mjx_metaworld.rendering.render import choose_backend
from mjx_metaworld.testing import KinematicEngine


def measure(env: mw.MetaWorldEnv, state: mw.State, camera: str, size: int, turns: int, host_lanes: int) -> str:
    """A row of the table for pictures of one size."""
    num_envs = len(state.task)
    draw = jax.jit(jax.vmap(mw.camera(env, camera, size, size)))
    begin = time.perf_counter()
    jax.block_until_ready(draw(state))
    first = time.perf_counter() - begin
    few = jax.tree.map(lambda x: x[:host_lanes], state)
    backend = choose_backend()
    mw.render(env, few, camera, size, size, backend=backend)  # loads the scenes
    device, host = [], []
    for _ in range(turns):
        begin = time.perf_counter()
        jax.block_until_ready(draw(state))
        device.append(num_envs / (time.perf_counter() - begin))
        begin = time.perf_counter()
        mw.render(env, few, camera, size, size, backend=backend)
        host.append(host_lanes / (time.perf_counter() - begin))
    here, there = float(np.median(device)), float(np.median(host))
    return f"| {size} x {size} | {num_envs} | {here:,.1f} | {there:,.1f} | {here / there:.1f} | {first:.1f} |"


def main() -> None:
    """Draw by turns, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 128, 480])
    parser.add_argument("--num-envs", type=int, default=256)
    parser.add_argument("--camera", default="corner2")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--host-lanes", type=int, default=16, help="environments that OpenGL draws")
    parser.add_argument("--document", type=Path, default=None)
    args = parser.parse_args()

    env = mw.make("MT50", engine=KinematicEngine)
    keys = jax.random.split(jax.random.key(0), args.num_envs)
    state = jax.jit(jax.vmap(env.reset))(keys, jnp.arange(args.num_envs) % len(env.tasks))
    lines = [
        "| pixels | environments | pictures/s, `mw.camera` | pictures/s, `mw.render` | ratio | first call (s) |",
        "| ---: |" + " ---: |" * 5,
        *(measure(env, state, args.camera, size, args.turns, args.host_lanes) for size in args.sizes),
    ]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    lines += [
        "",
        f"{jax.devices()[0].device_kind}, {cpu_cores()} cores, camera {args.camera}, "
        f"{', '.join(f'{k} {v}' for k, v in versions().items())}; the process held {memory:.1f} GiB at most.",
    ]
    table = "\n".join(lines)
    print(table)
    if args.document is not None:
        rewrite_section(args.document, "speed", table)


if __name__ == "__main__":
    main()
