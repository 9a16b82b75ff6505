"""Standard output that neither an old terminal nor a reader who has left can break.

A call must not be lost because `| head -1` has read enough, nor because the terminal knows no ✓: what can't be written
any more is dropped and remembered, and a character that the encoding lacks is spelled with one that it has.
"""

import codecs
import io
import sys
from types import MappingProxyType
from typing import Any, Final, Protocol

SPELLINGS: Final = MappingProxyType(
    {"✓": "+", "✗": "x", "→": "->", "…": "...", "–": "-", "—": "-", "·": "-", "×": "x", "“": '"', "”": '"', "’": "'"}
)
_SPELL: Final = "duologue.spell"


class _Raw(Protocol):
    """The bytes below a text stream."""

    def write(self, data: Any, /) -> int | None: ...
    def fileno(self) -> int: ...
    def isatty(self) -> bool: ...


class PatientOutput(io.RawIOBase):
    """Bytes (or a view of some) for `raw` until it takes no more. `failure`: why, if it came to that."""

    def __init__(self, raw: _Raw) -> None:
        self._raw = raw
        self.failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        size = memoryview(data).nbytes
        if self.failure is None:
            try:
                return self._raw.write(data) or 0
            except OSError as error:
                self.failure = error
        return size

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw.isatty()


def make_stdout_patient() -> PatientOutput | None:
    """Put a `PatientOutput` below `sys.stdout`; None where there is none or it is not a file's."""
    stdout = sys.stdout
    if not isinstance(stdout, io.TextIOWrapper):
        return None
    stdout.flush()
    raw: Any = getattr(stdout.buffer, "raw", stdout.buffer)  # with `python -u` there is nothing between them
    patient = PatientOutput(raw)
    codecs.register_error(_SPELL, _spelled)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(patient), encoding=stdout.encoding, errors=_SPELL, line_buffering=stdout.line_buffering
    )
    return patient


def _spelled(error: UnicodeError) -> tuple[str, int]:
    """Other characters for those that the encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(SPELLINGS.get(char, "?") for char in lacking), error.end
