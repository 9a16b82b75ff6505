"""Tokens into speakable chunks: where a stream of text may be cut so that each piece can be spoken at once.

A synthesiser speaks whole sentences best, and the person waits for the first sound. So the first chunk of a reply may
end at a clause border already, later ones are sentences, very short ones go together, and over-long ones are cut. This
module decides by characters alone; what a synthesiser makes of Markdown, numbers or code is its adapter's business.

The law: the chunks put together are the text, to the character; white space stays at a chunk's end; no chunk is without
a letter or digit if it has a neighbour that has one. A border is certain when the next visible character is there, for
it tells "3.14", "e.g. this" and '?"' from the end of a sentence; nothing is said later for it than by one token. So the
borders do not depend on how the text was split into tokens, with one exception: whether a very short sentence goes
together with the next depends on that being there already, as waiting for it would be silence.
"""

import re
from typing import Final

from duologue.core.words import is_cjk, split_words, word_starts

SHORT_WORDS: Final = 3  # a sentence of fewer words gets odd melody when it is spoken alone
FENCE_CHARS_MAX: Final = 4000  # of a code block kept in one piece, so that the synthesiser can tell what it is

# Written with a full stop that ends no sentence: something follows that they belong to.
_TITLES: Final = frozenset(
    "mr mrs ms mx dr prof st rev gen col sgt capt lt gov sen rep hon mt vs viz cf ca approx e.g i.e eg ie al".split()
)
# The same, before a number only: "No. 5".
_NUMBERED: Final = frozenset("no nos p pp fig figs vol ch sec art nr jan feb apr aug sep sept oct nov dec".split())
# Their full stop ends a sentence only where the next one visibly begins.
_SHORTENED: Final = frozenset("etc inc ltd co corp jr sr dept univ est ave blvd ph.d a.m p.m".split())
_DOTTED: Final = re.compile(r"(?:\w\.)+\w")  # U.S, B.C: what follows in upper case mostly belongs to them
_LIST_MARKER: Final = re.compile(r"(?:^|\n)[\s>*#-]*\(?(?:\d{1,3}|[A-Za-z])$")
_LAST_WORD: Final = re.compile(r"[\w.]*$")

_CLOSERS: Final = r"[\"'”’»)\]}）】〉》」』*_~`]*"
_BORDER: Final = re.compile(
    rf"(?P<mark>[.!?…。！？｡]+|[,;:，、；：]|[—–-]+)(?P<close>{_CLOSERS})(?P<white>\s*)|(?P<line>[^\S\n]*\n\s*)"
)
_CLAUSE_MARKS: Final = frozenset(",;:，、；：—–-")
_WIDE: Final = frozenset("。！？｡，、；：—")  # no white space need follow them
_QUOTES: Final = frozenset("\"'”’»」』")
_OPENERS: Final = frozenset('"“‘「『《（(')
_FENCE_BEGUN: Final = re.compile(r"\s*```[^\n`]*(?:\n|$)")
_FENCE: Final = re.compile(r"\s*```[^\n`]*\n(?:.*?\n)??[^\S\n]*```(?P<white>[^\S\n]*(?:\n\s*|$))", re.DOTALL)
_LETTER: Final = re.compile(r"[^\W_]")


def _words(text: str) -> int:
    return sum(1 for word in split_words(text) if _LETTER.search(word))


