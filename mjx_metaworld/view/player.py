"""Playing, pausing and scrubbing, as a state and pure functions of it.

Time is counted in frames, one a control step. There are frames up to `last`; of a simulation that goes on (`live`) more
can be had, of a recording not.
"""

from __future__ import annotations

from typing import NamedTuple

from mjx_metaworld.types import CONTROL_RATE

SPEEDS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)


class Player(NamedTuple):
    """Position in a sequence of frames.

    Attributes:
        at: the position, in frames; what is shown is `shown`.
        last: index of the last frame that there is.
        live: whether frames come after that.
        playing: whether time goes on.
        speed: seconds of simulated time a second.
        again: whether the sequence begins anew after its end; else it stops there.
    """

    at: float = 0.0
    last: int = 0
    live: bool = False
    playing: bool = False
    speed: float = 1.0
    again: bool = True

    @property
    def shown(self) -> int:
        """Index of the frame to show."""
        return min(int(self.at), self.last)

    @property
    def wanted(self) -> int:
        """Index of the last frame that has to be there by now."""
        return int(self.at)

    @property
    def at_end(self) -> bool:
        """True where nothing comes after."""
        return not self.live and self.at >= self.last


def play(player: Player) -> Player:
    """Go on; from the end, begin anew."""
    return player._replace(playing=True, at=0.0 if player.at_end else player.at)


def pause(player: Player) -> Player:
    """Stay at the frame that is shown."""
    return player._replace(playing=False, at=float(player.shown))


def scrub(player: Player, index: int) -> Player:
    """Go to a frame, as near to it as there is one, and stay there."""
    return player._replace(playing=False, at=float(min(max(index, 0), player.last)))


def to_last(player: Player) -> Player:
    """Go to the last frame that there is."""
    return player._replace(at=float(player.last))


def tick(player: Player, seconds: float, *, rests: bool = False) -> Player:
    """Let time pass.

    A recording stops at its end, or begins anew there; ahead of a simulation the position may run, until `grown` says
    how far that has come.

    Args:
        player: the position before.
        seconds: how long.
        rests: wait at the end, where another sequence is to begin.
    """
    if not player.playing:
        return player
    at = player.at + seconds * CONTROL_RATE * player.speed
    if player.live or at <= player.last:
        return player._replace(at=at)
    if rests:
        return player._replace(at=float(player.last))
    return player._replace(at=0.0) if player.again else player._replace(at=float(player.last), playing=False)


def grown(player: Player, last: int, *, live: bool) -> Player:
    """There are frames up to `last` now. A position that ran ahead of the simulation waits for it there."""
    return player._replace(last=last, live=live, at=min(player.at, float(last)))


def with_speed(player: Player, speed: float) -> Player:
    """Another speed.

    Raises:
        ValueError: if it is not positive.
    """
    if not speed > 0.0:
        raise ValueError(f"speed must be positive, got {speed}")
    return player._replace(speed=speed)
