"""The script for a GPU, at sizes that a CPU makes in minutes: every command of it is right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "on_gpu.sh"
# Without the profile, of which JAX's profiler tells no kernels on a CPU.
PARTS = "throughput learning_mt10 loops learning_mt50 pixels soak"


@pytest.mark.full
def test_all_parts_leave_their_results(tmp_path):
    environment = os.environ | {"SMALL": "1", "PARTS": PARTS, "PYTHON": sys.executable, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([SCRIPT, tmp_path], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    parts = [json.loads(line) for line in (tmp_path / "parts.jsonl").read_text().splitlines()]
    failed = {part["part"]: (tmp_path / f"{part['part']}.log").read_text()[-2000:] for part in parts if part["status"]}
    assert not failed
    assert len(parts) == 1 + len(PARTS.split())  # throughput has two
    for name in ("throughput.jsonl", "loops.jsonl", "soak.json", "results.tgz"):
        assert (tmp_path / name).stat().st_size > 0
    for tasks in ("MT10", "MT50"):
        kept = {path.name for path in (tmp_path / "runs" / tasks).iterdir()}
        assert {"run.json", "metrics.jsonl"} <= kept
