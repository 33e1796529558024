"""Cost of every stage of a control step: compile time, run time, and the size of the compiled program.

Each stage is compiled and timed alone, on the layout that the environment uses, with the outputs of the stages before
it as inputs; the states are fresh episodes of all tasks. XLA may fuse across the seams of the whole step, so the sum
is a guide and the whole step is the truth: it is measured too, as the last row.

    python -m benchmarks.stages --tasks MT50 --num-envs 256 1024
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import tyro
from rich.console import Console
from rich.table import Table

import mjx_metaworld as mw
from benchmarks.program import count_fusions
from mjx_metaworld.build.machine import describe_machine, versions
from mjx_metaworld.compile import jit
from mjx_metaworld.physics import collision
from mjx_metaworld.physics.collision.points import Points
from mjx_metaworld.physics.collision.shapes import Slots
from mjx_metaworld.physics.config import Execution
from mjx_metaworld.physics.constraint import make_constraints
from mjx_metaworld.physics.inertia import mass_matrix, smooth_force
from mjx_metaworld.physics.integrate import integrate
from mjx_metaworld.physics.kinematics import kinematics
from mjx_metaworld.physics.solver import solve
from mjx_metaworld.physics.tiles import TILES
from mjx_metaworld.processes.programs import compiling_anew


@dataclass(frozen=True)
class Args:
    """Stages and batch sizes to measure."""

    tasks: str = "MT50"
    num_envs: tuple[int, ...] = (256, 1024, 4096)
    seconds: float = 1.0  # run each stage at least this long after the warm-up
    only: tuple[str, ...] = ()  # stages to report; all are run, as they feed each other
    whole: bool = True  # measure the environment's step, too
    output: Path | None = None  # append JSON lines to this file


class Cost(NamedTuple):
    """One stage at one batch size."""

    stage: str
    num_envs: int
    microseconds: float  # per environment and call
    cpu_microseconds: float  # the same, summed over the CPU's cores
    compile_s: float
    trace_s: float
    fusions: int  # in the optimized program, bodies of loops counted once
    substep_fusions: int  # of those, in the loop over a control step's substeps
    instructions: int
    mflop: float  # per environment, as XLA counts: bodies of loops once
    megabytes: float  # accessed, likewise


def compile_and_time(name: str, fn: Callable[..., Any], args: tuple, num_envs: int, seconds: float) -> tuple[Cost, Any]:
    """Cost of a function of a batch, and its result."""
    start = time.perf_counter()
    lowered = jit(fn).lower(*args)
    trace_s = time.perf_counter() - start
    start = time.perf_counter()
    with compiling_anew():
        compiled = lowered.compile()
    compile_s = time.perf_counter() - start
    text = compiled.as_text() or ""
    fusions, substep_fusions = count_fusions(text)
    analysis = compiled.cost_analysis() or {}
    out = jax.block_until_ready(compiled(*args))
    calls, start, cpu_start = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        jax.block_until_ready(compiled(*args))
        calls += 1
    elapsed, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    cost = Cost(
        stage=name,
        num_envs=num_envs,
        microseconds=1e6 * elapsed / (calls * num_envs),
        cpu_microseconds=1e6 * cpu / (calls * num_envs),
        compile_s=compile_s,
        trace_s=trace_s,
        fusions=fusions,
        substep_fusions=substep_fusions,
        instructions=text.count(" = "),
        mflop=1e-6 * float(analysis.get("flops", 0.0)) / num_envs,
        megabytes=1e-6 * float(analysis.get("bytes accessed", 0.0)) / num_envs,
    )
    return cost, out


def _tile_axes(tree: Any, execution: Execution) -> Any:
    """Axis of tiles in the arrays of a chunk: the first, or None where the tiles share packed pairs."""

    def of_node(node: Any) -> Any:
        if execution.early_exit and isinstance(node, Points):
            return None
        if execution.early_exit and isinstance(node, Slots):
            return node.replace(
                layout=node.layout.replace(entry=0, near=0, starts=None, total=None), pairs=None, contact=None
            )
        return 0

    return jax.tree.map(of_node, tree, is_leaf=lambda x: isinstance(x, Slots | Points))


def stages(env: mw.MetaWorldEnv, num_envs: int, seconds: float) -> list[Cost]:
    """All stages of the physics at one batch size, in their order."""
    engine = env.engine
    arm, config = engine.arm, engine.config
    costs: list[Cost] = []

    def measure(name: str, fn: Callable[..., Any], *args: Any) -> Any:
        """Time a lanes-last function on chunks of tiles."""

        def of_chunk(args: tuple, out_axes: Any = 0) -> Any:
            return jax.vmap(fn, in_axes=_tile_axes(args, config.execution), out_axes=out_axes, axis_name=TILES)(*args)

        a_chunk = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), args)
        out_axes = _tile_axes(jax.eval_shape(of_chunk, a_chunk), config.execution)

        def of_batch(*args: Any) -> Any:
            return jax.lax.map(functools.partial(of_chunk, out_axes=out_axes), args)

        cost, out = compile_and_time(name, of_batch, args, num_envs, seconds)
        costs.append(cost)
        return out

    keys = jax.random.split(jax.random.key(0), num_envs)
    tasks = jnp.arange(num_envs) % len(env.tasks)
    cost, state = compile_and_time("reset", jax.vmap(env.reset), (keys, tasks), num_envs, seconds)
    costs.append(cost)
    ctrl = jnp.tile(jnp.array([1.0, -1.0]), (num_envs, 1))
    inputs = (jax.vmap(env.rows)(tasks).scene, state.physics, ctrl)
    rows, physics, ctrl = jax.tree.map(engine.division(num_envs).divide, inputs)

    scene = measure("select", engine.select, rows)
    kin = measure("kinematics", lambda scene, s: kinematics(arm, scene, s.qpos, s.prop_pos), scene, physics)
    near = measure(
        "broad phase",
        lambda rows, kin: collision.broadphase(collision.Geometry.of(engine.scenes, engine.hulls, rows), kin, config),
        rows,
        kin,
    )
    found = []
    for kind, (slots, routine) in collision.routines(near, config).items():
        points, _ = measure(f"narrow phase: {kind}", lambda s, kin, r=routine: collision.find(s, kin, r), slots, kin)
        found.append((slots, points))
    contacts = measure("reduction", lambda found: collision.select_contacts(found, config), found)
    mass = measure("mass matrix", lambda scene, kin: mass_matrix(arm, scene, kin), scene, kin)
    smooth = measure(
        "smooth force",
        lambda scene, kin, s, ctrl: smooth_force(arm, scene, kin, s.qpos, s.qvel, ctrl),
        scene,
        kin,
        physics,
        ctrl,
    )
    constraints = measure(
        "constraints",
        lambda scene, kin, s, c: make_constraints(arm, scene, kin, s, c, config.execution),
        scene,
        kin,
        physics,
        contacts,
    )
    solution = measure(
        "solve", lambda m, f, c, s: solve(m, f, c, s.qacc_warmstart, config), mass, smooth, constraints, physics
    )
    measure(
        "integrate",
        lambda scene, m, s, f, x: integrate(arm, scene, m, s.qpos, s.qvel, f + x.qfrc_constraint),
        scene,
        mass,
        physics,
        smooth,
        solution,
    )
    return costs


def whole_step(env: mw.MetaWorldEnv, num_envs: int, seconds: float) -> list[Cost]:
    """The environment's step, observation and reward included."""
    keys = jax.random.split(jax.random.key(0), num_envs)
    state = jit(jax.vmap(env.reset))(keys)
    action = jax.random.uniform(jax.random.key(1), (num_envs, 4), minval=-1.0, maxval=1.0)
    cost, _ = compile_and_time("env.step", jax.vmap(env.step), (state, action), num_envs, seconds)
    return [cost]


