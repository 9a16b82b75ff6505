"""Everything the core knows, as data: phases, the transition table, the open turn, the live reply, the timers.

Nothing here decides. `listening`, `overlap`, `speaking` and `tools` do, each over the one `Core`; `turns` is their
door. All of it can be written as JSON and read back, which is how a session is handed to another process.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from duologue.core.actions import Action
from duologue.core.history import History, ToolRound
from duologue.core.policy import Policy
from duologue.core.words import is_cjk
from duologue.errors import ProtocolError


class Phase(StrEnum):
    """Who has the floor."""

    LISTENING = "listening"
    USER_SPEAKING = "user_speaking"
    ENDPOINTING = "endpointing"
    THINKING = "thinking"
    AGENT_SPEAKING = "agent_speaking"
    OVERLAP = "overlap"
    CLOSED = "closed"


class Trigger(StrEnum):
    """What moves a phase: an event, or the core's judgement of one."""

    SPEECH_STARTED = "speech started"
    SPEECH_STOPPED = "speech stopped"
    TURN_OPENED = "turn opened by the caller"
    TURN_COMMITTED = "turn committed by the caller"
    TURN_ENDED = "turn ended"
    TURN_DISMISSED = "turn dismissed"
    REPLY_BEGUN = "reply begun unasked"
    REPLY_HEARD = "reply heard"
    REPLY_ENDED = "reply ended"
    REPLY_ENDED_UNDER_VOICE = "reply ended under the user's voice"
    REPLY_ENDED_AFTER_VOICE = "reply ended after the user's voice"
    JUDGED_INTERRUPTION = "judged an interruption, voice still on"
    JUDGED_INTERRUPTION_LATE = "judged an interruption, voice over"
    JUDGED_FALSE_ALARM = "judged a backchannel or noise"
    JUDGED_FALSE_ALARM_UNHEARD = "judged a backchannel or noise, nothing heard yet"
    SILENCED = "silenced by the caller"
    CLOSED = "session closed"


