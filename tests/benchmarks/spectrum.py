"""`python -m benchmarks.spectrum`: what of a voice is in the recording at which output rate, and what that costs.

A whole call is held for each voice and rate: the agent greets with a sentence, both sides are written to a WAV file,
and the agent's channel of the file is taken apart by frequency. A 22.05 kHz voice has sound up to 11 kHz; a session at
16 kHz can carry it up to 8.

`--svg FILE` draws the spectra, `--cost` measures what the better sound takes of the processor.
"""

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import engine, machine
from duologue import Agent, Persona, Settings, Stages
from duologue.audio import OUTPUT_RATE_HZ, Samples, band_dbfs, read_wav, write_wav
from duologue.measure import audible_spans
from duologue.ports.tts import Tts
from duologue.testing import virtual_time
from duologue.testing.memory_transport import MemoryTransport
from duologue.testing.scripted_asr import ScriptedAsr
from duologue.testing.scripted_llm import ScriptedLlm
from duologue.testing.scripted_vad import ScriptedVad
from duologue_pipelines.tts.espeak import EspeakTts
from duologue_pipelines.tts.pcm import PcmStream
from duologue_pipelines.tts.piper import PiperTts

SENTENCE: Final = "She sells sea shells, and six of these fresh fish cost just a few cents."  # rich in s and sh
RATES_HZ: Final = (16_000, OUTPUT_RATE_HZ)
BANDS_HZ: Final = ((0, 4000), (4000, 8000), (8000, 11_025))
CALL_S: Final = 12.0
MakeTts = Callable[[], Tts]


@dataclass(frozen=True, slots=True)
class Take:
    """The agent's channel of one recording: int16, shape (n,), from its first audible sample to its last."""

    voice: str
    rate_hz: int
    samples: Samples

    def band_dbfs(self, low_hz: float, high_hz: float) -> float:
        """Level of what lies between two frequencies; -inf for nothing."""
        return band_dbfs(self.samples, low_hz, high_hz, sample_rate_hz=self.rate_hz)

    def spectrum(self, step_hz: float = 100.0) -> list[tuple[float, float]]:
        """(Hz, dBFS) for each `step_hz` up to half of the rate."""
        edges = np.arange(0, self.rate_hz / 2, step_hz)
        return [(float(low + step_hz / 2), self.band_dbfs(low, low + step_hz)) for low in edges]


def take(name: str, make_tts: MakeTts, rate_hz: int, path: Path, text: str = SENTENCE) -> Take:
    """Hold a call at `rate_hz` in which the voice says `text`, write it to `path`, and read the file."""
    call = virtual_time.run(_call(make_tts, rate_hz, text))
    write_wav(path, *call.recording(), sample_rate_hz=call.output_rate_hz)
    both, written_hz = read_wav(path)
    spans = audible_spans(both[:, 1], sample_rate_hz=written_hz)
    first, last = round(spans[0].start * written_hz), round(spans[-1].end * written_hz)
    return Take(name, written_hz, both[first:last, 1])


async def _call(make_tts: MakeTts, rate_hz: int, text: str) -> MemoryTransport:
    """Nobody says a word; the agent greets."""
    transport = MemoryTransport(hang_up=CALL_S)
    stages = Stages(ScriptedVad(), ScriptedAsr(), ScriptedLlm([]), make_tts())
    agent = Agent(settings=Settings(output_rate_hz=rate_hz), stages=stages, persona=Persona("voice", greeting=text))
    async with agent, agent.session(transport) as session:
        await session.wait_closed()
    return transport


def table_of(takes: Sequence[Take]) -> Table:
    """One row a recording, one column a band."""
    table = Table(title="the agent's channel of the recording, dBFS", title_justify="left", box=None)
    table.add_column("voice")
    table.add_column("output rate", justify="right")
    for low, high in BANDS_HZ:
        table.add_column(f"{low / 1000:g}-{high / 1000:g} kHz", justify="right")
    for one in takes:
        levels = (one.band_dbfs(*band) for band in BANDS_HZ)
        cells = ("none" if math.isinf(level) else f"{level:.1f}" for level in levels)
        table.add_row(one.voice, f"{one.rate_hz} Hz", *cells)
    return table


# --- the cost -----------------------------------------------------------------------------------------------------


def resampling_ms(own_hz: int, rate_hz: int, *, chunk_s: float, runs: int) -> float:
    """Processor milliseconds a second of audio, the median of `runs` over ten seconds of noise in pieces of
    `chunk_s`."""
    seconds = 10
    noise = np.random.default_rng(1).normal(0, 0.1, seconds * own_hz).astype(np.float32)
    pieces = np.array_split(noise, round(seconds / chunk_s))
    taken = []
    for _ in range(runs):
        stream, begun = PcmStream(own_hz, rate_hz, 1.0), time.thread_time()
        for piece in pieces:
            stream.push_samples(piece)
        stream.finish()
        taken.append(time.thread_time() - begun)
    return 1000 * median(taken) / seconds


def session_ms(rates_hz: Sequence[int], *, runs: int, sessions: int, seconds: float) -> dict[int, list[float]]:
    """Processor milliseconds a session-second of the engine without models, by output rate; the rates in turns."""
    found: dict[int, list[float]] = {rate: [] for rate in rates_hz}
    for _ in range(runs):
        for rate in rates_hz:
            asked = ["load", "default", "--sessions", str(sessions), "--seconds", f"{seconds:g}"]
            result = engine.ours([*asked, "--output-rate-hz", str(rate)])
            found[rate].append(result["cpu_ms_per_session_second"])
    return found


