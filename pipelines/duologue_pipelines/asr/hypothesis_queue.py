"""What a recognition stream has to tell, kept until read: the newest partial, every final, at most one failure."""

import asyncio
from collections import deque
from typing import Final

from duologue.errors import DuologueError
from duologue.ports.asr import Hypothesis

FINALS_MAX: Final = 64  # unread; a session reads each as it comes, beyond this the oldest are dropped


class HypothesisQueue:
    """An async iterator fed from the loop. A partial that nobody read is replaced by what comes after it."""

    def __init__(self) -> None:
        self._items: deque[Hypothesis] = deque(maxlen=FINALS_MAX)
        self._failure: DuologueError | None = None
        self._closed = False
        self._changed = asyncio.Event()

    @property
    def closed(self) -> bool:
        """Whether nothing more is taken."""
        return self._closed

    def put(self, hypothesis: Hypothesis) -> None:
        """Add `hypothesis`; ignored once closed."""
        if self._closed:
            return
        if self._items and not self._items[-1].final:
            self._items.pop()
        self._items.append(hypothesis)
        self._changed.set()

    def fail(self, error: DuologueError) -> None:
        """Raise `error` out of the iteration after what is unread, and close."""
        if not self._closed:
            self._failure, self._closed = error, True
            self._changed.set()

    def close(self) -> None:
        """End the iteration at once; what is unread is dropped. Idempotent."""
        self._items.clear()
        self._failure, self._closed = None, True
        self._changed.set()

    def __aiter__(self) -> "HypothesisQueue":
        return self

    async def __anext__(self) -> Hypothesis:
        while not self._items:
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            if self._closed:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._items.popleft()
