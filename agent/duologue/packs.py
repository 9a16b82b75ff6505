"""Prompt packs: what the agent is told, says first and is expected to hear, as a folder of text without any code.

    pack.toml               name, description, languages, voice, texts, recommended settings
    system.md               instructions of the language model; `$name` variables; `system.zh.md` for another language
    greeting.md             what the agent says first; `greeting.zh.md`
    dialogues/*.md          sample dialogues (`duologue.dialogues`), `….zh.md` for another language

Everything wrong with a pack is a `PackError` that names file and line. A pack is data from anywhere: it may recommend
how turns are taken, but it cannot choose stages, endpoints or keys.
"""

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from types import MappingProxyType
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from duologue.core.policy import BACKCHANNELS, STOP_WORDS
from duologue.dialogues import Exchange, joined, read_dialogues
from duologue.errors import ConfigurationError, PackError
from duologue.nearest import did_you_mean, nearest
from duologue.ports.tts import Tts
from duologue.toml_source import (
    NotUtf8Error,
    TomlDocument,
    TomlError,
    UnfitFileError,
    decode_text,
    parse_toml,
    read_bytes,
)
from duologue.validation import between, complaints

PACK_FILE: Final = "pack.toml"
DEFAULT_LANGUAGE: Final = "en"
# How turns are taken is a matter of taste, and a pack's business; keys, endpoints and bounds of memory are not.
SECTIONS_ALLOWED: Final = ("endpointing", "barge_in", "reply", "limits")
# What a pack's texts may name besides its own `[variables]`.
LANGUAGE_NAMES: Final = MappingProxyType(
    {
        "ar": "Arabic", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek", "en": "English", "es": "Spanish",
        "fi": "Finnish", "fr": "French", "hi": "Hindi", "hu": "Hungarian", "it": "Italian", "ja": "Japanese",
        "ko": "Korean", "nl": "Dutch", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian",
        "ru": "Russian", "sv": "Swedish", "tr": "Turkish", "uk": "Ukrainian", "vi": "Vietnamese", "zh": "Chinese",
    }
)  # fmt: skip

LanguageCode = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]
_STRICT: Final = ConfigDict(extra="forbid", frozen=True, defer_build=True)  # built once, with the first pack


class PackVoice(BaseModel):
    """How the pack sounds. `names`: language → engine → that engine's voice (`names.en.espeak = "en-us+f3"`)."""

    model_config = _STRICT

    speed: Annotated[float, between(0.5, 2.0)] = 1.0
    loudness: Annotated[float, between(0.1, 4.0)] = 1.0
    names: dict[LanguageCode, dict[str, str]] = Field(default_factory=dict)


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

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
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
    """A pack as read from `folder`; immutable. Made by `read_pack` and `find_pack`."""

    folder: Path
    manifest: PackManifest
    systems: Mapping[str, Template]
    greetings: Mapping[str, str]
    samples: tuple[Exchange, ...]
    document: TomlDocument

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
        unknown = set(variables) - set(self.manifest.variables)
        if unknown:
            wrong = min(unknown)
            raise ConfigurationError(
                f"pack {self.name} has no variable {wrong!r}",
                hint=did_you_mean(wrong, self.manifest.variables)
                or f"Declare it under [variables] in {self.folder / PACK_FILE}",
            )
        code = self.language_for(language)
        values = {**_given_variables(self.manifest, code), **variables}
        template = self.systems.get(code) or self.systems[self.default_language]
        return template.substitute(values).strip()

    def greeting(self, language: str | None = None) -> str | None:
        """What the agent says first, or None if it waits for the user."""
        if self.manifest.greeting is False:
            return None
        return self.greetings.get(self.language_for(language))

    def texts(self, language: str | None = None) -> PackTexts:
        """The stock phrases of a language."""
        return self.manifest.texts.get(self.language_for(language), PackTexts())

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
    languages = manifest.languages
    default = manifest.default_language or languages[0]
    systems = {
        code: _template(path, manifest) for code, path in _per_language(folder, "system.md", languages, default).items()
    }
    if default not in systems:
        raise PackError(str(folder / "system.md"), 0, "is missing", hint="Every pack needs one; write a line or two")
    greetings = {
        code: _greeting(path) for code, path in _per_language(folder, "greeting.md", languages, default).items()
    }
    greets = bool(greetings) if manifest.greeting is None else manifest.greeting
    if greets and default not in greetings:
        raise PackError(str(folder / "greeting.md"), 0, "is missing", hint="Write it, or set greeting = false")
    return Pack(folder, manifest, systems, greetings, _samples(folder, languages, default), document)


