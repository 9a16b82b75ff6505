"""One turn through pocketsphinx: utterances begun at speech, ended for a final, taken up again when the person goes on.

The detector reports a stop at every gap of 60 ms and a final is asked for at each. Ending an utterance is what makes
the words good, and an ended one can't be continued; so when the voice comes back soon, the segment is decoded again
from its start together with what is new, and words that straddle the gap stay whole. After a real pause a new segment
begins and the words of the old one are settled. All of this runs in decoder threads, one at a time for a turn.
"""

import threading
from dataclasses import dataclass
from typing import Final

import numpy as np

from duologue.audio import INPUT_RATE_HZ, to_int16
from duologue.core.words import Word
from duologue.text.transcript import atomic_words
from duologue_pipelines.asr.sphinx_decoders import DecoderLender, Lease, Phrases
from duologue_pipelines.asr.turn_audio import Clip
from duologue_pipelines.asr.voiced import Voiced, VoicedTrack

_CONTINUES_SECONDS: Final = 0.5
_SEGMENT_AGAIN_SECONDS_MAX: Final = 12.0  # decoding more than this again would be felt at the next final
_SEGMENT_SECONDS_MAX: Final = 25.0  # an utterance's lattice grows with it
_LEAD_SECONDS: Final = 0.3  # silence before the first word, from which the decoder learns the noise
# Loudness counts: without a cepstral mean of its own to go by, the acoustic model wants speech at about this level.
# 16 espeak sentences, word error: as they are 14 %, twice as loud 59 %, at 1000 rms 8 %.
_TARGET_RMS: Final = 1000 / 32768
_LEVEL_SECONDS: Final = 0.35  # of voice, from which the level is judged
_GAIN_MIN, _GAIN_MAX = 0.05, 20.0
# Below this the best path is hardly better than any other: a noise spelled out in words.
_PROBABILITY_MIN: Final = 0.05


@dataclass(frozen=True, slots=True)
class Heard:
    """The turn so far.

    `settled`: leading words of closed segments. `needed_from`: index of the first sample still needed.
    """

    words: tuple[Word, ...]
    settled: int
    needed_from: int
    note: str


