"""Tells the words of the reply that is played, each when it counts as heard, so that captions run in step.

One timer, at the pace of words: it is set to the sample at which the next word counts as heard. What is told of a reply
is, put together, its heard text; after a hold only what is new.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from duologue.runtime.playout.track import Track

AGAIN_S: Final = 0.02  # looked again so soon where playout has come to a stop; a word is at most so late
ROUNDING_S: Final = 0.001  # behind the sample, so that it was played for sure


class SpokenWords:
    """`position`: how far the track is heard by now, estimated where nobody knows. `on_spoken`: (reply, text)."""

    def __init__(self, position: Callable[[], int], on_spoken: Callable[[int, str], None]) -> None:
        self._position = position
        self._on_spoken = on_spoken
        self._loop = asyncio.get_running_loop()
        self._track: Track | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._last = -1  # position at the last look

    def watch(self, track: Track) -> None:
        """`track` is played, or more of it is there to be played. Cheap where a timer is set already."""
        self._track = track
        if self._timer is None:
            self._look(track)

    def stop(self) -> None:
        """It is held, or over."""
        self._track = None
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def tell(self, track: Track, heard: str) -> None:
        """`heard` is the text that was heard of `track` until now: tell what is new in it."""
        new = heard[len(track.told) :]
        if new.strip() and heard.startswith(track.told):
            track.told = heard
            self._on_spoken(track.reply, new)

    def _look(self, track: Track) -> None:
        position = self._position()
        at = track.next_word(position)
        if at is not None:
            again_s = AGAIN_S if position == self._last else 0.0
            self._last = position
            delay_s = max((at - position) / track.rate_hz + ROUNDING_S, again_s)
            self._timer = self._loop.call_later(delay_s, self._due, track)

    def _due(self, track: Track) -> None:
        self._timer = None
        self.tell(track, track.heard(self._position()))
        if self._track is track and self._timer is None:  # whoever was told may have done something about it
            self._look(track)
