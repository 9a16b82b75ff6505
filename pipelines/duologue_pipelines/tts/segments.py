"""Long text in portions: a synthesiser is given one at a time, so that sessions take turns and work can be given up.

Portions end where a speaker would breathe: at a sentence, else at a clause, else between words, and only within a word
when it is longer than any word is.
"""

import re
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Final

_SENTENCE_END: Final = re.compile(r"[.!?。！？…][\"')\]]*\s+|[。！？]|\n+")
_CLAUSE_END: Final = re.compile(r"[,;:]\s+|[，；：、]|\s[–—]\s")
_SPACE: Final = re.compile(r"\s+")


def segments(text: str, *chars_wanted: int, chars_max: int) -> Iterator[tuple[int, int]]:
    """Spans that cover `text` in order.

    Sentences and, where it takes that, clauses are put together up to `chars_wanted` characters (one number a portion,
    the last one for all that follow); a portion without any clause border in it may grow to `chars_max`.
    """
    start = 0
    for wanted in chain(chars_wanted, repeat(chars_wanted[-1])):
        if start >= len(text):
            return
        end = _cut(text, start, wanted, chars_max)
        yield start, end
        start = end


def _cut(text: str, start: int, wanted: int, chars_max: int) -> int:
    if len(text) - start <= wanted:
        return len(text)
    for pattern in (_SENTENCE_END, _CLAUSE_END):
        ends = [match.end() for match in pattern.finditer(text, start, min(start + chars_max, len(text)))]
        within = [end for end in ends if end - start <= wanted]
        if within:
            return within[-1]
        if ends and pattern is _CLAUSE_END:
            return ends[0]
    if len(text) - start <= chars_max:
        return len(text)
    spaces = [match.end() for match in _SPACE.finditer(text, start + 1, start + chars_max)]
    return spaces[-1] if spaces else start + chars_max
