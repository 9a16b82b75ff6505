"""Web and mail addresses as one would read them out: no scheme, no query, the marks in the listener's language."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from duologue_pipelines.tts.spoken_spans import Rule

_PATH_SEGMENTS_MAX: Final = 2  # nobody can use more of an address by ear
_SEGMENT: Final = re.compile(r"[A-Za-z][A-Za-z_-]{0,19}")

_URL: Final = re.compile(r"(?:https?|ftp)://[^\s<>\"'，。、）」]+|(?<![\w@.])www\.[^\s<>\"'，。、）」]+")
_DOMAIN: Final = re.compile(
    r"(?<![\w@.-])(?:[A-Za-z0-9-]+\.)+(?:com|org|net|edu|gov|io|dev|ai|app|info|cn|de|fr|jp|uk|eu|tv)(?:/[\w./-]*\w)?(?![A-Za-z0-9@-])"
)
_MAIL: Final = re.compile(r"(?:mailto:)?[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_TRAILING: Final = ".,;:!?)]*_"


@dataclass(frozen=True, slots=True)
class _Marks:
    """How a language reads the marks of an address out."""

    dot: str
    slash: str
    at: str
    dash: str


_MARKS: Final = {
    "en": _Marks(" dot ", " slash ", " at ", " dash "),
    "zh": _Marks("点", "斜杠", "艾特", "杠"),
    "de": _Marks(" Punkt ", " Schrägstrich ", " ät ", " Bindestrich "),
    "fr": _Marks(" point ", " barre oblique ", " arobase ", " tiret "),
    "es": _Marks(" punto ", " barra ", " arroba ", " guion "),
    "it": _Marks(" punto ", " barra ", " chiocciola ", " trattino "),
    "pt": _Marks(" ponto ", " barra ", " arroba ", " traço "),
}


@lru_cache(maxsize=64)
def address_rules(tongue: str) -> tuple[Rule, ...]:
    """Rules for addresses in the language `tongue`; English marks where a language has none here."""
    marks = _MARKS.get(tongue, _MARKS["en"])

    def speak_url(match: re.Match[str]) -> str:
        address = match[0].rstrip(_TRAILING)
        trailing = match[0][len(address) :].rstrip("*_)]")
        return _spoken_url(address, marks) + trailing

    def speak_mail(match: re.Match[str]) -> str:
        return _spoken_name(match[0].removeprefix("mailto:"), marks)

    return (Rule(_URL, speak_url), Rule(_MAIL, speak_mail), Rule(_DOMAIN, speak_url))


def _spoken_url(address: str, marks: _Marks) -> str:
    bare = re.sub(r"^\w+://", "", address)
    host, _, rest = bare.partition("/")
    host = re.sub(r":\d+$", "", host.removeprefix("www.").rpartition("@")[2])
    segments = [segment for segment in re.split(r"[?#]", rest)[0].split("/") if segment]
    kept = segments[:_PATH_SEGMENTS_MAX] if all(map(_SEGMENT.fullmatch, segments[:_PATH_SEGMENTS_MAX])) else []
    return marks.slash.join([_spoken_name(host, marks), *(_spoken_name(segment, marks) for segment in kept)])


def _spoken_name(name: str, marks: _Marks) -> str:
    table = {".": marks.dot, "@": marks.at, "-": marks.dash, "_": " ", "+": " plus ", "%": " "}
    return "".join(table.get(char, char) for char in name).strip()
