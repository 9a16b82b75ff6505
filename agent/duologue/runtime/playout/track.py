"""One reply's audio with the text that it speaks: what is made, what was sent, and what of the text that says.

Two counts are kept apart. A *position* is a sample of the reply's own audio. A *count* is how many samples of the reply
were sent or played; a word that a hold repeats is counted twice in it, and heard once.
"""

import asyncio
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import ceil
from typing import Final, NamedTuple

from duologue.audio import frame_samples
from duologue.core.words import is_cjk
from duologue.ports.transport import AHEAD_SECONDS_MAX
from duologue.ports.tts import SpokenWord

BEHIND_SECONDS: Final = 4.0  # audio kept behind the playout position, to go back to the start of a held word
HEARD_SHARE: Final = 0.5  # a word counts as heard when so much of it was played
OVERSHOOT_SECONDS: Final = 0.25  # that a player may count beyond the end: it counts whole frames, or blocks of its own
STRETCHES_MAX: Final = 64  # of one reply, one more with each hold; beyond it the oldest are taken together


@dataclass(slots=True)
class Chunk:
    """A stretch of text and where its audio lies in the track. `samples` counts up while it is synthesised.

    `in_text` False: a filler, which is heard but belongs to no history. `pace`: how long this voice takes for a text,
    as a share of what is usual.
    """

    text: str
    start_sample: int
    rate_hz: int
    in_text: bool = True
    samples: int = 0
    complete: bool = False
    words: list[SpokenWord] = field(default_factory=list)
    pace: float = 1.0
    _packed: "array[int] | None" = None  # `spans` of a reply that is over, one number behind the other

    def spans(self) -> list[tuple[int, int, int, int]]:
        """Words as (first char, last char + 1, first sample, last sample + 1), samples from the chunk's start.

        Without word times from the voice, the audio is shared out by the length of the words.
        """
        if self._packed is not None:
            numbers = iter(self._packed)
            return list(zip(numbers, numbers, numbers, numbers, strict=True))
        if self.words:
            rate = self.rate_hz
            return [(w.start_char, w.end_char, int(w.start * rate), int(w.end * rate)) for w in self.words]
        usual = int(self.pace * _usual_samples(self.text, self.rate_hz))
        samples = self.samples if self.complete else max(self.samples, usual)
        borders = _word_borders(self.text)
        weight = sum(end - start + 1 for start, end in borders) or 1
        spans, at = [], 0
        for start, end in borders:
            length = (end - start + 1) * samples // weight
            spans.append((start, end, at, at + length))
            at += length
        return spans

    def pack(self) -> None:
        """No word is added any more: keep the times of those there are in a tenth of the room."""
        if self.words and self._packed is None:
            self._packed = array("i", [number for span in self.spans() for number in span])
            self.words = []

    def heard(self, played: int) -> str:
        """The text that the first `played` samples of this chunk say, to the word."""
        if self.complete and played >= self.samples:
            return self.text
        heard_chars, played = 0, min(played, self.samples)
        for _, end_char, start, end in self.spans():
            if played < _heard_from(start, end):
                break
            heard_chars = end_char
        return self.text[:heard_chars]

    def next_word(self, played: int) -> int | None:
        """The sample, behind the first `played` ones, at which more of the text counts as heard; None if it is not made
        yet, or there is none."""
        for _, _, start, end in self.spans():
            at = _heard_from(start, end)
            if at > played:
                return at if at <= self.samples else None
        return self.samples if self.complete and self.samples > played else None  # what stands behind the last word

    def word_start(self, played: int) -> int:
        """The sample at which the word that `played` lies in begins."""
        inside = [start for _, _, start, end in self.spans() if start <= played < end]
        return inside[0] if inside else played


def _heard_from(start: int, end: int) -> int:
    return start + ceil((end - start) * HEARD_SHARE)


def _usual_samples(text: str, rate_hz: int) -> int:
    """How long `text` usually takes to say: 14 characters a second, 4.5 in Chinese or Japanese (about 180 words,
    270 characters a minute; Pellegrino et al. 2011 for the rates)."""
    cjk = sum(map(is_cjk, text))
    return int(((len(text) - cjk) / 14 + cjk / 4.5) * rate_hz)


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


_ROOM: Final = asyncio.Event()  # of replies that are over: nobody waits for them
_ROOM.set()


class Stretch(NamedTuple):
    """What was sent in one go: the sample counted as `first` is that at `position`, and so on."""

    first: int
    position: int


