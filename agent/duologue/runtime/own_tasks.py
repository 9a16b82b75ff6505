"""The tasks that belong to a session: a failure of theirs is the session's, and none outlives it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

END_S_MAX: Final = 5.0  # for tasks to stop when they are cancelled; a user's function may refuse to


class OwnTasks:
    """`on_failed` is told what a task raised."""

    def __init__(self, on_failed: Callable[[BaseException], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_failed = on_failed
        self._running: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """How many run."""
        return len(self._running)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` until it is done or the session is over."""
        task = self._loop.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failed(error)

    async def end(self) -> int:
        """Cancel all and wait for them; how many did not stop and are left behind."""
        pending = list(self._running)
        for task in pending:
            task.cancel()
        return len((await asyncio.wait(pending, timeout=END_S_MAX))[1]) if pending else 0
