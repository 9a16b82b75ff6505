"""Languages by their BCP 47 codes: what is one, which of several is nearest, and what it is called in a text."""

import re
from collections.abc import Iterable
from types import MappingProxyType
from typing import Annotated, Final

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from duologue.nearest import nearest

DEFAULT_LANGUAGE: Final = "en"
LANGUAGE_NAMES: Final = MappingProxyType(
    {
        "ar": "Arabic", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek", "en": "English", "es": "Spanish",
        "fi": "Finnish", "fr": "French", "hi": "Hindi", "hu": "Hungarian", "it": "Italian", "ja": "Japanese",
        "ko": "Korean", "nl": "Dutch", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian",
        "ru": "Russian", "sv": "Swedish", "tr": "Turkish", "uk": "Ukrainian", "vi": "Vietnamese", "zh": "Chinese",
    }
)  # fmt: skip
_CODE: Final = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")


def check_language(code: str) -> str:
    """`code` as it is. Raises what pydantic turns into a complaint, with the code of the language that was named."""
    if _CODE.fullmatch(code) is None:
        codes = {name: code for code, name in LANGUAGE_NAMES.items()}
        guess = nearest(code, codes)
        raise PydanticCustomError(
            "sentence",
            "must be a language code like en, zh or pt-BR, got {code}",
            {"code": repr(code), "hint": f"{guess} is {codes[guess]!r}" if guess else "See BCP 47 for the codes"},
        )
    return code


LanguageCode = Annotated[str, AfterValidator(check_language)]


def best_language(wanted: str | None, available: Iterable[str]) -> str | None:
    """The one of `available` for the BCP 47 code `wanted`: the same, or the first of the same tongue; else None."""
    if not wanted:
        return None
    codes = list(available)
    for code in codes:
        if code.lower() == wanted.lower().replace("_", "-"):
            return code
    tongue = re.split(r"[-_]", wanted.lower())[0]
    return next((code for code in codes if code.lower().split("-")[0] == tongue), None)


def language_name(code: str) -> str:
    """`"zh-CN"` as "Chinese"; a code that is not known as it is."""
    return LANGUAGE_NAMES.get(code.split("-")[0], code)
