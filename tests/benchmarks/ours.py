"""Our engine under the script, in real time: one mode a process, JSON on standard output.

    python -m benchmarks.ours latency|barge|noise|load|memory default|tuned [--turns 20] [--sessions 25] [--seconds 40]

Latencies are read off the recording of both channels by `duologue.measure`.
"""

import argparse
import asyncio
import gc
import json
import math
import os
import sys
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from benchmarks.stages import LONG_REPLY, SHORT_REPLY, Script, voice
from duologue.audio import FRAME_SECONDS, OUTPUT_RATE_HZ
from duologue.core.conversation import Phase
from duologue.core.history import AgentItem
from duologue.measure import ActMeasured, Mark, UtteranceKind, audible_spans, measure
from duologue.ports import LlmRequest, SpeechAudio, SpeechRequest, TextDelta
from duologue.runtime.session import Session
from duologue.testing.memory_transport import MemoryTransport
from duologue.testing.scripted_tts import words_with_places
from duologue.text.chunking import Chunker

VAD_MS: Final = 20  # the frame that shows the detector that the voice has paused
STAGE_RUNS: Final = 5
WARM_UP_S: Final = 6.0
WAIT_S_MAX: Final = 30.0


class Call:
    """One caller and one session under way."""

    def __init__(self, script: Script, configuration: str, *, record: bool) -> None:
        self.script = script
        self.transport = MemoryTransport(hang_up=False, record=record)
        self.session = Session(self.transport, script.setup(configuration))
        self.marks: list[Mark] = []

    async def speak(self, kind: UtteranceKind, pcm: bytes) -> None:
        """Say `pcm` and mark when that was."""
        begun = self.transport.now
        await self.transport.speak(pcm)
        self.marks.append(Mark(kind, begun, self.transport.now))

    async def until(self, *phases: Phase) -> None:
        """Wait for one of `phases`. Raises `TimeoutError`."""
        given_up_at = time.monotonic() + WAIT_S_MAX
        while self.session.phase not in phases:
            if time.monotonic() > given_up_at:
                raise TimeoutError(f"{WAIT_S_MAX:.0f} s in phase {self.session.phase}, {phases} never came")
            await asyncio.sleep(0.01)

    async def turn(self, pcm: bytes) -> None:
        """Ask, and hear the answer to its end."""
        await self.speak("turn", pcm)
        await self.until(Phase.AGENT_SPEAKING)
        await self.until(Phase.LISTENING)

    def acts(self) -> list[ActMeasured]:
        """What the waveform says of each mark."""
        return list(measure(*self.transport.recording(), self.marks, sample_rate_hz=self.transport.output_rate_hz).acts)


async def stages_ms(script: Script) -> float:
    """What the stages take by themselves, one called by hand after the other: the median of a few runs.

    The detector's frame, the tokens until the first chunk is one, the first audio. Their timers fire a little late, as
    everybody's do on a loop; that is no overhead of the engine.
    """
    taken = []
    for _ in range(STAGE_RUNS):
        begun = time.perf_counter()
        chunker = Chunker()
        async with aclosing(script.llm.stream(LlmRequest(()))) as items:
            async for item in items:
                if isinstance(item, TextDelta) and (chunks := chunker.push_text(item.text)):
                    break
        async with aclosing(
            script.tts.synthesise(SpeechRequest(chunks[0], sample_rate_hz=script.output_rate_hz))
        ) as items:
            async for item in items:
                if isinstance(item, SpeechAudio):
                    break
        taken.append(time.perf_counter() - begun)
    return VAD_MS + 1000 * median(taken)


