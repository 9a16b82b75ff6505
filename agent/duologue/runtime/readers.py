"""Those who read a session's events, each at a pace of their own: nobody who is slow holds the session up."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from duologue.runtime.parts import SessionEvent

EVENTS_WAITING_MAX: Final = 2000  # of one reader; one that sleeps loses the oldest

_Queue = asyncio.Queue[SessionEvent | None]  # None: the session is over


class Readers:
    """Hands what is published to everybody who reads. The first reader gets what was published before it came, too."""

    def __init__(self) -> None:
        self._queues: list[_Queue] = []
        self._before: _Queue | None = asyncio.Queue(EVENTS_WAITING_MAX)
        self._over = False

    async def events(self) -> AsyncIterator[SessionEvent]:
        """All that is published until the end: for the first reader from the beginning, for others from now.

        The oldest are lost beyond `EVENTS_WAITING_MAX`.
        """
        queue, self._before = self._before, None
        if queue is None:
            queue = asyncio.Queue(EVENTS_WAITING_MAX)
        if self._over:
            _put(queue, None)
        self._queues.append(queue)
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._queues.remove(queue)

    def publish(self, event: SessionEvent) -> None:
        """Tell all readers `event`."""
        if self._before:
            _put(self._before, event)
        for queue in self._queues:
            _put(queue, event)

    def end(self) -> None:
        """Readers see all that was published before, and then the end. Idempotent."""
        if not self._over:
            self._over = True
            for queue in self._queues:
                _put(queue, None)


def _put(queue: _Queue, event: SessionEvent | None) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(event)
