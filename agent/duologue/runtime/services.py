"""What the rooms of a session share: its clock, its way to the core, its trace, its tasks, its meter."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from duologue.core.events import Event
from duologue.runtime.meter import Meter


@dataclass(frozen=True, slots=True)
class Services:
    """One object, handed around.

    `now`: session seconds. `post`: tells the core an event and carries out what it decides. `note`: (source, text) to
    the trace and the observers. `spawn`: a task that the session watches, and that ends with it.
    """

    now: Callable[[], float]
    post: Callable[[Event], None]
    note: Callable[[str, str], None]
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    meter: Meter
