"""The modelled recogniser of the core's world: partials while the caller speaks, finals on demand.

It does what the port promises, at the scenario's pace, and breaks in the ways that the scenario allows: slow, lost,
late, wrong, mute and failing.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from duologue.core import events as ev
from duologue.sim.talkers import join

if TYPE_CHECKING:
    from duologue.sim.world import World

PREROLL_S: Final = 0.3  # before the onset, as in the runtime's ear
PARTIAL_EVERY_S: Final = 0.35
HALLUCINATION: Final = "Thank you."


@dataclass(slots=True)
class Hearing:
    """The recognition of one turn. `mark`: the newest final asked for; `answered`: the newest told;
    `told`: the newest partial."""

    turn: int
    since: float
    mark: int = 0
    answered: int = 0
    told: str = ""
    closed: bool = False
    mute: bool = False
    failed: bool = False


class Recogniser:
    """Hears the caller's words when they are said, and tells them when it pleases."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._hearings: dict[int, Hearing] = {}

    def open(self, turn: int, since: float) -> None:
        """Hear `turn` from `since` on."""
        world = self._world
        hearing = self._hearings[turn] = Hearing(turn, since, mute=world.strikes("asr mute"))
        world.later(PARTIAL_EVERY_S * world.rng.uniform(0.8, 1.2), self._tick, hearing)
        if world.strikes("asr failing"):
            world.later(world.rng.uniform(0.1, 1.5), self._fail, hearing)

    def finalise(self, turn: int, mark: int) -> None:
        """All that was said until now is asked for."""
        world, hearing = self._world, self._hearings[turn]
        hearing.mark = mark
        if hearing.failed or world.strikes("asr lost"):
            return
        delay_s = world.rng.uniform(*world.scenario.final_s)
        if world.strikes("asr slow"):
            delay_s += world.rng.uniform(0.3, 3.0)
        text = self._text(hearing, world.now)
        if not text and world.strikes("asr wrong"):
            text = HALLUCINATION
        elif text and world.rng.random() < 0.5:
            text += "?" if world.rng.random() < 0.4 else "."
        world.later(delay_s, self._final, hearing, mark, text)

    def close(self, turn: int) -> None:
        """Nobody needs it any more; what is on its way may still come, if it is that kind of recogniser."""
        hearing = self._hearings.pop(turn, None)
        if hearing:
            hearing.closed = True

    def _text(self, hearing: Hearing, until: float) -> str:
        heard: list[str] = []
        for word in reversed(self._world.caller.said):
            if word.end <= hearing.since - PREROLL_S or word.start < hearing.since - PREROLL_S:
                break
            if word.end <= until + 0.05:
                heard.append(word.text)
        return join(tuple(reversed(heard)))

    def _delivers(self, hearing: Hearing) -> bool:
        return not hearing.closed or self._world.strikes("asr late")

    def _tick(self, hearing: Hearing) -> None:
        world = self._world
        if hearing.closed or hearing.failed or world.closed:
            return
        text = self._text(hearing, world.now - 0.1)
        if text and world.strikes("asr wrong"):
            text = text[: max(1, len(text) - 3)]
        if text != hearing.told and not hearing.mute:
            hearing.told = text
            delay_s = world.rng.uniform(0.5, 1.5) if world.strikes("asr late") else 0.0
            world.later(delay_s, self._partial, hearing, text, hearing.mark)
        if world.scenario.judged:
            self._judge(hearing)
        world.later(PARTIAL_EVERY_S, self._tick, hearing)

    def _judge(self, hearing: Hearing) -> None:
        """What an acoustic judge makes of the turn: right most of the time about its end, seldom about more."""
        world, rng = self._world, self._world.rng
        goes_on = world.caller.is_busy != world.strikes("judge wrong")
        hums, echoes = rng.random() < 0.1, rng.random() < 0.05
        world.post(
            ev.TurnJudged(
                world.now,
                hearing.turn,
                "ear",
                over=rng.uniform(0.0, 0.5) if goes_on else rng.uniform(0.5, 1.0),
                backchannel=rng.uniform(0.7, 1.0) if hums else None,
                echo=rng.uniform(0.7, 1.0) if echoes else 0.0,
            )
        )

    def _partial(self, hearing: Hearing, text: str, mark: int) -> None:
        overtaken = hearing.answered > mark  # a stream tells its hypotheses in order
        if self._delivers(hearing) and not overtaken:
            self._world.post(ev.PartialTranscript(self._world.now, hearing.turn, text))

    def _final(self, hearing: Hearing, mark: int, text: str) -> None:
        world = self._world
        if hearing.mark > mark and world.rng.random() < 0.5:
            return  # replaced, as the port allows
        if self._delivers(hearing) and not hearing.failed:
            hearing.answered = mark
            world.post(ev.FinalTranscript(world.now, hearing.turn, mark, text, language="en"))

    def _fail(self, hearing: Hearing) -> None:
        if not hearing.closed:
            hearing.failed = True
            self._world.post(ev.RecognitionFailed(self._world.now, hearing.turn, "it broke"))
