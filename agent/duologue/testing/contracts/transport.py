"""What every realtime transport must do, as checks that anybody can run on theirs.

    @pytest.mark.parametrize("check", transport.CHECKS, ids=transport.check_name)
    def test_my_transport_keeps_the_contract(check):
        asyncio.run(check(make))

Each check takes a factory: `make(caller)` gives a new transport, or a promise of one (`async def make`), whose caller
says `caller` (mono 16 kHz int16), plays what it is sent, and then hangs up. With `stalls=True` the caller stays on the
line instead, and from then on neither sends nor reads anything until the transport is closed. A check raises
`AssertionError` that says what was promised and what came; one that is not meant for this kind of transport, local or
remote, does nothing. Checks need an event loop and no particular clock: `duologue.testing.virtual_time.run` does as
well as `asyncio.run`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Final, Protocol, cast

import numpy as np

from duologue.audio import (
    FRAME_BYTES,
    FRAME_SAMPLES,
    FRAME_SECONDS,
    INPUT_RATE_HZ,
    OUTPUT_RATE_HZ,
    OUTPUT_RATES_HZ,
    frame_samples,
)
from duologue.core.events import Event
from duologue.errors import ConfigurationError, TransportError
from duologue.ports.transport import (
    AHEAD_SECONDS_MAX,
    LEAD_FRAMES,
    REPORT_SECONDS_MAX,
    WAITING_SECONDS_MAX,
    LocalTransport,
    RemoteTransport,
    Transport,
)


class MakeTransport(Protocol):
    """What a check is given: see above."""

    def __call__(self, caller: bytes, *, stalls: bool = False) -> Transport | Awaitable[Transport]: ...


Check = Callable[[MakeTransport], Awaitable[None]]

SPEECH_FRAMES: Final = 25  # half a second: long enough to see the pace, short enough to run in real time
PATIENCE_S: Final = 5.0  # beyond the speech, for a connection to be made or closed
EARLY_S: Final = 0.5 * FRAME_SECONDS  # a frame may come this much before its last sample could have been spoken
NETWORK_S: Final = 0.25  # that a word to a remote player and its answer may take in a test
FLOOD_SECONDS: Final = 600.0  # more than any buffer of an operating system holds
REPLY: Final = 7


class CollectingSink:
    """A sink that keeps what it is given, with the loop time of each piece and report."""

    def __init__(self, output_rate_hz: int = OUTPUT_RATE_HZ) -> None:
        self.output_rate_hz = output_rate_hz
        self.pieces: list[tuple[float, bytes]] = []
        self.events: list[Event] = []
        self.reports: list[tuple[float, int, int]] = []  # loop time, reply, samples
        self.first = asyncio.Event()

    def audio(self, pcm: bytes) -> None:
        """Keep 20 ms of the caller."""
        self.pieces.append((asyncio.get_running_loop().time(), pcm))
        self.first.set()

    def event(self, event: Event) -> None:
        """Keep an event."""
        self.events.append(event)

    def played(self, reply: int, samples: int) -> None:
        """Keep a report."""
        self.reports.append((asyncio.get_running_loop().time(), reply, samples))

    @property
    def heard(self) -> int:
        """The last report on the reply that is played."""
        return next((samples for _, reply, samples in reversed(self.reports) if reply == REPLY), 0)


def caller_speech(frames: int = SPEECH_FRAMES) -> bytes:
    """A tone that swells, `frames` long: no two frames alike, and it survives a lossy codec as a level."""
    samples = np.arange(frames * FRAME_SAMPLES)
    swelling = 2000 + 8000 * samples / len(samples)
    return np.rint(swelling * np.sin(2 * np.pi * 440 * samples / INPUT_RATE_HZ)).astype("<i2").tobytes()


def agent_frame(rate_hz: int = OUTPUT_RATE_HZ) -> bytes:
    """20 ms of a tone."""
    samples = np.arange(frame_samples(rate_hz))
    pcm: bytes = np.rint(6000 * np.sin(2 * np.pi * 400 * samples / rate_hz)).astype("<i2").tobytes()
    return pcm


async def _made(made: Transport | Awaitable[Transport]) -> Transport:
    return await made if isinstance(made, Awaitable) else made


async def _call(transport: Transport, sink: CollectingSink) -> None:
    try:
        async with asyncio.timeout(SPEECH_FRAMES * FRAME_SECONDS + PATIENCE_S):
            await transport.run(sink)
    except TimeoutError:
        raise AssertionError(f"{transport.name}: run did not return although the caller hung up") from None
    finally:
        await transport.aclose()


@asynccontextmanager
async def _calling(transport: Transport, sink: CollectingSink) -> AsyncIterator["asyncio.Task[None]"]:
    """A call whose caller speaks for longer than the check takes, from its first frame on."""
    call = asyncio.create_task(transport.run(sink))
    first = asyncio.create_task(sink.first.wait())
    try:
        await asyncio.wait([call, first], timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        if not first.done() and call.done():
            await call
        assert first.done(), "no audio came from a caller who speaks"
        yield call
    finally:
        first.cancel()
        await transport.aclose()
        await asyncio.wait([call], timeout=PATIENCE_S)
        call.cancel()


def _local(transport: Transport) -> LocalTransport | None:
    return None if transport.reports_playout else cast(LocalTransport, transport)


def _remote(transport: Transport) -> RemoteTransport | None:
    return cast(RemoteTransport, transport) if transport.reports_playout else None


def _play(transport: Transport, frames: int, rate_hz: int = OUTPUT_RATE_HZ) -> int:
    """Play so many frames of the reply at once; how many samples that are."""
    pcm = agent_frame(rate_hz)
    for _ in range(frames):
        transport.play(pcm, REPLY)
    return frames * frame_samples(rate_hz)


async def _until(reached: Callable[[], bool], seconds: float) -> None:
    for _ in range(round(seconds / FRAME_SECONDS * 2)):
        if reached():
            return
        await asyncio.sleep(FRAME_SECONDS / 2)


# --- the caller's audio ---------------------------------------------------------------------------------------------


async def says_what_it_is(make: MakeTransport) -> None:
    """`name`, `reports_playout` and what comes with it are there before the call begins."""
    transport = await _made(make(caller_speech()))
    assert isinstance(transport.name, str) and transport.name, 'name must be a word, as in use = "name"'
    assert isinstance(transport.reports_playout, bool), "reports_playout must be a bool"
    if local := _local(transport):
        assert local.unplayed() == 0, "nothing was sent, so nothing is unplayed"
    if remote := _remote(transport):
        assert isinstance(remote.can_hold, bool), "can_hold must be a bool"
    await transport.aclose()


async def delivers_the_caller_in_frames(make: MakeTransport) -> None:
    """Pieces of 640 bytes, in order, no fewer than were spoken; and `run` returns when the caller hangs up."""
    sink = CollectingSink()
    await _call(await _made(make(caller_speech())), sink)
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
    await _call(await _made(make(caller_speech())), sink)
    for index, (at, _) in enumerate(sink.pieces):
        spoken = (index + 1) * FRAME_SECONDS
        early = begun + spoken - at
        assert early <= EARLY_S, f"frame {index} came {early * 1000:.0f} ms before its last sample was spoken"


async def a_stalled_caller_is_silence(make: MakeTransport) -> None:
    """A caller who sends nothing any more is delivered as frames of silence, at the pace of the clock."""
    sink = CollectingSink()
    async with _calling(await _made(make(caller_speech(), stalls=True)), sink) as call:
        await asyncio.sleep(SPEECH_FRAMES * FRAME_SECONDS + NETWORK_S)
        before = len(sink.pieces)
        await asyncio.sleep(1.0)
        assert not call.done(), "run ended although the caller is still on the line"
        came = [pcm for _, pcm in sink.pieces[before:]]
        assert 45 <= len(came) <= 55, f"a second without audio from the caller must come as 50 frames, {len(came)} came"
        sizes = {len(pcm) for pcm in came}
        assert sizes == {FRAME_BYTES}, f"pieces must be {FRAME_BYTES} bytes, got {sorted(sizes)}"
        peak = int(np.abs(np.frombuffer(b"".join(came), dtype="<i2").astype(np.int32)).max())
        assert peak < 300, f"what a stalled caller does not say must be silence, it peaks at {peak}"


# --- a player in our sight ------------------------------------------------------------------------------------------


async def counts_what_is_unplayed_and_cuts_at_once(make: MakeTransport) -> None:
    """`play` counts into `unplayed`; `cut_reply` returns that count, after which nothing is unplayed."""
    transport, sink = await _made(make(caller_speech(100))), CollectingSink()
    local = _local(transport)
    if local is None:
        await transport.aclose()
        return
    async with _calling(transport, sink):
        assert local.cut_reply(REPLY) == 0, "nothing was played, so a cut takes nothing back"
        sent = _play(local, 10)
        waiting = local.unplayed()
        assert 0 < waiting <= sent, f"{sent} samples were sent at once, unplayed says {waiting}"
        taken = local.cut_reply(REPLY)
        assert abs(taken - waiting) <= frame_samples(OUTPUT_RATE_HZ), f"{waiting} were unplayed, the cut says {taken}"
        assert local.unplayed() == 0, f"after a cut {local.unplayed()} samples are unplayed"
        assert local.cut_reply(REPLY) == 0, "a second cut takes nothing back"
        assert _play(local, LEAD_FRAMES) >= local.unplayed() > 0, (
            "what is played after a cut, as after a hold, is heard"
        )


async def playout_takes_its_time(make: MakeTransport) -> None:
    """`unplayed` never grows by itself, falls no faster than the audio lasts, and falls to 0."""
    transport, sink = await _made(make(caller_speech(100))), CollectingSink()
    local = _local(transport)
    if local is None:
        await transport.aclose()
        return
    async with _calling(transport, sink):
        loop = asyncio.get_running_loop()
        begun = loop.time()
        sent = _play(local, 10)
        local.end_reply(REPLY)
        before = local.unplayed()
        while before and loop.time() < begun + 0.2 + PATIENCE_S:
            await asyncio.sleep(FRAME_SECONDS / 2)
            now = local.unplayed()
            assert now <= before, f"unplayed grew from {before} to {now} samples and nothing was sent"
            before = now
            possible = (loop.time() - begun) * OUTPUT_RATE_HZ + 2 * frame_samples(OUTPUT_RATE_HZ)
            assert sent - now <= possible, f"{sent - now} samples were played in the time of {possible:.0f}"
        assert before == 0, f"{before} samples are still unplayed long after they should have been heard"


# --- a player out of our sight --------------------------------------------------------------------------------------


async def reports_what_was_played(make: MakeTransport) -> None:
    """Reports come in time, never fall, never run ahead of the clock, and the last one is all that was sent."""
    transport, sink = await _made(make(caller_speech(250))), CollectingSink()
    if _remote(transport) is None:
        await transport.aclose()
        return
    async with _calling(transport, sink):
        loop = asyncio.get_running_loop()
        begun = loop.time()
        seconds = REPORT_SECONDS_MAX + 0.5
        sent = _play(transport, round(seconds / FRAME_SECONDS))
        transport.end_reply(REPLY)
        await _until(lambda: sink.heard >= sent, seconds + REPORT_SECONDS_MAX + NETWORK_S)
        assert sink.reports, "nothing was reported: a player out of our sight must say what it plays (sink.played)"
        _are_true(sink, begun, sent)
        times = [begun, *(at for at, _, _ in sink.reports)]
        longest = max(later - earlier for earlier, later in pairwise(times))
        late = f"a report must come every {REPORT_SECONDS_MAX:g} s while it plays, once it took {longest:.2f} s"
        assert longest <= REPORT_SECONDS_MAX + NETWORK_S, late
        assert abs(sink.heard - sent) <= frame_samples(OUTPUT_RATE_HZ), f"of {sent} samples sent {sink.heard} were told"


def _are_true(sink: CollectingSink, begun: float, sent: int) -> None:
    last = 0
    for at, reply, samples in sink.reports:
        assert reply == REPLY, f"a report on reply {reply}, played was {REPLY}"
        assert type(samples) is int and samples >= 0, f"a report must be a whole number of samples, got {samples!r}"
        assert samples >= last, f"a report fell from {last} to {samples} samples"
        assert samples <= sent + frame_samples(OUTPUT_RATE_HZ), f"{samples} samples were reported, {sent} were sent"
        possible = (at - begun) * OUTPUT_RATE_HZ + 2 * frame_samples(OUTPUT_RATE_HZ)
        assert samples <= possible, f"{samples} samples were reported in the time of {possible:.0f}"
        last = samples


async def a_remote_cut_is_silence_and_is_reported(make: MakeTransport) -> None:
    """After `cut_reply` reports grow no more, and say where it fell silent; a hold by cutting goes on with `play`."""
    transport, sink = await _made(make(caller_speech(250))), CollectingSink()
    if _remote(transport) is None:
        await transport.aclose()
        return
    async with _calling(transport, sink):
        transport.cut_reply(99)  # nothing was played of it
        begun = asyncio.get_running_loop().time()
        sent = _play(transport, 200)
        await asyncio.sleep(0.5)
        transport.cut_reply(REPLY)
        await asyncio.sleep(NETWORK_S)
        cut_at = sink.heard
        assert cut_at, "a cut must be followed by a report of where it fell silent"
        _are_true(sink, begun, sent)
        short = 0.5 * OUTPUT_RATE_HZ - cut_at
        assert short <= NETWORK_S * OUTPUT_RATE_HZ, f"half a second was played, {cut_at} samples were told"
        await asyncio.sleep(0.5)
        assert sink.heard == cut_at, f"after a cut at {cut_at} samples the report grew to {sink.heard}: it plays on"
        again = _play(transport, 10)
        transport.end_reply(REPLY)
        await _until(lambda: sink.heard >= cut_at + again, 0.2 + REPORT_SECONDS_MAX + NETWORK_S)
        apart = abs(sink.heard - cut_at - again)
        assert apart <= frame_samples(OUTPUT_RATE_HZ), (
            f"{cut_at} samples were heard, then {again} were sent, told were {sink.heard}: what comes behind counts on"
        )


async def a_remote_hold_keeps_everything(make: MakeTransport) -> None:
    """Where it `can_hold`: silence from `hold_reply` on, and after `resume_reply` the rest, nothing twice."""
    transport, sink = await _made(make(caller_speech(250))), CollectingSink()
    remote = _remote(transport)
    if remote is None or not remote.can_hold:
        await transport.aclose()
        return
    async with _calling(transport, sink):
        begun = asyncio.get_running_loop().time()
        sent = _play(remote, 40)
        remote.end_reply(REPLY)
        await asyncio.sleep(0.4)
        remote.hold_reply(REPLY)
        await asyncio.sleep(NETWORK_S)
        held_at = sink.heard
        assert held_at, "a hold must be followed by a report of where it fell silent"
        await asyncio.sleep(0.6)
        assert sink.heard == held_at, f"after a hold at {held_at} samples the report grew to {sink.heard}: it plays on"
        remote.resume_reply(REPLY)
        await _until(lambda: sink.heard >= sent, 0.8 + REPORT_SECONDS_MAX + NETWORK_S)
        _are_true(sink, begun, sent)
        assert abs(sink.heard - sent) <= frame_samples(OUTPUT_RATE_HZ), f"of {sent} samples sent {sink.heard} were told"


# --- bounds, rates and the end --------------------------------------------------------------------------------------


async def takes_a_burst(make: MakeTransport) -> None:
    """As much as the engine sends at once is taken: all that may be ahead of a remote player, the lead of a local."""
    transport, sink = await _made(make(caller_speech(100))), CollectingSink()
    async with _calling(transport, sink) as call:
        seconds = AHEAD_SECONDS_MAX + 1.0 if transport.reports_playout else LEAD_FRAMES * FRAME_SECONDS
        try:
            _play(transport, round(seconds / FRAME_SECONDS))
        except TransportError as error:
            raise AssertionError(f"{seconds:g} s at once must be taken, it said: {error}") from None
        await asyncio.sleep(NETWORK_S)
        assert not (call.done() and call.exception()), f"{seconds:g} s at once ended the call: {call}"
        transport.cut_reply(REPLY)


async def a_slow_reader_is_bounded(make: MakeTransport) -> None:
    """A caller who reads nothing any more costs a bounded buffer: `play` or `run` raises, or, in our sight, no more
    than `WAITING_SECONDS_MAX` waits."""
    transport, sink = await _made(make(b"", stalls=True)), CollectingSink()
    call = asyncio.create_task(transport.run(sink))
    await asyncio.wait([call], timeout=NETWORK_S)
    refused = False
    try:
        for _ in range(round(FLOOD_SECONDS)):
            _play(transport, round(1 / FRAME_SECONDS))
            await asyncio.sleep(0)
            refused = call.done() and isinstance(call.exception(), TransportError)
            if refused:
                break
    except TransportError:
        refused = True
    if not refused:
        local = _local(transport)
        told = f"{FLOOD_SECONDS:g} s were taken for a caller who reads nothing"
        assert local, f"{told}: beyond {WAITING_SECONDS_MAX:g} s play or run must raise TransportError"
        waiting_s = local.unplayed() / OUTPUT_RATE_HZ
        assert waiting_s <= WAITING_SECONDS_MAX + 1, f"{told}, and {waiting_s:g} s wait: {WAITING_SECONDS_MAX:g} may"
    await transport.aclose()
    await asyncio.wait([call], timeout=PATIENCE_S)
    assert call.done(), "run did not return after aclose"
    call.exception()


async def plays_at_every_rate(make: MakeTransport) -> None:
    """At each of `OUTPUT_RATES_HZ` a frame lasts 20 ms, or `run` raises `ConfigurationError`."""
    for rate_hz in OUTPUT_RATES_HZ:
        transport, sink = await _made(make(caller_speech(100))), CollectingSink(rate_hz)
        try:
            async with _calling(transport, sink):
                sent = _play(transport, 20, rate_hz)
                transport.end_reply(REPLY)
                if local := _local(transport):
                    await asyncio.sleep(0.2)
                    left_s = local.unplayed() / rate_hz
                    told = f"half of 0.4 s at {rate_hz} Hz was played, {left_s:.3f} s are unplayed"
                    assert 0.1 < left_s < 0.3, told
                else:
                    await _until(lambda: sink.heard >= sent, 0.4 + REPORT_SECONDS_MAX + NETWORK_S)  # noqa: B023
                    told = f"{sent} samples at {rate_hz} Hz were sent, {sink.heard} were told"
                    assert abs(sink.heard - sent) <= frame_samples(rate_hz), told
        except ConfigurationError:
            continue


async def close_ends_the_call(make: MakeTransport) -> None:
    """`aclose` makes `run` return, plays nothing more, and may be called again; sending later harms nobody."""
    transport, sink = await _made(make(caller_speech(50 * 60))), CollectingSink()
    call = asyncio.create_task(transport.run(sink))
    await sink.first.wait()
    transport.play(agent_frame(), REPLY)
    await transport.aclose()
    _, running = await asyncio.wait([call], timeout=PATIENCE_S)
    assert not running, "run did not return after aclose"
    assert call.exception() is None, f"run must return after aclose, it raised {call.exception()!r}"
    arrived = len(sink.pieces)
    transport.play(agent_frame(), REPLY)
    transport.end_reply(REPLY)
    transport.cut_reply(REPLY)
    if local := _local(transport):
        assert local.unplayed() == 0, "after aclose nothing waits to be played"
    await transport.aclose()
    await asyncio.sleep(2 * FRAME_SECONDS)
    assert len(sink.pieces) == arrived, "audio came in after aclose"


async def close_before_the_call(make: MakeTransport) -> None:
    """A transport that was closed before `run` returns from it at once, or says `TransportError`."""
    transport, sink = await _made(make(caller_speech())), CollectingSink()
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
    transport = await _made(make(caller_speech(2)))
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
    a_stalled_caller_is_silence,
    counts_what_is_unplayed_and_cuts_at_once,
    playout_takes_its_time,
    reports_what_was_played,
    a_remote_cut_is_silence_and_is_reported,
    a_remote_hold_keeps_everything,
    takes_a_burst,
    a_slow_reader_is_bounded,
    plays_at_every_rate,
    close_ends_the_call,
    close_before_the_call,
    runs_once,
)


def check_name(check: Check) -> str:
    """The name of a check, for a test's id."""
    return getattr(check, "__name__", repr(check))
