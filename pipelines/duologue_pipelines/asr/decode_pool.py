"""A bounded pool of decoder threads that all sessions share, with finals before partials.

Decoders are models: they compute for tens of milliseconds and must never do so on the loop. What is asked for a final
goes before any partial, and of the partials that of the turn which has been served the least. A cancelled request gives
its place in the queue back; a full queue says so instead of growing; how long finals wait can be read.
"""

import asyncio
import heapq
import itertools
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from duologue.errors import StageOverloaded, StageUnavailable

_Result = TypeVar("_Result")


@dataclass(order=True, slots=True)
class _Job:
    rank: int  # 0 for what is urgent
    served: int  # how many decodes its owner has had; among finals the first come goes first
    number: int
    work: Callable[[], Any] = field(compare=False)
    future: "asyncio.Future[Any]" = field(compare=False)
    loop: asyncio.AbstractEventLoop = field(compare=False)
    asked_at: float = field(compare=False)


_OWNERS_MAX: Final = 1024  # turns whose share is remembered; the one served longest ago is forgotten
_WAITS_KEPT: Final = 16
_WAIT_COUNTS_SECONDS: Final = 5.0  # what a final waited longer ago says nothing about now


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
        self._served: OrderedDict[int, int] = OrderedDict()
        self._waits: deque[tuple[float, float]] = deque(maxlen=_WAITS_KEPT)  # of finals: when they began, how long
        self._closed = False
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix=name)

    @property
    def idle(self) -> bool:
        """Whether a request would start at once."""
        with self._lock:
            return self._busy + len(self._queue) < self._workers

    @property
    def takes_partials(self) -> bool:
        """Whether a partial would start soon: no final waits, and fewer partials than there are workers."""
        with self._lock:
            return len(self._queue) < self._workers and all(job.rank for job in self._queue)

    def queue_wait_s(self, now: float) -> float:
        """The longest that a final waited lately, or has been waiting until `now` (the loop's seconds)."""
        with self._lock:
            lately = [wait for at, wait in self._waits if now - at <= _WAIT_COUNTS_SECONDS]
            return max([*lately, *(now - job.asked_at for job in self._queue if not job.rank)], default=0.0)

    @property
    def waiting(self) -> int:
        """Requests that have not started."""
        with self._lock:
            return len(self._queue)

    def submit(self, work: Callable[[], _Result], *, urgent: bool, owner: int = 0) -> "asyncio.Future[_Result]":
        """Run `work` for the turn `owner` in a thread; the future belongs to the running loop.

        Cancelling it frees its place in the queue.
        Raises `StageOverloaded` when the queue is at its bound, `StageUnavailable` after `close`.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Result] = loop.create_future()
        with self._lock:
            served = 0 if urgent else self._served.get(owner, 0)
            job = _Job(0 if urgent else 1, served, next(self._numbers), work, future, loop, loop.time())
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
            self._count(owner)
        # By the loop's own door, so that a virtual-time loop knows of the thread; each turn in the executor takes
        # whatever is most urgent by then.
        loop.run_in_executor(self._executor, self._work)
        future.add_done_callback(lambda done: self._abandon(job) if done.cancelled() else None)
        return future

    def _count(self, owner: int) -> None:
        self._served[owner] = self._served.pop(owner, min(self._served.values(), default=0)) + 1
        if len(self._served) > _OWNERS_MAX:
            self._served.popitem(last=False)

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
            if not job.rank:
                now = job.loop.time()
                self._waits.append((now, now - job.asked_at))
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