def read_text(path: Path) -> str:
    """The text of a pack's file, with plain line ends and no byte-order mark. Raises `PackError`."""
    try:
        return decode_text(read_bytes(path))
    except FileNotFoundError as error:
        raise PackError(str(path), 0, "is missing", hint="Every pack needs one") from error
    except OSError as error:
        raise PackError(str(path), 0, f"can't be read: {error.strerror or error}") from error
    except UnfitFileError as error:
        raise PackError(str(path), 0, str(error), hint="Put a text file in its place") from error
    except NotUtf8Error as error:
        raise PackError(str(path), error.line, str(error), hint="Save the file as UTF-8") from error


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


def _per_language(folder: Path, name: str, languages: Iterable[str], default: str) -> dict[str, Path]:
    """`system.md` is the default language's, `system.zh.md` Chinese. Raises `PackError` for a language not listed."""
    languages = tuple(languages)
    stem, suffix = name.split(".")
    found: dict[str, Path] = {}
    for path in sorted(folder.glob(f"{stem}*.{suffix}")):
        if path.name == name:
            found.setdefault(default, path)
            continue
        code = path.name.removeprefix(f"{stem}.").removesuffix(f".{suffix}")
        if code not in languages:
            raise PackError(
                str(path), 0, f"language {code!r} is not among languages in {PACK_FILE}", hint="Add it there, or rename"
            )
        found[code] = path
    return found


def _given_variables(manifest: PackManifest, language: str) -> dict[str, str]:
    return {
        "language": LANGUAGE_NAMES.get(language.split("-")[0], language),
        "name": manifest.name,
        **manifest.variables,
    }


def _template(path: Path, manifest: PackManifest) -> Template:
    """The instructions, with every `$variable` known. Raises `PackError` with the line of one that is not."""
    text = read_text(path)
    if not text.strip():
        raise PackError(str(path), 0, "is empty", hint="Write a line or two on who the agent is")
    known = _given_variables(manifest, DEFAULT_LANGUAGE)
    for match in Template.pattern.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        if match["invalid"] is not None:
            raise PackError(str(path), line, "a lone $ stands for nothing", hint="Write $$ for a dollar sign")
        name = match["named"] or match["braced"]
        if name is not None and name not in known:
            raise PackError(str(path), line, f"unknown variable ${name}", hint=did_you_mean(name, known))
    return Template(text)


def _greeting(path: Path) -> str:
    text = functools.reduce(
        joined, (" ".join(line.split()) for line in read_text(path).splitlines() if line.strip()), ""
    )
    if not text:
        raise PackError(str(path), 0, "is empty", hint="Write what the agent says first, or set greeting = false")
    return text


def _samples(folder: Path, languages: tuple[str, ...], default: str) -> tuple[Exchange, ...]:
    exchanges: list[Exchange] = []
    for path in sorted((folder / "dialogues").glob("*.md")):
        named = path.name.removesuffix(".md").rpartition(".")
        language = named[2] if named[0] and named[2] in languages else default
        for exchange in read_dialogues(str(path), read_text(path), language):
            if exchange.language not in languages:
                raise PackError(str(path), 1, f"language {exchange.language!r} is not among languages in {PACK_FILE}")
            exchanges.append(exchange)
    return tuple(exchanges)