def main(args: Args) -> None:
    """Print a table for each batch size and append the figures to the output."""
    console = Console()
    env = mw.make(args.tasks)
    for num_envs in args.num_envs:
        costs = stages(env, num_envs, args.seconds)
        if args.whole:
            costs += whole_step(env, num_envs, args.seconds)
        table = Table(title=f"{args.tasks}, {num_envs} environments")
        for column in (
            "stage",
            "µs/env",
            "CPU µs/env",
            "compile s",
            "trace s",
            "fusions",
            "a substep",
            "instructions",
            "Mflop/env",
            "MB/env",
        ):
            table.add_column(column, justify="left" if column == "stage" else "right")
        for c in costs:
            if not args.only or any(name in c.stage for name in args.only):
                table.add_row(
                    c.stage,
                    f"{c.microseconds:.2f}",
                    f"{c.cpu_microseconds:.2f}",
                    f"{c.compile_s:.1f}",
                    f"{c.trace_s:.1f}",
                    str(c.fusions),
                    str(c.substep_fusions or ""),
                    str(c.instructions),
                    f"{c.mflop:.3f}",
                    f"{c.megabytes:.4f}",
                )
        console.print(table)
        if args.output is not None:
            args.output.parent.mkdir(parents=True, exist_ok=True)
            about = {
                "device": jax.devices()[0].device_kind,
                "machine": describe_machine(),
                "versions": versions("jax", "jaxlib"),
            }
            with args.output.open("a") as file:
                for c in costs:
                    file.write(json.dumps(c._asdict() | about) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Args))
