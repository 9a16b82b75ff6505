"""Items made by a thread, taken by the loop: the bridge between a blocking engine and an async generator."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from typing import TypeVar

T = TypeVar("T")
Emit = Callable[[T], bool]
"""Hands an item over; False once nobody wants any more."""


async def stream_from_thread(executor: Executor, work: Callable[[Emit[T]], None]) -> AsyncGenerator[T, None]:
    """Run `work(emit)` in `executor` and yield what it emits.

    Closing the iterator makes `emit` return False. What `work` raises comes out here after the items before it. The
    queue between them has no bound of its own: `work` must be finite and small.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[T | None] = asyncio.Queue()
    closed = threading.Event()

    def hand_over(item: T | None) -> bool:
        if closed.is_set():
            return False
        try:
            loop.call_soon_threadsafe(queue.put_nowait, item)
        except RuntimeError:  # the loop is gone, and with it whoever wanted the item
            return False
        return True

    def run() -> None:
        try:
            work(hand_over)
        finally:
            hand_over(None)

    running = loop.run_in_executor(executor, run)
    try:
        while (item := await queue.get()) is not None:
            yield item
        await running
    finally:
        closed.set()
        if not running.done():
            running.add_done_callback(lambda done: done.cancelled() or done.exception())
