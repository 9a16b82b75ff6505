"""The two machines as data: what a turn and a reply can be, what moves them, and which pairs of states there are.

All states and every step between them stand here; nothing else moves a turn or a reply. What couples the machines, one
taking the floor from the other, is the table of joint rules in `floor`. `Phase` is no state of its own: it is read off
both machines, for display and docs.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Name(StrEnum):
    """A name of which tables are made. It hashes as its text: `Enum` has a hash in Python, and every step looks
    something up."""

    __hash__ = str.__hash__


class TurnState(Name):
    """The user's turn."""

    IDLE = "idle"  # none is open
    SPEAKING = "speaking"  # voice is on, or a hand holds the turn open
    PAUSING = "pausing"  # the voice stopped; how long is counted, or its words are awaited
    OVER = "over"  # the silence was long enough, or the hand said so; the final is awaited
    PARKED = "parked"  # began over the agent, which goes on; a late word may still stop it


class TurnStep(Name):
    """What moves a turn."""

    VOICE = "voice on"
    SILENCE = "voice off"
    OPEN = "opened by hand"
    OVER = "silent for long enough, or committed"
    PARK = "parked"
    UNPARK = "taken up again"
    CLOSE = "ended or dismissed"


TURN: Final[Mapping[tuple[TurnState, TurnStep], TurnState]] = {
    (TurnState.IDLE, TurnStep.VOICE): TurnState.SPEAKING,
    (TurnState.IDLE, TurnStep.OPEN): TurnState.SPEAKING,
    (TurnState.SPEAKING, TurnStep.VOICE): TurnState.SPEAKING,  # in a turn that the hand opened
    (TurnState.SPEAKING, TurnStep.OPEN): TurnState.SPEAKING,  # what the voice began, the hand goes on with
    (TurnState.SPEAKING, TurnStep.SILENCE): TurnState.PAUSING,
    (TurnState.SPEAKING, TurnStep.OVER): TurnState.OVER,
    (TurnState.SPEAKING, TurnStep.CLOSE): TurnState.IDLE,
    (TurnState.PAUSING, TurnStep.VOICE): TurnState.SPEAKING,
    (TurnState.PAUSING, TurnStep.OPEN): TurnState.SPEAKING,
    (TurnState.PAUSING, TurnStep.OVER): TurnState.OVER,
    (TurnState.PAUSING, TurnStep.PARK): TurnState.PARKED,
    (TurnState.PAUSING, TurnStep.CLOSE): TurnState.IDLE,
    (TurnState.OVER, TurnStep.VOICE): TurnState.SPEAKING,
    (TurnState.OVER, TurnStep.OPEN): TurnState.SPEAKING,
    (TurnState.OVER, TurnStep.CLOSE): TurnState.IDLE,
    (TurnState.PARKED, TurnStep.VOICE): TurnState.SPEAKING,
    (TurnState.PARKED, TurnStep.OPEN): TurnState.SPEAKING,
    (TurnState.PARKED, TurnStep.UNPARK): TurnState.PAUSING,
    (TurnState.PARKED, TurnStep.OVER): TurnState.OVER,  # the hand says that it was meant
    (TurnState.PARKED, TurnStep.CLOSE): TurnState.IDLE,
}


class ReplyState(Name):
    """One reply. At most one is live, which is any state but `none` and `cutting`."""

    NONE = "none"
    SPECULATIVE = "speculative"  # being made, before its turn is known to be over
    WAITING = "waiting"  # released; nothing of it was heard yet
    HEARD = "heard"
    HELD = "held"  # silent at once, everything kept
    CUTTING = "cutting"  # silent for good; what of it was heard is awaited


class ReplyStep(Name):
    """What moves a reply."""

    SPECULATE = "begun before the turn is over"
    BEGIN = "begun"
    RELEASE = "its turn is over"
    HEAR = "first heard"
    HOLD = "held"
    RESUME = "resumed"
    RESUME_UNHEARD = "resumed, nothing heard yet"
    END = "played out"
    CUT = "cut"
    CONFIRM = "cut confirmed"


