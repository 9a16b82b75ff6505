"""Numbers of languages that have no rules of their own here, by num2words; whatever it can't say is left to the engine.

Engines like espeak read plain numbers themselves; what they miss is the grouping that a language writes ("1.234,5").
"""

import re
from functools import lru_cache
from typing import Final

from num2words import num2words

from duologue_pipelines.tts.spoken_spans import Rule

_POINT_GROUPS: Final = {"de", "es", "it", "nl", "pt", "tr", "id", "da", "el", "sl"}  # 1.234,5
_DIGITS_MAX: Final = 15
_NUMBER: Final = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+)*(?!\w)(?![.,]\d)")
_NUMBER_UNSPACED: Final = re.compile(r"(?<![A-Za-z0-9_.,])\d+(?:[.,]\d+)*(?![A-Za-z0-9_])(?![.,]\d)")
_UNSPACED: Final = {"ja", "ko", "th"}  # a number touches the words around it


def _value(written: str, tongue: str) -> str | None:
    """`written` in Python's notation, or None where it is no number (a date, a version)."""
    group, point = (".", ",") if tongue in _POINT_GROUPS else (",", ".")
    if tongue == "fr":
        group, point = " ", ","
    if group in written and not re.fullmatch(
        rf"\d{{1,3}}(?:{re.escape(group)}\d{{3}})+(?:{re.escape(point)}\d+)?", written
    ):
        return None
    value = written.replace(group, "").replace(point, ".")
    return value if re.fullmatch(rf"\d{{1,{_DIGITS_MAX}}}(?:\.\d{{1,6}})?", value) else None


@lru_cache(maxsize=64)
def number_rules(tongue: str) -> tuple[Rule, ...]:
    """Rules for cardinal numbers in `tongue` (ISO 639-1); none where num2words lacks the language."""

    def speak(match: re.Match[str]) -> str | None:
        value = _value(match[0], tongue)
        return None if value is None else _in_words(value, tongue)

    return (Rule(_NUMBER_UNSPACED if tongue in _UNSPACED else _NUMBER, speak),) if _in_words("1", tongue) else ()


def _in_words(value: str, tongue: str) -> str | None:
    try:
        return str(num2words(value, lang=tongue))
    except (NotImplementedError, OverflowError, TypeError, ValueError, IndexError, KeyError):
        return None  # num2words lacks the language, or this form in it: the engine reads the digits
