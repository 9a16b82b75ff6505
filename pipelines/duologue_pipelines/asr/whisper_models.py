"""Which folder a Whisper model's name stands for. Looks, never downloads and loads nothing."""

import importlib.util
from pathlib import Path
from typing import Final

from duologue.errors import ConfigurationError, StageUnavailable
from duologue_pipelines.model_cache import is_whisper_model, whisper_folder

# Size names and where Hugging Face keeps their CTranslate2 form; the table of faster_whisper.utils, which can't be
# imported without CTranslate2.
REPOSITORIES: Final = {
    **{
        size: f"Systran/faster-whisper-{size}"
        for size in (
            "tiny.en", "tiny", "base.en", "base", "small.en", "small", "medium.en", "medium",
            "large-v1", "large-v2", "large-v3",
        )
    },
    "large": "Systran/faster-whisper-large-v3",
    "distil-small.en": "Systran/faster-distil-whisper-small.en",
    "distil-medium.en": "Systran/faster-distil-whisper-medium.en",
    "distil-large-v2": "Systran/faster-distil-whisper-large-v2",
    "distil-large-v3": "Systran/faster-distil-whisper-large-v3",
    "distil-large-v3.5": "distil-whisper/distil-large-v3.5-ct2",
    "large-v3-turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
}  # fmt: skip

# Quickest first, those for all languages before those for English only.
BY_SPEED: Final = (
    "tiny", "tiny.en", "base", "base.en", "small", "distil-small.en", "small.en", "turbo", "large-v3-turbo", "medium",
    "distil-medium.en", "medium.en", "distil-large-v3.5", "distil-large-v3", "distil-large-v2", "large-v3", "large-v2",
    "large-v1",
)  # fmt: skip


def default_model(language: str | None = None) -> str:
    """The smallest size of whisper that was pulled, or "tiny": speed counts most in a conversation.

    `language`: BCP 47 code of what is going to be spoken; English-only models are the better ones for that and no good
    for anything else. None where that is open.
    """
    english_only = None if language is None else language.lower().split("-")[0] == "en"
    fitting = [size for size in BY_SPEED if english_only is None or english_only or not size.endswith(".en")]
    if english_only:
        fitting.sort(key=_english_first)
    return next((size for size in fitting if find_model(size)), "tiny.en" if english_only else "tiny")


def _english_first(size: str) -> float:
    """Quickest first, and of two that are as quick the one that knows English only."""
    known_to_all = size.removesuffix(".en")
    return (
        BY_SPEED.index(known_to_all) - 0.5 * (size != known_to_all)
        if known_to_all in BY_SPEED
        else BY_SPEED.index(size)
    )


def find_model(name: str) -> Path | None:
    """The folder of the model `name`: a path, a size in Duologue's own cache, or either's name in Hugging Face's.

    None where it is in neither. Raises `ConfigurationError` for a name that can stand for no model.
    """
    folder = Path(name).expanduser()
    if folder.is_dir() and name not in REPOSITORIES:  # a folder that happens to be called "base" hides no size
        if is_whisper_model(folder):
            return folder
        raise ConfigurationError(
            f"asr.whisper.model: {folder} holds no CTranslate2 model (model.bin and config.json)",
            hint='Name a folder made by ct2-transformers-converter, or a size such as "tiny"',
        )
    if name in REPOSITORIES:
        return _in_duologue_cache(name) or _in_hugging_face_cache(REPOSITORIES[name])
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return _in_hugging_face_cache(name)
    raise ConfigurationError(
        f"asr.whisper.model: {name!r} is no folder, no repository and no size",
        hint=f"Sizes are {', '.join(REPOSITORIES)}",
    )


def missing_model(name: str) -> StageUnavailable:
    """The error for a model that is not here, with the command that brings it."""
    size = name if name in REPOSITORIES else "tiny"
    return StageUnavailable(
        "asr",
        f"whisper: the model {name!r} is not on this machine",
        hint=f"Run `duologue models pull whisper:{size}`, or name a folder in asr.model",
    )


def _in_duologue_cache(size: str) -> Path | None:
    folder = whisper_folder(size)
    return folder if is_whisper_model(folder) else None


def _in_hugging_face_cache(repository: str) -> Path | None:
    if importlib.util.find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache  # not needed where the model is ours

    found = try_to_load_from_cache(repository, "model.bin")
    if not isinstance(found, str):
        return None
    folder = Path(found).parent
    return folder if is_whisper_model(folder) else None
