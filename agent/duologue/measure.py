"""Latencies read off the waveform of a two-channel recording, and off nothing else.

Internal events say when the engine *meant* to fall silent; a listener only knows when it was silent. So everything
here comes from samples: the user's channel, the agent's channel, and marks that say which stretch of the user's channel
was a question, which a cough. Without marks they are taken from the voice itself (`marks_from_voice`).

*Audible* is a stretch whose 5 ms blocks reach `ON_DBFS`, prolonged to both sides as long as they stay above `OFF_DBFS`
(hysteresis, so that a soft final consonant belongs to its word and hiss does not), and trimmed to the first and last
sample above the amplitude of `OFF_DBFS`. Gaps shorter than `BRIDGE_S`, closures of plosives, do not end a stretch.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from duologue.audio import Samples

ON_DBFS: Final = -45.0  # far below any speech (espeak and Piper lie near -20), far above dither (-90)
OFF_DBFS: Final = -55.0
BLOCK_S: Final = 0.005
BRIDGE_S: Final = 0.06  # closures of plosives last 30 to 50 ms; a hold is longer
SLACK_S: Final = 0.25  # how far from its mark a sound is still taken for it

UtteranceKind = Literal["turn", "interruption", "backchannel", "noise"]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in session seconds."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Mark:
    """What the caller did from `start` to `end` (session seconds, pauses inside it included).

    `turn`: wants an answer. `interruption`: wants one too, and talks over the agent to get it. `backchannel`, `noise`:
    want nothing. `text`: what was said. `missed`: what it waited for never came (it was said nevertheless).
    """

    kind: UtteranceKind
    start: float
    end: float
    text: str = ""
    missed: bool = False

    @property
    def wants_answer(self) -> bool:
        """Whether an answer is owed."""
        return self.kind in ("turn", "interruption")


@dataclass(frozen=True, slots=True)
class ActMeasured:
    """What the waveform says about one mark. Seconds; None where there is nothing to measure.

    `voice`: first to last audible sample of the user within the mark.
    `over_agent`: the agent was audible when the user's voice began, or within `SLACK_S` after (it was drawing breath).
    `response_s`: last audible sample of the user → first audible sample of the agent's answer that begins after
    it, fillers left out; only for marks that want an answer, None if none comes before the next such mark's voice.
    `first_word_s`: the same → first audible sample of anything, a filler too.
    `yield_s`: first audible sample of the user → last audible sample of the agent, if the agent fell silent before the
    user's last audible sample; only for interruptions over the agent. None says it talked through.
    `talked_into_s`: how much the agent was heard while the user spoke or paused inside a `turn`: an agent that takes a
    thinking pause for the end.
    `dead_air`: the longest silence of the agent that begins under the sound or within `SLACK_S` of its end and is
    followed by more of the agent (of no length if there is none); only for backchannels and noise over the agent.
    `went_on`: the agent was audible after the sound and before the next mark that wants an answer; only for
    backchannels and noise over the agent.
    """

    mark: Mark
    voice: Span
    over_agent: bool
    response_s: float | None = None
    first_word_s: float | None = None
    yield_s: float | None = None
    talked_into_s: float | None = None
    dead_air: Span | None = None
    went_on: bool | None = None

    @property
    def dead_air_s(self) -> float | None:
        """Length of `dead_air`."""
        return None if self.dead_air is None else self.dead_air.seconds


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures of one kind of latency, in seconds; NaN where there were none. `p95`: linear between ranks."""

    values: tuple[float, ...]
    median: float
    p95: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> "Summary":
        """The summary of those `values` that are there."""
        there = tuple(value for value in values if value is not None)
        if not there:
            return cls((), math.nan, math.nan)
        return cls(there, float(np.median(there)), float(np.percentile(there, 95)))


@dataclass(frozen=True, slots=True)
class Measured:
    """A recording, measured. `user`, `agent`: audible spans; `acts`: one for each mark that was audible at all."""

    user: tuple[Span, ...]
    agent: tuple[Span, ...]
    acts: tuple[ActMeasured, ...]

    @property
    def response(self) -> Summary:
        """Response latencies of all acts that got an answer."""
        return Summary.of(act.response_s for act in self.acts)

    @property
    def first_word(self) -> Summary:
        """Until anything was heard, a filler too, of all acts that got that."""
        return Summary.of(act.first_word_s for act in self.acts)

    @property
    def yields(self) -> Summary:
        """Yield latencies of all interruptions that the agent gave way to."""
        return Summary.of(act.yield_s for act in self.acts)

    @property
    def dead_air(self) -> Summary:
        """Dead air after backchannels and noises."""
        return Summary.of(act.dead_air_s for act in self.acts)


def audible_spans(samples: Samples, *, sample_rate_hz: int, bridge_s: float = BRIDGE_S) -> list[Span]:
    """Where `samples` (int16, shape (n,)) are audible, as the module's docstring defines it."""
    block = max(1, round(BLOCK_S * sample_rate_hz))
    count = len(samples) // block + (len(samples) % block > 0)
    padded = np.zeros(count * block)
    padded[: len(samples)] = samples
    power = np.mean(np.square(padded.reshape(-1, block)), axis=1) if count else np.zeros(0)
    above_off = power >= _amplitude(OFF_DBFS) ** 2
    above_on = power >= _amplitude(ON_DBFS) ** 2
    edges = np.flatnonzero(np.diff(np.concatenate([[False], above_off, [False]]).astype(np.int8)))
    heard = [(a * block, b * block) for a, b in edges.reshape(-1, 2).tolist() if above_on[a:b].any()]
    joined: list[tuple[int, int]] = []
    for start, end in heard:
        if joined and start - joined[-1][1] < bridge_s * sample_rate_hz:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return [_trimmed(padded, start, end, sample_rate_hz) for start, end in joined]


