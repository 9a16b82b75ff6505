"""Speech synthesis: a chunk of text in, audio and word times out, as soon as there are any.

Contract: audio is mono 16 kHz int16 in pieces of any length (an even number of bytes, not empty); the first piece comes
before the whole chunk is synthesised where the engine can; word times, where the voice has them, lie inside the chunk's
audio, never decrease, refer to the text *as given* and come no later than the audio they describe; text with nothing to
say (white space, emoji) gives no audio and no error; closing the iterator stops the synthesis. Numbers, dates, Markdown
and the like are made speakable inside the adapter.

An adapter may have more: `languages` (see `duologue.registry`), and `check_voice(voice, language)`, which is cheap and
raises `ConfigurationError` for a voice that it lacks, so that a pack's mistake is found before the first word.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from duologue.ports.stage import Stage


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """One chunk to speak. `language`: BCP 47 code or None for the voice's own; `voice`: the engine's name for it or
    None for the default; `speed`: 1.0 is the voice's own pace, 0.5..2.0; `loudness`: linear gain, 1.0 leaves it."""

    text: str
    language: str | None = None
    voice: str | None = None
    speed: float = 1.0
    loudness: float = 1.0


@dataclass(frozen=True, slots=True)
class SpeechAudio:
    """A piece of audio: mono 16 kHz int16, little-endian."""

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
