import asyncio

import numpy as np
import pytest

from duologue.audio import FRAME_BYTES, FRAME_SAMPLES, SILENCE, Frame
from duologue.core.events import Event, PlayoutReported, TurnCommitted, TypedTurn
from duologue.errors import TransportError
from duologue.testing.memory_transport import SPEECH_S_MAX, MemoryTransport
from duologue.testing.virtual_time import pass_time, run


class Ear:
    """A sink that notes what came when."""

    def __init__(self) -> None:
        self.frames: list[tuple[float, bytes]] = []
        self.events: list[tuple[float, Event]] = []

    def audio(self, pcm: bytes) -> None:
        self.frames.append((asyncio.get_running_loop().time(), pcm))

    def event(self, event: Event) -> None:
        self.events.append((asyncio.get_running_loop().time(), event))


def tone(samples: int, value: int = 1000) -> bytes:
    return np.full(samples, value, dtype="<i2").tobytes()


def frame(value: int = 7) -> Frame:
    return Frame(tone(FRAME_SAMPLES, value), 0.0)


def call(transport: MemoryTransport, *, start: float = 0.0) -> Ear:
    ear = Ear()
    run(transport.run(ear), start=start)
    return ear


def test_frames_arrive_when_their_last_sample_was_spoken_and_the_call_ends_with_the_script() -> None:
    ear = call(MemoryTransport(tone(700)), start=100.0)
    assert [at for at, _ in ear.frames] == [100.02, 100.04, 100.06]
    assert b"".join(pcm for _, pcm in ear.frames) == tone(700) + bytes(2 * (960 - 700))


def test_speech_begins_on_its_sample_and_what_overlaps_waits() -> None:
    ear = call(MemoryTransport([(0.1, tone(320, 2)), (0.03, tone(320, 1)), (0.105, tone(160, 3))]))
    heard = np.frombuffer(b"".join(pcm for _, pcm in ear.frames), dtype="<i2")
    assert list(np.flatnonzero(heard == 1)[[0, -1]]) == [480, 799]
    assert list(np.flatnonzero(heard == 2)[[0, -1]]) == [1600, 1919]
    assert list(np.flatnonzero(heard == 3)[[0, -1]]) == [1920, 2079]


def test_events_come_at_their_times_and_the_call_lasts_until_the_last() -> None:
    typed, committed = TypedTurn(0.0, "hi"), TurnCommitted(0.0)
    ear = call(MemoryTransport(events=[(0.25, committed), (0.05, typed)]), start=1.0)
    assert ear.events == [(1.05, typed), (1.25, committed)]
    assert ear.frames[-1][0] == pytest.approx(1.26) and {pcm for _, pcm in ear.frames} == {SILENCE}


def test_the_call_ends_at_a_second_of_ones_choice() -> None:
    assert len(call(MemoryTransport(tone(320), hang_up=1.01)).frames) == 50


def test_lost_frames_are_silence_and_late_ones_keep_their_order() -> None:
    speech = b"".join(tone(FRAME_SAMPLES, value) for value in (1, 2, 3, 4, 5))
    transport = MemoryTransport(speech, lost=[1], late={2: 0.05})
    ear = call(transport)
    values = [(round(at, 3), np.frombuffer(pcm, dtype="<i2")[0]) for at, pcm in ear.frames]
    assert values == [(0.02, 1), (0.04, 0), (0.11, 3), (0.11, 4), (0.11, 5), (0.12, 0)]
    said, _ = transport.recording()
    assert said[FRAME_SAMPLES] == 2  # the recording holds what was said, not what arrived


async def listening(transport: MemoryTransport) -> tuple[Ear, "asyncio.Task[None]"]:
    ear = Ear()
    task = asyncio.create_task(transport.run(ear))
    await pass_time(0)
    return ear, task


def test_a_frame_is_heard_when_sent_or_after_the_one_before() -> None:
    transport = MemoryTransport(hang_up=False)

    async def main() -> None:
        _, task = await listening(transport)
        await pass_time(0.1)
        transport.send(frame(1))
        transport.send(frame(2))
        assert transport.unplayed() == 640
        await pass_time(0.03)
        assert transport.unplayed() == 160 and transport.played_samples == 480
        await pass_time(0.07)
        assert transport.unplayed() == 0 and transport.played_samples == 640
        transport.send(frame(3))
        await pass_time(0.02)
        transport.hang_up()
        await task

    run(main(), start=50.0)
    assert [(piece.at, piece.pcm[0]) for piece in transport.heard] == [(0.1, 1), (0.12, 2), (0.2, 3)]
    caller, agent = transport.recording()
    assert len(caller) == len(agent) == 3520
    assert list(np.flatnonzero(agent)[[0, 639, 640, -1]]) == [1600, 2239, 3200, 3519]


