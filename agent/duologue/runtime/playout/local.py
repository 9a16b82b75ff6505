"""Playout in our sight: a few frames ahead of real time, and what was heard is what was sent and is not waiting."""

from dataclasses import replace
from typing import Final

from duologue.audio import FRAME_SECONDS
from duologue.ports.transport import LEAD_FRAMES, LocalTransport
from duologue.runtime.playout.base import Heard, Playout, PlayoutListener
from duologue.runtime.playout.track import Track

STALLED_SECONDS: Final = 1.0  # waiting to be heard: the player has stopped, and gets no more until it goes on
LOOK_AGAIN_S: Final = 0.1  # at a player that has stopped


class LocalPlayout(Playout):
    """Plays over a `LocalTransport`, at the pace at which it is heard."""

    def __init__(self, transport: LocalTransport, listener: PlayoutListener) -> None:
        super().__init__(transport, listener)
        self._transport = transport
        self._next_at = 0.0  # loop time at which the next frame will be heard if sent at once

    def count(self) -> int:
        """Samples of the track that were played by now."""
        if self._track is None:
            return 0
        return self._held if self._held is not None else max(0, self._track.count - self._transport.unplayed())

    def _heard(self, track: Track, count: int) -> Heard:
        """What was told word by word stays heard, though the pace of a chunk that is being made was a guess."""
        heard = super()._heard(track, count)
        return replace(heard, text=track.told) if track.told.startswith(heard.text) else heard

    def _sounds_at(self, track: Track) -> float:
        return self._next_at

    def _begin(self, track: Track) -> None:
        self._next_at = self._loop.time()

    def _silence(self, track: Track) -> int:
        return self._cut_short(track)

    def _cut_short(self, track: Track) -> int:
        dropped = self._transport.cut_reply(track.reply) if track.count else 0
        return max(0, track.count - dropped)

    def _take_up(self, track: Track, held: int) -> None:
        track.rewind(held)
        self._next_at = self._loop.time()

    def _send(self, track: Track) -> None:
        """Send what is due, with a lead of a few frames, and come back in time for the next."""
        if self._timer is not None:
            return
        now = self._loop.time()
        if self._transport.unplayed() > STALLED_SECONDS * track.rate_hz:
            self._at(now + LOOK_AGAIN_S, self._send, track)
            return
        self._next_at = max(self._next_at, now)  # after an underrun the pace begins anew
        while self._next_at < now + (LEAD_FRAMES - 0.5) * FRAME_SECONDS:
            piece = track.take_frame()
            if piece is None:
                break
            self._play(piece, track)
            if not self._plays(track):  # what was decided upon its first frame
                return
            self._next_at += FRAME_SECONDS
        track.played(track.sent)
        if track.all_sent:
            self._say_end(track)
            self._at(self._next_at, self._end_if_played, track)
        elif track.has_frame:
            self._at(self._next_at - (LEAD_FRAMES - 1) * FRAME_SECONDS, self._send, track)

    def _end_if_played(self, track: Track) -> None:
        unplayed = self._transport.unplayed()
        if unplayed > 0:
            self._at(self._loop.time() + max(0.005, unplayed / track.rate_hz), self._end_if_played, track)
        else:
            self._end(track, track.count)
