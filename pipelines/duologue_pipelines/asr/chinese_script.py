"""Which characters a session's Chinese is written in: Whisper mixes traditional and simplified ones, even in one turn.

What is heard is brought to the pack's script before anything matches, shows or remembers it. OpenCC does it
(Apache-2.0, imported on first need).
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

from duologue.core.words import Word, is_cjk

# OpenCC's conversions by what stands behind "zh-"; plain zh, and whatever is not named, is simplified.
_CONVERSIONS: Final = {"hant": "s2t", "tw": "s2tw", "hk": "s2hk", "mo": "s2hk"}
_SIMPLIFIED: Final = "t2s"


def conversion_for(languages: Iterable[str | None]) -> str:
    """OpenCC's conversion for the first Chinese one of `languages` (BCP 47); simplified where there is none."""
    for language in languages:
        parts = (language or "").lower().replace("_", "-").split("-")
        if parts[0] in ("zh", "cmn", "yue"):
            if "hans" in parts:
                return _SIMPLIFIED
            return next((_CONVERSIONS[part] for part in reversed(parts) if part in _CONVERSIONS), _SIMPLIFIED)
    return _SIMPLIFIED


def in_script(words: Sequence[Word], conversion: str) -> tuple[Word, ...]:
    """`words` with their Chinese in the script of `conversion`; as they are where there is none.

    They are converted in one piece, because a phrase may decide (头发 is 頭髮), and each alone where that changes the
    count of characters, so that times stay with their words.
    """
    if not any(map(is_cjk, "".join(word.text for word in words))):
        return tuple(words)
    converter = _converter(conversion)
    whole = converter.convert("".join(word.text for word in words))
    if len(whole) != sum(len(word.text) for word in words):
        return tuple(_rewritten(word, converter.convert(word.text)) for word in words)
    converted, start = [], 0
    for word in words:
        converted.append(_rewritten(word, whole[start : start + len(word.text)]))
        start += len(word.text)
    return tuple(converted)


def _rewritten(word: Word, text: str) -> Word:
    return Word(text, word.start, word.end, word.probability)


@lru_cache(maxsize=8)
def _converter(conversion: str) -> Any:
    import opencc  # its dictionaries are read here: only for who speaks Chinese

    return opencc.OpenCC(conversion)
