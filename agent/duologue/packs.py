"""Prompt packs: what the agent is told, says first and is expected to hear, as a folder of text without any code.

    pack.toml               name, description, languages, voice, texts, recommended settings
    system.md               instructions of the language model; `system.zh.md` for another language
    greeting.md             what the agent says first; `greeting.zh.md`
    dialogues/*.md          sample dialogues (`duologue.dialogues`), `….zh.md` for another language

In every text `$name`, `$language` and the pack's own `[variables]` are filled in. Everything wrong with a pack is a
`PackError` that names file and line. A pack is data from anywhere: it may recommend how turns are taken, but it cannot
choose stages, endpoints or keys.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from string import Template
from types import MappingProxyType
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from duologue.core.policy import BACKCHANNELS, STOP_WORDS
from duologue.dialogues import Exchange
from duologue.errors import ConfigurationError, PackError
from duologue.languages import DEFAULT_LANGUAGE, LanguageCode, best_language, language_name
from duologue.nearest import did_you_mean, nearest
from duologue.pack_texts import (
    PACK_FILE,
    check_variables,
    filled,
    per_language,
    read_greeting,
    read_samples,
    read_system,
    read_text,
)
from duologue.ports.tts import Tts
from duologue.stages import TTS
from duologue.toml_source import TomlDocument, TomlError, parse_toml
from duologue.validation import between, complaints

# How turns are taken is a matter of taste, and a pack's business; keys, endpoints and bounds of memory are not.
SECTIONS_ALLOWED: Final = ("endpointing", "barge_in", "reply", "limits")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]*")
_STRICT: Final = ConfigDict(extra="forbid", frozen=True, defer_build=True)  # built once, with the first pack


def _check_name(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        message = "must be small letters, digits, - and _, with a letter or a digit first, got {name}"
        raise PydanticCustomError("sentence", message, {"name": repr(name)})
    return name


class PackVoice(BaseModel):
    """How the pack sounds. `names`: language → engine → that engine's voice (`names.en.espeak = "en-us+f3"`).

    `other_engines`: names of synthesisers among those that need not be installed here, a third party's.
    """

    model_config = _STRICT

    speed: Annotated[float, between(0.5, 2.0)] = 1.0
    loudness: Annotated[float, between(0.1, 4.0)] = 1.0
    names: dict[LanguageCode, dict[str, str]] = Field(default_factory=dict)
    other_engines: tuple[str, ...] = ()


class PackTexts(BaseModel):
    """The stock phrases of one language. None, or nothing, keeps the engine's.

    `backchannels`, `stop_words`: in addition to the engine's. `vocabulary`: words and phrases that users are likely
    to use, for the recogniser.
    """

    model_config = _STRICT

    apology: str | None = None
    farewell: str | None = None
    fillers: tuple[str, ...] | None = None
    idle_prompts: tuple[str, ...] | None = None
    backchannels: tuple[str, ...] = ()
    stop_words: tuple[str, ...] = ()
    vocabulary: tuple[str, ...] = ()


class PackManifest(BaseModel):
    """`pack.toml` as it is written."""

    model_config = _STRICT

    name: Annotated[str, AfterValidator(_check_name)]
    description: str = ""
    languages: Annotated[tuple[LanguageCode, ...], Field(min_length=1)] = (DEFAULT_LANGUAGE,)
    default_language: LanguageCode | None = None
    greeting: bool | None = None
    """Whether the agent speaks first; None: if there is a greeting.md."""
    voice: PackVoice = Field(default_factory=PackVoice)
    texts: dict[LanguageCode, PackTexts] = Field(default_factory=dict)
    variables: dict[str, str] = Field(default_factory=dict)
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack as read from `folder`; immutable. Made by `read_pack` and `find_pack`.

    `remarks`: what its writer should know though nothing is wrong, a sentence each.
    """

    folder: Path
    manifest: PackManifest
    systems: Mapping[str, Template]
    greetings: Mapping[str, Template]
    samples: tuple[Exchange, ...]
    document: TomlDocument
    remarks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As in `pack.toml`."""
        return self.manifest.name

    @property
    def languages(self) -> tuple[str, ...]:
        """BCP 47 codes that the pack is written for."""
        return self.manifest.languages

    @property
    def default_language(self) -> str:
        """The language when nobody asks for one."""
        return self.manifest.default_language or self.manifest.languages[0]

    def language_for(self, wanted: str | None) -> str:
        """The pack's language nearest to the BCP 47 code `wanted`: the same, the same tongue, else the default."""
        return best_language(wanted, self.languages) or self.default_language

    def system(self, language: str | None = None, variables: Mapping[str, str] = MappingProxyType({})) -> str:
        """The instructions, with variables filled in. Raises `ConfigurationError` for one the pack does not have."""
        code = self.language_for(language)
        template = self.systems.get(code) or self.systems[self.default_language]
        return template.substitute(self._values(code, variables)).strip()

    def greeting(self, language: str | None = None, variables: Mapping[str, str] = MappingProxyType({})) -> str | None:
        """What the agent says first, with variables filled in as in `system`, or None if it waits for the user."""
        code = self.language_for(language)
        template = self.greetings.get(code)
        if self.manifest.greeting is False or template is None:
            return None
        return template.substitute(self._values(code, variables))

    def _values(self, code: str, variables: Mapping[str, str]) -> dict[str, str]:
        unknown = set(variables) - set(self.manifest.variables)
        if unknown:
            wrong = min(unknown)
            raise ConfigurationError(
                f"pack {self.name} has no variable {wrong!r}",
                hint=did_you_mean(wrong, self.manifest.variables)
                or f"Declare it under [variables] in {self.folder / PACK_FILE}",
            )
        return {**_given_variables(self.manifest, code), **variables}

    def texts(self, language: str | None = None) -> PackTexts:
        """The stock phrases of a language, with the pack's variables filled in."""
        code = self.language_for(language)
        texts = self.manifest.texts.get(code, PackTexts())
        values = _given_variables(self.manifest, code)
        return texts.model_copy(update={key: filled(value, values) for key, value in dict(texts).items()})

    def voice_name(self, engine: str, language: str | None = None) -> str | None:
        """The voice that the pack wants of a synthesiser ("espeak", "piper"), or None for the engine's own choice."""
        return self.manifest.voice.names.get(self.language_for(language), {}).get(engine)

    def check_voices(self, tts: Tts) -> None:
        """Raise `PackError` for a voice that the pack wants of `tts` and that it does not have, if it can tell: a
        synthesiser may have a method `check_voice(voice, language)` that raises `ConfigurationError`."""
        check = getattr(tts, "check_voice", None)
        if check is None:
            return
        for code in self.languages:
            voice = self.voice_name(tts.name, code)
            try:
                if voice:
                    check(voice, code)
            except ConfigurationError as error:
                key = ("voice", "names", code, tts.name)
                raise self.blame(key, f"{'.'.join(key)}: {error.args[0]}", error.hint) from error

    def phrases(self, language: str | None = None) -> tuple[str, ...]:
        """Sentences that users are likely to say, for the recogniser: the user's lines, and the vocabulary."""
        said = [line for exchange in self.exchanges(language) for line in exchange.asked]
        return tuple(dict.fromkeys([*said, *self.texts(language).vocabulary]))

    def exchanges(self, language: str | None = None) -> tuple[Exchange, ...]:
        """The sample dialogues of a language, exchange by exchange, in the order of the files."""
        code = self.language_for(language)
        return tuple(exchange for exchange in self.samples if exchange.language == code)

    def recommended(self, language: str | None = None) -> dict[str, dict[str, Any]]:
        """Settings that the pack asks for: `[settings]`, and the stock phrases of the language. Weaker than any other
        source of settings."""
        texts = self.texts(language)
        values = {section: dict(inner) for section, inner in self.manifest.settings.items()}
        phrases: dict[tuple[str, str], Any] = {
            ("reply", "apology"): texts.apology,
            ("reply", "fillers"): texts.fillers,
            ("limits", "farewell"): texts.farewell,
            ("limits", "idle_prompts"): texts.idle_prompts,
            ("barge_in", "backchannels"): BACKCHANNELS + texts.backchannels if texts.backchannels else None,
            ("barge_in", "stop_words"): STOP_WORDS + texts.stop_words if texts.stop_words else None,
        }
        for (section, key), value in phrases.items():
            if value is not None:
                values.setdefault(section, {}).setdefault(key, value)
        return values

    def blame(self, path: Iterable[str | int], sentence: str, hint: str = "") -> PackError:
        """The error for a wrong value at `path` of `pack.toml`."""
        return PackError(str(self.folder / PACK_FILE), self.document.line_of(tuple(path)), sentence, hint=hint)


