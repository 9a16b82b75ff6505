"""A caller for `examples/07_tcp_transport.py`: speaks in real time, plays what it is sent, and says how far it is."""

import asyncio
from collections import deque
from contextlib import suppress

from duologue.audio import FRAME_BYTES, FRAME_SECONDS, SILENCE


class TcpCaller:
    """`caller`: what it says, mono 16 kHz int16; then it hangs up, or `stalls`: neither sends nor reads any more."""

    def __init__(self, example, reader, writer, caller, *, stalls=False):
        self.heard, self.told = example["HEARD"], example["TOLD"]
        self.reader, self.writer = reader, writer
        self.caller, self.stalls = caller, stalls
        self.waiting = deque()  # (reply, pcm)
        self.played = {}
        self.newest = self.seconds = 0

    async def call(self):
        """From the first word to the last."""
        reading = asyncio.ensure_future(self._read())
        loop = asyncio.get_running_loop()
        try:
            with suppress(ConnectionError):
                due = loop.time()
                for at in range(0, len(self.caller), FRAME_BYTES):
                    due += FRAME_SECONDS
                    await asyncio.wait([reading], timeout=max(0.0, due - loop.time()))
                    self._play_a_frame()
                    pcm = self.caller[at : at + FRAME_BYTES].ljust(FRAME_BYTES, b"\0")
                    self.writer.write(self.heard.pack(self.newest, self.played.get(self.newest, 0), pcm))
        finally:
            reading.cancel()
        if not self.stalls:
            self.writer.close()

    async def _read(self):
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind, reply, size = self.told.unpack(await self.reader.readexactly(self.told.size))
                pcm = await self.reader.readexactly(size)
                if kind == b"a":
                    self.waiting.append((reply, pcm))
                elif kind == b"c":
                    self.waiting = deque(kept for kept in self.waiting if kept[0] != reply)

    def _play_a_frame(self):
        if self.waiting:
            reply, pcm = self.waiting.popleft()
            self.newest = reply
            self.played[reply] = self.played.get(reply, 0) + len(pcm) // 2
            self.seconds += FRAME_SECONDS


def silence(seconds):
    return SILENCE * round(seconds / FRAME_SECONDS)
