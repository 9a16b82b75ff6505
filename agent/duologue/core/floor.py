"""What couples the user's turn and the agent's reply: who has the floor, and what takes it from them."""

from duologue.core import overlap, replies, tools, turns, waiting
from duologue.core.actions import RefuseSay, TruncateHistory, TurnDismissed, TurnEnded
from duologue.core.events import (
    FinalTranscript,
    HeardCorrected,
    ImagesShown,
    InterruptRequested,
    PartialTranscript,
    RecognitionFailed,
    ReplyEnded,
    SpeechStarted,
    SpeechStopped,
    TurnCleared,
    TurnCommitted,
    TurnOpened,
    TypedTurn,
)
from duologue.core.state import AGENT_HAS_FLOOR, Core, Phase, Reply, Timer, Trigger, Turn, Wish, joined
from duologue.errors import ProtocolError

# Voice that began so shortly before the agent's last word, and outlasts it, answers it rather than accompanies it.
EARLY_ANSWER_S = 0.7


def speech_started(core: Core, event: SpeechStarted) -> None:
    """Voice. It opens a turn, continues one, or talks over the agent."""
    state = core.state
    if state.voice:
        raise ProtocolError("speech can't start twice")
    if state.closing or (not state.automatic and not turns.open_by_hand(state.turn)):
        state.voice = True  # nobody listens now; the stop must find its start all the same
        return
    _voice(core, event.since)


def _voice(core: Core, since: float) -> None:
    before = core.state.phase
    core.go(Trigger.SPEECH_STARTED)
    core.state.voice = True
    if before is Phase.LISTENING:
        turns.open_turn(core, since)
    elif before is Phase.ENDPOINTING:
        _go_on(core, since)
    elif before in AGENT_HAS_FLOOR:
        overlap.begin(core, since)
    elif before is Phase.OVERLAP:
        overlap.voice_again(core, since)
    core.turn.voice_since = since


def _voice_runs_on(core: Core, turn: Turn) -> None:
    """`turn` is over, in mid-voice: it was committed, or reached its bound. What follows continues it."""
    if core.state.voice and core.state.automatic:
        _voice(core, turn.voice_until)


def speech_stopped(core: Core, event: SpeechStopped) -> None:
    """The voice paused: ask for the final at once, decide later whether the turn is over."""
    state = core.state
    if not state.voice:
        raise ProtocolError("speech can't stop before it has started")
    core.go(Trigger.SPEECH_STOPPED)
    state.voice = False
    turn = state.turn
    if turn is None or turn.over:
        return
    turn.voice_until = event.until
    turn.voiced_s += max(0.0, event.until - turn.voice_since)
    turns.finalise(core, turn)
    if state.phase is Phase.OVERLAP:
        overlap.voice_over(core)
    else:
        turns.arm_endpoint(core)


def _go_on(core: Core, since: float) -> None:
    turn = core.turn
    core.disarm(Timer.ENDPOINT, Timer.FINAL)
    if turn.over:  # a commit that is overtaken by the voice; silence ends the turn now
        turn.over = turn.by_hand = False
        turns.bound(core, turn)
    turns.remember_pause(core, since - turn.voice_until)


def partial(core: Core, event: PartialTranscript) -> None:
    """A new hypothesis of the open turn; one of another turn is late and dropped."""
    if turn := turns.numbered(core, event.turn):
        turn.text = event.text
        turn.evidence = turns.settled_words(event)
        _words_changed(core)


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
    _words_changed(core)


def recognition_failed(core: Core, event: RecognitionFailed) -> None:
    """No more words will come: what there is must do."""
    if turn := turns.numbered(core, event.turn):
        turn.failed = event.error
        turn.final_mark = turn.mark
        _words_changed(core)


def _words_changed(core: Core) -> None:
    state = core.state
    if state.phase is Phase.OVERLAP:
        overlap.words_changed(core)
        floor_is_free(core)
    elif state.phase in AGENT_HAS_FLOOR:
        overlap.late_words(core)
        floor_is_free(core)
    elif state.phase is Phase.USER_SPEAKING:
        turns.drop_stale_speculation(core)
    else:
        floor_is_free(core)


def floor_is_free(core: Core) -> None:
    """While endpointing, whenever something that counts has changed: count the silence anew, speculate, end."""
    if core.state.phase is Phase.ENDPOINTING:
        turns.arm_endpoint(core)
        turns.speculate(core)
        try_end_turn(core)


def silence_long_enough(core: Core) -> None:
    """The endpoint: the turn ends as soon as its final is there."""
    turn = core.turn
    turn.over = True
    core.arm(Timer.FINAL, max(core.state.now, turn.voice_until + core.policy.endpointing.final_s_max))
    try_end_turn(core)


