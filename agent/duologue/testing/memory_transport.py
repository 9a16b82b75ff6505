"""A caller in memory: says what a test has scripted, hears the agent, and keeps both on one time axis.

It knows no clock but `loop.time()`, so the same script runs in virtual and in real time. Microphone frames arrive when
their last sample has been spoken, a frame of the agent that is played at t is heard from t or from the end of the one
before, whichever is later, and a cut takes back exactly the samples that were not heard by then. That makes the
recording as honest as one made with two microphones.

`MemoryTransport` plays in our sight, `RemoteMemoryTransport` reports what it has played, as often as it is told to.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from duologue.audio import (
    FRAME_BYTES,
    FRAME_SAMPLES,
    FRAME_SECONDS,
    INPUT_RATE_HZ,
    OUTPUT_RATE_HZ,
    SILENCE,
    Samples,
)
from duologue.core.events import Event
from duologue.errors import TransportError
from duologue.loudspeaker import Loudspeaker
from duologue.ports.transport import WAITING_SECONDS_MAX, TransportSink

SPEECH_S_MAX: Final = 3600.0  # scripted speech that waits to be spoken; beyond it `speak` raises
REPLIES_KEPT: Final = 64  # of which a remote player knows how much it has played


@dataclass(frozen=True, slots=True)
class HeardAudio:
    """Audio of the agent as the caller heard it. `at`: session seconds of its first sample; `pcm`: mono int16, at the
    output rate."""

    at: float
    pcm: bytes


class _MemoryCaller:
    """A scripted caller: what both memory transports have in common."""

    name = "memory"

    def __init__(
        self,
        caller: bytes | Iterable[tuple[float, bytes]] = (),
        *,
        events: Iterable[tuple[float, Event]] = (),
        hang_up: bool | float = True,
        lost: Iterable[int] = (),
        late: Mapping[int, float] | None = None,
        record: bool = True,
    ) -> None:
        script = [(0.0, caller)] if isinstance(caller, bytes) else sorted(caller, key=lambda said: said[0])
        self._script = deque(script)
        self._events = sorted(events, key=lambda scripted: scripted[0])
        self._hangs_up = hang_up
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
        self.output_rate_hz = OUTPUT_RATE_HZ  # of the agent's audio; the session's from `run` on

    # --- the port -------------------------------------------------------------------------------------------------

    async def run(self, sink: TransportSink) -> None:
        """Speak the script into `sink` in 20 ms frames; return when the call is over."""
        if self._sink is not None:
            raise TransportError("the memory transport was run twice", hint="Make a new one for each session")
        self._sink = sink
        self.output_rate_hz = sink.output_rate_hz
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

    def play(self, pcm: bytes, reply: int) -> None:
        """Hear `pcm` as soon as the frame before is over. After the end of the call nothing is heard.

        Raises `TransportError` where more than `WAITING_SECONDS_MAX` would wait.
        """
        if self._closed:
            return
        now = self._now_sample()
        if self._loudspeaker.unplayed(now) > WAITING_SECONDS_MAX * self.output_rate_hz:
            raise TransportError(f"{WAITING_SECONDS_MAX:g} s of the agent wait to be heard, no more is taken")
        self._loudspeaker.send(pcm, now)

    def end_reply(self, reply: int) -> None:
        """Nothing to do: what was played is heard, and then there is silence."""

    def _take_back(self) -> bytes:
        return self._loudspeaker.take_back(self._now_sample())

    async def aclose(self) -> None:
        """Hang up; nothing more is heard."""
        if not self._closed:
            self._take_back()
            self._closed = True
        self.hang_up()

    # --- what a test does -----------------------------------------------------------------------------------------

    async def speak(self, pcm: bytes) -> None:
        """Say `pcm` from now on, or behind what is being said; return when its last frame has been spoken.

        Raises `TransportError` when the call is over before that.
        """
        waiting = (len(self._saying) + sum(len(speech) for _, speech in self._script)) / 2 / INPUT_RATE_HZ
        if waiting > SPEECH_S_MAX:
            raise TransportError(f"{waiting:.0f} s of speech wait to be spoken, at most {SPEECH_S_MAX:.0f} may")
        if self._over:
            raise TransportError("the call is over, nobody can speak")
        begun_ago = 0 if self._saying else max(0, round(self.now * INPUT_RATE_HZ) - self._frames * FRAME_SAMPLES)
        self._saying += bytes(begun_ago * 2) + pcm
        done = asyncio.get_running_loop().create_future()
        self._said.append((len(self._saying), done))
        await done

    def event(self, event: Event) -> None:
        """Tell the sink `event` now. Raises `TransportError` before `run`."""
        if self._sink is None:
            raise TransportError("nobody listens yet", hint="Run the transport first")
        self._sink.event(event)

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
        """Samples of the agent heard so far, at the output rate, without those taken back."""
        return self._loudspeaker.played(self._now_sample())

    @property
    def played_s(self) -> float:
        """Seconds of the agent heard so far."""
        return self.played_samples / self.output_rate_hz

    @property
    def heard(self) -> tuple[HeardAudio, ...]:
        """What was heard of the agent until now, piece by piece. With `record=False` only the last of it."""
        return tuple(
            HeardAudio(start / self.output_rate_hz, pcm) for start, pcm in self._loudspeaker.pieces(self._now_sample())
        )

    def recording(self) -> tuple[Samples, Samples]:
        """(caller, agent): int16 of the same length at the output rate, sample-aligned on session time, until now.

        The caller's channel is what was said, lost frames included, brought to that rate by linear interpolation: good
        to measure, not to listen to. Raises `TransportError` with `record=False`.
        """
        if not self._record:
            raise TransportError("nothing was recorded", hint="Make the transport with record=True")
        spoken = _at_rate(np.frombuffer(bytes(self._spoken), dtype="<i2"), self.output_rate_hz)
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
            lead = max(0, round((at - begun) * INPUT_RATE_HZ)) if not self._saying else 0
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
        return int(self.now * self.output_rate_hz + 1e-3)  # the addend: 0.06 s are 1440 samples, whatever binary says


class MemoryTransport(_MemoryCaller):
    """A scripted caller for tests.

    `caller`: speech from second 0 on, or (second, speech) pairs in any order; where two overlap the later one waits.
    `events`: (second, event) pairs for the sink. `hang_up`: True ends the call when the script is over, a number at
    that session second, False leaves it to `hang_up()`; silence fills the rest. `lost`: numbers of the microphone
    frames (0 is the first) that never arrive and are replaced by silence. `late`: frame number → seconds that it
    arrives late; those behind it wait for it. `record`: keep both channels (80 kB a second). All speech is mono 16 kHz
    int16.
    """

    reports_playout = False

    def unplayed(self) -> int:
        """Samples sent and not yet heard."""
        return self._loudspeaker.unplayed(self._now_sample())

    def cut_reply(self, reply: int) -> int:
        """Take back what was not heard yet; how many samples."""
        return len(self._take_back()) // 2


class RemoteMemoryTransport(_MemoryCaller):
    """A scripted caller, as `MemoryTransport`, whose player reports.

    `report_every_s`: so often, when a reply is over, and where a cut or a hold silenced it; None leaves it to
    `report_playout`. `can_hold`: as the port says.
    """

    reports_playout = True

    def __init__(
        self,
        caller: bytes | Iterable[tuple[float, bytes]] = (),
        *,
        report_every_s: float | None = None,
        can_hold: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(caller, **options)
        self.can_hold = can_hold
        self._report_every_s = report_every_s
        self._sent: dict[int, int] = {}  # reply → samples sent and not taken back; the newest `REPLIES_KEPT`
        self._told: tuple[int, int] = (0, 0)
        self._kept: bytes | None = None  # what is held

    async def run(self, sink: TransportSink) -> None:
        """As ever; and report."""
        reporting = None
        if self._report_every_s is not None:
            reporting = asyncio.ensure_future(self._report_all_the_time(self._report_every_s))
        try:
            await super().run(sink)
        finally:
            if reporting:
                reporting.cancel()

    def play(self, pcm: bytes, reply: int) -> None:
        """As ever; what comes in a hold is kept with the rest."""
        if self._kept is None:
            super().play(pcm, reply)
        else:
            self._kept += pcm
        self._sent[reply] = self._sent.get(reply, 0) + len(pcm) // 2
        for oldest in list(self._sent)[:-REPLIES_KEPT]:
            del self._sent[oldest]

    def cut_reply(self, reply: int) -> None:
        """Drop what was not heard."""
        self._drop(len(self._take_back()) + len(self._kept or b""))
        self._kept = None
        self._report_now()

    def hold_reply(self, reply: int) -> None:
        """Fall silent, keep everything."""
        if self._kept is None:
            self._kept = self._take_back()
            self._report_now()

    def resume_reply(self, reply: int) -> None:
        """Go on where it was held."""
        if self._kept is not None:
            self._loudspeaker.send(self._kept, self._now_sample())
            self._kept = None

    def played_of(self, reply: int) -> int:
        """Samples of `reply` that were heard until now, as the player counts them."""
        waiting = self._loudspeaker.unplayed(self._now_sample()) + len(self._kept or b"") // 2
        for number in sorted(self._sent, reverse=True):
            if number == reply:
                return self._sent[number] - min(waiting, self._sent[number])
            waiting -= min(waiting, self._sent[number])
        return 0

    def report_playout(self, reply: int, samples: int) -> None:
        """Tell the sink that so much of `reply` was heard, true or not. Raises `TransportError` before `run`."""
        if self._sink is None:
            raise TransportError("nobody listens yet", hint="Run the transport first")
        self._sink.played(reply, samples)

    def _drop(self, size: int) -> None:
        left = size // 2
        for reply in sorted(self._sent, reverse=True):
            taken = min(left, self._sent[reply])
            self._sent[reply] -= taken
            left -= taken

    async def _report_all_the_time(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            self._report_now()

    def _report_now(self) -> None:
        reply = max(self._sent, default=0)
        told = (reply, self.played_of(reply))
        if self._report_every_s is not None and reply and told != self._told and not self._over:
            self._told = told
            self.report_playout(*told)


def _at_rate(samples: Samples, rate_hz: int) -> Samples:
    if rate_hz == INPUT_RATE_HZ or not len(samples):
        return samples.astype(np.int16)
    at = np.arange(len(samples) * rate_hz // INPUT_RATE_HZ) * (INPUT_RATE_HZ / rate_hz)
    between: Samples = np.interp(at, np.arange(len(samples)), samples).astype(np.int16)
    return between
