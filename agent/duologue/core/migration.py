"""A session goes on in another process: what died with the old one is begun again, nothing that was said is lost."""

from dataclasses import replace

from duologue.core import overlap, replies, rules, tools, turns
from duologue.core.machines import ReplyStep, TurnState, TurnStep
from duologue.core.options import PLAIN
from duologue.core.state import Core, Reply, Timer

CARRY_ON = "\n\nYou were cut off in mid-answer for a technical reason. Go on exactly where your last words ended."
UNKNOWN_RESULT = (
    "Unknown: the tool was running when the conversation moved to another machine. Do not repeat it unasked."
)


def take_over(core: Core) -> None:
    """Put `core`, restored from a snapshot, into a state that a fresh shell can carry."""
    core.state.summarising, core.state.summary_outdated = 0, False
    _take_over_reply(core)
    _take_over_turn(core)
    rules.cut_overdue(core)


def unheard(text: str, heard: str) -> str:
    """The rest of a reply's `text` when `heard` of it was heard.

    A chunk that the synthesiser left out is missing in `heard`: then it goes on behind the longest end of `heard` that
    stands in the text.
    """
    if text.startswith(heard):
        return text[len(heard) :]
    begin, end = 0, len(heard)  # the longest end that is found begins after `begin`, at `end` at the latest
    while end - begin > 1:
        middle = (begin + end) // 2
        begin, end = (begin, middle) if heard[middle:] in text[middle:] else (middle, end)
    if not heard[end:].strip():
        return text
    return text[text.index(heard[end:], end) + len(heard) - end :]


def _take_over_turn(core: Core) -> None:
    """The open turn keeps its words; a new recogniser hears the rest.

    The detector of the new process hears voice anew.
    """
    state, turn = core.state, core.state.turn
    state.voice = False
    if turn is None:
        return
    state.turn = None
    fresh = turns.open_turn(core, state.now, by_hand=turn.by_hand)
    fresh.prefix, fresh.since, fresh.language = turn.words, turn.since, turn.language
    fresh.merged, fresh.owed, fresh.unjudged = turn.merged, turn.owed, turn.unjudged
    if turn.state is TurnState.OVER:
        core.turn_to(TurnStep.OVER)
    elif core.agent_has_floor and not fresh.by_hand:
        core.turn_to(TurnStep.SILENCE)
        core.turn_to(TurnStep.PARK)
    elif turn.state is TurnState.PAUSING or not fresh.by_hand:
        core.turn_to(TurnStep.SILENCE)
    rules.count_silence(core)


def _take_over_reply(core: Core) -> None:
    state, reply = core.state, core.state.reply
    if reply is None:
        return
    core.disarm(Timer.HOLD, Timer.VOICE, Timer.VERDICT)
    if not reply.released:
        state.reply = None  # begun anew at the endpoint
        return
    if reply.calls:
        _take_over_tools(core, reply)
        return
    state.reply = None
    text = reply.text if reply.script is None else reply.script
    if reply.options.in_history:
        replies.remember(core, reply, reply.heard_text, cut=True)
    if reply.generated or reply.script is not None:
        going_on = Reply(0, reply.turn, script=unheard(text, reply.heard_text), interruptible=reply.interruptible)
        going_on.apology = reply.apology
    else:
        going_on = Reply(0, reply.turn)
        options = reply.options
        if reply.heard_text.strip() and options.in_history:  # else the model can't know how far it was
            instructions = core.history.system if options.instructions is None else options.instructions
            going_on.options = replace(options, instructions=instructions + CARRY_ON)
    going_on.persona, going_on.tag = reply.persona, reply.tag
    if going_on.options == PLAIN:
        going_on.options = reply.options
    replies.begin(core, going_on)
    if reply.heard:
        going_on.heard = True
        core.reply_to(going_on, ReplyStep.HEAR)


def _take_over_tools(core: Core, reply: Reply) -> None:
    """A reply that waits for tools: those of the caller's side go on by themselves, ours run again if they may."""
    overlap.resume(core)
    reply.generated = True
    for call in reply.calls:
        if call.output is None and not call.remote:
            call.started, call.deadline = False, None
            if not call.cancellable:
                call.output = UNKNOWN_RESULT
    tools.start_waiting(core, reply)
    tools.continue_when_answered(core, reply)
