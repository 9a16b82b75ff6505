"""The event log, from which a session replays: all that the core was told and decided, and what the stages had to say.

In memory the newest entries are kept, up to a bound. With a file, each entry is a line of JSON; when the file reaches
its bound it is put aside as `….1` and a new one begins with the state of the core, so that each file replays by itself
and two at most exist.
"""

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

from duologue.core.actions import Action
from duologue.core.codec import encode
from duologue.core.events import Event
from duologue.errors import ConfigurationError

ENTRIES_KEPT: Final = 500  # in memory: a minute or two of talk, some 100 kB
BYTES_MAX: Final = 32 * 1024 * 1024  # a file: some hours of talk
VERSION: Final = 2


class Trace:
    """One session's log. `at` is session seconds throughout.

    `header`: makes the first line of each file: version, policy, and the core's state at that moment.
    """

    def __init__(
        self,
        header: Callable[[], Mapping[str, Any]],
        *,
        path: Path | None = None,
        bytes_max: int = BYTES_MAX,
        entries_kept: int = ENTRIES_KEPT,
    ) -> None:
        self._header = header
        self._path = path
        self._bytes_max = bytes_max
        self._bytes = 0
        self._file: BinaryIO | None = None
        self.entries: deque[tuple[float, str, Any]] = deque(maxlen=entries_kept)
        self.dropped = 0
        self.lost = ""  # why the file is incomplete, if it is
        if path:
            self._open(path)

    def event(self, event: Event) -> None:
        """The core was told `event`."""
        self._keep(event.at, "event", event)

    def actions(self, at: float, actions: Sequence[Action]) -> None:
        """The core decided `actions`, in order, upon the entry before."""
        for action in actions:
            self._keep(at, "action", action)

    def advanced(self, now: float) -> None:
        """The core was told that time is `now`."""
        self._keep(now, "advance", {"until": now})

    def taken_over(self, at: float) -> None:
        """The core took a session over from another process."""
        self._keep(at, "take_over", {})

    def note(self, at: float, source: str, text: str, **more: Any) -> None:
        """Something worth knowing that the core has no use for: a retry, a fallback, an overrun."""
        self._keep(at, "note", {"source": source, "text": text, **more})

    def close(self) -> None:
        """Write what is still in memory. Idempotent."""
        file, self._file = self._file, None
        if file:
            try:
                file.close()
            except OSError as error:  # what was still to be written did not fit either
                self._give_up(error)

    # --- the file -------------------------------------------------------------------------------------------------

    def _keep(self, at: float, kind: str, what: Any) -> None:
        if len(self.entries) == self.entries.maxlen:
            self.dropped += 1
        self.entries.append((at, kind, what))
        if self._file is None:
            return
        if isinstance(what, Event):  # its `at` is exact: a replay hangs on every digit
            self._write({"kind": kind, **encode(what)})
        elif isinstance(what, Action):
            self._write({"kind": kind, "step_at": round(at, 4), **encode(what)})
        else:
            self._write({"at": at, "kind": kind, **what})

    def begin_step(self) -> None:
        """Between two steps of the core: what was written is handed to the system, so that a process that is killed
        loses one step at most; and the file may be changed here, where the state is whole."""
        self._flush()
        if self._file and self._path and self._bytes > self._bytes_max:
            self.close()
            try:
                self._path.replace(self._path.with_name(self._path.name + ".1"))
                self._open(self._path)
            except (OSError, ConfigurationError) as error:
                self._give_up(error)

    def _flush(self) -> None:
        if self._file:
            try:
                self._file.flush()
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """The disk is full: the conversation matters more than its log, and the memory still has it."""
        self.dropped += 1
        self.lost = self.lost or f"{self._path} is incomplete: {getattr(error, 'strerror', None) or error}"
        self.close()

    def _open(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb")
        except OSError as error:
            raise ConfigurationError(
                f"the trace can't be written to {path}: {error.strerror or error}", hint="Choose another folder"
            ) from error
        self._bytes = 0
        self._write({"kind": "header", "version": VERSION, **self._header()})

    def _write(self, line: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        plain = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
        text = plain.encode(errors="backslashreplace") + b"\n"  # a lone surrogate as JSON escapes it
        self._bytes += len(text)
        try:
            self._file.write(text)
        except OSError as error:
            self._give_up(error)
