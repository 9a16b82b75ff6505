"""Threads for users' plain functions: their own, so that one that never returns starves nothing else of the process.

They are daemons: a process must be able to end while somebody's function does not.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from typing import Any, Final

THREADS_MAX: Final = 32  # in the process; more functions at once are refused, most likely others hang


class ThreadsBusy(Exception):
    """All threads are taken."""


class DaemonExecutor(Executor):
    """A thread for each call, up to `THREADS_MAX` at a time."""

    def __init__(self) -> None:
        self._free = threading.BoundedSemaphore(THREADS_MAX)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Run `fn` in a thread of its own. Raises `ThreadsBusy`."""
        if not self._free.acquire(blocking=False):
            raise ThreadsBusy(f"{THREADS_MAX} functions are running already, and none has returned")
        future: Future[Any] = Future()
        threading.Thread(target=self._run, args=(future, fn, args, kwargs), daemon=True, name="duologue-tool").start()
        return future

    def _run(self, future: "Future[Any]", fn: Callable[..., Any], args: Any, kwargs: Any) -> None:
        try:
            if future.set_running_or_notify_cancel():
                future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # the future carries it to whoever waits, as concurrent.futures does
            future.set_exception(error)
        finally:
            self._free.release()


_EXECUTOR: Final = DaemonExecutor()


async def in_daemon_thread(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """`function(**arguments)` in a thread, with the caller's context variables.

    What it raises comes as it is, but for an exit or a StopIteration, which no future can carry: `RuntimeError`.
    """
    context = contextvars.copy_context()

    def call() -> Any:
        try:
            return context.run(function, **arguments)
        except (SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration, asyncio.CancelledError) as error:
            raise RuntimeError(f"it raised {type(error).__name__}") from error

    return await asyncio.get_running_loop().run_in_executor(_EXECUTOR, call)
