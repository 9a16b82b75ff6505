"""Words with times, and what counts as the same word. Shared by recognition, chunking and the history."""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

# Han (with its repetition mark, zero and the later extensions) and Kana, also of half width; their punctuation not.
_CJK: Final = (
    "\u3005\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9d"
    "\U00020000-\U0003ffff"
)
_IS_CJK: Final = re.compile(f"[{_CJK}]").match
_WORDS: Final = re.compile(rf"[{_CJK}][^\s\w{_CJK}]*|[^\s{_CJK}]+")
_WORD_FORMS_KEPT: Final = 16_384  # a language's everyday words, in under 3 MB for the whole process


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word.

    `start`, `end`: session seconds; `probability`: 0..1, or None where the recogniser has none.
    """

    text: str
    start: float
    end: float
    probability: float | None = None


@lru_cache(maxsize=_WORD_FORMS_KEPT)
def normal_form(text: str) -> str:
    """`text` without case, punctuation and space: what two hypotheses are compared by.

    An apostrophe inside a word stays, curly or straight; full width and ligatures count as the plain letters.
    """
    if text.isascii() and text.isalnum():
        return text.lower()
    plain = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    return "".join(c for c in plain if c.isalnum() or c == "'" or unicodedata.category(c)[0] == "M").strip("'")


def is_cjk(char: str) -> bool:
    """Whether `char` is written without spaces between words (Han, Kana; Unicode blocks)."""
    return bool(_IS_CJK(char))


def split_words(text: str) -> list[str]:
    """`text` at white space, and each CJK character a word of its own; punctuation stays with the word before it."""
    return text.split() if text.isascii() else _WORDS.findall(text)


def word_starts(text: str) -> list[int]:
    """Where in `text` each word of `split_words` begins."""
    return [found.start() for found in _WORDS.finditer(text)]


def mended(text: str) -> str:
    """`text` without lone surrogates, which no encoder takes: halves that belong together are joined, others are
    U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
