"""Kokoro's voices by name: which there are, what each speaks, blends of several, and which one a language gets.

A name begins with its language ("a" American English, "z" Mandarin, …) and "f" or "m". A voice is a table of styles,
one row for each number of symbols spoken at once.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from duologue.errors import ConfigurationError
from duologue.nearest import did_you_mean

STYLE_SIZE: Final = 256
VOICES_BLENDED_MAX: Final = 8

Styles = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Tongue:
    """A language of the model: its BCP 47 code, espeak's name of it, and the voice that it gets by default."""

    code: str
    espeak: str
    voice: str


TONGUES: Final = {
    "a": Tongue("en-US", "en-us", "af_heart"),
    "b": Tongue("en-GB", "en-gb", "bf_emma"),
    "e": Tongue("es", "es", "ef_dora"),
    "f": Tongue("fr", "fr-fr", "ff_siwis"),
    "h": Tongue("hi", "hi", "hf_alpha"),
    "i": Tongue("it", "it", "if_sara"),
    "p": Tongue("pt", "pt-br", "pf_dora"),
    "z": Tongue("zh", "cmn", "zf_xiaoxiao"),
}
DEFAULT: Final = TONGUES["a"]
LANGUAGES: Final = tuple(sorted({tongue.code.partition("-")[0] for tongue in TONGUES.values()}))
_MANDARIN: Final = {"cmn": "zh", "yue": "", "wuu": ""}
_BRITISH: Final = ("en-gb", "en-uk", "en-au", "en-nz", "en-ie", "en-za", "en-in")


def tongue_for(language: str) -> Tongue:
    """The model's language for a BCP 47 code. Raises `ConfigurationError` for one that it lacks."""
    code = language.lower().replace("_", "-")
    primary = code.partition("-")[0]
    primary = _MANDARIN.get(primary, primary)
    if code.startswith(_BRITISH):
        return TONGUES["b"]
    for tongue in TONGUES.values():
        if primary == tongue.code.partition("-")[0]:
            return tongue
    if primary == "ja":
        raise ConfigurationError(
            "kokoro's Japanese needs a reader of kanji that is not built in", hint="Take another synthesiser for it"
        )
    raise ConfigurationError(
        f"kokoro does not speak {language!r}", hint=f"It speaks {', '.join(LANGUAGES)}; take another synthesiser"
    )


def tongue_of(voice: str) -> Tongue | None:
    """What the (first) voice of `voice` speaks; None for Japanese."""
    return TONGUES.get(voice[:1])


def voice_names(folder: Path) -> tuple[str, ...]:
    """Names of the voices in `folder`, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.bin")))


def blend(voice: str, known: Collection[str]) -> dict[str, float]:
    """The parts of "af_heart" or "af_heart:0.6+am_michael:0.4", which add up to 1.

    A part without a weight counts 1. Raises `ConfigurationError` for a name that is not `known`, a weight that is no
    positive number, or too many parts.
    """
    parts = voice.split("+")
    if len(parts) > VOICES_BLENDED_MAX:
        raise ConfigurationError(f"a kokoro voice is blended of {VOICES_BLENDED_MAX} at most, got {len(parts)}")
    weights: dict[str, float] = {}
    for part in parts:
        name, colon, weight = (piece.strip() for piece in part.partition(":"))
        if name not in known:
            raise ConfigurationError(f"kokoro has no voice {name!r}", hint=did_you_mean(name, known))
        if colon and (not re.fullmatch(r"\d{0,6}\.?\d{1,6}", weight) or float(weight) == 0):
            raise ConfigurationError(
                f"{voice!r}: a voice's weight is a positive number, got {weight!r}",
                hint='Write it like "af_heart:0.6+am_michael:0.4"',
            )
        weights[name] = weights.get(name, 0.0) + (float(weight) if colon else 1.0)
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def load_styles(folder: Path, parts: dict[str, float]) -> Styles:
    """The blend's table, float32 of shape (rows, 256). Raises `ConfigurationError` for a damaged voice."""
    tables: list[Styles] = []
    for name, weight in parts.items():
        path = folder / f"{name}.bin"
        table = np.fromfile(path, dtype="<f4")
        if table.size == 0 or table.size % STYLE_SIZE or not np.isfinite(table).all():
            hint = "Pull it again: `duologue models pull kokoro:v1.0`"
            raise ConfigurationError(f"{path} is no kokoro voice", hint=hint)
        tables.append(table.reshape(-1, STYLE_SIZE) * np.float32(weight))
    rows = min(len(table) for table in tables)
    styles: Styles = np.sum([table[:rows] for table in tables], axis=0, dtype=np.float32)
    return styles