TRANSITIONS: Final[Mapping[tuple[Phase, Trigger], Phase]] = {
    (Phase.LISTENING, Trigger.SPEECH_STARTED): Phase.USER_SPEAKING,
    (Phase.LISTENING, Trigger.SPEECH_STOPPED): Phase.LISTENING,  # of voice that is nobody's turn
    (Phase.LISTENING, Trigger.TURN_OPENED): Phase.USER_SPEAKING,
    (Phase.LISTENING, Trigger.REPLY_BEGUN): Phase.THINKING,
    (Phase.LISTENING, Trigger.CLOSED): Phase.CLOSED,
    (Phase.USER_SPEAKING, Trigger.SPEECH_STARTED): Phase.USER_SPEAKING,  # in a turn that the caller opened
    (Phase.USER_SPEAKING, Trigger.SPEECH_STOPPED): Phase.ENDPOINTING,
    (Phase.USER_SPEAKING, Trigger.TURN_OPENED): Phase.USER_SPEAKING,  # what the voice began, the hand goes on with
    (Phase.USER_SPEAKING, Trigger.TURN_COMMITTED): Phase.ENDPOINTING,
    (Phase.USER_SPEAKING, Trigger.TURN_DISMISSED): Phase.LISTENING,
    (Phase.ENDPOINTING, Trigger.SPEECH_STARTED): Phase.USER_SPEAKING,
    (Phase.ENDPOINTING, Trigger.SPEECH_STOPPED): Phase.ENDPOINTING,  # after a commit in mid-voice
    (Phase.ENDPOINTING, Trigger.TURN_OPENED): Phase.USER_SPEAKING,
    (Phase.ENDPOINTING, Trigger.TURN_COMMITTED): Phase.ENDPOINTING,
    (Phase.ENDPOINTING, Trigger.TURN_ENDED): Phase.THINKING,
    (Phase.ENDPOINTING, Trigger.TURN_DISMISSED): Phase.LISTENING,
    (Phase.THINKING, Trigger.SPEECH_STARTED): Phase.OVERLAP,
    (Phase.THINKING, Trigger.SPEECH_STOPPED): Phase.THINKING,
    (Phase.THINKING, Trigger.TURN_OPENED): Phase.USER_SPEAKING,
    (Phase.THINKING, Trigger.REPLY_HEARD): Phase.AGENT_SPEAKING,
    (Phase.THINKING, Trigger.REPLY_ENDED): Phase.LISTENING,
    (Phase.THINKING, Trigger.REPLY_ENDED_AFTER_VOICE): Phase.ENDPOINTING,
    (Phase.THINKING, Trigger.JUDGED_INTERRUPTION_LATE): Phase.ENDPOINTING,
    (Phase.THINKING, Trigger.SILENCED): Phase.LISTENING,
    (Phase.AGENT_SPEAKING, Trigger.SPEECH_STARTED): Phase.OVERLAP,
    (Phase.AGENT_SPEAKING, Trigger.SPEECH_STOPPED): Phase.AGENT_SPEAKING,
    (Phase.AGENT_SPEAKING, Trigger.TURN_OPENED): Phase.USER_SPEAKING,
    (Phase.AGENT_SPEAKING, Trigger.REPLY_HEARD): Phase.AGENT_SPEAKING,
    (Phase.AGENT_SPEAKING, Trigger.REPLY_ENDED): Phase.LISTENING,
    (Phase.AGENT_SPEAKING, Trigger.REPLY_ENDED_AFTER_VOICE): Phase.ENDPOINTING,
    (Phase.AGENT_SPEAKING, Trigger.JUDGED_INTERRUPTION_LATE): Phase.ENDPOINTING,
    (Phase.AGENT_SPEAKING, Trigger.SILENCED): Phase.LISTENING,
    (Phase.OVERLAP, Trigger.SPEECH_STARTED): Phase.OVERLAP,
    (Phase.OVERLAP, Trigger.SPEECH_STOPPED): Phase.OVERLAP,
    (Phase.OVERLAP, Trigger.TURN_OPENED): Phase.USER_SPEAKING,
    (Phase.OVERLAP, Trigger.REPLY_HEARD): Phase.OVERLAP,
    (Phase.OVERLAP, Trigger.REPLY_ENDED_UNDER_VOICE): Phase.USER_SPEAKING,
    (Phase.OVERLAP, Trigger.REPLY_ENDED_AFTER_VOICE): Phase.ENDPOINTING,
    (Phase.OVERLAP, Trigger.JUDGED_INTERRUPTION): Phase.USER_SPEAKING,
    (Phase.OVERLAP, Trigger.JUDGED_INTERRUPTION_LATE): Phase.ENDPOINTING,
    (Phase.OVERLAP, Trigger.JUDGED_FALSE_ALARM): Phase.AGENT_SPEAKING,
    (Phase.OVERLAP, Trigger.JUDGED_FALSE_ALARM_UNHEARD): Phase.THINKING,
}


class Timer(StrEnum):
    """The deadlines that the core keeps. Tools have theirs in `Reply.calls`."""

    ENDPOINT = "endpoint"  # silence is long enough
    FINAL = "final"  # the recogniser's final is overdue
    TURN = "turn"  # the turn is too long
    HOLD = "hold"  # wary: so much voice earns a hold
    VOICE = "voice"  # so much voice is an interruption even without words
    VERDICT = "verdict"  # the voice is over: the recogniser's word is overdue
    CUT = "cut"  # the confirmation of a cut is overdue
    FILLER = "filler"  # a tool or the model takes long
    UNHEARD = "unheard"  # nothing of the reply was heard: give it up
    IDLE = "idle"
    SESSION = "session"
    CLOSE = "close"


@dataclass(slots=True)
class Turn:
    """The user's open turn. Times are session seconds on the audio clock.

    `text`: the newest hypothesis; `evidence`: so much of it as is sure enough to stop the agent; `prefix`: text of the
    earlier turn `merged` that this one continues, or typed into it. `mark`: finals asked for so far; `final_mark`: the
    newest that has come or is waited for no longer; `heard_mark`: the newest that has come. `voiced_s`: length of the
    voice so far, without pauses. `over`: the silence is long enough, or the caller said so. `alarm`: it began over the
    agent and is not judged yet. `owed`: the earlier turn whose answer it cut before a word of that was heard.
    `judged`: the newest (over, backchannel, echo) of each judge, by its name.
    """

    number: int
    since: float
    by_hand: bool = False
    text: str = ""
    evidence: str = ""
    prefix: str = ""
    merged: int = 0
    language: str | None = None
    mark: int = 0
    final_mark: int = 0
    heard_mark: int = 0
    voice_since: float = 0.0
    voice_until: float = 0.0
    voiced_s: float = 0.0
    over: bool = False
    alarm: bool = False
    failed: str = ""
    speculations: int = 0
    owed: int = 0
    judged: dict[str, tuple[float | None, ...]] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """All of its text."""
        return joined(self.prefix, self.text)