def final_overdue(core: Core) -> None:
    """The recogniser is too late: the last partial stands; a parked turn is given up."""
    turn = core.turn
    turn.final_mark = turn.mark
    if core.state.phase in AGENT_HAS_FLOOR:
        turns.dismiss_parked(core, overlap.what_it_was(core, turn))
    else:
        try_end_turn(core)


def turn_too_long(core: Core) -> None:
    """A turn at its bound is ended as if it had been committed; what follows continues it, as a turn of its own.

    While the agent can't be interrupted the bound waits.
    """
    if core.state.phase in (Phase.USER_SPEAKING, Phase.ENDPOINTING):
        _commit(core)
    else:
        core.arm(Timer.TURN, core.state.now + core.policy.endpointing.turn_s_max)


def opened(core: Core, event: TurnOpened) -> None:
    """Push-to-talk pressed: the agent falls silent and a turn is open until it is committed.

    A turn that the voice has begun, or that was just committed and is still being recognised, goes on by hand.
    """
    state = core.state
    if state.closing:
        raise ProtocolError("a turn can't be opened while the session is closing")
    if turns.open_by_hand(state.turn):
        raise ProtocolError("the turn is open already")
    over_agent = state.phase in (*AGENT_HAS_FLOOR, Phase.OVERLAP)
    core.go(Trigger.TURN_OPENED)
    core.disarm(Timer.HOLD, Timer.VOICE, Timer.VERDICT, Timer.FINAL, Timer.ENDPOINT)
    if turn := state.turn:
        turn.by_hand, turn.alarm, turn.over = True, False, False
        turns.bound(core, turn)
    else:
        turns.open_turn(core, event.at, by_hand=True)
    if over_agent:
        replies.cancel(core, "interrupted")


def committed(core: Core, event: TurnCommitted) -> None:
    """The caller says that the turn is over."""
    _commit(core)


def _commit(core: Core) -> None:
    state = core.state
    core.go(Trigger.TURN_COMMITTED)
    turn = core.turn
    if turn.over:
        return
    if state.voice:
        turn.voice_until = state.now
        turn.voiced_s += max(0.0, state.now - turn.voice_since)
    if state.voice or turn.by_hand or turn.mark == 0:
        turns.finalise(core, turn)
    turn.over = True
    core.disarm(Timer.ENDPOINT, Timer.TURN)
    core.arm(Timer.FINAL, state.now + core.policy.endpointing.final_s_max)
    try_end_turn(core)


def cleared(core: Core, event: TurnCleared) -> None:
    """The caller takes the open turn back."""
    state = core.state
    if state.phase is Phase.OVERLAP:
        overlap.false_alarm(core, "cleared")
    elif state.phase in AGENT_HAS_FLOOR and state.turn:
        turns.dismiss_parked(core, "cleared")
    else:
        turns.dismiss(core, "cleared")
        state.images = []


def try_end_turn(core: Core) -> None:
    """End the turn if it is over, its final is there, and it is known what of a cut reply was heard."""
    state, turn = core.state, core.state.turn
    if state.phase is not Phase.ENDPOINTING or turn is None or not turn.over:
        return
    if turn.final_mark < turn.mark or state.cutting:
        return
    reason = turns.reason_to_dismiss(core, turn)
    if reason:
        turns.dismiss(core, reason)
    else:
        turns.end(core, turn)
    _voice_runs_on(core, turn)


def dismiss_for_closing(core: Core) -> None:
    """The session closes: nobody answers the open turn any more."""
    phase = core.state.phase
    if phase in (Phase.USER_SPEAKING, Phase.ENDPOINTING):
        turns.dismiss(core, "closing")
    elif phase is Phase.OVERLAP:
        overlap.false_alarm(core, "closing")
    elif phase in AGENT_HAS_FLOOR:
        turns.dismiss_parked(core, "closing")


def take_floor(core: Core, reply: Reply | None) -> None:
    """The reply that the turn began over is gone. If it went by itself, was that an answer or only company to it?"""
    turn = core.turn
    turns.change_pack(core)
    core.disarm(Timer.HOLD, Timer.VOICE, Timer.VERDICT)
    if reply is None or reply.asks or core.state.now - turn.voice_since <= EARLY_ANSWER_S:
        turn.alarm = False
    floor_is_free(core)


def images_shown(core: Core, event: ImagesShown) -> None:
    """Images for the open turn, or for the next one. A reply that was begun without them is begun anew."""
    turns.show(core, event.images)
    floor_is_free(core)


