"""Real files of many kinds, made here with PyAV; broken ones made from them."""

import fractions
import os
from pathlib import Path

import av
import numpy as np
import pytest

from duologue.audio import write_wav
from duologue.errors import AudioError
from duologue_pipelines.transports import media
from duologue_pipelines.transports.media import read_audio


def encode(
    path: Path, codec: str, *, rate: int = 48000, layout: str = "stereo", gap_s: float = 0.0, xing: bool = True
) -> Path:
    """A second of 440 Hz at -12 dBFS; with `gap_s` the second half comes so much later. `xing`: whether an MP3 says how
    many frames it has."""
    options = {} if xing else {"write_xing": "0"}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        wave = (8192 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)).astype(np.int16)
        channels = 2 if layout == "stereo" else 1
        for half in range(2):
            part = wave[half * rate // 2 : (half + 1) * rate // 2]
            frame = av.AudioFrame.from_ndarray(np.repeat(part, channels).reshape(1, -1), format="s16", layout=layout)
            frame.rate, frame.time_base = rate, fractions.Fraction(1, rate)
            frame.pts = half * (rate // 2 + round(gap_s * rate))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "codec", "rate", "layout"),
    [
        ("a.wav", "pcm_s16le", 44100, "stereo"),
        ("a.flac", "flac", 48000, "mono"),
        ("a.mp3", "libmp3lame", 44100, "stereo"),
        ("a.m4a", "aac", 44100, "stereo"),
        ("a.ogg", "libopus", 48000, "mono"),
        ("a.mka", "pcm_s16le", 8000, "mono"),
        ("b.wav", "pcm_s16le", 16000, "mono"),
    ],
)
def test_files_of_many_kinds_come_out_as_a_second_at_16_khz(
    tmp_path: Path, name: str, codec: str, rate: int, layout: str
) -> None:
    samples = read_audio(encode(tmp_path / name, codec, rate=rate, layout=layout))
    assert samples.dtype == np.int16 and abs(len(samples) - 16000) < 500
    middle = samples[4000:12000].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(middle))
    assert np.argmax(spectrum) == 220  # 440 Hz in half a second
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(8192 / 2**0.5, rel=0.1)


def test_our_own_format_comes_back_to_the_bit(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).integers(-20000, 20000, 4321, dtype=np.int16)
    write_wav(tmp_path / "own.wav", samples)
    assert np.array_equal(read_audio(tmp_path / "own.wav"), samples)


def test_what_is_missing_in_the_middle_is_silence(tmp_path: Path) -> None:
    samples = read_audio(encode(tmp_path / "gap.mka", "pcm_s16le", rate=16000, layout="mono", gap_s=0.5))
    assert len(samples) == 24000
    assert not samples[8100:15900].any() and samples[16000:].any()


def test_each_kind_of_bad_file_has_its_own_message(tmp_path: Path) -> None:
    whole = encode(tmp_path / "whole.flac", "flac").read_bytes()
    mp3 = encode(tmp_path / "whole.mp3", "libmp3lame", rate=16000, layout="mono").read_bytes()
    write_wav(tmp_path / "whole.wav", np.ones(16000, dtype=np.int16))
    wav = (tmp_path / "whole.wav").read_bytes()
    os.mkfifo(tmp_path / "pipe.wav")
    bad = {
        "empty.wav": (b"", "the file is empty"),
        "text.wav": (b"this is no audio " * 100, "no audio can be read from it"),
        "header.flac": (whole[:100], "no audio can be read from it"),
        "half.flac": (whole[: len(whole) // 2], "broken after 0."),
        "half.mp3": (mp3[: len(mp3) // 2], r"cut off after 0\.\d s: its header promises 1\.0 s"),
        "half.wav": (wav[: 44 + 16000], r"cut off after 0\.5 s: its header promises 1\.0 s"),
        "silent.wav": (
            b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x80\x3e\0\0\0\x7d\0\0\2\0\x10\0data\0\0\0\0",
            "sample",
        ),
    }
    for name, (content, message) in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(AudioError, match=message) as caught:
            read_audio(tmp_path / name)
        assert name in str(caught.value) and caught.value.hint
    for path, message in (
        (tmp_path / "missing.wav", "no such file"),
        (tmp_path / "pipe.wav", "not a regular file"),
        (tmp_path, "a folder, expected an audio file"),
        (tmp_path / ("x" * 300), "File name too long"),
        (Path("http://example.com/a.wav"), "no such file"),
    ):
        with pytest.raises(AudioError, match=message):
            read_audio(path)


@pytest.mark.parametrize("part", [1.0, 0.5], ids=["whole", "half"])
def test_an_mp3_that_promises_nothing_is_read_to_its_end(tmp_path: Path, part: float) -> None:
    path = tmp_path / "a.mp3"
    mp3 = encode(path, "libmp3lame", rate=16000, layout="mono", xing=False).read_bytes()
    path.write_bytes(mp3[: int(part * len(mp3))])
    assert len(read_audio(path)) == pytest.approx(part * 16000, abs=0.15 * 16000)  # the encoder pads its frames


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000])
def test_a_wav_out_of_a_pipe_that_never_knew_its_length_is_read_to_its_end(tmp_path: Path, length: int) -> None:
    samples = np.arange(8000, dtype=np.int16)
    write_wav(tmp_path / "a.wav", samples)
    wav = (tmp_path / "a.wav").read_bytes()
    note = b"note\x03\0\0\0abc\0"  # of odd length, and padded
    (tmp_path / "a.wav").write_bytes(wav[:36] + note + b"data" + length.to_bytes(4, "little") + wav[44:])
    assert np.array_equal(read_audio(tmp_path / "a.wav"), samples)


def test_a_film_without_sound_is_told_apart(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "film.mkv"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    with pytest.raises(AudioError, match="no audio stream in it, only video"):
        read_audio(tmp_path / "film.mkv")


def test_a_recording_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "SECONDS_MAX", 0.5)
    with pytest.raises(AudioError, match="longer than"):
        read_audio(encode(tmp_path / "long.wav", "pcm_s16le"))
