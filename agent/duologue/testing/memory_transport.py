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
from duologue.loudspeaker import Loudspeaker
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
        self.output_rate_hz = SAMPLE_RATE_HZ
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
        self._loudspeaker = Loudspeaker(record=record)

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
        if not self._closed:
            self._loudspeaker.send(frame.pcm, self._now_sample())

    def flush(self) -> int:
        """Take back what was not heard yet; how many samples."""
        return self._loudspeaker.flush(self._now_sample())

    def unplayed(self) -> int:
        """Samples sent and not yet heard."""
        return self._loudspeaker.unplayed(self._now_sample())

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
        return self._loudspeaker.played(self._now_sample())

    @property
    def heard(self) -> tuple[HeardAudio, ...]:
        """What was heard of the agent until now, piece by piece. With `record=False` only the last of it."""
        return tuple(
            HeardAudio(start / SAMPLE_RATE_HZ, pcm) for start, pcm in self._loudspeaker.pieces(self._now_sample())
        )

    def recording(self) -> tuple[Samples, Samples]:
        """(caller, agent): int16 of the same length, sample-aligned on session time, until now.

        The caller's channel is what was said, lost frames included. Raises `TransportError` with `record=False`.
        """
        if not self._record:
            raise TransportError("nothing was recorded", hint="Make the transport with record=True")
        spoken = np.frombuffer(bytes(self._spoken), dtype="<i2").astype(np.int16)
        agent = self._loudspeaker.channel(self._now_sample())
        length = max(len(spoken), len(agent))
        return np.pad(spoken, (0, length - len(spoken))), np.pad(agent, (0, length - len(agent)))

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

    def _now_sample(self) -> int:
        return int(self.now * SAMPLE_RATE_HZ + 1e-3)  # the addend: 0.06 s is 960 samples, whatever binary says
