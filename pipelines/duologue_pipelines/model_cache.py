"""Where downloaded models lie: one folder, shared by `duologue models pull`, which fills it, and the stages.

    <cache>/whisper/<size>/model.bin, config.json, tokenizer.json, vocabulary.*    a CTranslate2 model of faster-whisper
    <cache>/piper/<voice>.onnx and <voice>.onnx.json        a Piper voice
    <cache>/kokoro/<version>/model.onnx, config.json, voices/*.bin    Kokoro: its graph, its symbols, its voices
    <cache>/llamacpp/<name>.gguf                            a language model of llama.cpp
    <cache>/turn/<name>.onnx                                a model that hears the end of a turn

The cache is `$DUOLOGUE_MODELS`, or `duologue/models` in the user's cache folder. Nothing here touches the network or
loads a model; a stage asks it in its `probe`.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from duologue.errors import ConfigurationError

CACHE_VARIABLE: Final = "DUOLOGUE_MODELS"
# Without these two CTranslate2 cannot load; a half-downloaded model lacks one of them.
WHISPER_FILES_NEEDED: Final = ("model.bin", "config.json")
KOKORO_FILES_NEEDED: Final = ("model.onnx", "config.json")
LAYOUT: Final = (
    "whisper/NAME/ (model.bin, config.json, tokenizer.json, vocabulary.txt or .json), piper/VOICE.onnx with "
    "piper/VOICE.onnx.json, kokoro/VERSION/ (model.onnx, config.json, voices/*.bin), llamacpp/NAME.gguf, turn/NAME.onnx"
)


def cache_folder() -> Path:
    """The folder of all models; it need not exist."""
    named = os.environ.get(CACHE_VARIABLE, "")
    if named:
        return Path(named).expanduser()
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if root else Path.home() / ".cache") / "duologue" / "models"


def _checked(name: str) -> str:
    """`name` if it can be part of a file's name; raises `ConfigurationError` otherwise."""
    if not name or name.startswith(".") or any(c in '/\\:*?"<>|\0' for c in name):
        raise ConfigurationError(
            f"{name!r} is no model's name", hint="See `duologue models list`, or give a path where paths are taken"
        )
    return name


def whisper_folder(name: str) -> Path:
    """Where the whisper model of size `name` ("tiny", "base.en", …) lies, or would."""
    return cache_folder() / "whisper" / _checked(name)


def piper_voice(name: str) -> Path:
    """Where the `.onnx` of the piper voice `name` ("en_US-joe-medium") lies, or would."""
    return cache_folder() / "piper" / f"{_checked(name)}.onnx"


def kokoro_folder(name: str) -> Path:
    """Where the Kokoro of version `name` ("v1.0") lies, or would."""
    return cache_folder() / "kokoro" / _checked(name)


def llamacpp_model(name: str) -> Path:
    """Where the language model `name` ("SmolLM2-135M-Instruct-Q4_1") lies, or would."""
    return cache_folder() / "llamacpp" / f"{_checked(name)}.gguf"


def turn_model(name: str) -> Path:
    """Where the end-of-turn model `name` ("smart-turn-v3.2") lies, or would."""
    return cache_folder() / "turn" / f"{_checked(name)}.onnx"


def is_whisper_model(folder: Path) -> bool:
    """Whether `folder` holds a complete CTranslate2 model."""
    return all((folder / name).is_file() for name in WHISPER_FILES_NEEDED)


def is_piper_voice(onnx: Path) -> bool:
    """Whether `onnx` is there together with the `.onnx.json` that describes it."""
    return onnx.is_file() and onnx.with_name(onnx.name + ".json").is_file()


def is_kokoro(folder: Path) -> bool:
    """Whether `folder` holds a complete Kokoro, with one voice at least."""
    return all((folder / name).is_file() for name in KOKORO_FILES_NEEDED) and any(folder.glob("voices/*.bin"))


def whisper_models() -> list[str]:
    """Names of the whisper models in the cache that are complete, sorted."""
    return _names("whisper", "*", is_whisper_model)


def piper_voices() -> list[str]:
    """Names of the piper voices in the cache that are complete, sorted."""
    return _names("piper", "*.onnx", is_piper_voice)


def kokoro_versions() -> list[str]:
    """Versions of Kokoro in the cache that are complete, sorted."""
    return _names("kokoro", "*", is_kokoro)


def llamacpp_models() -> list[str]:
    """Names of the language models in the cache, sorted."""
    return _names("llamacpp", "*.gguf", Path.is_file)


def turn_models() -> list[str]:
    """Names of the end-of-turn models in the cache, sorted."""
    return _names("turn", "*.onnx", Path.is_file)


def _names(kind: str, pattern: str, is_whole: Callable[[Path], bool]) -> list[str]:
    """Names of what lies in the folder of `kind`; a name that begins with a dot is a download under way."""
    suffix = pattern.removeprefix("*")
    found = (cache_folder() / kind).glob(pattern)
    return sorted(e.name.removesuffix(suffix) for e in found if not e.name.startswith(".") and is_whole(e))
