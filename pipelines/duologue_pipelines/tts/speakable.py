"""Text as a language model writes it, made into text that a synthesiser can say, with the way back to the source.

Numbers, dates, abbreviations, emoji, Markdown, code and addresses are put into words before synthesis, by the rules of
the language that is spoken. The answer keeps for every piece the place it came from, so that word times refer to the
request's text as given and the heard text is a prefix of what the model wrote.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from duologue.core.words import is_cjk
from duologue_pipelines.tts.addresses import address_rules
from duologue_pipelines.tts.chinese import CHINESE
from duologue_pipelines.tts.english import english_rules
from duologue_pipelines.tts.markup import CODE_AND_MARKUP, SYMBOLS_LEFT_OVER, code_blocks, emoji_spans, leftover_spans
from duologue_pipelines.tts.other_languages import number_rules
from duologue_pipelines.tts.spoken_spans import Rule, Spoken, SpokenSpans

__all__ = ["SourceWord", "Speakable", "Spoken", "speakable"]

# One to one, so that places stay places: full-width forms and typographic quotes to what every engine and rule knows.
# Full-width stops stay until the end: "5，100" is five and a hundred, not five thousand one hundred.
_LATIN_WORD: Final = re.compile(r"[A-Za-z]{3}")  # "50kg" is no English
_WIDE_STOPS: Final = {"，": ",", "、": ",", "。": ".", "；": ";", "！": "!", "？": "?", "：": ":"}
_PLAIN: Final = (
    {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F) if chr(code) not in "，；！？"}
    | dict.fromkeys(map(ord, "「」『』“”„"), '"')
    | dict.fromkeys(map(ord, "‘’ʼ′"), "'")
    | dict.fromkeys(map(ord, "【〔"), "[")
    | dict.fromkeys(map(ord, "】〕"), "]")
    | {0x3000: " "}
    | dict.fromkeys((160, 8199, 8201, 8239), " ")
)


@dataclass(frozen=True, slots=True)
class SourceWord:
    """A word of the spoken text and where it came from.

    `start`, `end`: characters in `Speakable.text`; `start_char`, `end_char`: characters of the source.
    """

    start: int
    end: int
    start_char: int
    end_char: int


@dataclass(frozen=True, slots=True)
class Speakable:
    """The source in pieces: `pieces` cover it in order, without gap or overlap."""

    source: str
    pieces: tuple[Spoken, ...]

    @property
    def text(self) -> str:
        """What the synthesiser is given."""
        return "".join(piece.spoken for piece in self.pieces)

    @property
    def is_silent(self) -> bool:
        """Whether there is nothing to say."""
        return not any(char.isalnum() for char in self.text)

    def words(self) -> tuple[SourceWord, ...]:
        """Words of the spoken text, each with its place in the source, in order and without overlap in either.

        Words are what stands between white space, CJK characters each one of their own; punctuation and markup stay
        with the word they touch. Words that speak one piece of the source ("five dollars" for "$5") count as one word.
        """
        words: list[SourceWord] = []
        places = self._places()
        for start, end in _tokens(self.text):
            start_char, end_char = _source_span(places, start, end)
            if words and start_char < words[-1].end_char:
                last = words.pop()
                start, start_char = last.start, last.start_char
                end_char = max(end_char, last.end_char)
            while self.source[end_char - 1].isspace():
                end_char -= 1
            words.append(SourceWord(start, end, start_char, end_char))
        return tuple(words)

    def _places(self) -> list["_Place"]:
        places: list[_Place] = []
        at = 0
        for piece in self.pieces:
            exact = piece.spoken == _plain_text(self.source[piece.start_char : piece.end_char])
            places.append(_Place(at, at + len(piece.spoken), piece.start_char, piece.end_char, exact))
            at += len(piece.spoken)
        return places


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a piece lies in the spoken text and in the source; `exact`: character for character."""

    start: int
    end: int
    start_char: int
    end_char: int
    exact: bool


