"""The scripted judge keeps the contract of the judge's port, and the kit catches those that don't."""

import time
from dataclasses import replace

import numpy as np
import pytest

from duologue.audio import Frame
from duologue.ports.judge import JudgeContext, Judgement
from duologue.testing.contracts.judge import JudgePromises, check_judge
from duologue.testing.scripted_judge import Opinion, ScriptedJudge, ScriptedJudgeStream
from duologue.testing.virtual_time import run

TONE = np.rint(8000 * np.sin(np.arange(12_000) * 0.1)).astype("<i2").tobytes()


def test_the_scripted_judge_keeps_the_contract() -> None:
    run(check_judge(lambda: ScriptedJudge([Opinion(over=0.9), Opinion(echo=0.1, upon="begin")]), TONE))
    run(check_judge(lambda: ScriptedJudge([Opinion(echo=0.1)]), TONE, JudgePromises(judges_ends=False)))


class Lying(ScriptedJudgeStream):
    """Breaks what its class attribute says."""

    lie = ""

    async def __anext__(self) -> Judgement:
        told = await super().__anext__()
        lies = {
            "another turn": {"turn": told.turn + 1},
            "no probability": {"over": 1.5},
            "no opinion": {"over": None},
            "the future": {"at": told.at + 60.0},
            "zero": {"at": 0.0},
        }
        return replace(told, **lies.get(self.lie, {}))  # type: ignore[arg-type]

    def hear_user(self, frame: Frame) -> None:
        super().hear_user(frame)
        if self.lie == "eager":
            self._told.append(Judgement(1, frame.end, over=0.5))
            self._changed.set()
        if self.lie == "slow":
            until = time.thread_time() + 0.002
            while time.thread_time() < until:
                pass

    async def aclose(self) -> None:
        if self.lie == "talks on":
            self._told.append(Judgement(1, 8.0, over=0.5))
            self._changed.set()
        elif self.lie != "never ends":
            await super().aclose()


@pytest.mark.parametrize(
    ("lie", "caught_as"),
    [
        ("another turn", "about the open turn"),
        ("no probability", "between 0 and 1"),
        ("no opinion", "a judgement says something"),
        ("the future", "a session second that was heard"),
        ("zero", "a session second that was heard"),
        ("eager", "about the open turn|without a turn nothing is judged"),
        ("slow", "well under a millisecond"),
        ("never ends", "ends the iteration at once"),
        ("talks on", "ends the iteration at once|nothing is told after aclose"),
    ],
)
def test_the_kit_catches_a_judge_that_lies(lie: str, caught_as: str) -> None:
    class Judge(ScriptedJudge):
        def open(self, context: JudgeContext) -> ScriptedJudgeStream:
            stream = Lying(self, context)
            stream.lie = lie
            return stream

    with pytest.raises(AssertionError, match=caught_as):
        run(check_judge(lambda: Judge([Opinion(over=0.9)]), TONE))


@pytest.mark.parametrize("opinions", [[], [Opinion(echo=0.5)], [Opinion(over=0.5, delay_s=5.0)]])
def test_the_kit_catches_a_judge_of_ends_that_says_nothing_in_time(opinions: list[Opinion]) -> None:
    with pytest.raises(AssertionError, match="whether the turn is over"):
        run(check_judge(lambda: ScriptedJudge(opinions), TONE))
