"""What happened. Each event is frozen data with `at`, the session second in which the core was told.

Floors above make them; `Conversation.feed` takes them. Results of a stage carry the turn or reply that they
belong to, so that late ones are dropped by number.
"""

from dataclasses import dataclass

from duologue.core.history import Item
from duologue.core.options import PLAIN, ReplyOptions
from duologue.core.policy import Policy
from duologue.core.words import Word


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `at`: session seconds."""

    at: float


# --- the user's voice -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SpeechStarted(Event):
    """Voice began. `since`: the first voiced sample, on the audio clock."""

    since: float


@dataclass(frozen=True, slots=True)
class SpeechStopped(Event):
    """Voice paused or ended. `until`: the last voiced sample, on the audio clock."""

    until: float


@dataclass(frozen=True, slots=True)
class PartialTranscript(Event):
    """What `turn` seems to say so far. The first `stable` words of `text` are settled."""

    turn: int
    text: str
    stable: int = 0


@dataclass(frozen=True, slots=True)
class FinalTranscript(Event):
    """The recogniser's last word on `turn` up to the `mark`-th stop. `language`: BCP 47, or None."""

    turn: int
    mark: int
    text: str
    words: tuple[Word, ...] = ()
    language: str | None = None


@dataclass(frozen=True, slots=True)
class RecognitionFailed(Event):
    """No answer will come for `turn`: the recogniser failed for good."""

    turn: int
    error: str


@dataclass(frozen=True, slots=True)
class TurnJudged(Event):
    """What `judge` thinks of `turn` by ear, from the audio up to session second `until`.

    Probabilities 0..1, None for no opinion: the turn is `over`; it is a `backchannel`; it is the agent's own `echo`.
    """

    turn: int
    judge: str
    over: float | None = None
    backchannel: float | None = None
    echo: float | None = None
    until: float = 0.0


# --- the user's hand ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TurnOpened(Event):
    """Push-to-talk pressed: a turn begins now, and only a commit ends it. The agent goes on speaking, unless
    `interrupt`."""

    interrupt: bool = False


@dataclass(frozen=True, slots=True)
class TurnCommitted(Event):
    """Push-to-talk released, or a manual commit: the turn is over now."""


@dataclass(frozen=True, slots=True)
class TurnCleared(Event):
    """The user takes the open turn back: what was said in it is forgotten."""


@dataclass(frozen=True, slots=True)
class TypedTurn(Event):
    """A turn typed instead of spoken. `images`: http(s) or data URLs. `reply`: False adds it to the history only.
    `author`: who of several typed it, or empty."""

    text: str
    images: tuple[str, ...] = ()
    reply: bool = True
    author: str = ""


@dataclass(frozen=True, slots=True)
class ImagesShown(Event):
    """Images that go with the user's open or next turn."""

    images: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReplyRequested(Event):
    """The user wants a reply as soon as the floor is free. `tag`: comes back with `BeginReply`, `RefuseSay` and
    `ReplyOver`."""

    tag: str = ""
    options: ReplyOptions = PLAIN


@dataclass(frozen=True, slots=True)
class SayRequested(Event):
    """The agent shall say `text`, word for word, when it may. `interruptible` False: nobody talks over it. `tag`: comes
    back with `BeginReply`, `RefuseSay` and `ReplyOver`."""

    text: str
    interruptible: bool = True
    in_history: bool = True
    tag: str = ""


@dataclass(frozen=True, slots=True)
class InterruptRequested(Event):
    """The user silences the agent (a stop button)."""


@dataclass(frozen=True, slots=True)
class PersonaChanged(Event):
    """From the next turn or reply on persona `name` speaks, with `instructions`; `greeting`, if any, comes first."""

    name: str
    instructions: str
    greeting: str = ""


@dataclass(frozen=True, slots=True)
class PolicyChanged(Event):
    """Other numbers from now on: silences, patience, barge-in, idle time, the history's budget, how turns end."""

    policy: Policy


@dataclass(frozen=True, slots=True)
class CallerChanged(Event):
    """Somebody else speaks now: turns are theirs from here on. `identity`: what the transport calls them; `name`: what
    people do, or empty."""

    identity: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class KeyPressed(Event):
    """A key of a telephone (DTMF): one of `0`-`9`, `*`, `#`, `A`-`D`."""

    key: str


@dataclass(frozen=True, slots=True)
class ItemInserted(Event):
    """`item` shall stand in the history behind the item `after` (`root`: before all; None: at the end)."""

    item: Item
    after: str | None = None


@dataclass(frozen=True, slots=True)
class ItemRemoved(Event):
    """The item `item_id` shall leave the history, a call with its result."""

    item_id: str


@dataclass(frozen=True, slots=True)
class CloseRequested(Event):
    """The session shall end. `finish`: let the agent finish what it is saying."""

    reason: str
    finish: bool = True


# --- the agent's reply --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReplyText(Event):
    """More of the text of `reply` that will be spoken, as handed to the synthesiser."""

    reply: int
    text: str


@dataclass(frozen=True, slots=True)
class ReplyGenerated(Event):
    """The text of `reply` is complete for now: no more comes unless tools are pending."""

    reply: int


@dataclass(frozen=True, slots=True)
class ReplyHeard(Event):
    """The first audible sample of `reply` is being played."""

    reply: int


@dataclass(frozen=True, slots=True)
class HeardSoFar(Event):
    """`heard` is the text of `reply` played out until now. `rest_s`: audio that is made and not yet played."""

    reply: int
    heard: str
    rest_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ReplyEnded(Event):
    """`reply` is over and silent. `heard`: the part of its text that was played out; `cut`: it was not all of it."""

    reply: int
    heard: str
    cut: bool = False


@dataclass(frozen=True, slots=True)
class HeardCorrected(Event):
    """The remote player says late where it cut `reply`: `heard` replaces what the history holds."""

    reply: int
    heard: str


@dataclass(frozen=True, slots=True)
class ReplyFailed(Event):
    """`stage` failed for good while making `reply`; what is already made is still played."""

    reply: int
    stage: str
    error: str


# --- tools and memory ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ToolRequested(Event):
    """The model wants a tool. `timeout_s`: None takes the policy's. `remote`: the caller's side runs it: the reply ends
    with it, and `ToolReturned` may come late or never. `cancellable`: it is stopped when its reply is."""

    reply: int
    call_id: str
    name: str
    arguments: str
    timeout_s: float | None = None
    remote: bool = False
    cancellable: bool = True


@dataclass(frozen=True, slots=True)
class ToolReturned(Event):
    """A tool answered, or failed and `output` says how."""

    call_id: str
    output: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class SummaryMade(Event):
    """`text` stands for the first `items` items of the history from now on. Empty: the summary failed, fall back."""

    items: int
    text: str
