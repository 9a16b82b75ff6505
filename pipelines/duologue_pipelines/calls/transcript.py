"""Who said what when, put together from a session's events: the turns of the user and the replies of the agent.

It listens and decides nothing. What the agent said and what of it was heard are two things, and both are kept.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.runtime.session_setup import Note, SessionEvent, Spoken, StepTook
from duologue.runtime.step_times import STEP_S_MAX, step_named

ENTRIES_MAX: Final = 5000  # turns and replies; older ones give way


@dataclass(slots=True)
class UserTurn:
    """A turn as the engine took it. Seconds of the session; `text` as recognised.

    `outcome`: `open`, `answered` (a reply was owed), or why not: `noise`, `backchannel`, …
    """

    number: int
    start: float
    end: float
    text: str = ""
    outcome: str = "open"
    merged: int = 0


@dataclass(slots=True)
class AgentReply:
    """A reply to `turn` (0: to none). `text`: all that was to be said; `heard`: what was played out of it.

    `begun`: the work began; `start`, `end`: it was heard from and until, None if never. `speculative`: begun before the
    turn was over. `cut`: why it was cancelled, or empty. `holds`: (from, until) in which it was silent, undecided.
    `filler`: what was said to cover a wait, asked for at `filler_at`, no part of `text`; `answer_at`: the first word of
    the text counted as heard. `steps`: what each stage took, in seconds.
    """

    number: int
    turn: int
    begun: float
    speculative: bool = False
    released: bool = False
    start: float | None = None
    end: float | None = None
    text: str = ""
    heard: str = ""
    cut: str = ""
    holds: list[tuple[float, float]] = field(default_factory=list)
    filler: str = ""
    filler_at: float | None = None
    answer_at: float | None = None
    steps: dict[str, float] = field(default_factory=dict)
    hold_began: float | None = None

    @property
    def filler_first(self) -> bool:
        """Whether a filler was heard before any word of the text."""
        return self.filler_at is not None and (self.answer_at is None or self.answer_at > self.filler_at)

    @property
    def late_step(self) -> str:
        """The stage that took longest, if that was too long: "LLM first token 6.0 s"; else empty."""
        step, seconds = max(self.steps.items(), key=lambda took: took[1], default=("", 0.0))
        return f"{step_named(step)} {seconds:.1f} s" if seconds > STEP_S_MAX else ""

    def end_hold(self, at: float) -> None:
        """The hold, if there is one, is over."""
        if self.hold_began is not None:
            self.holds.append((self.hold_began, at))
            self.hold_began = None


class Transcript:
    """Fed with everything from `session.events()`.

    Events carry their time; actions belong to the event before them.
    """

    def __init__(self) -> None:
        self.turns: dict[int, UserTurn] = {}
        self.replies: dict[int, AgentReply] = {}
        self.notes: list[Note] = []
        self.now = 0.0

    def take_event(self, event: SessionEvent, now: float) -> None:
        """One more event or action. `now`: session seconds at which it was published."""
        self.now = max(self.now, now)
        if isinstance(event, Note):
            self.notes.append(event)
            del self.notes[:-ENTRIES_MAX]
            return
        taken = _TAKEN.get(type(event))
        if taken:
            taken(self, event)

    def data(self) -> dict[str, Any]:
        """JSON-able: turns and replies in the order in which they began."""
        entries: list[tuple[float, dict[str, Any]]]
        entries = [(turn.start, {"who": "user", **_rounded(asdict(turn))}) for turn in self.turns.values()]
        for reply in self.replies.values():
            said = _rounded(asdict(reply))
            said.pop("hold_began")
            entries.append((reply.begun if reply.start is None else reply.start, {"who": "agent", **said}))
        return {"version": 1, "seconds": round(self.now, 3), "turns": [entry for _, entry in sorted(entries, key=_at)]}

    def reply_at(self, second: float) -> AgentReply | None:
        """The reply being heard (or held) at `second`."""
        for reply in self.replies.values():
            if reply.start is not None and reply.start <= second < (self.now + 1 if reply.end is None else reply.end):
                return reply
        return None

    # --- what each event means ------------------------------------------------------------------------------------

    def _turn_opened(self, action: act.OpenRecognition) -> None:
        self.turns[action.turn] = UserTurn(action.turn, action.since, action.since)
        _forget_oldest(self.turns)

    def _turn(self, number: int) -> UserTurn:
        return self.turns.setdefault(number, UserTurn(number, self.now, self.now))

    def _voice_stopped(self, event: ev.SpeechStopped) -> None:
        for turn in self.turns.values():
            if turn.outcome == "open":
                turn.end = max(turn.end, event.until)

    def _partial(self, event: ev.PartialTranscript | ev.FinalTranscript) -> None:
        self._turn(event.turn).text = event.text

    def _turn_ended(self, action: act.TurnEnded) -> None:
        turn = self._turn(action.turn)
        turn.text, turn.outcome, turn.merged = action.text, "answered", action.merged

    def _turn_dismissed(self, action: act.TurnDismissed) -> None:
        turn = self._turn(action.turn)
        turn.outcome = action.reason
        turn.text = action.text or turn.text

    def _reply_begun(self, action: act.BeginReply) -> None:
        self.replies[action.reply] = AgentReply(action.reply, action.turn, self.now, action.speculative)
        _forget_oldest(self.replies)

    def _reply_released(self, action: act.ReleaseReply) -> None:
        if reply := self.replies.get(action.reply):
            reply.released = True

    def _reply_text(self, event: ev.ReplyText) -> None:
        if reply := self.replies.get(event.reply):
            reply.text += event.text

    def _reply_heard(self, event: ev.ReplyHeard) -> None:
        if reply := self.replies.get(event.reply):
            reply.start = event.at

    def _filled(self, action: act.SpeakFiller) -> None:
        if reply := self.replies.get(action.reply):
            reply.filler, reply.filler_at = action.text, self.now

    def _spoken(self, event: Spoken) -> None:
        reply = self.replies.get(event.reply)
        if reply and reply.answer_at is None:
            reply.answer_at = event.at

    def _step(self, event: StepTook) -> None:
        if reply := self.replies.get(event.reply):
            reply.steps[event.step] = max(event.seconds, reply.steps.get(event.step, 0.0))

    def _held(self, action: act.HoldPlayout) -> None:
        if reply := self.replies.get(action.reply):
            reply.hold_began = self.now

    def _resumed(self, action: act.ResumePlayout) -> None:
        if reply := self.replies.get(action.reply):
            reply.end_hold(self.now)

    def _cancelled(self, action: act.CancelReply) -> None:
        if reply := self.replies.get(action.reply):
            reply.end_hold(self.now)
            reply.cut = action.reason

    def _reply_ended(self, event: ev.ReplyEnded) -> None:
        if reply := self.replies.get(event.reply):
            reply.end_hold(event.at)
            reply.end, reply.heard = event.at, event.heard
            if event.cut and not reply.cut:
                reply.cut = "cut"

    def _corrected(self, event: ev.HeardCorrected) -> None:
        if reply := self.replies.get(event.reply):
            reply.heard = event.heard


_TAKEN: Final[dict[type, Callable[[Transcript, Any], None]]] = {
    act.OpenRecognition: Transcript._turn_opened,
    act.TurnEnded: Transcript._turn_ended,
    act.TurnDismissed: Transcript._turn_dismissed,
    act.BeginReply: Transcript._reply_begun,
    act.ReleaseReply: Transcript._reply_released,
    act.SpeakFiller: Transcript._filled,
    Spoken: Transcript._spoken,
    StepTook: Transcript._step,
    act.HoldPlayout: Transcript._held,
    act.ResumePlayout: Transcript._resumed,
    act.CancelReply: Transcript._cancelled,
    ev.SpeechStopped: Transcript._voice_stopped,
    ev.PartialTranscript: Transcript._partial,
    ev.FinalTranscript: Transcript._partial,
    ev.ReplyText: Transcript._reply_text,
    ev.ReplyHeard: Transcript._reply_heard,
    ev.ReplyEnded: Transcript._reply_ended,
    ev.HeardCorrected: Transcript._corrected,
}


def _at(entry: tuple[float, dict[str, Any]]) -> float:
    return entry[0]


def _forget_oldest(entries: dict[int, Any]) -> None:
    if len(entries) > ENTRIES_MAX:
        del entries[next(iter(entries))]


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value
