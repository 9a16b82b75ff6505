"""What turns a request into text and audio: the cascade (model, chunks, synthesis), or a speech-to-speech model.

Contract:
- `open` begins one reply and is cheap: it connects nothing, and no command of the stream blocks or raises. What takes
  time happens while `items` is iterated, and nothing is left running when that is over or closed.
- `ask` has the model answer; `TextDelta`s are what it says, in order, and `TextFinished` ends that answer, after all of
  its `ToolCallRequest`s. With `text_only` there is nothing else to come but usage, notes and asides. Otherwise audio
  comes in chunks: `ChunkBegins`, then `SpeechAudio` and `SpokenWord`, then `ChunkEnds`. Text may come long before its
  audio (a cascade knows it first) or lag behind it (a speech-to-speech model hears itself speak): see `ChunkBegins`.
- After an answer with tool calls comes either another `ask`, whose prompt ends with the results, or `finish`. After one
  without comes `finish`. The iteration ends when `finish` was called and all is told, not before, unless the source is
  broken: then `SourceFailed` came, or a `StageError` was raised, and what was told stands.
- Word times lie inside the chunk's audio, never decrease, and come no later than the audio they describe, in so far as
  their text has come.
- The source is asked for its next item when there is room for that: it makes at most one piece of audio beyond what it
  was asked for. Until `release` it makes no more than is needed to begin with: what is cancelled was not worth paying.
- Closing the iterator stops everything at once, and nothing more is paid for.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal, Protocol

from duologue.ports.llm import LlmRequest, TextDelta, ToolCallRequest, Usage
from duologue.ports.stage import Stage
from duologue.ports.tts import SpeechAudio, SpeechRequest, SpokenWord


@dataclass(frozen=True, slots=True)
class ReplyRequest:
    """One reply to be made.

    `reply`: its number in `session`. `speech`: the persona's voice and the rate of the audio, as a request whose text
    is filled in. `text_only`: text as the model writes it, no audio. `released` False: it is speculative until
    `release`.
    """

    reply: int
    speech: SpeechRequest
    session: str = ""
    text_only: bool = False
    released: bool = True


@dataclass(frozen=True, slots=True)
class ChunkBegins:
    """The audio and the words from here on, until `ChunkEnds`, speak `text`.

    None: they speak the text that comes as `TextDelta` meanwhile. `in_text` False: a filler, which belongs to no
    history.
    """

    text: str | None
    in_text: bool = True


@dataclass(frozen=True, slots=True)
class ChunkEnds:
    """The chunk's audio is over. `is_whole` False: it broke off, and the rest of its text is not heard."""

    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class TextFinished:
    """The answer to the last `ask` is told as text; audio of it may still come.

    `reason`: as in `LlmFinished`, or `error` after `SourceFailed`.
    """

    reason: str = "stop"


@dataclass(frozen=True, slots=True)
class SourceFailed:
    """`stage` failed for good, in `error`'s words. What is made is still heard."""

    stage: str
    error: str


@dataclass(frozen=True, slots=True)
class SourceAside:
    """Text for no ear (a mood, a thought), which was left out of what is spoken."""

    text: str


@dataclass(frozen=True, slots=True)
class SourceNote:
    """Something that the trace should know (a retry, a chunk left out). `stage`: whose. `severity`: `warning` for what
    is worth looking at."""

    stage: str
    text: str
    severity: Literal["info", "warning"] = "warning"


@dataclass(frozen=True, slots=True)
class StageTiming:
    """How long a step took, in seconds; `step` as in the meter's `stages`."""

    step: str
    seconds: float


ReplyItem = (
    TextDelta
    | SpeechAudio
    | SpokenWord
    | ToolCallRequest
    | Usage
    | ChunkBegins
    | ChunkEnds
    | TextFinished
    | SourceFailed
    | SourceAside
    | SourceNote
    | StageTiming
)


class ReplyStream(Protocol):
    """The making of one reply."""

    @property
    def waits_for(self) -> tuple[str, str]:
        """Who has the next move, as (stage, name): told when a reply is given up because nothing came."""
        ...

    def ask(self, prompt: LlmRequest) -> None:
        """Have the model answer `prompt`; again, with the tools' results in it, when it has called some."""
        ...

    def say(self, text: str) -> None:
        """Speak `text` word for word, told as an answer would be; no model is asked. Only where `can_speak_text`."""
        ...

    def speak(self, text: str, *, in_text: bool = False) -> None:
        """Speak `text` as a chunk of its own as soon as may be: a filler, or (`in_text`) words that were told before.

        A filler that would have to wait behind much else is dropped. Only where `can_speak_text`.
        """
        ...

    def release(self) -> None:
        """The turn is over: make all of it."""
        ...

    def finish(self) -> None:
        """Nothing more will be asked: end when what is asked for is made."""
        ...

    def items(self) -> AsyncGenerator[ReplyItem, None]:
        """All that comes of it, in order. To be called once."""
        ...


class ReplySource(Stage, Protocol):
    """Who makes replies; one object serves all sessions."""

    @property
    def can_speak_text(self) -> bool:
        """Whether it can speak words that are given to it: greetings, fillers, apologies. If not, they are left out."""
        ...

    def open(self, request: ReplyRequest) -> ReplyStream:
        """Begin one reply."""
        ...
