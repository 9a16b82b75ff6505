"""Speech synthesis: a chunk of text in, audio and word times out, as soon as there are any.

Contract:
- Audio is mono int16 at the rate that the request names, in pieces of any length (an even number of bytes, not empty).
  Where the voice's own rate is another, the adapter resamples once, as a stream: nothing that the voice has below half
  of the requested rate is lost.
- The first piece comes before the whole chunk is synthesised where the engine can.
- Word times, where the voice has them, lie inside the chunk's audio, never decrease, refer to the text *as given* and
  come no later than the audio they describe.
- Text with nothing to say (white space, emoji) gives no audio and no error.
- Closing the iterator stops the synthesis.
- Numbers, dates, Markdown and the like are made speakable inside the adapter.

Chunks of one reply come one after the other, in order, those of different replies at the same time and in any order.
An adapter that speaks each chunk by itself ignores `session`, `reply` and `last`. One that keeps something open for a
reply (a connection, the melody of the sentence before) keys it by session and reply, and lets go of it at `last`. A
reply that is cancelled has no last chunk: its open iterator, if there is one, is closed, and that is all. So what is
kept for a reply is bounded in number and in time, and a chunk that comes after that time opens it anew.

An adapter may have more: `languages` (see `duologue.registry`), and `check_voice(voice, language)`, which is cheap and
raises `ConfigurationError` for a voice that it lacks, so that a pack's mistake is found before the first word.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from duologue.audio import OUTPUT_RATE_HZ
from duologue.ports.stage import Stage


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """One chunk to speak. `language`: BCP 47 code or None for the voice's own; `voice`: the engine's name for it or
    None for the default; `speed`: 1.0 is the voice's own pace, 0.5..2.0; `loudness`: linear gain, 1.0 leaves it.

    `sample_rate_hz`: of the audio that is wanted, one of `duologue.audio.OUTPUT_RATES_HZ`. `session`, `reply`: whose
    chunk it is, the reply's number within the session; empty and 0 for text that belongs to none. `last`: no chunk of
    this reply comes after it; it may come with empty text, where the reply turned out to be over.
    """

    text: str
    language: str | None = None
    voice: str | None = None
    speed: float = 1.0
    loudness: float = 1.0
    sample_rate_hz: int = OUTPUT_RATE_HZ
    session: str = ""
    reply: int = 0
    last: bool = False


@dataclass(frozen=True, slots=True)
class SpeechAudio:
    """A piece of audio: mono int16, little-endian, at the request's rate."""

    pcm: bytes


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """Where a word of the chunk is heard.

    `start_char`, `end_char`: its place in the request's text. `start`, `end`: seconds from the chunk's first sample.
    """

    start_char: int
    end_char: int
    start: float
    end: float


SpeechItem = SpeechAudio | SpokenWord


class Tts(Stage, Protocol):
    """A synthesiser; its model is shared by all sessions."""

    def synthesise(self, request: SpeechRequest) -> AsyncGenerator[SpeechItem, None]:
        """Speak `request.text`."""
        ...
