"""Every detector keeps the contract of the VAD port, and the kit catches those that don't."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from duologue.audio import FRAME_SECONDS, Frame
from duologue.ports.vad import Offset, Onset, Vad
from duologue.testing.contracts.vad import check_vad
from duologue.testing.scripted_vad import ScriptedVad
from duologue_pipelines.vad.both import GatedVad
from duologue_pipelines.vad.silero import SileroVad
from duologue_pipelines.vad.webrtc import WebrtcVad


def read_flac(path: Path) -> bytes:
    with av.open(str(path)) as source:
        return b"".join(frame.to_ndarray().astype("<i2").tobytes() for frame in source.decode(audio=0))


def tone(seconds: float) -> bytes:
    at = np.arange(round(seconds * 16_000)) / 16_000
    return np.rint(8000 * np.sin(2 * np.pi * 220 * at)).astype("<i2").tobytes()


@pytest.mark.shared_data
@pytest.mark.parametrize("make", [WebrtcVad, SileroVad, GatedVad])
def test_our_detectors_keep_the_contract(make: Callable[[], Vad], shared_data: Path) -> None:
    asyncio.run(check_vad(make, read_flac(shared_data / "speech/mini/mini_005.flac")))


def test_the_scripted_detector_keeps_the_contract() -> None:
    asyncio.run(check_vad(ScriptedVad, tone(1.5)))
    asyncio.run(check_vad(lambda: ScriptedVad(onset_delay_s=0.1, offset_delay_s=0.2), tone(1.5)))


class _LyingStream:
    def __init__(self, lie: str) -> None:
        self._honest = ScriptedVad().open()
        self._lie = lie

    def push_frame(self, frame: Frame) -> Onset | Offset | None:
        event = self._honest.push_frame(frame)
        if self._lie == "silence gives nothing" and frame.at > 8:
            return Onset(frame.at)
        if self._lie == "an onset and an offset":
            return None
        if isinstance(event, Onset) and self._lie == "past the frame":
            return Onset(frame.end + 1)
        if isinstance(event, Onset) and self._lie == "first event is an onset":
            return Offset(frame.at)
        if isinstance(event, Offset) and self._lie == "never decrease":
            return Offset(0.0)
        if isinstance(event, Offset) and self._lie == "told about 60 ms after":
            return Offset(event.until - 1.0)
        return event


class _LyingVad(ScriptedVad):
    def __init__(self, lie: str) -> None:
        super().__init__()
        self._lie = lie

    def open(self) -> _LyingStream:  # type: ignore[override]  # a stream that lies
        return _LyingStream(self._lie)


@pytest.mark.parametrize(
    ("lie", "caught_as"),
    [
        ("silence gives nothing", "silence gives nothing"),
        ("an onset and an offset", "an onset and an offset"),
        ("past the frame", "times never decrease|past the frame"),
        ("first event is an onset", "first event is an onset"),
        ("never decrease", "times never decrease"),
        ("told about 60 ms after", "about 60 ms after|never decrease"),
    ],
)
def test_the_kit_catches_a_detector_that_lies(lie: str, caught_as: str) -> None:
    with pytest.raises(AssertionError, match=caught_as):
        asyncio.run(check_vad(lambda: _LyingVad(lie), tone(1.5 + FRAME_SECONDS)))
