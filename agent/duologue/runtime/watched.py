"""Stages under watch: one that hangs or raises what its port does not speak of costs a reply, not the session."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final, TypeVar

from duologue.errors import DuologueError, StageError, StageTimeout
from duologue.runtime.services import TakeNote

SLACK_S: Final = 0.001  # a timer may come a rounding too early: not one that is set for a time which is over

CLOSE_S_MAX: Final = 5.0  # a connection that does not end is left to the system

Item = TypeVar("Item")


async def watched(stage: str, items: AsyncGenerator[Item, None], stall_s_max: float) -> AsyncGenerator[Item, None]:
    """`items`, closed with this generator, and what goes wrong in them as `StageError`.

    `StageTimeout` when the next one does not come within `stall_s_max`. An adapter that raises what its port does not
    speak of costs a reply, not the session.
    """
    patience = _Patience(stall_s_max)
    try:
        async with aclosing(items):
            while True:
                patience.begin()
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    return
                except asyncio.CancelledError as error:
                    if patience.take_back():
                        raise StageTimeout(stage, f"nothing came for {stall_s_max:g} s") from error
                    raise
                except DuologueError:
                    raise
                except Exception as error:  # a stranger's adapter may raise anything
                    raise stage_broke(stage, error) from error
                patience.end()
                yield item
    finally:
        patience.close()


async def attended(work: Awaitable[object], on_failed: Callable[[Exception], None]) -> None:
    """Await `work`; `on_failed` is told what it raises: a stranger's may raise anything."""
    try:
        await work
    except Exception as error:
        on_failed(error)


async def closed_in_time(closing: Awaitable[object], what: str, note: TakeNote) -> None:
    """Await `closing`, for a few seconds at most; what goes wrong is noted: the session is over all the same."""
    try:
        async with asyncio.timeout(CLOSE_S_MAX):
            await closing
    except TimeoutError:
        note(what, f"it did not close within {CLOSE_S_MAX:g} s and is left behind", "error")
    except Exception as error:  # a stranger's adapter may raise anything
        note(what, f"it did not close: {type(error).__name__}: {error}", "error")


class _Patience:
    """`asyncio.timeout` for each of many awaits, with one timer for all: items come by dozens, time-outs never."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._since: float | None = None
        self._task: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ran_out = False
        self._cancelling = 0  # what others have asked the task before

    def begin(self) -> None:
        """An await of the running task begins."""
        self._since, self._task = self._loop.time(), asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task else 0
        if self._timer is None:
            self._timer = self._loop.call_at(self._since + self._seconds, self._look)

    def end(self) -> None:
        """It is over."""
        self._since = None

    def take_back(self) -> bool:
        """After the await was cancelled: whether that was by this, and by nobody else. If so the task may go on."""
        return self._ran_out and self._task is not None and self._task.uncancel() <= self._cancelling

    def close(self) -> None:
        """No await follows."""
        self._since = None
        if self._timer:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        if self._since is None or self._task is None:
            return  # the next await arms it again
        due = self._since + self._seconds
        if due > self._loop.time() + SLACK_S:
            self._timer = self._loop.call_at(due, self._look)
        else:
            self._ran_out = True
            self._task.cancel()


def stage_broke(stage: str, error: Exception) -> StageError:
    """What an adapter raised that is none of our errors, as one."""
    hint = f"The {stage} adapter should raise StageError: report it to its author"
    return StageError(stage, f"{type(error).__name__}: {error}", hint=hint)
