"""A bounded pool of decoder threads that all sessions share, with finals before partials.

Decoders are models: they compute for tens of milliseconds and must never do so on the loop. What is asked for a final
goes before any partial; a cancelled request gives its place in the queue back; a full queue says so instead of growing.
"""

import asyncio
import heapq
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from duologue.errors import StageOverloaded, StageUnavailable

_Result = TypeVar("_Result")


@dataclass(order=True, slots=True)
class _Job:
    rank: int  # 0 for what is urgent
    number: int  # first come, first served
    work: Callable[[], Any] = field(compare=False)
    future: "asyncio.Future[Any]" = field(compare=False)
    loop: asyncio.AbstractEventLoop = field(compare=False)


class DecodePool:
    """`workers` threads, started on first need; at most `queue_max` requests wait (`StageOverloaded` beyond that)."""

    def __init__(self, name: str, *, workers: int, queue_max: int) -> None:
        self._name = name
        self._workers = workers
        self._queue_max = queue_max
        self._queue: list[_Job] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._busy = 0
        self._closed = False
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix=name)

    @property
    def idle(self) -> bool:
        """Whether a request would start at once."""
        with self._lock:
            return self._busy + len(self._queue) < self._workers

    @property
    def waiting(self) -> int:
        """Requests that have not started."""
        with self._lock:
            return len(self._queue)

    def submit(self, work: Callable[[], _Result], *, urgent: bool) -> "asyncio.Future[_Result]":
        """Run `work` in a thread; the future belongs to the running loop. Cancelling it frees its place in the queue.

        Raises `StageOverloaded` when the queue is at its bound, `StageUnavailable` after `close`.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Result] = loop.create_future()
        job = _Job(0 if urgent else 1, next(self._numbers), work, future, loop)
        with self._lock:
            if self._closed:
                raise StageUnavailable("asr", f"{self._name} is closed", hint="Open a session on a new one")
            if len(self._queue) >= self._queue_max:
                raise StageOverloaded(
                    "asr",
                    f"{self._name}: {len(self._queue)} decodes are waiting, the bound is {self._queue_max}",
                    retryable=True,
                    hint="Admit fewer sessions, or raise asr.workers where there are cores to spare",
                )
            heapq.heappush(self._queue, job)
        # By the loop's own door, so that a virtual-time loop knows of the thread; each turn in the executor takes
        # whatever is most urgent by then.
        loop.run_in_executor(self._executor, self._work)
        future.add_done_callback(lambda done: self._abandon(job) if done.cancelled() else None)
        return future

    def close(self) -> None:
        """Drop what waits; what runs is not awaited. Idempotent."""
        with self._lock:
            self._closed = True
            dropped, self._queue = self._queue, []
        for job in dropped:
            _tell(job, job.future.cancel)
        self._executor.shutdown(wait=False)

    async def aclose(self) -> None:
        """`close`, and wait until the threads have ended. Idempotent."""
        self.close()
        await asyncio.to_thread(self._executor.shutdown)

    def _abandon(self, job: _Job) -> None:
        with self._lock:
            if job in self._queue:
                self._queue.remove(job)
                heapq.heapify(self._queue)

    def _work(self) -> None:
        with self._lock:
            if not self._queue:  # abandoned meanwhile
                return
            job = heapq.heappop(self._queue)
            self._busy += 1
        try:
            _finish(job)
        finally:
            with self._lock:
                self._busy -= 1


def _finish(job: _Job) -> None:
    try:
        result = job.work()
    except BaseException as error:  # not swallowed: it is raised where the future is awaited
        failure = error
        _tell(job, lambda: None if job.future.done() else job.future.set_exception(failure))
    else:
        _tell(job, lambda: None if job.future.done() else job.future.set_result(result))


def _tell(job: _Job, act: Callable[[], object]) -> None:
    if not job.loop.is_closed():
        try:
            job.loop.call_soon_threadsafe(act)
        except RuntimeError:  # the loop was closed in between: nobody is left to be told
            return
