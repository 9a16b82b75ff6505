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
ROOM_CHECK_S: Final = 1.0  # how often a far side that plays out of sight is asked whether more may be made
REPORT_GRACE_S: Final = 3.0  # a far side that has reported before and is silent so long has stopped playing


@dataclass(slots=True)
class Chunk:
    """A stretch of text and where its audio lies in the track. `samples` counts up while it is synthesised.

    `in_text` False: a filler, which is heard but belongs to no history. `pace`: how long this voice takes for a text,
    as a share of what is usual.
    """

    text: str
    start_sample: int
    in_text: bool = True
    samples: int = 0
    complete: bool = False
    words: list[SpokenWord] = field(default_factory=list)
    pace: float = 1.0

    def spans(self) -> list[tuple[int, int, int, int]]:
        """Words as (first char, last char + 1, first sample, last sample + 1), samples from the chunk's start.

        Without word times from the voice, the audio is shared out by the length of the words.
        """
        if self.words:
            rate = SAMPLE_RATE_HZ
            return [(w.start_char, w.end_char, int(w.start * rate), int(w.end * rate)) for w in self.words]
        samples = self.samples if self.complete else max(self.samples, int(self.pace * _usual_samples(self.text)))
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
        heard_chars, played = 0, min(played, self.samples)
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
        self.repeated = 0  # samples that were sent a second time, after holds
        self._timed_samples = self._usual_samples = 0  # of the chunks that are whole: what they took, what is usual
        self._played = 0  # as far as is known; where we play ourselves, what was sent
        self._pcm = bytearray()
        self._base = 0  # position of the first byte kept
        self.room = asyncio.Event()
        self.room.set()
        self.on_more: Callable[[], None] | None = None

    def begin_chunk(self, text: str, *, in_text: bool = True) -> Chunk:
        """The next audio speaks `text`."""
        if self.chunks and self.chunks[-1].complete and self.chunks[-1].samples:
            self._timed_samples += self.chunks[-1].samples
            self._usual_samples += _usual_samples(self.chunks[-1].text)
        pace = self._timed_samples / self._usual_samples if self._usual_samples else 1.0
        chunk = Chunk(text, self.made, in_text, pace=pace)
        self.chunks.append(chunk)
        return chunk

    def add(self, pcm: bytes) -> None:
        """More audio of the last chunk."""
        self._pcm += pcm
        self.made += len(pcm) // 2
        self.chunks[-1].samples += len(pcm) // 2
        self._make_room()
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
        return piece.ljust(FRAME_BYTES, b"\0")

    def played(self, position: int) -> None:
        """Audio up to `position` is played: what lies far behind it is forgotten, and more may be made."""
        self._played = position
        keep_from = position - int(BEHIND_SECONDS * SAMPLE_RATE_HZ)
        if keep_from - self._base > SAMPLE_RATE_HZ:  # a second at a time: moving bytes costs
            del self._pcm[: (keep_from - self._base) * 2]
            self._base = keep_from
        self._make_room()

    def _make_room(self) -> None:
        if self.made - self._played > AHEAD_SECONDS_MAX * SAMPLE_RATE_HZ:
            self.room.clear()
        else:
            self.room.set()

    def rewind(self, position: int) -> None:
        """Send again from `position`, or from the start of the word that it lies in."""
        held_at = position
        for chunk in reversed(self.chunks):
            if chunk.start_sample <= position:
                position = chunk.start_sample + chunk.word_start(position - chunk.start_sample)
                break
        self.sent = max(self._base, min(position, self.made))
        self.repeated += held_at - self.sent

    def forget_audio(self) -> None:
        """Nothing of it will be sent any more; what its text was, and where, is kept."""
        self._pcm.clear()
        self._base = self.made

    def heard(self, position: int) -> str:
        """The text that was played out when the first `position` samples were, to the word. Fillers are left out."""
        text = gap = ""
        for chunk in self.chunks:
            if chunk.in_text and chunk.start_sample <= position:
                piece = chunk.heard(position - chunk.start_sample)
                text += gap + piece if piece else ""
                # White space stands at a chunk's end: one that broke off in the middle has lost it.
                gap = "" if len(piece) == len(chunk.text) else chunk.text[len(chunk.text.rstrip()) :]
        return text

    def rest_s(self, position: int) -> float:
        """Seconds of audio that are made and were not played at `position`."""
        return max(0, self.made - position) / SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class PlayoutListener:
    """Whom the playout tells: the first audible frame of a reply, its end with the heard text, and that it can't go on
    (the transport failed); and, if it wants to know, each frame that was sent, with the loop's time at which it is due
    to sound."""

    on_heard: Callable[[int], None]
    on_ended: Callable[[int, str], None]
    on_failed: Callable[[Exception], None]
    on_sent: Callable[[Frame], None] | None = None


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
        self._reported: int | None = None  # samples, by the far side, those sent twice counted twice
        self._reported_at = 0.0
        self._began_at = 0.0  # loop time at which the far side is taken to have begun to play
        self.sent_samples = 0  # of all replies together, without those taken back

    @property
    def track(self) -> Track | None:
        """The track that is being played or held."""
        return self._track

    @property
    def is_reported(self) -> bool:
        """Whether the far side has said how much of the track it played."""
        return self._reported is not None

    def start(self, track: Track) -> None:
        """`track` may be heard from now on."""
        self._track, self._held, self._told_heard, self._reported = track, False, False, None
        track.on_more = self._wake
        self._next_at = self._loop.time()
        self._tick()

    def hold(self) -> None:
        """Silence at once; what was not heard is kept."""
        if self._track and not self._held:
            self._stop_timer()
            position = self.position(after_flush=self._flush())
            self._held = True
            self._track.sent = position

    def resume(self) -> None:
        """Go on from the word where it was held."""
        if self._track and self._held:
            self._track.rewind(self.position())
            self._held = False
            self._next_at = self._loop.time()
            self._began_at = self._next_at - self._track.sent / SAMPLE_RATE_HZ
            self._tick()

    def cut(self) -> tuple[Track | None, int]:
        """Silence for good: the track and how much of it was heard, as far as is known here."""
        track = self._track
        if track is None:
            return None, 0
        self._stop_timer()
        position = self.position(after_flush=self._flush())
        self._track = None
        track.on_more = None
        track.forget_audio()
        return track, position

    def position(self, *, after_flush: int | None = None) -> int:
        """Samples of the track that were heard by now."""
        track = self._track
        if track is None:
            return 0
        if self._transport.plays_far_side and (self._reported is not None or not self._held):
            return min(self._far_side_samples(track), track.made)
        if self._held:
            return track.sent
        ahead = self._transport.unplayed() if after_flush is None else after_flush
        return max(0, track.sent - ahead)

    def report(self, samples: int) -> int:
        """The far side has played so many samples of the track; the position that this is.

        What the far side was sent twice, after a hold, it counts twice.
        """
        self._reported = max(self._reported or 0, samples)
        self._reported_at = self._loop.time()
        return self.position()

    def end_if_heard(self) -> None:
        """After a report: end the track if that was all of it, else let more be made."""
        track = self._track
        if track is None:
            return
        position = self.position()
        track.played(position)
        if track.complete and position >= track.made:
            self._end(track, track.made)
        elif track.complete and track.sent >= track.made and not self._held:
            self._stop_timer()
            self._end_far_side(track)

    def _far_side_samples(self, track: Track) -> int:
        if self._reported is not None:
            return max(0, self._reported - track.repeated)
        return int((self._loop.time() - self._began_at) * SAMPLE_RATE_HZ) if self._told_heard else 0

    def _flush(self) -> int:
        try:
            dropped = self._transport.flush()
        except Exception as error:  # as in `_guarded`
            self._listener.on_failed(error)
            return 0
        self.sent_samples -= dropped
        return dropped

    # --- the pace -------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        if self._timer is None or self._transport.plays_far_side:
            self._stop_timer()
            self._tick()

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _at(self, when: float, work: Callable[[Track], None], track: Track) -> None:
        self._timer = self._loop.call_at(when, self._due, work, track)

    def _due(self, work: Callable[[Track], None], track: Track) -> None:
        self._timer = None
        self._guarded(work, track)

    def _tick(self) -> None:
        if self._track:
            self._guarded(self._send_all if self._transport.plays_far_side else self._send_ahead, self._track)

    def _guarded(self, work: Callable[[Track], None], track: Track) -> None:
        """Do `work` while `track` is played. An error here would end in the log of the loop, the caller in silence."""
        if not self._plays(track):
            return
        try:
            work(track)
        except Exception as error:  # whatever a transport raises: the session ends with it
            self._listener.on_failed(error)

    def _plays(self, track: Track) -> bool:
        return track is self._track and not self._held

    def _send_ahead(self, track: Track) -> None:
        """Send what is due, with a lead of a few frames, and come back in time for the next."""
        now = self._loop.time()
        self._next_at = max(self._next_at, now)  # after an underrun the pace begins anew
        while self._next_at < now + (LEAD_FRAMES - 0.5) * FRAME_SECONDS:
            piece = track.take_frame()
            if piece is None:
                break
            self._send(piece, track)
            if not self._plays(track):  # what was decided upon its first frame
                return
            self._next_at += FRAME_SECONDS
        track.played(track.sent)
        if track.complete and track.sent >= track.made:
            self._at(self._next_at, self._end_if_played, track)
        elif track.made - track.sent >= FRAME_SAMPLES or track.complete:
            self._at(self._next_at - (LEAD_FRAMES - 1) * FRAME_SECONDS, self._send_ahead, track)

    def _send_all(self, track: Track) -> None:
        """Send all there is: the far side keeps it, and the synthesis waits when that is too far ahead."""
        while (piece := track.take_frame()) is not None:
            self._send(piece, track)
            if not self._plays(track):
                return
        track.played(self.position())
        if track.complete:
            self._end_far_side(track)
        elif not track.room.is_set():
            self._at(self._loop.time() + ROOM_CHECK_S, self._send_all, track)

    def _end_far_side(self, track: Track) -> None:
        """End with the far side's last report, or with the time that all of it takes if it never reports."""
        now = self._loop.time()
        if self._reported is None:
            left_s = (track.made - self._far_side_samples(track)) / SAMPLE_RATE_HZ
        else:
            left_s = self._reported_at + REPORT_GRACE_S - now
        if left_s > 0 and track.made:
            self._at(now + left_s + 0.001, self._end_far_side, track)
        else:
            self._end(track, self.position())

    def _send(self, piece: bytes, track: Track) -> None:
        self._transport.send(Frame(piece, self._next_at))
        self.sent_samples += FRAME_SAMPLES
        if not self._told_heard:
            self._told_heard = True
            self._began_at = self._loop.time()
            self._listener.on_heard(track.reply)
        if self._listener.on_sent:
            far_side_at = self._began_at + (track.sent - FRAME_SAMPLES) / SAMPLE_RATE_HZ
            at = far_side_at if self._transport.plays_far_side else self._next_at
            self._listener.on_sent(Frame(piece, at))

    def _end_if_played(self, track: Track) -> None:
        unplayed = self._transport.unplayed()
        if unplayed > 0:
            self._at(self._loop.time() + max(0.005, unplayed / SAMPLE_RATE_HZ), self._end_if_played, track)
        else:
            self._end(track, track.made)

    def _end(self, track: Track, position: int) -> None:
        self._stop_timer()
        self._track = None
        track.on_more = None
        self._listener.on_ended(track.reply, track.heard(position))
