"""Users' plain functions in threads of their own."""

import asyncio
import threading

import pytest

from duologue.runtime.threads import THREADS_MAX, DaemonExecutor, ThreadsBusy, in_daemon_thread


def test_a_function_runs_in_a_daemon_thread():
    def here(word):
        return word, threading.current_thread().daemon

    assert asyncio.run(in_daemon_thread(here, {"word": "a"})) == ("a", True)


@pytest.mark.parametrize("wrong", [SystemExit, StopIteration, GeneratorExit, asyncio.CancelledError])
def test_what_no_future_can_carry_comes_as_an_error_with_its_name(wrong):
    def leave():
        raise wrong

    with pytest.raises(RuntimeError, match=wrong.__name__):
        asyncio.run(in_daemon_thread(leave, {}))


def test_functions_that_never_return_are_bounded_and_give_their_place_back():
    pool, gate = DaemonExecutor(), threading.Event()
    waiting = [pool.submit(gate.wait, 10) for _ in range(THREADS_MAX)]
    with pytest.raises(ThreadsBusy, match="32 functions"):
        pool.submit(gate.wait)
    gate.set()
    assert all(future.result(10) for future in waiting)
    assert pool.submit(lambda: 7).result(10) == 7
