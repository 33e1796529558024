"""The page in the browser: a source of frames, a player, and a loop that brings both to the screen."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from mjx_metaworld.processes.background import Work
from mjx_metaworld.suites import NUM_GOALS
from mjx_metaworld.types import CONTROL_RATE
from mjx_metaworld.view import player as playing
from mjx_metaworld.view.frames import Frame
from mjx_metaworld.view.handles import GoalHandles
from mjx_metaworld.view.panel import Again, Drive, MoveGoal, Panel, Play, Request, Restart, Scrub, Speed, Step
from mjx_metaworld.view.player import Player
from mjx_metaworld.view.plots import Plots
from mjx_metaworld.view.sources import STRIDE, Choice, Control, Simulation, Source, spread
from mjx_metaworld.view.stage import Stage

if TYPE_CHECKING:
    import viser

_FRAME_SECONDS = 1 / 30  # between two pictures
_PLOT_SECONDS = 0.4  # between two updates of the plots
_REST_SECONDS = 1.0  # that an episode's end is shown before the next begins


class Viewer:
    """Page that shows a source of frames.

    Args:
        source: of frames.
        title: says what is watched, in Markdown.
        server: where it is shown.
    """

    def __init__(self, source: Source, title: str, server: viser.ViserServer) -> None:
        self.source, self.server = source, server
        self.player = Player(last=len(source) - 1, live=source.live)
        self._simulation = source if isinstance(source, Simulation) else None
        self._stage = Stage(server, source.specs, source.num_lanes)
        self._panel = self._make_panel(title)
        self._plots = Plots(server, self._panel.plots, source.num_lanes)
        self._handles = None if self._simulation is None else GoalHandles(server, self._stage.offsets, self._move_goal)
        self._moved: dict[int, np.ndarray] = {}
        self._preparing: Work | None = None
        self._failed: BaseException | None = None
        self._shown: Frame | None = None
        self._plotted = (-1, -1)
        self._plot_time = self._end_time = 0.0
        self._show()

    def run(self, seconds: float | None = None) -> None:
        """Serve so long, or until the process is interrupted."""
        begin = now = time.perf_counter()
        while seconds is None or now - begin < seconds:
            before, now = now, time.perf_counter()
            self.advance(now - before)
            time.sleep(max(0.0, _FRAME_SECONDS - (time.perf_counter() - now)))

    def go_to(self, index: int) -> None:
        """Show a frame; from any thread, at the next `advance`."""
        self._panel.ask(Scrub(index))

    def advance(self, seconds: float) -> None:
        """Do all that was asked for, let time pass, and show where it leads.

        Raises:
            Exception: of the simulation, as it failed.
        """
        for request in self._panel.requests():
            self._do(request)
        if self._failed is not None:
            raise self._failed
        if self._is_ready():
            self.player = playing.tick(self.player, seconds, rests=self._simulation is not None)
            if self.player.wanted > self.player.last and self.source.live:
                # No more than a moment's work at once, so that the page stays responsive where simulation is slow.
                self.source.extend(min(self.player.wanted, self.player.last + 2 * STRIDE))
            self._grow()
            self._end(seconds)
        self._show()

    # --- what is asked for ---

    def _do(self, request: Request) -> None:
        player, simulation = self.player, self._simulation
        if isinstance(request, Play):
            self.player = playing.play(player) if request.on else playing.pause(player)
            if request.on and simulation is not None and player.at_end:
                self._restart(simulation)
        elif isinstance(request, Scrub):
            self.player = playing.scrub(player, request.index)
        elif isinstance(request, Step):
            self._step(request.count)
        elif isinstance(request, Speed):
            self.player = playing.with_speed(player, request.factor)
        elif isinstance(request, Again):
            self.player = player._replace(again=request.on)
        elif isinstance(request, Restart):
            if simulation is None:
                self.player = playing.scrub(player, 0)
            else:
                self._restart(simulation)
        elif isinstance(request, MoveGoal) and simulation is not None:
            self.player = playing.to_last(player)
            simulation.move_goal(request.lane, request.goal)
            self._shown = None
        elif isinstance(request, Drive) and simulation is not None:
            self._drive(simulation)

    def _step(self, count: int) -> None:
        wanted = self.player.shown + count
        if wanted > self.player.last and self._is_ready():
            self.source.extend(wanted)
            self._grow()
        self.player = playing.scrub(self.player, wanted)

    def _restart(self, simulation: Simulation) -> None:
        task, goal = self._panel.task, self._panel.goal
        lanes = simulation.num_lanes
        choice = spread(len(simulation.specs), lanes, goal) if task is None else Choice((task,) * lanes, goal)
        simulation.restart(choice)
        self.player = self.player._replace(at=0.0, last=0, live=True)
        self._plotted = (-1, -1)
        if self._panel.by_hand:
            self._drive(simulation, at_once=True)

    def _drive(self, simulation: Simulation, *, at_once: bool = False) -> None:
        """Set the simulation's control from the panel; who begins to drive begins where the hand is."""
        lane = self._panel.lane
        begins = self._panel.by_hand and (at_once or not simulation.control.by_hand[lane])
        if begins:
            self.player = playing.to_last(self.player)
            self._panel.set_hand(np.asarray(simulation.frame(len(simulation) - 1).hand_target[lane]))
        if not self._panel.by_hand:
            simulation.release()
            return
        by_hand = np.arange(simulation.num_lanes) == lane
        simulation.control = Control(by_hand, self._panel.hand_target, np.float32(self._panel.grip))

    def _move_goal(self, lane: int, goal: np.ndarray) -> None:
        """Called from viser's threads."""
        self._panel.ask(MoveGoal(lane, goal))

    # --- where it leads ---

    def _is_ready(self) -> bool:
        """True once the simulation is compiled; compiling begins with the first call, beside what else goes on."""
        simulation = self._simulation
        if simulation is None or simulation.is_prepared:
            return True
        if self._preparing is None:
            self._preparing = Work(target=self._prepare, args=(simulation,))
            self._preparing.start()
        return False

    def _prepare(self, simulation: Simulation) -> None:
        try:
            simulation.prepare()
        except Exception as error:
            self._failed = error

    def _grow(self) -> None:
        self.player = playing.grown(self.player, len(self.source) - 1, live=self.source.live)

    def _end(self, seconds: float) -> None:
        """Begin anew after an episode's end, when that has been seen."""
        simulation = self._simulation
        if simulation is None or not (self.player.playing and self.player.at_end):
            self._end_time = 0.0
            return
        self._end_time += seconds
        if not self.player.again:
            self.player = playing.pause(self.player)
        elif self._end_time > _REST_SECONDS:
            self._restart(simulation)

    def _show(self) -> None:
        index = self.player.shown
        frame = self.source.frame(index)
        if frame is not self._shown:
            self._stage.show(frame)
            if self._handles is not None and self._simulation is not None:
                self._handles.show(frame, self._simulation.movable)
            self._shown = frame
        self._panel.show(self.player, self._status(frame))
        now, lane = time.perf_counter(), self._panel.lane
        due = now - self._plot_time > _PLOT_SECONDS or not self.player.playing
        if self._plotted != (index, lane) and due:
            self._plots.show(self.source.metrics(index), lane)
            self._plotted, self._plot_time = (index, lane), now

    def _status(self, frame: Frame) -> str:
        if self._simulation is not None and not self._simulation.is_prepared:
            return "*Compiling the simulation; playing begins when it is done.*"
        solved = int(np.sum(frame.metrics.success > 0))
        lanes = f"success in {solved} of {len(frame.task)} lanes" if len(frame.task) > 1 else ""
        one = "success" if solved else "no success yet" if self.player.shown else "start"
        step = int(frame.step.max())
        return f"step {step} ({step / CONTROL_RATE:.2f} s), {lanes or one}"

    def _make_panel(self, title: str) -> Panel:
        simulation = self._simulation
        if simulation is None:
            return Panel(self.server, title, num_lanes=self.source.num_lanes)
        specs = simulation.specs
        low, high = (np.array([getattr(spec, name) for spec in specs]) for name in ("hand_low", "hand_high"))
        return Panel(
            self.server,
            title,
            tasks=[spec.name for spec in specs],
            num_goals=NUM_GOALS,
            num_lanes=simulation.num_lanes,
            hand=(low.min(0), high.max(0)),
        )
