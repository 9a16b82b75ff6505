import asyncio
import concurrent.futures
import gc
import socket
import threading
import time
from collections.abc import AsyncIterator

import pytest

from duologue.errors import InternalError
from duologue.runtime.virtual_time import (
    STEPS_MAX,
    DeadlockError,
    TasksLeftError,
    TimeLimitError,
    UnhandledError,
    VirtualTimeLoop,
    pass_time,
    run,
)


def now() -> float:
    return asyncio.get_running_loop().time()


def test_an_hour_of_sleep_takes_no_time_and_the_clock_says_an_hour() -> None:
    async def main() -> float:
        await asyncio.sleep(3600)
        return now()

    begun = time.monotonic()
    assert run(main(), start=5.0) == 3605.0
    assert time.monotonic() - begun < 5


def test_fifty_frames_a_second_end_at_the_literal_second() -> None:
    async def main() -> list[float]:
        loop, origin, seen = asyncio.get_running_loop(), now(), []
        for index in range(1, 501):
            await asyncio.sleep(origin + index * 0.02 - loop.time())
            seen.append(loop.time())
        return seen

    seen = run(main())
    assert seen[9] == 0.2 and seen[49] == 1.0 and seen[-1] == 10.0


def test_timers_fire_in_order_whatever_the_order_of_their_making() -> None:
    async def main() -> list[str]:
        loop, seen = asyncio.get_running_loop(), []
        for at, name in ((0.3, "c"), (0.1, "a"), (0.2, "b"), (0.0, "first")):
            loop.call_at(at, seen.append, name)
        await asyncio.sleep(0.5)
        return seen

    assert run(main()) == ["first", "a", "b", "c"]


def test_a_deadlock_is_raised_with_every_task_and_the_line_where_it_waits() -> None:
    async def waits_for_ever() -> None:
        await asyncio.Queue[int]().get()

    async def main() -> None:
        other = asyncio.create_task(waits_for_ever(), name="the consumer")
        await other

    with pytest.raises(DeadlockError) as caught:
        run(main())
    text = str(caught.value)
    assert "no timer is set" in text
    assert "the consumer" in text and "waits_for_ever waits in queues.py" in text and "(get)" in text
    assert "main waits in test_virtual_time.py" in text


def test_a_deadlock_names_generators_and_tasks_that_never_began() -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

    async def main() -> None:
        async for _ in numbers():
            pass

    with pytest.raises(DeadlockError, match=r"locks.py:\d+ \(wait\)"):
        run(main())
    loop = VirtualTimeLoop()
    task = loop.create_task(main(), name="new")
    assert loop.describe_tasks() == (
        "  new: test_a_deadlock_names_generators_and_tasks_that_never_began.<locals>.main has not begun"
    )
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    assert loop.describe_tasks() == "  no task is pending"
    loop.close()


def test_an_instant_that_never_ends_is_a_deadlock_too() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        def again() -> None:
            loop.call_soon(again)

        again()
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError, match=f"{STEPS_MAX} passes and the time is still 0.0"):
        run(main())


def test_timers_below_the_clocks_resolution_fire_and_cannot_hold_time_up_for_ever() -> None:
    async def main(naps: int) -> float:
        for _ in range(naps):
            await asyncio.sleep(1e-10)
        return now()

    assert run(main(10)) == 0.0
    with pytest.raises(DeadlockError, match="passes"):
        run(main(STEPS_MAX))


def test_time_has_a_limit_and_winding_up_may_still_take_time() -> None:
    tidy: list[float] = []

    async def main() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(1)
            tidy.append(now())

    with pytest.raises(TimeLimitError, match="still busy after 10 virtual seconds"):
        run(main(), limit_s=10)
    assert tidy == [1.0]


def test_a_task_left_behind_fails_the_run_and_is_cancelled() -> None:
    ended: list[str] = []

    async def orphan() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append("cancelled")

    async def main() -> str:
        task = asyncio.create_task(orphan(), name="orphan")
        await asyncio.sleep(0)
        assert not task.done()
        return "result"

    with pytest.raises(TasksLeftError, match="orphan waits in"):
        run(main())
    assert run(main(), tasks_left="cancel") == "result"
    assert ended == ["cancelled", "cancelled"]


def test_the_error_of_the_main_coroutine_comes_through_and_tasks_are_cancelled() -> None:
    async def main() -> None:
        task = asyncio.create_task(asyncio.sleep(1000))
        await asyncio.sleep(0)
        raise ValueError(f"mine, {task.done()}")

    with pytest.raises(ValueError, match="mine, False"):
        run(main())


def test_a_task_that_will_not_be_cancelled_is_noted_on_the_first_error() -> None:
    async def stubborn() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if now() < 0:
                    raise

    async def main() -> None:
        task = asyncio.create_task(stubborn(), name="stubborn")
        await asyncio.sleep(0)
        raise ValueError(task.get_name())

    with pytest.raises(ValueError) as caught:
        run(main())
    assert "while winding up: nothing is ready" in caught.value.__notes__[0]
    gc.collect()


