"""Every legal combination, stated once: what is true of a conversation at rest, between two steps of its core.

A snapshot that breaks it is refused, the simulators look after every step, and so do the tests.
"""

from collections.abc import Iterator
from typing import Final

from duologue.core.machines import PHASES, ReplyState, TurnState
from duologue.core.state import CALLS_MAX, CUTTING_MAX, Core, Reply, Timer, Turn

# What each timer needs to be set for, as (turn states, whether a reply has the floor or None for either).
_TURN_TIMERS: Final = {
    Timer.ENDPOINT: ((TurnState.PAUSING,), False),
    Timer.FINAL: ((TurnState.PAUSING, TurnState.OVER, TurnState.PARKED), None),
    Timer.TURN: ((TurnState.SPEAKING, TurnState.PAUSING, TurnState.OVER, TurnState.PARKED), None),
    Timer.HOLD: ((TurnState.SPEAKING,), True),
    Timer.VOICE: ((TurnState.SPEAKING,), True),
    Timer.VERDICT: ((TurnState.PAUSING,), True),
}
_REPLY_TIMERS: Final = (Timer.FILLER, Timer.UNHEARD)  # cover or end the wait for a reply that may be heard


def invariant(core: Core) -> list[str]:
    """What is wrong with `core`, a sentence each; empty for a legal one."""
    state = core.state
    wrong = [*_machines(core), *_timers(core), *_memory(core)]
    if state.turn:
        wrong += _turn(core, state.turn)
    if state.reply or state.cutting or state.orphans:
        wrong += _replies(core)
    return wrong


def _machines(core: Core) -> Iterator[str]:
    state = core.state
    if (core.turn_state, core.reply_state) not in PHASES:
        yield f"no conversation has a turn that is {core.turn_state} with a reply that is {core.reply_state}"
    if state.turn and state.turn.state is TurnState.IDLE:
        yield f"turn {state.turn.number} is open and idle"
    if state.closed and (state.turn or state.reply or state.timers or state.queue):
        yield "it is closed, and something of it is open, set or waiting"


def _turn(core: Core, turn: Turn) -> Iterator[str]:
    state = core.state
    if not 0 < turn.number <= state.turns:
        yield f"turn {turn.number} is open, and {state.turns} were counted"
    if not 0 <= turn.heard_mark <= turn.final_mark <= turn.mark:
        yield f"turn {turn.number} has heard final {turn.heard_mark} and settled {turn.final_mark} of {turn.mark}"
    yield from _earlier("merged", turn.merged, turn)
    yield from _earlier("owed", turn.owed, turn)
    if turn.unjudged and turn.by_hand and not core.agent_has_floor:
        yield f"turn {turn.number} is the hand's, and waits to be judged"


def _earlier(name: str, number: int, turn: Turn) -> Iterator[str]:
    if not 0 <= number < turn.number:
        yield f"turn {turn.number} has {name} turn {number}, which is no earlier one"


def _replies(core: Core) -> Iterator[str]:
    state, live = core.state, core.state.reply
    if live:
        yield from _live(core, live)
    for reply in state.cutting:
        if reply.state is not ReplyState.CUTTING or reply is live:
            yield f"reply {reply.number} is being cut and {reply.state}"
    for reply in (*state.cutting, *([live] if live else [])):
        if not 0 < reply.number <= state.replies or not 0 <= reply.turn <= state.turns:
            yield f"reply {reply.number} to turn {reply.turn}, of {state.replies} to {state.turns}"
    for what, count, bound in (
        ("replies are being cut", len(state.cutting), CUTTING_MAX),
        ("tools of replies that are over still run", len(state.orphans), CALLS_MAX),
    ):
        if count > bound:
            yield f"{count} {what}"


def _live(core: Core, reply: Reply) -> Iterator[str]:
    turn, is_speculative = core.state.turn, reply.state is ReplyState.SPECULATIVE
    if reply.state in (ReplyState.NONE, ReplyState.CUTTING):
        yield f"reply {reply.number} is live and {reply.state}"
    if reply.released == is_speculative:
        yield f"reply {reply.number} is {reply.state} and released: {reply.released}"
    if reply.state is ReplyState.HELD and turn is not None and turn.by_hand:
        yield f"reply {reply.number} is held, and turn {turn.number} is the hand's"
    if (reply.state is ReplyState.HEARD and not reply.heard) or (reply.state is ReplyState.WAITING and reply.heard):
        yield f"reply {reply.number} is {reply.state} and heard: {reply.heard}"
    if is_speculative and (turn is None or turn.number != reply.turn):
        yield f"reply {reply.number} is speculative, and turn {reply.turn} is not open"
    if is_speculative and any(call.started for call in reply.calls):
        yield f"reply {reply.number} is speculative and runs a tool"


def _timers(core: Core) -> Iterator[str]:
    state = core.state
    turn_state, agent_has_floor = core.turn_state, core.agent_has_floor
    for timer in state.timers:
        if needs := _TURN_TIMERS.get(timer):
            turn_states, over_agent = needs
            if turn_state not in turn_states or over_agent not in (None, agent_has_floor):
                yield f"{timer} is set, and the turn is {turn_state} with a reply that is {core.reply_state}"
        elif timer in _REPLY_TIMERS and not (state.reply and state.reply.released):
            yield f"{timer} is set, and no reply may be heard"
        elif timer is Timer.IDLE and (state.turn or state.reply or state.queue):
            yield "idle time is counted, and somebody has the floor"
    if (awaited := Timer.CUT in state.timers) != bool(state.cutting):
        yield f"{len(state.cutting)} replies are being cut, and the confirmation is awaited: {awaited}"


def _memory(core: Core) -> Iterator[str]:
    state = core.state
    counts = (state.now, state.turns, state.replies, state.summarising, state.inserted, core.history.tokens)
    if min(*counts, state.idle_prompts_said, state.fillers_said) < 0:
        yield "time and counts are not negative"
    if state.summarising > len(core.history.items) and not state.summary_outdated:
        yield f"{state.summarising} items are being summed up, and there are {len(core.history.items)}"
