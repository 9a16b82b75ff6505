import asyncio

import numpy as np
import pytest

from duologue.audio import FRAME_BYTES, FRAME_SAMPLES, OUTPUT_RATES_HZ, SILENCE, frame_samples
from duologue.core.events import Event, TurnCommitted, TypedTurn
from duologue.errors import TransportError
from duologue.testing.memory_transport import REPLIES_KEPT, SPEECH_S_MAX, MemoryTransport, RemoteMemoryTransport
from duologue.testing.virtual_time import pass_time, run


class Ear:
    """A sink that notes what came when; of a session that speaks at 16 kHz unless told otherwise."""

    def __init__(self, output_rate_hz: int = 16_000) -> None:
        self.output_rate_hz = output_rate_hz
        self.reports: list[tuple[float, int, int]] = []
        self.frames: list[tuple[float, bytes]] = []
        self.events: list[tuple[float, Event]] = []

    def audio(self, pcm: bytes) -> None:
        self.frames.append((asyncio.get_running_loop().time(), pcm))

    def event(self, event: Event) -> None:
        self.events.append((asyncio.get_running_loop().time(), event))

    def played(self, reply: int, samples: int) -> None:
        self.reports.append((round(asyncio.get_running_loop().time(), 3), reply, samples))


def tone(samples: int, value: int = 1000) -> bytes:
    return np.full(samples, value, dtype="<i2").tobytes()


def frame(value: int = 7) -> bytes:
    return tone(FRAME_SAMPLES, value)


def call(transport: MemoryTransport | RemoteMemoryTransport, *, start: float = 0.0) -> Ear:
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


async def listening(
    transport: MemoryTransport | RemoteMemoryTransport, output_rate_hz: int = 16_000
) -> tuple[Ear, "asyncio.Task[None]"]:
    ear = Ear(output_rate_hz)
    task = asyncio.create_task(transport.run(ear))
    await pass_time(0)
    return ear, task


def test_a_frame_is_heard_when_sent_or_after_the_one_before() -> None:
    transport = MemoryTransport(hang_up=False)

    async def main() -> None:
        _, task = await listening(transport)
        await pass_time(0.1)
        transport.play(frame(1), 1)
        transport.play(frame(2), 1)
        assert transport.unplayed() == 640
        await pass_time(0.03)
        assert transport.unplayed() == 160 and transport.played_samples == 480
        await pass_time(0.07)
        assert transport.unplayed() == 0 and transport.played_samples == 640
        transport.play(frame(3), 1)
        await pass_time(0.02)
        transport.hang_up()
        await task

    run(main(), start=50.0)
    assert [(piece.at, piece.pcm[0]) for piece in transport.heard] == [(0.1, 1), (0.12, 2), (0.2, 3)]
    caller, agent = transport.recording()
    assert len(caller) == len(agent) == 3520
    assert list(np.flatnonzero(agent)[[0, 639, 640, -1]]) == [1600, 2239, 3200, 3519]


def test_a_cut_takes_back_to_the_sample_what_was_not_heard() -> None:
    transport = MemoryTransport(hang_up=False)

    async def main() -> None:
        _, task = await listening(transport)
        for _ in range(3):
            transport.play(frame(), 1)
        await pass_time(0.03)
        _, agent = transport.recording()
        assert np.count_nonzero(agent) == 480  # half of the second frame, still playing
        assert transport.cut_reply(1) == 480
        assert transport.unplayed() == 0 and transport.cut_reply(1) == 0
        await pass_time(0.2)
        transport.play(frame(), 1)
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
        await transport.aclose()
        await task
        await first
        assert [event for _, event in ear.events] == [TurnCommitted(0.0)]
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
    transport = MemoryTransport(hang_up=False)

    async def main() -> None:
        _, task = await listening(transport)
        transport.play(frame(), 1)
        await transport.aclose()
        await transport.aclose()
        transport.play(frame(), 1)
        await task
        assert transport.unplayed() == 0 and not transport.reports_playout

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
            transport.play(frame(), 1)
            await pass_time(0.02)
        assert transport.played_samples == 500 * FRAME_SAMPLES
        transport.hang_up()
        await task

    run(main())
    assert len(transport.heard) == 8


