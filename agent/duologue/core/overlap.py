"""The user's voice while a reply is made or heard: hold first, then decide with words and length.

A hold is silence already, so deciding may take a moment: an interruption loses nothing by it, and a cough costs a short
gap. While nothing of the reply was heard, the hold only keeps it from starting.
"""

from duologue.core import replies, turns
from duologue.core.actions import CloseRecognition, HoldPlayout, OverlapJudged, ResumePlayout, TurnDismissed
from duologue.core.barge_in import Verdict, is_wary, judge_words, verdict_wait_s
from duologue.core.judging import SURE, over_agent, sound
from duologue.core.machines import ReplyStep, TurnState, TurnStep
from duologue.core.state import Core, Reply, Timer, Turn

OPEN_OVER_AGENT = (TurnState.SPEAKING, TurnState.PAUSING, TurnState.PARKED)
WITHDRAWN = ("cleared", "closing")  # a turn over the agent that nobody has judged, and nobody will
ALARMS_KEPT = 16
WORDLESS_AGAIN_S = 0.3  # so often voice that has lasted long enough is looked at for words: as often as partials come
# So shortly before the end of a question any word answers it; over the end of a statement "okay" only keeps it company.
NEARLY_ASKED_S = 1.5


def begin(core: Core, since: float) -> None:
    """Voice over the reply. A turn that is parked from before goes on."""
    state, policy = core.state, core.policy.barge_in
    if state.turn is None:
        turns.open_turn(core, since).unjudged = True
    else:
        core.turn_to(TurnStep.VOICE)
    core.disarm(Timer.FINAL)
    if not _may_interrupt(core):
        return
    core.arm(Timer.VOICE, max(state.now, since + policy.voice_s))
    if is_wary(policy, state.false_alarms, state.now):
        core.arm(Timer.HOLD, max(state.now, since + policy.wary_voice_s))
    else:
        hold(core)


def _may_interrupt(core: Core) -> bool:
    """Whether the voice can silence the agent: not where policy or reply forbid it, nor in a turn held by hand."""
    by_hand = core.state.turn is not None and core.state.turn.by_hand
    return core.policy.barge_in.enabled and core.reply.interruptible and not by_hand


def hold(core: Core) -> None:
    """Silence now; the decision follows."""
    reply = core.reply
    core.reply_to(reply, ReplyStep.HOLD)
    core.do(HoldPlayout(reply.number))


def leave_in_peace(core: Core) -> None:
    """If a voice over the agent can't silence it any more, the agent goes on, and what was said is kept until it has
    finished."""
    if core.agent_has_floor and core.turn_state in OPEN_OVER_AGENT and not _may_interrupt(core):
        core.disarm(Timer.FINAL)
        resume(core)


def voice_again(core: Core, since: float) -> None:
    """The voice came back before the verdict: both bursts are one."""
    core.turn_to(TurnStep.VOICE)
    core.disarm(Timer.VERDICT)
    if not _may_interrupt(core):
        return
    policy, now, voiced_s = core.policy.barge_in, core.state.now, core.turn.voiced_s
    core.arm(Timer.VOICE, max(now, since + policy.voice_s - voiced_s))
    if not core.reply.held:
        core.arm(Timer.HOLD, max(now, since + policy.wary_voice_s - voiced_s))


def voice_over(core: Core) -> None:
    """The voice stopped: the recogniser has a moment to say what it was."""
    core.disarm(Timer.HOLD, Timer.VOICE)
    if _may_interrupt(core):
        core.arm(Timer.VERDICT, core.state.now + verdict_wait_s(core.policy.barge_in, core.turn.voiced_s))


def _judge(core: Core) -> tuple[Verdict, str]:
    """By words and sound of the turn so far, and which of them says so; near the end of a question any word answers."""
    verdict, decided_by = over_agent(core.turn, core.policy.barge_in)
    if verdict is Verdict.BACKCHANNEL and _nearly_asked(core.reply):
        return Verdict.INTERRUPTION, "words"
    return verdict, decided_by


def _nearly_asked(reply: Reply) -> bool:
    if not reply.generated or not reply.heard or reply.rest_s is None:
        return False
    return reply.asks and reply.rest_s <= NEARLY_ASKED_S