class Track:
    """One reply's audio and text, as far as they are made."""

    __slots__ = (
        "_base", "_frame_bytes", "_pcm", "_played", "_stretches", "_timed_samples", "_usual_samples", "chunks",
        "complete", "made", "on_more", "rate_hz", "reply", "room", "sent", "told",
    )  # fmt: skip

    def __init__(self, reply: int, rate_hz: int) -> None:
        self.reply = reply
        self.rate_hz = rate_hz
        self.chunks: list[Chunk] = []
        self.complete = False
        self.made = 0
        self.sent = 0  # position up to which it was sent
        self.told = ""  # the part of its text that was told as `Spoken`
        self._stretches = [Stretch(0, 0)]
        self._timed_samples = self._usual_samples = 0  # of the chunks that are whole: what they took, what is usual
        self._played = 0  # position, as far as is known; where we play ourselves, what was sent
        self._pcm = bytearray()
        self._base = 0  # position of the first byte kept
        self._frame_bytes = frame_samples(rate_hz) * 2
        self.room = asyncio.Event()
        self.room.set()
        self.on_more: Callable[[], None] | None = None

    def begin_chunk(self, text: str, *, in_text: bool = True) -> Chunk:
        """The next audio speaks `text`."""
        if self.chunks and self.chunks[-1].complete and self.chunks[-1].samples:
            self._timed_samples += self.chunks[-1].samples
            self._usual_samples += _usual_samples(self.chunks[-1].text, self.rate_hz)
        pace = self._timed_samples / self._usual_samples if self._usual_samples else 1.0
        chunk = Chunk(text, self.made, self.rate_hz, in_text, pace=pace)
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
        """The next 20 ms, the last ones filled up with silence.

        None while they are not made yet, or when all is sent.
        """
        left = self.made - self.sent
        if left <= 0 or (left * 2 < self._frame_bytes and not self.complete):
            return None
        offset = (self.sent - self._base) * 2
        piece = bytes(self._pcm[offset : offset + self._frame_bytes])
        self.sent += len(piece) // 2
        return piece.ljust(self._frame_bytes, b"\0")

    @property
    def has_frame(self) -> bool:
        """Whether `take_frame` would give one."""
        left = self.made - self.sent
        return left > 0 and (self.complete or left * 2 >= self._frame_bytes)

    @property
    def all_sent(self) -> bool:
        """Whether all of it is made and sent."""
        return self.complete and self.sent >= self.made

    def played(self, position: int) -> None:
        """Audio up to `position` is played: what lies far behind it is forgotten, and more may be made."""
        self._played = position
        keep_from = position - int(BEHIND_SECONDS * self.rate_hz)
        if keep_from - self._base > self.rate_hz:  # a second at a time: moving bytes costs
            del self._pcm[: (keep_from - self._base) * 2]
            self._base = keep_from
        self._make_room()

    def _make_room(self) -> None:
        if self.made - self._played > AHEAD_SECONDS_MAX * self.rate_hz:
            self.room.clear()
        else:
            self.room.set()

    def forget_audio(self) -> None:
        """Nothing of it will be sent any more; what its text was, and where, is kept."""
        self.on_more = None
        self._pcm = bytearray()
        self._base = self.made
        self.room = _ROOM
        for chunk in self.chunks:
            chunk.pack()

    # --- counts and positions --------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """How many samples were sent, those of a hold that were sent again counted again."""
        begun = self._stretches[-1]
        return begun.first + self.sent - begun.position

    def rewind(self, count: int) -> None:
        """Silent since `count` samples were played: send again from the start of the word that this is in."""
        begun = self._stretches[-1]
        count = max(count, begun.first)  # a remote player's word may be older than the hold before
        position = min(begun.position + count - begun.first, self.made)
        for chunk in reversed(self.chunks):
            if chunk.start_sample <= position:
                position = chunk.start_sample + chunk.word_start(position - chunk.start_sample)
                break
        self.sent = max(self._base, position)
        self._stretches.append(Stretch(count, self.sent))
        if len(self._stretches) > STRETCHES_MAX:
            del self._stretches[1]

    def position(self, count: int) -> int:
        """How far the reply was heard when `count` samples were played: a hold takes nothing back."""
        furthest = 0
        for index, begun in enumerate(self._stretches):
            if begun.first > count:
                break
            until = self._stretches[index + 1].first if index + 1 < len(self._stretches) else count
            furthest = max(furthest, begun.position + min(count, until) - begun.first)
        return min(furthest, self.made)

    def within(self, count: int) -> int | None:
        """`count` as a player told it, without what it counts beyond the end; None if that is too much to be true."""
        beyond = count - self.count
        return None if beyond > OVERSHOOT_SECONDS * self.rate_hz else min(count, self.count)

    # --- text ------------------------------------------------------------------------------------------------------

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

    def next_word(self, position: int) -> int | None:
        """The position behind `position` at which more of the text counts as heard; None while it is not made."""
        for chunk in self._chunks_from(position):
            at = chunk.next_word(position - chunk.start_sample) if chunk.in_text else None
            if at is not None:
                return chunk.start_sample + at
        return None

    def _chunks_from(self, position: int) -> Iterator[Chunk]:
        first = len(self.chunks)
        while first > 0:
            first -= 1
            if self.chunks[first].start_sample <= position:
                break
        return iter(self.chunks[first:])

    def rest_s(self, position: int) -> float:
        """Seconds of audio that are made and were not played at `position`."""
        return max(0, self.made - position) / self.rate_hz
