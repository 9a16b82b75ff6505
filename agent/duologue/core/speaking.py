"""Replies: begun, released, cancelled as a unit, remembered as far as they were heard; and what waits for the floor.

One reply at most is live. A cancelled one stays in `cutting` until the shell confirms how much of it was heard.
"""

from duologue.core import listening, overlap, tools
from duologue.core.actions import (
    BeginReply,
    CancelReply,
    CloseSession,
    RefuseSay,
    ReleaseReply,
    ResumePlayout,
    SummariseHistory,
    TruncateHistory,
    TurnDismissed,
    TurnEnded,
)
from duologue.core.events import (
    CloseRequested,
    HeardCorrected,
    HeardSoFar,
    InterruptRequested,
    ReplyEnded,
    ReplyFailed,
    ReplyGenerated,
    ReplyHeard,
    ReplyRequested,
    ReplyText,
    SayRequested,
    SummaryMade,
    TypedTurn,
)
from duologue.core.state import Core, Phase, Reply, Timer, Trigger, Wish, joined
from duologue.errors import ProtocolError

CUT_CONFIRM_S_MAX = 1.0  # a far side that does not answer a cut by then is taken at its last report
AGENT_HAS_FLOOR = (Phase.THINKING, Phase.AGENT_SPEAKING)


# --- the life of one reply ----------------------------------------------------------------------------------------


def begin(core: Core, reply: Reply) -> None:
    """Make `reply` the live one; its number is given here."""
    state = core.state
    state.replies += 1
    reply.number = state.replies
    state.reply = reply
    core.do(
        BeginReply(
            reply.number,
            reply.turn,
            speculative=not reply.released,
            text=reply.script,
            instructions=reply.instructions,
            in_history=reply.in_history,
        )
    )
    if reply.released:
        expect_to_hear(core, reply)


def expect_to_hear(core: Core, reply: Reply) -> None:
    """The model is at work on what will be heard: cover the wait if it is long, give up if it is too long."""
    policy = core.policy.reply
    core.arm(Timer.UNHEARD, core.state.now + policy.unheard_s_max)
    if not reply.text:
        tools.expect_filler(core, reply, policy.late_after_s)


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
        apologise(core)


def apologise(core: Core) -> None:
    """Say aloud, next, that something went wrong."""
    core.state.wishes.insert(0, Wish("apology", core.policy.reply.apology, in_history=False))


def answering(core: Core, turn: int, until: float) -> None:
    """Turn `turn`, whose voice ended at `until`, is the one to be answered now; apologies for earlier ones are late."""
    state = core.state
    state.answered_turn, state.answered_until = turn, until
    state.idle_prompts_said = 0
    state.wishes = [waiting for waiting in state.wishes if waiting.kind != "apology"]


def release(core: Core, reply: Reply) -> None:
    """The turn is over: the speculative `reply` may be heard and may use its tools."""
    reply.released = True
    core.do(ReleaseReply(reply.number))
    expect_to_hear(core, reply)
    tools.start_waiting(core, reply)


def cancel(core: Core, reason: str) -> None:
    """End the live reply, if there is one, and wait for the shell to say what of it was heard."""
    state = core.state
    reply = state.reply
    if reply is None:
        return
    state.reply = None
    resumed = ResumePlayout(reply.number)
    if resumed in core.actions:  # in this very step: not a frame of it shall be sent
        core.actions.remove(resumed)
    reply.cancelled = reason
    state.cutting.append(reply)
    tools.abandon(core, reply, reason)
    core.disarm(Timer.FILLER, Timer.UNHEARD)
    core.arm(Timer.CUT, state.now + CUT_CONFIRM_S_MAX)
    core.do(CancelReply(reply.number, reason))


def live(core: Core, number: int) -> Reply | None:
    """The live reply, if that is its number; results of any other are late and dropped."""
    reply = core.state.reply
    return reply if reply is not None and reply.number == number else None


def text_added(core: Core, event: ReplyText) -> None:
    """More text went to the synthesiser."""
    if reply := live(core, event.reply):
        reply.text += event.text


def generated(core: Core, event: ReplyGenerated) -> None:
    """The model is done, unless tools are pending."""
    if reply := live(core, event.reply):
        reply.generated = True
        tools.continue_when_answered(core, reply)


def heard_first(core: Core, event: ReplyHeard) -> None:
    """The agent can be heard."""
    if reply := live(core, event.reply):
        if not reply.released:
            raise ProtocolError(f"reply {event.reply} was heard before its turn was over")
        core.go(Trigger.REPLY_HEARD)
        reply.heard = True


