"""What each joint rule does: one takes the floor, the other loses it, or neither. `floor` says when which applies."""

from duologue.core import overlap, replies, turns, waiting
from duologue.core.actions import ReplyOver, TruncateHistory
from duologue.core.events import ImagesShown, TypedTurn
from duologue.core.machines import ReplyStep, TurnState, TurnStep
from duologue.core.state import Core, QueuedReply, Reply, Timer, joined

# Voice that began so shortly before the agent's last word, and outlasts it, answers it rather than accompanies it.
EARLY_ANSWER_S = 0.7


def nothing(core: Core, about: object) -> None:
    """Nothing."""


# --- voice ----------------------------------------------------------------------------------------------------------


def begin_turn(core: Core, since: float) -> None:
    """A turn begins."""
    turns.change_persona(core)
    turns.open_turn(core, since)


def go_on_in_turn(core: Core, since: float) -> None:
    """The turn goes on."""
    core.turn_to(TurnStep.VOICE)


def go_on_after_pause(core: Core, since: float) -> None:
    """The user pauses no longer: how long they did stretches the next wait."""
    core.turn_to(TurnStep.VOICE)
    core.disarm(Timer.ENDPOINT, Timer.FINAL)
    turns.remember_pause(core, since - core.turn.voice_until)


def go_on_after_commit(core: Core, since: float) -> None:
    """A commit is overtaken by the voice; silence ends the turn now."""
    go_on_after_pause(core, since)
    core.turn.by_hand = False
    turns.bound(core, core.turn)


def talk_over(core: Core, since: float) -> None:
    """The user talks over the agent: hold, then judge."""
    overlap.begin(core, since)


def talk_over_again(core: Core, since: float) -> None:
    """The voice came back before the verdict: both bursts are one."""
    overlap.voice_again(core, since)


def pause(core: Core, until: float) -> None:
    """Ask for the final; count the silence."""
    _pause(core, until)
    turns.arm_endpoint(core)


def pause_over_agent(core: Core, until: float) -> None:
    """Ask for the final; the recogniser has a moment to say what it was."""
    _pause(core, until)
    overlap.voice_over(core)


def _pause(core: Core, until: float) -> None:
    turn = core.turn
    core.turn_to(TurnStep.SILENCE)
    turn.voice_until = until
    turn.voiced_s += max(0.0, until - turn.voice_since)
    turns.finalise(core, turn)


# --- words ----------------------------------------------------------------------------------------------------------


def drop_stale_speculation(core: Core, about: object) -> None:
    """A reply that was begun to other words is cut."""
    turns.drop_stale_speculation(core)


def count_anew(core: Core, about: object) -> None:
    """Count the silence anew, speculate, end the turn if it is over."""
    count_silence(core)


def judge_words(core: Core, about: object) -> None:
    """Decide whether they interrupt."""
    overlap.words_changed(core)
    count_silence(core)


def judge_late_words(core: Core, about: object) -> None:
    """Decide whether they interrupt an agent that went on."""
    overlap.late_words(core)
    count_silence(core)


def voice_long_enough(core: Core) -> None:
    """So much voice over the agent, with any word in it, interrupts."""
    overlap.voice_long_enough(core)


# --- the end of a turn ----------------------------------------------------------------------------------------------


def count_silence(core: Core) -> None:
    """Count the silence anew, speculate, end the turn if it is over. While the user has the floor and is silent."""
    if core.turn_state in (TurnState.PAUSING, TurnState.OVER) and not core.agent_has_floor:
        turns.arm_endpoint(core)
        turns.speculate(core)
        end_if_over(core)


def end_if_over(core: Core) -> None:
    """End the turn if it is over, its final is there, and it is known what of a cut reply was heard."""
    state, turn = core.state, core.state.turn
    if turn is None or turn.state is not TurnState.OVER or core.agent_has_floor:
        return
    if turn.final_mark < turn.mark or state.cutting:
        return
    if reason := turns.reason_to_dismiss(core, turn):
        turns.dismiss(core, reason)
    else:
        turns.end(core, turn)
    if state.voice and core.automatic:  # committed, or at its bound, in mid-voice: what follows continues it
        (talk_over if core.agent_has_floor else begin_turn)(core, turn.voice_until)
        core.turn.voice_since = turn.voice_until


