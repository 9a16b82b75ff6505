"""Incremental speech recognition: one stream a turn, hypotheses while the person speaks, a final on demand.

Contract:
- `push_frame` never blocks and never raises for load; the stream keeps at most `AUDIO_SECONDS_MAX` of unrecognised
  audio and drops the oldest beyond that, saying so once in `Hypothesis.note`.
- Every hypothesis covers the *whole turn so far*. `stable` counts its leading words that no later hypothesis of this
  turn changes (case and punctuation aside); it never decreases, except that a final may settle it once more.
- `finalise(mark)` asks for the best answer to all audio pushed so far: exactly one hypothesis with `final=True` and
  that `mark` follows. The turn may go on: more audio may be pushed, more finals asked for. A mark asked for while an
  earlier one is not answered replaces it (the earlier one need not be answered).
- Audio without speech gives a final with no words.
- `aclose` ends the iteration at once and drops all work; late results are never delivered after it.
- A recogniser may keep something for a session between its turns (a connection, an adapted model), by the name that the
  context gives. It is told the session's end by `end_session`, and lets go of that; one that keeps nothing lacks the
  method. What is kept is bounded all the same: a process that dies tells no ends.
- A failed decode raises `StageError` out of the iteration; the stream is then closed.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from duologue.audio import Frame
from duologue.core.words import Word
from duologue.ports.stage import Stage

AUDIO_SECONDS_MAX: Final = 60.0  # longer than any turn the core allows


@dataclass(frozen=True, slots=True)
class AsrContext:
    """What a recogniser may know before the turn begins.

    `language`: BCP 47 code, or None to detect it. `languages`: those that are expected, when it is to be
    detected; empty for any. `phrases`: sentences likely to come (a pack's vocabulary and
    dialogues). `session`: whose turn it is, or empty: the turns of one session name the same.
    """

    language: str | None = None
    phrases: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    session: str = ""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What the recogniser thinks was said in the turn so far.

    `text`: as it would be written. `words`: the same with session times, empty where the recogniser has none.
    `stable`: count of leading words (of `text` split at white space, CJK by character) that are settled.
    `language`: BCP 47 code or None. `mark`: which `finalise` a final answers. `note`: something the trace should know.
    """

    text: str
    words: tuple[Word, ...] = ()
    stable: int = 0
    final: bool = False
    mark: int = 0
    language: str | None = None
    note: str = ""


class AsrStream(Protocol):
    """The recognition of one turn. Iterate it for hypotheses; the iteration ends after `aclose`."""

    def push_frame(self, frame: Frame) -> None:
        """Take one frame of the turn."""
        ...

    def finalise(self, mark: int) -> None:
        """Ask for a final answer to all audio so far, tagged with `mark`."""
        ...

    def __aiter__(self) -> AsyncIterator[Hypothesis]: ...

    async def aclose(self) -> None:
        """Drop all work and end the iteration."""
        ...


class Asr(Stage, Protocol):
    """A speech recogniser; its model is shared by all streams."""

    def open(self, context: AsrContext) -> AsrStream:
        """A stream for one turn.

        Frames of 16 kHz mono int16 follow by `push_frame`, some of them from just before the onset.
        """
        ...


@runtime_checkable
class TellsLoad(Protocol):
    """What a recogniser has besides that knows when it has too much to do."""

    def queue_wait_s(self) -> float:
        """How long a final has to wait now before anything is done about it, in seconds. Asked on the loop."""
        ...


@runtime_checkable
class KeepsSessions(Protocol):
    """What a recogniser has besides that keeps something for a session between its turns."""

    def end_session(self, session: str) -> None:
        """`session` is over: let go of what is kept for it. Its last stream may still be closing.

        Returns at once: what takes time (closing a connection) goes on in the background. Harmless for a session that
        is not known, and a second time.
        """
        ...
