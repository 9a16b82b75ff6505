"""Playout out of our sight: all that is made is sent at once, and what was heard is what the remote player reports.

One that has never reported is taken to play in real time; one that reported and is silent is taken at its last report.
"""

from dataclasses import replace
from typing import Final

from duologue.audio import FRAME_SECONDS
from duologue.ports.transport import RemoteTransport
from duologue.runtime.playout.base import Heard, Playout, PlayoutListener
from duologue.runtime.playout.track import Track

ROOM_CHECK_S: Final = 1.0  # how often it is looked whether more may be made
REPORT_GRACE_S: Final = 3.0  # a player that has reported before and is silent so long has stopped
GUESS_S_MAX: Final = 0.5  # that words are told ahead of the last report; more may be wrong


class RemotePlayout(Playout):
    """Plays over a `RemoteTransport`."""

    def __init__(self, transport: RemoteTransport, listener: PlayoutListener) -> None:
        super().__init__(transport, listener)
        self._transport = transport
        self._reported: int | None = None  # count
        self._reported_at = 0.0

    def count(self) -> int:
        """Samples of the track that were played by now, as far as is known."""
        if self._track is None:
            return 0
        if self._reported is not None:
            return self._reported
        if self._held is not None:
            return self._held
        seconds = self._loop.time() - self._began_at if self._told_heard else 0.0
        return min(int(seconds * self._track.rate_hz), self._track.count)

    def report(self, samples: int) -> str:
        """The player has played so many samples of the track; what is wrong with that, or ""."""
        track = self._track
        assert track is not None
        count = track.within(samples)
        if count is None:
            return f"{samples} samples of reply {track.reply} can't be played, {track.count} were sent"
        if count < (self._reported or 0):
            return f"reply {track.reply} was played for {self._reported} samples already, not {samples}"
        self._reported, self._reported_at = count, self._loop.time()
        position = track.position(count)
        track.played(position)
        self._words.tell(track, track.heard(position))
        if self._plays(track):  # whoever was told a word may have cut it
            self._words.watch(track)
        return ""

    def end_if_heard(self) -> None:
        """After a report: end the track if all of it was played, else wait for the rest. In a hold it ends after it."""
        track = self._track
        if track and track.all_sent and self._held is None:
            self._stop_timer()
            self._end_in_time(track)

    def _heard(self, track: Track, count: int) -> Heard:
        return replace(super()._heard(track, count), is_told=self._reported is not None)

    def _spoken_position(self) -> int:
        track = self._track
        if track is None or self._reported is None:
            return self.position()
        guessed = min(self._loop.time() - self._reported_at, GUESS_S_MAX) * track.rate_hz
        return track.position(min(self._reported + int(guessed), track.count))

    def _sounds_at(self, track: Track) -> float:
        return self._began_at + track.count / track.rate_hz - FRAME_SECONDS

    def _begin(self, track: Track) -> None:
        self._reported = None

    def _silence(self, track: Track) -> int:
        count = self.count()
        if not track.count:
            return count
        if self._transport.can_hold:
            self._transport.hold_reply(track.reply)
        else:
            self._transport.cut_reply(track.reply)
        return count

    def _cut_short(self, track: Track) -> int:
        count = self.count()
        if track.count:
            self._transport.cut_reply(track.reply)
        return count

    def _silence_for_good(self, track: Track) -> int:
        if self._held is not None and self._transport.can_hold and track.count:
            self._transport.cut_reply(track.reply)  # it still holds what it kept
        return super()._silence_for_good(track)

    def _take_up(self, track: Track, held: int) -> None:
        count = held if self._reported is None else max(held, self._reported)
        self._reported_at = self._loop.time()
        self._began_at = self._reported_at - count / track.rate_hz  # as if it had played all the time
        if not track.count:
            return
        if self._transport.can_hold:
            self._transport.resume_reply(track.reply)
        else:
            track.rewind(count)

    def _send(self, track: Track) -> None:
        """Send all there is: the remote player keeps it, and the synthesis waits when that is too far ahead."""
        self._stop_timer()
        while (piece := track.take_frame()) is not None:
            self._play(piece, track)
            if not self._plays(track):
                return
        track.played(self.position())
        if track.all_sent:
            self._say_end(track)
            self._end_in_time(track)
        elif not track.room.is_set():
            self._at(self._loop.time() + ROOM_CHECK_S, self._look_for_room, track)

    def _look_for_room(self, track: Track) -> None:
        track.played(self.position())
        if not track.room.is_set():
            self._at(self._loop.time() + ROOM_CHECK_S, self._look_for_room, track)

    def _end_in_time(self, track: Track) -> None:
        """End with the last report, or with the time that all of it takes if none ever comes."""
        now, unheard = self._loop.time(), track.made - self.position()
        left_s = unheard / track.rate_hz if self._reported is None else self._reported_at + REPORT_GRACE_S - now
        if left_s > 0 and unheard > 0:
            self._at(now + left_s + 0.001, self._end_in_time, track)
        else:
            self._end(track, self.count())
