"""What comes next when nobody has the floor: what waits to be said, idle time, the end; and the memory's upkeep."""

from dataclasses import replace

from duologue.core import floor, overlap, replies, rules, tools, turns, waiting
from duologue.core.actions import CloseSession, SummariseHistory
from duologue.core.events import CloseRequested, ItemInserted, ItemRemoved, PolicyChanged, SummaryMade
from duologue.core.floor import Happening
from duologue.core.history import AgentItem, CallItem, Item, OutputItem, UserItem
from duologue.core.machines import TurnState
from duologue.core.state import Core, QueuedReply, Reply, Timer
from duologue.errors import ProtocolError

# Ids that items without one derive from numbers they do not have.
UNNAMED = ("", "turn_0", "reply_0")
CALLS = ("call_", "output_")  # what calls and their results are called
NUMBERED = ("turn_", "reply_")  # what turns and replies of the conversation are called, now or later


def settle(core: Core) -> None:
    """After each step: if nobody has the floor, say what waits, or close, or begin to count idle time."""
    state, idle_s = core.state, core.policy.limits.idle_s
    nobody = state.turn is None and state.reply is None and not state.closed
    if not nobody or state.queue:
        core.disarm(Timer.IDLE)
    if nobody and not state.cutting:
        if state.queue:
            _fulfil(core, state.queue.pop(0))
        elif state.closing:
            _close(core)
        elif idle_s is not None and Timer.IDLE not in state.timers:
            core.arm(Timer.IDLE, state.now + idle_s)
    if not state.closed:
        fold_when_due(core)


def _fulfil(core: Core, wanted: QueuedReply) -> None:
    turns.change_persona(core)
    replies.begin(
        core,
        Reply(
            0,
            turns.end_typed(core, wanted) if wanted.kind == "typed" else wanted.turn,
            script=wanted.text if wanted.kind in ("say", "greeting", "apology") else None,
            interruptible=wanted.interruptible,
            apology=wanted.kind == "apology",
            tag=wanted.tag,
            options=wanted.options,
        ),
    )


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


def item_inserted(core: Core, event: ItemInserted) -> None:
    """An item, put in by its address; one without an id is given one. Raises `ProtocolError` where it can't stand."""
    item, number = _put_in(event.item), core.state.inserted + 1
    if item.id.startswith(NUMBERED) and item.id not in UNNAMED:
        raise ProtocolError(f"{item.id!r} is the name of a turn or reply of the conversation's own")
    if item.id.startswith(CALLS) and item.id not in _names_of_call(item):
        raise ProtocolError(f"{item.id!r} is the name of a call or a result", hint="Give it another id")
    if isinstance(item, CallItem) and tools.knows(core, item.call_id):
        raise ProtocolError(f"there is a call {item.call_id!r} already", hint="Calls have ids of their own")
    if item.id in UNNAMED:
        while core.history.index(f"item_{number}") is not None:  # somebody called theirs so
            number += 1
        item = replace(item, id=f"item_{number}")
    core.shifted(core.history.insert(item, event.after))
    core.state.inserted = number


def _put_in(item: Item) -> Item:
    """`item` as one that was put in: it is no turn's and no reply's of this conversation, whatever it was elsewhere."""
    if isinstance(item, UserItem):
        return replace(item, turn=0)
    return replace(item, reply=0) if isinstance(item, AgentItem) else item


def _names_of_call(item: Item) -> tuple[str, ...]:
    if isinstance(item, CallItem):
        return (f"call_{item.call_id}",)
    return (f"output_{item.call_id}",) if isinstance(item, OutputItem) else ()


def item_removed(core: Core, event: ItemRemoved) -> None:
    """An item, taken out by its address. Raises `ProtocolError` where there is none."""
    core.shifted(core.history.remove(event.item_id))


def policy_changed(core: Core, event: PolicyChanged) -> None:
    """Other numbers from now on. An open turn waits for a commit as soon as one is asked for, and silence is counted
    anew; a reply that a voice may not interrupt any more goes on."""
    if problems := event.policy.problems():
        raise ProtocolError("; ".join(problems))
    state, before = core.state, core.policy
    core.policy, core.history.policy = event.policy, event.policy.history
    turn = state.turn
    if not core.automatic and before.endpointing.mode == "automatic" and turn:
        turn.by_hand, turn.unjudged = True, False
        core.disarm(Timer.ENDPOINT)
    core.disarm(Timer.IDLE)
    if event.policy.limits.session_s_max != before.limits.session_s_max and not state.closing:
        core.disarm(Timer.SESSION)
        if event.policy.limits.session_s_max is not None:
            core.arm(Timer.SESSION, max(state.now, event.policy.limits.session_s_max))
    overlap.leave_in_peace(core)
    rules.count_silence(core)


def idle_too_long(core: Core) -> None:
    """Silence on both sides: ask after the user, and in the end say goodbye."""
    state, limits = core.state, core.policy.limits
    if state.idle_prompts_said < len(limits.idle_prompts):
        state.queue.append(QueuedReply("say", limits.idle_prompts[state.idle_prompts_said]))
        state.idle_prompts_said += 1
    else:
        _say_goodbye(core, "idle")


def session_too_long(core: Core) -> None:
    """The session's time is up."""
    _say_goodbye(core, "time limit")


def _say_goodbye(core: Core, reason: str) -> None:
    waiting.refuse_queued(core, "closing")
    if core.policy.limits.farewell:
        core.state.queue.append(QueuedReply("say", core.policy.limits.farewell))
    close_wanted(core, CloseRequested(core.state.now, reason))


def close_wanted(core: Core, event: CloseRequested) -> None:
    """End the session: now, or when what is being said is said."""
    state = core.state
    state.closing = state.closing or event.reason or "closed"
    if Timer.CLOSE not in state.timers:
        core.arm(Timer.CLOSE, state.now + core.policy.limits.close_s_max)
    core.disarm(Timer.SESSION, Timer.IDLE)
    floor.apply(core, Happening.CLOSING)
    if not event.finish:
        close_overdue(core)


def close_overdue(core: Core) -> None:
    """The agent has talked long enough: silence it. The session is closed when it is known what was heard."""
    waiting.refuse_queued(core, "closing")
    if core.agent_has_floor and core.turn_state in (TurnState.IDLE, TurnState.PARKED):
        rules.silence(core, "closing")


def _close(core: Core) -> None:
    core.state.closed = True
    core.state.timers.clear()
    core.do(CloseSession(core.state.closing))
