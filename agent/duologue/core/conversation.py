"""The turn-taking core: every decision of a conversation is taken behind this door, and nothing else is.

Theory of operation. `feed(event)` says what happened, `advance(now)` that time has passed; both return the actions that
the shell carries out, in order, at once. `deadline` is when `advance` wants to be called next. The core has no clock,
does no I/O and never waits, so it runs the same live, in a simulation and over a recorded trace.

Phases and steps are the table `TRANSITIONS`. A step that it lacks raises `ProtocolError` and changes nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from duologue.core import events as ev
from duologue.core import judging, listening, overlap, speaking, tools
from duologue.core.actions import Action
from duologue.core.codec import from_data, to_data
from duologue.core.handover import take_over
from duologue.core.history import History, Item, agent_messages
from duologue.core.messages import Message
from duologue.core.policy import Policy
from duologue.core.state import TRANSITIONS, Core, Phase, State, Timer, Trigger
from duologue.errors import ProtocolError

__all__ = ["TRANSITIONS", "Conversation", "Phase", "Timer", "Trigger"]

HANDLERS: Final[Mapping[type[ev.Event], Callable[[Core, Any], None]]] = {
    ev.SpeechStarted: listening.speech_started,
    ev.SpeechStopped: listening.speech_stopped,
    ev.PartialTranscript: listening.partial,
    ev.FinalTranscript: listening.final,
    ev.RecognitionFailed: listening.recognition_failed,
    ev.TurnJudged: judging.judged,
    ev.TurnOpened: listening.opened,
    ev.TurnCommitted: listening.committed,
    ev.TurnCleared: listening.cleared,
    ev.TypedTurn: speaking.typed,
    ev.ImagesShown: listening.images_shown,
    ev.ReplyRequested: speaking.reply_wanted,
    ev.SayRequested: speaking.say,
    ev.InterruptRequested: speaking.interrupt_wanted,
    ev.PackChanged: listening.pack_changed,
    ev.EndpointingChanged: listening.endpointing_changed,
    ev.CloseRequested: speaking.close_wanted,
    ev.ReplyText: speaking.text_added,
    ev.ReplyGenerated: speaking.generated,
    ev.ReplyHeard: speaking.heard_first,
    ev.HeardSoFar: speaking.heard_so_far,
    ev.ReplyEnded: speaking.ended,
    ev.HeardCorrected: speaking.heard_corrected,
    ev.ReplyFailed: speaking.failed,
    ev.ToolRequested: tools.requested,
    ev.ToolReturned: tools.returned,
    ev.SummaryMade: speaking.summarised,
}

TIMERS: Final[Mapping[Timer, Callable[[Core], None]]] = {
    Timer.ENDPOINT: listening.silence_long_enough,
    Timer.FINAL: listening.final_overdue,
    Timer.TURN: listening.turn_too_long,
    Timer.HOLD: overlap.hold,
    Timer.VOICE: overlap.voice_long_enough,
    Timer.VERDICT: overlap.verdict_overdue,
    Timer.CUT: speaking.cut_overdue,
    Timer.FILLER: tools.filler_due,
    Timer.UNHEARD: speaking.unheard_too_long,
    Timer.IDLE: speaking.idle_too_long,
    Timer.SESSION: speaking.session_too_long,
    Timer.CLOSE: speaking.close_overdue,
}

# What still counts when the session is closed: the confirmation of the last cut.
CLOSED_ACCEPTS: Final = (ev.ReplyEnded, ev.HeardCorrected)
# What only tells of stages and is dropped by number when late; in a closed session it is dropped as well.
RESULTS: Final = (
    ev.PartialTranscript, ev.FinalTranscript, ev.RecognitionFailed, ev.ReplyText, ev.ReplyGenerated, ev.ReplyHeard,
    ev.HeardSoFar, ev.ReplyFailed, ev.ToolRequested, ev.ToolReturned, ev.SummaryMade, ev.CloseRequested,
    ev.SpeechStarted, ev.SpeechStopped, ev.TurnJudged,
)  # fmt: skip


# Phases that are about an open turn, and those that are about a live reply.
TURN_OPEN: Final = (Phase.USER_SPEAKING, Phase.ENDPOINTING, Phase.OVERLAP)
REPLY_LIVE: Final = (Phase.THINKING, Phase.AGENT_SPEAKING, Phase.OVERLAP)


class Conversation:
    """One conversation, decided. All times are session seconds."""

    def __init__(self, policy: Policy | None = None, *, system: str = "", pack: str = "") -> None:
        """`system`: the instructions that every prompt begins with; `pack`: their name, for the trace."""
        policy = policy or Policy()
        state = State(
            automatic=policy.endpointing.mode == "automatic",
            reply_automatically=policy.reply.automatic,
            pack=pack,
        )
        self._core = Core(policy, state, History(policy.history, system))
        if policy.limits.session_s_max is not None:
            self._core.arm(Timer.SESSION, policy.limits.session_s_max)
        speaking.settle(self._core)

    # --- beats ----------------------------------------------------------------------------------------------------

    def feed(self, event: ev.Event) -> list[Action]:
        """Take `event`; return what to do about it.

        Raises `ProtocolError` for time running backwards and for an event that this phase has no step for. Nothing has
        changed then, except that deadlines up to the event were met; what they ask for comes with the next call.
        """
        state = self._core.state
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
        handler(self._core, event)
        speaking.settle(self._core)

    def advance(self, now: float) -> list[Action]:
        """Time is `now`: meet the deadlines up to it, in their order; return what to do."""
        self._meet_deadlines(now)
        self._core.state.now = max(self._core.state.now, now)
        return self._take_actions()

    def _meet_deadlines(self, until: float) -> None:
        core = self._core
        while (deadline := self.deadline) is not None and deadline <= until:
            core.state.now = max(core.state.now, deadline)
            self._meet(deadline)
            speaking.settle(core)

    def _meet(self, deadline: float) -> None:
        core = self._core
        for name, at in core.state.timers.items():
            if at <= deadline:
                del core.state.timers[name]
                TIMERS[name](core)
                return
        tools.overdue(core)

    def _take_actions(self) -> list[Action]:
        actions, self._core.actions = self._core.actions, []
        return actions

    @property
    def deadline(self) -> float | None:
        """The session second at which `advance` must be called at the latest, or None."""
        timers = self._core.state.timers
        first = min(timers.values()) if timers else None
        tool = tools.deadline(self._core)
        return tool if first is None or (tool is not None and tool < first) else first

    # --- what can be seen -----------------------------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        """Who has the floor."""
        return self._core.state.phase

    @property
    def now(self) -> float:
        """The session second of the last event or `advance`."""
        return self._core.state.now

    @property
    def reply(self) -> int:
        """Number of the live reply, 0 for none."""
        reply = self._core.state.reply
        return reply.number if reply else 0

    @property
    def turn(self) -> int:
        """Number of the user's open turn, 0 for none."""
        turn = self._core.state.turn
        return turn.number if turn else 0

    @property
    def language(self) -> str | None:
        """The language (BCP 47) that the user spoke last, as far as the recogniser could tell."""
        return self._core.state.language

    @property
    def pack(self) -> str:
        """Name of the pack that speaks."""
        return self._core.state.pack

    @property
    def history(self) -> tuple[Item, ...]:
        """What was said and heard, oldest first, since the summary."""
        return tuple(self._core.history.items)

    @property
    def summary(self) -> str:
        """What stands for everything before `history`."""
        return self._core.history.summary

    def to_summarise(self, items: int) -> list[Message]:
        """The old summary and the first `items` items, as messages, for the model that summarises them."""
        history = History(self._core.policy.history)
        history.summary = self._core.history.summary
        history.items = self._core.history.items[:items]
        return history.messages()

    def prompt(self, reply: int) -> list[Message]:
        """What the model is asked for the live reply number `reply`, now; empty if that is not live.

        For a speculative reply the user's words stand at the end although they are not history yet; for one that has
        used tools its own text so far and the results.
        """
        core = self._core
        making = speaking.live(core, reply)
        if making is None:
            return []
        turn = core.state.turn
        if making.released or turn is None:
            messages = core.history.messages(making.instructions)
        else:
            continued = core.history.user_item(turn.merged)
            images = (*(continued.images if continued else ()), *core.state.images)
            messages = core.history.messages(making.instructions, without=continued)
            messages.append(Message("user", turn.words, images=images))
        return messages + agent_messages(making.text, making.rounds)

    # --- handing over ---------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """All of the conversation but its policy, as data that `json.dumps` takes."""
        history = self._core.history
        return {
            "state": to_data(self._core.state),
            "system": history.system,
            "summary": history.summary,
            "items": to_data(history.items),
        }

    @classmethod
    def restore(cls, policy: Policy, snapshot: Mapping[str, Any]) -> "Conversation":
        """The conversation exactly as it was when `snapshot` was taken. `ValueError` if that is not one."""
        conversation = cls(policy)
        try:
            conversation._core.state = state = from_data(State, snapshot["state"])
            history = conversation._core.history
            history.system, history.summary = from_data(str, snapshot["system"]), from_data(str, snapshot["summary"])
            history.restore(from_data(Item, item) for item in snapshot["items"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a snapshot of a conversation: {error}") from error
        if (state.turn is None and state.phase in TURN_OPEN) or (state.reply is None and state.phase in REPLY_LIVE):
            raise ValueError(f"not a snapshot of a conversation: nothing that it could be {state.phase!s} of")
        return conversation

    def take_over(self) -> list[Action]:
        """After `restore` in another process: begin again what died with the old one; return what to do.

        An open turn keeps its words and is recognised on; a reply goes on after its last heard word; tools that may run
        twice do, of the others the model is told that their result is unknown.
        """
        take_over(self._core)
        speaking.settle(self._core)
        return self._take_actions()
