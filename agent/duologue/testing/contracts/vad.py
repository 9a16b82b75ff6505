"""What every voice activity detector must do, as checks that anybody can run on theirs.

    def test_my_detector_keeps_the_contract():
        asyncio.run(check_vad(MyVad, speech))

`speech` is mono 16 kHz int16 of somebody talking, at least a second of it. A check raises `AssertionError` that
says what was promised and what came.
"""

import inspect
import statistics
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Final

from duologue.audio import FRAME_BYTES, FRAME_SECONDS, INPUT_RATE_HZ, Frame, frames
from duologue.ports.vad import Offset, Onset, Vad, VadStream

MakeVad = Callable[[], Vad]
Report = tuple[float, Onset | Offset]  # session seconds at the end of the frame it came with, and the event

LEAD_SECONDS: Final = 1.0  # silence around the speech
_START: Final = 7.0  # session seconds of the first frame: no detector may take it for zero
_REPORT_SECONDS_MAX: Final = 0.4  # the port says about 60 ms; noise and windows add to it
_PUSH_SECONDS_MAX: Final = 0.001
_SLACK: Final = 1e-6


def _silence(seconds: float) -> bytes:
    return bytes(round(seconds / FRAME_SECONDS) * FRAME_BYTES)


def _require(true: bool, promise: str) -> None:
    if not true:
        raise AssertionError(f"the VAD contract is broken: {promise}")


def _surrounded(speech: bytes) -> bytes:
    whole = speech.ljust(-(-len(speech) // FRAME_BYTES) * FRAME_BYTES, b"\0")
    return _silence(LEAD_SECONDS) + whole + _silence(LEAD_SECONDS)


def _reports(stream: VadStream, pcm: bytes) -> list[Report]:
    found: list[Report] = []
    for frame in frames(pcm, start=_START):
        event = stream.push_frame(frame)
        _require(not inspect.isawaitable(event), "push_frame is synchronous")
        if event is not None:
            found.append((frame.end, event))
    return found


async def _check_itself(vad: Vad, speech: bytes) -> None:
    _require(isinstance(vad.name, str) and bool(vad.name), f'name is the word of use = "…", got {vad.name!r}')
    _require(isinstance(type(vad).probe(), str), "probe answers with a sentence, or with nothing")
    await vad.warm_up()
    await vad.warm_up()


async def _check_silence(vad: Vad, speech: bytes) -> None:
    found = _reports(vad.open(), _silence(3))
    _require(not found, f"silence gives nothing, got {found}")


async def _check_speech(vad: Vad, speech: bytes) -> None:
    found = _reports(vad.open(), _surrounded(speech))
    _require(len(found) >= 2, f"speech with silence around gives an onset and an offset, got {found}")
    kinds = [type(event) for _, event in found]
    _require(kinds[0] is Onset, f"the first event is an onset, got {found[0][1]}")
    _require(all(a is not b for a, b in pairwise(kinds)), f"onsets and offsets alternate, got {kinds}")
    _require(kinds[-1] is Offset, f"after a second of silence speech has stopped, got {found[-1][1]}")
    times = [event.since if isinstance(event, Onset) else event.until for _, event in found]
    _require(all(a <= b for a, b in pairwise(times)), f"times never decrease, got {times}")
    for (told, event), at in zip(found, times, strict=True):
        _require(at <= told + _SLACK, f"a time never lies past the frame it came with ({told:.3f}), got {event}")
        if isinstance(event, Offset):
            late = told - at
            _require(
                late <= _REPORT_SECONDS_MAX, f"an offset is told about 60 ms after it, {event} came {late:.2f} s late"
            )
    begins, ends = _START + LEAD_SECONDS, _START + LEAD_SECONDS + len(speech) / 2 / INPUT_RATE_HZ
    _require(times[0] >= begins - 0.3, f"speech began after {begins:.2f}, the onset says {times[0]:.2f}")
    _require(times[-1] <= ends + 0.3, f"speech ended by {ends:.2f}, the offset says {times[-1]:.2f}")


async def _check_independence(vad: Vad, speech: bytes) -> None:
    alone = _reports(vad.open(), _surrounded(speech))
    talking, quiet = vad.open(), vad.open()
    together: list[Report] = []
    for frame in frames(_surrounded(speech), start=_START):
        event = talking.push_frame(frame)
        if event is not None:
            together.append((frame.end, event))
        other = quiet.push_frame(Frame(bytes(FRAME_BYTES), frame.at))
        _require(other is None, f"streams know nothing of each other: the silent one said {other}")
    _require(together == alone, f"streams know nothing of each other: {together} beside another, {alone} alone")


async def _check_pace(vad: Vad, speech: bytes) -> None:
    stream, taken = vad.open(), []
    for frame in frames(_surrounded(speech), start=_START):
        before = time.thread_time()
        stream.push_frame(frame)
        taken.append(time.thread_time() - before)
    middle = statistics.median(taken)
    _require(
        middle < _PUSH_SECONDS_MAX, f"push_frame takes well under a millisecond, its median is {middle * 1000:.2f} ms"
    )


async def _check_close(vad: Vad, speech: bytes) -> None:
    await vad.aclose()
    await vad.aclose()


CHECKS: Final[tuple[Callable[[Vad, bytes], Awaitable[None]], ...]] = (
    _check_itself,
    _check_silence,
    _check_speech,
    _check_independence,
    _check_pace,
    _check_close,
)


async def check_vad(make: MakeVad, speech: bytes) -> None:
    """Run every check on a detector made by `make`. Raises `AssertionError` at the first broken promise."""
    vad = make()
    for check in CHECKS:
        await check(vad, speech)
