"""The kit passes an honest transport and catches one that breaks each promise."""

import asyncio
from collections.abc import Callable

import pytest

from duologue.audio import FRAME_SECONDS, Frame
from duologue.ports.transport import TransportSink
from duologue.testing.contracts import transport as kit
from duologue.testing.memory_transport import MemoryTransport
from duologue.testing.virtual_time import pass_time, run


@pytest.mark.parametrize("check", kit.CHECKS, ids=kit.check_name)
def test_the_memory_transport_keeps_the_contract(check: kit.Check) -> None:
    async def main() -> None:
        await check(MemoryTransport)

    run(main())


class Nameless(MemoryTransport):
    name = ""


class HalfFrames(MemoryTransport):
    async def run(self, sink: TransportSink) -> None:
        class Halving:
            event = sink.event

            def audio(self, pcm: bytes) -> None:
                sink.audio(pcm[:320])
                sink.audio(pcm[320:])

        await super().run(Halving())


class Hasty(MemoryTransport):
    """Delivers all there is at once."""

    async def run(self, sink: TransportSink) -> None:
        for offset in range(0, 640 * 25, 640):
            sink.audio(kit.caller_speech()[offset : offset + 640])
        await pass_time(0)


class Backwards(MemoryTransport):
    async def run(self, sink: TransportSink) -> None:
        class Reversing:
            event = sink.event
            frames = 25

            def audio(self, pcm: bytes) -> None:
                self.frames -= 1
                sink.audio(kit.caller_speech()[max(0, self.frames) * 640 :][:640])

        await super().run(Reversing())


class Never(MemoryTransport):
    def __init__(self, caller: bytes) -> None:
        super().__init__(caller, hang_up=False)


class Forgetful(MemoryTransport):
    def flush(self) -> int:
        return 0


class Hoarder(MemoryTransport):
    def unplayed(self) -> int:
        return super().unplayed() and 3200

    def flush(self) -> int:
        super().flush()
        return 0


class Swallower(MemoryTransport):
    def send(self, frame: Frame) -> None:
        pass


class Growing(MemoryTransport):
    def unplayed(self) -> int:
        return int(self.now * 1000)


class Racing(MemoryTransport):
    """Plays ten times too fast."""

    def unplayed(self) -> int:
        return max(0, super().unplayed() - int((self.now - FRAME_SECONDS) * 160_000))


class Unclosable(MemoryTransport):
    async def aclose(self) -> None:
        pass


class Lively(MemoryTransport):
    """Speaks from beyond the grave."""

    async def run(self, sink: TransportSink) -> None:
        await super().run(sink)
        asyncio.get_running_loop().call_later(0.01, sink.audio, bytes(640))


class Ghost(MemoryTransport):
    async def run(self, sink: TransportSink) -> None:
        sink.audio(bytes(640))
        await super().run(sink)


class Rerunnable(MemoryTransport):
    async def run(self, sink: TransportSink) -> None:
        self._sink = None
        await super().run(sink)


class RerunHangs(MemoryTransport):
    async def run(self, sink: TransportSink) -> None:
        if self._sink is not None:
            await pass_time(100)
        await super().run(sink)


class Stuck(MemoryTransport):
    async def run(self, sink: TransportSink) -> None:
        await pass_time(100)


@pytest.mark.parametrize(
    ("check", "broken", "complaint"),
    [
        (kit.says_what_it_is, Nameless, "name must be a word"),
        (kit.delivers_the_caller_in_frames, HalfFrames, "pieces must be 640 bytes"),
        (kit.delivers_the_caller_in_frames, Backwards, "get louder"),
        (kit.delivers_the_caller_in_frames, Never, "although the caller hung up"),
        (kit.sample_count_is_time, Hasty, "before its last sample"),
        (kit.takes_frames_and_gives_them_back, Forgetful, "samples were unplayed, flush says 0"),
        (kit.takes_frames_and_gives_them_back, Hoarder, "flush says 0"),
        (kit.takes_frames_and_gives_them_back, Swallower, "unplayed says 0"),
        (kit.playout_takes_its_time, Growing, "unplayed grew"),
        (kit.playout_takes_its_time, Racing, "played in the time of"),
        (kit.close_ends_the_call, Unclosable, "did not return after aclose"),
        (kit.close_ends_the_call, Lively, "after aclose"),
        (kit.close_before_the_call, Ghost, "from a closed transport"),
        (kit.close_before_the_call, Stuck, "closed before"),
        (kit.runs_once, Rerunnable, "second run"),
        (kit.runs_once, RerunHangs, "second run"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_broken_promise_is_caught(
    check: kit.Check, broken: Callable[[bytes], MemoryTransport], complaint: str
) -> None:
    async def main() -> None:
        await check(broken)

    with pytest.raises(AssertionError, match=complaint):
        run(main(), tasks_left="cancel")
