"""What local and remote playout have in common: one track at a time, one timer, and whom they tell."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from duologue.audio import Frame
from duologue.ports.transport import Transport
from duologue.runtime.playout.spoken_words import SpokenWords
from duologue.runtime.playout.track import Track


@dataclass(frozen=True, slots=True)
class PlayoutListener:
    """Whom the playout tells.

    `on_heard`: the first audible frame of a reply. `on_spoken`: (reply, text) that was heard just now. `on_ended`: a
    track was played. `on_failed`: the transport failed, it can't go on. `on_sent`, if anybody wants to know: each frame
    that was sent, with the loop's time at which it is due to sound.
    """

    on_heard: Callable[[int], None]
    on_spoken: Callable[[int, str], None]
    on_ended: Callable[["Heard"], None]
    on_failed: Callable[[Exception], None]
    on_sent: Callable[[Frame], None] | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard of a track that is over: `count` samples, which say `text`.

    `is_told`: a remote player has said so, or is to say it.
    """

    track: Track
    count: int
    text: str
    is_told: bool = False


class Playout(ABC):
    """Plays one track at a time."""

    def __init__(self, transport: Transport, listener: PlayoutListener) -> None:
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._player = transport
        self._track: Track | None = None
        self._held: int | None = None  # the count at which it was held
        self._told_heard = False
        self._ended = 0  # the count at which the transport was told that it was all
        self._began_at = 0.0  # loop time at which its first frame left
        self._timer: asyncio.TimerHandle | None = None
        self._words = SpokenWords(self._position_of_words, listener.on_spoken)
        self.played_samples = 0  # of all replies that are over, as far as is known

    @property
    def track(self) -> Track | None:
        """The track that is being played or held."""
        return self._track

    def start(self, track: Track) -> None:
        """`track` may be heard from now on."""
        self._track, self._held, self._told_heard, self._ended = track, None, False, 0
        track.on_more = self._more
        self._begin(track)
        self._go_on(track)

    def hold(self) -> None:
        """Silence at once; what was not heard is kept."""
        if self._track and self._held is None:
            self._stop()
            self._held = self._guarded(self._silence, self._track)

    def resume(self) -> None:
        """Go on from the word where it was held."""
        track, held = self._track, self._held
        if track and held is not None:
            self._held = None
            self._take_up(track, held)
            self._go_on(track)

    def cut(self) -> Heard | None:
        """Silence for good, of what is played or held."""
        track = self._track
        if track is None:
            return None
        self._stop()
        heard = self._heard(track, self._guarded(self._silence_for_good, track))
        self._track = None
        self._over(heard)
        return heard

    def position(self) -> int:
        """How far the track was heard by now, in samples of its own."""
        return self._track.position(self.count()) if self._track else 0

    @abstractmethod
    def count(self) -> int:
        """Samples of the track that were played by now, repeated ones counted again."""

    def heard_text(self) -> str:
        """The text of the track that was heard by now."""
        return self._heard(self._track, self.count()).text if self._track else ""

    def _heard(self, track: Track, count: int) -> Heard:
        return Heard(track, count, track.heard(track.position(count)))

    def _spoken_position(self) -> int:
        """How far the words may be told."""
        return self.position()

    @abstractmethod
    def _sounds_at(self, track: Track) -> float:
        """Loop time at which the frame that was sent just now is due to sound."""

    @abstractmethod
    def _begin(self, track: Track) -> None:
        """A new track: forget the one before."""

    @abstractmethod
    def _silence(self, track: Track) -> int:
        """Hold; the count at which it fell silent."""

    def _say_end(self, track: Track) -> None:
        """All of the track was sent; said once."""
        if track.count > self._ended:
            self._ended = track.count
            self._player.end_reply(track.reply)

    def _silence_for_good(self, track: Track) -> int:
        count = self._held if self._held is not None else self._cut_short(track)
        if track.count:
            self._player.end_reply(track.reply)
        return count

    @abstractmethod
    def _cut_short(self, track: Track) -> int:
        """Drop what was not heard; the count at which that was."""

    @abstractmethod
    def _take_up(self, track: Track, held: int) -> None:
        """Go on after a hold at count `held`."""

    @abstractmethod
    def _send(self, track: Track) -> None:
        """Send what is due."""

    # --- inside ---------------------------------------------------------------------------------------------------

    def _more(self) -> None:
        """More of the track is made."""
        if self._track and self._held is None:
            self._go_on(self._track)

    def _go_on(self, track: Track) -> None:
        self._attempt(self._send, track)
        if self._plays(track):
            self._words.watch(track)

    def _stop(self) -> None:
        self._words.stop()
        self._stop_timer()

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _at(self, when: float, work: Callable[[Track], None], track: Track) -> None:
        self._timer = self._loop.call_at(when, self._due, work, track)

    def _due(self, work: Callable[[Track], None], track: Track) -> None:
        self._timer = None
        self._attempt(work, track)

    def _attempt(self, work: Callable[[Track], None], track: Track) -> None:
        """Do `work` while `track` is played. An error here would end in the log of the loop, the caller in silence."""
        if self._plays(track):
            try:
                work(track)
            except Exception as error:  # whatever a transport raises: the session ends with it
                self._listener.on_failed(error)

    def _guarded(self, work: Callable[[Track], int], track: Track) -> int:
        try:
            return work(track)
        except Exception as error:  # as in `_attempt`
            self._listener.on_failed(error)
            return track.count

    def _position_of_words(self) -> int:
        return self._guarded(lambda track: self._spoken_position(), self._track) if self._track else 0

    def _plays(self, track: Track) -> bool:
        return track is self._track and self._held is None

    def _play(self, piece: bytes, track: Track) -> None:
        self._player.play(piece, track.reply)
        if not self._told_heard:
            self._told_heard = True
            self._began_at = self._loop.time()
            self._listener.on_heard(track.reply)
        if self._listener.on_sent:
            self._listener.on_sent(Frame(piece, self._sounds_at(track)))

    def _over(self, heard: Heard) -> None:
        heard.track.forget_audio()
        self.played_samples += heard.count
        self._words.tell(heard.track, heard.text)

    def _end(self, track: Track, count: int) -> None:
        self._stop()
        heard = self._heard(track, count)
        self._over(heard)
        if self._track is track:  # else whoever was told the last words has cut it
            self._track = None
            self._listener.on_ended(heard)
