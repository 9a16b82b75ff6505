"""What to do about it. The shell carries these out in order, at once, and decides nothing.

Some of them ask for work (`BeginReply`), some only tell (`TurnEnded`); `duologue.runtime.session` publishes both.
"""

from dataclasses import dataclass

from duologue.core.options import PLAIN, ReplyOptions


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
    """The user's turn is over. `merged`: the earlier turn that it continues, or 0. `author`: who of several, or empty.
    `decided_by`: what ended it."""

    turn: int
    text: str
    images: tuple[str, ...] = ()
    merged: int = 0
    author: str = ""
    decided_by: str = ""


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
    """Make reply `reply` to turn `turn` (0: to none), with the voice and the model of `persona`. `text`: say just that
    and ask no model. `speculative`: nothing of it may be heard, and no tool run, before `ReleaseReply`. `tag`: of
    whoever asked for it."""

    reply: int
    turn: int
    speculative: bool = False
    text: str | None = None
    persona: str = ""
    tag: str = ""
    options: ReplyOptions = PLAIN


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
class FinishReply(Action):
    """No more text of `reply` comes, tools of the caller's side have it: let what is made be heard, and end."""

    reply: int


@dataclass(frozen=True, slots=True)
class ReplyOver(Action):
    """Told once a reply: it is over, and `heard` of it was heard. `cut`: why it was cut, or empty. One that another
    process takes over goes on under a new number there, with its tag; `heard` is the rest then."""

    reply: int
    tag: str
    heard: str
    cut: str = ""


@dataclass(frozen=True, slots=True)
class RefuseSay(Action):
    """`text` will not be said, or the reply not made. `reason`: the queue is full, or the session is closing."""

    text: str
    reason: str
    tag: str = ""


@dataclass(frozen=True, slots=True)
class OverlapJudged(Action):
    """Told: what the voice over `reply` is taken for. `verdict`: `interruption`, `backchannel`, `noise` or `echo`;
    `decided_by`: the words or the judge that said so."""

    turn: int
    reply: int
    verdict: str
    decided_by: str


# --- tools and memory ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunTool(Action):
    """Run tool `name`, or (`remote`) ask the caller's side to; the result comes as `ToolReturned`."""

    reply: int
    call_id: str
    name: str
    arguments: str
    remote: bool = False


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