def _source_span(places: list[_Place], start: int, end: int) -> tuple[int, int]:
    """Source span of the spoken characters `start` to `end`, with the silent markup that touches its end."""
    index = bisect_right(places, start, key=lambda place: place.end)  # the first that reaches beyond `start`
    first = places[index]
    start_char = first.start_char + (start - first.start if first.exact else 0)
    end_char = start_char
    for place in places[index:]:
        if place.start < end and place.end > place.start:
            end_char = place.start_char + min(end, place.end) - place.start if place.exact else place.end_char
        elif place.start > end or place.end > place.start or place.start_char != end_char:
            break
        else:
            end_char = place.end_char
    return start_char, end_char


def speakable(text: str, language: str | None = None, *, plain_punctuation: bool = True) -> Speakable:
    """`text` made speakable in `language` (BCP 47; None to judge by its script).

    `plain_punctuation`: full-width punctuation becomes ASCII with a space behind it, which espeak needs to make a
    pause; engines that know the full-width forms take them as they are.
    """
    spans = SpokenSpans(_plain_text(text))
    tongue = _tongue(text, language)
    spans.settle(code_blocks(spans.text, tongue))
    for rule in CODE_AND_MARKUP:
        spans.apply(rule)
    spans.settle(emoji_spans(spans.text))
    for rule in (*address_rules(tongue), *_rules(tongue, language or ""), *SYMBOLS_LEFT_OVER):
        spans.apply(rule)
    spans.settle(leftover_spans(spans.text))
    spans.settle(_wide_stops(text, plain=plain_punctuation))
    return Speakable(text, spans.pieces())


def _plain_text(text: str) -> str:
    return "".join(_plain(char) for char in text)


def _plain(char: str) -> str:
    if char in "\n\t":
        return char
    if char.isdecimal():
        return str(unicodedata.decimal(char))  # "١٢" and "१२" are 12 to every rule
    # Control and format characters would end or garble the C string that an engine is given.
    if unicodedata.category(char) in ("Cc", "Cs") or char == "\u200b":
        return " "
    return char.translate(_PLAIN)


def _tongue(text: str, language: str | None) -> str:
    """Primary language whose rules apply: the one asked for, unless the text is plainly in another script."""
    primary = (language or "").lower().split("-")[0].split("_")[0]
    primary = {"cmn": "zh", "yue": "zh", "wuu": "zh"}.get(primary, primary)
    if any("\u3040" <= char <= "\u30ff" for char in text):
        return "ja" if primary in ("", "ja", "en") else primary
    han = any(is_cjk(char) for char in text)
    latin = _LATIN_WORD.search(text) is not None
    if primary == "zh":
        return "en" if latin and not han else "zh"
    if primary in ("", "en") and han:
        return "zh"
    return primary or "en"


@lru_cache(maxsize=64)  # languages that one process speaks; a rule list is small
def _rules(tongue: str, language: str) -> tuple[Rule, ...]:
    if tongue == "zh":
        return CHINESE
    if tongue == "en":
        return english_rules(day_first=language.lower() not in ("", "en", "en-us", "zh", "cmn"))
    return number_rules(tongue)


def _wide_stops(source: str, *, plain: bool) -> Iterator[tuple[int, int, str]]:
    """Full-width stops as they are, or in ASCII with a space behind: espeak reads "你好,世界" without a pause."""
    for index, char in enumerate(source):
        if char in _WIDE_STOPS:
            space = "" if source[index + 1 : index + 2].isspace() else " "
            yield index, index + 1, _WIDE_STOPS[char] + space if plain else char


def _tokens(text: str) -> list[tuple[int, int]]:
    """Spans of the words of `text` that hold a letter or digit; CJK characters stand alone, other characters cling."""
    tokens: list[tuple[int, int]] = []
    start = -1
    for index, char in enumerate(text + " "):
        if start >= 0 and (char.isspace() or (is_cjk(char) and _pronounced(text[start:index]))):
            if _pronounced(text[start:index]):
                tokens.append((start, index))
            start = -1
        elif start >= 0 and is_cjk(text[start]) and char.isalnum() and _pronounced(text[start:index]):
            tokens.append((start, index))
            start = index
        if start < 0 and not char.isspace():
            start = index
    return tokens


def _pronounced(text: str) -> bool:
    return any(char.isalnum() for char in text)