# --- finding ------------------------------------------------------------------------------------------------------


def pack_folders(folder: Path | None = None) -> tuple[Path, ...]:
    """Where packs are looked for, in this order: `prompts/` in `folder` (the current one), those that ship with us."""
    here = Path(__file__).resolve().parent
    shipped = here / "prompts"  # in a wheel
    checkout = here.parent.parent / "prompts"
    candidates = ((folder or Path.cwd()) / "prompts", shipped, checkout)
    return tuple(dict.fromkeys(path for path in candidates if path.is_dir()))


def pack_names(folder: Path | None = None) -> list[str]:
    """Names of all packs that `find_pack` would find, sorted."""
    found = {entry.name for root in pack_folders(folder) for entry in root.iterdir() if (entry / PACK_FILE).is_file()}
    return sorted(found)


def find_pack(name: str, *, folder: Path | None = None) -> Pack:
    """Read the pack called `name`, or at the path `name` (anything with a slash, or that begins with a dot).

    Raises `ConfigurationError` when there is none, `PackError` when it can't be read.
    """
    if "/" in name or "\\" in name or name.startswith("."):
        path = (folder or Path.cwd()) / Path(name).expanduser()
        if not path.is_dir():
            raise ConfigurationError(f"{path}: no such pack folder", hint="Check the path")
        return read_pack(path)
    for root in pack_folders(folder):
        if name and (root / name / PACK_FILE).is_file():
            return read_pack(root / name)
    hint = did_you_mean(name, pack_names(folder)) or "Give the path of its folder, like ./prompts/coach"
    raise ConfigurationError(f"there is no pack {name!r}", hint=hint)


