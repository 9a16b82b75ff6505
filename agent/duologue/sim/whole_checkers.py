"""The rules of a whole session: read off what was really played, the trace, and what is left when it is over."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import cached_property
from typing import ClassVar, Final

import numpy as np

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.words import normal_form, split_words
from duologue.runtime.replay import replay_file
from duologue.sim.trace_watch import TraceWorld
from duologue.sim.whole_world import Part, WholeWorld
from duologue.testing.scripted_tts import words_with_places

SLACK_S: Final = 0.0005  # times of actions are written to a tenth of a millisecond
WORDS_APART_MAX: Final = 1  # the rule: the history is what was heard, within one word
# Where the voice tells no word times their places are estimated, and the pace of a chunk that is still being made is a
# guess: there it may be one more.
WORDS_APART_MAX_UNTIMED: Final = 2
HEARD_SHARE: Final = 0.5  # a word is heard when so much of it was


@dataclass(frozen=True, slots=True)
class Sounding:
    """A stretch of one word in the recording. Times are session seconds."""

    reply: int
    code: int
    start: float
    end: float


@dataclass(slots=True)
class Life:
    """What was decided about one reply, and when. `stretches`: (from, to) in which it may be heard."""

    released_at: float
    cut_at: float | None = None
    silent: list[tuple[float, float]] = field(default_factory=list)  # held from … to …
    held_at: float | None = None
    heard: str | None = None
    is_released: bool = True


class Heard:
    """One part of a conversation: what its trace says of each reply, and what its recording does."""

    def __init__(self, world: WholeWorld, part: Part, trace: TraceWorld) -> None:
        self.world = world
        self.part = part
        self.trace = trace
        self.lives: dict[int, Life] = {}
        for step in trace.watch.steps:
            if step.kind == "event" and isinstance(step.payload, ev.ReplyEnded | ev.HeardCorrected):
                self._heard(step.payload)
            for action in step.actions:
                self._decided(step.at, action)

    def _heard(self, event: ev.ReplyEnded | ev.HeardCorrected) -> None:
        if life := self.lives.get(event.reply):
            life.heard = event.heard

    def _decided(self, at: float, action: act.Action) -> None:
        if isinstance(action, act.BeginReply):
            self.lives[action.reply] = Life(at, is_released=not action.speculative)
            return
        life = self.lives.get(getattr(action, "reply", 0))
        if life is None:
            return
        if isinstance(action, act.ReleaseReply):
            life.released_at, life.is_released = at, True
        elif isinstance(action, act.HoldPlayout):
            life.held_at = at
        elif isinstance(action, act.ResumePlayout | act.CancelReply):
            if life.held_at is not None:
                life.silent.append((life.held_at, at))
                life.held_at = None
            if isinstance(action, act.CancelReply):
                life.cut_at = at

    @cached_property
    def soundings(self) -> list[Sounding]:
        """What was played, word by word."""
        channel = self.part.agent
        borders = np.flatnonzero(np.diff(channel)) + 1
        starts, ends = [0, *map(int, borders)], [*map(int, borders), len(channel)]
        found, rate_hz = [], self.part.rate_hz
        for start, end in zip(starts, ends, strict=True):
            code = int(channel[start]) if start < end else 0
            if code:
                first, last = start / rate_hz, end / rate_hz
                origin = self.part.origin
                found.append(Sounding(self.world.owners.get(code, 0), code, origin + first, origin + last))
        return found

    def words_heard(self, reply: int) -> list[str]:
        """The words of `reply` that were heard, fillers left out."""
        fillers = {text.strip() for text in self.world.scenario.policy.reply.fillers}
        played: dict[int, float] = {}
        for sounding in self.soundings:
            if sounding.reply == reply:
                played[sounding.code] = played.get(sounding.code, 0.0) + sounding.end - sounding.start
        words = []
        for code in sorted(played):
            word = self.world.tts.words[code - 1]
            if word.chunk.strip() not in fillers and played[code] >= HEARD_SHARE * word.seconds:
                words.append(word.text)
        return words


@dataclass(slots=True)
class Evidence:
    """Everything that is known about a conversation when it is over."""

    world: WholeWorld
    parts: list[Heard]


class WholeChecker(ABC):
    """One rule. `check` yields what broke it."""

    name: ClassVar[str] = ""
    rule: ClassVar[str] = ""

    @abstractmethod
    def check(self, evidence: Evidence) -> Iterator[str]:
        """What broke the rule."""


class SilentAfterTheCut(WholeChecker):
    """Read off the recording."""

    name = "silent after the cut"
    rule = "In the recording no sample of a reply lies behind its cut, nor inside a hold."

    def check(self, evidence: Evidence) -> Iterator[str]:
        for part in evidence.parts:
            for sounding in part.soundings:
                life = part.lives.get(sounding.reply)
                if life is None:
                    continue
                if life.cut_at is not None and sounding.end > life.cut_at + SLACK_S:
                    yield f"reply {sounding.reply} is heard until {sounding.end:.4f}, it was cut at {life.cut_at:.4f}"
                for start, end in life.silent:
                    if sounding.start < end - SLACK_S and sounding.end > start + SLACK_S:
                        yield f"reply {sounding.reply} is heard at {sounding.start:.4f}, held {start:.4f} to {end:.4f}"


class SpeculationIsUnheard(WholeChecker):
    """Read off the recording."""

    name = "speculation is unheard"
    rule = "In the recording no sample of a reply lies before its release."

    def check(self, evidence: Evidence) -> Iterator[str]:
        for part in evidence.parts:
            for sounding in part.soundings:
                life = part.lives.get(sounding.reply)
                if life and (not life.is_released or sounding.start < life.released_at - SLACK_S):
                    yield f"reply {sounding.reply} is heard at {sounding.start:.4f}, before its release"


class OneLiveReply(WholeChecker):
    """Read off the recording."""

    name = "one live reply"
    rule = "In the recording one reply follows the other and never returns."

    def check(self, evidence: Evidence) -> Iterator[str]:
        last = 0
        for part in evidence.parts:
            for sounding in part.soundings:
                if sounding.reply < last:
                    yield f"reply {sounding.reply} is heard at {sounding.start:.4f}, after reply {last}"
                last = max(last, sounding.reply)


class HistoryIsWhatWasHeard(WholeChecker):
    """Read off the recording."""

    name = "history is what was heard"
    rule = "What the core was told was heard of a reply are the words in the recording, within one."

    def check(self, evidence: Evidence) -> Iterator[str]:
        apart_max = WORDS_APART_MAX if evidence.world.tts.tells_word_times else WORDS_APART_MAX_UNTIMED
        for part in evidence.parts:
            for number, life in part.lives.items():
                if life.heard is None or not life.is_released or number in evidence.world.unreported:
                    continue
                told = _plain(life.heard[start:end] for start, end in words_with_places(life.heard))
                heard = _plain(part.words_heard(number))
                if _words_apart(told, heard) > apart_max:
                    yield f"of reply {number} {' '.join(heard)!r} was heard, told was {' '.join(told)!r}"


class WordsAreToldAsTheyAreHeard(WholeChecker):
    """Read off what was told."""

    name = "words are told as they are heard"
    rule = "What was told word by word of a reply that is played in our sight is the text that was heard of it."

    def check(self, evidence: Evidence) -> Iterator[str]:
        for part in evidence.parts:
            for number, life in part.lives.items():
                told = part.part.spoken.get(number, "")
                if life.heard is not None and not part.part.is_remote and told.strip() != life.heard.strip():
                    yield f"of reply {number} {life.heard!r} was heard, word by word {told!r} was told"


def _words_apart(told: list[str], heard: list[str]) -> int:
    """Of the places where the texts differ, and there are as many as chunks that broke off, the longest, in words."""
    if told == heard:
        return 0
    blocks = SequenceMatcher(None, told, heard, autojunk=False).get_opcodes()
    return max(max(b - a, d - c) for kind, a, b, c, d in blocks if kind != "equal")


def _plain(words: Iterable[str]) -> list[str]:
    """Words without punctuation, each CJK character one of its own."""
    return [form for word in words for piece in split_words(word) if (form := normal_form(piece))]


class StreamsAreClosed(WholeChecker):
    """Counted by the stages."""

    name = "streams are closed"
    rule = "When a session is over every language model stream, synthesis and recognition is closed."

    def check(self, evidence: Evidence) -> Iterator[str]:
        for what, count in evidence.world.left_open.items():
            if count:
                yield f"{count} {what} are open"


class TracesReplay(WholeChecker):
    """The trace tells it all."""

    name = "traces replay"
    rule = "The trace, replayed, gives the same actions."

    def check(self, evidence: Evidence) -> Iterator[str]:
        for part in evidence.parts:
            result = replay_file(part.part.trace)
            if result.difference is not None:
                yield f"{part.part.trace.name}: {result.difference}"


class SessionsEndWell(WholeChecker):
    """No error is left."""

    name = "nothing raises"
    rule = "A session with scripted faults goes on or ends, and has no internal error."

    def check(self, evidence: Evidence) -> Iterator[str]:
        for part in evidence.parts:
            if part.part.error:
                yield part.part.error


class NoOrphanTask(WholeChecker):
    """Told by whoever runs the loop."""

    name = "no orphan task"
    rule = "When a session is over no task of it lives on."

    def check(self, evidence: Evidence) -> Iterator[str]:
        yield from ()


class QueuesAreBounded(WholeChecker):
    """Told by the world while it goes on."""

    name = "queues are bounded"
    rule = "Tasks, streams and audio made ahead keep to their bounds."

    def check(self, evidence: Evidence) -> Iterator[str]:
        yield from ()


class EndsAtAll(WholeChecker):
    """Told by the loop."""

    name = "ends"
    rule = "Every conversation comes to an end, and never waits for what can't happen."

    def check(self, evidence: Evidence) -> Iterator[str]:
        yield from ()


WHOLE_CHECKERS: Final[tuple[type[WholeChecker], ...]] = (
    SilentAfterTheCut,
    SpeculationIsUnheard,
    OneLiveReply,
    HistoryIsWhatWasHeard,
    WordsAreToldAsTheyAreHeard,
    StreamsAreClosed,
    TracesReplay,
    SessionsEndWell,
    NoOrphanTask,
    QueuesAreBounded,
    EndsAtAll,
)
