"""A playout and its transport in virtual time, at every rate of the agent's audio."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from duologue.audio import OUTPUT_RATES_HZ
from duologue.runtime.playout.base import PlayoutListener
from duologue.runtime.playout.local import LocalPlayout
from duologue.runtime.playout.remote import RemotePlayout
from duologue.runtime.playout.track import Track
from duologue.testing.memory_transport import MemoryTransport, RemoteMemoryTransport
from duologue.testing.virtual_time import run


@pytest.fixture(params=OUTPUT_RATES_HZ, ids=lambda rate: f"{rate}Hz")
def second(request):
    """Samples of a second."""
    return request.param


@pytest.fixture
def speech(second):
    return lambda seconds: np.full(round(seconds * second), 1000, dtype="<i2").tobytes()


@pytest.fixture
def spoken(second, speech):
    """A track of (text, seconds) chunks."""

    def make(*chunks, reply=1, complete=True):
        track = Track(reply, second)
        for text, seconds in chunks:
            begun = track.begin_chunk(text)
            track.add(speech(seconds))
            begun.complete = True
        if complete:
            track.finish()
        return track

    return make


class Told:
    """What the playout tells, and what is done about the first frame."""

    def __init__(self):
        self.heard, self.ended, self.failed, self.words, self.times = [], [], [], [], []
        self.decide = lambda: None
        self.listener = PlayoutListener(self._first_heard, self._spoken, self._ended, self.failed.append)

    def _first_heard(self, reply):
        self.heard.append(reply)
        self.decide()

    def _spoken(self, reply, text):
        self.words.append(text)
        self.times.append(round(asyncio.get_running_loop().time(), 3))

    def _ended(self, heard):
        self.ended.append((heard.track.reply, heard.text))


def _play(second, transport, playout_of, script):
    told = Told()
    sink = SimpleNamespace(output_rate_hz=second, audio=lambda pcm: None, event=lambda event: None)
    sink.played = lambda reply, samples: told.reported(samples)

    async def main():
        running = asyncio.ensure_future(transport.run(sink))
        await asyncio.wait([running], timeout=0)
        playout = playout_of(transport, told.listener)
        told.reported = getattr(playout, "report", None)
        await script(playout, transport, told)
        await transport.aclose()
        await running

    run(main())
    return told, transport


@pytest.fixture
def play_local(second):
    """Run `script(playout, transport, told)` while the transport plays."""

    def play(script, kind=MemoryTransport, **options):
        return _play(second, kind(hang_up=False, **options), LocalPlayout, script)

    return play


@pytest.fixture
def play_remote(second):
    """The same with a remote player."""

    def play(script, kind=RemoteMemoryTransport, **options):
        return _play(second, kind(hang_up=False, **options), RemotePlayout, script)

    return play
