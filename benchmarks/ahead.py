"""Compile a step for a GPU or TPU that is not there, and count the program's kernels.

Nothing is run, so this says nothing of speed; it shows that the step compiles for the device, how many kernels and how
much memory it takes, and how much its kernels read and write. It needs JAX's plugin for CUDA
(`pip install "jax[cuda12]"`) or `libtpu`, but no device.

    python -m benchmarks.ahead --device h100 --tasks MT50 --num-envs 16384
    python -m benchmarks.ahead --device v5e --tasks MT10 --num-envs 1024
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import tyro
from jax.experimental import topologies
from rich.console import Console

import mjx_metaworld as mw
from benchmarks.program import count_fusions, count_launches, count_traffic

# What XLA wants to know of an H100 (SXM, 80 GB): the limits of its compute capability, 9.0, and NVIDIA's data sheet.
_H100 = """
gpu_device_info {
  cuda_compute_capability { major: 9 }
  core_count: 132
  fpus_per_core: 128
  clock_rate_ghz: 1.98
  memory_bandwidth: 3352320000000
  device_memory_size: 84929347584
  l2_cache_size: 52428800
  threads_per_warp: 32
  threads_per_block_limit: 1024
  threads_per_core_limit: 2048
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  registers_per_block_limit: 65536
  registers_per_core_limit: 65536
}
runtime_version { major: 12 minor: 9 }
dnn_version_info { major: 9 minor: 7 }
platform_name: "CUDA"
device_description_str: "NVIDIA H100 80GB HBM3"
"""


@dataclass(frozen=True)
class Args:
    """Program to compile, and the device to compile it for."""

    device: Literal["h100", "v5e"] = "h100"
    tasks: str = "MT50"
    num_envs: int = 16384
    output: Path | None = None  # append a line of JSON to this file
    program: Path | None = None  # write the optimized program, as text, to this file


def device_of(name: str) -> Any:
    """A device to compile for, which cannot run anything."""
    jax.config.update("jax_platforms", "cpu")  # the plugins would look for devices, and stop where they find none
    if name == "h100":
        described = topologies.get_topology_desc("h100", "cuda", target_config=_H100, topology="1x1x1")
    else:
        described = topologies.get_topology_desc("v5e:2x2", "tpu")
    return described.devices[0]


def main(args: Args) -> None:
    """Compile a batch's step and print the figures."""
    sharding = jax.sharding.SingleDeviceSharding(device_of(args.device))
    # The engine lays a batch out for the machine at hand, which may be a CPU: so say what it chooses elsewhere.
    env = mw.make(args.tasks, backend="cuda")
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), args.num_envs))
    state = jax.eval_shape(jax.vmap(env.reset), keys)
    inputs = (state, jax.ShapeDtypeStruct((args.num_envs, 4), jnp.float32))
    placed = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), inputs)
    start = time.perf_counter()
    lowered = jax.jit(jax.vmap(env.step)).lower(*placed)
    traced = time.perf_counter()
    compiled = lowered.compile()
    compile_s = time.perf_counter() - traced
    text, memory = compiled.as_text() or "", compiled.memory_analysis()
    fusions, substep_fusions = count_fusions(text)
    figures = {
        "device": args.device,
        "tasks": args.tasks,
        "num_envs": args.num_envs,
        "jax": jax.__version__,
        "trace_s": round(traced - start, 1),
        "compile_s": round(compile_s, 1),
        "fusions": fusions,
        "substep_fusions": substep_fusions,
        "launches": count_launches(text),
        "traffic_gigabytes": round(count_traffic(text) * 1e-9, 1),
        "temporary_megabytes": round(memory.temp_size_in_bytes * 1e-6, 1) if memory else None,
    }
    Console().print_json(data=figures)
    if args.program is not None:
        args.program.write_text(text)
    if args.output is not None:
        with args.output.open("a") as file:
            file.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Args))
