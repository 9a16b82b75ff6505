"""What of a growing transcript can be relied on: the stable prefix of successive hypotheses.

A recogniser changes its mind while somebody speaks. A word that two successive hypotheses agree on is settled: it is
kept through every later hypothesis of the turn, so captions don't flicker and the core may act on it. This module
decides that from words alone; it must never know which recogniser made them, nor what time it is.
"""

from collections.abc import Sequence
from itertools import pairwise, takewhile

from duologue.core.words import Word, is_cjk, normal_form, split_words


def stable_prefix(previous: Sequence[Word], current: Sequence[Word]) -> list[Word]:
    """Words that two successive hypotheses agree on (LocalAgreement-2, Liu et al. 2020).

    Both run from the last committed word. Words are compared without case and punctuation; the current spelling wins.
    Times are seconds of session audio.
    """
    agreed: list[Word] = []
    for before, now in zip(previous, current, strict=False):
        if normal_form(before.text) != normal_form(now.text):
            break
        agreed.append(now)
    return agreed


def join_words(words: Sequence[Word]) -> str:
    """The words as they would be written: a space between them, none where either side is CJK."""
    parts = [words[0].text] if words else []
    for left, right in pairwise(words):
        glued = is_cjk(left.text[:1]) or is_cjk(right.text[:1])
        parts.append(right.text if glued else " " + right.text)
    return "".join(parts)


def atomic_words(word: Word) -> list[Word]:
    """`word` as `split_words` counts it: white space and each CJK character divide; length shares out the time."""
    pieces = split_words(word.text)
    if len(pieces) < 2:
        return [Word(piece, word.start, word.end, word.probability) for piece in pieces]
    per_char = (word.end - word.start) / sum(map(len, pieces))
    atoms, start = [], word.start
    for piece in pieces:
        end = start + per_char * len(piece)
        atoms.append(Word(piece, start, end, word.probability))
        start = end
    return atoms


class GrowingTranscript:
    """The words of one turn as hypotheses of all of it come in; a settled word stays.

    Feed `partial` and `final`, each with every word heard so far (`split_words` units); both answer with the words to
    show. `stable` counts the settled ones among them.
    """

    def __init__(self) -> None:
        self._settled: list[Word] = []
        self._tail: list[Word] = []

    @property
    def stable(self) -> int:
        """How many leading words no later partial changes."""
        return len(self._settled)

    @property
    def settled(self) -> tuple[Word, ...]:
        """The settled words."""
        return tuple(self._settled)

    @property
    def words(self) -> tuple[Word, ...]:
        """All words of the latest hypothesis."""
        return (*self._settled, *self._tail)

    def partial(self, words: Sequence[Word], *, until: float = float("inf")) -> tuple[Word, ...]:
        """Take a hypothesis; no word that ends after `until` (session seconds) settles by it.

        The last words of audio that was cut off are those a recogniser changes: it has not heard their ends.

        Where it contradicts a settled word, the settled words stand and it counts from where they end.
        """
        tail = self._after_settled(words)
        agreed = list(takewhile(lambda word: word.end <= until, stable_prefix(self._tail, tail)))
        self._settled += agreed
        self._tail = tail[len(agreed) :]
        return self.words

    def settle(self, words: Sequence[Word]) -> None:
        """Settle `words`, the leading ones of the turn: the recogniser will not look at their audio again."""
        if len(words) > len(self._settled):
            self._settled = list(words)
            self._tail = []

    def final(self, words: Sequence[Word]) -> tuple[Word, ...]:
        """Take a final: it stands as it is, settled or not; what it shares with the words so far is settled."""
        self._settled = stable_prefix(self.words, words)
        self._tail = list(words[len(self._settled) :])
        return self.words

    def _after_settled(self, words: Sequence[Word]) -> list[Word]:
        if len(stable_prefix(self._settled, words)) == len(self._settled):
            return list(words[len(self._settled) :])
        until = self._settled[-1].end
        return [word for word in words if (word.start + word.end) / 2 > until]
