"""The turn-taking core: every decision of a conversation is taken behind this door, and nothing else is.

Theory of operation
-------------------
`feed(event)` says what happened, `advance(now)` that time has passed; both return the actions that the shell carries
out, in order, at once. `deadline` is when `advance` wants to be called next. The core has no clock, does no I/O and
never waits, so it runs the same live, in a simulation and over a recorded trace. Whoever drives it does four things,
again and again: tell it what happened, carry out what it says, tell it how that went, and wake it at its deadline.

**Two machines.** A *turn* is one stretch of the user's talk with the silences inside it; a *reply* is one answer of
the agent, from the model's first token to its last audible sample. Each is a small machine with a table in
`machines`, and neither knows of the other. There is one open turn at most, and one live reply at most; `Phase` is
read off the pair.

    turn    idle → speaking ⇄ pausing → over → idle          parked: it began over the agent, who went on
    reply   none → speculative → waiting → heard ⇄ held → none   cutting: silent for good; what was heard is awaited

**Where they meet.** What one does to the other stands in one place, the table of joint rules in `floor`: for each
thing that happens and each pair of states, the one rule that applies. `rules` says what each does, `overlap` what
becomes of a voice over the agent, `agenda` what comes next when nobody has the floor. A pair that has no rule can't
happen; a hand that could not know better is refused, and nothing has changed. `invariant` states what else is legal.

**The end of a turn** is never certain, so it is prepared. At each stop of the voice the recogniser is asked for its
last word so far; the request and its answer carry a *mark*, which counts the stops, so that a late answer to an
earlier stop is known for one. Then silence is counted from the last voiced sample, the longer the less the words (and
the judges, in `judging`) sound as if they were all. When it has lasted, the turn is over; it ends as soon as its
newest mark is answered or given up, and as it is known how much of a cut reply was heard.

**A speculative reply** is begun with the first final that sounds as if it could be all, before the turn is over. It
may ask the model and synthesise, in order to be early. It may not be heard, run a tool, or leave a trace in the
history. It answers certain words (`basis`): if these change it is cut and forgotten; if the turn ends with them it is
*released*, and may do all that a reply may. A turn has few of them, so that a halting speaker does not pay for a
prompt a pause.

**A voice over the agent** is held first and judged afterwards: a hold is silence already, and it can be taken back,
from the word where it began. The turn that it opens is *unjudged*. Its *evidence* is the part of the newest
hypothesis that may stop an agent: settled words of a partial, or several; of a final those that the recogniser itself
believes in. Words that ask for something interrupt: the reply is cut, and the history keeps what was heard of it. A
listener's words, no words, an echo: the agent goes on, and the turn is dismissed. If the recogniser is too slow to
tell, the agent goes on all the same and the turn is *parked*: still open, still recognised, so that a late word can
yet interrupt. A parked turn whose reply ends by itself takes the floor like any other.

**What is not lost.** A reply that was cut before a word of it was heard has answered nobody. If the user went on
within a moment, their new turn is *merged* with the one before: its words stand behind the earlier ones, and both are
one item of the history. If it was longer ago, the earlier turn is *owed* an answer: should the new one come to
nothing (a cough), a reply to the owed one is begun. Results of any stage carry the number of their turn or reply;
what comes late is dropped by it. Of a reply only what was heard enters the history; if its player tells later that it
was less, or more, the item is corrected. A session that moves to another process (`migration`) keeps its words on
both sides of the cut.

**Hands.** A turn that a hand opened ends by its commit only, and does not silence the agent unless it says so;
committed while the agent speaks, it waits until the agent has finished. Tools of ours run when their reply is
released, and the model goes on with what they give; tools of the caller's side end the reply, and the next one begins
on request with the results that have come by then. Who speaks is a persona, which changes between turns and replies
and never inside one.

**One turn, worked through.** Session seconds on the left; the user asks "What time is it?" and coughs over the
answer.

    1.00  SpeechStarted       a turn: idle → speaking            OpenRecognition(1)
    1.50  SpeechStopped       speaking → pausing                 FinaliseRecognition(1, mark 1); endpoint set to 2.10
    1.60  FinalTranscript     the words sound complete           endpoint set to 1.85; BeginReply(1, speculative)
    1.85  (deadline)          pausing → over → idle              TurnEnded, ReleaseReply(1): speculative → waiting
    2.00  ReplyHeard          waiting → heard                    the agent is heard
    3.00  SpeechStarted       a turn over the agent, unjudged    HoldPlayout(1): heard → held; OpenRecognition(2)
    3.20  SpeechStopped       speaking → pausing                 FinaliseRecognition(2, mark 1); verdict due at 3.40
    3.40  (deadline)          no word so far: pausing → parked   ResumePlayout(1): held → heard
    3.55  FinalTranscript ""  parked → idle                      CloseRecognition(2), TurnDismissed(2, noise)
    4.60  ReplyEnded          heard → none                       ReplyOver(1); its text is history

Had the final at 3.55 been "stop", the parked turn would have cut the reply there: CancelReply(1), the shell answers
with what was heard, and the history keeps that.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from duologue.core import agenda, floor, overlap, replies, rules, tools, turns, waiting
from duologue.core import events as ev
from duologue.core.actions import Action
from duologue.core.codec import from_data, to_data
from duologue.core.history import History, Item, item_messages, reply_items
from duologue.core.invariant import invariant
from duologue.core.machines import Phase
from duologue.core.messages import Message
from duologue.core.migration import take_over
from duologue.core.options import PLAIN, ReplyOptions
from duologue.core.policy import Policy
from duologue.core.state import Core, State, Timer
from duologue.core.upgrade import from_version_1
from duologue.errors import ConfigurationError, ProtocolError

__all__ = ["Conversation", "Phase", "Timer"]

HANDLERS: Final[Mapping[type[ev.Event], Callable[[Core, Any], None]]] = {
    ev.SpeechStarted: floor.speech_started,
    ev.SpeechStopped: floor.speech_stopped,
    ev.PartialTranscript: floor.partial,
    ev.FinalTranscript: floor.final,
    ev.RecognitionFailed: floor.recognition_failed,
    ev.TurnOpened: floor.opened,
    ev.TurnCommitted: floor.committed,
    ev.TurnCleared: floor.cleared,
    ev.TypedTurn: floor.typed,
    ev.ImagesShown: rules.images_shown,
    ev.ReplyRequested: waiting.reply_wanted,
    ev.SayRequested: waiting.say,
    ev.InterruptRequested: floor.interrupt_wanted,
    ev.PersonaChanged: turns.persona_changed,
    ev.PolicyChanged: agenda.policy_changed,
    ev.CallerChanged: turns.caller_changed,
    ev.KeyPressed: turns.key_pressed,
    ev.ItemInserted: agenda.item_inserted,
    ev.ItemRemoved: agenda.item_removed,
    ev.TurnJudged: floor.judged,
    ev.CloseRequested: agenda.close_wanted,
    ev.ReplyText: replies.text_added,
    ev.ReplyGenerated: replies.generated,
    ev.ReplyHeard: replies.heard_first,
    ev.HeardSoFar: replies.heard_so_far,
    ev.ReplyEnded: floor.ended,
    ev.HeardCorrected: replies.heard_corrected,
    ev.ReplyFailed: replies.failed,
    ev.ToolRequested: tools.requested,
    ev.ToolReturned: tools.returned,
    ev.SummaryMade: agenda.summarised,
}

TIMERS: Final[Mapping[Timer, Callable[[Core], None]]] = {
    Timer.ENDPOINT: rules.silence_long_enough,
    Timer.FINAL: floor.final_overdue,
    Timer.TURN: floor.turn_too_long,
    Timer.HOLD: overlap.hold,
    Timer.VOICE: rules.voice_long_enough,
    Timer.VERDICT: overlap.verdict_overdue,
    Timer.CUT: rules.cut_overdue,
    Timer.FILLER: waiting.filler_due,
    Timer.UNHEARD: rules.unheard_too_long,
    Timer.IDLE: agenda.idle_too_long,
    Timer.SESSION: agenda.session_too_long,
    Timer.CLOSE: agenda.close_overdue,
}

# What still counts when the session is closed: the confirmation of the last cut.
CLOSED_ACCEPTS: Final = (ev.ReplyEnded, ev.HeardCorrected)
# What only tells of stages and is dropped by number when late; in a closed session it is dropped as well.
RESULTS: Final = (
    ev.PartialTranscript, ev.FinalTranscript, ev.RecognitionFailed, ev.ReplyText, ev.ReplyGenerated, ev.ReplyHeard,
    ev.HeardSoFar, ev.ReplyFailed, ev.ToolRequested, ev.ToolReturned, ev.SummaryMade, ev.CloseRequested,
    ev.SpeechStarted, ev.SpeechStopped, ev.TurnJudged, ev.CallerChanged, ev.KeyPressed,
)  # fmt: skip


class Conversation:
    """One conversation, decided. All times are session seconds.

    `core`: all that it knows, for simulators and tests to look at; nobody else changes it.
    """

    def __init__(self, policy: Policy | None = None, *, instructions: str = "", persona: str = "") -> None:
        """`instructions`: what every prompt begins with; `persona`: the name of who speaks.

        Raises `ConfigurationError` for a policy that no conversation can be held with.
        """
        policy = policy or Policy()
        if problems := policy.problems():
            raise ConfigurationError("; ".join(problems))
        state = State(
            persona=persona,
        )
        self.core = Core(policy, state, History(policy.history, instructions))
        if policy.limits.session_s_max is not None:
            self.core.arm(Timer.SESSION, policy.limits.session_s_max)
        agenda.settle(self.core)

    # --- beats ----------------------------------------------------------------------------------------------------

    def feed(self, event: ev.Event) -> list[Action]:
        """Take `event`; return what to do about it.

        Raises `ProtocolError` for time running backwards and for an event that this phase has no step for. Nothing has
        changed then, except that deadlines up to the event were met; what they ask for comes with the next call.
        """
        state = self.core.state
        if event.at < state.now:
            raise ProtocolError(f"time runs backwards: event at {event.at}, last at {state.now}")
        handler = HANDLERS.get(type(event))
        if handler is None:
            raise ProtocolError(f"the core has no use for {type(event).__name__}")
        self._meet_deadlines(event.at)
        before, state.now = state.now, event.at
        try:
            self._handle(handler, event)
        except ProtocolError:
            state.now = before
            raise
        return self._take_actions()

    def _handle(self, handler: Callable[[Core, Any], None], event: ev.Event) -> None:
        if self.phase is Phase.CLOSED and not isinstance(event, CLOSED_ACCEPTS):
            if isinstance(event, RESULTS):
                return
            raise ProtocolError(f"{type(event).__name__} came after the session was closed")
        handler(self.core, event)
        agenda.settle(self.core)

    def advance(self, now: float) -> list[Action]:
        """Time is `now`: meet the deadlines up to it, in their order; return what to do."""
        self._meet_deadlines(now)
        self.core.state.now = max(self.core.state.now, now)
        return self._take_actions()

    def _meet_deadlines(self, until: float) -> None:
        core = self.core
        while (deadline := self.deadline) is not None and deadline <= until:
            core.state.now = max(core.state.now, deadline)
            self._meet(deadline)
            agenda.settle(core)

    def _meet(self, deadline: float) -> None:
        core = self.core
        for name, at in core.state.timers.items():
            if at <= deadline:
                del core.state.timers[name]
                TIMERS[name](core)
                return
        tools.overdue(core)

    def _take_actions(self) -> list[Action]:
        actions, self.core.actions = self.core.actions, []
        return actions

    @property
    def deadline(self) -> float | None:
        """The session second at which `advance` must be called at the latest, or None."""
        timers = self.core.state.timers
        first = min(timers.values()) if timers else None
        tool = tools.deadline(self.core)
        return tool if first is None or (tool is not None and tool < first) else first

    # --- what can be seen -----------------------------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        """Who has the floor."""
        return self.core.phase

    @property
    def now(self) -> float:
        """The session second of the last event or `advance`."""
        return self.core.state.now

    @property
    def reply(self) -> int:
        """Number of the live reply, 0 for none."""
        reply = self.core.state.reply
        return reply.number if reply else 0

    @property
    def turn(self) -> int:
        """Number of the user's open turn, 0 for none."""
        turn = self.core.state.turn
        return turn.number if turn else 0

    @property
    def language(self) -> str | None:
        """The language (BCP 47) that the user spoke last, as far as the recogniser could tell."""
        return self.core.state.language

    @property
    def persona(self) -> str:
        """Name of who speaks."""
        return self.core.state.persona

    @property
    def policy(self) -> Policy:
        """The numbers that are in force."""
        return self.core.policy

    def knows_tool_call(self, call_id: str) -> bool:
        """Whether a call of that id is under way or remembered, from another process too: another needs another id."""
        return tools.knows(self.core, call_id)

    def awaits_tool(self, call_id: str) -> bool:
        """Whether a result of the call `call_id` is waited for, or welcome however late."""
        return tools.awaits(self.core, call_id)

    @property
    def history(self) -> tuple[Item, ...]:
        """What was said and heard, oldest first, since the summary."""
        return tuple(self.core.history.items)

    @property
    def summary(self) -> str:
        """What stands for everything before `history`."""
        return self.core.history.summary

    def to_summarise(self, items: int) -> list[Message]:
        """The old summary and the first `items` items, as messages, for the model that summarises them."""
        history = History(self.core.policy.history)
        history.summary = self.core.history.summary
        history.items = self.core.history.items[:items]
        return history.messages()

    def prompt(self, reply: int) -> list[Message]:
        """What the model is asked for the live reply number `reply`, now; empty if that is not live.

        For a speculative reply the user's words stand at the end although they are not history yet; for one that has
        used tools its own text so far and the results.
        """
        core = self.core
        making = replies.live(core, reply)
        if making is None:
            return []
        turn = core.state.turn
        if making.released or turn is None:
            messages = core.history.messages(making.options.instructions, instead=making.options.input)
        else:
            continued = core.history.user_item(turn.merged)
            images = (*(continued.images if continued else ()), *core.state.images)
            messages = core.history.messages(making.options.instructions, without=continued)
            messages.append(Message("user", turn.words, images=images, name=turns.caller_name(core)))
        return messages + item_messages(reply_items(making.number, making.text, making.rounds))

    def options(self, reply: int) -> ReplyOptions:
        """What is wanted otherwise of the live reply number `reply`."""
        making = replies.live(self.core, reply)
        return making.options if making else PLAIN

    # --- handing over ---------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """All of the conversation, as data that `json.dumps` takes."""
        history = self.core.history
        return {
            "state": to_data(self.core.state),
            "policy": to_data(self.core.policy),
            "system": history.system,
            "summary": history.summary,
            "items": to_data(history.items),
        }

    @classmethod
    def restore(cls, policy: Policy, snapshot: Mapping[str, Any]) -> "Conversation":
        """The conversation exactly as it was when `snapshot` was taken. `ValueError` if that is not one.

        `policy`: for a snapshot of the version before, which holds none.
        """
        try:
            if "policy" not in snapshot:
                snapshot = from_version_1(policy, snapshot)
            conversation = cls(from_data(Policy, snapshot["policy"]))
            conversation.core.state = from_data(State, snapshot["state"])
            history = conversation.core.history
            history.system, history.summary = from_data(str, snapshot["system"]), from_data(str, snapshot["summary"])
            history.restore(from_data(Item, item) for item in snapshot["items"])
        except (ConfigurationError, KeyError, TypeError) as error:
            raise ValueError(f"not a snapshot of a conversation: {error}") from error
        if wrong := invariant(conversation.core):
            raise ValueError(f"not a snapshot of a conversation: {'; '.join(wrong)}")
        return conversation

    def take_over(self) -> list[Action]:
        """After `restore` in another process: begin again what died with the old one; return what to do.

        An open turn keeps its words and is recognised on; a reply goes on after its last heard word; tools that may run
        twice do, of the others the model is told that their result is unknown.
        """
        take_over(self.core)
        agenda.settle(self.core)
        return self._take_actions()
