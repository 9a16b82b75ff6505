"""Words with times, and what counts as the same word. Shared by recognition, chunking and the history."""

import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word.

    `start`, `end`: session seconds; `probability`: 0..1, or None where the recogniser has none.
    """

    text: str
    start: float
    end: float
    probability: float | None = None


def normal_form(text: str) -> str:
    """`text` without case, punctuation and outer space: what two hypotheses are compared by."""
    return "".join(c for c in text.casefold() if c.isalnum() or c == "'" or unicodedata.category(c)[0] == "M")


def is_cjk(char: str) -> bool:
    """Whether `char` is written without spaces between words (Han, Kana; Unicode blocks)."""
    return "\u3040" <= char <= "\u30ff" or "\u3400" <= char <= "\u9fff" or "\uf900" <= char <= "\ufaff"


def split_words(text: str) -> list[str]:
    """`text` at white space, and each CJK character a word of its own; punctuation stays with the word before it."""
    words: list[str] = []
    glue = False
    for char in text:
        if char.isspace():
            glue = False
        elif is_cjk(char):
            words.append(char)
            glue = True
        elif glue and not (words and is_cjk(words[-1][0]) and char.isalnum()):
            words[-1] += char
        else:
            words.append(char)
            glue = True
    return words
