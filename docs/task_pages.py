"""The documentation's page of each task, from the registry."""

from __future__ import annotations

import functools
import inspect
import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from mjx_metaworld.env import make
from mjx_metaworld.experts import expert
from mjx_metaworld.rendering.images import upright
from mjx_metaworld.rendering.render import render
from mjx_metaworld.suites import GOALS_SEED, goals, list_suites, list_tasks, resolve
from mjx_metaworld.tasks import TaskSpec
from mjx_metaworld.tasks.spec import Reward
from mjx_metaworld.vector import reset_to_goals
from mjx_metaworld.view.recording import record
from mjx_metaworld.view.replay import save_replay

_PICTURE = 320  # pixels a side


def page(spec: TaskSpec, *, picture: bool) -> str:
    """A task's page in Markdown, with its picture `NAME.png` beside it if there is one."""
    task, *facts = spec.description.split(". ")
    suites = ", ".join(name for name in list_suites() if spec in resolve(name)) or "none"
    box = "\n".join(
        f"| {i} | {low:g} | {high:g} |" for i, (low, high) in enumerate(zip(spec.rand_low, spec.rand_high, strict=True))
    )
    parts = [
        f"# {spec.name}",
        f"{task}.",
        *([f"![{spec.name} at the first step of its first frozen goal]({spec.name}.png)"] if picture else []),
        "\n".join(f"- {fact.rstrip('.')}." for fact in facts),
        f"- Scene: `{spec.scene_name}`.\n- Suites: {suites}.",
        "## Goal vector",
        "Bounds of `rand_vec`, from which a reset draws uniformly."
        + (_apart(spec) if spec.min_separation else "")
        + (" Entries are metres." if spec.rand_low else ""),
        f"| entry | low | high |\n| --- | ---: | ---: |\n{box}",
        "## Declaration, reward and success",
        f"```python\n{_source(spec.reward)}\n```",
        *([] if spec.reward_v1 is None else ["## Reward of version 1", f"```python\n{_source(spec.reward_v1)}\n```"]),
    ]
    return "\n\n".join(parts) + "\n"


def index() -> str:
    """The page that lists the tasks by difficulty group."""
    groups = []
    for group in ("easy", "medium", "hard", "very_hard"):
        rows = "\n".join(f"| [{spec.name}]({spec.name}.md) | {spec.description} |" for spec in resolve(group))
        groups.append(f"## {group.replace('_', ' ').capitalize()}\n\n| task | what |\n| --- | --- |\n{rows}")
    return (
        "# Tasks\n\nThe 50 tasks by difficulty group; a group's name is a suite too.\n\n" + "\n\n".join(groups) + "\n"
    )


def pictures() -> dict[str, bytes]:
    """A PNG of every task at the start of its first frozen goal, by its name."""
    names = list_tasks()
    env = make(names)
    state = reset_to_goals(env, [goals(name, GOALS_SEED)[0][:1] for name in names])
    images = upright(render(env, state, "corner2", _PICTURE, _PICTURE), "corner2")
    return {name: _png(image) for name, image in zip(names, images, strict=True)}


def replay() -> bytes:
    """A replay of an expert, as a page of its own."""
    env = make("door-open-v3")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "replay.html")
        save_replay(path, record(env, expert(env), num_steps=240, every=2))
        return path.read_bytes()


def _source(reward: Reward) -> str:
    """A reward function's code, with the arguments that a partial one has fixed."""
    if not isinstance(reward, functools.partial):
        return inspect.getsource(reward).rstrip()
    fixed = [*map(str, reward.args), *(f"{name}={value}" for name, value in reward.keywords.items())]
    return f"# with {', '.join(fixed)}\n{inspect.getsource(reward.func).rstrip()}"


def _apart(spec: TaskSpec) -> str:
    return f" Draws whose two places are closer than {spec.min_separation:g} m in xy are repeated."


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "png", optimize=True)
    return buffer.getvalue()
