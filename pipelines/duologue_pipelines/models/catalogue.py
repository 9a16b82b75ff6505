"""The models that can be had, by name, and what is pinned of them.

Of whisper it lists every size that faster-whisper knows; of piper a choice, and any other well-formed voice
(`piper:en_GB-cori-high`) can be pulled too. What a package index holds as well is pinned to the last bit in
`pinned.toml`; of the rest the hub says how long its files are and what their checksums must be, and `megabytes` is
about right.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from duologue.errors import ConfigurationError
from duologue.nearest import did_you_mean
from duologue_pipelines import model_cache
from duologue_pipelines.models.files import ModelFile, Package, Part

PIPER_REPOSITORY: Final = "rhasspy/piper-voices"
_PIPER_NAME: Final = re.compile(r"(([a-z]{2,3})_[A-Z]{2})-([A-Za-z0-9_]+)-(x_low|low|medium|high)")
# Typical sizes of a voice by quality, in MB.
_PIPER_MB: Final = {"x_low": 21, "low": 63, "medium": 63, "high": 114}


@dataclass(frozen=True, slots=True)
class Kind:
    """What models of a kind have in common.

    `title`: what they are. `package`, `extra`: the Python package that runs them, and the extra that brings it; empty
    where every installation has it. `settings`: how one is chosen, its name for `{}`; empty where nothing takes it.
    `place`: where one lies, a folder or its main file. `is_here`: whether what lies there is whole. `needed`: the files
    without which it is not, with its name for `{}`, the one that makes it count last. `others`: which more of a
    repository belong to it. `own`: names of those in the cache.
    """

    name: str
    title: str
    package: str
    extra: str
    settings: str
    place: Callable[[str], Path]
    is_here: Callable[[Path], bool]
    needed: tuple[str, ...]
    others: re.Pattern[str] | None
    own: Callable[[], list[str]]
    is_folder: bool


KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind(
            "whisper", "recognisers", "faster_whisper", "", "asr.use=whisper asr.model={}",
            model_cache.whisper_folder, model_cache.is_whisper_model, ("config.json", "tokenizer.json", "model.bin"),
            re.compile(r"preprocessor_config\.json|vocabulary\..+"), model_cache.whisper_models, True,
        ),
        Kind(
            "piper", "voices", "piper", "piper", "tts.use=piper tts.voice={}",
            model_cache.piper_voice, model_cache.is_piper_voice, ("{}.onnx.json", "{}.onnx"),
            None, model_cache.piper_voices, False,
        ),
        Kind(
            "kokoro", "voices", "onnxruntime", "", "tts.use=kokoro",
            model_cache.kokoro_folder, model_cache.is_kokoro, ("config.json", "model.onnx"),
            None, model_cache.kokoro_versions, True,
        ),
        Kind(
            "llamacpp", "language models", "xllamacpp", "llamacpp", "llm.use=llamacpp llm.model={}",
            model_cache.llamacpp_model, Path.is_file, ("{}.gguf",),
            None, model_cache.llamacpp_models, False,
        ),
        Kind(
            "turn", "end of turn", "onnxruntime", "", "",
            model_cache.turn_model, Path.is_file, ("{}.onnx",),
            None, model_cache.turn_models, False,
        ),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Model:
    """One model that can be pulled. `megabytes`: about. `licence`: the weights'. `files`: all of its files where they
    are pinned; else they are those of `repository` on the hub, in its folder `folder`, and empty for the user's own."""

    kind: str
    name: str
    what: str
    megabytes: int
    licence: str = ""
    repository: str = ""
    folder: str = ""
    files: tuple[ModelFile, ...] = ()

    @property
    def spec(self) -> str:
        """As `pull` takes it: `whisper:tiny`."""
        return f"{self.kind}:{self.name}"

    @property
    def path(self) -> Path:
        """Where it lies, or would: its folder, or its main file."""
        return KINDS[self.kind].place(self.name)

    @property
    def root(self) -> Path:
        """The folder in which its files lie, or would."""
        return self.path if KINDS[self.kind].is_folder else self.path.parent

    @property
    def is_here(self) -> bool:
        """Whether it is complete in the cache, as far as names tell; `ModelStore.check` knows better."""
        return KINDS[self.kind].is_here(self.path)

    @property
    def origins(self) -> tuple[str, ...]:
        """Where it can be had: "hub", "index"; nothing for the user's own. Some files may be in one of them only."""
        on_hub = bool(self.repository) or any(file.repository for file in self.files)
        return (*(("hub",) if on_hub else ()), *(("index",) if any(file.parts for file in self.files) else ()))

    @property
    def settings(self) -> str:
        """What chooses it on the command line; empty where no stage takes it yet."""
        chosen = KINDS[self.kind].settings.format(self.name).split()
        return " ".join(f"--set {setting}" for setting in chosen)

    @property
    def needed(self) -> tuple[str, ...]:
        """Names of the files without which it is not whole; the one that makes it count as there last."""
        return tuple(name.format(self.name) for name in KINDS[self.kind].needed)

    def wants(self, name: str) -> bool:
        """Whether a file called `name` in its repository belongs to it."""
        others = KINDS[self.kind].others
        return name in self.needed or (others is not None and others.fullmatch(name) is not None)


