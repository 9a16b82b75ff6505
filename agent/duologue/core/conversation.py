"""The turn-taking core: every decision of a conversation is taken behind this door, and nothing else is.

Theory of operation. `feed(event)` says what happened, `advance(now)` that time has passed; both return the actions that
the shell carries out, in order, at once. `deadline` is when `advance` wants to be called next. The core has no clock,
does no I/O and never waits, so it runs the same live, in a simulation and over a recorded trace.

Phases and steps are the table `TRANSITIONS`. A step that it lacks raises `ProtocolError` and changes nothing.
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
from duologue.errors import ProtocolError

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
        """`instructions`: what every prompt begins with; `persona`: the name of who speaks."""
        policy = policy or Policy()
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
        except (KeyError, TypeError) as error:
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