def words_changed(core: Core) -> None:
    """New words of the turn in the overlap, or a judge's: decide if they suffice, or if they are final."""
    turn = core.turn
    if not _may_interrupt(core):
        return
    verdict, decided_by = _judge(core)
    if verdict is Verdict.INTERRUPTION:
        interrupt(core, decided_by)
    elif not core.state.voice and (turn.final_mark == turn.mark or decided_by != "words"):
        false_alarm(core, what_it_was(core, turn), decided_by)


def late_words(core: Core) -> None:
    """Words of a parked turn, after the agent went on: an interruption all the same, or settled."""
    turn = core.turn
    if not _may_interrupt(core):
        return
    verdict, decided_by = _judge(core)
    if verdict is Verdict.INTERRUPTION:
        interrupt(core, decided_by)
    elif turn.final_mark == turn.mark:
        turns.dismiss_parked(core, what_it_was(core, turn))


def what_it_was(core: Core, turn: Turn) -> str:
    """Why a turn over the agent is given up: a listener's words, sure or not, the agent's own, or no words
    to speak of."""
    echo = sound(turn).echo
    if echo is not None and echo >= SURE:
        return "echo"
    hummed = judge_words(turn.words, core.policy.barge_in) is Verdict.BACKCHANNEL
    return "backchannel" if hummed or turn.evidence else "noise"


def interrupt(core: Core, decided_by: str) -> None:
    """The user has the floor: the reply is cut, the turn goes on as any other."""
    reply = core.reply
    core.do(OverlapJudged(core.turn.number, reply.number, "interruption", decided_by))
    if core.turn_state is TurnState.PARKED:
        core.turn_to(TurnStep.UNPARK)
    core.disarm(Timer.HOLD, Timer.VOICE, Timer.VERDICT, Timer.FINAL)
    core.turn.unjudged = False
    replies.cancel(core, "interrupted" if reply.heard else "continued")
    turns.change_persona(core)


def false_alarm(core: Core, reason: str, decided_by: str) -> None:
    """A backchannel or noise: the agent goes on from the word where it was held.

    Without a final, the turn is parked.
    """
    state, turn, reply = core.state, core.turn, core.reply
    if reason not in WITHDRAWN:
        core.do(OverlapJudged(turn.number, reply.number, reason, decided_by))
    resume(core)
    if not turn.evidence:
        state.false_alarms = [*state.false_alarms, state.now][-ALARMS_KEPT:]
    if turn.final_mark < turn.mark and reason not in WITHDRAWN:
        core.turn_to(TurnStep.PARK)
        core.arm(Timer.FINAL, state.now + core.policy.endpointing.final_s_max)
        return
    core.turn_to(TurnStep.CLOSE)
    state.turn = None
    core.disarm(Timer.TURN, Timer.FINAL)
    core.do(CloseRecognition(turn.number))
    core.do(TurnDismissed(turn.number, reason, turn.words))


def resume(core: Core) -> None:
    """The agent goes on from the word where it was held, if it was; the voice is judged no more."""
    reply = core.reply
    core.disarm(Timer.HOLD, Timer.VOICE, Timer.VERDICT)
    if reply.held:
        core.reply_to(reply, ReplyStep.RESUME if reply.heard else ReplyStep.RESUME_UNHEARD)
        core.do(ResumePlayout(reply.number))


def voice_long_enough(core: Core) -> None:
    """So much voice with any word in it is an interruption; so is any of which the recogniser will never tell words.

    Words that are a backchannel so far buy as much time again, once. Voice without a word, a drill or the neighbours'
    television, stays held: that is silence already, so the cut can wait for a word, and without one the agent goes on.
    """
    state, turn, policy = core.state, core.turn, core.policy.barge_in
    doubled_at = turn.voice_since + 2 * policy.voice_s
    verdict, decided_by = _judge(core)
    if verdict is Verdict.BACKCHANNEL and state.now < doubled_at:
        core.arm(Timer.VOICE, doubled_at)
    elif (turn.words and decided_by != "judge: echo") or turn.failed:
        interrupt(core, "voice")
    else:
        core.arm(Timer.VOICE, state.now + WORDLESS_AGAIN_S)


def verdict_overdue(core: Core) -> None:
    """The recogniser takes its time: the agent goes on, and a late word can still stop it."""
    false_alarm(core, what_it_was(core, core.turn), "time")
