"""When each word of a text is heard, put together from espeak's events while the audio comes.

espeak tells where a word begins, not where it ends, and fuses small words ("of the") into one. Audio is therefore held
back from a word's beginning until the next event says where it ended (a few milliseconds of work), so that a word is
always told before its audio; fused words share their time by length.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from duologue.ports.tts import SpokenWord
from duologue_pipelines.tts.espeak_library import EspeakEvent
from duologue_pipelines.tts.speakable import SourceWord

_AUDIBLE: Final = 64  # of 32768: the pause behind a clause lies below, the end of a word above

Audio = NDArray[np.int16]


class WordTimer:
    """Words of one portion of text. `feed` audio and events; out come words, each before the audio it describes.

    `words`: those of the portion, `start` and `end` counted from its first character. `offset`: samples of the
    synthesis before it.
    """

    def __init__(self, words: Sequence[SourceWord], sample_rate_hz: int, offset: int) -> None:
        self._words = words
        self._starts = [word.start for word in words]
        self._rate = sample_rate_hz
        self._offset = offset
        self._held = np.zeros(0, dtype=np.int16)
        self._given = 0  # samples of the portion already given out
        self._open_since: int | None = None  # sample where the first word not yet told began
        self._next = 0  # index of the first word not yet told
        self._latest = 0  # index of the word that the latest event was about

    @property
    def samples(self) -> int:
        """Samples fed so far."""
        return self._given + len(self._held)

    def add_audio(self, audio: Audio, events: Sequence[EspeakEvent]) -> Iterator[SpokenWord | Audio]:
        """Take the next audio with its events."""
        self._held = np.concatenate((self._held, audio))
        for event in events:
            yield from self._end(event) if event.is_end else self._begin(event)
        if self._open_since is None:
            yield from self._give(self.samples)

    def finish(self) -> Iterator[SpokenWord | Audio]:
        """The rest of the portion."""
        if self._open_since is not None:
            yield from self._close(len(self._words), self._audible_end())
        yield from self._give(self.samples)

    def _begin(self, event: EspeakEvent) -> Iterator[SpokenWord | Audio]:
        index = bisect_right(self._starts, event.char) - 1
        if index < self._next:
            return  # a second part of a word that was told, or no word of ours
        if self._open_since is None:
            yield from self._give(event.sample)
            self._open_since = event.sample
        elif index > self._latest:
            yield from self._close(index, event.sample)
            self._open_since = event.sample
        self._latest = index

    def _end(self, event: EspeakEvent) -> Iterator[SpokenWord | Audio]:
        covered = bisect_right(self._starts, event.char - 1)
        # "3.5" or "a,b": a clause may end inside what is one word to us.
        if self._open_since is not None and covered > self._next and self._words[covered - 1].end <= event.char:
            yield from self._close(covered, min(self._audible_end(), event.sample))

    def _close(self, until: int, end: int) -> Iterator[SpokenWord | Audio]:
        """Tell the words up to index `until`, which lie between the open sample and `end`, and give their audio."""
        since = self._open_since or 0
        group = self._words[self._next : until]
        total = sum(word.end - word.start for word in group)
        seconds_per_char = max(end - since, 0) / self._rate / max(total, 1)
        at = (self._offset + since) / self._rate
        for word in group:
            ends = at + (word.end - word.start) * seconds_per_char
            yield SpokenWord(word.start_char, word.end_char, at, ends)
            at = ends
        self._next, self._latest, self._open_since = until, until, None
        yield from self._give(end)

    def _give(self, until: int) -> Iterator[Audio]:
        count = min(max(until - self._given, 0), len(self._held))
        if count:
            yield self._held[:count]
            self._held = self._held[count:]
            self._given += count

    def _audible_end(self) -> int:
        """Sample behind the last one that can be heard in the held audio."""
        loud = np.flatnonzero(np.abs(self._held.astype(np.int32)) > _AUDIBLE)
        return self._given + (int(loud[-1]) + 1 if loud.size else len(self._held))
