"""A stage that hangs is given up when it hangs, and whoever reads it can still be cancelled."""

import asyncio

import pytest

from duologue.errors import StageTimeout
from duologue.runtime.watched import watched
from duologue.testing.virtual_time import pass_time, run


async def items(*pauses_s):
    for pause_s in pauses_s:
        await pass_time(pause_s)
        yield pause_s


async def read(pauses_s, *, between_s=0.0):
    """What comes, and when it came or why it ended."""
    told, loop = [], asyncio.get_running_loop()
    try:
        async for item in watched("llm", items(*pauses_s), 10.0):
            told.append((item, loop.time()))
            await pass_time(between_s)
    except StageTimeout as error:
        told.append((str(error), loop.time()))
    return told


def test_each_wait_has_the_whole_patience():
    assert run(read([9.0, 9.0, 9.5])) == [(9.0, 9.0), (9.0, 18.0), (9.5, 27.5)]
    told = run(read([9.0, 2.0, 11.0]))
    assert told[:2] == [(9.0, 9.0), (2.0, 11.0)]
    assert told[2][0].startswith("llm: nothing came for 10 s") and told[2][1] == 21.0


def test_a_reader_that_takes_its_time_is_no_stall():
    assert run(read([1.0, 1.0], between_s=100.0)) == [(1.0, 1.0), (1.0, 102.0)]


@pytest.mark.parametrize("since_s", [0.1 + 0.2, 1 / 3, 9.064914999999996])
def test_a_time_that_can_t_be_written_exactly_ends_all_the_same(since_s):
    assert run(read([since_s, 11.0]))[1][0].startswith("llm: nothing came for 10 s")


def test_after_a_time_out_the_task_goes_on_uncancelled():
    async def scenario():
        await read([11.0])
        task = asyncio.current_task()
        await pass_time(1.0)
        return task.cancelling()

    assert run(scenario()) == 0


@pytest.mark.parametrize("at", [5.0, 10.0])  # the second at the very moment when patience ends
def test_a_cancelled_reader_is_cancelled(at):
    async def scenario():
        reading = asyncio.ensure_future(read([20.0]))
        await pass_time(0.0)
        asyncio.get_running_loop().call_at(at, reading.cancel)
        await asyncio.wait({reading})
        return reading.cancelled()

    assert run(scenario())
