"""The tasks, a declaration and its reward functions each, by family; importing the package registers them."""

from mjx_metaworld.tasks import (
    button,
    carry,
    coffee,
    dial,
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
    stick,
    sweep,
    tool,
    wall,
    window,
)
from mjx_metaworld.tasks.spec import TaskSpec, registered

TASKS: tuple[TaskSpec, ...] = registered()

__all__ = [
    "TASKS",
    "TaskSpec",
    "button",
    "carry",
    "coffee",
    "dial",
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
    "stick",
    "sweep",
    "tool",
    "wall",
    "window",
]
