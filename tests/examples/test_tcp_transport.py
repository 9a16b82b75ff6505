"""The example of a transport over TCP keeps the contract, in real time, over a real socket; and a call goes over it."""

import asyncio
import re
import runpy
import socket

import pytest

from duologue.testing import virtual_time
from duologue.testing.contracts import transport as kit
from duologue.testing.virtual_time import pass_time
from examples.tcp_caller import TcpCaller, silence


@pytest.fixture(scope="module")
def example(request):
    return runpy.run_path(str(request.config.rootpath / "examples" / "07_tcp_transport.py"))


@pytest.mark.parametrize("check", kit.CHECKS, ids=kit.check_name)
def test_it_keeps_the_contract(example, check):
    calls, ends = [], []

    async def make(caller, *, stalls=False):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            far = await asyncio.open_connection(*listening.getsockname())
            near = await asyncio.open_connection(sock=listening.accept()[0])
        calls.append(asyncio.ensure_future(TcpCaller(example, *far, caller, stalls=stalls).call()))
        ends.extend((far[1], near[1]))
        return example["TcpTransport"](*near)

    async def main():
        try:
            await check(make)
        finally:
            for task in calls:
                task.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            for end in ends:
                end.transport.abort()
            await pass_time(0)

    virtual_time.run(main(), tasks_left="cancel")  # time is the wall's while a socket is open


def test_a_caller_is_greeted_over_it(example, capsys):
    async def main():
        call = asyncio.ensure_future(example["main"]())
        await asyncio.wait([call], timeout=0.05)
        port = int(re.search(r"waiting for a call at port (\d+)", capsys.readouterr().out)[1])
        caller = TcpCaller(example, *await asyncio.open_connection("127.0.0.1", port), silence(60.0))
        speaking = asyncio.ensure_future(caller.call())
        while caller.seconds < 0.5 and not call.done():
            await asyncio.wait([call, speaking], timeout=0.05)
        speaking.cancel()
        caller.writer.close()
        await asyncio.wait_for(call, 10.0)
        assert caller.seconds >= 0.5 and caller.newest == 1

    virtual_time.run(main(), tasks_left="cancel")
