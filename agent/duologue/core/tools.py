"""Tools of the live reply: run together, waited for with a deadline, their results remembered once.

A tool runs only when its reply is released: a speculative reply must not have effects. When the reply is cancelled,
tools that allow it are stopped; the others finish, and what they did is remembered.
"""

from dataclasses import replace

from duologue.core import waiting
from duologue.core.actions import CancelTool, ContinueReply, FinishReply, RunTool
from duologue.core.events import ToolRequested, ToolReturned
from duologue.core.history import OutputItem, ToolRound
from duologue.core.messages import ToolCall
from duologue.core.state import CALLS_MAX, Call, Core, Reply, Timer

OUTPUT_CHARS_MAX = 20_000  # a tool's result is cut there: it goes into a prompt


def requested(core: Core, event: ToolRequested) -> None:
    """The model wants a tool."""
    reply = core.state.reply
    if reply is None or reply.number != event.reply:
        return
    timeout_s = core.policy.reply.tool_s_max if event.timeout_s is None else event.timeout_s
    call = Call(event.call_id, event.name, event.arguments, timeout_s, event.remote, event.cancellable)
    if len(reply.calls) >= CALLS_MAX:
        call.output = f"Refused: more than {CALLS_MAX} calls at once."
    reply.calls.append(call)
    if reply.released and call.output is None:
        _start(core, reply, call)


def start_waiting(core: Core, reply: Reply) -> None:
    """`reply` was released: run what it asked for before."""
    for call in reply.calls:
        if not call.started and call.output is None:
            _start(core, reply, call)
    continue_when_answered(core, reply)


def _start(core: Core, reply: Reply, call: Call) -> None:
    call.started = True
    if not call.remote:  # the caller's side takes its time, and nobody waits for it
        call.deadline = core.state.now + call.timeout_s
        waiting.expect_filler(core, reply, core.policy.reply.filler_after_s)
    core.do(RunTool(reply.number, call.call_id, call.name, call.arguments, call.remote))


def returned(core: Core, event: ToolReturned) -> None:
    """A result. One that nobody waits for any more is dropped, unless the tool could not be stopped."""
    output = event.output[:OUTPUT_CHARS_MAX]
    reply = core.state.reply
    if reply and (call := _waiting(reply.calls, event.call_id)):
        call.output = output
        continue_when_answered(core, reply)
    elif call := _waiting(core.state.orphans, event.call_id):
        core.state.orphans.remove(call)
        core.history.add_agent(0, "", cut=True, rounds=[_round(0, [replace(call, output=output)])])
    elif reply and _answer_round(reply, event.call_id, output):
        return
    elif core.history.awaits(event.call_id):
        core.history.insert(OutputItem(event.call_id, output))


def awaits(core: Core, call_id: str) -> bool:
    """Whether the result of `call_id` is waited for, or welcome however late."""
    reply = core.state.reply
    if reply and (_waiting(reply.calls, call_id) or _unanswered_round(reply, call_id) is not None):
        return True
    return _waiting(core.state.orphans, call_id) is not None or core.history.awaits(call_id)


def knows(core: Core, call_id: str) -> bool:
    """Whether a call of that id is under way or remembered: another one needs another."""
    state = core.state
    for reply in (*state.cutting, *([state.reply] if state.reply else [])):
        made = {call.call_id for call in reply.calls} | {call.call_id for done in reply.rounds for call in done.calls}
        if call_id in made:
            return True
    return any(call.call_id == call_id for call in state.orphans) or core.history.knows(call_id)


def _waiting(calls: list[Call], call_id: str) -> Call | None:
    return next((call for call in calls if call.call_id == call_id and call.output is None), None)


def _unanswered_round(reply: Reply, call_id: str) -> int | None:
    """The index of the round of `reply` in which the caller's side was asked for `call_id` and has not answered."""
    for index, done in enumerate(reply.rounds):
        answered = {answered for answered, _ in done.results}
        if call_id not in answered and any(call.call_id == call_id for call in done.calls):
            return index
    return None


def _answer_round(reply: Reply, call_id: str, output: str) -> bool:
    index = _unanswered_round(reply, call_id)
    if index is not None:
        done = reply.rounds[index]
        reply.rounds[index] = replace(done, results=(*done.results, (call_id, output)))
    return index is not None


def _round(at_char: int, calls: list[Call]) -> ToolRound:
    return ToolRound(
        at_char,
        tuple(ToolCall(call.call_id, call.name, call.arguments) for call in calls),
        tuple((call.call_id, call.output) for call in calls if call.output is not None),
    )


def continue_when_answered(core: Core, reply: Reply) -> None:
    """When the model is done and every tool of ours has answered, the model goes on with the results.

    A round with tools of the caller's side ends the reply: the next one begins on request, with what has come by then.
    """
    if not reply.generated or not reply.calls or not reply.released:
        return
    if any(call.output is None and not call.remote for call in reply.calls):
        return
    is_remote = any(call.remote for call in reply.calls)
    reply.rounds.append(_round(len(reply.text), reply.calls))
    reply.calls = []
    core.disarm(Timer.FILLER)
    if is_remote:
        core.do(FinishReply(reply.number))
        return
    reply.generated = False
    waiting.expect_to_hear(core, reply)
    core.do(ContinueReply(reply.number, tools=len(reply.rounds) < core.policy.reply.tool_rounds_max))


def deadline(core: Core) -> float | None:
    """When the next tool is overdue."""
    reply = core.state.reply
    if reply is None or not reply.calls:
        return None
    due = (call.deadline for call in reply.calls if call.deadline is not None and call.output is None)
    return min(due, default=None)


def overdue(core: Core) -> None:
    """Tools whose time is up count as failed; the reply goes on without them."""
    reply = core.reply
    for call in reply.calls:
        if call.output is None and call.deadline is not None and call.deadline <= core.state.now:
            call.output = f"Failed: no answer within {call.timeout_s:g} seconds."
            core.do(CancelTool(call.call_id, "timeout"))
    continue_when_answered(core, reply)


def abandon(core: Core, reply: Reply, reason: str) -> None:
    """The reply is over: stop its tools, or let those finish that can't be stopped.

    What the caller's side was asked for stays in the history, and its result is welcome however late.
    """
    if remote := [call for call in reply.calls if call.remote and call.started]:
        reply.rounds.append(_round(len(reply.text), remote))
    for call in reply.calls:
        if not call.started or call.output is not None or call.remote:
            continue
        if call.cancellable:
            core.do(CancelTool(call.call_id, reason))
        else:
            core.state.orphans = [*core.state.orphans, call][-CALLS_MAX:]
    reply.calls = []
