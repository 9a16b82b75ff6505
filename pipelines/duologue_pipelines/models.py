"""Which models can be had, which are here, and how to get one: what `duologue models` shows and does.

Of whisper it lists every size that faster-whisper knows; of piper a choice, and any other well-formed voice
(`piper:en_GB-cori-high`) can be pulled too. Sizes are about right; the download knows them exactly.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from duologue.errors import ConfigurationError, StageUnavailable
from duologue.nearest import did_you_mean
from duologue_pipelines import model_cache
from duologue_pipelines.hub import Hub, HubFile, Progress

Kind = Literal["whisper", "piper", "kokoro", "llamacpp", "turn"]
KINDS: Final = ("whisper", "piper", "kokoro", "llamacpp", "turn")
PIPER_REPOSITORY: Final = "rhasspy/piper-voices"
# What faster-whisper loads; a repository also holds a README and the like.
_WHISPER_FILES: Final = re.compile(r"(config|preprocessor_config|tokenizer)\.json|model\.bin|vocabulary\..+")
_PIPER_NAME: Final = re.compile(r"(([a-z]{2,3})_[A-Z]{2})-([A-Za-z0-9_]+)-(x_low|low|medium|high)")
# Typical sizes of a voice by quality, in MB.
_PIPER_MB: Final = {"x_low": 21, "low": 63, "medium": 63, "high": 114}


@dataclass(frozen=True, slots=True)
class Model:
    """One model that can be pulled. `megabytes`: about. `repository`, `folder`: where on the hub."""

    kind: Kind
    name: str
    what: str
    megabytes: int
    repository: str
    folder: str = ""

    @property
    def spec(self) -> str:
        """As `pull` takes it: `whisper:tiny`."""
        return f"{self.kind}:{self.name}"

    @property
    def path(self) -> Path:
        """Where it lies, or would."""
        return _PLACES[self.kind][0](self.name)

    @property
    def is_here(self) -> bool:
        """Whether it is complete in the cache."""
        return _PLACES[self.kind][1](self.path)


# Where a model of each kind lies, and whether what lies there is whole.
_PLACES: Final[Mapping[Kind, tuple[Callable[[str], Path], Callable[[Path], bool]]]] = {
    "whisper": (model_cache.whisper_folder, model_cache.is_whisper_model),
    "piper": (model_cache.piper_voice, model_cache.is_piper_voice),
    "kokoro": (model_cache.kokoro_folder, model_cache.is_kokoro),
    "llamacpp": (model_cache.llamacpp_model, Path.is_file),
    "turn": (model_cache.turn_model, Path.is_file),
}


def _whisper(name: str, megabytes: int, what: str, repository: str = "") -> Model:
    return Model("whisper", name, what, megabytes, repository or f"Systran/faster-whisper-{name}")


def _piper(name: str, what: str, megabytes: int = 0) -> Model:
    found = _PIPER_NAME.fullmatch(name)
    if found is None:
        raise ConfigurationError(
            f"{name!r} is no piper voice", hint="It is written like en_US-lessac-medium; see `duologue models list`"
        )
    locale, language, speaker, quality = found.groups()
    folder = f"{language}/{locale}/{speaker}/{quality}"
    return Model("piper", name, what, megabytes or _PIPER_MB[quality], PIPER_REPOSITORY, folder)


CATALOGUE: Final = (
    _whisper("tiny", 78, "99 languages; quick on any machine"),
    _whisper("tiny.en", 78, "English; quick on any machine"),
    _whisper("base", 148, "99 languages; the best that keeps up on two cores"),
    _whisper("base.en", 148, "English; the best that keeps up on two cores"),
    _whisper("small", 486, "99 languages; wants four fast cores or a GPU"),
    _whisper("small.en", 486, "English; wants four fast cores or a GPU"),
    _whisper("medium", 1530, "99 languages; wants a GPU"),
    _whisper("medium.en", 1530, "English; wants a GPU"),
    _whisper("large-v1", 3090, "99 languages; wants a GPU"),
    _whisper("large-v2", 3090, "99 languages; wants a GPU"),
    _whisper("large-v3", 3090, "100 languages, the most accurate; wants a GPU"),
    _whisper("large", 3090, "large-v3 under its short name; wants a GPU", "Systran/faster-whisper-large-v3"),
    _whisper("turbo", 1620, "100 languages; large-v3, quicker", "mobiuslabsgmbh/faster-whisper-large-v3-turbo"),
    _whisper("large-v3-turbo", 1620, "turbo under its long name", "mobiuslabsgmbh/faster-whisper-large-v3-turbo"),
    _whisper("distil-small.en", 336, "English, distilled", "Systran/faster-distil-whisper-small.en"),
    _whisper("distil-medium.en", 792, "English, distilled", "Systran/faster-distil-whisper-medium.en"),
    _whisper("distil-large-v3", 1516, "English, distilled; wants a GPU", "Systran/faster-distil-whisper-large-v3"),
    _whisper("distil-large-v2", 1516, "English, distilled; wants a GPU", "Systran/faster-distil-whisper-large-v2"),
    _whisper("distil-large-v3.5", 1516, "English, distilled; wants a GPU", "distil-whisper/distil-large-v3.5-ct2"),
    _piper("en_US-lessac-medium", "English (US), female"),
    _piper("en_US-lessac-high", "English (US), female, better and slower"),
    _piper("en_US-amy-medium", "English (US), female"),
    _piper("en_US-ryan-medium", "English (US), male"),
    _piper("en_US-hfc_female-medium", "English (US), female"),
    _piper("en_US-hfc_male-medium", "English (US), male"),
    _piper("en_US-libritts_r-medium", "English (US), 904 speakers", 79),
    _piper("en_GB-alan-medium", "English (UK), male"),
    _piper("en_GB-jenny_dioco-medium", "English (UK), female"),
    _piper("zh_CN-huayan-medium", "Chinese (Mandarin), female"),
    _piper("ar_JO-kareem-medium", "Arabic, male"),
    _piper("cs_CZ-jirka-medium", "Czech, male"),
    _piper("da_DK-talesyntese-medium", "Danish"),
    _piper("de_DE-thorsten-medium", "German, male"),
    _piper("de_DE-thorsten-high", "German, male, better and slower"),
    _piper("el_GR-rapunzelina-low", "Greek, female"),
    _piper("es_ES-davefx-medium", "Spanish (Spain), male"),
    _piper("es_MX-claude-high", "Spanish (Mexico)", 63),
    _piper("fi_FI-harri-medium", "Finnish, male"),
    _piper("fr_FR-siwis-medium", "French, female"),
    _piper("fr_FR-upmc-medium", "French, two speakers", 77),
    _piper("hu_HU-anna-medium", "Hungarian, female"),
    _piper("it_IT-paola-medium", "Italian, female"),
    _piper("nl_NL-mls-medium", "Dutch, 52 speakers", 77),
    _piper("no_NO-talesyntese-medium", "Norwegian"),
    _piper("pl_PL-gosia-medium", "Polish, female"),
    _piper("pt_BR-faber-medium", "Portuguese (Brazil), male"),
    _piper("ro_RO-mihai-medium", "Romanian"),
    _piper("ru_RU-irina-medium", "Russian, female"),
    _piper("sv_SE-nst-medium", "Swedish"),
    _piper("tr_TR-dfki-medium", "Turkish"),
    _piper("uk_UA-ukrainian_tts-medium", "Ukrainian, three speakers", 77),
    _piper("vi_VN-vais1000-medium", "Vietnamese, female"),
    Model("kokoro", "v1.0", "54 voices in 8 languages, the best open ones of its size", 121, ""),
    Model("llamacpp", "SmolLM2-135M-Instruct-Q4_1", "English; very small: answers from a pack's examples", 98, ""),
    Model("turn", "smart-turn-v3.2", "hears whether a turn is over; 23 languages", 9, ""),
)  # fmt: skip


def find_model(spec: str) -> Model:
    """The model called `spec`: `whisper:tiny`, `piper:en_US-lessac-medium`, or the name alone where it is in the
    catalogue. Raises `ConfigurationError` with the nearest name."""
    kind, colon, name = spec.partition(":")
    for model in CATALOGUE:
        if spec in (model.spec, model.name):
            return model
    known = [model.spec for model in CATALOGUE]
    if colon and kind not in KINDS:
        raise ConfigurationError(
            f"{spec!r}: there are no {kind!r} models", hint="Write whisper:SIZE or piper:VOICE, like whisper:tiny"
        )
    if colon and kind == "piper" and _PIPER_NAME.fullmatch(name):
        return _piper(name, "not in the catalogue")
    if not colon:
        known += [model.name for model in CATALOGUE]
    raise ConfigurationError(f"there is no model {spec!r}", hint=did_you_mean(spec, known))


class ModelStore:
    """The catalogue and the cache; what the command line works with (entry point `models` of `duologue.commands`)."""

    def __init__(self, hub: Hub | None = None) -> None:
        self._hub = hub or Hub()

    @property
    def folder(self) -> Path:
        """The cache."""
        return model_cache.cache_folder()

    @property
    def layout(self) -> str:
        """Which files of a model lie where in the folder, for those who copy them there."""
        return model_cache.LAYOUT

    def models(self) -> list[Model]:
        """The catalogue, and models in the cache that it does not list."""
        listed = {model.spec for model in CATALOGUE}
        others: list[Model] = [
            Model("whisper", name, "your own", 0, "")
            for name in model_cache.whisper_models()
            if f"whisper:{name}" not in listed
        ]
        others += [
            Model("piper", name, "your own", 0, "")
            for name in model_cache.piper_voices()
            if f"piper:{name}" not in listed
        ]
        return [*CATALOGUE, *others]

    def pull(self, spec: str, progress: Progress = lambda name, there, size: None, *, force: bool = False) -> Path:
        """Bring a model into the cache; return where it lies. One that is there is left alone unless `force`.

        Raises `ConfigurationError` for an unknown name, `StageUnavailable` for all that can go wrong on the way.
        """
        model = find_model(spec)
        if model.is_here and not force:
            return model.path
        files = self._wanted(model, self._hub.files(model.repository, model.folder))
        if model.kind == "whisper":
            self._pull_folder(model, files, progress)
        else:
            for file in files:
                self._hub.fetch(file, model.path.with_name(file.name), progress)
        return model.path

    def _wanted(self, model: Model, files: Iterable[HubFile]) -> list[HubFile]:
        if model.kind == "whisper":
            wanted = [file for file in files if _WHISPER_FILES.fullmatch(file.name)]
            missing = set(model_cache.WHISPER_FILES_NEEDED) - {file.name for file in wanted}
        else:
            # the description first: a voice counts as there when its .onnx is
            needed = (f"{model.name}.onnx.json", f"{model.name}.onnx")
            by_name = {file.name: file for file in files}
            wanted = [by_name[name] for name in needed if name in by_name]
            missing = set(needed) - set(by_name)
        if missing:
            raise StageUnavailable(
                "models", f"{model.repository} lacks {', '.join(sorted(missing))}", hint="Choose another model"
            )
        return wanted

    def _pull_folder(self, model: Model, files: Iterable[HubFile], progress: Progress) -> None:
        """Fetch into a folder of its own and rename that, so that a half model is never taken for a whole one."""
        under_way = model.path.with_name(f".{model.name}.partial")
        for file in files:
            if not self._hub.has(file, under_way / file.name):
                self._hub.fetch(file, under_way / file.name, progress)
        self._hub.replace_folder(under_way, model.path)