async def latency(configuration: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Question and answer, over and over."""
    script = Script(SHORT_REPLY, asked.output_rate_hz)
    call = Call(script, configuration, record=True)
    async with call.session:
        await asyncio.sleep(0.5)
        for index in range(asked.turns + 1):
            await call.turn(voice(0.8, index))
            await asyncio.sleep(0.4 + 0.013 * (index % 5))
        acts = call.acts()[1:]  # the first turn warms up
        await call.session.close(finish=False)
    stages = await stages_ms(script)
    endpoint = 1000 * script.setup(configuration).policy.endpointing.complete_s
    return {
        "response_ms": _ms(_response_s(act) for act in acts),
        "stages_ms": stages,
        "endpoint_ms": endpoint,
        "configured_ms": max(endpoint, stages),  # the one hides behind the other
    }


def _response_s(act: ActMeasured) -> float | None:
    """From the end of the last voiced *frame*, where the script has the final transcript and the peers their clock's
    start, to the agent's first audible sample."""
    if act.response_s is None:
        return None
    last_frame_end = math.ceil(act.voice.end / FRAME_SECONDS - 1e-6) * FRAME_SECONDS
    return act.voice.end + act.response_s - last_frame_end


async def barge(configuration: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Interrupt long replies at any point; compare what the history keeps with what was played."""
    call = Call(Script(LONG_REPLY, asked.output_rate_hz), configuration, record=True)
    off: list[float] = []
    async with call.session:
        await asyncio.sleep(0.5)
        await call.speak("turn", voice(0.8))
        for index in range(asked.turns):
            await call.until(Phase.AGENT_SPEAKING)
            begun = call.transport.now
            await asyncio.sleep(0.9 + 0.217 * (index % 9))
            cut_from = call.transport.now
            await call.speak("interruption", voice(1.0, index))
            await call.until(Phase.THINKING, Phase.AGENT_SPEAKING)
            off.append(abs(_kept(call.session) - _played_words(call, begun - 0.2, cut_from + 0.9)))
        acts = [act for act in call.acts() if act.mark.kind == "interruption"]
        await call.session.close(finish=False)
    return {"hold_ms": _ms(act.yield_s for act in acts), "words_off": off}


async def noise(configuration: str, asked: argparse.Namespace) -> dict[str, Any]:
    """A 300 ms cough in the middle of a long reply: how long the agent was silent for it, and what was never heard."""
    dead_air: list[float | None] = []
    lost: list[float] = []
    for index in range(asked.turns):
        call = Call(Script(LONG_REPLY, asked.output_rate_hz), configuration, record=True)
        async with call.session:
            await asyncio.sleep(0.2)
            await call.speak("turn", voice(0.8))
            await call.until(Phase.AGENT_SPEAKING)
            begun = call.transport.now
            await asyncio.sleep(2.0 + 0.217 * index)
            call.script.heard = ""  # it hears nothing in a cough
            await call.speak("noise", voice(0.3, index))
            await asyncio.sleep(1.0)
            await call.until(Phase.LISTENING)
            kept, played = _kept(call.session), _played_words(call, begun - 0.2, call.transport.now)
            lost.append(len(words_with_places(LONG_REPLY)) - min(kept, played))
            dead_air += [act.dead_air_s for act in call.acts() if act.mark.kind == "noise"]
            await call.session.close(finish=False)
    return {"dead_air_ms": _ms(dead_air), "words_lost": lost}


def _kept(session: Session) -> int:
    """Words of the latest reply in the history."""
    said = [item for item in session.conversation.history if isinstance(item, AgentItem)]
    return len(words_with_places(said[-1].text)) if said else 0


def _played_words(call: Call, begun: float, end: float) -> int:
    """Words of the long reply that the agent's channel holds between two session seconds, a half counted as a whole.

    Each word is a tone of known length, without a gap between two. A word that a resume repeats is counted once: what
    was played of it before the hold is not enough for two.
    """
    _, agent = call.transport.recording()
    rate_hz = call.transport.output_rate_hz
    heard = agent[int(begun * rate_hz) : int(end * rate_hz)]
    seconds = sum(span.seconds for span in audible_spans(heard, sample_rate_hz=rate_hz))
    words = words_with_places(LONG_REPLY)
    letters = [sum(char.isalnum() for char in LONG_REPLY[start:stop]) for start, stop in words]
    position = 0.0
    for index, count in enumerate(letters):
        length = count * call.script.tts.seconds_per_char
        if seconds < position + length / 2:
            return index
        position += length
    return len(words)


async def load(configuration: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Many sessions at once, frames both ways: processor time a session-second."""
    async with asyncio.TaskGroup() as group:
        calls = _converse(group, configuration, asked)
        await asyncio.sleep(WARM_UP_S)
        begun, used = time.perf_counter(), time.process_time()
        await asyncio.sleep(asked.seconds)
        seconds, used = time.perf_counter() - begun, time.process_time() - used
        await _stop(calls)
    return {
        "cpu_ms_per_session_second": 1000 * used / seconds / asked.sessions,
        "replies": sum(call.session.meter.replies for call in calls),
        "seconds": seconds,
    }


async def memory(configuration: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Many sessions that talk for minutes: what a session takes, and what it grows by."""
    gc.collect()
    before = _rss_mb()
    async with asyncio.TaskGroup() as group:
        calls = _converse(group, configuration, asked)
        await asyncio.sleep(min(2 * WARM_UP_S, asked.seconds / 2))
        begun = time.perf_counter()
        samples = [(0.0, _settled_mb())]
        while (since := time.perf_counter() - begun) < asked.seconds:
            await asyncio.sleep(min(5.0, asked.seconds - since))
            for call in calls:
                call.script.forget()
            samples.append((time.perf_counter() - begun, _settled_mb()))
        await _stop(calls)
    at, mb = np.array(samples[len(samples) // 2 :]).T  # in the first half buffers fill to their bounds
    slope_mb_s = float(np.polyfit(at, mb, 1)[0]) if len(at) > 1 else 0.0
    return {
        "mb_per_session": (max(mb) - before) / asked.sessions,
        "mb_per_session_minute": 60 * slope_mb_s / asked.sessions,
        "rss_mb": [round(mb, 2) for _, mb in samples],
        "at_s": [round(at, 1) for at, _ in samples],
    }


def _converse(group: asyncio.TaskGroup, configuration: str, asked: argparse.Namespace) -> list[Call]:
    """Begin the sessions, each a little after the one before, as tasks of `group`."""
    script = Script(SHORT_REPLY, asked.output_rate_hz)
    calls = [Call(script, configuration, record=False) for _ in range(asked.sessions)]
    speech = voice(2.0)

    async def converse(call: Call, delay_s: float) -> None:
        async with call.session:
            await asyncio.sleep(delay_s)
            while not call.session.closed:
                await call.speak("turn", speech)
                call.marks.clear()
                await call.until(Phase.AGENT_SPEAKING, Phase.CLOSED)
                await call.until(Phase.LISTENING, Phase.CLOSED)
                await asyncio.sleep(0.8)

    for index, call in enumerate(calls):
        group.create_task(converse(call, 1.0 + 4.0 * index / len(calls)))
    return calls


async def _stop(calls: list[Call]) -> None:
    """Hang up everywhere, each between two turns of its own."""
    for call in calls:
        await call.until(Phase.LISTENING)
        await call.session.close(finish=False)


def _settled_mb() -> float:
    gc.collect()
    return _rss_mb()


def _rss_mb() -> float:
    """Resident memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _ms(seconds: Any) -> list[float]:
    return [round(1000 * value, 3) for value in seconds if value is not None]


MODES: Final[dict[str, Callable[..., Any]]] = {
    "latency": latency,
    "barge": barge,
    "noise": noise,
    "load": load,
    "memory": memory,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("configuration", choices=("default", "tuned"))
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--sessions", type=int, default=25)
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--output-rate-hz", type=int, default=OUTPUT_RATE_HZ)
    arguments = parser.parse_args()
    result = asyncio.run(MODES[arguments.mode](arguments.configuration, arguments))
    sys.stdout.write(json.dumps(result) + "\n")