class Chunker:
    """Cuts one reply. Push the text as it comes; flush when no more comes for now, and it begins anew.

    `first_words_min`: words from which on the first chunk may end at a clause border (a CJK character is a word).
    `words_max`, `chars_max`: of a chunk, from its first word on and without the white space at its end; a longer
    sentence is cut at its last clause border within, else between words, else anywhere. A fenced code block is one
    chunk up to `FENCE_CHARS_MAX`, so that the synthesiser can tell what it is.
    """

    def __init__(self, *, first_words_min: int = 3, words_max: int = 40, chars_max: int = 240) -> None:
        self._first_words_min = first_words_min
        self._words_max = words_max
        self._chars_max = chars_max
        self._text = ""
        self._first = True

    def push_text(self, text: str) -> list[str]:
        """Take more text; the chunks that are certain now."""
        self._text += text
        return self._cut(final=False)

    def flush(self) -> list[str]:
        """The rest, as it is; white space alone gives nothing. The next text begins with a first chunk again."""
        chunks = self._cut(final=True)
        rest, self._text, self._first = self._text, "", True
        return [*chunks, rest] if rest.strip() else chunks

    def _cut(self, *, final: bool) -> list[str]:
        chunks: list[str] = []
        opening = int(self._first)  # the first chunk goes out as it is: it is what the person waits for
        while after := self._next_border(final=final):
            piece, self._text, self._first = self._text[:after], self._text[after:], False
            if len(chunks) > opening and self._goes_with(chunks[-1], piece):
                chunks[-1] += piece
            else:
                chunks.append(piece)
        return chunks

    def _goes_with(self, chunk: str, piece: str) -> bool:
        if _words(chunk) >= SHORT_WORDS or _FENCE_BEGUN.match(piece):
            return False
        return len(chunk + piece.rstrip()) <= self._chars_max and _words(chunk + piece) <= self._words_max

    def _next_border(self, *, final: bool) -> int:
        """Where the next chunk ends, the white space behind it included; 0 when that is not certain yet."""
        text = self._text
        begun = _LETTER.search(text)
        if not final and text.lstrip() in ("", "`", "``"):
            return 0
        if _FENCE_BEGUN.match(text):
            fence = _FENCE.match(text)
            if fence and fence.start("white") <= FENCE_CHARS_MAX:
                return fence.end() if final or fence.end() < len(text) else 0
            if len(text) <= FENCE_CHARS_MAX:
                return 0
        return self._next_in_prose(text, begun.start(), final=final) if begun else 0

    def _next_in_prose(self, text: str, begun: int, *, final: bool) -> int:
        starts = [begun + start for start in word_starts(text[begun : begun + self._chars_max + 1])]
        limit = starts[self._words_max] if len(starts) > self._words_max else begun + self._chars_max
        clause = 0
        for found in _BORDER.finditer(text, begun):
            after = found.end()
            if (after == len(text) and not final) or after - len(found["white"] or found["line"] or "") > limit:
                break
            is_sentence = _ends_sentence(text, found)
            if is_sentence:
                return after
            if is_sentence is None:
                continue
            words = _words(text[:after])
            if self._first and words >= self._first_words_min:
                return after
            clause = after if words >= SHORT_WORDS else clause
        if len(text.rstrip()) <= limit:
            return 0
        return clause or max((start for start in starts if begun < start <= limit), default=limit)


def _ends_sentence(text: str, found: re.Match[str]) -> bool | None:
    """Whether the border `found` in `text` ends a sentence (True) or a clause (False); None: it is none at all.

    Looks at nothing behind `found` but the next character, which is missing at the end of the reply.
    """
    mark, white = found["mark"], found["white"]
    if mark is None or "\n" in white:
        return True
    following = text[found.end() : found.end() + 1]
    if mark[0] in _CLAUSE_MARKS:
        return _ends_clause(text, found, following)
    if mark[-1] in _WIDE:
        return True
    next_begins = bool(white) or not following or is_cjk(following) or following in _OPENERS
    if not next_begins:
        return None
    if following.islower() and _QUOTES.intersection(found["close"]):
        return None  # "Really?" she said
    if set(mark) <= {".", "…"} and mark != ".":
        return bool(white or not following) and not following.islower()
    return True if mark != "." or _full_stop(text[: found.start()], following) else None


def _ends_clause(text: str, found: re.Match[str], following: str) -> bool | None:
    mark, white = found["mark"], found["white"]
    if mark[0] == "-":
        apart = white and text[found.start() - 1 : found.start()].isspace()
    else:
        apart = white or not following or mark[0] in _WIDE
    return False if apart else None


def _full_stop(before: str, following: str) -> bool:
    """Whether a single full stop between `before` and the visible character `following` ends a sentence."""
    if not following:
        return True
    last = _LAST_WORD.search(before)
    word = last[0] if last else ""
    lowered = word.lower()
    if lowered in _TITLES or _LIST_MARKER.search(before):
        return False
    if lowered in _SHORTENED:
        return following.isupper() or is_cjk(following) or following in _OPENERS
    if following.isdigit() and lowered in _NUMBERED:
        return False
    if lowered.isdigit():
        return not (following.islower() or following.isdigit())  # the 3. place
    return not (_DOTTED.fullmatch(lowered) or (word.isupper() and len(word) == 1 and word != "I"))  # J. Smith
