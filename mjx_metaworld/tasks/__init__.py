"""The tasks, one declaration and one reward function each, by family; importing the package registers them."""

from mjx_metaworld.tasks import button, door, drawer, peg, puck, sweep, wall, window
from mjx_metaworld.tasks.spec import TaskSpec, registered

TASKS: tuple[TaskSpec, ...] = registered()

__all__ = ["TASKS", "TaskSpec", "button", "door", "drawer", "peg", "puck", "sweep", "wall", "window"]
