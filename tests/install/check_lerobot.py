"""Checks of an installed package with the extra `lerobot`: an expert's episode as a dataset that LeRobot reads."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from lerobot.datasets.lerobot_dataset import LeRobotDataset  # pyright: ignore[reportMissingImports]  # where this runs

if __name__ == "__main__":
    command = Path(sys.executable).with_name("mjx-metaworld")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "data")
        arguments = ["export", "--tasks", "reach-v3", "--episodes", "1", "--batch-size", "1", "--output", folder]
        subprocess.run([command, *arguments], check=True)
        dataset = LeRobotDataset("local/metaworld_experts", root=folder)
        assert dataset.num_episodes == 1
        assert dataset[0]["action"].shape == (4,)
