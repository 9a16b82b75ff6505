"""Any audio file that FFmpeg's libraries read (through PyAV), as the engine's mono 16 kHz int16.

Whatever is wrong with a file ends in an `AudioError` that says what was found; a file that breaks half-way is refused,
not silently shortened; what is missing in its middle is silence, so that sample count stays time.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.container import InputContainer

from duologue.audio import INPUT_RATE_HZ, Samples
from duologue.errors import AudioError

SECONDS_MAX: Final = 2 * 3600.0  # 230 MB of samples; a longer recording is no caller
GAP_S_MIN: Final = 0.02  # jitter of the time stamps below it is rounding
_UNKNOWN_BYTES: Final = 0x7FFF0000  # who writes a WAV into a pipe puts the largest number where the length belongs
_PLAYER: Final = "Check the file in a player"


def read_audio(path: Path) -> Samples:
    """The first audio stream of `path`: int16 of shape (n,), n > 0, mixed to mono and resampled to 16 kHz once.

    Raises `AudioError` for a file that is missing, empty, broken, without sound or longer than two hours.
    """
    _check_file(path)
    try:
        _check_riff(path)
        with av.open(str(path)) as container:
            samples = _decode(path, container)
    except av.error.FFmpegError as error:
        raise AudioError(f"{path}: no audio can be read from it ({error.strerror})", hint=_PLAYER) from error
    except OSError as error:
        raise AudioError(f"{path}: {error.strerror or error}", hint="Check its permissions") from error
    if len(samples) == 0:
        raise AudioError(f"{path}: it holds an audio stream without a single sample", hint=_PLAYER)
    return samples


def _check_file(path: Path) -> None:
    try:
        size = path.stat().st_size if path.is_file() else None
    except OSError as error:  # a name too long, a folder that may not be entered
        raise AudioError(f"{path}: {error.strerror or error}", hint="Check the path") from error
    if path.is_dir():
        raise AudioError(f"{path}: a folder, expected an audio file", hint="Name the file in it")
    if size is None and path.exists():
        raise AudioError(f"{path}: not a regular file", hint="Record to a file, and name that")
    if size is None:
        raise AudioError(f"{path}: no such file", hint="Check the path")
    if size == 0:
        raise AudioError(f"{path}: the file is empty (0 bytes)", hint="Record or copy it again")


def _check_riff(path: Path) -> None:
    """Raise `AudioError` for a WAV file that holds less than its header promises: FFmpeg takes what there is."""
    size = path.stat().st_size
    with path.open("rb") as file:
        riff = file.read(12)
        if riff[:4] != b"RIFF" or riff[8:] != b"WAVE":
            return
        byte_rate = 0
        while len(head := file.read(8)) == 8:
            name, length = struct.unpack("<4sI", head)
            if name == b"fmt ":
                byte_rate = int.from_bytes(file.read(12)[8:], "little")
                file.seek(length - 12, os.SEEK_CUR)
            elif name == b"data":
                there = size - file.tell()
                if there < length < _UNKNOWN_BYTES:
                    raise _cut_off(path, there / max(1, byte_rate), length / max(1, byte_rate))
                return
            else:
                file.seek(length + length % 2, os.SEEK_CUR)


def _check_mp3(path: Path, container: InputContainer, seconds: float) -> None:
    """Raise `AudioError` for an MP3 that promises more than its bytes hold at its bit rate.

    Where it promises nothing, FFmpeg guesses the duration from just these bytes, which is no promise.
    """
    bit_rate = container.streams.audio[0].bit_rate
    if container.format.name != "mp3" or container.duration is None or not bit_rate:
        return
    promised, held = container.duration / 1e6, 8 * container.size / bit_rate
    if promised - max(seconds, held) > max(0.25, 0.02 * promised):
        raise _cut_off(path, seconds, promised)


def _cut_off(path: Path, seconds: float, promised: float) -> AudioError:
    return AudioError(
        f"{path}: cut off after {seconds:.1f} s: its header promises {promised:.1f} s", hint="Record or copy it again"
    )


def _decode(path: Path, container: InputContainer) -> Samples:
    if not container.streams.audio:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise AudioError(f"{path}: no audio stream in it, only {kinds}", hint="Give a file with sound")
    pieces: list[Samples] = []
    samples = 0
    try:
        for piece in _resampled(container):
            pieces.append(piece)
            samples += len(piece)
            if samples > SECONDS_MAX * INPUT_RATE_HZ:
                raise AudioError(f"{path}: longer than {SECONDS_MAX / 3600:g} hours", hint="Cut it into parts")
    except (av.error.FFmpegError, ValueError) as error:  # ValueError: the format changes in mid-stream
        seconds = samples / INPUT_RATE_HZ
        raise AudioError(
            f"{path}: broken after {seconds:.1f} s ({error})", hint="Record or convert it again"
        ) from error
    _check_mp3(path, container, samples / INPUT_RATE_HZ)
    return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int16)


def _resampled(container: InputContainer) -> Iterator[Samples]:
    """The stream at 16 kHz; where its time stamps jump (packets lost, silence not sent), silence fills the gap."""
    resampler = AudioResampler(format="s16", layout="mono", rate=INPUT_RATE_HZ)
    expected: float | None = None
    for frame in container.decode(audio=0):
        at = frame.time
        if at is not None and expected is not None and at - expected > GAP_S_MIN:
            missing = min(at - expected, SECONDS_MAX)
            yield np.zeros(round(missing * INPUT_RATE_HZ), dtype=np.int16)
        expected = None if at is None else at + frame.samples / frame.sample_rate
        yield from map(_samples, resampler.resample(frame))
    yield from map(_samples, resampler.resample(None))


def _samples(frame: AudioFrame) -> Samples:
    return frame.to_ndarray().reshape(-1).astype(np.int16, copy=False)