def _trimmed(samples: np.ndarray[tuple[int], np.dtype[np.float64]], start: int, end: int, rate_hz: int) -> Span:
    loud = np.flatnonzero(np.abs(samples[start:end]) >= _amplitude(OFF_DBFS))
    return Span((start + int(loud[0])) / rate_hz, (start + int(loud[-1]) + 1) / rate_hz)


def _amplitude(dbfs: float) -> float:
    return 32768.0 * float(10 ** (dbfs / 20))


def marks_from_voice(user: Samples, agent: Samples, *, sample_rate_hz: int, pause_s: float = 1.0) -> list[Mark]:
    """Marks for a caller who left no script: stretches of voice with pauses below `pause_s` are one utterance; one that
    begins over the agent is an interruption."""
    talking = audible_spans(agent, sample_rate_hz=sample_rate_hz)
    return [
        Mark("interruption" if _is_audible(talking, span.start) else "turn", span.start, span.end)
        for span in audible_spans(user, bridge_s=pause_s, sample_rate_hz=sample_rate_hz)
    ]


def measure(
    user: Samples, agent: Samples, marks: Sequence[Mark], *, sample_rate_hz: int, fillers: Sequence[Span] = ()
) -> Measured:
    """Measure a two-channel recording (int16, shape (n,) each, sample 0 is second 0) against the caller's `marks`.

    `fillers`: where the agent said something only to cover a wait; what is audible in them is no answer.
    """
    users, agents = (audible_spans(channel, sample_rate_hz=sample_rate_hz) for channel in (user, agent))
    voices = [(mark, _voice(users, mark)) for mark in sorted(marks, key=lambda mark: mark.start)]
    there = [(mark, voice) for mark, voice in voices if voice is not None]
    acts = []
    for index, (mark, voice) in enumerate(there):
        later = (after.start for following, after in there[index + 1 :] if following.wants_answer)
        acts.append(_act(mark, voice, agents, next(later, math.inf), fillers))
    return Measured(tuple(users), tuple(agents), tuple(acts))


def _voice(users: Sequence[Span], mark: Mark) -> Span | None:
    """From the first to the last audible sample of the user within `mark`."""
    inside = [span for span in users if span.end > mark.start and span.start < mark.end]
    if not inside:
        return None
    return Span(max(inside[0].start, mark.start - SLACK_S), min(inside[-1].end, mark.end + SLACK_S))


def _act(mark: Mark, voice: Span, agents: Sequence[Span], next_turn: float, fillers: Sequence[Span]) -> ActMeasured:
    over = _is_audible(agents, voice.start) or any(0 <= span.start - voice.start <= SLACK_S for span in agents)
    if not mark.wants_answer:
        if not over:
            return ActMeasured(mark, voice, over)
        went_on = any(span.end > voice.end and span.start < next_turn for span in agents)
        return ActMeasured(mark, voice, over, dead_air=_dead_air(agents, voice), went_on=went_on)
    first = next((span.start for span in agents if voice.end <= span.start < next_turn), None)
    answers = (_after_fillers(span, fillers) for span in agents if voice.end <= span.start < next_turn)
    answer = next((start for start in answers if start is not None and start < next_turn), None)
    return ActMeasured(
        mark,
        voice,
        over,
        response_s=None if answer is None else answer - voice.end,
        first_word_s=None if first is None else first - voice.end,
        yield_s=_yielded(agents, voice) if over and mark.kind == "interruption" else None,
        talked_into_s=sum(_overlap(span, voice) for span in agents) if mark.kind == "turn" else None,
    )


def _after_fillers(span: Span, fillers: Sequence[Span]) -> float | None:
    """Where `span` begins to be an answer; None if all of it is filler."""
    covering = next((filler for filler in fillers if filler.start - BLOCK_S <= span.start < filler.end), None)
    if covering is None:
        return span.start
    return covering.end if covering.end < span.end else None


def _is_audible(spans: Sequence[Span], at: float) -> bool:
    """Whether `at` lies in one of `spans`, or in a breath between two of them."""
    return any(span.start <= at < span.end + BRIDGE_S for span in spans)


def _overlap(one: Span, other: Span) -> float:
    return max(0.0, min(one.end, other.end) - max(one.start, other.start))


def _yielded(agents: Sequence[Span], voice: Span) -> float | None:
    if any(span.start < voice.end <= span.end for span in agents):
        return None
    last = max((span.end for span in agents if span.start < voice.end), default=voice.start)
    return max(0.0, last - voice.start)


def _dead_air(agents: Sequence[Span], voice: Span) -> Span:
    gaps = [
        Span(before.end, after.start)
        for before, after in itertools.pairwise(agents)
        if voice.start - BRIDGE_S <= before.end <= voice.end + SLACK_S
    ]
    return max(gaps, key=lambda gap: gap.seconds, default=Span(voice.end, voice.end))
