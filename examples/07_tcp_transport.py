"""A transport of one's own: a caller on a TCP socket, who plays the agent's voice and says how far that has got."""

import asyncio
import struct
from functools import partialmethod

from duologue import Agent, errors
from duologue.audio import FRAME_SECONDS, SILENCE
from duologue.ports.transport import WAITING_SECONDS_MAX, TransportSink

HEARD = struct.Struct("!II640s")  # of the caller, every 20 ms: of reply … so many samples were played; their own voice
TOLD = struct.Struct("!cII")  # to the caller: [a]udio, [e]nd or [c]ut, of reply …, so many bytes follow


class TcpTransport:
    name, reports_playout, can_hold, waiting_max = "tcp", True, False, 0.0

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.clock = reader, writer, asyncio.get_running_loop().time

    async def run(self, sink: TransportSink) -> None:
        if self.waiting_max:
            raise errors.TransportError("a connection is run once")
        self.waiting_max, due = WAITING_SECONDS_MAX * sink.output_rate_hz * 2, self.clock() + FRAME_SECONDS
        while not self.writer.is_closing():
            try:
                async with asyncio.timeout_at(due + 0.06):
                    reply, samples, pcm = HEARD.unpack(await self.reader.readexactly(HEARD.size))
                if reply:
                    sink.played(reply, samples)
            except TimeoutError:
                pcm = SILENCE  # the frame is late; when it comes it is dropped
            except (asyncio.IncompleteReadError, ConnectionError):
                return  # hung up
            if self.clock() > due - FRAME_SECONDS / 2:
                sink.audio(pcm)
                due += FRAME_SECONDS

    def play(self, pcm: bytes, reply: int, kind: bytes = b"a") -> None:
        if self.writer.transport.get_write_buffer_size() > self.waiting_max:
            raise errors.TransportError("the caller reads too slowly")
        self.writer.write(TOLD.pack(kind, reply, len(pcm)) + pcm)

    end_reply, cut_reply = partialmethod(play, b"", kind=b"e"), partialmethod(play, b"", kind=b"c")

    async def aclose(self) -> None:
        self.writer.transport.abort()  # not close: what waits shall not be heard


async def main() -> None:
    calls = asyncio.Queue[TcpTransport]()
    server = await asyncio.start_server(lambda *ends: calls.put(TcpTransport(*ends)), "127.0.0.1")
    print("waiting for a call at port", server.sockets[0].getsockname()[1], flush=True)
    async with server, Agent() as agent, agent.session(await calls.get()) as session:
        await session.wait_closed()


if __name__ == "__main__":
    asyncio.run(main())