def heard_so_far(core: Core, event: HeardSoFar) -> None:
    """A report of the playout."""
    if reply := live(core, event.reply):
        reply.heard_text = event.heard
        reply.rest_s = event.rest_s


def failed(core: Core, event: ReplyFailed) -> None:
    """A stage gave up on the reply. A speculative one is dropped and made anew at the endpoint."""
    if reply := live(core, event.reply):
        reply.failed = f"{event.stage}: {event.error}"
        if not reply.released:
            core.turn.speculations = core.policy.reply.speculations_max
            cancel(core, "failed")


def ended(core: Core, event: ReplyEnded) -> None:
    """A reply is silent for good: by itself, or because it was cancelled."""
    state = core.state
    for reply in state.cutting:
        if reply.number == event.reply:
            confirm_cut(core, reply, event.heard)
            return
    if (over := live(core, event.reply)) is None:
        heard_corrected(core, HeardCorrected(event.at, event.reply, event.heard))  # a cut that was confirmed too late
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
        apologise(core)
    if state.phase in (Phase.USER_SPEAKING, Phase.ENDPOINTING):
        listening.take_floor(core, over)


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
            listening.merge_unanswered(core, reply)
    listening.floor_is_free(core)


def cut_overdue(core: Core) -> None:
    """Nobody confirmed the cut: what was last reported stands; the far side may correct it later."""
    for reply in list(core.state.cutting):
        confirm_cut(core, reply, reply.heard_text, is_sure=False)


def heard_corrected(core: Core, event: HeardCorrected) -> None:
    """The far side says late how much of a reply it played."""
    if core.history.correct_agent(event.reply, event.heard):
        core.do(TruncateHistory(event.reply, event.heard))


# --- what waits for the floor -------------------------------------------------------------------------------------


def wish(core: Core, wanted: Wish) -> None:
    """Queue something to be said or answered; refused beyond the bound and while closing. What is typed goes first."""
    state = core.state
    if state.closing or len(state.wishes) >= core.policy.reply.queue_max:
        core.do(RefuseSay(wanted.text, "closing" if state.closing else "too much is waiting to be said"))
    elif wanted.kind == "typed":
        state.wishes.insert(sum(waiting.kind == "typed" for waiting in state.wishes), wanted)
    else:
        state.wishes.append(wanted)


def refuse_waiting(core: Core, reason: str, kinds: tuple[str, ...] = ("say", "reply", "typed", "apology")) -> None:
    """Drop what waits to be said or answered, and say so."""
    waiting, core.state.wishes = core.state.wishes, []
    for wanted in waiting:
        if wanted.kind in kinds:
            core.do(RefuseSay(wanted.text, reason))
        else:
            core.state.wishes.append(wanted)


def say(core: Core, event: SayRequested) -> None:
    """`session.say`: word for word, when the floor is free."""
    wish(core, Wish("say", event.text, interruptible=event.interruptible, in_history=event.in_history))


def reply_wanted(core: Core, event: ReplyRequested) -> None:
    """A reply on request: when the floor is free."""
    wish(core, Wish("reply", instructions=event.instructions, in_history=event.in_history))


def typed(core: Core, event: TypedTurn) -> None:
    """A typed turn: joins the spoken turn that is open, else silences the agent and is answered next."""
    state = core.state
    if state.closing:
        core.do(RefuseSay(event.text, "closing"))
    elif not event.reply:
        state.turns += 1
        images = event.images[: listening.IMAGES_MAX]
        core.history.add_user(state.turns, event.text, images)
        core.do(TurnEnded(state.turns, event.text, images))
        core.do(TurnDismissed(state.turns, "no reply wanted", event.text))
    elif state.phase in (Phase.USER_SPEAKING, Phase.ENDPOINTING, Phase.OVERLAP):
        _join(core, event)
    else:
        wish(core, Wish("typed", event.text, images=event.images))
        if state.phase in AGENT_HAS_FLOOR and core.reply.interruptible:
            silence(core, "superseded")


def _join(core: Core, event: TypedTurn) -> None:
    """What is typed while a turn is spoken is part of it, and needs no judging."""
    turn = core.turn
    turn.prefix, turn.alarm = joined(turn.prefix, event.text), False
    listening.show(core, event.images)
    if core.state.phase is Phase.OVERLAP and core.reply.interruptible:
        overlap.interrupt(core)
    listening.floor_is_free(core)


def silence(core: Core, reason: str) -> None:
    """Take the floor from the agent, for nobody."""
    core.go(Trigger.SILENCED)
    listening.dismiss_parked(core, reason)
    cancel(core, reason)


