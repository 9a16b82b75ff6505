"""GGUF files of llama.cpp: which one is meant, and whether it can be one, before a model is loaded for seconds in vain.

The library says of a bad file only that it could not be loaded. What can be told from outside is told here.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from duologue.errors import StageUnavailable
from duologue_pipelines import model_cache

PREFERRED_MODEL: Final = "SmolLM2-135M-Instruct-Q4_1"
PULL: Final = f"Run `duologue models pull llamacpp:{PREFERRED_MODEL}`"
MAGIC: Final = b"GGUF"  # the first bytes of every such file (the specification in ggml's docs/gguf.md)
HEADER_BYTES: Final = 24  # magic, version, number of tensors, number of metadata entries
ROOM: Final = 1.2  # memory that a model takes besides its file: buffers and a little context


def folder() -> Path:
    """Where the language models of the cache lie, or would."""
    return model_cache.cache_folder() / "llamacpp"


def models() -> list[str]:
    """Names of the language models in the cache, sorted."""
    # a name that begins with a dot is a download under way
    return sorted(file.stem for file in folder().glob("*.gguf") if not file.name.startswith("."))


def preferred(known: Sequence[str]) -> str:
    """Which of the models `known` to take when none is named."""
    return PREFERRED_MODEL if PREFERRED_MODEL in known else known[0]


def model_path(name: str) -> Path:
    """The file that `name` means: a path, a model in the cache, or, if empty, the preferred one, else the first there.

    Raises `StageUnavailable` without one, `ConfigurationError` for what is no name.
    """
    known = models()
    if not name and not known:
        raise StageUnavailable("llm", f"no model in {folder()}", hint=PULL)
    name = name or preferred(known)
    is_path = name.endswith(".gguf") or "/" in name or "\\" in name
    path = Path(name).expanduser() if is_path else model_cache.llamacpp_model(name)
    if not path.is_file():
        there = ", ".join(known) or "none"
        step = "Check the path" if is_path else f"Run `duologue models pull llamacpp:{name}`"
        raise StageUnavailable("llm", f"no model at {path}", hint=f"{step}; models in the cache: {there}")
    return path


def check_file(path: Path) -> None:
    """Raise `StageUnavailable` if `path` can't be read, is no GGUF file, or is larger than the memory that is free."""
    try:
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
        size = path.stat().st_size
    except OSError as error:
        raise StageUnavailable("llm", f"{path} can't be read ({error})", hint="Check its permissions") from error
    if not head.startswith(MAGIC) or len(head) < HEADER_BYTES:
        raise StageUnavailable("llm", f"{path} is no GGUF file: it begins with {head[:8]!r}", hint=pull_again(path))
    free = memory_free()
    if free is not None and size * ROOM > free:
        raise StageUnavailable(
            "llm",
            f"{path.name} needs about {size * ROOM / 1e6:.0f} MB of memory, {free / 1e6:.0f} MB are free",
            hint="Take a smaller model, or one of fewer bits a weight (Q4)",
        )


def pull_again(path: Path) -> str:
    """What to do about a file that is broken."""
    return f"Delete it and run `duologue models pull llamacpp:{path.stem}`, or copy the file anew"


def memory_free() -> int | None:
    """Bytes that can be had without swapping; None where the system does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            told = {key: int(rest.split()[0]) for key, _, rest in (line.partition(":") for line in lines)}
        return 1024 * told["MemAvailable"]
    except (OSError, ValueError, KeyError):  # not Linux: all of the memory is a bound still
        names = getattr(os, "sysconf_names", {})
        if "SC_PHYS_PAGES" not in names:
            return None
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
