"""The measurement itself: what counts as taken back, and a clock that has the price of work."""

import asyncio
import concurrent.futures
import time

import numpy as np

from benchmarks.partials import changed, speech_end_s, telephone, word_error
from benchmarks.priced_loop import PricedLoop
from duologue.ports.asr import Hypothesis


def test_a_stable_word_that_a_later_hypothesis_lacks_counts_against_each_that_promised_it() -> None:
    told = [
        Hypothesis("So you", stable=1),
        Hypothesis("So you can", stable=2),
        Hypothesis("Sew, you can", stable=0),
        Hypothesis("so you can go", stable=4, final=True),
    ]
    assert changed(told) == 2
    assert changed(told[:2]) == 0


def test_work_side_by_side_takes_its_cpu_seconds_and_the_third_waits() -> None:
    def compute() -> None:
        until = time.process_time() + 0.02
        while time.process_time() < until:
            pass

    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        executor = concurrent.futures.ThreadPoolExecutor(1)
        ended: list[float] = []

        async def ask() -> None:
            await loop.run_in_executor(executor, compute)
            ended.append(loop.time())

        await asyncio.gather(ask(), ask(), ask())
        executor.shutdown()
        return ended

    loop = PricedLoop(2)
    try:
        first, second, third = loop.run_until_complete(main())
    finally:
        loop.close()
    assert 0.02 <= first <= second < 0.04 <= third
    assert loop.cost_s >= 0.06
    assert [wait > 0 for wait in loop.waits_s] == [False, False, True]


def test_the_speech_end_is_the_last_loud_block_and_a_telephone_has_no_highs() -> None:
    seconds = np.arange(16_000) / 16_000
    tone = (8000 * np.sin(2 * np.pi * 1000 * seconds)).astype("<i2")
    high = (8000 * np.sin(2 * np.pi * 6000 * seconds)).astype("<i2")
    assert speech_end_s(np.concatenate([tone, np.zeros(8000, "<i2")])) == 1.0
    assert np.abs(telephone(high).astype(int)).max() < 300
    assert np.abs(telephone(tone).astype(int)).max() > 7000
    assert word_error([("four words are here", "four words were here")]) == 0.25
