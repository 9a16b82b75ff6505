"""An event loop whose clock jumps: hours of conversation in seconds, the same to the last bit every time.

When nothing is ready, `loop.time()` moves to the next timer at once. When nothing is ready and no timer is set, nothing
will ever happen again: that is a deadlock, and it is raised with the list of tasks and the lines where they wait,
instead of hanging the test. Three things are real and stay real:

- a thread started by `run_in_executor` is waited for, and time stands still while it works (`talk --fast` runs real
  models this way);
- while a socket or pipe is open, time runs as on the wall, because nobody can know when the peer will speak;
- `call_soon_threadsafe` wakes the loop as ever.

`run` is `asyncio.run` on such a loop, and stricter: a task that outlives the main coroutine, or an exception that
nobody took, fails the run.
"""

import asyncio
import concurrent.futures
import gc
import inspect
import selectors
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, Literal, Protocol, TypeVar, TypeVarTuple

from duologue.errors import DuologueError, InternalError

STEPS_MAX: Final = 200_000  # passes of the loop at one instant: far more than any real burst of callbacks
STALL_S: Final = 60.0  # wall seconds without a sign of life from a thread or socket

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class DeadlockError(DuologueError):
    """Nothing is ready and nothing ever will be, or the same instant never ends."""


class TimeLimitError(DuologueError):
    """Virtual time went past the limit that was set for the run."""


class TasksLeftError(DuologueError):
    """The main coroutine is done and tasks of it live on."""


class UnhandledError(DuologueError):
    """A callback or a task failed and nobody took the exception."""


class _HasFileno(Protocol):
    def fileno(self) -> int: ...


