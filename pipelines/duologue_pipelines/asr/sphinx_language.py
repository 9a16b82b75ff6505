"""What pocketsphinx is told to expect: a dictionary and a language model made from a pack's own sentences.

A small model of what is likely to be said beats a general one by far in word error and speed; backchannels and fillers
are put in beside the sentences, because people say them to any pack.
"""

import io
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from num2words import num2words
from pocketsphinx.lm import ArpaBoLM

from duologue_pipelines.asr.letter_to_sound import pronounce

BACKCHANNELS: Final = (
    "mhm", "mm", "hmm", "uh-huh", "huh", "yeah", "yes", "yep", "no", "nope", "okay", "right", "sure", "i see", "oh",
    "ah", "um", "uh", "well", "thanks", "thank you", "hello", "hi", "goodbye", "bye", "stop", "wait", "sorry",
)  # fmt: skip
# Said in ways that the dictionary doesn't know: the nasal "mm-hm" comes with a vowel of sorts from most people.
_EXTRA_PRONUNCIATIONS: Final = {
    "mhm": ("AH M HH AH M", "M HH M", "EH M HH AH M"),
    "mm": ("M", "AH M"),
    "hmm": ("HH M", "HH AH M"),
    "uh-huh": ("AH HH AH",),
    "um": ("AH M",),
    "uh": ("AH",),
}
_TOKEN: Final = re.compile(r"[a-z]+(?:['’-][a-z]+)*|\d+(?:[.,]\d+)*")
_SENTENCES_MAX: Final = 20_000  # a pack's; beyond this a general model serves better


@dataclass(frozen=True, slots=True)
class PackLanguage:
    """Files for a decoder, and the words that were left out because nobody could say how they sound."""

    dictionary: Path
    language_model: Path
    left_out: tuple[str, ...]


def spoken_tokens(sentence: str) -> list[str]:
    """`sentence` as the words that are said: lower case, no punctuation, numbers spelled out."""
    tokens: list[str] = []
    for token in _TOKEN.findall(sentence.lower()):
        if token[0].isdigit():
            tokens += _said_number(token)
        else:
            tokens.append(token.replace("’", "'"))
    return tokens


def _said_number(token: str) -> list[str]:
    plain = token.replace(",", "")
    try:
        value = float(plain) if "." in plain else int(plain)
    except ValueError:  # "1.2.3" is no number
        return []
    return re.findall(r"[a-z]+", num2words(value).lower())


@lru_cache(maxsize=4)
def read_dictionary(path: Path) -> Mapping[str, str]:
    """Word → phones of a pronunciation dictionary; other pronunciations of a word stand as "word(2)"."""
    entries: dict[str, str] = {}
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            word, _, phones = line.strip().partition(" ")
            if phones:
                entries[word] = phones.strip()
    return entries


def build_language(phrases: Sequence[str], general: Path, folder: Path) -> PackLanguage:
    """Write a dictionary and a language model for `phrases` into `folder`.

    `general`: the dictionary to look words up in.
    """
    known = read_dictionary(general)
    sentences = [spoken_tokens(phrase) for phrase in phrases[:_SENTENCES_MAX]]
    sentences += [phrase.split() for phrase in BACKCHANNELS]
    chosen: dict[str, list[str]] = {}
    left_out: list[str] = []
    for word in sorted({_in_dictionary(token, known) for tokens in sentences for token in tokens}):
        sounds = _pronunciations(word, known)
        if sounds:
            chosen[word] = sounds
        else:
            left_out.append(word)
    corpus = (
        (token for token in (_in_dictionary(t, known) for t in tokens) if token in chosen) for tokens in sentences
    )
    text = "\n".join(" ".join(tokens) for tokens in corpus)
    model = ArpaBoLM(text=text, add_start=True)
    model.compute()
    arpa = io.StringIO()
    model.write(arpa)
    language_model = folder / "pack.arpa"
    language_model.write_text(arpa.getvalue(), encoding="utf-8")
    dictionary = folder / "pack.dict"
    dictionary.write_text(_dictionary_text(chosen), encoding="utf-8")
    return PackLanguage(dictionary, language_model, tuple(left_out))


@lru_cache(maxsize=64)
def written_forms(phrases: tuple[str, ...]) -> Mapping[tuple[str, ...], tuple[str, ...]]:
    """How a pack writes its sentences: tokens as they are heard → words with case and punctuation, one a token.

    A decoder gives bare words. Where they are one of the pack's sentences from beginning to end, the pack's own
    spelling
    says the rest, and its full stop or question mark says that the sentence is complete.
    """
    forms: dict[tuple[str, ...], tuple[str, ...]] = {}
    for phrase in phrases[:_SENTENCES_MAX]:
        written = tuple(phrase.split())
        tokens = tuple(spoken_tokens(phrase))
        if len(tokens) == len(written):
            forms.setdefault(tokens, written)
    return forms


def new_folder() -> "tempfile.TemporaryDirectory[str]":
    """Where the files of one phrase set lie until it is forgotten."""
    return tempfile.TemporaryDirectory(prefix="duologue-sphinx-")


def _in_dictionary(token: str, known: Mapping[str, str]) -> str:
    """ "mm-hm" and "mm-hmm" are one word, spelled as the dictionary has it."""
    if token in ("mm-hm", "mm-hmm", "mhmm", "m-hm", "mmhm"):
        return "mhm"
    return "okay" if token == "ok" and "okay" in known else token


def _pronunciations(word: str, known: Mapping[str, str]) -> list[str]:
    found = list(_EXTRA_PRONUNCIATIONS.get(word, ()))
    for name in (word, *(f"{word}({n})" for n in range(2, 6))):
        if name in known and known[name] not in found:
            found.append(known[name])
    if not found:
        guess = pronounce(word, known)
        if guess:
            found.append(guess)
    return found


def _dictionary_text(chosen: Mapping[str, list[str]]) -> str:
    lines = []
    for word, sounds in chosen.items():
        for index, phones in enumerate(sounds, 1):
            lines.append(f"{word}{'' if index == 1 else f'({index})'} {phones}\n")
    return "".join(lines)
