"""What couples the user's turn and the agent's reply: the joint rules, as a table.

The machines know nothing of each other. Here stands, for each thing that can happen and each pair of states that it can
happen in, the one rule that applies; where the table has none, it can't happen: a hand that cannot know better is
refused, and nothing has changed.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from duologue.core import judging, replies, rules, tools, turns, waiting
from duologue.core.actions import RefuseSay, ReplyOver, TurnDismissed, TurnEnded
from duologue.core.events import (
    FinalTranscript,
    HeardCorrected,
    InterruptRequested,
    PartialTranscript,
    RecognitionFailed,
    ReplyEnded,
    SpeechStarted,
    SpeechStopped,
    TurnCleared,
    TurnCommitted,
    TurnJudged,
    TurnOpened,
    TypedTurn,
)
from duologue.core.machines import Name, ReplyStep, TurnState
from duologue.core.state import Core, Timer
from duologue.errors import ProtocolError


class Happening(Name):
    """What both machines have a part in."""

    VOICE_ON = "voice on"
    VOICE_OFF = "voice off"
    WORDS = "new words of the turn"
    FINAL_OVERDUE = "the final is overdue"
    TURN_BOUND = "the turn is as long as it may be"
    OPENED = "turn opened by hand"
    COMMITTED = "turn committed by hand"
    CLEARED = "turn cleared by hand"
    TYPED = "a typed turn"
    STOPPED = "silenced by hand"
    REPLY_ENDED = "the reply ended"
    CLOSING = "the session closes"


class Holder(Name):
    """Whether a reply has the floor. A speculative one has not."""

    NO_REPLY = "no reply"
    AGENT = "the agent"


Joint = tuple[TurnState, Holder]
Rule = Callable[[Core, Any], None]

_NO_TURN: Final[Joint] = (TurnState.IDLE, Holder.NO_REPLY)
_SPEAKING: Final[Joint] = (TurnState.SPEAKING, Holder.NO_REPLY)
_PAUSING: Final[Joint] = (TurnState.PAUSING, Holder.NO_REPLY)
_OVER: Final[Joint] = (TurnState.OVER, Holder.NO_REPLY)
_AGENT: Final[Joint] = (TurnState.IDLE, Holder.AGENT)
_SPEAKING_OVER_AGENT: Final[Joint] = (TurnState.SPEAKING, Holder.AGENT)
_PAUSING_OVER_AGENT: Final[Joint] = (TurnState.PAUSING, Holder.AGENT)
_OVER_BESIDE_AGENT: Final[Joint] = (TurnState.OVER, Holder.AGENT)
_PARKED: Final[Joint] = (TurnState.PARKED, Holder.AGENT)

RULES: Final[Mapping[Happening, Mapping[Joint, Rule]]] = {
    Happening.VOICE_ON: {
        _NO_TURN: rules.begin_turn,
        _SPEAKING: rules.go_on_in_turn,
        _PAUSING: rules.go_on_after_pause,
        _OVER: rules.go_on_after_commit,
        _AGENT: rules.talk_over,
        _PAUSING_OVER_AGENT: rules.talk_over_again,
        _PARKED: rules.talk_over,
        _SPEAKING_OVER_AGENT: rules.go_on_in_turn,  # a hand's own
        _OVER_BESIDE_AGENT: rules.nothing,  # it waits for the agent; what is said now follows it
    },
    Happening.VOICE_OFF: {
        _NO_TURN: rules.nothing,  # of voice that is nobody's turn
        _SPEAKING: rules.pause,
        _OVER: rules.nothing,  # committed in mid-voice
        _AGENT: rules.nothing,
        _SPEAKING_OVER_AGENT: rules.pause_over_agent,
        _PARKED: rules.nothing,
        _OVER_BESIDE_AGENT: rules.nothing,
    },
    Happening.WORDS: {
        _SPEAKING: rules.drop_stale_speculation,
        _PAUSING: rules.count_anew,
        _OVER: rules.count_anew,
        _SPEAKING_OVER_AGENT: rules.judge_words,
        _PAUSING_OVER_AGENT: rules.judge_words,
        _PARKED: rules.judge_late_words,
        _OVER_BESIDE_AGENT: rules.nothing,
    },
    Happening.FINAL_OVERDUE: {
        _PAUSING: rules.take_last_partial,
        _OVER: rules.take_last_partial,
        _PARKED: rules.give_up_parked,
        _OVER_BESIDE_AGENT: rules.take_last_partial,
    },
    Happening.TURN_BOUND: {
        _SPEAKING: rules.commit,
        _PAUSING: rules.commit,
        _OVER: rules.nothing,
        _SPEAKING_OVER_AGENT: rules.bound_again,
        _PAUSING_OVER_AGENT: rules.bound_again,
        _PARKED: rules.bound_again,
        _OVER_BESIDE_AGENT: rules.nothing,
    },
    Happening.OPENED: {
        _NO_TURN: rules.open_by_hand,
        _SPEAKING: rules.open_by_hand,
        _PAUSING: rules.open_by_hand,
        _OVER: rules.open_by_hand,
        _AGENT: rules.open_over_agent,
        _SPEAKING_OVER_AGENT: rules.open_over_agent,
        _PAUSING_OVER_AGENT: rules.open_over_agent,
        _PARKED: rules.open_over_agent,
        _OVER_BESIDE_AGENT: rules.open_over_agent,
    },
    Happening.COMMITTED: {
        _SPEAKING: rules.commit,
        _PAUSING: rules.commit,
        _OVER: rules.nothing,
        _SPEAKING_OVER_AGENT: rules.commit_over_agent,
        _PAUSING_OVER_AGENT: rules.commit_over_agent,
        _PARKED: rules.commit_parked,
        _OVER_BESIDE_AGENT: rules.nothing,
    },
    Happening.CLEARED: {
        _SPEAKING: rules.forget_turn,
        _PAUSING: rules.forget_turn,
        _OVER: rules.forget_turn,
        _SPEAKING_OVER_AGENT: rules.forget_over_agent,
        _PAUSING_OVER_AGENT: rules.forget_over_agent,
        _PARKED: rules.forget_parked,
        _OVER_BESIDE_AGENT: rules.forget_parked,
    },
    Happening.TYPED: {
        _NO_TURN: rules.answer_next,
        _SPEAKING: rules.join_turn,
        _PAUSING: rules.join_turn,
        _OVER: rules.join_turn,
        _AGENT: rules.answer_instead,
        _SPEAKING_OVER_AGENT: rules.join_over_agent,
        _PAUSING_OVER_AGENT: rules.join_over_agent,
        _PARKED: rules.answer_instead,
        _OVER_BESIDE_AGENT: rules.join_turn,
    },
    Happening.STOPPED: {
        _NO_TURN: rules.nothing,
        _SPEAKING: rules.nothing,
        _PAUSING: rules.nothing,
        _OVER: rules.nothing,
        _AGENT: rules.stop_agent,
        _SPEAKING_OVER_AGENT: rules.stop_agent_in_turn,
        _PAUSING_OVER_AGENT: rules.stop_agent_in_turn,
        _PARKED: rules.stop_agent,
        _OVER_BESIDE_AGENT: rules.stop_agent_in_turn,
    },
    Happening.REPLY_ENDED: {
        _AGENT: rules.nothing,
        _SPEAKING_OVER_AGENT: rules.take_floor,
        _PAUSING_OVER_AGENT: rules.take_floor,
        _PARKED: rules.take_floor,
        _OVER_BESIDE_AGENT: rules.take_floor,
    },
    Happening.CLOSING: {
        _NO_TURN: rules.nothing,
        _SPEAKING: rules.dismiss_for_closing,
        _PAUSING: rules.dismiss_for_closing,
        _OVER: rules.dismiss_for_closing,
        _AGENT: rules.nothing,
        _SPEAKING_OVER_AGENT: rules.false_alarm_for_closing,
        _PAUSING_OVER_AGENT: rules.false_alarm_for_closing,
        _PARKED: rules.dismiss_parked_for_closing,
        _OVER_BESIDE_AGENT: rules.dismiss_parked_for_closing,
    },
}


def apply(core: Core, happening: Happening, about: Any = None) -> None:
    """Follow the rule for `happening`, here and now. `about`: what the rule is told of it.

    Raises `ProtocolError`, and nothing has changed, where there is no rule.
    """
    rule_for(core, happening)(core, about)


def rule_for(core: Core, happening: Happening) -> Rule:
    """The rule for `happening`, here and now. Raises `ProtocolError` where there is none."""
    joint = (core.turn_state, Holder.AGENT if core.agent_has_floor else Holder.NO_REPLY)
    rule = RULES[happening].get(joint)
    if rule is None:
        raise ProtocolError(f"{happening!s} can't happen while {core.phase!s}")
    return rule


def speech_started(core: Core, event: SpeechStarted) -> None:
    """Voice. It opens a turn, continues one, or talks over the agent."""
    state = core.state
    if state.voice:
        raise ProtocolError("speech can't start twice")
    if state.closing or (not core.automatic and not turns.open_by_hand(state.turn)):
        state.voice = True  # nobody listens now; the stop must find its start all the same
        return
    rule = rule_for(core, Happening.VOICE_ON)
    state.voice = True
    rule(core, event.since)
    core.turn.voice_since = event.since


def speech_stopped(core: Core, event: SpeechStopped) -> None:
    """The voice paused: ask for the final at once, decide later whether the turn is over."""
    state = core.state
    if not state.voice:
        raise ProtocolError("speech can't stop before it has started")
    rule = rule_for(core, Happening.VOICE_OFF)
    state.voice = False
    rule(core, event.until)


def partial(core: Core, event: PartialTranscript) -> None:
    """A new hypothesis of the open turn; one of another turn is late and dropped."""
    if turn := turns.numbered(core, event.turn):
        turn.text = event.text
        turn.evidence = turns.settled_words(event)
        apply(core, Happening.WORDS)


def final(core: Core, event: FinalTranscript) -> None:
    """The recogniser's last word up to some stop. One that was given up is welcome as long as the turn is open."""
    turn = turns.numbered(core, event.turn)
    if turn is None or not turn.heard_mark < event.mark <= turn.mark:
        return
    turn.text, turn.heard_mark = event.text, event.mark
    turn.final_mark = max(turn.final_mark, event.mark)
    turn.evidence = turns.sure_words(core, event)
    turn.language = event.language or turn.language
    if turn.text:
        core.state.language = turn.language or core.state.language
    apply(core, Happening.WORDS)