class SphinxTurn:
    """`step` it with the audio still needed; `close` it from any thread."""

    def __init__(self, lender: DecoderLender, phrases: Phrases, voiced: VoicedTrack) -> None:
        self._lender = lender
        self._phrases = phrases
        self._voiced = voiced
        self._lock = threading.Lock()
        self._closed = False
        self._lease: Lease | None = None
        self._note = ""
        self._gain = 0.0
        self._settled: list[Word] = []
        self._words: list[Word] = []  # of the open segment
        self._segment: int | None = None  # index of its first sample
        self._segment_at = 0.0
        self._fed = 0  # index up to which the decoder has heard

    def prepare(self) -> None:
        """Have a decoder at hand. Raises `StageOverloaded`, `StageUnavailable`."""
        with self._lock:
            self._borrow()
        self._release_if_closed()

    def step(self, clip: Clip, *, final: bool) -> Heard:
        """Hear what is new in `clip`; for a `final`, make the best of it. Raises `StageError`.

        After `StageOverloaded` (no decoder is free) nothing has changed: the same clip, or a longer one, may be tried.
        """
        try:
            with self._lock:
                if not self._closed:
                    self._hear(clip, final=final)
                note, self._note = self._note, ""
                needed = self._segment if self._segment is not None else self._fed
                return Heard((*self._settled, *self._words), len(self._settled), needed, note)
        finally:
            self._release_if_closed()

    def close(self) -> None:
        """Give the decoder back, now or when the step under way ends. Never waits."""
        self._closed = True
        self._release_if_closed()

    def _release_if_closed(self) -> None:
        if self._closed and self._lock.acquire(blocking=False):
            try:
                self._give_back()
            finally:
                self._lock.release()

    def _give_back(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            self._lender.give_back(lease)

    def _borrow(self) -> Lease:
        if self._lease is None:
            self._lease = self._lender.lend(self._phrases)
            self._note = self._lease.note
            self._lease.note = ""  # told once
        return self._lease

    def _hear(self, clip: Clip, *, final: bool) -> None:
        lease = self._lease
        if lease is None or not lease.in_utterance:
            fresh = clip.since(self._fed)
            voiced = self._voiced.judge(fresh)
            if voiced is None or (voiced.seconds < _LEVEL_SECONDS and not final and not self._gain):
                self._pass_over(fresh, voiced)
                return
            self._begin(clip, fresh, voiced)
        self._feed(clip)
        if final or clip.end - (self._segment or 0) > _SEGMENT_SECONDS_MAX * INPUT_RATE_HZ:
            self._end()
            if not final:
                self._settle()
            if self._lender.is_short:  # whatever comes next begins an utterance anew, with whichever decoder
                self._give_back()
        else:
            self._words = self._segment_words()

    def _pass_over(self, fresh: Clip, voiced: Voiced | None) -> None:
        """Silence: no decoder hears it. What may still be a word's beginning, or the gap inside a segment, is kept."""
        quiet = fresh.seconds - (_CONTINUES_SECONDS + _LEAD_SECONDS)
        if voiced is None and quiet > 0:
            self._settle()
            self._fed = fresh.first + int(quiet * INPUT_RATE_HZ)

    def _begin(self, clip: Clip, fresh: Clip, voiced: Voiced) -> None:
        """Start an utterance: the segment again from its start where the voice went on, a new segment otherwise."""
        lease = self._borrow()
        if not self._gain:
            self._gain = _gain(fresh, voiced)
        again = self._segment is not None and voiced.start < _CONTINUES_SECONDS and self._is_short(clip)
        if not again:
            self._settle()
            lead = max(0.0, voiced.start - _LEAD_SECONDS)
            self._segment = fresh.first + int(lead * INPUT_RATE_HZ)
            self._segment_at = fresh.at + lead
        self._fed = self._segment if self._segment is not None else fresh.first
        lease.decoder.start()
        lease.in_utterance = True

    def _is_short(self, clip: Clip) -> bool:
        segment = self._segment
        if segment is None or segment < clip.first:  # its beginning was dropped at the audio's bound
            return False
        return clip.end - segment < _SEGMENT_AGAIN_SECONDS_MAX * INPUT_RATE_HZ

    def _feed(self, clip: Clip) -> None:
        fresh = clip.since(self._fed)
        self._fed = clip.end
        if fresh.pcm:
            louder = to_int16(fresh.samples * np.float32(self._gain))
            self._borrow().decoder.process(louder.tobytes())

    def _end(self) -> None:
        lease = self._borrow()
        lease.in_utterance = False
        lease.decoder.end()
        self._words = self._segment_words()
        if all((word.probability or 0.0) < _PROBABILITY_MIN for word in self._words):
            self._words = []

    def _settle(self) -> None:
        self._settled += self._words
        self._words = []
        self._segment = None

    def _segment_words(self) -> list[Word]:
        at = float(self._segment_at)
        found = self._borrow().decoder.segments()
        return [
            atom
            for segment in found
            for atom in atomic_words(Word(segment.word, at + segment.start, at + segment.end, segment.probability))
        ]


def _gain(clip: Clip, voiced: Voiced) -> float:
    """What brings the voiced part of `clip` to the level that the acoustic model wants."""
    voice = clip.samples[round(max(0.0, voiced.start) * INPUT_RATE_HZ) : round(voiced.end * INPUT_RATE_HZ)]
    rms = float(np.sqrt(np.mean(np.square(voice)))) if voice.size else 0.0
    return min(_GAIN_MAX, max(_GAIN_MIN, _TARGET_RMS / rms)) if rms > 0 else 1.0
