"""The pool's order, bounds and ends; its threads wait on events, never on time."""

import asyncio
import threading

import pytest

from duologue.errors import StageOverloaded, StageUnavailable
from duologue.testing.virtual_time import run
from duologue_pipelines.asr.decode_pool import DecodePool


def blocked(pool: DecodePool) -> tuple[threading.Event, "asyncio.Future[bool]", threading.Event]:
    """Keep one worker busy until the event is set."""
    go, started = threading.Event(), threading.Event()

    def work() -> bool:
        started.set()
        return go.wait(10)

    future = pool.submit(work, urgent=False)
    started.wait(10)
    return go, future, started


def test_finals_go_before_partials() -> None:
    async def scenario() -> None:
        pool = DecodePool("test", workers=1, queue_max=8)
        go, first, _ = blocked(pool)
        order: list[str] = []
        futures = [
            pool.submit(lambda name=name: order.append(name), urgent=urgent)  # type: ignore[misc]
            for name, urgent in (("partial 1", False), ("partial 2", False), ("final 1", True), ("final 2", True))
        ]
        assert not pool.idle
        assert pool.waiting == 4
        go.set()
        await asyncio.gather(first, *futures)
        assert order == ["final 1", "final 2", "partial 1", "partial 2"]
        await pool.aclose()

    asyncio.run(scenario())


def test_a_full_queue_says_so_and_a_cancelled_request_frees_its_place() -> None:
    async def scenario() -> None:
        pool = DecodePool("whisper", workers=1, queue_max=1)
        go, first, _ = blocked(pool)
        waiting = pool.submit(lambda: 1, urgent=True)
        with pytest.raises(StageOverloaded, match="whisper: 1 decodes are waiting, the bound is 1"):
            pool.submit(lambda: 2, urgent=True)
        waiting.cancel()
        await asyncio.sleep(0)
        assert pool.waiting == 0
        later = pool.submit(lambda: 3, urgent=True)
        go.set()
        assert await later == 3
        await first
        await pool.aclose()

    asyncio.run(scenario())


def test_a_failure_is_raised_where_it_is_awaited() -> None:
    def fail() -> None:
        raise ValueError("broken")

    async def scenario() -> None:
        pool = DecodePool("test", workers=1, queue_max=8)
        with pytest.raises(ValueError, match="broken"):
            await pool.submit(fail, urgent=False)
        assert await pool.submit(lambda: 7, urgent=False) == 7
        await pool.aclose()

    asyncio.run(scenario())


def test_a_cancelled_request_that_runs_is_told_nothing() -> None:
    async def scenario() -> None:
        pool = DecodePool("test", workers=1, queue_max=8)
        for work in (lambda: None, lambda: 1 / 0):
            go, first, _ = blocked(pool)
            first.cancel()
            go.set()
            after: asyncio.Future[float | None] = pool.submit(work, urgent=False)  # type: ignore[arg-type]
            await asyncio.wait({after})
            assert first.cancelled()
            assert after.exception() is None or isinstance(after.exception(), ZeroDivisionError)
        await pool.aclose()

    asyncio.run(scenario())


def test_close_drops_what_waits_and_takes_nothing_more() -> None:
    async def scenario() -> None:
        pool = DecodePool("test", workers=1, queue_max=8)
        go, first, _ = blocked(pool)
        waiting = pool.submit(lambda: 1, urgent=True)
        pool.close()
        go.set()
        await pool.aclose()
        await pool.aclose()
        await asyncio.wait({waiting, first})
        assert waiting.cancelled()
        assert first.result() is True
        with pytest.raises(StageUnavailable, match="closed"):
            pool.submit(lambda: 1, urgent=True)

    asyncio.run(scenario())


def test_a_result_for_a_loop_that_is_gone_is_dropped() -> None:
    pool = DecodePool("test", workers=1, queue_max=8)
    release: list[threading.Event] = []

    async def scenario() -> None:
        release.append(blocked(pool)[0])

    asyncio.run(scenario())
    release[0].set()
    asyncio.run(pool.aclose())


def test_a_virtual_clock_stands_still_while_a_thread_works() -> None:
    async def scenario() -> None:
        pool = DecodePool("test", workers=2, queue_max=8)
        before = asyncio.get_running_loop().time()

        assert await pool.submit(lambda: sum(range(10_000)), urgent=True) == sum(range(10_000))
        assert asyncio.get_running_loop().time() == before
        await pool.aclose()

    run(scenario())


def test_partials_are_shared_out_between_turns() -> None:
    async def scenario() -> None:
        pool = DecodePool("test", workers=2, queue_max=8)
        held = [blocked(pool), blocked(pool)]
        order: list[str] = []

        def ask(name: str, owner: int) -> "asyncio.Future[None]":
            return pool.submit(lambda: order.append(name), urgent=False, owner=owner)

        assert pool.takes_partials
        greedy = [ask(f"greedy {number}", 1) for number in range(3)]
        modest = ask("modest", 2)
        assert not pool.takes_partials
        held[0][0].set()
        await asyncio.gather(*greedy, modest)
        assert order == ["greedy 0", "modest", "greedy 1", "greedy 2"]
        held[1][0].set()
        await asyncio.gather(*(future for _, future, _ in held))
        await pool.aclose()

    asyncio.run(scenario())


def test_how_long_finals_wait_can_be_read_and_is_forgotten() -> None:
    async def scenario() -> None:
        pool = DecodePool("test", workers=1, queue_max=8)
        loop = asyncio.get_running_loop()
        go, first, _ = blocked(pool)
        now = loop.time()
        assert pool.queue_wait_s(now) == 0.0
        final = pool.submit(lambda: 1, urgent=True)
        assert not pool.takes_partials
        assert pool.queue_wait_s(loop.time() + 2) == pytest.approx(2, abs=0.5)
        go.set()
        await asyncio.gather(first, final)
        assert 0.0 < pool.queue_wait_s(loop.time()) < 2
        assert pool.queue_wait_s(loop.time() + 60) == 0.0
        await pool.aclose()

    asyncio.run(scenario())


def test_the_shares_of_turns_long_gone_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("duologue_pipelines.asr.decode_pool._OWNERS_MAX", 2)

    async def scenario() -> None:
        pool = DecodePool("test", workers=1, queue_max=8)
        for owner in range(4):
            await pool.submit(lambda: None, urgent=False, owner=owner)
        assert list(pool._served) == [2, 3]
        await pool.aclose()

    asyncio.run(scenario())