def judged(core: Core, event: TurnJudged) -> None:
    """A judge's newest word on the open turn; one on another turn is late and dropped."""
    if turn := turns.numbered(core, event.turn):
        judging.remember(turn, event)
        apply(core, Happening.WORDS)


def recognition_failed(core: Core, event: RecognitionFailed) -> None:
    """No more words will come: what there is must do."""
    if turn := turns.numbered(core, event.turn):
        turn.failed = event.error
        turn.final_mark = turn.mark
        apply(core, Happening.WORDS)


def final_overdue(core: Core) -> None:
    """The recogniser is too late."""
    apply(core, Happening.FINAL_OVERDUE)


def turn_too_long(core: Core) -> None:
    """A turn at its bound."""
    apply(core, Happening.TURN_BOUND)


def opened(core: Core, event: TurnOpened) -> None:
    """Push-to-talk pressed: a turn is open until it is committed.

    A turn that the voice has begun, or that was just committed and is still being recognised, goes on by hand.
    """
    if core.state.closing:
        raise ProtocolError("a turn can't be opened while the session is closing")
    if turns.open_by_hand(core.state.turn):
        raise ProtocolError("the turn is open already")
    apply(core, Happening.OPENED, event.interrupt)


def committed(core: Core, event: TurnCommitted) -> None:
    """The user says that the turn is over."""
    apply(core, Happening.COMMITTED)