class _JumpingSelector(selectors.BaseSelector):
    """Polls the real selector and, instead of sleeping, moves the clock.

    `now`: virtual seconds. `threads`: calls at work in executors. The loop's own wake-up pipe is the first file
    registered; any other one is a connection to the real world.
    """

    def __init__(self, start: float, limit_s: float | None) -> None:
        self.now = start
        self.threads = 0
        self.stall_s = STALL_S
        self.describe: Callable[[], str] = str
        self.deadline = None if limit_s is None else start + limit_s
        self._limit_s = limit_s
        self._steps = 0
        self._real = selectors.DefaultSelector()

    def register(self, fileobj: int | _HasFileno, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: int | _HasFileno) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: int | _HasFileno, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[int | _HasFileno, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready; with nothing ready, time has moved by `timeout` when this returns."""
        ready = self._real.select(0)
        if ready or timeout == 0:
            self._count_step()
            return ready
        if self.threads:
            return self._wait(None)
        if len(self._real.get_map()) > 1:
            return self._wait(timeout)
        if timeout is None:
            raise DeadlockError(f"nothing is ready and no timer is set\n{self.describe()}")
        self._move(timeout)
        return ready

    def _count_step(self) -> None:
        self._steps += 1
        if self._steps > STEPS_MAX:
            self._steps = 0
            raise DeadlockError(f"{STEPS_MAX} passes and the time is still {self.now:.6f} s\n{self.describe()}")

    def _wait(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait on the wall clock; virtual time stands still without a `timeout` and runs along with one."""
        begun = time.monotonic()
        ready = self._real.select(self.stall_s if timeout is None else timeout)
        if timeout is not None:
            self._move(min(timeout, time.monotonic() - begun) if ready else timeout)
        elif not ready:
            what = f"{self.threads} threads" if self.threads else "open connections"
            raise DeadlockError(f"no sign of life from {what} in {self.stall_s:g} s\n{self.describe()}")
        return ready

    def _move(self, seconds: float) -> None:
        # Rounded to the loop's own resolution, so that literal times in tests come out as they were written.
        moved = round(self.now + seconds, 9)
        if self.deadline is not None and moved > self.deadline:
            raise TimeLimitError(f"still busy after {self._limit_s:g} virtual seconds\n{self.describe()}")
        if moved > self.now:
            self._steps = 0
            self.now = moved
        else:
            self._count_step()


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop in virtual time. `start`: what `time()` says at first; `limit_s`: how far it may go.

    Raises `DeadlockError` and `TimeLimitError` out of `run_until_complete`.
    """

    def __init__(self, *, start: float = 0.0, limit_s: float | None = None) -> None:
        self._clock = _JumpingSelector(start, limit_s)
        self._pool: concurrent.futures.Executor | None = None
        self.unhandled: list[dict[str, Any]] = []
        super().__init__(self._clock)
        self._clock.describe = self.describe_tasks
        self.set_exception_handler(lambda _, context: self.unhandled.append(context))

    def time(self) -> float:
        """Virtual seconds."""
        return self._clock.now

    def set_stall_s(self, seconds: float) -> None:
        """How long, on the wall clock, a thread or a connection may keep the loop waiting."""
        self._clock.stall_s = seconds

    def lift_limit(self) -> None:
        """Let time go on as far as it needs."""
        self._clock.deadline = None

    def set_default_executor(self, executor: concurrent.futures.Executor) -> None:
        """Run `run_in_executor(None, …)` on `executor`, which the loop shuts down at its close."""
        self._pool = executor

    def run_in_executor(
        self, executor: concurrent.futures.Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts
    ) -> asyncio.Future[_T]:
        """As in asyncio; time stands still until `func` has returned."""
        if executor is None:
            executor = self._pool = self._pool or concurrent.futures.ThreadPoolExecutor(4, "virtual-time")
        work = executor.submit(func, *args)
        result = asyncio.wrap_future(work, loop=self)
        self._clock.threads += 1
        work.add_done_callback(self._tell_thread_done)  # after wrap_future's own: the result is there first
        return result

    def _tell_thread_done(self, _: concurrent.futures.Future[Any]) -> None:
        if not self.is_closed():
            self.call_soon_threadsafe(self._thread_done)

    def _thread_done(self) -> None:
        self._clock.threads -= 1

    def close(self) -> None:
        """Close the loop and wait for its own threads."""
        if self._pool is not None and not self.is_running():
            self._pool.shutdown(wait=True, cancel_futures=True)
        super().close()

    def describe_tasks(self) -> str:
        """One line a pending task: its name, what it runs and the line where it waits."""
        tasks = sorted(asyncio.all_tasks(self), key=lambda task: task.get_name())
        return "\n".join(f"  {task.get_name()}: {_where(task)}" for task in tasks) or "  no task is pending"


def _where(task: "asyncio.Task[Any]") -> str:
    """`session.run waits in queues.py:158 (get)`: the outermost coroutine and the innermost line."""
    awaited: Any = task.get_coro()
    name = getattr(awaited, "__qualname__", repr(awaited))
    if inspect.iscoroutine(awaited) and inspect.getcoroutinestate(awaited) == inspect.CORO_CREATED:
        return f"{name} has not begun"
    place = ""
    while awaited is not None:
        frame = _first_of(awaited, "cr_frame", "gi_frame", "ag_frame")
        if frame is not None:
            file = frame.f_code.co_filename.rpartition("/")[2]
            place = f"waits in {file}:{frame.f_lineno} ({frame.f_code.co_name})"
        awaited = _first_of(awaited, "cr_await", "gi_yieldfrom", "ag_await") or _generator_behind(awaited)
    return f"{name} {place}"


def _first_of(awaited: Any, *names: str) -> Any:
    return next((value for name in names if (value := getattr(awaited, name, None)) is not None), None)


def _generator_behind(awaited: Any) -> Any:
    """The asynchronous generator that `awaited`, one step of it, belongs to: only the garbage collector can tell."""
    if type(awaited).__name__ not in ("async_generator_asend", "async_generator_athrow"):
        return None
    return next((thing for thing in gc.get_referents(awaited) if inspect.isasyncgen(thing)), None)


async def pass_time(seconds: float) -> None:
    """Let virtual time pass, 0 for one turn of the loop. `InternalError` on a loop whose clock is the wall's."""
    if not isinstance(asyncio.get_running_loop(), VirtualTimeLoop):
        raise InternalError(
            "pass_time was awaited in real time", hint="Run the test with duologue.testing.virtual_time.run"
        )
    await asyncio.sleep(seconds)


def run(
    main: Coroutine[Any, Any, _T],
    *,
    start: float = 0.0,
    limit_s: float | None = 24 * 3600.0,
    tasks_left: Literal["raise", "cancel"] = "raise",
) -> _T:
    """Run `main` to its end in virtual time and give its result.

    `start`: the first `loop.time()`. `limit_s`: virtual seconds after which `TimeLimitError` is raised. `tasks_left`:
    whether tasks that outlive `main` raise `TasksLeftError` or are cancelled without a word. Raises what `main` raises,
    `DeadlockError` when nothing can ever happen again, `UnhandledError` for an exception that nobody took.
    """
    loop = VirtualTimeLoop(start=start, limit_s=limit_s)
    asyncio.set_event_loop(loop)
    try:
        result = loop.run_until_complete(main)
        left = loop.describe_tasks() if asyncio.all_tasks(loop) else ""
        _wind_up(loop)
    except BaseException as error:
        try:
            _wind_up(loop)
        except DuologueError as second:
            error.add_note(f"and while winding up: {second}")
        raise
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    if left and tasks_left == "raise":
        raise TasksLeftError(f"the main coroutine is done and these are not\n{left}", hint="Await or cancel them")
    if loop.unhandled:
        context = loop.unhandled[0]
        raise UnhandledError(f"{context['message']}: {context.get('exception')!r}") from context.get("exception")
    return result


def _wind_up(loop: VirtualTimeLoop) -> None:
    """Cancel what is left and close asynchronous generators, so that nothing is destroyed while pending."""
    tasks = asyncio.all_tasks(loop)

    async def cancel() -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await loop.shutdown_asyncgens()

    loop.lift_limit()
    loop.run_until_complete(cancel())
