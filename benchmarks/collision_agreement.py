"""Agreement of the collision stage with MuJoCo C along expert rollouts, by pair kind; prints Markdown tables.

Poses are MuJoCo's own, so that only collision is compared. A pair counts as touching on one side alone when the other
finds none within the margin. Depth and normal are of the pair's deepest point; the position is the largest distance
from a point of MuJoCo's to the nearest here, and is ambiguous where faces or edges are parallel.

The second table says how many pairs of each kind touch at once, which sets `PhysicsConfig`'s number of slots.

Usage: python benchmarks/collision_agreement.py [--episodes 2] [--every 6] [--tasks reach-v3 ...] [--out FILE]
"""

from __future__ import annotations

import argparse
import warnings
from collections import Counter, defaultdict
from pathlib import Path

import mujoco
import numpy as np

from mjx_metaworld.parity.collisions import TASKS, Comparison, Snapshot, collide_batch, compare, record, to_batch
from mjx_metaworld.physics.config import EngineConfig
from mjx_metaworld.scenes.catalog import SceneSpec, load_scene
from mjx_metaworld.scenes.colliders import pair_kind


def agreement_table(comparisons: list[Comparison]) -> str:
    """One row per pair kind."""
    lines = [
        "| pair | pairs | only MuJoCo | only here | same count | depth error m (50 / 95 / 100 %) "
        "| depth > 1e-4 | normal > 1e-2 | position > 1 mm |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for kind in sorted({c.kind for c in comparisons}):
        rows = [c for c in comparisons if c.kind == kind]
        both = [c for c in rows if c.ours and c.theirs]
        cells = [kind, len(both), sum(not c.ours for c in rows), sum(not c.theirs for c in rows)]
        if both:
            depth = np.array([c.depth_error for c in both])
            cells += [
                f"{100 * np.mean([len(c.ours) == len(c.theirs) for c in both]):.1f} %",
                " / ".join(f"{q:.0e}" for q in np.quantile(depth, [0.5, 0.95, 1.0])),
                f"{100 * np.mean(depth > 1e-4):.1f} %",
                f"{100 * np.mean([c.normal_error > 1e-2 for c in both]):.1f} %",
                f"{100 * np.mean([c.position_error > 1e-3 for c in both]):.1f} %",
            ]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines)


def disagreement_table(comparisons: list[Comparison]) -> str:
    """The pairs that disagree, by task."""
    found = Counter()
    for c in comparisons:
        if not c.ours or not c.theirs:
            side = "only MuJoCo" if c.theirs else "only here"
            found[c.task, c.kind, c.pair, side] += 1
        elif c.depth_error > 1e-4 or c.normal_error > 1e-2:
            found[c.task, c.kind, c.pair, "depth or normal"] += 1
    lines = ["| task | pair | geoms | how | states |", "| --- | --- | --- | --- | --- |"]
    lines += [f"| {task} | {kind} | {pair} | {how} | {n} |" for (task, kind, pair, how), n in sorted(found.items())]
    return "\n".join(lines)


def slot_table(snapshots: list[Snapshot]) -> str:
    """Number of pairs of each kind that touch at once, and the tasks where it is largest."""
    counts: dict[str, list[tuple[int, str]]] = defaultdict(list)
    models: dict[SceneSpec, mujoco.MjModel] = {}
    for s in snapshots:
        model = models.setdefault(s.scene, load_scene(s.scene))
        kinds = Counter(pair_kind(model, pair) for pair in s.contacts)
        for kind in ("plane", "sphere", "capsule", "box", "cylinder_box", "convex"):
            counts[kind].append((kinds[kind], s.task))
        counts["contact points"].append((sum(map(len, s.contacts.values())), s.task))
    lines = ["| kind | 99 % | 99.9 % | most | in |", "| --- | --- | --- | --- | --- |"]
    for kind, values in counts.items():
        numbers = np.array([n for n, _ in values])
        most = sorted({task for n, task in values if n == numbers.max() > 0})
        p99, p999 = np.quantile(numbers, [0.99, 0.999])
        lines.append(f"| {kind} | {p99:.0f} | {p999:.0f} | {numbers.max()} | {', '.join(most[:3])} |")
    return "\n".join(lines)


def main() -> None:
    """Record, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=2)
    parser.add_argument("--every", type=int, default=6)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")  # metaworld's policies warn about their own constants

    snapshots = [s for task in args.tasks for s in record(task, episodes=args.episodes, every=args.every)]
    batch = to_batch(snapshots)
    comparisons = compare(batch, collide_batch(batch, EngineConfig()))
    text = "\n\n".join(
        (
            f"{len(snapshots)} states of {len(args.tasks)} tasks, MuJoCo {mujoco.__version__}.",
            agreement_table(comparisons),
            slot_table(snapshots),
            disagreement_table(comparisons),
        )
    )
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