def silence_long_enough(core: Core) -> None:
    """The endpoint: the turn ends as soon as its final is there."""
    turn = core.turn
    core.turn_to(TurnStep.OVER)
    core.arm(Timer.FINAL, max(core.state.now, turn.voice_until + core.policy.endpointing.final_s_max))
    end_if_over(core)


def take_last_partial(core: Core, about: object) -> None:
    """The last partial stands."""
    core.turn.final_mark = core.turn.mark
    end_if_over(core)


def give_up_parked(core: Core, about: object) -> None:
    """The parked turn is given up."""
    core.turn.final_mark = core.turn.mark
    turns.dismiss_parked(core, overlap.what_it_was(core, core.turn))


def bound_again(core: Core, about: object) -> None:
    """The bound waits while the agent has the floor."""
    core.arm(Timer.TURN, core.state.now + core.policy.endpointing.turn_s_max)


# --- the user's hand ------------------------------------------------------------------------------------------------


def open_by_hand(core: Core, cut: bool) -> None:
    """A turn begins, or goes on, that only a commit ends."""
    state = core.state
    core.disarm(Timer.HOLD, Timer.VOICE, Timer.VERDICT, Timer.FINAL, Timer.ENDPOINT)
    if turn := state.turn:
        core.turn_to(TurnStep.OPEN)
        turn.by_hand, turn.unjudged = True, False
        turns.bound(core, turn)
    else:
        if not core.agent_has_floor:
            turns.change_persona(core)
        turns.open_turn(core, state.now, by_hand=True)


def open_over_agent(core: Core, cut: bool) -> None:
    """A turn begins, or goes on, that only a commit ends; the agent goes on, unless it is held or was to be cut."""
    held = core.reply.held
    open_by_hand(core, cut)
    if cut or held:
        replies.cancel(core, "interrupted")
        turns.change_persona(core)


def commit(core: Core, about: object) -> None:
    """The turn is over now; what the voice still says continues it, as a turn of its own."""
    state, turn = core.state, core.turn
    if state.voice:
        turn.voice_until = state.now
        turn.voiced_s += max(0.0, state.now - turn.voice_since)
    if state.voice or turn.by_hand or turn.mark == 0:
        turns.finalise(core, turn)
    core.turn_to(TurnStep.OVER)
    core.disarm(Timer.ENDPOINT, Timer.TURN)
    core.arm(Timer.FINAL, state.now + core.policy.endpointing.final_s_max)
    end_if_over(core)


def commit_over_agent(core: Core, about: object) -> None:
    """The turn is over, and waits until the agent is; one that the voice began cuts it."""
    if not core.turn.by_hand or core.reply.held:
        overlap.interrupt(core, "caller")
    commit(core, about)


def commit_parked(core: Core, about: object) -> None:
    """What was said over the agent was meant: the turn is over, and waits until the agent is."""
    core.turn.unjudged = False
    commit(core, about)


def forget_turn(core: Core, about: object) -> None:
    """The turn is forgotten, its pictures too."""
    turns.dismiss(core, "cleared")
    core.state.images = []


def forget_over_agent(core: Core, about: object) -> None:
    """The turn is forgotten; the agent goes on."""
    overlap.false_alarm(core, "cleared", "caller")


def forget_parked(core: Core, about: object) -> None:
    """The parked turn is forgotten."""
    turns.dismiss_parked(core, "cleared")


def images_shown(core: Core, event: ImagesShown) -> None:
    """Images for the open turn, or for the next one. A reply that was begun without them is begun anew."""
    turns.show(core, event.images)
    count_silence(core)


def join_turn(core: Core, event: TypedTurn) -> None:
    """It is part of the turn that is spoken, and needs no judging."""
    core.turn.prefix, core.turn.unjudged = joined(core.turn.prefix, event.text), False
    turns.show(core, event.images)
    count_silence(core)


