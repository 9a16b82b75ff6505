"""Replies: begun, released, cancelled as a unit. What is heard of them is told by the playout.

One reply at most is live. A cancelled one stays in `cutting` until the shell confirms how much of it was heard.
"""

from duologue.core import tools, waiting
from duologue.core.actions import BeginReply, CancelReply, ReleaseReply, ResumePlayout, TruncateHistory
from duologue.core.events import HeardCorrected, HeardSoFar, ReplyFailed, ReplyGenerated, ReplyHeard, ReplyText
from duologue.core.machines import ReplyStep
from duologue.core.state import Core, Reply, Timer
from duologue.errors import ProtocolError

CUT_CONFIRM_S_MAX = 1.0  # a remote player that does not answer a cut by then is taken at its last report


def begin(core: Core, reply: Reply) -> None:
    """Make `reply` the live one; its number is given here."""
    state = core.state
    state.replies += 1
    reply.number, reply.persona = state.replies, reply.persona or state.persona
    core.reply_to(reply, ReplyStep.BEGIN if reply.released else ReplyStep.SPECULATE)
    state.reply = reply
    core.do(
        BeginReply(
            reply.number,
            reply.turn,
            speculative=not reply.released,
            text=reply.script,
            persona=reply.persona,
            tag=reply.tag,
            options=reply.options,
        )
    )
    if reply.released:
        waiting.expect_to_hear(core, reply)


def release(core: Core, reply: Reply) -> None:
    """The turn is over: the speculative `reply` may be heard and may use its tools."""
    core.reply_to(reply, ReplyStep.RELEASE)
    reply.released = True
    core.do(ReleaseReply(reply.number))
    waiting.expect_to_hear(core, reply)
    tools.start_waiting(core, reply)


def cancel(core: Core, reason: str) -> None:
    """End the live reply, if there is one, and wait for the shell to say what of it was heard."""
    state = core.state
    reply = state.reply
    if reply is None:
        return
    core.reply_to(reply, ReplyStep.CUT)
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
        core.reply_to(reply, ReplyStep.HEAR)
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


def heard_corrected(core: Core, event: HeardCorrected) -> None:
    """The remote player says late how much of a reply it played."""
    if core.history.correct_agent(event.reply, event.heard):
        core.do(TruncateHistory(event.reply, event.heard))


def remember(core: Core, reply: Reply, heard: str, *, cut: bool, keep: bool = False) -> None:
    """`reply` is over: what was heard of it, and the tools that it used, become history."""
    core.history.add_agent(reply.number, heard, cut=cut, rounds=reply.rounds, persona=reply.persona, keep=keep)