def test_asynchronous_generators_are_closed() -> None:
    closed: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append("closed")

    kept = []

    async def main() -> int:
        kept.append(numbers())
        return await anext(kept[0])

    assert run(main()) == 1
    assert closed == ["closed"]


def test_an_exception_in_a_callback_fails_the_run() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_later(1, lambda: 1 // 0)
        await asyncio.sleep(2)

    with pytest.raises(UnhandledError, match="ZeroDivisionError") as caught:
        run(main())
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_time_stands_still_while_a_thread_works() -> None:
    async def main() -> tuple[float, str]:
        loop = asyncio.get_running_loop()
        gate = threading.Event()
        ticking = asyncio.create_task(asyncio.sleep(0.5))
        threading.Timer(0.05, gate.set).start()
        answered = await loop.run_in_executor(None, gate.wait, 10)
        at = loop.time()
        await ticking
        return at, f"{answered} {loop.time()}"

    assert run(main()) == (0.0, "True 0.5")


def test_an_executor_of_ones_own_and_a_call_cancelled_in_its_queue_are_counted() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        gate = threading.Event()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            first = loop.run_in_executor(pool, gate.wait, 10)
            queued = loop.run_in_executor(pool, time.monotonic)
            queued.cancel()
            gate.set()
            assert await first
        await asyncio.sleep(1)
        return loop.time()

    assert run(main()) == 1.0


def test_a_thread_that_outlives_the_loop_is_waited_for_and_harms_nobody() -> None:
    done: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(1))
        gate = threading.Event()
        threading.Timer(0.05, gate.set).start()
        loop.run_in_executor(None, lambda: done.append(str(gate.wait(10)))).cancel()

    run(main())
    assert done == ["True"]


def test_the_callback_of_a_thread_finds_a_closed_loop_and_says_nothing() -> None:
    loop = VirtualTimeLoop()
    pool = concurrent.futures.ThreadPoolExecutor(1)
    gate = threading.Event()
    loop.run_in_executor(pool, gate.wait, 10).cancel()
    loop.close()
    gate.set()
    pool.shutdown(wait=True)
    assert loop.is_closed()


def test_a_thread_without_a_sign_of_life_is_a_deadlock() -> None:
    gate = threading.Event()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        loop.set_stall_s(0.05)
        threading.Timer(0.15, gate.set).start()
        await loop.run_in_executor(None, gate.wait, 10)

    with pytest.raises(DeadlockError, match="no sign of life from 1 threads"):
        run(main())


def test_a_thread_may_wake_the_loop() -> None:
    async def main() -> str:
        loop = asyncio.get_running_loop()
        told: asyncio.Future[str] = loop.create_future()
        await loop.run_in_executor(None, loop.call_soon_threadsafe, told.set_result, "hello")
        return await told

    assert run(main()) == "hello"


def test_with_an_open_connection_time_runs_as_on_the_wall() -> None:
    async def main() -> tuple[bytes, float, float]:
        loop = asyncio.get_running_loop()
        here, there = socket.socketpair()
        with here, there:
            reader, writer = await asyncio.open_connection(sock=here)
            begun = time.monotonic()
            await asyncio.sleep(0.05)
            waited = time.monotonic() - begun
            threading.Timer(0.02, there.sendall, (b"hi",)).start()
            timer = asyncio.create_task(asyncio.sleep(5))
            got = await reader.readexactly(2)
            timer.cancel()
            at = loop.time()
            writer.close()
            await writer.wait_closed()
        return got, waited, at

    got, waited, at = run(main())
    assert got == b"hi" and waited >= 0.045 and 0.05 < at < 2


def test_a_connection_on_which_nothing_ever_comes_is_a_deadlock() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        loop.set_stall_s(0.02)
        here, there = socket.socketpair()
        with here, there:
            here.setblocking(False)
            await loop.sock_recv(here, 1)

    with pytest.raises(DeadlockError, match="open connections"):
        run(main())


def test_it_serves_asyncios_own_runner() -> None:
    async def main() -> float:
        await asyncio.to_thread(time.monotonic)
        await asyncio.sleep(60)
        return now()

    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(start=1.0)) as runner:
        assert runner.run(main()) == 61.0


def test_the_selector_knows_its_files() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        here, there = socket.socketpair()
        with here, there:
            loop.add_reader(here, print)
            loop.add_writer(here, loop.remove_writer, here)
            await asyncio.sleep(0.01)
            loop.remove_reader(here)

    run(main())


def test_time_is_passed_in_virtual_time_only() -> None:
    async def main() -> float:
        await pass_time(2.5)
        return now()

    assert run(main()) == 2.5
    with pytest.raises(InternalError, match="awaited in real time"):
        asyncio.run(pass_time(0))
