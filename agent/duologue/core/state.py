"""Everything the core knows, as data: the open turn, the live reply, what waits, the timers.

Nothing here decides. The modules above do, each over the one `Core`; `conversation` is their door. All of it can be
written as JSON and read back, which is how a session is handed to another process.
"""

from dataclasses import dataclass, field

from duologue.core.actions import Action
from duologue.core.history import History, ToolRound
from duologue.core.machines import (
    HAS_FLOOR,
    PHASES,
    REPLY,
    TURN,
    Name,
    Phase,
    ReplyState,
    ReplyStep,
    TurnState,
    TurnStep,
)
from duologue.core.options import PLAIN, ReplyOptions
from duologue.core.policy import Policy
from duologue.core.words import is_cjk
from duologue.errors import ProtocolError

CALLS_MAX = 16  # tools of one round; more is a model run wild, and each further call is answered with a refusal
CUTTING_MAX = 4  # replies at once; another is begun only when the turn is answered anew


class Timer(Name):
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
    voice so far, without pauses. `unjudged`: it began over the agent, and nobody knows yet whether it
    asks for anything. `owed`: the earlier turn whose answer it cut before a word of that was heard. `decided_by`: what
    says how long to wait for its end. `judged`: each judge's newest word, as in `TurnJudged`: over, backchannel, echo.
    """

    number: int
    since: float
    state: TurnState = TurnState.SPEAKING
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
    unjudged: bool = False
    failed: str = ""
    speculations: int = 0
    owed: int = 0
    decided_by: str = ""
    judged: dict[str, list[float | None]] = field(default_factory=dict)

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

    `remote`: the caller's side runs it. `deadline`: session seconds, None for none; `output` None: not answered yet.
    """

    call_id: str
    name: str
    arguments: str
    timeout_s: float
    remote: bool
    cancellable: bool
    started: bool = False
    deadline: float | None = None
    output: str | None = None


@dataclass(slots=True)
class Reply:
    """A reply that is made or played.

    `released`, `heard`: its turn was over, a sound of it was heard; both outlive a cut. `script`: it says just that and
    asks no model. `basis`: normal form of the words that it answers. `text`: what was handed to the synthesiser so far.
    `heard_text`: what was played out by the last report; `rest_s`: audio that was made and not played by then.
    `cancelled`: why, once it was. `persona`: who speaks; `tag`: of whoever asked for it.
    """

    number: int
    turn: int
    script: str | None = None
    basis: str = ""
    state: ReplyState = ReplyState.NONE
    released: bool = True
    heard: bool = False
    generated: bool = False
    failed: str = ""
    cancelled: str = ""
    interruptible: bool = True
    apology: bool = False
    persona: str = ""
    tag: str = ""
    options: ReplyOptions = PLAIN
    text: str = ""
    heard_text: str = ""
    rest_s: float | None = None
    filler_said: bool = False
    calls: list[Call] = field(default_factory=list)
    rounds: list[ToolRound] = field(default_factory=list)

    @property
    def held(self) -> bool:
        """Whether it is silent for now."""
        return self.state is ReplyState.HELD

    @property
    def asks(self) -> bool:
        """Whether it ends with a question, as far as its text is there."""
        return self.text.rstrip().endswith(("?", "？"))


@dataclass(slots=True)
class QueuedReply:
    """Something to be said or answered when the floor is free.

    `kind`: `say`, `reply`, `typed`, `greeting` or `apology`. `author`: who typed it.
    """

    kind: str
    text: str = ""
    turn: int = 0
    images: tuple[str, ...] = ()
    interruptible: bool = True
    author: str = ""
    tag: str = ""
    options: ReplyOptions = PLAIN


@dataclass(slots=True)
class State:
    """All that a conversation is, but for its policy."""

    closed: bool = False
    now: float = 0.0
    turns: int = 0
    replies: int = 0
    voice: bool = False
    timers: dict[Timer, float] = field(default_factory=dict)
    turn: Turn | None = None
    reply: Reply | None = None
    cutting: list[Reply] = field(default_factory=list)
    orphans: list[Call] = field(default_factory=list)
    queue: list[QueuedReply] = field(default_factory=list)
    images: list[str] = field(default_factory=list)  # of the open or next turn
    pauses: list[float] = field(default_factory=list)
    false_alarms: list[float] = field(default_factory=list)
    language: str | None = None
    answered_until: float = 0.0
    idle_prompts_said: int = 0
    fillers_said: int = 0
    closing: str = ""
    persona: str = ""
    next_persona: tuple[str, str] | None = None  # name, instructions
    caller: tuple[str, str] = ("", "")  # identity and name of who speaks, where there are several
    inserted: int = 0  # items that were put in without an id of their own
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

    def turn_to(self, step: TurnStep) -> None:
        """Take a step of the turn's machine; `ProtocolError`, and nothing changed, where its table lacks it."""
        turn = self.state.turn
        target = TURN.get((self.turn_state, step))
        if target is None:
            raise ProtocolError(f"a turn that is {self.turn_state!s} can't be {step!s}")
        if turn:
            turn.state = target

    def reply_to(self, reply: Reply, step: ReplyStep) -> None:
        """Take a step of the machine of `reply`; `ProtocolError`, and nothing changed, where its table lacks it."""
        target = REPLY.get((reply.state, step))
        if target is None:
            raise ProtocolError(f"a reply that is {reply.state!s} can't be {step!s}")
        reply.state = target

    @property
    def turn_state(self) -> TurnState:
        """Where the turn's machine is."""
        return self.state.turn.state if self.state.turn else TurnState.IDLE

    @property
    def reply_state(self) -> ReplyState:
        """Where the machine of the live reply is."""
        return self.state.reply.state if self.state.reply else ReplyState.NONE

    @property
    def automatic(self) -> bool:
        """Whether turns end by silence."""
        return self.policy.endpointing.mode == "automatic"

    def shifted(self, index: int) -> None:
        """Items moved from `index` of the history on: a summary that is being made of more than that sums up others."""
        if index < self.state.summarising:
            self.state.summary_outdated = True

    @property
    def agent_has_floor(self) -> bool:
        """Whether a reply is made or played that may be heard."""
        return self.reply_state in HAS_FLOOR

    @property
    def phase(self) -> Phase:
        """Who has the floor; between two steps of the core only."""
        return Phase.CLOSED if self.state.closed else PHASES[self.turn_state, self.reply_state]

    def arm(self, timer: Timer, at: float) -> None:
        """Set a timer to session second `at`; what it was before is forgotten."""
        self.state.timers[timer] = at

    def disarm(self, *timers: Timer) -> None:
        """Forget timers, set or not."""
        for timer in timers:
            self.state.timers.pop(timer, None)
