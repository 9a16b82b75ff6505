"""What waits for the floor, and how a wait for the agent's words is covered.

Nothing here takes the floor: `agenda` does, when it is free.
"""

from duologue.core.actions import RefuseSay, SpeakFiller
from duologue.core.events import ReplyRequested, SayRequested
from duologue.core.machines import TurnState
from duologue.core.options import ReplyOptions
from duologue.core.state import Core, QueuedReply, Reply, Timer

KINDS = ("say", "reply", "typed", "greeting", "apology")


def apologise(core: Core) -> None:
    """Say aloud, next, that something went wrong."""
    options = ReplyOptions(in_history=False)
    core.state.queue.insert(0, QueuedReply("apology", core.policy.reply.apology, options=options))


def enqueue(core: Core, wanted: QueuedReply) -> None:
    """Queue something to be said or answered; refused beyond the bound and while closing. What is typed goes first."""
    state = core.state
    if state.closing or len(state.queue) >= core.policy.reply.queue_max:
        reason = "closing" if state.closing else "too much is waiting to be said"
        core.do(RefuseSay(wanted.text, reason, wanted.tag))
    elif wanted.kind == "typed":
        state.queue.insert(sum(waiting.kind == "typed" for waiting in state.queue), wanted)
    else:
        state.queue.append(wanted)


def refuse_queued(core: Core, reason: str, kinds: tuple[str, ...] = KINDS) -> None:
    """Drop what waits to be said or answered, and say so."""
    waiting, core.state.queue = core.state.queue, []
    for wanted in waiting:
        if wanted.kind in kinds:
            core.do(RefuseSay(wanted.text, reason, wanted.tag))
        else:
            core.state.queue.append(wanted)


def say(core: Core, event: SayRequested) -> None:
    """`session.say`: word for word, when the floor is free."""
    options = ReplyOptions(in_history=event.in_history)
    enqueue(core, QueuedReply("say", event.text, interruptible=event.interruptible, tag=event.tag, options=options))


def reply_wanted(core: Core, event: ReplyRequested) -> None:
    """A reply on request: when the floor is free. Raises `ProtocolError` for options that contradict each other."""
    event.options.check()
    enqueue(core, QueuedReply("reply", tag=event.tag, options=event.options))


def expect_to_hear(core: Core, reply: Reply) -> None:
    """The model is at work on what will be heard: cover the wait if it is long, give up if it is too long."""
    policy = core.policy.reply
    core.arm(Timer.UNHEARD, core.state.now + policy.unheard_s_max)
    if not reply.text:
        expect_filler(core, reply, policy.late_after_s)


def expect_filler(core: Core, reply: Reply, after_s: float) -> None:
    """If the wait is not over in `after_s`, it is covered: once a reply, by whichever wait is longest first."""
    if not reply.filler_said and reply.script is None and core.policy.reply.fillers:
        due = core.state.now + after_s
        core.arm(Timer.FILLER, min(due, core.state.timers.get(Timer.FILLER, due)))


def filler_due(core: Core) -> None:
    """A tool or the model takes long: say so, once a reply, if the floor is the agent's."""
    state, reply = core.state, core.reply
    free = core.turn_state in (TurnState.IDLE, TurnState.PARKED)
    if core.policy.reply.fillers and free and (not reply.text or any(call.output is None for call in reply.calls)):
        fillers = core.policy.reply.fillers
        reply.filler_said = True
        core.do(SpeakFiller(reply.number, fillers[state.fillers_said % len(fillers)]))
        state.fillers_said += 1
