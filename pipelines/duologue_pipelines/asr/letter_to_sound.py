"""How an English word that the dictionary lacks is probably said, in ARPABET: names of a pack, made-up words.

Rough by design. A word is first taken apart into what the dictionary knows (hyphens, endings, compounds); only what is
left goes through letter rules, after the manner of Elovitz et al. 1976 (NRL Report 7948), much abridged.
"""

from collections.abc import Mapping
from typing import Final

_LONGEST_RULE: Final = 5
_RULES: Final = {
    "tion": "SH AH N", "sion": "ZH AH N", "cian": "SH AH N", "ough": "AO", "augh": "AO", "eigh": "EY", "ight": "AY T",
    "ious": "IY AH S", "ture": "CH ER", "tch": "CH", "dge": "JH", "sch": "S K", "igh": "AY", "eau": "OW", "ear": "IH R",
    "air": "EH R", "eer": "IH R", "oar": "AO R", "our": "AW ER", "ous": "AH S", "ing": "IH NG", "que": "K", "gue": "G",
    "ch": "CH", "sh": "SH", "th": "TH", "ph": "F", "wh": "W", "ck": "K", "ng": "NG", "qu": "K W", "kn": "N", "wr": "R",
    "gh": "G", "gn": "N", "ps": "P S", "rh": "R", "sc": "S K", "ai": "EY", "ay": "EY", "au": "AO", "aw": "AO",
    "ea": "IY", "ee": "IY", "ei": "EY", "ey": "IY", "eu": "Y UW", "ew": "Y UW", "ie": "IY", "oa": "OW", "oe": "OW",
    "oi": "OY", "oo": "UW", "ou": "AW", "ow": "OW", "oy": "OY", "ue": "UW", "ui": "UW", "ar": "AA R", "er": "ER",
    "ir": "ER", "or": "AO R", "ur": "ER", "ce": "S EH", "ci": "S IH", "cy": "S IY", "ge": "JH EH", "gi": "JH IH",
    "bb": "B", "cc": "K", "dd": "D", "ff": "F", "gg": "G", "ll": "L", "mm": "M", "nn": "N", "pp": "P", "rr": "R",
    "ss": "S", "tt": "T", "zz": "Z", "a": "AE", "b": "B", "c": "K", "d": "D", "e": "EH", "f": "F", "g": "G", "h": "HH",
    "i": "IH", "j": "JH", "k": "K", "l": "L", "m": "M", "n": "N", "o": "AA", "p": "P", "q": "K", "r": "R", "s": "S",
    "t": "T", "u": "AH", "v": "V", "w": "W", "x": "K S", "y": "IY", "z": "Z",
}  # fmt: skip
_FINAL: Final = {"e": "", "ce": "S", "ge": "JH", "y": "IY", "o": "OW", "a": "AH", "i": "IY", "le": "AH L", "re": "ER"}
_LONG_VOWELS: Final = {"a": "EY", "e": "IY", "i": "AY", "o": "OW", "u": "UW"}  # before one consonant and a silent e
_UNVOICED: Final = ("P", "T", "K", "F", "TH")
_SIBILANTS: Final = ("S", "Z", "SH", "ZH", "CH", "JH")
_PART_MIN: Final = 3  # letters of either half of a compound


def pronounce(word: str, dictionary: Mapping[str, str]) -> str | None:
    """ARPABET of `word` (lower case), phones parted by spaces; None where it has a letter that English lacks."""
    if word in dictionary:
        return dictionary[word]
    parts = [part for part in word.replace("'", "-").split("-") if part]
    if not parts or not all(part.isascii() and part.isalpha() for part in parts):
        return None
    if len(parts) == 2 and parts[1] == "s" and word.endswith("'s"):
        return _plural(pronounce(parts[0], dictionary) or "")
    if len(parts) > 1:
        return " ".join(pronounce(part, dictionary) or "" for part in parts)
    return _with_ending(word, dictionary) or _compound(word, dictionary) or _spell(word)


def _with_ending(word: str, dictionary: Mapping[str, str]) -> str | None:
    if word.endswith("s") and word[:-1] in dictionary:
        return _plural(dictionary[word[:-1]])
    for ending, phones in (("ing", "IH NG"), ("ed", "D"), ("er", "ER"), ("ly", "L IY"), ("ness", "N AH S")):
        stem = word.removesuffix(ending)
        if stem != word:
            for known in (stem, stem + "e"):
                if known in dictionary:
                    return f"{dictionary[known]} {phones}"
    return None


def _plural(phones: str) -> str:
    last = phones.rsplit(" ", 1)[-1]
    if last in _SIBILANTS:
        return f"{phones} AH Z"
    return f"{phones} {'S' if last in _UNVOICED else 'Z'}"


def _compound(word: str, dictionary: Mapping[str, str]) -> str | None:
    for cut in range(len(word) - _PART_MIN, _PART_MIN - 1, -1):
        if word[:cut] in dictionary and word[cut:] in dictionary:
            return f"{dictionary[word[:cut]]} {dictionary[word[cut:]]}"
    return None


def _spell(word: str) -> str:
    phones: list[str] = []
    at = 0
    while at < len(word):
        rest = word[at:]
        if at and rest in _FINAL:
            phones.append(_FINAL[rest])
            break
        if _is_long(rest):
            phones.append(_LONG_VOWELS[rest[0]])
            at += 1
            continue
        length = next(n for n in range(min(_LONGEST_RULE, len(rest)), 0, -1) if rest[:n] in _RULES)
        phones.append(_RULES[rest[:length]])
        # "ci", "ge" and their like say what the consonant is; the vowel is looked at again with what follows it.
        softened = rest[:length] in ("ce", "ci", "cy", "ge", "gi") and len(rest) > length
        if softened:
            phones[-1] = phones[-1].split()[0]
        at += length - 1 if softened else length
    return " ".join(phone for phone in phones if phone)


def _is_long(rest: str) -> bool:
    return len(rest) == 3 and rest[0] in _LONG_VOWELS and rest[1] not in "aeiouwxy" and rest[2] == "e"
