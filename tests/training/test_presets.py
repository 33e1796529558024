"""The presets for MT10, at small size on a CPU: the commands, end to end."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from mjx_metaworld.cli.main import main
from mjx_metaworld.suites import resolve

# What makes them small, and nothing else: tasks, episodes, learning rates and what else they set stay.
SMALL = {
    "ppo": ("MT10-gpu", ("num_envs=20", "horizon=4", "hidden=[16]", "minibatches=2")),
    "sac": (
        "MT10-sac-gpu",
        (
            "num_envs=20",
            "hidden=[16]",
            "updates_per_step=0.025",
            "batch_per_task=8",
            "replay_size=400",
            "warmup_steps=160",
        ),
    ),
    "fastsac": (
        "MT10-fastsac-cpu",
        (
            "num_envs=20",
            "horizon=4",
            "actor_hidden=[16]",
            "critic_hidden=[16]",
            "updates=2",
            "batch_per_task=8",
            "replay_size=400",
            "warmup_steps=160",
        ),
    ),
}


def answer(capsys: pytest.CaptureFixture[str], *command: str) -> Any:
    """What a command prints with `--json`."""
    with pytest.raises(SystemExit) as ended:
        main([*command, "--json"])
    assert not ended.value.code
    return json.loads(capsys.readouterr().out)


@pytest.mark.full
@pytest.mark.parametrize("algorithm", SMALL)
def test_mt10_is_trained_saved_and_evaluated_beside_the_reference(tmp_path, capsys, algorithm):
    preset, settings = SMALL[algorithm]
    folder = tmp_path / "run"
    steps = ["--env-steps", "240", "--eval-every", "240", "--eval-goals", "1"]  # three iterations
    train = ["train", "MT10", "--algo", algorithm, "--preset", preset, *steps, "--output", str(folder)]
    result = answer(capsys, *train, "--set", *settings)
    assert result["env_steps"] == 240
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["3"]
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert sum(name.startswith("success/") for name in last) == 10
    rows = answer(capsys, "eval", str(folder), "--reference", "--num-goals", "1", "--num-steps", "30")
    assert [row["task"] for row in rows] == [spec.name for spec in resolve("MT10")]
    # Thirty steps of almost no motion, the same here and there: what is left is the difference of the simulators.
    here, there = (np.array([row[side] for row in rows]) for side in ("return_here", "return_there"))
    np.testing.assert_allclose(here, there, rtol=0.05, atol=0.05)
