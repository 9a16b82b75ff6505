import asyncio
import itertools
from collections.abc import Awaitable
from pathlib import Path

import numpy as np
import pytest

from duologue.audio import OUTPUT_RATES_HZ, Samples, frame_samples, level_dbfs, read_wav, write_wav
from duologue.core.events import Event
from duologue.errors import AudioError, ConfigurationError, TransportError
from duologue.measure import Span, audible_spans, measure
from duologue.testing.contracts import transport as kit
from duologue.testing.virtual_time import run
from duologue_pipelines.transports.caller_script import CallerScript, Step
from duologue_pipelines.transports.wav import WavTransport


def tone(seconds: float, hz: float = 300, rate_hz: int = 16000) -> Samples:
    return np.rint(6000 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.int16)


class Parrot:
    """An agent that answers any voice, 400 ms after its end, with a second of tone; and falls silent when talked over.

    It waits for two frames of voice before it believes in it, as a detector does.
    """

    def __init__(self, transport: WavTransport, seconds: float = 1.0, output_rate_hz: int = 24_000) -> None:
        self.transport = transport
        self.output_rate_hz = output_rate_hz
        self.seconds = seconds
        self.voiced = 0
        self.silent = 0
        self.answer: list[bytes] = []
        self.taken_back = 0

    def audio(self, pcm: bytes) -> None:
        if level_dbfs(np.frombuffer(pcm, dtype="<i2")) > -50:
            self.voiced, self.silent = self.voiced + 1, 0
            if self.voiced == 2:
                self.answer.clear()
                self.taken_back += self.transport.cut_reply(1)
        else:
            self.silent += 1
            if self.silent == 20 and self.voiced >= 2:
                speech = tone(self.seconds, 500, self.output_rate_hz).astype("<i2").tobytes()
                size = 2 * frame_samples(self.output_rate_hz)
                self.answer = [speech[at : at + size] for at in range(0, len(speech), size)]
                self.voiced = 0
        if self.answer:
            self.transport.play(self.answer.pop(0), 1)

    def event(self, event: Event) -> None:
        raise AssertionError(f"a file does nothing by hand: {event}")

    def played(self, reply: int, samples: int) -> None:
        raise AssertionError("a file reports nothing: it plays in our sight")


def call(transport: WavTransport, seconds: float = 1.0, output_rate_hz: int = 24_000) -> Parrot:
    parrot = Parrot(transport, seconds, output_rate_hz)

    async def main() -> None:
        await transport.run(parrot)
        await transport.aclose()

    run(main(), start=100.0)
    return parrot


@pytest.mark.parametrize("check", kit.CHECKS, ids=kit.check_name)
def test_it_keeps_the_contract(tmp_path: Path, check: kit.Check) -> None:
    numbers = itertools.count()

    def make(caller: bytes, *, stalls: bool = False) -> WavTransport:
        path = tmp_path / f"{next(numbers)}.wav"
        write_wav(path, np.frombuffer(caller or bytes(640), dtype="<i2"))
        return WavTransport(script=CallerScript(step=(Step(file=path, when="then"),), patience_s=60 if stalls else 0.1))

    async def main() -> None:
        promised: Awaitable[None] = check(make)
        await promised

    run(main())


