"""A caller in memory: says what a test has scripted, hears the agent, and keeps both on one time axis.

It knows no clock but `loop.time()`, so the same script runs in virtual and in real time. Microphone frames arrive when
their last sample has been spoken, a frame of the agent that is sent at t is heard from t or from the end of the one
before, whichever is later, and `flush` takes back exactly the samples that were not heard by then. That makes the
recording as honest as one made with two microphones.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from duologue.audio import FRAME_BYTES, FRAME_SAMPLES, FRAME_SECONDS, SAMPLE_RATE_HZ, SILENCE, Frame, Samples
from duologue.core.events import Event, PlayoutReported
from duologue.errors import TransportError
from duologue.ports.transport import TransportSink

SPEECH_S_MAX: Final = 3600.0  # scripted speech that waits to be spoken; beyond it `speak` raises


@dataclass(frozen=True, slots=True)
class HeardAudio:
    """Audio of the agent as the caller heard it. `at`: session seconds of its first sample; `pcm`: mono int16."""

    at: float
    pcm: bytes


class MemoryTransport:
    """A scripted caller for tests.

    `caller`: speech from second 0 on, or (second, speech) pairs in any order; where two overlap the later one waits.
    `events`: (second, event) pairs for the sink. `hang_up`: True ends the call when the script is over, a number at
    that session second, False leaves it to `hang_up()`; silence fills the rest. `lost`: numbers of the microphone
    frames (0 is the first) that never arrive and are replaced by silence. `late`: frame number → seconds that it
    arrives late; those behind it wait for it. `record`: keep both channels (64 kB a second). All speech is mono 16 kHz
    int16.
    """

    name = "memory"

    def __init__(
        self,
        caller: bytes | Iterable[tuple[float, bytes]] = (),
        *,
        events: Iterable[tuple[float, Event]] = (),
        hang_up: bool | float = True,
        plays_far_side: bool = False,
        lost: Iterable[int] = (),
        late: Mapping[int, float] | None = None,
        record: bool = True,
    ) -> None:
        script = [(0.0, caller)] if isinstance(caller, bytes) else sorted(caller, key=lambda said: said[0])
        self._script = deque(script)
        self._events = sorted(events, key=lambda scripted: scripted[0])
        self._hangs_up = hang_up
        self._plays_far_side = plays_far_side
        self._lost = frozenset(lost)
        self._late = dict(late or {})
        self._record = record
        self._sink: TransportSink | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._origin = 0.0
        self._ended: asyncio.Future[None] | None = None
        self._closed = False
        self._timers: list[asyncio.TimerHandle] = []
        self._spoken = bytearray()  # everything that left the mouth, silence included
        self._frames = 0
        self._saying = bytearray()
        self._said: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._delivery = deque[tuple[float, bytes]]()  # frames on their late way in
        self._queue = deque[tuple[int, bytes]]()  # (first sample, pcm) of what the agent sent and may not be heard yet
        self._heard: list[tuple[int, bytes]] = []
        self._play_end = 0
        self._heard_samples = 0

    # --- the port -------------------------------------------------------------------------------------------------

    @property
    def plays_far_side(self) -> bool:
        """As told to the constructor."""
        return self._plays_far_side

    async def run(self, sink: TransportSink) -> None:
        """Speak the script into `sink` in 20 ms frames; return when the call is over."""
        if self._sink is not None:
            raise TransportError("the memory transport was run twice", hint="Make a new one for each session")
        self._sink = sink
        self._loop = loop = asyncio.get_running_loop()
        self._origin = loop.time()
        self._ended = loop.create_future()
        if self._closed:
            return
        self._timers = [loop.call_at(self._origin + at, sink.event, event) for at, event in self._events]
        if not isinstance(self._hangs_up, bool):
            self._timers.append(loop.call_at(self._origin + self._hangs_up, self.hang_up))
        self._timers.append(loop.call_at(self._origin + FRAME_SECONDS, self._tick))
        try:
            await self._ended
        finally:
            self._stop()

    def send(self, frame: Frame) -> None:
        """Hear `frame` as soon as the one before is over. After the end of the call nothing is heard."""
        if self._closed:
            return
        now = self._now_sample()
        self._settle(now)
        start = max(now, self._play_end)
        self._queue.append((start, frame.pcm))
        self._play_end = start + len(frame.pcm) // 2

    def flush(self) -> int:
        """Take back what was not heard yet; how many samples."""
        now = self._now_sample()
        self._settle(now)
        dropped = 0
        while self._queue:
            start, pcm = self._queue.pop()
            heard = max(0, now - start)
            dropped += len(pcm) // 2 - heard
            if heard:
                self._hear(start, pcm[: heard * 2])
        self._play_end = min(self._play_end, now)
        return dropped

    def unplayed(self) -> int:
        """Samples sent and not yet heard."""
        return max(0, self._play_end - self._now_sample())

    async def aclose(self) -> None:
        """Hang up; nothing more is heard."""
        if not self._closed:
            self.flush()
            self._closed = True
        self.hang_up()

    # --- what a test does -----------------------------------------------------------------------------------------

    async def speak(self, pcm: bytes) -> None:
        """Say `pcm` from now on, or behind what is being said; return when its last frame has been spoken.

        Raises `TransportError` when the call is over before that.
        """
        waiting = (len(self._saying) + sum(len(speech) for _, speech in self._script)) / 2 / SAMPLE_RATE_HZ
        if waiting > SPEECH_S_MAX:
            raise TransportError(f"{waiting:.0f} s of speech wait to be spoken, at most {SPEECH_S_MAX:.0f} may")
        if self._over:
            raise TransportError("the call is over, nobody can speak")
        begun_ago = 0 if self._saying else max(0, self._now_sample() - self._frames * FRAME_SAMPLES)
        self._saying += bytes(begun_ago * 2) + pcm
        done = asyncio.get_running_loop().create_future()
        self._said.append((len(self._saying), done))
        await done

    def event(self, event: Event) -> None:
        """Tell the sink `event` now. Raises `TransportError` before `run`."""
        if self._sink is None:
            raise TransportError("nobody listens yet", hint="Run the transport first")
        self._sink.event(event)

    def report_playout(self, reply: int, samples: int) -> None:
        """What a far side says: `samples` of `reply` were heard so far."""
        self.event(PlayoutReported(self.now, reply, samples))

    def hang_up(self) -> None:
        """End the call: `run` returns. What the agent still has to say is not heard by anybody."""
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def break_off(self, reason: str) -> None:
        """The connection breaks: `run` raises `TransportError`."""
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(TransportError(f"the connection broke: {reason}"))

    @property
    def now(self) -> float:
        """Session seconds since `run` began."""
        return 0.0 if self._loop is None else self._loop.time() - self._origin

    @property
    def played_samples(self) -> int:
        """Samples of the agent heard so far, without those flushed."""
        self._settle(now := self._now_sample())
        return self._heard_samples + (max(0, now - self._queue[0][0]) if self._queue else 0)

    @property
    def heard(self) -> tuple[HeardAudio, ...]:
        """What was heard of the agent until now, piece by piece. Empty with `record=False`."""
        self._settle(self._now_sample())
        return tuple(HeardAudio(start / SAMPLE_RATE_HZ, pcm) for start, pcm in self._heard)

    def recording(self) -> tuple[Samples, Samples]:
        """(caller, agent): int16 of the same length, sample-aligned on session time, until now.

        The caller's channel is what was said, lost frames included. Raises `TransportError` with `record=False`.
        """
        if not self._record:
            raise TransportError("nothing was recorded", hint="Make the transport with record=True")
        now = self._now_sample()
        self._settle(now)
        pieces = [*self._heard, *((start, pcm[: (now - start) * 2]) for start, pcm in self._queue if start < now)]
        spoken = np.frombuffer(bytes(self._spoken), dtype="<i2").astype(np.int16)
        length = max([len(spoken), *(start + len(pcm) // 2 for start, pcm in pieces)])
        agent = np.zeros(length, dtype=np.int16)
        for start, pcm in pieces:
            agent[start : start + len(pcm) // 2] = np.frombuffer(pcm, dtype="<i2")
        return np.pad(spoken, (0, length - len(spoken))), agent

    # --- the caller's mouth ---------------------------------------------------------------------------------------

    @property
    def _over(self) -> bool:
        return self._closed or (self._ended is not None and self._ended.done())

    def _tick(self) -> None:
        """One microphone frame is full: send it on its way, set the timer for the next."""
        assert self._loop is not None and self._ended is not None
        if self._ended.done():
            return
        pcm = self._next_frame()
        number, self._frames = self._frames, self._frames + 1
        if self._record:
            self._spoken += pcm
        self._deliver(number, SILENCE if number in self._lost else pcm)
        if self._hangs_up is True and self._script_is_over:
            self.hang_up()
            return
        self._timers[-1] = self._loop.call_at(self._origin + (self._frames + 1) * FRAME_SECONDS, self._tick)

    @property
    def _script_is_over(self) -> bool:
        speaking = self._script or self._saying or self._delivery
        return not speaking and (not self._events or self.now >= self._events[-1][0])

    def _next_frame(self) -> bytes:
        begun = self._frames * FRAME_SECONDS
        while self._script and self._script[0][0] < begun + FRAME_SECONDS - 1e-9:
            at, pcm = self._script.popleft()
            lead = max(0, round((at - begun) * SAMPLE_RATE_HZ)) if not self._saying else 0
            self._saying += bytes(lead * 2) + pcm
        if not self._saying:
            return SILENCE
        frame = bytes(self._saying[:FRAME_BYTES]).ljust(FRAME_BYTES, b"\0")
        del self._saying[:FRAME_BYTES]
        self._said = deque((left - FRAME_BYTES, done) for left, done in self._said)
        while self._said and self._said[0][0] <= 0:
            _, done = self._said.popleft()
            if not done.done():
                done.set_result(None)
        return frame

    def _deliver(self, number: int, pcm: bytes) -> None:
        assert self._loop is not None and self._sink is not None
        delay = self._late.get(number, 0.0)
        if not self._delivery and delay <= 0:
            self._sink.audio(pcm)
            return
        earliest = self._delivery[-1][0] if self._delivery else 0.0
        due = max(earliest, self._loop.time() + delay)
        self._delivery.append((due, pcm))
        self._loop.call_at(due, self._deliver_late)

    def _deliver_late(self) -> None:
        assert self._sink is not None
        if self._delivery:
            self._sink.audio(self._delivery.popleft()[1])

    def _stop(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._delivery.clear()
        for _, done in self._said:
            if not done.done():
                done.set_exception(TransportError("the call ended before everything was said"))

    # --- the caller's ear -----------------------------------------------------------------------------------------

    def _now_sample(self) -> int:
        return int(self.now * SAMPLE_RATE_HZ + 1e-3)  # the addend: 0.06 s is 960 samples, whatever binary says

    def _settle(self, now: int) -> None:
        """Move what has been heard wholly by sample `now` out of the queue."""
        while self._queue and self._queue[0][0] + len(self._queue[0][1]) // 2 <= now:
            self._hear(*self._queue.popleft())

    def _hear(self, start: int, pcm: bytes) -> None:
        self._heard_samples += len(pcm) // 2
        if self._record:
            self._heard.append((start, pcm))