REPLY: Final[Mapping[tuple[ReplyState, ReplyStep], ReplyState]] = {
    (ReplyState.NONE, ReplyStep.SPECULATE): ReplyState.SPECULATIVE,
    (ReplyState.NONE, ReplyStep.BEGIN): ReplyState.WAITING,
    (ReplyState.SPECULATIVE, ReplyStep.RELEASE): ReplyState.WAITING,
    (ReplyState.SPECULATIVE, ReplyStep.CUT): ReplyState.CUTTING,
    (ReplyState.WAITING, ReplyStep.HEAR): ReplyState.HEARD,
    (ReplyState.WAITING, ReplyStep.HOLD): ReplyState.HELD,
    (ReplyState.WAITING, ReplyStep.END): ReplyState.NONE,
    (ReplyState.WAITING, ReplyStep.CUT): ReplyState.CUTTING,
    (ReplyState.HEARD, ReplyStep.HEAR): ReplyState.HEARD,  # in the process that took it over
    (ReplyState.HEARD, ReplyStep.HOLD): ReplyState.HELD,
    (ReplyState.HEARD, ReplyStep.END): ReplyState.NONE,
    (ReplyState.HEARD, ReplyStep.CUT): ReplyState.CUTTING,
    (ReplyState.HELD, ReplyStep.HEAR): ReplyState.HELD,  # its first sound crossed the hold
    (ReplyState.HELD, ReplyStep.RESUME): ReplyState.HEARD,
    (ReplyState.HELD, ReplyStep.RESUME_UNHEARD): ReplyState.WAITING,
    (ReplyState.HELD, ReplyStep.END): ReplyState.NONE,
    (ReplyState.HELD, ReplyStep.CUT): ReplyState.CUTTING,
    (ReplyState.CUTTING, ReplyStep.CONFIRM): ReplyState.NONE,
}


class Phase(Name):
    """Who has the floor, as both machines together say it."""

    LISTENING = "listening"
    USER_SPEAKING = "user_speaking"
    ENDPOINTING = "endpointing"
    THINKING = "thinking"
    AGENT_SPEAKING = "agent_speaking"
    OVERLAP = "overlap"
    CLOSED = "closed"


# A reply in one of these has the floor; a speculative one has not.
HAS_FLOOR: Final = (ReplyState.WAITING, ReplyState.HEARD, ReplyState.HELD)

# Every pair of states that a conversation at rest can be in, and its phase. A closed one is (idle, none).
PHASES: Final[Mapping[tuple[TurnState, ReplyState], Phase]] = {
    (TurnState.IDLE, ReplyState.NONE): Phase.LISTENING,
    (TurnState.SPEAKING, ReplyState.NONE): Phase.USER_SPEAKING,
    (TurnState.SPEAKING, ReplyState.SPECULATIVE): Phase.USER_SPEAKING,
    (TurnState.PAUSING, ReplyState.NONE): Phase.ENDPOINTING,
    (TurnState.PAUSING, ReplyState.SPECULATIVE): Phase.ENDPOINTING,
    (TurnState.OVER, ReplyState.NONE): Phase.ENDPOINTING,
    (TurnState.OVER, ReplyState.SPECULATIVE): Phase.ENDPOINTING,
    (TurnState.IDLE, ReplyState.WAITING): Phase.THINKING,
    (TurnState.IDLE, ReplyState.HEARD): Phase.AGENT_SPEAKING,
    (TurnState.PARKED, ReplyState.WAITING): Phase.THINKING,
    (TurnState.PARKED, ReplyState.HEARD): Phase.AGENT_SPEAKING,
    (TurnState.OVER, ReplyState.WAITING): Phase.THINKING,  # committed by hand: it waits until the agent has finished
    (TurnState.OVER, ReplyState.HEARD): Phase.AGENT_SPEAKING,
    (TurnState.SPEAKING, ReplyState.WAITING): Phase.OVERLAP,
    (TurnState.SPEAKING, ReplyState.HEARD): Phase.OVERLAP,
    (TurnState.SPEAKING, ReplyState.HELD): Phase.OVERLAP,
    (TurnState.PAUSING, ReplyState.WAITING): Phase.OVERLAP,
    (TurnState.PAUSING, ReplyState.HEARD): Phase.OVERLAP,
    (TurnState.PAUSING, ReplyState.HELD): Phase.OVERLAP,
}
