"""A clock on which work in threads takes the CPU seconds that it cost.

In plain virtual time a decode in a thread takes no time at all; on the wall it takes what the neighbours leave. Here
`workers` workers each do one piece of work after the other, in real computation but one at a time, and what a piece
tells the loop arrives as much later as the process computed for it. So figures of one session, or of eight, come out
of a machine that is busy with something else, but for what shared caches cost.
"""

import asyncio
import concurrent.futures
import time
from collections import deque
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, TypeVar, TypeVarTuple

from duologue.runtime.virtual_time import VirtualTimeLoop

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


@dataclass(slots=True)
class _Piece:
    call: Callable[[], Any]
    done: "asyncio.Future[Any]"
    asked_at: float
    told: list[tuple[Callable[..., object], tuple[Any, ...]]] = field(default_factory=list)


class PricedLoop(VirtualTimeLoop):
    """`workers`: how many pieces of executor work run side by side. `cost_s`: what they took so far, CPU seconds;
    `waits_s`: how long each stood in the queue."""

    def __init__(self, workers: int) -> None:
        super().__init__()
        self.cost_s = 0.0
        self.waits_s: list[float] = []
        self._free = workers
        self._waiting: deque[_Piece] = deque()
        self._at_work: _Piece | None = None

    def run_in_executor(
        self, executor: concurrent.futures.Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts
    ) -> "asyncio.Future[_T]":
        """As in asyncio; the default executor's work is free, every other's has its price."""
        if executor is None:
            return super().run_in_executor(None, func, *args)
        done: asyncio.Future[_T] = self.create_future()
        self._waiting.append(_Piece(lambda: func(*args), done, self.time()))
        self._start()
        return done

    def call_soon_threadsafe(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """What the piece at work tells is kept until its price is paid."""
        if self._at_work is None:
            return super().call_soon_threadsafe(callback, *args, context=context)
        self._at_work.told.append((callback, args))
        return asyncio.Handle(callback, args, self, context)

    def _start(self) -> None:
        while self._free and self._waiting:
            piece = self._waiting.popleft()
            self._free -= 1
            self._at_work = piece
            begun = time.process_time()
            try:
                result = piece.call()
            finally:
                self._at_work = None
            cost = time.process_time() - begun
            self.cost_s += cost
            self.waits_s.append(self.time() - piece.asked_at)
            self.call_later(cost, self._end, piece, result)

    def _end(self, piece: _Piece, result: object) -> None:
        self._free += 1
        for callback, args in piece.told:
            self.call_soon(callback, *args)
        if not piece.done.done():
            piece.done.set_result(result)
        self._start()
