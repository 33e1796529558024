"""Plots of success: their legends."""

from __future__ import annotations

import pytest
from support.run_folders import write_run

from mjx_metaworld.training import PPOConfig, SACConfig, TrainConfig, plots
from mjx_metaworld.training.curves import group_curves, read_curve

NAMES = ("a$x_$", "_hidden", r"\$b^")


@pytest.fixture
def legends(monkeypatch):
    """Legends of what is drawn, as they are shown."""
    shown = []

    def draw(figure, output):
        figure.draw_without_rendering()
        texts = figure.axes[0].get_legend().get_texts() if figure.axes else []
        shown.append([text.get_text() for text in texts])
        assert not any(text.get_parse_math() for text in texts)

    monkeypatch.setattr(plots, "_save", draw)
    return shown


def test_names_of_folders_are_shown_as_they_are(legends, tmp_path):
    plots.draw_success({name: [(100.0, 60.0, 0.5), (200.0, 120.0, 0.7)] for name in NAMES}, tmp_path / "plot.png")
    assert legends == [list(NAMES)]


def test_labels_and_tasks_are_shown_as_they_are(legends, tmp_path):
    rates = {"$x^$": [0.1, 0.2], "_y": [0.2, 0.3]}
    configs = [
        TrainConfig("MT10", PPOConfig()),
        TrainConfig("MT10", SACConfig()),
        TrainConfig("MT10", PPOConfig(gamma=0.5)),
    ]
    folders = [write_run(tmp_path / str(i), rates, config=config) for i, config in enumerate(configs)]
    groups = group_curves([read_curve(folder) for folder in folders], NAMES)
    plots.draw_groups(groups, tmp_path / "plot.png", by_task=True)
    assert legends == [[f"{name} (1)" for name in NAMES]]


def test_a_group_without_a_mean_is_in_the_legend(legends, tmp_path):
    short = write_run(tmp_path / "short", {"x": [0.1]})
    late = write_run(tmp_path / "late", {"x": [0.9]}, seed=1, every=500)
    plots.draw_groups(group_curves([read_curve(short), read_curve(late)]), tmp_path / "plot.png")
    assert legends == [["ppo (2)"]]