def joined(before: str, after: str) -> str:
    """Two texts as one, with a space between them where their script has any."""
    before, after = before.strip(), after.strip()
    glued = not before or not after or is_cjk(before[-1]) or is_cjk(after[0])
    return before + after if glued else f"{before} {after}"


@dataclass(slots=True)
class Call:
    """A tool call of the live reply.

    `deadline`: session seconds, None before it runs; `output` None: not answered yet.
    """

    call_id: str
    name: str
    arguments: str
    timeout_s: float
    far_side: bool
    cancellable: bool
    deadline: float | None = None
    output: str | None = None


@dataclass(slots=True)
class Reply:
    """A reply that is made or played.

    `script`: it says just that and asks no model. `basis`: normal form of the words that it answers. `text`: what
    was handed to the synthesiser so far. `heard_text`: what was played out by the last report; `rest_s`: audio that was
    made and not played by then. `cancelled`: why, once it was.
    """

    number: int
    turn: int
    script: str | None = None
    basis: str = ""
    released: bool = True
    held: bool = False
    heard: bool = False
    generated: bool = False
    failed: str = ""
    cancelled: str = ""
    interruptible: bool = True
    in_history: bool = True
    apology: bool = False
    instructions: str | None = None
    text: str = ""
    heard_text: str = ""
    rest_s: float | None = None
    filler_said: bool = False
    calls: list[Call] = field(default_factory=list)
    rounds: list[ToolRound] = field(default_factory=list)

    @property
    def asks(self) -> bool:
        """Whether it ends with a question, as far as its text is there."""
        return self.text.rstrip().endswith(("?", "？"))


@dataclass(slots=True)
class Wish:
    """Something to be said or answered when the floor is free. `kind`: `say`, `reply`, `typed` or `apology`."""

    kind: str
    text: str = ""
    turn: int = 0
    images: tuple[str, ...] = ()
    instructions: str | None = None
    interruptible: bool = True
    in_history: bool = True


@dataclass(slots=True)
class State:
    """All that a conversation is, but for its policy."""

    phase: Phase = Phase.LISTENING
    now: float = 0.0
    turns: int = 0
    replies: int = 0
    voice: bool = False
    timers: dict[Timer, float] = field(default_factory=dict)
    turn: Turn | None = None
    reply: Reply | None = None
    cutting: list[Reply] = field(default_factory=list)
    orphans: list[Call] = field(default_factory=list)
    wishes: list[Wish] = field(default_factory=list)
    images: list[str] = field(default_factory=list)  # of the open or next turn
    pauses: list[float] = field(default_factory=list)
    alarms: list[float] = field(default_factory=list)
    language: str | None = None
    answered_turn: int = 0
    answered_until: float = 0.0
    automatic: bool = True
    reply_automatically: bool = True
    idle_prompts_said: int = 0
    fillers_said: int = 0
    closing: str = ""
    pack: str = ""
    next_pack: tuple[str, str] | None = None
    summarising: int = 0  # items that a summary is being made of
    summary_outdated: bool = False  # it is not waited for any more, but will still come


@dataclass(slots=True)
class Core:
    """The state, the policy, the history, and the actions of the step that is being taken."""

    policy: Policy
    state: State
    history: History
    actions: list[Action] = field(default_factory=list)

    @property
    def turn(self) -> Turn:
        """The open turn, for steps that only an open turn can lead to."""
        assert self.state.turn is not None
        return self.state.turn

    @property
    def reply(self) -> Reply:
        """The live reply, for steps that only a live reply can lead to."""
        assert self.state.reply is not None
        return self.state.reply

    def do(self, action: Action) -> None:
        """Append an action to this step."""
        self.actions.append(action)

    def go(self, trigger: Trigger) -> None:
        """Take a step of the table; `ProtocolError`, and nothing changed, where it lacks it."""
        target = TRANSITIONS.get((self.state.phase, trigger))
        if target is None:
            raise ProtocolError(f"{trigger!s} can't happen while {self.state.phase!s}")
        self.state.phase = target

    def arm(self, timer: Timer, at: float) -> None:
        """Set a timer to session second `at`; what it was before is forgotten."""
        self.state.timers[timer] = at

    def disarm(self, *timers: Timer) -> None:
        """Forget timers, set or not."""
        for timer in timers:
            self.state.timers.pop(timer, None)
