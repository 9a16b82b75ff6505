"""Replies: begun, released, cancelled as a unit, remembered as far as they were heard; and what waits for the floor.

One reply at most is live. A cancelled one stays in `cutting` until the shell confirms how much of it was heard.
"""

from duologue.core import listening, tools
from duologue.core.actions import (
    BeginReply,
    CancelReply,
    CloseSession,
    RefuseSay,
    ReleaseReply,
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
from duologue.core.state import Core, Phase, Reply, Timer, Trigger, Wish
from duologue.errors import ProtocolError

CUT_CONFIRM_S_MAX = 1.0  # a far side that does not answer a cut by then is taken at its last report
AGENT_HAS_FLOOR = (Phase.THINKING, Phase.AGENT_SPEAKING)


# --- the life of one reply ----------------------------------------------------------------------------------------


def begin(core: Core, reply: Reply, text: str | None = None) -> None:
    """Make `reply` the live one; its number is given here."""
    state = core.state
    state.replies += 1
    reply.number = state.replies
    reply.scripted = text is not None
    state.reply = reply
    core.do(
        BeginReply(
            reply.number,
            reply.turn,
            speculative=not reply.released,
            text=text,
            instructions=reply.instructions,
            in_history=reply.in_history,
        )
    )
    if reply.released:
        _expect_to_hear(core, reply)


def _expect_to_hear(core: Core, reply: Reply) -> None:
    policy = core.policy.reply
    core.arm(Timer.UNHEARD, core.state.now + policy.unheard_s_max)
    if not reply.text:
        tools.expect_filler(core, reply, policy.late_after_s)


def unheard_too_long(core: Core) -> None:
    """The model or the synthesiser hangs: give the reply up and say so. Tools have time limits of their own."""
    state = core.state
    reply = state.reply
    if reply is None or (reply.heard and reply.text):  # a filler that was heard is no answer
        return
    if reply.calls or state.phase not in AGENT_HAS_FLOOR:
        core.arm(Timer.UNHEARD, state.now + core.policy.reply.unheard_s_max)
        return
    silence(core, "late")
    if not reply.apology:
        _apologise(core)


def _apologise(core: Core) -> None:
    core.state.wishes.insert(0, Wish("apology", core.policy.reply.apology, in_history=False))


def release(core: Core, reply: Reply) -> None:
    """The turn is over: the speculative `reply` may be heard and may use its tools."""
    reply.released = True
    core.do(ReleaseReply(reply.number))
    _expect_to_hear(core, reply)
    tools.start_waiting(core, reply)


def cancel(core: Core, reason: str) -> None:
    """End the live reply, if there is one, and wait for the shell to say what of it was heard."""
    state = core.state
    reply = state.reply
    if reply is None:
        return
    state.reply = None
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
    core.disarm(Timer.FILLER, Timer.UNHEARD)
    if over.in_history:
        core.history.add_agent(over.number, event.heard, cut=event.cut or bool(over.failed), rounds=over.rounds)
    if over.failed and not over.apology:
        _apologise(core)
    if state.phase in (Phase.USER_SPEAKING, Phase.ENDPOINTING):
        listening.take_floor(core, over)


def _trigger_at_end(core: Core) -> Trigger:
    if core.state.turn is None:
        return Trigger.REPLY_ENDED
    return Trigger.REPLY_ENDED_UNDER_VOICE if core.state.voice else Trigger.REPLY_ENDED_AFTER_VOICE


def confirm_cut(core: Core, reply: Reply, heard: str) -> None:
    """The cancelled `reply` was heard as far as `heard`. A reply that never was released leaves no trace."""
    state = core.state
    state.cutting.remove(reply)
    if not state.cutting:
        core.disarm(Timer.CUT)
    if reply.released:
        if reply.in_history:
            core.history.add_agent(reply.number, heard, cut=True, rounds=reply.rounds)
            core.do(TruncateHistory(reply.number, heard))
        if not heard.strip():
            listening.merge_unanswered(core, reply)
    listening.floor_is_free(core)


def cut_overdue(core: Core) -> None:
    """Nobody confirmed the cut: what was last reported stands; the far side may correct it later."""
    for reply in list(core.state.cutting):
        confirm_cut(core, reply, reply.heard_text)


def heard_corrected(core: Core, event: HeardCorrected) -> None:
    """The far side says late how much of a reply it played."""
    if core.history.correct_agent(event.reply, event.heard):
        core.do(TruncateHistory(event.reply, event.heard))


# --- what waits for the floor -------------------------------------------------------------------------------------


def wish(core: Core, wanted: Wish, *, first: bool = False) -> None:
    """Queue something to be said or answered; refused beyond the bound and while closing."""
    state = core.state
    if state.closing or len(state.wishes) >= core.policy.reply.queue_max:
        core.do(RefuseSay(wanted.text, "closing" if state.closing else "too much is waiting to be said"))
    else:
        state.wishes.insert(0 if first else len(state.wishes), wanted)


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
        return
    if state.phase in (Phase.USER_SPEAKING, Phase.ENDPOINTING, Phase.OVERLAP) and event.reply and state.turn:
        state.turn.prefix = f"{state.turn.prefix} {event.text}".strip()
        state.turn.images += event.images
        return
    if not event.reply:
        state.turns += 1
        core.history.add_user(state.turns, event.text, event.images)
        core.do(TurnEnded(state.turns, event.text, event.images))
        core.do(TurnDismissed(state.turns, "no reply wanted", event.text))
        return
    wish(core, Wish("typed", event.text, images=event.images), first=True)
    if state.phase in AGENT_HAS_FLOOR and state.reply and state.reply.interruptible:
        silence(core, "superseded")


def silence(core: Core, reason: str) -> None:
    """Take the floor from the agent, for nobody."""
    core.go(Trigger.SILENCED)
    listening.dismiss_parked(core, reason)
    cancel(core, reason)


def interrupt_wanted(core: Core, event: InterruptRequested) -> None:
    """A stop button: the agent is silent, and what it was still going to say is dropped."""
    state = core.state
    for dropped in [waiting for waiting in state.wishes if waiting.kind == "say"]:
        state.wishes.remove(dropped)
        core.do(RefuseSay(dropped.text, "stopped"))
    if state.phase in AGENT_HAS_FLOOR:
        silence(core, "stopped")
    elif state.phase is Phase.OVERLAP:
        core.go(Trigger.JUDGED_INTERRUPTION if state.voice else Trigger.JUDGED_INTERRUPTION_LATE)
        cancel(core, "stopped")
        listening.take_floor(core, None)


def settle(core: Core) -> None:
    """After each step: if nobody has the floor, say what waits, or close, or begin to count idle time."""
    state = core.state
    if state.phase is not Phase.LISTENING or state.cutting:
        if state.phase is not Phase.LISTENING:
            core.disarm(Timer.IDLE)
        return
    if state.wishes:
        core.disarm(Timer.IDLE)
        _fulfil(core, state.wishes.pop(0))
    elif state.closing:
        _close(core)
    else:
        fold_when_due(core)
        idle_s = core.policy.limits.idle_s
        if idle_s is not None and Timer.IDLE not in state.timers:
            core.arm(Timer.IDLE, state.now + idle_s)


def _fulfil(core: Core, wanted: Wish) -> None:
    state = core.state
    core.go(Trigger.REPLY_BEGUN)
    listening.change_pack(core)
    turn = 0
    if wanted.kind == "typed":
        state.turns += 1
        turn = state.answered_turn = state.turns
        state.answered_until = state.now
        state.idle_prompts_said = 0
        images = (*state.images, *wanted.images)
        state.images = []
        core.history.add_user(turn, wanted.text, images)
        core.do(TurnEnded(turn, wanted.text, images))
    reply = Reply(
        0,
        turn,
        interruptible=wanted.interruptible,
        in_history=wanted.in_history,
        apology=wanted.kind == "apology",
        instructions=wanted.instructions,
    )
    begin(core, reply, wanted.text if wanted.kind in ("say", "apology") else None)


# --- memory, idleness, the end ------------------------------------------------------------------------------------


def fold_when_due(core: Core) -> None:
    """Ask for a summary when the budget is used up; where none comes, an extract takes its place."""
    state, history = core.state, core.history
    due = history.overdue()
    if due == 0:
        return
    if history.over_hard_limit:
        history.fold(due, history.extract(due))
        state.summarising = 0
    elif not state.summarising:
        state.summarising = due
        core.do(SummariseHistory(due))


def summarised(core: Core, event: SummaryMade) -> None:
    """The summary is there, or (empty) has failed. One that the history no longer waits for is dropped."""
    if core.state.summarising and event.items == core.state.summarising:
        core.state.summarising = 0
        core.history.fold(event.items, event.text or core.history.extract(event.items))


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
    if not core.state.closing:
        if core.policy.limits.farewell:
            core.state.wishes = [Wish("say", core.policy.limits.farewell)]
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
        state.wishes.clear()
        if state.phase in AGENT_HAS_FLOOR:
            silence(core, "closing")


def close_overdue(core: Core) -> None:
    """The agent has talked long enough: close now."""
    core.state.wishes.clear()
    if core.state.phase in AGENT_HAS_FLOOR:
        silence(core, "closing")
    _close(core)


def _close(core: Core) -> None:
    core.go(Trigger.CLOSED)
    core.state.timers.clear()
    core.do(CloseSession(core.state.closing))
