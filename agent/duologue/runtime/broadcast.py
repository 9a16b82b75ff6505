"""Those who read a session's events, each at a pace of their own: nobody who is slow holds the session up."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

from duologue.runtime.session_setup import SessionEvent

EVENTS_WAITING_MAX: Final = 2000  # of one reader; one that sleeps loses the oldest
EVENTS_BEFORE_MAX: Final = 100  # kept for the first reader; a session that nobody reads must not pay for more

_Queue = asyncio.Queue[SessionEvent | None]  # None: the session is over


class Broadcast:
    """Hands what is published to everybody who reads. The first reader gets what was published before it came, too."""

    def __init__(self) -> None:
        self._queues: list[_Queue] = []
        self._before: deque[SessionEvent] | None = deque(maxlen=EVENTS_BEFORE_MAX)
        self._over = False

    async def events(self) -> AsyncIterator[SessionEvent]:
        """All that is published until the end: for the first reader from the beginning, for others from now.

        The oldest are lost beyond `EVENTS_WAITING_MAX`, before the first reader beyond `EVENTS_BEFORE_MAX`.
        """
        queue: _Queue = asyncio.Queue(EVENTS_WAITING_MAX)
        for event in self._before or ():
            queue.put_nowait(event)
        self._before = None
        if self._over:
            _put(queue, None)
        self._queues.append(queue)
        try:
            while (told := await queue.get()) is not None:
                yield told
        finally:
            self._queues.remove(queue)

    def publish(self, event: SessionEvent) -> None:
        """Tell all readers `event`."""
        if self._before is not None:
            self._before.append(event)
        for queue in self._queues:
            _put(queue, event)

    def end(self) -> None:
        """Broadcast see all that was published before, and then the end. Idempotent."""
        if not self._over:
            self._over = True
            for queue in self._queues:
                _put(queue, None)


def _put(queue: _Queue, event: SessionEvent | None) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(event)