def join_over_agent(core: Core, event: TypedTurn) -> None:
    """It is part of the turn that is spoken, and cuts the agent."""
    core.turn.prefix, core.turn.unjudged = joined(core.turn.prefix, event.text), False
    turns.show(core, event.images)
    if core.reply.interruptible:
        overlap.interrupt(core, "typed")
    count_silence(core)


def answer_next(core: Core, event: TypedTurn) -> None:
    """It is answered next."""
    waiting.enqueue(core, QueuedReply("typed", event.text, images=event.images, author=event.author))


def answer_instead(core: Core, event: TypedTurn) -> None:
    """The agent is cut, and it is answered next."""
    answer_next(core, event)
    if core.reply.interruptible:
        silence(core, "superseded")


# --- the reply's end ------------------------------------------------------------------------------------------------


def silence(core: Core, reason: str) -> None:
    """Take the floor from the agent, for nobody but a turn that waits for it."""
    if core.turn_state is TurnState.PARKED:
        turns.dismiss_parked(core, reason)
    replies.cancel(core, reason)
    if core.state.turn:
        take_floor(core)


def stop_agent(core: Core, about: object) -> None:
    """The agent is cut."""
    silence(core, "stopped")


def stop_agent_in_turn(core: Core, about: object) -> None:
    """The agent is cut; the user's turn goes on as any other."""
    replies.cancel(core, "stopped")
    take_floor(core)


def unheard_too_long(core: Core) -> None:
    """The model or the synthesiser hangs: give the reply up and say so. Tools have time limits of their own."""
    state, reply = core.state, core.reply
    if reply.heard and reply.text:  # a filler that was heard is no answer
        return
    if reply.calls or core.turn_state in (TurnState.SPEAKING, TurnState.PAUSING):
        core.arm(Timer.UNHEARD, state.now + core.policy.reply.unheard_s_max)
        return
    silence(core, "late")
    if not reply.apology:
        waiting.apologise(core)


def take_floor(core: Core, reply: Reply | None = None) -> None:
    """The user has the floor: the reply that the turn began over is gone.

    If `reply` went by itself, was the turn an answer to it or only company?
    """
    turn = core.turn
    if turn.state is TurnState.PARKED:
        core.turn_to(TurnStep.UNPARK)
    turns.change_persona(core)
    core.disarm(Timer.HOLD, Timer.VOICE, Timer.VERDICT)
    if reply is None or reply.asks or core.state.now - turn.voice_since <= EARLY_ANSWER_S:
        turn.unjudged = False
    count_silence(core)


def confirm_cut(core: Core, reply: Reply, heard: str, *, is_sure: bool = True) -> None:
    """The cancelled `reply` was heard as far as `heard`. A reply that never was released leaves no trace.

    `is_sure` False: it was heard, and how far may still be told; it keeps its place in the history for that.
    """
    state = core.state
    core.reply_to(reply, ReplyStep.CONFIRM)
    state.cutting.remove(reply)
    if not state.cutting:
        core.disarm(Timer.CUT)
    if reply.released:
        if reply.options.in_history:
            keep = reply.heard and not is_sure
            replies.remember(core, reply, heard, cut=True, keep=keep)
            core.do(TruncateHistory(reply.number, heard))
        core.do(ReplyOver(reply.number, reply.tag, heard, reply.cancelled))
        if not heard.strip() and reply.cancelled != "stopped":
            turns.merge_unanswered(core, reply)
    count_silence(core)


def cut_overdue(core: Core) -> None:
    """Nobody confirmed the cut: what was last reported stands; the remote player may correct it later."""
    for reply in list(core.state.cutting):
        confirm_cut(core, reply, reply.heard_text, is_sure=False)


# --- the end of the session -----------------------------------------------------------------------------------------


def dismiss_for_closing(core: Core, about: object) -> None:
    """Nobody answers the turn any more."""
    turns.dismiss(core, "closing")


def false_alarm_for_closing(core: Core, about: object) -> None:
    """Nobody answers the turn any more; the agent says what it was saying."""
    overlap.false_alarm(core, "closing", "caller")


def dismiss_parked_for_closing(core: Core, about: object) -> None:
    """Nobody answers the parked turn any more."""
    turns.dismiss_parked(core, "closing")