def test_files_are_said_one_after_the_other_and_both_sides_are_recorded(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", tone(0.5))
    write_wav(tmp_path / "b.wav", tone(0.8))
    transport = WavTransport(
        [str(tmp_path / "a.wav"), str(tmp_path / "b.wav")],
        output=str(tmp_path / "out" / "answer.wav"),
        recording=str(tmp_path / "out" / "conversation.wav"),
    )
    call(transport)
    both, rate = read_wav(tmp_path / "out" / "conversation.wav")
    answer, _ = read_wav(tmp_path / "out" / "answer.wav")
    assert rate == 24_000 and both.shape[1] == 2 and np.array_equal(both[:, 1], answer[:, 0])
    user, agent = (audible_spans(channel, sample_rate_hz=rate) for channel in both.T)
    assert [round(span.seconds, 2) for span in user] == [0.5, 0.8]
    assert [round(span.seconds, 2) for span in agent] == [1.0, 1.0]
    assert user[0].start == pytest.approx(1.5, abs=0.03)  # nobody greeted, so the caller began
    assert user[1].start - agent[0].end == pytest.approx(1.2, abs=0.05)
    assert len(both) / rate - agent[1].end == pytest.approx(1.5, abs=0.05)
    assert [mark.text for mark in transport.marks] == ["(a.wav)", "(b.wav)"]
    measured = measure(*both.T, transport.marks, sample_rate_hz=rate)
    assert measured.response.median == pytest.approx(0.4, abs=0.025)


def test_a_script_interrupts_and_the_recording_shows_the_yield(tmp_path: Path) -> None:
    write_wav(tmp_path / "q.wav", tone(0.5))
    script = tmp_path / "script.toml"
    script.write_text(
        '[[step]]\nfile = "q.wav"\n'
        '[[step]]\nfile = "q.wav"\nwhen = "agent_speaking"\ndelay_s = 0.6\nkind = "interruption"\n'
    )
    transport = WavTransport(script=str(script))
    parrot = call(transport, seconds=5.0)
    measured = measure(*transport.recording(), transport.marks, sample_rate_hz=transport.output_rate_hz)
    act = measured.acts[1]
    assert (
        act.over_agent
        and act.yield_s == pytest.approx(0.04, abs=0.025)
        and act.response_s == pytest.approx(0.4, abs=0.03)
    )
    assert parrot.taken_back <= 2 * frame_samples(24_000)
    assert measured.agent[0].seconds == pytest.approx(0.62, abs=0.03)


def test_the_caller_speaks_from_text_with_the_voice_that_ships(tmp_path: Path) -> None:
    script = CallerScript(
        step=(Step(say=("Good morning,", 0.8, "how are you?")),), voice="en-us+f3", first_patience_s=0.2
    )
    transport = WavTransport(script=script, recording=str(tmp_path / "call.wav"))
    call(transport)
    voice = measure(*transport.recording(), transport.marks, sample_rate_hz=transport.output_rate_hz).acts[0].voice
    assert 1.5 < voice.seconds < 4 and transport.marks[0].text == "Good morning, how are you?"
    assert (tmp_path / "call.wav").exists()


def test_hanging_up_from_our_side_still_writes_the_files(tmp_path: Path) -> None:
    write_wav(tmp_path / "q.wav", tone(30))
    transport = WavTransport(str(tmp_path / "q.wav"), recording=str(tmp_path / "c.wav"))

    async def main() -> None:
        task = asyncio.create_task(transport.run(Parrot(transport)))
        await asyncio.sleep(3)
        await transport.aclose()
        await task

    run(main())
    both, rate = read_wav(tmp_path / "c.wav")
    assert both.shape[0] / rate == pytest.approx(3.0, abs=0.03)
    assert audible_spans(both[:, 0], sample_rate_hz=rate)[-1] == Span(
        pytest.approx(1.5, abs=0.03), pytest.approx(3.0, abs=0.03)
    )


def test_wrong_options_and_places_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="either input"):
        WavTransport()
    with pytest.raises(ConfigurationError, match="not both"):
        WavTransport("a.wav", script="b.toml")
    with pytest.raises(AudioError, match=r"answer\.mp3: only \.wav is written"):
        WavTransport("a.wav", output="answer.mp3")
    with pytest.raises(AudioError, match="no such file"):
        call(WavTransport(str(tmp_path / "missing.wav")))
    write_wav(tmp_path / "q.wav", tone(0.1))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AudioError, match="can't be written"):
        call(WavTransport(str(tmp_path / "q.wav"), output=str(tmp_path / "file" / "answer.wav")))
    transport = WavTransport(
        str(tmp_path / "q.wav"), recording=str(tmp_path / "file" / "c.wav"), output=str(tmp_path / "kept.wav")
    )
    with pytest.raises(AudioError, match=r"can't be written to .*c\.wav \("):
        call(transport)
    assert read_wav(tmp_path / "kept.wav")[0].size
    with pytest.raises(ConfigurationError, match="written over the caller's own recording"):
        WavTransport(str(tmp_path / "q.wav"), output=str(tmp_path / "q.wav"))
    transport = WavTransport(str(tmp_path / "q.wav"))
    assert transport.marks == () and transport.unplayed() == 0
    call(transport)
    with pytest.raises(TransportError, match="run twice"):
        call(transport)


@pytest.mark.parametrize("rate_hz", OUTPUT_RATES_HZ)
def test_recordings_hold_both_sides_at_the_rate_of_the_session(tmp_path: Path, rate_hz: int) -> None:
    write_wav(tmp_path / "q.wav", tone(0.5, 3000))
    transport = WavTransport(str(tmp_path / "q.wav"), recording=str(tmp_path / "c.wav"))
    call(transport, output_rate_hz=rate_hz)
    both, rate = read_wav(tmp_path / "c.wav")
    assert rate == rate_hz == transport.output_rate_hz
    for channel, hz, seconds in ((both[:, 0], 3000, 0.5), (both[:, 1], 500, 1.0)):
        (voice,) = audible_spans(channel, sample_rate_hz=rate)
        assert voice.seconds == pytest.approx(seconds, abs=0.02)
        sound = channel[round(voice.start * rate) : round(voice.end * rate)].astype(float)
        loudest = np.argmax(np.abs(np.fft.rfft(sound * np.hanning(len(sound)))))
        assert loudest * rate / len(sound) == pytest.approx(hz, rel=0.01)
