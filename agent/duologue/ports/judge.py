"""A second opinion on the open turn, by ear: a judge hears both sides and answers with probabilities.

Contract:
- A stream belongs to one session and is fed both sides on that session's clock: `hear_user` with what the user says,
  `hear_agent` with what is being played to them. Both in order and without gaps of its own making; a side that is
  silent brings no frames (the agent's) or silent ones (the user's). A frame's `at` is its first sample in session
  seconds: frames of the two sides with the same `at` sounded at the same time, as near as is known.
- Every frame is mono int16. The user's are 20 ms at 16 kHz. The agent's are 20 ms at the session's output rate, which
  `JudgeContext` names: a judge that wants 16 kHz resamples itself, and one that doesn't listen to that side pays
  nothing for it.
- `hear_user` and `hear_agent` never block and never raise for load: inference runs in a thread that releases the GIL.
  The stream keeps at most `AUDIO_SECONDS_MAX` of each side and drops the oldest.
- `begin_turn`, `pause_turn` and `end_turn` tell what the core has decided. Judgements are asked for by nobody: a judge
  tells one when it has something new to say about the open turn, at the latest `ANSWER_S_MAX` after a pause where it
  judges the ends of turns. Each carries the turn's number; what comes after `end_turn` is dropped by it.
- A judgement says what it is about: probabilities 0..1, None for a question that this judge does not answer.
- `aclose` ends the iteration at once and drops all work; nothing is told after it. Raising `StageError` out of the
  iteration ends the stream; it is noted, and the session goes on without this judge.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, Protocol

from duologue.audio import INPUT_RATE_HZ, Frame
from duologue.ports.stage import Stage

AUDIO_SECONDS_MAX: Final = 16.0  # of each side: twice what the models that judge ends of turns look at
ANSWER_S_MAX: Final = 1.0  # after a pause; later it decides nothing, the silence has


@dataclass(frozen=True, slots=True)
class JudgeContext:
    """What a judge may know beforehand. `session`: its name. `language`: BCP 47, or None if it is not known.
    `agent_rate_hz`: of the frames of the agent."""

    session: str = ""
    language: str | None = None
    agent_rate_hz: int = INPUT_RATE_HZ


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge thinks of `turn`, from the audio up to session second `at`.

    `over`: the turn is over. `backchannel`: it is a listener's noise, or the cough of somebody who claims nothing.
    `echo`: it is the agent's own voice come back. Probabilities 0..1; None: no opinion.
    """

    turn: int
    at: float
    over: float | None = None
    backchannel: float | None = None
    echo: float | None = None


class JudgeStream(Protocol):
    """One session as a judge hears it. Iterate it for judgements; the iteration ends after `aclose`."""

    def hear_user(self, frame: Frame) -> None:
        """Take one frame of the user."""
        ...

    def hear_agent(self, frame: Frame) -> None:
        """Take one frame of the agent, as it is played."""
        ...

    def begin_turn(self, turn: int, since: float) -> None:
        """The user's turn `turn` has begun at session second `since`."""
        ...

    def pause_turn(self, turn: int, until: float) -> None:
        """Voice paused after session second `until`; it may go on."""
        ...

    def end_turn(self, turn: int) -> None:
        """The turn is decided: nothing more is asked about it."""
        ...

    def __aiter__(self) -> AsyncIterator[Judgement]: ...

    async def aclose(self) -> None:
        """Drop all work and end the iteration."""
        ...


class Judge(Stage, Protocol):
    """Somebody who judges turns by ear; its model is shared by all sessions."""

    def open(self, context: JudgeContext) -> JudgeStream:
        """A stream for one session."""
        ...