# --- reading ------------------------------------------------------------------------------------------------------


def read_pack(folder: Path) -> Pack:
    """Read and check the whole pack in `folder`. Raises `PackError`."""
    file = folder / PACK_FILE
    try:
        document = parse_toml(read_text(file))
    except TomlError as error:
        raise PackError(str(file), error.line, f"broken TOML: {error}", hint="Mend that line") from error
    manifest = _manifest(file, document)
    remarks = _check_engines(file, document, manifest.voice)
    languages = manifest.languages
    default = manifest.default_language or languages[0]
    variables = {code: _given_variables(manifest, code) for code in languages}
    known = variables[default]
    _check_stock_phrases(file, document, manifest, known)
    systems = {
        code: read_system(path, known) for code, path in per_language(folder, "system.md", languages, default).items()
    }
    if default not in systems:
        raise PackError(str(folder / "system.md"), 0, "is missing", hint="Every pack needs one; write a line or two")
    greetings = {
        code: read_greeting(path, known)
        for code, path in per_language(folder, "greeting.md", languages, default).items()
    }
    greets = bool(greetings) if manifest.greeting is None else manifest.greeting
    if greets and default not in greetings:
        raise PackError(str(folder / "greeting.md"), 0, "is missing", hint="Write it, or set greeting = false")
    samples = read_samples(folder, languages, default, variables)
    spoken = {*systems, *greetings, *manifest.texts, *(exchange.language for exchange in samples)}
    for code in languages:
        if code not in spoken:
            remarks.append(_without_text(manifest.name, code, default))
        elif greets and code not in greetings:
            remarks.append(f"greeting.{code}.md is missing: in {language_name(code)} the agent waits for the caller")
    return Pack(folder, manifest, systems, greetings, samples, document, tuple(remarks))


def _without_text(name: str, code: str, default: str) -> str:
    language, other = language_name(code), language_name(default)
    return (
        f"{name} lists {code!r} and holds no text in {language} (system.{code}.md, greeting.{code}.md, "
        f"dialogues/….{code}.md, [texts.{code}]): its instructions are in {other}, and nobody greets in {language}"
    )


def _check_engines(file: Path, document: TomlDocument, voice: PackVoice) -> list[str]:
    """Raise `PackError` for a misspelt synthesiser under `[voice.names]`; a remark for one that nobody knows here."""
    named = {engine: code for code, engines in reversed(voice.names.items()) for engine in engines}
    known = {entry.name for entry in entry_points(group=TTS.group)} if named else set[str]()
    remarks = []
    for engine, code in named.items():
        if engine in known or engine in voice.other_engines or not known:
            continue
        sentence = f"voice.names.{code}.{engine}: there is no synthesiser {engine!r} here"
        meant = f'If it is one that is not installed here: voice.other_engines = ["{engine}"]'
        if guess := nearest(engine, known):
            line = document.line_of(("voice", "names", code, engine))
            raise PackError(str(file), line, sentence, hint=f"Did you mean {guess!r}? {meant}")
        remarks.append(f"{sentence}, only {', '.join(sorted(known))}. {meant}")
    return remarks


def _check_stock_phrases(file: Path, document: TomlDocument, manifest: PackManifest, known: Iterable[str]) -> None:
    for code, texts in manifest.texts.items():
        for key, value in dict(texts).items():
            path = ("texts", code, key)
            for text in (value,) if isinstance(value, str) else value or ():
                check_variables(str(file), text, known, first_line=document.line_of(path), key=".".join(path))


def _manifest(file: Path, document: TomlDocument) -> PackManifest:
    try:
        manifest = PackManifest.model_validate(document.values)
    except ValidationError as error:
        first = complaints(error, PackManifest)[0]
        raise PackError(str(file), document.line_of(first.path), first.sentence, hint=first.hint) from error
    default = manifest.default_language
    if default is not None and default not in manifest.languages:
        raise PackError(
            str(file),
            document.line_of(("default_language",)),
            f"default_language must be one of languages ({', '.join(manifest.languages)}), got {default!r}",
        )
    for table in ("texts", "voice.names"):
        path = tuple(table.split("."))
        given = manifest.texts if table == "texts" else manifest.voice.names
        for code in given:
            if code not in manifest.languages:
                raise PackError(str(file), document.line_of((*path, code)), f"{table}.{code}: not among languages")
    for section in manifest.settings:
        if section not in SECTIONS_ALLOWED:
            guess = nearest(section, SECTIONS_ALLOWED)
            raise PackError(
                str(file),
                document.line_of(("settings", section)),
                f"settings.{section} is not a pack's to set, only {', '.join(SECTIONS_ALLOWED)} are",
                hint=f"Did you mean {guess!r}?" if guess else "Set it in duologue.toml",
            )
    return manifest


def _given_variables(manifest: PackManifest, language: str) -> dict[str, str]:
    return {
        "language": language_name(language),
        "name": manifest.name,
        **manifest.variables,
    }
