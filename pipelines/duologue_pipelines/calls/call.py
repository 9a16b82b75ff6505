"""One call, from ringing to hanging up, with everything about it kept for afterwards."""

import asyncio
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from duologue.audio import Samples
from duologue.errors import DuologueError
from duologue.measure import Mark, Measured, audible_spans, marks_from_voice, measure
from duologue.runtime.agent import Agent
from duologue.runtime.session import Session
from duologue.runtime.session_setup import SessionEvent
from duologue_pipelines.calls.fillers import filler_spans
from duologue_pipelines.calls.transcript import Transcript
from duologue_pipelines.transports.wav import WavTransport

Show = Callable[[SessionEvent, float], None]
INTERRUPTED: Final = 130  # the exit status of what Ctrl-C ended: 128 + SIGINT


@dataclass(frozen=True, slots=True)
class FinishedCall:
    """A call that is over. `caller`, `agent`: int16, shape (n,), at `sample_rate_hz`, sample 0 is second 0 of the
    recording.

    `offset_s`: session seconds at the recording's second 0. `costs`: what the session's meter says. `error`: what ended
    it before its time. `interrupted`: Ctrl-C or SIGTERM did. `wall_s`, `cpu_s`: of the whole process while the call
    lasted.
    """

    caller: Samples
    agent: Samples
    sample_rate_hz: int
    marks: tuple[Mark, ...]
    measured: Measured
    transcript: Transcript
    offset_s: float
    stages: dict[str, str]
    is_language_model: bool
    costs: dict[str, Any]
    wall_s: float
    cpu_s: float
    error: DuologueError | None
    interrupted: bool = False


async def run_call(
    agent: Agent, transport: WavTransport, *, trace: Path | None = None, show: Show | None = None
) -> FinishedCall:
    """Let `transport`'s caller talk to `agent` until one of them hangs up.

    `trace`: file of the event log. `show`: called with every event, and the session second. Ctrl-C and SIGTERM end the
    call like a caller who hangs up, so that what was said until then is kept; a second one is taken at its word. Raises
    what making the caller's speech raises; what goes wrong during the call is in `FinishedCall.error`.
    """
    await transport.prepare()
    await agent.ready()
    transcript = Transcript()
    wall, cpu = time.monotonic(), time.process_time()
    session, offset_s = None, 0.0
    interrupted: list[int] = []
    try:
        async with agent.session(transport, trace=trace) as session:
            with _signals_hang_up(transport, interrupted):
                await _follow(session, transcript, show)
            offset_s = transport.began - (asyncio.get_running_loop().time() - session.now())
    except DuologueError as error:
        if session is None or error is not session.error:
            raise
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    caller, spoken = transport.recording()
    rate_hz = transport.output_rate_hz
    marks = tuple(transport.marks) or tuple(marks_from_voice(caller, spoken, sample_rate_hz=rate_hz))
    stages = agent.stages
    audible = audible_spans(spoken, sample_rate_hz=rate_hz)
    fillers = filler_spans(transcript, audible, offset_s)
    return FinishedCall(
        caller,
        spoken,
        rate_hz,
        marks,
        measure(caller, spoken, marks, sample_rate_hz=rate_hz, fillers=fillers),
        transcript,
        offset_s,
        stages.names(),
        stages.llm.is_language_model,
        session.meter.report(),
        wall,
        cpu,
        session.error,
        bool(interrupted),
    )


@contextmanager
def _signals_hang_up(transport: WavTransport, taken: list[int]) -> Iterator[None]:
    """The first SIGINT or SIGTERM ends `transport`'s call and is put into `taken`; the next does what it always does.

    Outside the main thread, where signals can't be taken, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    hanging_up: list[asyncio.Task[None]] = []  # held on to: the loop alone does not

    def take(number: int, frame: object) -> None:
        taken.append(number)
        restore()
        loop.call_soon_threadsafe(lambda: hanging_up.append(loop.create_task(transport.aclose())))

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: no handler of Python's

    before = {number: signal.signal(number, take) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        restore()


async def _follow(session: Session, transcript: Transcript, show: Show | None) -> None:
    """Read everything that the session tells until it is over."""
    async for event in session.events():
        now = session.now()
        transcript.take_event(event, now)
        if show is not None:
            show(event, now)


def peak_memory_mb() -> float | None:
    """The most memory this process has had at once, in MB (10^6 bytes); None where the system does not tell."""
    if sys.platform == "win32":
        return None
    import resource  # not there on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else peak * 1024) / 1e6  # bytes there, KiB on Linux
