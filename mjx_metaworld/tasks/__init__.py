"""The tasks, one declaration and one reward function each, by family; importing the package registers them."""

from mjx_metaworld.tasks import (
    button,
    coffee,
    door,
    drawer,
    faucet,
    handle,
    hole,
    lever,
    lock,
    peg,
    plate,
    puck,
    sweep,
    wall,
    window,
)
from mjx_metaworld.tasks.spec import TaskSpec, registered

TASKS: tuple[TaskSpec, ...] = registered()

__all__ = [
    "TASKS",
    "TaskSpec",
    "button",
    "coffee",
    "door",
    "drawer",
    "faucet",
    "handle",
    "hole",
    "lever",
    "lock",
    "peg",
    "plate",
    "puck",
    "sweep",
    "wall",
    "window",
]
