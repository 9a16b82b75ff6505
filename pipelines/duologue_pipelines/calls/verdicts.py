"""Whether each act of a call went as it should, judged from the recording and the transcript.

The waveform says when who was heard; the transcript says what was understood and what of it was answered. Limits are
wide, since the demo runs on any machine: they tell "it works" from "it does not", and the figures beside them tell how
well.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

from duologue.core.words import normal_form, split_words
from duologue.measure import ActMeasured
from duologue_pipelines.calls.acts import Act, ActName
from duologue_pipelines.calls.call import FinishedCall
from duologue_pipelines.calls.transcript import AgentReply

RESPONSE_S_MAX: Final = 3.0  # a slow machine or endpoint; the budget is half a second
YIELD_S_MAX: Final = 1.0  # beyond it, nobody would say that the agent stopped
DEAD_AIR_S_MAX: Final = 2.0  # beyond it, people ask whether the line is dead
TALKED_INTO_S_MAX: Final = 0.05
SAME_ANSWER: Final = 0.8  # share of words in common


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an act went. `why`: what was wrong, or the figures when it was right."""

    act: Act
    said: str
    passed: bool
    why: str


def judge(call: FinishedCall, acts: Sequence[Act]) -> list[Verdict]:
    """A verdict for each of `acts`, in the order of the script."""
    verdicts = []
    for index, act in enumerate(acts):
        if index >= len(call.marks):
            verdicts.append(Verdict(act, "", False, "the call ended before it"))
            continue
        mark = call.marks[index]
        measured = next((found for found in call.measured.acts if found.mark == mark), None)
        if measured is None:
            verdicts.append(Verdict(act, mark.text, False, "nothing of it is in the recording"))
            continue
        faults = ["the agent gave no occasion for it"] if mark.missed else []
        faults += _FAULTS[act.name](call, act, measured)
        verdicts.append(Verdict(act, mark.text, not faults, "; ".join(faults) or _figures(call, measured)))
    return verdicts


def _figures(call: FinishedCall, measured: ActMeasured) -> str:
    first, answer = measured.first_word_s, _answer(call, measured) if measured.mark.wants_answer else None
    figures = [
        f"{words} {1000 * seconds:.0f} ms"
        for words, seconds in (
            ("silent after", measured.yield_s),
            ("filler after", first if first != measured.response_s else None),
            ("answered after", measured.response_s),
            ("dead air", measured.dead_air_s),
        )
        if seconds is not None
    ]
    if answer is not None and answer.late_step:
        figures.append(answer.late_step)
    return ", ".join(figures)


def _question(call: FinishedCall, act: Act, measured: ActMeasured) -> list[str]:
    faults = []
    if measured.talked_into_s is not None and measured.talked_into_s > TALKED_INTO_S_MAX:
        faults.append(f"the agent talked into it for {1000 * measured.talked_into_s:.0f} ms")
    answer = _answer(call, measured)
    late = f" ({answer.late_step})" if answer is not None and answer.late_step else ""
    if measured.response_s is None:
        only = " but a filler" if measured.first_word_s is not None else ""
        return [*faults, f"no answer was heard{only}{late}"]
    if measured.response_s > RESPONSE_S_MAX:
        faults.append(f"answered only after {measured.response_s:.1f} s{late}")
    if answer is None:
        faults.append("the transcript holds no answer to it")
    elif not call.is_language_model and act.exchange is not None and not _is_same(answer, act.exchange.agent):
        faults.append(f"the answer was to something else: {answer.text[:60]!r}")
    return faults


def _answer(call: FinishedCall, measured: ActMeasured) -> AgentReply | None:
    """The first reply that was heard from the end of the utterance on."""
    since = measured.voice.end + call.offset_s - 0.05
    heard = [reply for reply in call.transcript.replies.values() if reply.start is not None and reply.start >= since]
    return min(heard, key=lambda reply: reply.start or 0.0, default=None)


def _is_same(answer: AgentReply, expected: str) -> bool:
    """Whether the answer is the one rehearsed, as far as it was generated before it may have been cut."""
    made = [normal_form(word) for word in split_words(answer.text)]
    wanted = [normal_form(word) for word in split_words(expected)][: len(made)]
    return bool(made) and SequenceMatcher(None, made, wanted, autojunk=False).ratio() >= SAME_ANSWER


def _false_alarm(call: FinishedCall, act: Act, measured: ActMeasured) -> list[str]:
    if not measured.over_agent:
        return ["the agent was silent, so there was nothing to disturb"]
    if not measured.went_on:
        return ["the agent fell silent and did not go on"]
    faults = []
    if measured.dead_air_s is not None and measured.dead_air_s > DEAD_AIR_S_MAX:
        faults.append(f"{measured.dead_air_s:.1f} s of dead air")
    reply = call.transcript.reply_at(measured.voice.start + call.offset_s)
    if (
        reply is not None
        and reply.cut
        and reply.end is not None
        and reply.end <= measured.voice.end + call.offset_s + 1.0
    ):
        faults.append(f"the reply was cut ({reply.cut})")
    return faults


def _interruption(call: FinishedCall, act: Act, measured: ActMeasured) -> list[str]:
    if not measured.over_agent:
        return ["the agent was silent, so there was nothing to interrupt"]
    if measured.yield_s is None:
        return ["the agent talked on"]
    faults = []
    if measured.yield_s > YIELD_S_MAX:
        faults.append(f"the agent talked on for {measured.yield_s:.1f} s")
    reply = call.transcript.reply_at(measured.voice.start + call.offset_s)
    if reply is not None and not reply.cut:
        faults.append("the reply was not cut")
    return faults + _question(call, act, measured)


_FAULTS: Final[dict[ActName, Callable[[FinishedCall, Act, ActMeasured], list[str]]]] = {
    "question": _question,
    "thinking pause": _question,
    "mm-hm": _false_alarm,
    "cough": _false_alarm,
    "noise": _false_alarm,
    "interruption": _interruption,
}
