import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from duologue.audio import write_wav
from duologue.errors import AudioError, ConfigurationError, StageError
from duologue.measure import audible_spans
from duologue.ports.tts import SpeechAudio, SpeechItem, SpeechRequest, SpokenWord
from duologue_pipelines.transports.caller_script import CallerScript, Step, Utterance, prepare, read_script
from duologue_pipelines.transports.noises import NOISES


class Humming:
    """A voice that hums 100 ms a letter, with 200 ms of silence on both sides."""

    name = "humming"

    def __init__(self) -> None:
        self.requests: list[SpeechRequest] = []

    async def warm_up(self) -> None:
        pass

    async def aclose(self) -> None:
        pass

    @classmethod
    def probe(cls) -> str:
        return ""

    async def synthesise(self, request: SpeechRequest) -> AsyncGenerator[SpeechItem, None]:
        self.requests.append(request)
        letters = sum(c.isalpha() for c in request.text)
        wave = 8000 * np.sin(2 * np.pi * 200 * np.arange(1600 * letters) / 16000)
        yield SpeechAudio(bytes(6400))
        yield SpokenWord(0, len(request.text), 0.2, 0.2 + 0.1 * letters)
        yield SpeechAudio(wave.astype("<i2").tobytes())
        yield SpeechAudio(bytes(6400))


def prepared(script: CallerScript, voice: Humming | None = None) -> list[Utterance]:
    return asyncio.run(prepare(script, voice))


def test_a_script_is_read_from_toml_and_from_json(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        'voice = "en-us+f3"\n[[step]]\nsay = ["Tell me about", 0.9, "the museum."]\n'
        '[[step]]\nnoise = "cough"\nwhen = "agent_speaking"\ndelay_s = 0.5\n[[step]]\nfile = "q.wav"\n'
    )
    (tmp_path / "b.json").write_text('{"step": [{"say": "hi", "when": "at", "at_s": 2}]}')
    script = read_script(tmp_path / "a.toml")
    assert [step.text for step in script.step] == ["Tell me about the museum.", "(cough)", "(q.wav)"]
    assert script.step[2].file == tmp_path / "q.wav" and script.speaks
    assert read_script(tmp_path / "b.json").step[0].at_s == 2.0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.toml",
            b'[[step]]\nsay = "hi"\nnoise = "cough"\n',
            r"a.toml:1: step\[0\] needs exactly one of .*say and noise",
        ),
        ("a.toml", b'[[step]]\nsay = " "\n', r"say holds no text"),
        ("a.toml", b'[[step]]\nsai = "hi"\n', r"a.toml:2: step\[0\]\.sai is no known key. Did you mean 'step.say'"),
        ("a.toml", b'[[step]]\nsay = "hi"\nwhen = "at"\n', "needs at_s together with"),
        (
            "a.toml",
            b'[[step]]\nsay = "hi"\n\ndelay_s = -1\n',
            r"a.toml:4: step\[0\].delay_s must lie between 0\S* and 7200",
        ),
        ("a.toml", b'[[step]\nsay = "hi"\n', r"a.toml:1: "),
        ("a.toml", b"say = '\xff'\n", r"a.toml:1: byte 0xff"),
        ("a.toml", b"", "step is missing"),
        ("a.json", b'{"step": [\n}', "a.json:2: no JSON"),
        ("a.json", b'{"step": []}', "a.json: step"),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_key(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=message):
        read_script(tmp_path / name)


def test_a_missing_script_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml: No such file"):
        read_script(Path("nowhere.toml"))


def test_speech_is_trimmed_and_pauses_are_as_written() -> None:
    voice = Humming()
    script = CallerScript(
        step=(Step(say=("abc", 0.9, "de")), Step(say="f", kind="backchannel", when="agent_speaking", loudness=0.5)),
        voice="x",
        language="en",
        speed=1.5,
    )
    first, second = prepared(script, voice)
    spans = audible_spans(first.samples, sample_rate_hz=16_000)
    assert len(first.samples) == pytest.approx(1.4 * 16000, abs=200)
    assert spans[1].start - spans[0].end == pytest.approx(0.9, abs=0.005)
    assert (first.text, first.kind, first.when, first.delay_s, first.patience_s) == (
        "abc de",
        "turn",
        "agent_done",
        1.2,
        1.5,
    )
    assert (second.kind, second.delay_s, second.patience_s) == ("backchannel", 1.0, 20.0)
    assert np.abs(second.samples).max() == pytest.approx(4000, abs=10)
    assert voice.requests[0] == SpeechRequest("abc", language="en", voice="x", speed=1.5, sample_rate_hz=16_000)


def test_files_and_noises_need_no_voice(tmp_path: Path) -> None:
    wave = np.full(3200, 500, dtype=np.int16)
    write_wav(tmp_path / "a.wav", wave)
    of_files = CallerScript.of_files([tmp_path / "a.wav"])
    assert not of_files.speaks
    assert np.array_equal(prepared(of_files)[0].samples, wave)
    noise = prepared(CallerScript(step=(Step(noise="cough", patience_s=3.0),)))[0]
    assert noise.kind == "noise" and noise.patience_s == 3.0 and len(noise.samples) == 4800
    with pytest.raises(AudioError, match="no such file"):
        prepared(CallerScript.of_files([tmp_path / "b.wav"]))
    with pytest.raises(ConfigurationError, match="there is no synthesiser for the caller"):
        prepared(CallerScript(step=(Step(say="hello"),)))


def test_words_without_a_sound_are_told() -> None:
    with pytest.raises(StageError, match="makes no sound of '123'"):
        prepared(CallerScript(step=(Step(say="123"),)), Humming())


def test_noises_are_the_same_each_time_and_audible() -> None:
    for make in NOISES.values():
        assert np.array_equal(make(1), make(1)) and not np.array_equal(make(1), make(2))
        spans = audible_spans(make(1), sample_rate_hz=16_000)
        assert len(spans) == 1 and spans[0].seconds > 0.8 * len(make(1)) / 16000 - 0.02
        assert np.abs(make(1)).max() < 32767


def test_a_script_cannot_be_without_steps_or_without_end() -> None:
    with pytest.raises(ValidationError):
        CallerScript(step=())
    with pytest.raises(ValidationError):
        CallerScript(step=(Step(say="a"),) * 501)


def test_a_script_that_is_no_file_or_bottomless_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(ConfigurationError, match=r"pipe\.toml: is not a regular file"):
        read_script(tmp_path / "pipe.toml")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(ConfigurationError, match=r"deep\.json: .*brackets within brackets"):
        read_script(tmp_path / "deep.json")
    (tmp_path / "deep.toml").write_text("step = " + "[" * 100_000)
    with pytest.raises(ConfigurationError, match=r"deep\.toml:1: broken TOML: brackets within brackets"):
        read_script(tmp_path / "deep.toml")
