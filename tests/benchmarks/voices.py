"""Which voice: the same twenty sentences by each synthesiser, for docs/decisions/018.

    PYTHONPATH=tests .venv/bin/python -m benchmarks.voices piper | kokoro | kokoro:1 | kokoro:2

Prints load seconds, resident megabytes, first audio, real-time factor and the word error of whisper base. Times are the
wall clock's, CPU seconds stand beside them, since the machine may be shared.
"""

import asyncio
import re
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from rapidfuzz.distance import Levenshtein
from rich.console import Console

from duologue.core.words import normal_form
from duologue.ports.tts import SpeechAudio, SpeechRequest, Tts
from duologue_pipelines import model_cache
from duologue_pipelines.tts.kokoro import KokoroTts
from duologue_pipelines.tts.piper import PiperTts

CONSOLE: Final = Console(highlight=False)
SENTENCES: Final = (
    "Good morning.", "Could you help me, please?", "The next train leaves from platform nine.",
    "I would like a table for four people.", "That sounds wonderful, thank you.",
    "We walked along the quiet river.", "She bought a new coat last winter.", "The museum is closed on Mondays.",
    "What did you do at the weekend?", "My brother works in a hospital near the station.",
    "If it rains tomorrow, we will stay at home.", "Please turn left at the bank, then go straight on.",
    "He has never been to the mountains before.", "The soup was too hot, so we waited a little.",
    "Do you prefer tea or coffee in the morning?", "It took them almost three hours to get there.",
    "There is a small garden behind the house.", "I think that the second answer is better than the first one.",
    "When the music stopped, everybody began to talk about the concert.",
    "You can pay by card, but the machine is sometimes slow in the evening.",
)  # fmt: skip


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


async def one(tts: Tts, text: str) -> tuple[float, float, float, bytes]:
    """First audio, whole wall and CPU seconds, and the audio at 16 kHz."""
    first, pcm = 0.0, b""
    began, cpu = time.perf_counter(), time.process_time()
    async for item in tts.synthesise(SpeechRequest(text, "en", sample_rate_hz=16_000)):
        if isinstance(item, SpeechAudio):
            first = first or time.perf_counter() - began
            pcm += item.pcm
    return first, time.perf_counter() - began, time.process_time() - cpu, pcm


def errors(recogniser: Any, text: str, pcm: bytes) -> tuple[int, int]:
    audio = np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768
    found, _ = recogniser.transcribe(audio, language="en", beam_size=1)
    heard = [normal_form(w) for w in re.sub(r"[-]", " ", " ".join(s.text for s in found)).split()]
    wanted = [normal_form(w) for w in text.split()]
    return Levenshtein.distance(wanted, heard), len(wanted)


async def measure(spec: str) -> None:
    name, _, threads = spec.partition(":")
    before, began = resident_mb(), time.perf_counter()
    tts: Tts = KokoroTts(threads=int(threads or 0)) if name == "kokoro" else PiperTts("en_US-joe-medium")
    await tts.warm_up()
    CONSOLE.print(f"{spec}: loaded in {time.perf_counter() - began:.1f} s, {resident_mb() - before:.0f} MB")
    takes = [await one(tts, text) for text in SENTENCES]
    first = np.array([take[0] for take in takes]) * 1000
    seconds = sum(len(take[3]) / 32_000 for take in takes)
    wall, cpu = sum(take[1] for take in takes), sum(take[2] for take in takes)
    CONSOLE.print(f"first audio p50 {np.median(first):.0f}, p95 {np.percentile(first, 95):.0f} ms, n={len(first)}")
    CONSOLE.print(
        f"{seconds:.1f} s of speech: {wall / seconds:.3f} x real time by the clock, {cpu / seconds:.3f} in CPU"
    )
    CONSOLE.print(f"resident after it: {resident_mb() - before:.0f} MB more than before loading")
    from faster_whisper import WhisperModel

    recogniser = WhisperModel(str(model_cache.whisper_folder("base")), device="cpu", compute_type="int8", cpu_threads=1)
    counts = [errors(recogniser, text, take[3]) for text, take in zip(SENTENCES, takes, strict=True)]
    wrong, total = (sum(column) for column in zip(*counts, strict=True))
    CONSOLE.print(f"word error by whisper base: {wrong}/{total} = {wrong / total:.1%}")


if __name__ == "__main__":
    asyncio.run(measure(sys.argv[1]))
