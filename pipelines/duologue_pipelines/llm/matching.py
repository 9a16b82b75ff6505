"""Which rehearsed line a caller's words are nearest to, in English and Chinese, garbled by a recogniser as they may be.

Words weigh by how rare they are in the rehearsed lines (inverse document frequency): "museum" says more than "is the".
A word that was misheard counts by its spelling. Chinese has no spaces: characters and pairs of them stand for words.
Pure: no clock, no I/O.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rapidfuzz import fuzz

from duologue.core.words import is_cjk
from duologue.dialogues import Exchange

SCORE_MIN: Final = 0.5  # below it an answer would be about something else; see the tests for what lies on either side
SAME_WORD_MIN: Final = 72.0  # per cent of equal spelling from which a word counts as misheard rather than as another
CONTINUES_BONUS: Final = 0.12  # for the line that comes next in the dialogue under way
SAME_DIALOGUE_BONUS: Final = 0.05
NEXT_MIN: Final = 0.3  # the next line of the dialogue under way needs less: the caller is likely to follow it
COVERED_SHARE: Final = 0.75  # what a line counts that holds all that was said, and more
WORDS_SHARE: Final = 0.7  # of the score; the rest is the spelling of the whole line, which sees words split or fused

# Function words tell lines apart badly, however rare they are among a pack's few lines; question words are in between.
_ENGLISH_STOP_WORDS: Final = frozenset(
    "a an the is are was were am be been do does did to of in on at for and or but so it its i you he she we they me "
    "my your this that there here with can could will would please just um uh er oh well okay ok yes no have has had "
    "some".split()
)
_QUESTION_WORDS: Final = frozenset(["what", "when", "where", "which", "who", "why", "how", "什么", "怎么"])
_CHINESE_STOP_WORDS: Final = frozenset("的了吗呢啊吧呀是我你您他她它在有和请嗯哦就也都很这那个什么怎")
_STOP_WEIGHT: Final = 0.15
_QUESTION_WEIGHT: Final = 0.5
_CONTRACTIONS: Final = {
    "n't": " not", "'re": " are", "'ve": " have", "'ll": " will", "'m": " am", "'d": " would", "what's": "what is",
    "where's": "where is", "when's": "when is", "how's": "how is", "who's": "who is", "it's": "it is",
    "that's": "that is", "there's": "there is", "let's": "let us", "can't": "can not", "won't": "will not",
}  # fmt: skip
_CJK: Final = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # as in core.words
_RUN: Final = re.compile(rf"[{_CJK}]+|[^\s{_CJK}]+")
_CJK_GAP: Final = re.compile(rf"(?<=[{_CJK}]) (?=[{_CJK}])")
_CONTRACTED: Final = re.compile("|".join(sorted(map(re.escape, _CONTRACTIONS), key=len, reverse=True)))


def plain(text: str) -> str:
    """`text` in lower case and half width, contractions written out, without punctuation; Chinese without the spaces
    that recognisers put between words."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    folded = _CONTRACTED.sub(lambda found: _CONTRACTIONS[found.group()], folded)
    spaced = " ".join("".join(char if char.isalnum() else " " for char in folded).split())
    return _CJK_GAP.sub("", spaced)


def tokens(text: str) -> list[str]:
    """What lines are compared by: words; in Chinese the characters and each two that are neighbours."""
    result: list[str] = []
    for run in _RUN.findall(plain(text)):
        if is_cjk(run[0]):
            result += [*run, *(run[i : i + 2] for i in range(len(run) - 1))]
        else:
            result.append(run)
    return result


def is_chinese(text: str) -> bool:
    """Whether most letters of `text` are Chinese."""
    letters = [char for char in text if char.isalpha()]
    return sum(map(is_cjk, letters)) * 2 > len(letters)


@dataclass(frozen=True, slots=True)
class Match:
    """An exchange near to what was said. `score`: 0..1 and up to a bonus more. `line`: which of its lines it is."""

    exchange: Exchange
    score: float
    line: str = ""


@dataclass(frozen=True, slots=True)
class _Line:
    exchange: Exchange
    text: str
    plain: str
    tokens: list[str]
    is_chinese: bool


