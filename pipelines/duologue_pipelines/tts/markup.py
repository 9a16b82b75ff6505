"""Markdown, HTML, code and emoji: what is written for the eye, taken out or put into words.

Chunks of a reply are cut at clauses, so marks may come without their partner: a `**` is dropped whether it is closed or
not, and a code fence that never closes runs to the end of the chunk. A Markdown parser would want whole documents and
keeps no character positions inside a line, hence patterns.
"""

import html
import re
import unicodedata
from collections.abc import Iterator
from typing import Final

import emoji

from duologue_pipelines.tts.spoken_spans import Rule, say

_CODE_BLOCK_NOTE: Final = {"en": "Code block.", "zh": "代码略。", "de": "Code.", "fr": "Bloc de code.", "es": "Código."}
_FENCE: Final = re.compile(
    r"^[ \t]*(?P<fence>`{3,}|~{3,})[^\n`]*\n(?:.*?^[ \t]*(?P=fence)[ \t]*$|.*\Z)", re.DOTALL | re.MULTILINE
)
_INLINE_CODE: Final = re.compile(r"(`{1,3})(?P<code>[^`\n]+)\1")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_KEYCAP: Final = re.compile("([0-9])\ufe0f?\u20e3")
_STOP_AT_END: Final = re.compile(r"[.!?:;,…。！？；，：][*_~`\"')\s]*$")


def code_blocks(text: str, tongue: str) -> Iterator[tuple[int, int, str]]:
    """Spans of fenced code in `text`, each with the short note that is spoken instead."""
    note = _CODE_BLOCK_NOTE.get(tongue, "")
    for match in _FENCE.finditer(text):
        yield match.start(), match.end(), f" {note} " if note else ""


def emoji_spans(text: str) -> Iterator[tuple[int, int, str]]:
    """Spans of emoji, which are not spoken; a keycap says its digit."""
    for found in emoji.emoji_list(text):
        keycap = _KEYCAP.fullmatch(found["emoji"])
        yield found["match_start"], found["match_end"], keycap[1] if keycap else " "


def code_words(code: str) -> str:
    """An identifier or a command in words: `getUserName` is "get User Name", `foo_bar()` is "foo bar"."""
    dotted = re.sub(r"(?<=\w)\.(?=\w)", " dot ", code) if code.isascii() else code
    return " ".join(_CAMEL.sub(" ", re.sub(r"[^\w+%=]+|_+", " ", dotted)).split())


def _line_end(match: re.Match[str]) -> str:
    """What follows a heading, a list item or a table row: a full stop, unless it already ends in a stop."""
    newline = "\n" if match[0].endswith("\n") else ""
    return newline if _STOP_AT_END.search(match["keep"]) else "." + newline


def _silent(*patterns: str) -> list[Rule]:
    return [Rule(re.compile(pattern, re.MULTILINE), say("")) for pattern in patterns]


CODE_AND_MARKUP: Final = (
    Rule(_INLINE_CODE, lambda match: code_words(match["code"])),
    # A link or an image: its text stays, its target (which may hold one level of brackets) goes.
    Rule(
        re.compile(
            r"!?\[(?P<keep>[^\[\]\n]*)\]"
            r"(?:\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+\"[^\"]*\")?\)|\[[^\[\]\n]*\])"
        ),
        say(""),
    ),
    *_silent(r"\[\^[^\]\s]+\]:?", r"<!--.*?-->"),
    Rule(re.compile(r"<br\s*/?>", re.IGNORECASE), say(" \n")),
    *_silent(r"</?[a-zA-Z][a-zA-Z0-9]*(?:\s[^<>\n]*)?/?>"),
    Rule(re.compile(r"&(?:#\d{1,6}|#x[0-9a-fA-F]{1,6}|[a-zA-Z]{2,20});"), lambda match: html.unescape(match[0])),
    *_silent(
        r"^[ \t]*\|?[ \t]*:?-{2,}:?[ \t]*(?:\|[ \t]*:?-{2,}:?[ \t]*)+\|?[ \t]*(?:\n|\Z)",  # a table's ruler
        r"^[ \t]*(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})(?:\n|\Z)",  # a horizontal rule
        r"^[ \t]*(?:>[ \t]?)+",
    ),
    Rule(re.compile(r"^[ \t]*\|[ \t]*(?P<keep>[^\n]*?)[ \t]*\|[ \t]*(?:\n|\Z)", re.MULTILINE), _line_end),
    Rule(re.compile(r"^[ \t]{0,3}#{1,6}[ \t]+(?P<keep>[^\n]*?)[ \t]*#*[ \t]*(?:\n|\Z)", re.MULTILINE), _line_end),
    Rule(
        re.compile(r"^[ \t]*[-*+•‣◦][ \t]+(?:\[[ xX]\][ \t]+)?(?P<keep>[^\n]+)(?:\n|\Z)", re.MULTILINE), _line_end
    ),
    Rule(re.compile(r"^(?P<keep>[ \t]*\d{1,2}[.)][ \t][^\n]+)\n", re.MULTILINE), _line_end),
    Rule(re.compile(r"(?<=[^\s.!?:;,。！？；，])[ \t]*\n[ \t]*\n\s*"), say(".\n")),
    *_silent(r"\\(?=[^\w\s])", r"\*{2,}(?!\d)|(?<!\d)\*{2,}", r"~~+", r"(?<![\d\s])\*|\*(?![\d\s])"),
    *_silent(r"(?<![^\W_])_+|_+(?![^\W_])"),
    Rule(re.compile(r"(?<=[^\W_])_+(?=[^\W_])"), say(" ")),
    Rule(re.compile(r"(?<!\w)[:;=]-?[()DPp](?!\w)"), say("")),  # :-)
)  # fmt: skip


# Marks with no sound of their own. Brackets among them: "[[" would start raw phonemes in a Piper voice.
_MARKS: Final = "`#|\\{}[]<>^~*"
_SILENT_CATEGORIES: Final = ("So", "Sk", "Cf", "Co", "Cn")


def leftover_spans(text: str) -> Iterator[tuple[int, int, str]]:
    """Characters of `text` that nobody reads out: stray markup, pictures, format characters."""
    for index, char in enumerate(text):
        silent = char in _MARKS or unicodedata.category(char) in _SILENT_CATEGORIES
        if silent and char not in _SPOKEN_SIGNS:
            between_words = index > 0 and text[index - 1].isalnum() and text[index + 1 : index + 2].isalnum()
            yield index, index + 1, " " if between_words else ""


_SPOKEN_SIGNS: Final = "°℃℉"
SYMBOLS_LEFT_OVER: Final = (
    Rule(re.compile(r"[ \t]+\|[ \t]+"), say(", ")),
    Rule(re.compile(r"(?<=\w)[ \t]*(?:—|–|――|--+)[ \t]*(?=\w)"), say(", ")),
    Rule(re.compile(r"…+|\.{4,}"), say("...")),
)