def interrupt_wanted(core: Core, event: InterruptRequested) -> None:
    """A stop button: the agent is silent, and what it was still going to say is dropped."""
    state = core.state
    refuse_waiting(core, "stopped", ("say",))
    if state.phase in AGENT_HAS_FLOOR:
        silence(core, "stopped")
    elif state.phase is Phase.OVERLAP:
        core.go(Trigger.JUDGED_INTERRUPTION if state.voice else Trigger.JUDGED_INTERRUPTION_LATE)
        cancel(core, "stopped")
        listening.take_floor(core, None)


def settle(core: Core) -> None:
    """After each step: if nobody has the floor, say what waits, or close, or begin to count idle time."""
    state, idle_s = core.state, core.policy.limits.idle_s
    if state.phase is not Phase.LISTENING or state.wishes:
        core.disarm(Timer.IDLE)
    if state.phase is Phase.LISTENING and not state.cutting:
        if state.wishes:
            _fulfil(core, state.wishes.pop(0))
        elif state.closing:
            _close(core)
        elif idle_s is not None and Timer.IDLE not in state.timers:
            core.arm(Timer.IDLE, state.now + idle_s)
    if state.phase is not Phase.CLOSED:
        fold_when_due(core)


def _fulfil(core: Core, wanted: Wish) -> None:
    core.go(Trigger.REPLY_BEGUN)
    listening.change_pack(core)
    begin(
        core,
        Reply(
            0,
            _end_typed(core, wanted) if wanted.kind == "typed" else wanted.turn,
            script=wanted.text if wanted.kind in ("say", "apology") else None,
            interruptible=wanted.interruptible,
            in_history=wanted.in_history,
            apology=wanted.kind == "apology",
            instructions=wanted.instructions,
        ),
    )


def _end_typed(core: Core, wanted: Wish) -> int:
    """A typed turn becomes history; its number."""
    state = core.state
    state.turns += 1
    listening.show(core, wanted.images)
    images, state.images = tuple(state.images), []
    answering(core, state.turns, state.now)
    core.history.add_user(state.turns, wanted.text, images)
    core.do(TurnEnded(state.turns, wanted.text, images))
    return state.turns


# --- memory, idleness, the end ------------------------------------------------------------------------------------


def fold_when_due(core: Core) -> None:
    """Ask for a summary when the budget is used up; where none comes, an extract takes its place."""
    state, history = core.state, core.history
    while history.over_hard_limit and (due := history.overdue()):
        history.fold(due, history.extract(due))
        state.summary_outdated = bool(state.summarising)
    if not state.summarising and (due := history.overdue()):
        state.summarising = due
        core.do(SummariseHistory(due))


def summarised(core: Core, event: SummaryMade) -> None:
    """The summary is there, or (empty) has failed. One that came too late for what it sums up is dropped."""
    state = core.state
    if not state.summarising or event.items != state.summarising:
        return
    if not state.summary_outdated:
        core.history.fold(event.items, event.text or core.history.extract(event.items))
    state.summarising, state.summary_outdated = 0, False


def idle_too_long(core: Core) -> None:
    """Silence on both sides: ask after the user, and in the end say goodbye."""
    state, limits = core.state, core.policy.limits
    if state.idle_prompts_said < len(limits.idle_prompts):
        state.wishes.append(Wish("say", limits.idle_prompts[state.idle_prompts_said]))
        state.idle_prompts_said += 1
    else:
        _say_goodbye(core, "idle")


def session_too_long(core: Core) -> None:
    """The session's time is up."""
    _say_goodbye(core, "time limit")


def _say_goodbye(core: Core, reason: str) -> None:
    refuse_waiting(core, "closing")
    if core.policy.limits.farewell:
        core.state.wishes.append(Wish("say", core.policy.limits.farewell))
    close_wanted(core, CloseRequested(core.state.now, reason))


def close_wanted(core: Core, event: CloseRequested) -> None:
    """End the session: now, or when what is being said is said."""
    state = core.state
    state.closing = state.closing or event.reason or "closed"
    if Timer.CLOSE not in state.timers:
        core.arm(Timer.CLOSE, state.now + core.policy.limits.close_s_max)
    core.disarm(Timer.SESSION, Timer.IDLE)
    listening.dismiss_for_closing(core)
    if not event.finish:
        close_overdue(core)


def close_overdue(core: Core) -> None:
    """The agent has talked long enough: silence it. The session is closed when it is known what was heard."""
    refuse_waiting(core, "closing")
    if core.state.phase in AGENT_HAS_FLOOR:
        silence(core, "closing")


def _close(core: Core) -> None:
    core.go(Trigger.CLOSED)
    core.state.timers.clear()
    core.do(CloseSession(core.state.closing))
