"""Text in the symbols that Kokoro was trained on: espeak's IPA brought to its set, Mandarin by misaki.

Which IPA becomes which symbol follows misaki 0.9.4, the model's own reference (`espeak.py` for all languages but
Mandarin, `zh.py` for that; Apache-2.0): a diphthong is one capital letter, an affricate one ligature, a tone an arrow.
Han inside another language, and Latin inside Mandarin, go to whoever can read them. misaki and jieba are imported
when the first Han is met.
"""

import logging
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from duologue.errors import StageUnavailable
from duologue.registry import install_command
from duologue_pipelines.tts.espeak_library import TIE, library
from duologue_pipelines.tts.piper_words import word_spans
from duologue_pipelines.tts.speakable import SourceWord

SYMBOLS_MAX: Final = 510  # the model's 512 places, less the empty symbols at both ends

# Longer spellings first. The same in all languages that espeak phonemises, then what English adds.
_COMMON: Final = {
    "a^ɪ": "I", "a^ʊ": "W", "e^ɪ": "A", "o^ʊ": "O", "ə^ʊ": "Q", "ɔ^ɪ": "Y",
    "d^z": "ʣ", "d^ʒ": "ʤ", "t^s": "ʦ", "t^ʃ": "ʧ", "s^s": "S", "-": "",
}  # fmt: skip
_ENGLISH: Final = {
    "ʔˌn\u0329": "ʔn", "ʔn\u0329": "ʔn", "a^ɪ": "I", "a^ʊ": "W", "d^ʒ": "ʤ", "e^ɪ": "A", "t^ʃ": "ʧ", "ɔ^ɪ": "Y",
    "ə^l": "ᵊl", "ʲo": "jo", "ʲə": "jə", "ʲ": "", "ɚ": "əɹ", "r": "ɹ", "x": "k", "ç": "k", "ɐ": "ə", "ɬ": "l",
    "\u0303": "",
}  # fmt: skip
_AMERICAN: Final = {"o^ʊ": "O", "ɜːɹ": "ɜɹ", "ɜː": "ɜɹ", "ɪə": "iə", "ː": ""}
_BRITISH: Final = {"e^ə": "ɛː", "iə": "ɪə", "ə^ʊ": "Q"}
_ENGLISH_LAST: Final = {"e": "A", "o": "ɔ", "ɾ": "T", "ʔ": "t"}
_TABLES: Final[Mapping[str, tuple[Mapping[str, str], ...]]] = {
    "en-us": (_ENGLISH, _AMERICAN, _ENGLISH_LAST),
    "en-gb": (_ENGLISH, _BRITISH, _ENGLISH_LAST),
}
_SYLLABIC: Final = re.compile("(\\S)\u0329")
_PUNCTUATION: Final = re.compile(r"([,.;:!?…—]+(?=\s|$|[\"”)])|[\"“”()—…])")
_HAN: Final = re.compile(r"([\u3400-\u4dbf\u4e00-\u9fff]+)")
_NON_SYLLABIC: Final = "\u032f"


@dataclass(frozen=True, slots=True)
class Phrase:
    """What one run of the model speaks. `symbols`: at most `SYMBOLS_MAX`; `words`: each with its span of symbols."""

    symbols: str
    words: tuple[tuple[SourceWord, int, int], ...]


def phrases(text: str, words: Sequence[SourceWord], language: str, known: Collection[str]) -> Iterator[Phrase]:
    """`text` as phrases that the model can take, cut between words where it is too long for one.

    `words` lie in `text` by their `start` and `end`; `language`: espeak's name of it; `known`: the model's symbols.
    Raises `StageUnavailable` where Mandarin's package is missing.
    """
    symbols = symbols_of(text, language, known)
    if len(symbols) > SYMBOLS_MAX and len(words) > 1:
        middle = words[len(words) // 2].start
        left = [word for word in words if word.start < middle]
        right = [_moved(word, -middle) for word in words if word.start >= middle]
        yield from phrases(text[:middle], left, language, known)
        yield from phrases(text[middle:], right, language, known)
        return
    symbols = symbols[:SYMBOLS_MAX]  # a single word of that length is nothing that anybody says
    if not any(char.isalpha() for char in symbols):
        return
    alone = [symbols_of(text[word.start : word.end], language, known) for word in words]
    spans = word_spans(symbols, alone)
    yield Phrase(symbols, tuple((word, *span) for word, span in zip(words, spans, strict=True)))


def _moved(word: SourceWord, by: int) -> SourceWord:
    return SourceWord(word.start + by, word.end + by, word.start_char, word.end_char)


def symbols_of(text: str, language: str, known: Collection[str]) -> str:
    """`text` in the model's symbols; what it has none for is left out."""
    found: list[str] = []
    for part in _PUNCTUATION.split(text):
        if _PUNCTUATION.fullmatch(part):
            found.append(part)
        elif part.strip():
            before, after = " " if part[0].isspace() else "", " " if part[-1].isspace() else ""
            found.append(before + " ".join(_parts(part, language)) + after)
        else:
            found.append(part)
    joined = re.sub(r"\s+", " ", "".join(found)).strip()
    return "".join(symbol for symbol in joined if symbol in known)


def _parts(text: str, language: str) -> Iterator[str]:
    for part in _HAN.split(text):
        if _HAN.fullmatch(part):
            yield _mandarin(part)
        elif part.strip():
            yield from_ipa(library().phonemes(part, voice=_latin(language)), _latin(language))


def _latin(language: str) -> str:
    return "en-us" if language == "cmn" else language


def from_ipa(ipa: str, language: str) -> str:
    """espeak's IPA with ties, in `language` (espeak's name of it), in Kokoro's symbols."""
    for table in _TABLES.get(language, (_COMMON,)):
        for spelling in sorted(table, key=len, reverse=True):
            ipa = ipa.replace(spelling, table[spelling])
    if language in _TABLES:
        ipa = _SYLLABIC.sub(r"ᵊ\1", ipa)
    return ipa.replace(TIE, "")


def _mandarin(text: str) -> str:
    to_symbols, jieba = mandarin()
    return " ".join(to_symbols(word) for word in jieba.lcut(text)).replace(_NON_SYLLABIC, "")


@cache
def mandarin() -> tuple[Any, Any]:
    """misaki's function for a word's symbols, and jieba, loaded. Raises `StageUnavailable`."""
    try:
        import jieba
        from misaki.zh import ZHG2P
    except ImportError as error:
        raise StageUnavailable(
            "tts", f"kokoro reads Chinese with the package {error.name}", hint=f"Run `{install_command('kokoro')}`"
        ) from error
    jieba.setLogLevel(logging.WARNING)
    jieba.initialize()
    return ZHG2P.word2ipa, jieba
