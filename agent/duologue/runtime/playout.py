"""What of a reply has been heard, counted in samples; and the pace at which it is sent.

A `Track` is one reply's audio with the text that it speaks. `Playout` sends one track at a time, 20 ms by 20 ms, a few
frames ahead of real time, and can hold, go on from the word where it was held, or cut. Where the far side plays,
playout is what it says it heard.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from duologue.audio import FRAME_BYTES, FRAME_SAMPLES, FRAME_SECONDS, SAMPLE_RATE_HZ, Frame
from duologue.core.words import is_cjk
from duologue.ports.transport import LEAD_FRAMES, Transport
from duologue.ports.tts import SpokenWord

AHEAD_SECONDS_MAX: Final = 12.0  # synthesis waits beyond it: what is cut was not worth making
BEHIND_SECONDS: Final = 4.0  # audio kept behind the playout position, to go back to the start of a held word
HEARD_SHARE: Final = 0.5  # a word counts as heard when so much of it was played
REPORT_GRACE_S: Final = 3.0  # a far side that has reported before and is silent so long has stopped playing


@dataclass(slots=True)
class Chunk:
    """A stretch of text and where its audio lies in the track. `samples` counts up while it is synthesised.

    `in_text` False: a filler, which is heard but belongs to no history.
    """

    text: str
    start_sample: int
    in_text: bool = True
    samples: int = 0
    complete: bool = False
    words: list[SpokenWord] = field(default_factory=list)

    def spans(self) -> list[tuple[int, int, int, int]]:
        """Words as (first char, last char + 1, first sample, last sample + 1), samples from the chunk's start.

        Without word times from the voice, the audio is shared out by the length of the words.
        """
        if self.words:
            rate = SAMPLE_RATE_HZ
            return [(w.start_char, w.end_char, int(w.start * rate), int(w.end * rate)) for w in self.words]
        samples = self.samples if self.complete else max(self.samples, _usual_samples(self.text))
        borders = _word_borders(self.text)
        weight = sum(end - start + 1 for start, end in borders) or 1
        spans, at = [], 0
        for start, end in borders:
            length = (end - start + 1) * samples // weight
            spans.append((start, end, at, at + length))
            at += length
        return spans

    def heard(self, played: int) -> str:
        """The text that the first `played` samples of this chunk say, to the word."""
        if self.complete and played >= self.samples:
            return self.text
        heard_chars = 0
        for _, end_char, start, end in self.spans():
            if played < start + (end - start) * HEARD_SHARE:
                break
            heard_chars = end_char
        return self.text[:heard_chars]

    def word_start(self, played: int) -> int:
        """The sample at which the word that `played` lies in begins."""
        inside = [start for _, _, start, end in self.spans() if start <= played < end]
        return inside[0] if inside else played


def _usual_samples(text: str) -> int:
    """How long `text` usually takes to say: 14 characters a second, 4.5 in Chinese or Japanese (about 180 words,
    270 characters a minute; Pellegrino et al. 2011 for the rates)."""
    cjk = sum(map(is_cjk, text))
    return int(((len(text) - cjk) / 14 + cjk / 4.5) * SAMPLE_RATE_HZ)


def _word_borders(text: str) -> list[tuple[int, int]]:
    borders: list[tuple[int, int]] = []
    start = None
    for index, char in enumerate(text):
        if char.isspace() or is_cjk(char):
            if start is not None:
                borders.append((start, index))
            start = None
            if is_cjk(char):
                borders.append((index, index + 1))
        elif start is None:
            start = index
    if start is not None:
        borders.append((start, len(text)))
    return borders


class Track:
    """One reply's audio and text, as far as they are made. Positions count the reply's own samples."""

    def __init__(self, reply: int) -> None:
        self.reply = reply
        self.chunks: list[Chunk] = []
        self.complete = False
        self.made = 0
        self.sent = 0
        self._pcm = bytearray()
        self._base = 0  # position of the first byte kept
        self.room = asyncio.Event()
        self.room.set()
        self.on_more: Callable[[], None] | None = None

    def begin_chunk(self, text: str, *, in_text: bool = True) -> Chunk:
        """The next audio speaks `text`."""
        chunk = Chunk(text, self.made, in_text)
        self.chunks.append(chunk)
        return chunk

    def add(self, pcm: bytes) -> None:
        """More audio of the last chunk."""
        self._pcm += pcm
        self.made += len(pcm) // 2
        self.chunks[-1].samples += len(pcm) // 2
        if self.made - self.sent > AHEAD_SECONDS_MAX * SAMPLE_RATE_HZ:
            self.room.clear()
        if self.on_more:
            self.on_more()

    def finish(self) -> None:
        """Nothing more comes."""
        self.complete = True
        if self.on_more:
            self.on_more()

    def take_frame(self) -> bytes | None:
        """The next 640 bytes, the last ones filled up with silence.

        None while they are not made yet, or when all is sent.
        """
        left = self.made - self.sent
        if left <= 0 or (left < FRAME_SAMPLES and not self.complete):
            return None
        offset = (self.sent - self._base) * 2
        piece = bytes(self._pcm[offset : offset + FRAME_BYTES])
        self.sent += len(piece) // 2
        self._forget_old()
        if self.made - self.sent <= AHEAD_SECONDS_MAX * SAMPLE_RATE_HZ and not self.room.is_set():
            self.room.set()
        return piece.ljust(FRAME_BYTES, b"\0")

    def _forget_old(self) -> None:
        keep_from = self.sent - int(BEHIND_SECONDS * SAMPLE_RATE_HZ)
        if keep_from - self._base > SAMPLE_RATE_HZ:  # a second at a time: moving bytes costs
            del self._pcm[: (keep_from - self._base) * 2]
            self._base = keep_from

    def rewind(self, position: int) -> None:
        """Send again from `position`, or from the start of the word that it lies in."""
        for chunk in reversed(self.chunks):
            if chunk.start_sample <= position:
                position = chunk.start_sample + chunk.word_start(position - chunk.start_sample)
                break
        self.sent = max(self._base, min(position, self.made))

    def heard(self, position: int) -> str:
        """The text that was played out when the first `position` samples were, to the word. Fillers are left out."""
        return "".join(
            chunk.heard(position - chunk.start_sample)
            for chunk in self.chunks
            if chunk.in_text and chunk.start_sample <= position
        )

    def rest_s(self, position: int) -> float:
        """Seconds of audio that are made and were not played at `position`."""
        return max(0, self.made - position) / SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class PlayoutListener:
    """Whom the playout tells: the first audible frame of a reply, and its end with the heard text."""

    on_heard: Callable[[int], None]
    on_ended: Callable[[int, str], None]


class Playout:
    """Sends one track at a time to the transport, at the pace at which it is heard."""

    def __init__(self, transport: Transport, listener: PlayoutListener) -> None:
        self._transport = transport
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._track: Track | None = None
        self._held = False
        self._told_heard = False
        self._timer: asyncio.TimerHandle | None = None
        self._next_at = 0.0  # loop time at which the next frame will be heard if sent at once
        self._reported: int | None = None  # samples, by the far side
        self._reported_at = 0.0
        self._began_at = 0.0  # loop time at which the far side is taken to have begun to play
        self.sent_samples = 0  # of all replies together

    @property
    def track(self) -> Track | None:
        """The track that is being played or held."""
        return self._track

    def start(self, track: Track) -> None:
        """`track` may be heard from now on."""
        self._track, self._held, self._told_heard, self._reported = track, False, False, None
        track.on_more = self._wake
        self._next_at = self._loop.time()
        self._tick()

    def hold(self) -> None:
        """Silence at once; what was not heard is kept."""
        if self._track and not self._held:
            self._held = True
            self._stop_timer()
            position = self.position(after_flush=self._transport.flush())
            self._track.sent = position

    def resume(self) -> None:
        """Go on from the word where it was held."""
        if self._track and self._held:
            self._held = False
            self._track.rewind(self._track.sent)
            self._next_at = self._loop.time()
            self._tick()

    def cut(self) -> tuple[Track | None, int]:
        """Silence for good: the track and how much of it was heard, as far as is known here."""
        track = self._track
        if track is None:
            return None, 0
        self._stop_timer()
        dropped = self._transport.flush()
        position = track.sent if self._held else self.position(after_flush=dropped)
        self._track = None
        track.on_more = None
        return track, position

    def position(self, *, after_flush: int | None = None) -> int:
        """Samples of the track that were heard by now."""
        if self._track is None:
            return 0
        if self._transport.plays_far_side:
            return min(self._far_side_samples(), self._track.made)
        if self._held:
            return self._track.sent
        ahead = self._transport.unplayed() if after_flush is None else after_flush
        return max(0, self._track.sent - ahead)

    def report(self, samples: int) -> None:
        """The far side has played so many samples of the track."""
        track = self._track
        if track is None:
            return
        self._reported = max(self._reported or 0, samples)
        self._reported_at = self._loop.time()
        if track.complete and self._reported >= track.made:
            self._end(track, track.made)

    def _far_side_samples(self) -> int:
        if self._reported is not None:
            return self._reported
        return int((self._loop.time() - self._began_at) * SAMPLE_RATE_HZ) if self._told_heard else 0

    # --- the pace -------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        if self._timer is None and self._track and not self._held:
            self._tick()

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        track = self._track
        if track is None or self._held:
            return
        if self._transport.plays_far_side:
            self._send_all(track)
            return
        now = self._loop.time()
        self._next_at = max(self._next_at, now)  # after an underrun the pace begins anew
        while self._next_at < now + (LEAD_FRAMES - 0.5) * FRAME_SECONDS:
            piece = track.take_frame()
            if piece is None:
                break
            self._send(piece, track)
            self._next_at += FRAME_SECONDS
        if track is not self._track or self._held:
            return
        if track.complete and track.sent >= track.made:
            self._timer = self._loop.call_at(self._next_at, self._end_if_played, track)
        elif track.made - track.sent >= FRAME_SAMPLES or track.complete:
            self._timer = self._loop.call_at(self._next_at - (LEAD_FRAMES - 1) * FRAME_SECONDS, self._tick)

    def _send_all(self, track: Track) -> None:
        while (piece := track.take_frame()) is not None:
            self._send(piece, track)
        if track.complete and track is self._track:
            self._end_far_side(track)

    def _end_far_side(self, track: Track) -> None:
        """End with the far side's last report, or with the time that all of it takes if it never reports."""
        self._timer = None
        if track is not self._track or self._held:
            return
        now = self._loop.time()
        if self._reported is None:
            left_s = (track.made - self._far_side_samples()) / SAMPLE_RATE_HZ
        else:
            left_s = self._reported_at + REPORT_GRACE_S - now
        if left_s > 0 and track.made:
            self._timer = self._loop.call_at(now + left_s + 0.001, self._end_far_side, track)
        else:
            self._end(track, min(self._far_side_samples(), track.made))

    def _send(self, piece: bytes, track: Track) -> None:
        self._transport.send(Frame(piece, self._next_at))
        self.sent_samples += FRAME_SAMPLES
        if not self._told_heard:
            self._told_heard = True
            self._began_at = self._loop.time()
            self._listener.on_heard(track.reply)

    def _end_if_played(self, track: Track) -> None:
        self._timer = None
        if track is not self._track or self._held:
            return
        if track.sent < track.made or not track.complete:  # more text came after all
            self._tick()
            return
        unplayed = self._transport.unplayed()
        if unplayed > 0:
            self._timer = self._loop.call_later(max(0.005, unplayed / SAMPLE_RATE_HZ), self._end_if_played, track)
        else:
            self._end(track, track.made)

    def _end(self, track: Track, position: int) -> None:
        self._stop_timer()
        self._track = None
        track.on_more = None
        self._listener.on_ended(track.reply, track.heard(position))