@cache
def _pinned() -> Mapping[str, tuple[ModelFile, ...]]:
    """The files of each model in `pinned.toml`, by the model's spec."""
    data: dict[str, Any] = tomllib.loads((files(__package__) / "pinned.toml").read_text("utf-8"))
    packages = {name: Package(name=name, **told) for name, told in data["packages"].items()}

    def part(where: str) -> Part:
        package, _, path = where.partition("/")
        return Part(packages[package], path)

    def file(name: str, size: int, sha256: str, parts: list[str], hub: str = "") -> ModelFile:
        owner, _, rest = hub.partition("/")
        repository, _, path = rest.partition("/")
        where = f"{owner}/{repository}" if hub else ""
        return ModelFile(name, size, f"sha256:{sha256}", where, path, tuple(map(part, parts)))

    return {spec: tuple(file(**told) for told in model["files"]) for spec, model in data["models"].items()}


def _whisper(name: str, megabytes: int, what: str, repository: str = "") -> Model:
    where = repository or f"Systran/faster-whisper-{name}"
    return Model("whisper", name, what, megabytes, "MIT", where, files=_pinned().get(f"whisper:{name}", ()))


def _piper(name: str, what: str, megabytes: int = 0, licence: str = "the voice's own") -> Model:
    found = _PIPER_NAME.fullmatch(name)
    assert found is not None, name  # `find_model` asks before
    locale, language, speaker, quality = found.groups()
    folder = f"{language}/{locale}/{speaker}/{quality}"
    size = megabytes or _PIPER_MB[quality]
    return Model("piper", name, what, size, licence, PIPER_REPOSITORY, folder, _pinned().get(f"piper:{name}", ()))


def _llamacpp(name: str, megabytes: int, what: str, licence: str, repository: str = "") -> Model:
    return Model("llamacpp", name, what, megabytes, licence, repository, files=_pinned().get(f"llamacpp:{name}", ()))


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
    _piper("en_US-joe-medium", "English (US), male", licence="CC0"),
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
    Model(
        "kokoro", "v1.0", "54 voices in 8 languages, the best open ones of their size; one core", 121,
        "Apache-2.0", files=_pinned()["kokoro:v1.0"],
    ),
    _llamacpp(
        "SmolLM2-135M-Instruct-Q4_1", 98, "English, very small: answers from a pack's examples; two cores", "Apache-2.0"
    ),
    # From here on by size; what keeps up is reckoned from the weights read a token, and could not be tried here.
    _llamacpp(
        "Qwen3-0.6B-Q4_K_M", 397, "100 languages, thinks first unless told not to; about four cores (not tried)",
        "Apache-2.0", "unsloth/Qwen3-0.6B-GGUF",
    ),
    _llamacpp(
        "gemma-3-1b-it-Q4_K_M", 806, "English; about four fast cores (not tried)", "Gemma terms",
        "ggml-org/gemma-3-1b-it-GGUF",
    ),
    _llamacpp(
        "Llama-3.2-1B-Instruct-Q4_K_M", 808, "8 languages; about four fast cores (not tried)", "Llama 3.2 licence",
        "bartowski/Llama-3.2-1B-Instruct-GGUF",
    ),
    _llamacpp(
        "Qwen3-1.7B-Q4_K_M", 1107, "100 languages, thinks first unless told not to; about eight fast cores (not tried)",
        "Apache-2.0", "unsloth/Qwen3-1.7B-GGUF",
    ),
    _llamacpp(
        "Llama-3.2-3B-Instruct-Q4_K_M", 2019, "8 languages; about eight fast cores, or a GPU (not tried)",
        "Llama 3.2 licence", "bartowski/Llama-3.2-3B-Instruct-GGUF",
    ),
    _llamacpp(
        "gemma-3-4b-it-Q4_K_M", 2490, "140 languages; wants a GPU, or sixteen fast cores (not tried)", "Gemma terms",
        "ggml-org/gemma-3-4b-it-GGUF",
    ),
    _llamacpp(
        "Qwen3-4B-Q4_K_M", 2497, "100 languages, thinks first unless told not to; wants a GPU (not tried)",
        "Apache-2.0", "unsloth/Qwen3-4B-GGUF",
    ),
    Model(
        "turn", "smart-turn-v3.2", "hears whether a turn is over; 23 languages; keeps up on any machine", 9,
        "BSD-2-Clause", files=_pinned()["turn:smart-turn-v3.2"],
    ),
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
            f"{spec!r}: there are no {kind!r} models",
            hint=f"Write KIND:NAME, like whisper:tiny; the kinds are {', '.join(KINDS)}",
        )
    if colon and kind == "piper" and _PIPER_NAME.fullmatch(name):
        return _piper(name, "not in the catalogue")
    if not colon:
        known += [model.name for model in CATALOGUE]
    raise ConfigurationError(f"there is no model {spec!r}", hint=did_you_mean(spec, known))