def unheard_too_long(core: Core) -> None:
    """The model or the synthesiser hangs: give the reply up and say so. Tools have time limits of their own."""
    state, reply = core.state, core.reply
    if reply.heard and reply.text:  # a filler that was heard is no answer
        return
    if reply.calls or state.phase not in AGENT_HAS_FLOOR:
        core.arm(Timer.UNHEARD, state.now + core.policy.reply.unheard_s_max)
        return
    silence(core, "late")
    if not reply.apology:
        waiting.apologise(core)


def ended(core: Core, event: ReplyEnded) -> None:
    """A reply is silent for good: by itself, or because it was cancelled."""
    state = core.state
    for reply in state.cutting:
        if reply.number == event.reply:
            confirm_cut(core, reply, event.heard)
            return
    if (over := replies.live(core, event.reply)) is None:
        replies.heard_corrected(
            core, HeardCorrected(event.at, event.reply, event.heard)
        )  # a cut that was confirmed too late
        return
    if not over.released:
        raise ProtocolError(f"reply {event.reply} ended before its turn was over")
    core.go(_trigger_at_end(core))
    state.reply = None
    tools.abandon(core, over, "ended")  # the synthesiser broke while they ran
    core.disarm(Timer.FILLER, Timer.UNHEARD)
    if over.in_history:
        core.history.add_agent(over.number, event.heard, cut=event.cut or bool(over.failed), rounds=over.rounds)
    if over.failed and not over.apology:
        waiting.apologise(core)
    if state.phase in (Phase.USER_SPEAKING, Phase.ENDPOINTING):
        take_floor(core, over)


def _trigger_at_end(core: Core) -> Trigger:
    if core.state.turn is None:
        return Trigger.REPLY_ENDED
    return Trigger.REPLY_ENDED_UNDER_VOICE if core.state.voice else Trigger.REPLY_ENDED_AFTER_VOICE


def confirm_cut(core: Core, reply: Reply, heard: str, *, is_sure: bool = True) -> None:
    """The cancelled `reply` was heard as far as `heard`. A reply that never was released leaves no trace.

    `is_sure` False: it was heard, and how far may still be told; it keeps its place in the history for that.
    """
    state = core.state
    state.cutting.remove(reply)
    if not state.cutting:
        core.disarm(Timer.CUT)
    if reply.released:
        if reply.in_history:
            keep = reply.heard and not is_sure
            core.history.add_agent(reply.number, heard, cut=True, rounds=reply.rounds, keep=keep)
            core.do(TruncateHistory(reply.number, heard))
        if not heard.strip() and reply.cancelled != "stopped":
            turns.merge_unanswered(core, reply)
    floor_is_free(core)


def cut_overdue(core: Core) -> None:
    """Nobody confirmed the cut: what was last reported stands; the far side may correct it later."""
    for reply in list(core.state.cutting):
        confirm_cut(core, reply, reply.heard_text, is_sure=False)


def typed(core: Core, event: TypedTurn) -> None:
    """A typed turn: joins the spoken turn that is open, else silences the agent and is answered next."""
    state = core.state
    if state.closing:
        core.do(RefuseSay(event.text, "closing"))
    elif not event.reply:
        state.turns += 1
        images = event.images[: turns.IMAGES_MAX]
        core.history.add_user(state.turns, event.text, images)
        core.do(TurnEnded(state.turns, event.text, images))
        core.do(TurnDismissed(state.turns, "no reply wanted", event.text))
    elif state.phase in (Phase.USER_SPEAKING, Phase.ENDPOINTING, Phase.OVERLAP):
        _join(core, event)
    else:
        waiting.wish(core, Wish("typed", event.text, images=event.images))
        if state.phase in AGENT_HAS_FLOOR and core.reply.interruptible:
            silence(core, "superseded")


def _join(core: Core, event: TypedTurn) -> None:
    """What is typed while a turn is spoken is part of it, and needs no judging."""
    turn = core.turn
    turn.prefix, turn.alarm = joined(turn.prefix, event.text), False
    turns.show(core, event.images)
    if core.state.phase is Phase.OVERLAP and core.reply.interruptible:
        overlap.interrupt(core)
    floor_is_free(core)


def silence(core: Core, reason: str) -> None:
    """Take the floor from the agent, for nobody."""
    core.go(Trigger.SILENCED)
    turns.dismiss_parked(core, reason)
    replies.cancel(core, reason)


def interrupt_wanted(core: Core, event: InterruptRequested) -> None:
    """A stop button: the agent is silent, and what it was still going to say is dropped."""
    state = core.state
    waiting.refuse_waiting(core, "stopped", ("say",))
    if state.phase in AGENT_HAS_FLOOR:
        silence(core, "stopped")
    elif state.phase is Phase.OVERLAP:
        core.go(Trigger.JUDGED_INTERRUPTION if state.voice else Trigger.JUDGED_INTERRUPTION_LATE)
        replies.cancel(core, "stopped")
        take_floor(core, None)