def test_a_flush_takes_back_to_the_sample_what_was_not_heard() -> None:
    transport = MemoryTransport(hang_up=False)

    async def main() -> None:
        _, task = await listening(transport)
        for _ in range(3):
            transport.send(frame())
        await pass_time(0.03)
        _, agent = transport.recording()
        assert np.count_nonzero(agent) == 480  # half of the second frame, still playing
        assert transport.flush() == 480
        assert transport.unplayed() == 0 and transport.flush() == 0
        await pass_time(0.2)
        transport.send(frame())
        await pass_time(0.05)
        transport.hang_up()
        await task

    run(main())
    _, agent = transport.recording()
    assert list(np.flatnonzero(agent)[[0, 479, 480, -1]]) == [0, 479, 3680, 3999]
    assert transport.played_samples == 800


def test_speaking_returns_when_the_last_frame_was_spoken() -> None:
    transport = MemoryTransport(hang_up=False)

    async def main() -> None:
        ear, task = await listening(transport)
        await pass_time(0.05)
        first = asyncio.create_task(transport.speak(tone(320, 1)))
        await pass_time(0)
        await transport.speak(tone(640, 2))
        assert transport.now == pytest.approx(0.12) and first.done()
        transport.hang_up()
        transport.hang_up()
        assert len(ear.frames) == 6
        transport.event(TurnCommitted(0.0))
        transport.report_playout(3, 1600)
        await transport.aclose()
        await task
        await first
        assert [event for _, event in ear.events] == [TurnCommitted(0.0), PlayoutReported(0.12, 3, 1600)]
        with pytest.raises(TransportError, match="the call is over"):
            await transport.speak(tone(320))

    run(main())
    caller, _ = transport.recording()
    assert [int(caller[at]) for at in (799, 800, 1119, 1120, 1759, 1760)] == [0, 1, 1, 2, 2, 0]


def test_whoever_speaks_when_the_call_ends_is_told_so() -> None:
    transport = MemoryTransport(hang_up=0.1)

    async def main() -> None:
        _, task = await listening(transport)
        given_up = asyncio.create_task(transport.speak(tone(16000)))
        await pass_time(0)
        given_up.cancel()
        with pytest.raises(TransportError, match="before everything was said"):
            await transport.speak(tone(16000))
        await task

    run(main())


def test_a_speaker_who_gave_up_waiting_disturbs_nobody() -> None:
    transport = MemoryTransport(hang_up=False)

    async def main() -> None:
        _, task = await listening(transport)
        given_up = asyncio.create_task(transport.speak(tone(320)))
        await pass_time(0)
        given_up.cancel()
        await transport.speak(tone(320))
        transport.hang_up()
        await task

    run(main())


def test_a_broken_connection_raises_out_of_run() -> None:
    transport = MemoryTransport(hang_up=False)

    async def main() -> None:
        transport.break_off("too early to matter")
        _, task = await listening(transport)
        await pass_time(0.1)
        transport.break_off("the train went into a tunnel")
        transport.break_off("twice")
        transport.hang_up()
        await task

    with pytest.raises(TransportError, match="tunnel"):
        run(main())


def test_after_the_close_nothing_is_heard_and_run_returns_at_once() -> None:
    transport = MemoryTransport(hang_up=False, plays_far_side=True)

    async def main() -> None:
        _, task = await listening(transport)
        transport.send(frame())
        await transport.aclose()
        await transport.aclose()
        transport.send(frame())
        await task
        assert transport.unplayed() == 0

    assert transport.plays_far_side
    run(main())
    assert transport.heard == () and len(transport.recording()[1]) == 0


def test_closed_before_it_began_it_returns_at_once() -> None:
    async def main() -> int:
        transport, ear = MemoryTransport(tone(32000)), Ear()
        await transport.aclose()
        await transport.run(ear)
        return len(ear.frames)

    assert run(main()) == 0


def test_late_frames_still_on_their_way_at_the_end_never_arrive() -> None:
    assert len(call(MemoryTransport(late={2: 5.0}, hang_up=0.1)).frames) == 2


def test_misuse_is_told() -> None:
    transport = MemoryTransport(record=False)
    with pytest.raises(TransportError, match="nobody listens yet"):
        transport.event(TurnCommitted(0.0))
    call(transport)
    with pytest.raises(TransportError, match="run twice"):
        call(transport)
    with pytest.raises(TransportError, match="record=True"):
        transport.recording()
    assert MemoryTransport().now == 0.0

    async def too_much() -> None:
        await MemoryTransport([(0.0, bytes(FRAME_BYTES)), (9.0, bytes(int(SPEECH_S_MAX + 1) * 32000))]).speak(b"")

    with pytest.raises(TransportError, match="wait to be spoken"):
        run(too_much())


def test_without_a_recording_nothing_grows() -> None:
    transport = MemoryTransport(hang_up=False, record=False)

    async def main() -> None:
        _, task = await listening(transport)
        for _ in range(500):
            transport.send(frame())
            await pass_time(0.02)
        assert transport.played_samples == 500 * FRAME_SAMPLES
        transport.hang_up()
        await task

    run(main())
    assert len(transport.heard) == 8
