"""What every realtime transport must do, as checks that anybody can run on theirs.

    @pytest.mark.parametrize("check", transport.CHECKS, ids=transport.check_name)
    def test_my_transport_keeps_the_contract(check):
        asyncio.run(check(lambda caller: MyTransport(caller)))

Each check takes a factory: `make(caller)` gives a new transport whose caller says `caller` (mono 16 kHz int16) and then
hangs up. A check raises `AssertionError` that says what was promised and what came. Checks need an event loop and no
particular clock: `duologue.testing.virtual_time.run` does as well as `asyncio.run`, except for transports with sockets.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import numpy as np

from duologue.audio import FRAME_BYTES, FRAME_SAMPLES, FRAME_SECONDS, Frame
from duologue.core.events import Event
from duologue.errors import TransportError
from duologue.ports.transport import Transport

MakeTransport = Callable[[bytes], Transport]
Check = Callable[[MakeTransport], Awaitable[None]]

SPEECH_FRAMES: Final = 25  # half a second: long enough to see the pace, short enough to run in real time
PATIENCE_S: Final = 5.0  # beyond the speech, for a connection to be made or closed
EARLY_S: Final = 0.5 * FRAME_SECONDS  # a frame may come this much before its last sample could have been spoken


class CollectingSink:
    """A sink that keeps what it is given, with the loop time of each piece."""

    def __init__(self) -> None:
        self.pieces: list[tuple[float, bytes]] = []
        self.events: list[Event] = []
        self.first = asyncio.Event()

    def audio(self, pcm: bytes) -> None:
        """Keep 20 ms of the caller."""
        self.pieces.append((asyncio.get_running_loop().time(), pcm))
        self.first.set()

    def event(self, event: Event) -> None:
        """Keep an event."""
        self.events.append(event)


def caller_speech(frames: int = SPEECH_FRAMES) -> bytes:
    """A tone that swells, `frames` long: no two frames alike, and it survives a lossy codec as a level."""
    samples = np.arange(frames * FRAME_SAMPLES)
    swelling = 2000 + 8000 * samples / len(samples)
    return np.rint(swelling * np.sin(2 * np.pi * 440 * samples / 16000)).astype("<i2").tobytes()


async def _call(transport: Transport, sink: CollectingSink) -> None:
    try:
        async with asyncio.timeout(SPEECH_FRAMES * FRAME_SECONDS + PATIENCE_S):
            await transport.run(sink)
    except TimeoutError:
        raise AssertionError(f"{transport.name}: run did not return although the caller hung up") from None
    finally:
        await transport.aclose()


async def says_what_it_is(make: MakeTransport) -> None:
    """`name` and `plays_far_side` are there before the call begins."""
    transport = make(caller_speech())
    assert isinstance(transport.name, str) and transport.name, 'name must be a word, as in use = "name"'
    assert isinstance(transport.plays_far_side, bool), "plays_far_side must be a bool"
    assert transport.unplayed() == 0, "nothing was sent, so nothing is unplayed"
    await transport.aclose()


async def delivers_the_caller_in_frames(make: MakeTransport) -> None:
    """Pieces of 640 bytes, in order, no fewer than were spoken; and `run` returns when the caller hangs up."""
    sink = CollectingSink()
    await _call(make(caller_speech()), sink)
    sizes = {len(pcm) for _, pcm in sink.pieces}
    assert sizes == {FRAME_BYTES}, f"pieces must be {FRAME_BYTES} bytes, got {sorted(sizes)}"
    assert len(sink.pieces) >= SPEECH_FRAMES, f"{SPEECH_FRAMES} frames were spoken, {len(sink.pieces)} came"
    heard = np.frombuffer(b"".join(pcm for _, pcm in sink.pieces), dtype="<i2").astype(np.float64)
    levels = np.sqrt(np.mean(heard.reshape(-1, FRAME_SAMPLES) ** 2, axis=1))
    loud = levels[levels > 700]
    assert len(loud) >= SPEECH_FRAMES - 3, f"{SPEECH_FRAMES} loud frames were spoken, {len(loud)} came"
    rising = np.count_nonzero(np.diff(loud) > 0) / (len(loud) - 1)
    assert rising > 0.8, f"the tone swells, so frames in order get louder; only {rising:.0%} did"


async def sample_count_is_time(make: MakeTransport) -> None:
    """No frame comes before it can have been spoken, and a second of audio takes about a second."""
    sink = CollectingSink()
    begun = asyncio.get_running_loop().time()
    await _call(make(caller_speech()), sink)
    for index, (at, _) in enumerate(sink.pieces):
        spoken = (index + 1) * FRAME_SECONDS
        early = begun + spoken - at
        assert early <= EARLY_S, f"frame {index} came {early * 1000:.0f} ms before its last sample was spoken"


async def takes_frames_and_gives_them_back(make: MakeTransport) -> None:
    """`send` counts into `unplayed`; `flush` returns that count, after which nothing is unplayed."""
    transport, sink = make(caller_speech()), CollectingSink()
    call = asyncio.create_task(_call(transport, sink))
    await sink.first.wait()
    assert transport.flush() == 0, "nothing was sent, so a flush drops nothing"
    for index in range(10):
        transport.send(Frame(caller_speech(1), index * FRAME_SECONDS))
    queued = transport.unplayed()
    most = 10 * FRAME_SAMPLES
    assert 0 < queued <= most, f"{most} samples were sent at once, unplayed says {queued}"
    flushed = transport.flush()
    assert abs(flushed - queued) <= FRAME_SAMPLES, f"{queued} samples were unplayed, flush says {flushed}"
    assert transport.unplayed() == 0, f"after a flush {transport.unplayed()} samples are unplayed"
    assert transport.flush() == 0, "a second flush drops nothing"
    await call


async def playout_takes_its_time(make: MakeTransport) -> None:
    """`unplayed` never grows by itself and falls no faster than the audio lasts."""
    transport, sink = make(caller_speech()), CollectingSink()
    call = asyncio.create_task(_call(transport, sink))
    await sink.first.wait()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for index in range(10):
        transport.send(Frame(caller_speech(1), index * FRAME_SECONDS))
    before = transport.unplayed()
    pieces = len(sink.pieces)
    while len(sink.pieces) < pieces + 5 and not call.done():
        await asyncio.wait([call], timeout=FRAME_SECONDS)
        now = transport.unplayed()
        assert now <= before, f"unplayed grew from {before} to {now} samples and nothing was sent"
        before = now
    played = 10 * FRAME_SAMPLES - before
    possible = (loop.time() - begun) * 16000 + 2 * FRAME_SAMPLES
    assert played <= possible, f"{played} samples were played in the time of {possible:.0f}"
    await call


async def close_ends_the_call(make: MakeTransport) -> None:
    """`aclose` makes `run` return, plays nothing more, and may be called again; sending later harms nobody."""
    transport, sink = make(caller_speech(50 * 60)), CollectingSink()
    call = asyncio.create_task(transport.run(sink))
    await sink.first.wait()
    transport.send(Frame(caller_speech(1), 0.0))
    await transport.aclose()
    _, running = await asyncio.wait([call], timeout=PATIENCE_S)
    assert not running, "run did not return after aclose"
    assert call.exception() is None, f"run must return after aclose, it raised {call.exception()!r}"
    arrived = len(sink.pieces)
    transport.send(Frame(caller_speech(1), FRAME_SECONDS))
    assert transport.unplayed() == 0, "after aclose nothing waits to be played"
    await transport.aclose()
    await asyncio.sleep(2 * FRAME_SECONDS)
    assert len(sink.pieces) == arrived, "audio came in after aclose"


async def close_before_the_call(make: MakeTransport) -> None:
    """A transport that was closed before `run` returns from it at once, or says `TransportError`."""
    transport, sink = make(caller_speech()), CollectingSink()
    await transport.aclose()
    try:
        async with asyncio.timeout(PATIENCE_S):
            await transport.run(sink)
    except TransportError:
        return
    except TimeoutError:
        raise AssertionError("run did not return although the transport was closed before") from None
    assert not sink.pieces, "audio came from a closed transport"


async def runs_once(make: MakeTransport) -> None:
    """A second `run` raises `TransportError`: a transport is one connection."""
    transport = make(caller_speech(2))
    await _call(transport, CollectingSink())
    try:
        async with asyncio.timeout(PATIENCE_S):
            await transport.run(CollectingSink())
    except TransportError:
        return
    except TimeoutError:
        pass
    raise AssertionError("a second run must raise TransportError")


CHECKS: Final[tuple[Check, ...]] = (
    says_what_it_is,
    delivers_the_caller_in_frames,
    sample_count_is_time,
    takes_frames_and_gives_them_back,
    playout_takes_its_time,
    close_ends_the_call,
    close_before_the_call,
    runs_once,
)


def check_name(check: Check) -> str:
    """The name of a check, for a test's id."""
    return getattr(check, "__name__", repr(check))