def cleared(core: Core, event: TurnCleared) -> None:
    """The user takes the open turn back."""
    apply(core, Happening.CLEARED)


def typed(core: Core, event: TypedTurn) -> None:
    """A typed turn: joins the spoken turn that is open, else silences the agent and is answered next."""
    state = core.state
    if state.closing:
        core.do(RefuseSay(event.text, "closing"))
    elif not event.reply:
        state.turns += 1
        images = event.images[: turns.IMAGES_MAX]
        author = event.author or turns.caller_name(core)
        core.history.add_user(state.turns, event.text, images, author=author)
        core.do(TurnEnded(state.turns, event.text, images, author=author))
        core.do(TurnDismissed(state.turns, "no reply wanted", event.text))
    else:
        apply(core, Happening.TYPED, event)


def interrupt_wanted(core: Core, event: InterruptRequested) -> None:
    """A stop button: the agent is silent, and what it was still going to say is dropped."""
    waiting.refuse_queued(core, "stopped", ("say",))
    apply(core, Happening.STOPPED)


def ended(core: Core, event: ReplyEnded) -> None:
    """A reply is silent for good: by itself, or because it was cancelled."""
    for reply in core.state.cutting:
        if reply.number == event.reply:
            rules.confirm_cut(core, reply, event.heard)
            return
    over = replies.live(core, event.reply)
    if over is None:
        # a cut that was confirmed too late
        replies.heard_corrected(core, HeardCorrected(event.at, event.reply, event.heard))
        return
    if not over.released:
        raise ProtocolError(f"reply {event.reply} ended before its turn was over")
    rule = rule_for(core, Happening.REPLY_ENDED)
    core.reply_to(over, ReplyStep.END)
    core.state.reply = None
    tools.abandon(core, over, "ended")  # the synthesiser broke while they ran
    core.disarm(Timer.FILLER, Timer.UNHEARD)
    if over.options.in_history:
        replies.remember(core, over, event.heard, cut=event.cut or bool(over.failed))
    core.do(ReplyOver(over.number, over.tag, event.heard, "failed" if over.failed else ""))
    if over.failed and not over.apology:
        waiting.apologise(core)
    rule(core, over)
