"""Items cross from a thread to the loop in order; closing reaches the thread; a failure comes out where it happened."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from duologue_pipelines.tts.thread_stream import Emit, stream_from_thread


def test_items_come_in_order_then_the_failure() -> None:
    def work(emit: Emit[int]) -> None:
        for number in range(3):
            assert emit(number)
        raise ValueError("after three")

    async def take() -> list[int]:
        found: list[int] = []
        with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="after three"):
            async for item in stream_from_thread(pool, work):
                found.append(item)  # noqa: PERF401
        return found

    assert asyncio.run(take()) == [0, 1, 2]


@pytest.mark.parametrize("fails", [False, True])
def test_closing_tells_the_thread_and_waits_for_nothing(fails: bool) -> None:
    closed, stopped = threading.Event(), threading.Event()

    def work(emit: Emit[int]) -> None:
        emit(1)
        closed.wait(5)
        if not emit(2):
            stopped.set()
        if fails:
            raise ValueError("nobody is there to hear it")

    async def take_one() -> None:
        pool = ThreadPoolExecutor(1)
        stream = stream_from_thread(pool, work)
        assert await anext(stream) == 1
        await stream.aclose()
        closed.set()
        await asyncio.to_thread(pool.shutdown)
        assert stopped.is_set()

    asyncio.run(take_one())


def test_a_loop_that_is_gone_stops_the_thread() -> None:
    go_on, result = threading.Event(), []

    def work(emit: Emit[int]) -> None:
        emit(1)
        go_on.wait(5)
        result.append(emit(2))

    loop, pool = asyncio.new_event_loop(), ThreadPoolExecutor(1)
    stream = stream_from_thread(pool, work)
    assert loop.run_until_complete(anext(stream)) == 1
    loop.close()
    go_on.set()
    pool.shutdown()
    assert result == [False]
