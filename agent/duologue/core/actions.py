"""What to do about it. The shell carries these out in order, at once, and decides nothing.

Some of them ask for work (`BeginReply`), some only tell (`TurnEnded`); `duologue.runtime.session` publishes both.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Action:
    """Something to be done."""


# --- recognition --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenRecognition(Action):
    """Turn `turn` began: recognise from `since` (session seconds, on the audio clock) on."""

    turn: int
    since: float


@dataclass(frozen=True, slots=True)
class FinaliseRecognition(Action):
    """Ask for the final transcript of all that `turn` said until now, tagged `mark`."""

    turn: int
    mark: int


@dataclass(frozen=True, slots=True)
class CloseRecognition(Action):
    """`turn` needs no recogniser any more."""

    turn: int


# --- turns (told, nothing to do) ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TurnEnded(Action):
    """The user's turn is over. `merged`: the earlier turn that it continues, or 0."""

    turn: int
    text: str
    images: tuple[str, ...] = ()
    merged: int = 0


@dataclass(frozen=True, slots=True)
class TurnDismissed(Action):
    """Turn `turn` gets no answer, knowingly.

    `reason`: `noise`, `backchannel`, `cleared`, `no reply wanted`, `closing`, …
    """

    turn: int
    reason: str
    text: str = ""


# --- replies ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BeginReply(Action):
    """Make reply `reply` to turn `turn` (0: to none). `text`: say just that, ask no model. `speculative`: nothing of it
    may be heard, and no tool run, before `ReleaseReply`. `instructions`: for once instead of the pack's."""

    reply: int
    turn: int
    speculative: bool = False
    text: str | None = None
    instructions: str | None = None
    in_history: bool = True


@dataclass(frozen=True, slots=True)
class ReleaseReply(Action):
    """The turn is over: `reply` may be heard."""

    reply: int


@dataclass(frozen=True, slots=True)
class HoldPlayout(Action):
    """Fall silent at once, keep everything."""

    reply: int


@dataclass(frozen=True, slots=True)
class ResumePlayout(Action):
    """Go on from the word where it was held."""

    reply: int


@dataclass(frozen=True, slots=True)
class CancelReply(Action):
    """End `reply` now: connection closed, synthesis stopped, transport flushed; answer with `ReplyEnded(cut=True)`.

    `reason`: `interrupted`, `continued` (the user went on), `superseded`, `noise`, `closing`, `stopped`, …
    """

    reply: int
    reason: str


@dataclass(frozen=True, slots=True)
class SpeakFiller(Action):
    """Cover a wait inside `reply` with `text`; it enters no history."""

    reply: int
    text: str


@dataclass(frozen=True, slots=True)
class ContinueReply(Action):
    """All tools of `reply` have answered: ask the model again, with tools or, after too many rounds, without."""

    reply: int
    tools: bool = True


@dataclass(frozen=True, slots=True)
class RefuseSay(Action):
    """`text` will not be said. `reason`: the queue is full, or the session is closing."""

    text: str
    reason: str


# --- tools and memory ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunTool(Action):
    """Run tool `name`, or ask the far side to; the result comes as `ToolReturned`."""

    reply: int
    call_id: str
    name: str
    arguments: str
    far_side: bool = False


@dataclass(frozen=True, slots=True)
class CancelTool(Action):
    """Nobody waits for `call_id` any more; stop it."""

    call_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class TruncateHistory(Action):
    """Told: the history keeps `heard` of `reply`, and no more."""

    reply: int
    heard: str


@dataclass(frozen=True, slots=True)
class SummariseHistory(Action):
    """Summarise the first `items` items of the history; answer with `SummaryMade`."""

    items: int


@dataclass(frozen=True, slots=True)
class CloseSession(Action):
    """Everything is said: hang up."""

    reason: str
