"""Where sound and words are combined: what the judges heard of a turn, beside what the recogniser read in it.

A judge answers with probabilities and decides nothing. Here stands what they are worth: whoever sounds as if
they went on is waited for, whatever the words look like (recognisers end most pauses with a full stop), and over the
agent a sound that is surely its own echo, or surely a listener's, asks for nothing. `decided_by` tells the trace which
of the two it was.
"""

from dataclasses import dataclass
from typing import Final

from duologue.core.barge_in import Verdict, asks_to_stop, judge_words
from duologue.core.endpointing import Completeness, completeness
from duologue.core.events import TurnJudged
from duologue.core.policy import BargeInPolicy
from duologue.core.state import Turn, joined
from duologue.core.words import split_words

JUDGES_MAX: Final = 8  # of one turn; more are left out
OVER_LIKELY: Final = 0.5  # below it a person goes on, whatever the words say
SURE: Final = 0.8  # that a sound over the agent is an echo or a backchannel
HUMMED_WORDS_MAX: Final = 3  # more words than that are no backchannel, whatever they sound like


@dataclass(frozen=True, slots=True)
class Sound:
    """The mean of what the judges say, None where none says anything."""

    over: float | None
    backchannel: float | None
    echo: float | None


def remember(turn: Turn, event: TurnJudged) -> None:
    """Keep a judge's newest word on `turn`."""
    if event.judge in turn.judged or len(turn.judged) < JUDGES_MAX:
        turn.judged[event.judge] = [event.over, event.backchannel, event.echo]


def sound(turn: Turn) -> Sound:
    """What `turn` sounds like by all judges together."""
    return Sound(*(_mean([said[place] for said in turn.judged.values()]) for place in range(3)))


def _mean(said: list[float | None]) -> float | None:
    known = [probability for probability in said if probability is not None]
    return sum(known) / len(known) if known else None


def how_complete(turn: Turn) -> tuple[Completeness, str]:
    """Whether the turn seems over, and what says so: `words` or `judge`."""
    by_words = completeness(turn.words, turn.language)
    over = sound(turn).over
    if over is not None and over < OVER_LIKELY and by_words is not Completeness.INCOMPLETE:
        return Completeness.INCOMPLETE, "judge"
    return by_words, "words"


def over_agent(turn: Turn, policy: BargeInPolicy) -> tuple[Verdict, str]:
    """What the voice over the agent amounts to so far, and what says so: `words`, `judge`, or `judge: echo`."""
    words = joined(turn.prefix, turn.evidence)
    by_words, heard = judge_words(words, policy), sound(turn)
    if heard.echo is not None and heard.echo >= SURE:
        return Verdict.NOTHING, "judge: echo"
    hummed = heard.backchannel is not None and heard.backchannel >= SURE
    if hummed and len(split_words(words)) <= HUMMED_WORDS_MAX and not asks_to_stop(words, policy):
        return Verdict.BACKCHANNEL, "judge"
    return by_words, "words"
