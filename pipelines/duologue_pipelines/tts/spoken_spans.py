"""A text on its way to being speakable, with the place in the source kept for every piece.

Rules replace stretches of the source one after another; what one rule has settled no later rule touches. At the end
the pieces cover the source from first to last character, in order, which is what lets word times and heard text refer
to the text as the language model wrote it. Knows nothing of languages or engines.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from duologue.core.words import is_cjk

Speak = Callable[[re.Match[str]], str | None]


@dataclass(frozen=True, slots=True)
class Spoken:
    """How the source text from `start_char` to `end_char` is spoken; empty where nothing is to be heard of it."""

    start_char: int
    end_char: int
    spoken: str


@dataclass(frozen=True, slots=True)
class Rule:
    """What to say for a match of `pattern`: `speak(match)`, or None to leave it to later rules.

    Where the pattern has a group `keep`, that part stays open to later rules; what is before it is not spoken and what
    is after it is spoken as `speak(match)` says.
    """

    pattern: re.Pattern[str]
    speak: Speak


def say(spoken: str) -> Speak:
    """A rule's answer that is always the same."""
    return lambda _: spoken


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    end: int
    spoken: str | None  # None: open, no rule has settled it


class SpokenSpans:
    """The source split into settled and open spans. `text` has the source's length: character for character."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._spans: list[_Span] = [_Span(0, len(text), None)] if text else []

    def apply(self, rule: Rule) -> None:
        """Settle every match of `rule` in the open spans."""
        self._split(lambda span: self._matches(rule, span))

    def settle(self, spans: Iterable[tuple[int, int, str]]) -> None:
        """Settle given spans `(start, end, spoken)`, in order; those that are not wholly open are left."""
        wanted = list(spans)
        self._split(lambda span: (_Span(*w) for w in wanted if span.start <= w[0] and w[1] <= span.end))

    def _split(self, settled_in: Callable[[_Span], Iterable[_Span]]) -> None:
        spans: list[_Span] = []
        for span in self._spans:
            if span.spoken is not None:
                spans.append(span)
                continue
            at = span.start
            for piece in settled_in(span):
                if piece.start > at:
                    spans.append(_Span(at, piece.start, None))
                spans.append(piece)
                at = piece.end
            if at < span.end:
                spans.append(_Span(at, span.end, None))
        self._spans = spans

    def _matches(self, rule: Rule, span: _Span) -> Iterator[_Span]:
        for match in rule.pattern.finditer(self.text, span.start, span.end):
            spoken = rule.speak(match) if match.end() > match.start() else None
            if spoken is None:
                continue
            if "keep" not in rule.pattern.groupindex:
                yield _Span(match.start(), match.end(), spoken)
                continue
            keep_start, keep_end = match.span("keep")
            if keep_start > match.start():
                yield _Span(match.start(), keep_start, "")
            if match.end() > keep_end:
                yield _Span(keep_end, match.end(), spoken)

    def pieces(self) -> tuple[Spoken, ...]:
        """The whole source in order; open spans are spoken as they stand, words that would run together are parted."""
        pieces: list[Spoken] = []
        before = ""
        for index, span in enumerate(self._spans):
            spoken = self.text[span.start : span.end] if span.spoken is None else span.spoken
            if span.spoken:
                after = self._char_after(index)
                spoken = (
                    (" " if _run_together(before, spoken[0]) else "")
                    + spoken
                    + (" " if _run_together(spoken[-1], after) else "")
                )
            before = spoken[-1] if spoken else before
            pieces.append(Spoken(span.start, span.end, spoken))
        return tuple(pieces)

    def _char_after(self, index: int) -> str:
        """The first character spoken after span `index`; empty where that is settled, and looks back itself."""
        following = self._spans[index + 1] if index + 1 < len(self._spans) else None
        return self.text[following.start] if following is not None and following.spoken is None else ""


def _run_together(left: str, right: str) -> bool:
    return (left.isalnum() and right.isalnum()) and not is_cjk(left) and not is_cjk(right)
