"""The controls beside the scene: their handles, and what they ask for, in the order in which it was asked."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mjx_metaworld.view.player import SPEEDS, Player

if TYPE_CHECKING:
    import viser

EACH_ANOTHER = "a task a lane"  # the picker's entry beside the tasks


class Play(NamedTuple):
    """Go on, or stay."""

    on: bool


class Scrub(NamedTuple):
    """Go to a frame."""

    index: int


class Step(NamedTuple):
    """Go on by some frames."""

    count: int


class Speed(NamedTuple):
    """Play at another speed."""

    factor: float


class Again(NamedTuple):
    """Begin anew after the end, or do not."""

    on: bool


class Restart(NamedTuple):
    """Begin anew, with the tasks and goals that the pickers say."""


class MoveGoal(NamedTuple):
    """Put a lane's goal elsewhere, (3,) from the lane's origin."""

    lane: int
    goal: np.ndarray


class Drive(NamedTuple):
    """The controls of the hand have changed."""


Request = Play | Scrub | Step | Speed | Again | Restart | MoveGoal | Drive


class Panel:
    """Controls of the player, and of what is watched as far as it can be steered.

    Args:
        server: where it is shown.
        title: says what is watched.
        tasks: names for the picker of tasks; none without.
        num_goals: that can be picked; 0 without a picker.
        num_lanes: of which one is plotted, and driven.
        hand: lower and upper bounds (3,) of the hand's target; None where it cannot be driven.
    """

    def __init__(
        self,
        server: viser.ViserServer,
        title: str,
        *,
        tasks: Sequence[str] = (),
        num_goals: int = 0,
        num_lanes: int = 1,
        hand: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        self._queue: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._gui = gui = server.gui
        gui.configure_theme(show_logo=False, show_share_button=False, control_width="medium")
        gui.main_panel.dock_right()  # beside the scene; floating it would hide a part of it
        gui.set_panel_label("mjx_metaworld")
        self._title = title
        self._status = gui.add_markdown(title)
        with gui.add_folder("Player"):
            self._play = gui.add_button("Play")
            self._position = gui.add_slider("frame", min=0, max=1, step=1, initial_value=0)
            self._speed = gui.add_dropdown("speed", [f"{s:g}x" for s in SPEEDS], initial_value="1x")
            self._steps = gui.add_button_group("step", ("-10", "-1", "+1", "+10"))
            self._again = gui.add_checkbox("again at the end", True)
        self._playing = False
        self._play.on_click(lambda _: self.ask(Play(not self._playing)))
        self._on_user(self._position, lambda: Scrub(int(self._position.value)))
        self._on_user(self._speed, lambda: Speed(float(self._speed.value.removesuffix("x"))))
        self._steps.on_click(lambda _: self.ask(Step(int(self._steps.value))))
        self._on_user(self._again, lambda: Again(bool(self._again.value)))
        self._add_episode(tasks, num_goals)
        self._lane = gui.add_dropdown("lane", [str(i) for i in range(num_lanes)], visible=num_lanes > 1)
        self._add_hand(hand)
        self.plots = gui.add_folder("Rewards")

    def requests(self) -> Iterator[Request]:
        """All that was asked for since the last call."""
        while not self._queue.empty():
            yield self._queue.get()

    def show(self, player: Player, status: str) -> None:
        """Show the player's position, and a line on what is watched."""
        if self._position.max != max(player.last, 1):
            self._position.max = max(player.last, 1)
        if self._position.value != player.shown:
            self._position.value = player.shown
        if self._playing != player.playing or self._play.label not in ("Play", "Pause"):
            self._playing = player.playing
            self._play.label = "Pause" if player.playing else "Play"
        content = f"{self._title}\n\n{status}"
        if self._status.content != content:
            self._status.content = content

    @property
    def lane(self) -> int:
        """The lane that is plotted, and driven."""
        return int(self._lane.value)

    @property
    def task(self) -> int | None:
        """Index of the task that is picked for all lanes; None for each another."""
        if self._task is None or self._task.value == EACH_ANOTHER:
            return None
        return self._task.options.index(self._task.value) - (EACH_ANOTHER in self._task.options)

    @property
    def goal(self) -> int:
        """Index of the frozen goal that is picked."""
        return 0 if self._goal is None else int(self._goal.value) - 1

    @property
    def by_hand(self) -> bool:
        """True while the lane is driven by hand."""
        return self._by_hand is not None and bool(self._by_hand.value)

    @property
    def hand_target(self) -> np.ndarray:
        """(3,) where the hand is to go."""
        return np.array([slider.value for slider in self._hand], np.float32)

    @property
    def grip(self) -> float:
        """From -1, open, to 1, closed."""
        return 0.0 if self._grip is None else float(self._grip.value)

    def set_hand(self, target: np.ndarray) -> None:
        """Set the sliders of the hand, without asking for anything."""
        for slider, value in zip(self._hand, target, strict=True):
            slider.value = float(np.clip(value, slider.min, slider.max))

    def _add_episode(self, tasks: Sequence[str], num_goals: int) -> None:
        self._task: Any = None
        self._goal: Any = None
        if not tasks and not num_goals:
            return
        with self._gui.add_folder("Episode"):
            if tasks:
                names = list(tasks) if len(tasks) == 1 else [EACH_ANOTHER, *tasks]
                self._task = self._gui.add_dropdown("task", names)
                self._on_user(self._task, Restart)
            if num_goals:
                self._goal = self._gui.add_slider("goal", min=1, max=num_goals, step=1, initial_value=1)
                self._on_user(self._goal, Restart)
            self._gui.add_button("Restart").on_click(lambda _: self.ask(Restart()))

    def _add_hand(self, hand: tuple[np.ndarray, np.ndarray] | None) -> None:
        self._by_hand: Any = None
        self._grip: Any = None
        self._hand: list[Any] = []
        if hand is None:
            return
        with self._gui.add_folder("Hand"):
            self._by_hand = self._gui.add_checkbox("drive by hand", False)
            for axis, low, high in zip("xyz", *hand, strict=True):
                middle = float(low + high) / 2
                slider = self._gui.add_slider(axis, float(low), max(float(high), float(low) + 0.001), 0.001, middle)
                self._hand.append(slider)
            self._grip = self._gui.add_slider("grip", min=-1.0, max=1.0, step=0.05, initial_value=-1.0)
        # Another lane that is chosen is driven from then on.
        for handle in (self._lane, self._by_hand, self._grip, *self._hand):
            self._on_user(handle, Drive)

    def _on_user(self, handle: Any, request: Callable[[], Request]) -> None:
        """Ask for something when somebody, and not this program, sets a control."""

        def ask(event: Any) -> None:
            if event.client is not None:
                self.ask(request())

        handle.on_update(ask)

    def ask(self, request: Request) -> None:
        """Ask for something; from any thread."""
        self._queue.put(request)
