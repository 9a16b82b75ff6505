"""A synthesiser that speaks in tones, on the loop's clock: for tests and simulations of whatever stands around one.

Each word is a tone of its own, so long as its letters say, so that a waveform shows which words were played. All its
time passes in `loop` timers: on the virtual-time loop an hour of speech costs nothing. What it does wrong, it does on
request.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from duologue.audio import OUTPUT_RATES_HZ, to_int16
from duologue.core.words import is_cjk
from duologue.errors import ConfigurationError, StageError
from duologue.ports.tts import SpeechAudio, SpeechItem, SpeechRequest, SpokenWord

PIECE_SECONDS: Final = 0.04375  # 700 samples at 16 kHz: no whole number of frames, as in life
SPEED_MIN: Final = 0.5  # as the port says
SPEED_MAX: Final = 2.0
_AMPLITUDE: Final = 0.25  # of full scale: a loudness of 4 still fits
_TONES_HZ: Final = (220, 262, 294, 330, 392, 440, 494)  # neighbours differ; a word's tone is its place modulo seven
_RAMP_SECONDS: Final = 0.005  # at both ends of a word: no clicks, and words can be told apart


REQUESTS_KEPT: Final = 1000


@dataclass(frozen=True, slots=True)
class SpeechFault:
    """What goes wrong. `on`: part of the text that brings it about.

    `after_s`: how much audio comes before it. `times`: how often it strikes (then it is over); 0 for always.
    `retryable`: what the `StageError` says. `stall_s`: seconds without a sign of life before it; `raises=False` leaves
    it at that pause.
    """

    on: str
    after_s: float = 0.0
    times: int = 0
    retryable: bool = True
    stall_s: float = 0.0
    raises: bool = True


class ScriptedTts:
    """The `scripted` synthesiser.

    `first_audio_s`: seconds from the request to its first audio. `seconds_per_char`: length of a word by its letters
    (a CJK character counts three). `real_time_factor`: seconds of work a second of audio. `word_times`: whether words
    are told. `faults`: what goes wrong; each is counted on its own.

    `opened`, `closed`: syntheses begun and over, however they ended. `requests`: what was asked, in order, the newest
    `REQUESTS_KEPT` of it; `spoken`: the texts of them.
    """

    name = "scripted"

    def __init__(
        self,
        *,
        first_audio_s: float = 0.1,
        seconds_per_char: float = 0.06,
        real_time_factor: float = 0.1,
        word_times: bool = True,
        faults: tuple[SpeechFault, ...] = (),
    ) -> None:
        self.first_audio_s = first_audio_s
        self.seconds_per_char = seconds_per_char
        self.real_time_factor = real_time_factor
        self.word_times = word_times
        self.opened = 0
        self.closed = 0
        self.requests: deque[SpeechRequest] = deque(maxlen=REQUESTS_KEPT)
        self._faults = faults
        self._struck = [0] * len(faults)

    @property
    def spoken(self) -> list[str]:
        """The texts of `requests`, without the empty ones that only say that a reply is over."""
        return [request.text for request in self.requests if request.text]

    @classmethod
    def probe(cls) -> str:
        """Always there."""
        return ""

    async def warm_up(self) -> None:
        """Nothing to load."""

    async def aclose(self) -> None:
        """Nothing to free."""

    @property
    def live(self) -> int:
        """Syntheses under way."""
        return self.opened - self.closed

    async def synthesise(self, request: SpeechRequest) -> AsyncGenerator[SpeechItem, None]:
        """Speak `request.text` in tones. Raises `StageError` where a fault says so."""
        if not SPEED_MIN <= request.speed <= SPEED_MAX:
            expected = f"between {SPEED_MIN:g} and {SPEED_MAX:g}"
            raise ConfigurationError(f"voice.speed must be a number {expected}, got {request.speed!r}")
        rate_hz = request.sample_rate_hz
        if rate_hz not in OUTPUT_RATES_HZ:
            raise ConfigurationError(f"speech is made at one of {OUTPUT_RATES_HZ} Hz, got {rate_hz!r}")
        self.opened += 1
        self.requests.append(request)
        try:
            words = words_with_places(request.text)
            fault = self._fault(request.text) if words else None
            if words:
                await asyncio.sleep(self.first_audio_s)
            position = 0
            for index, (start_char, end_char) in enumerate(words):
                count = round(self._seconds(request.text[start_char:end_char], request.speed) * rate_hz)
                if self.word_times:
                    yield SpokenWord(start_char, end_char, position / rate_hz, (position + count) / rate_hz)
                for piece in _pieces(index % len(_TONES_HZ), count, request.loudness, rate_hz):
                    if fault is not None and position / rate_hz >= fault.after_s:
                        await _strike(fault)
                        fault = None
                    yield SpeechAudio(piece)
                    position += len(piece) // 2
                    await asyncio.sleep(self.real_time_factor * len(piece) / 2 / rate_hz)
            if fault is not None:
                await _strike(fault)
        finally:
            self.closed += 1

    def _fault(self, text: str) -> SpeechFault | None:
        for index, fault in enumerate(self._faults):
            if fault.on in text and (fault.times == 0 or self._struck[index] < fault.times):
                self._struck[index] += 1
                return fault
        return None

    def _seconds(self, word: str, speed: float) -> float:
        letters = sum(3 if is_cjk(char) else 1 for char in word if char.isalnum())
        return max(letters * self.seconds_per_char / speed, 2 * _RAMP_SECONDS)


async def _strike(fault: SpeechFault) -> None:
    if fault.stall_s:
        await asyncio.sleep(fault.stall_s)
    if fault.raises:
        raise StageError("tts", f"scripted fault on {fault.on!r}", retryable=fault.retryable)


def words_with_places(text: str) -> list[tuple[int, int]]:
    """Spans of the words of `text` that can be heard: between white space, CJK characters each one of their own."""
    spans: list[tuple[int, int]] = []
    open_word = False  # whether the next character may belong to the latest word
    for index, char in enumerate(text):
        if char.isspace():
            open_word = False
        elif open_word and not is_cjk(char):
            spans[-1] = (spans[-1][0], index + 1)
        else:
            spans.append((index, index + 1))
            open_word = True
    return [(start, end) for start, end in spans if any(char.isalnum() for char in text[start:end])]


@lru_cache(maxsize=512)  # a simulation says the same few words for hours
def _pieces(index: int, count: int, loudness: float, rate_hz: int) -> tuple[bytes, ...]:
    """The tone of word `index`, `count` samples at `rate_hz` long, in pieces of `PIECE_SECONDS`."""
    at = np.arange(count)
    ramp = np.minimum(1.0, np.minimum(at + 1, count - at) / (_RAMP_SECONDS * rate_hz))
    tone = _AMPLITUDE * loudness * ramp * np.cos(2 * np.pi * _TONES_HZ[index] / rate_hz * at)
    samples = to_int16(tone).astype("<i2")
    # Never zero within a word: a tone that crosses zero must not look like silence to a sample counter.
    samples[samples == 0] = 1
    step = round(PIECE_SECONDS * rate_hz)
    return tuple(samples[start : start + step].tobytes() for start in range(0, count, step))
