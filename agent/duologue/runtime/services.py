"""What the rooms of a session share: its clock, its way to the core, its trace, its tasks, its meter."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from duologue.core.events import Event
from duologue.runtime.meter import Meter

Severity = Literal["info", "warning", "error"]  # worth knowing; mended, and worth looking at; nothing more came of it


class TakeNote(Protocol):
    """Writes a note to the trace, and tells it."""

    def __call__(self, source: str, text: str, severity: Severity = "info", /) -> None: ...


@dataclass(frozen=True, slots=True)
class Services:
    """One object, handed around.

    `now`: session seconds. `post`: tells the core an event and carries out what it decides. `note`: to the trace and
    the observers. `spawn`: a task that the session watches, and that ends with it.
    """

    now: Callable[[], float]
    post: Callable[[Event], None]
    note: TakeNote
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    meter: Meter