class LineMatcher:
    """Finds the rehearsed exchange for what a caller said."""

    def __init__(self, exchanges: Sequence[Exchange]) -> None:
        self._exchanges = tuple(exchanges)
        self._lines = [
            _Line(exchange, line, plain(line), tokens(line), is_chinese(line))
            for exchange in self._exchanges
            for line in exchange.asked
        ]
        seen = Counter(token for line in self._lines for token in set(line.tokens))
        count = len(self._lines)
        self._weights = {token: _weight(token, math.log(1 + count / (1 + times))) for token, times in seen.items()}
        self._rarest = math.log(1 + count)

    def best(self, said: str, last: Exchange | None = None) -> Match | None:
        """The nearest exchange, or None where nothing is near.

        `last`: the exchange before it in the conversation, if any.
        """
        found = self.nearest(said, last, count=1, score_min=SCORE_MIN)
        return found[0] if found else None

    def nearest(self, said: str, last: Exchange | None, *, count: int, score_min: float) -> list[Match]:
        """Up to `count` exchanges, the nearest first, each with its nearest line.

        None whose score is below `score_min`, or `NEXT_MIN` for the one that comes next in the dialogue under way.
        """
        said_plain, said_tokens, said_chinese = plain(said), tokens(said), is_chinese(said)
        nearest: dict[int, Match] = {}
        for line in self._lines if said_tokens else ():
            if line.is_chinese is not said_chinese:
                continue
            exchange = line.exchange
            score = WORDS_SHARE * self._overlap(said_tokens, line.tokens)
            score += (1 - WORDS_SHARE) * fuzz.ratio(said_plain, line.plain) / 100
            if score >= (NEXT_MIN if _is_next(exchange, last) else score_min):
                score += _bonus(exchange, last)
                before = nearest.get(id(exchange))
                if before is None or score > before.score:
                    nearest[id(exchange)] = Match(exchange, score, line.text)
        return sorted(nearest.values(), key=lambda match: -match.score)[:count]

    def last_exchange(self, agent_texts: Iterable[str]) -> Exchange | None:
        """The exchange that was answered last.

        `agent_texts`: what the agent said, as far as it was heard, latest first.
        """
        for text in agent_texts:
            heard = plain(text)
            found = next((e for e in self._exchanges if heard and plain(e.agent).startswith(heard)), None)
            if found:
                return found
        return None

    def _overlap(self, said: Sequence[str], line: Sequence[str]) -> float:
        """Weighted share of tokens that both have, misheard ones by their spelling. 0..1.

        The Dice coefficient, or nearly as much if a few words are all found in a long line ("thanks").
        """
        said_weight = sum(map(self._weight, said))
        line_weight = sum(map(self._weight, line))
        free = list(line)
        shared = covered = 0.0
        for token in sorted(said, key=self._weight, reverse=True):
            if not free:
                break
            if token in free:
                nearest, likeness = token, 1.0
            else:
                nearest = max(free, key=lambda other: fuzz.ratio(token, other))
                percent = 0.0 if is_cjk(token[0]) else fuzz.ratio(token, nearest)
                likeness = percent / 100 if percent >= SAME_WORD_MIN else 0.0
            if likeness:
                free.remove(nearest)
                shared += likeness * (self._weight(token) + self._weight(nearest))
                covered += likeness * self._weight(token)
        return max(shared / (said_weight + line_weight), COVERED_SHARE * covered / said_weight)

    def _weight(self, token: str) -> float:
        return self._weights.get(token) or _weight(token, self._rarest)


def _weight(token: str, rarity: float) -> float:
    if token in _QUESTION_WORDS:
        return rarity * _QUESTION_WEIGHT
    is_stop_word = token in _ENGLISH_STOP_WORDS or all(char in _CHINESE_STOP_WORDS for char in token)
    return rarity * (_STOP_WEIGHT if is_stop_word else 1.0)


def _is_next(exchange: Exchange, last: Exchange | None) -> bool:
    return last is not None and (exchange.path, exchange.dialogue, exchange.position) == (
        last.path,
        last.dialogue,
        last.position + 1,
    )


def _bonus(exchange: Exchange, last: Exchange | None) -> float:
    if _is_next(exchange, last):
        return CONTINUES_BONUS
    same = last is not None and (exchange.path, exchange.dialogue) == (last.path, last.dialogue)
    return SAME_DIALOGUE_BONUS if same else 0.0