# --- the agent's rate -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate_hz", OUTPUT_RATES_HZ)
def test_the_agent_is_heard_at_the_rate_of_the_session_and_the_recording_has_both_at_it(rate_hz: int) -> None:
    at = np.arange(16_000) / 16_000
    speech = np.rint(8000 * np.sin(2 * np.pi * 400 * at)).astype("<i2").tobytes()
    transport = MemoryTransport(speech, hang_up=False)

    async def main() -> None:
        _, task = await listening(transport, rate_hz)
        await pass_time(0.1)
        for _ in range(5):
            transport.play(tone(frame_samples(rate_hz), 7), 1)
        await pass_time(0.05)
        assert transport.unplayed() == rate_hz // 20 and transport.played_s == pytest.approx(0.05)
        await pass_time(0.85)
        transport.hang_up()
        await task

    run(main())
    caller, agent = transport.recording()
    assert len(caller) == len(agent) == rate_hz and transport.output_rate_hz == rate_hz
    assert list(np.flatnonzero(agent)[[0, -1]]) == [rate_hz // 10, rate_hz // 5 - 1]
    assert [(piece.at, len(piece.pcm)) for piece in transport.heard][:2] == [
        (0.1, 2 * frame_samples(rate_hz)), (0.12, 2 * frame_samples(rate_hz)),
    ]  # fmt: skip
    wave = 8000 * np.sin(2 * np.pi * 400 * np.arange(rate_hz) / rate_hz)
    assert np.abs(caller - wave)[:-4].max() < 200  # behind the last sample of the caller nothing is known


def test_more_than_may_wait_is_refused() -> None:
    transport = MemoryTransport(hang_up=False)

    async def main() -> None:
        _, task = await listening(transport)
        with pytest.raises(TransportError, match="30 s of the agent wait to be heard, no more is taken"):
            for _ in range(60 * 50):
                transport.play(frame(), 1)
        assert transport.unplayed() == 30 * 16_000 + FRAME_SAMPLES
        transport.hang_up()
        await task

    run(main())


# --- a player that reports ------------------------------------------------------------------------------------------


def remote(script, **options) -> Ear:
    """Run `script(transport)` in a call with a remote player; what the sink was told."""
    transport = RemoteMemoryTransport(hang_up=False, **options)

    async def main() -> Ear:
        ear, task = await listening(transport)
        await script(transport)
        transport.hang_up()
        await task
        return ear

    assert transport.reports_playout
    return run(main())


def test_a_remote_player_reports_as_often_as_it_is_told_to_and_nothing_twice() -> None:
    async def script(transport: RemoteMemoryTransport) -> None:
        for _ in range(10):
            transport.play(frame(), 4)
        await pass_time(1.0)

    assert remote(script, report_every_s=0.15).reports == [(0.15, 4, 2400), (0.3, 4, 3200)]
    assert remote(script).reports == []


def test_a_remote_player_reports_at_once_where_a_cut_silenced_it_and_counts_on() -> None:
    async def script(transport: RemoteMemoryTransport) -> None:
        for _ in range(10):
            transport.play(frame(), 4)
        await pass_time(0.05)
        transport.cut_reply(4)
        assert transport.played_samples == 800 == transport.played_of(4)
        await pass_time(0.4)
        transport.play(frame(), 4)
        transport.play(frame(), 5)
        assert (transport.played_of(4), transport.played_of(5)) == (800, 0)
        await pass_time(0.03)
        assert (transport.played_of(4), transport.played_of(5), transport.played_of(6)) == (1120, 160, 0)

    assert remote(script, report_every_s=10.0).reports == [(0.05, 4, 800)]


def test_a_remote_player_that_can_hold_keeps_everything_and_goes_on_with_the_sample() -> None:
    async def script(transport: RemoteMemoryTransport) -> None:
        for _ in range(2):
            transport.play(frame(), 4)
        transport.resume_reply(4)  # it is not held
        await pass_time(0.025)
        transport.hold_reply(4)
        transport.hold_reply(4)
        transport.play(frame(9), 4)
        await pass_time(1.0)
        assert transport.played_of(4) == 400 and transport.can_hold
        transport.resume_reply(4)
        await pass_time(0.1)
        assert transport.played_of(4) == 960
        _, agent = transport.recording()
        assert list(np.flatnonzero(agent)[[0, 399, 400, -1]]) == [0, 399, 16_400, 16_959]

    assert remote(script, report_every_s=10.0, can_hold=True).reports == [(0.025, 4, 400)]


def test_a_remote_player_says_what_a_test_wants_true_or_not() -> None:
    async def script(transport: RemoteMemoryTransport) -> None:
        transport.report_playout(77, -1)

    assert remote(script).reports == [(0.0, 77, -1)]
    with pytest.raises(TransportError, match="nobody listens yet"):
        RemoteMemoryTransport().report_playout(1, 1)


def test_a_remote_player_forgets_replies_long_gone() -> None:
    async def script(transport: RemoteMemoryTransport) -> None:
        for reply in range(1, REPLIES_KEPT + 2):
            transport.play(frame(), reply)
        await pass_time(3.0)
        assert (transport.played_of(1), transport.played_of(2)) == (0, 320)

    remote(script)