def show_cost(console: Console, *, runs: int, sessions: int, seconds: float) -> None:
    """Print both costs."""
    table = Table(title="resampling a 22.05 kHz voice, ms CPU a second of speech", title_justify="left", box=None)
    for heading in ("to", "in pieces of 20 ms", "in pieces of 0.46 s"):
        table.add_column(heading, justify="right")
    for rate in (8_000, 16_000, 24_000, 48_000):
        cells = (f"{resampling_ms(22_050, rate, chunk_s=chunk, runs=9 * runs):.2f}" for chunk in (0.02, 0.46))
        table.add_row(f"{rate} Hz", *cells)
    console.print(table)
    for rate, each in session_ms(RATES_HZ, runs=runs, sessions=sessions, seconds=seconds).items():
        console.print(
            f"engine at {rate} Hz out: median {median(each):.2f} ms CPU a session-second "
            f"(n={len(each)} runs of {sessions} sessions for {seconds:g} s: {', '.join(f'{ms:.2f}' for ms in each)})",
            highlight=False,
        )


# --- the picture --------------------------------------------------------------------------------------------------

_WIDTH, _HEIGHT, _LEFT, _TOP = 760, 260, 60, 40
_HZ_MAX, _DB_MAX, _DB_MIN = 12_000, -30.0, -90.0
_COLOURS: Final = {RATES_HZ[0]: "#6b7280", RATES_HZ[1]: "#c2570c"}


def picture(takes: Sequence[Take]) -> str:
    """SVG: a panel a voice, a line a rate."""
    voices = list(dict.fromkeys(one.voice for one in takes))
    height = _TOP + len(voices) * (_HEIGHT + 70)
    panels = (
        _panel(_TOP + index * (_HEIGHT + 70), voice, [one for one in takes if one.voice == voice])
        for index, voice in enumerate(voices)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH + _LEFT + 30}" height="{height}" '
        f'font-family="DejaVu Sans, sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
        f"{''.join(panels)}</svg>\n"
    )


def _panel(top: float, voice: str, takes: Sequence[Take]) -> str:
    def x(hz: float) -> float:
        return _LEFT + hz / _HZ_MAX * _WIDTH

    def y(db: float) -> float:
        return top + (_DB_MAX - min(max(db, _DB_MIN), _DB_MAX)) / (_DB_MAX - _DB_MIN) * _HEIGHT

    out = [f'<text x="{_LEFT}" y="{top - 10}" font-weight="600">{voice}</text>']
    for khz in range(0, _HZ_MAX // 1000 + 1, 2):
        at = x(1000 * khz)
        out.append(f'<path d="M{at:.1f} {top}v{_HEIGHT}" stroke="#e5e7eb"/>')
        out.append(f'<text x="{at:.1f}" y="{top + _HEIGHT + 18}" text-anchor="middle">{khz} kHz</text>')
    for db in range(int(_DB_MIN), int(_DB_MAX) + 1, 20):
        out.append(f'<path d="M{_LEFT} {y(db):.1f}h{_WIDTH}" stroke="#e5e7eb"/>')
        out.append(f'<text x="{_LEFT - 8}" y="{y(db) + 4:.1f}" text-anchor="end">{db} dB</text>')
    for index, one in enumerate(takes):
        points = " ".join(f"{x(hz):.1f},{y(db):.1f}" for hz, db in one.spectrum() if hz <= _HZ_MAX)
        colour = _COLOURS.get(one.rate_hz, "#1f5fa8")
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        label = f"recorded at {one.rate_hz // 1000} kHz"
        at = _LEFT + 420 + 170 * index
        out.append(f'<text x="{at}" y="{top - 10}" fill="{colour}" font-weight="600">{label}</text>')
    return "".join(out)


def main(arguments: Sequence[str] | None = None) -> int:
    """Hold the calls, print the table, draw and measure what else is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--piper", type=Path, action="append", default=[], help="a Piper voice's .onnx, besides espeak")
    parser.add_argument("--keep", type=Path, help="folder for the recordings")
    parser.add_argument("--svg", type=Path, help="draw the spectra here")
    parser.add_argument("--cost", action="store_true", help="measure the processor time too: some minutes")
    parser.add_argument("--runs", type=int, default=5, help="of each measurement of cost")
    parser.add_argument("--sessions", type=int, default=25)
    parser.add_argument("--seconds", type=float, default=20.0)
    asked = parser.parse_args(arguments)
    console = Console()
    voices: dict[str, MakeTts] = {"espeak": EspeakTts}
    voices |= {path.stem: lambda path=path: PiperTts(str(path)) for path in asked.piper}  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder:
        kept = asked.keep or Path(folder)
        takes = [
            take(name, make, rate, kept / f"{name}-{rate}.wav") for name, make in voices.items() for rate in RATES_HZ
        ]
    console.print(table_of(takes))
    if asked.svg:
        asked.svg.write_text(picture(takes), encoding="utf-8")
        console.print(f"written: {asked.svg}", highlight=False)
    if asked.cost:
        console.print(machine.headline(machine.describe()), highlight=False)
        show_cost(console, runs=asked.runs, sessions=asked.sessions, seconds=asked.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
