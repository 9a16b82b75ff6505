"""`python tests/benchmarks/partials.py`: is what the recogniser calls stable stable, and how soon does it know?

People's clips out of ../shared (LibriSpeech, learners, telephone) are fed in 20 ms frames to the recogniser, with the
detector's own stops asking for finals, on a clock where a decode takes the CPU seconds that it cost. Printed are: how
many partials called words stable that a later hypothesis of the turn took back; how long after a word's end it became
stable; when the words judge an interruption over the agent; finals after the speech end; word error of the last final
beside faster-whisper's own transcription of the whole clip. `--sessions 8` plays eight callers at once.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from rapidfuzz.distance import Levenshtein

from benchmarks import machine
from benchmarks.priced_loop import PricedLoop
from duologue.audio import FRAME_SECONDS, INPUT_RATE_HZ, Samples, frames
from duologue.core.barge_in import Verdict, judge_words
from duologue.core.events import PartialTranscript
from duologue.core.policy import BargeInPolicy
from duologue.core.turns import settled_words
from duologue.core.words import normal_form, split_words
from duologue.ports.asr import AsrContext, Hypothesis
from duologue.ports.vad import Offset, Onset
from duologue_pipelines.asr.whisper import WhisperAsr
from duologue_pipelines.vad.silero import SileroVad

_BESIDE: Final = Path(__file__).resolve().parents[3] / "shared"
SHARED: Final = Path(os.environ.get("DUOLOGUE_SHARED", _BESIDE)) / "data/speech"
# By the beginning of the clip's name. A telephone's band is made of native speech, the set has a single dialogue.
SOURCES: Final = {"native": "ls_", "learners": "so_", "telephone": "ls_"}
TAIL_S: Final = 1.5
SPEECH_BELOW_PEAK_DB: Final = 25.0  # blocks of 10 ms that reach this much below the loudest are speech
_BLOCK: Final = 160


@dataclass(frozen=True, slots=True)
class Clip:
    """A person's utterance. `samples`: 16 kHz int16 with silence behind; `speech_end_s`: its last voiced sample."""

    name: str
    source: str
    text: str
    samples: Samples
    speech_end_s: float


@dataclass(slots=True)
class Listened:
    """One clip by the recogniser. `told`: each hypothesis and the second it came. `judged_s`: from the detector's onset
    to the words' verdict that this interrupts, None where there was none. `final_s`: after the speech end."""

    clip: Clip
    told: list[tuple[float, Hypothesis]] = field(default_factory=list)
    onset_s: float | None = None
    judged_s: float | None = None
    final_s: float | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """What came out over all clips. Times in seconds: medians and 95th percentiles, NaN where there are none.

    `partials`; `claiming`: those with stable words; `changed`: those whose stable words a later hypothesis of the turn
    does not begin with. `stable_before_final`: share of the final's words that were stable before it.
    """

    model: str
    clips: int
    audio_s: float
    partials: int
    claiming: int
    changed: int
    stable_p50_s: float
    stable_p95_s: float
    stable_before_final: float
    judged_p50_s: float
    judged_p95_s: float
    final_p50_s: float
    final_p95_s: float
    cpu_per_session_s: float
    queue_p95_s: float
    word_error: float
    one_shot_word_error: float | None


def clips(count: int, *, folder: Path = SHARED, split: str = "") -> Iterator[Clip]:
    """`count` clips a source, those whose manifest's split begins with `split`."""
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    for source, prefix in SOURCES.items():
        chosen = [r for r in rows if Path(r["file"]).name.startswith(prefix) and r["split"].startswith(split)]
        start = count if source == "telephone" else 0  # other people than the native ones
        for row in chosen[start : start + count]:
            samples = _read(folder / row["file"])
            if source == "telephone":
                samples = telephone(samples)
            tail = np.random.default_rng(1).integers(-2, 3, int(TAIL_S * INPUT_RATE_HZ)).astype("<i2")
            end = speech_end_s(samples)
            yield Clip(Path(row["file"]).stem, source, row["text"], np.concatenate([samples, tail]), end)


def telephone(samples: Samples) -> Samples:
    """`samples` through 8 kHz, 300 to 3,400 Hz and the 8 bits of µ-law."""
    spectrum = np.fft.rfft(samples.astype(float))
    hertz = np.fft.rfftfreq(len(samples), 1 / INPUT_RATE_HZ)
    spectrum[(hertz < 300) | (hertz > 3400)] = 0
    level = np.clip(np.fft.irfft(spectrum, len(samples)) / 32768, -1, 1)
    coded = np.round(127 * np.sign(level) * np.log1p(255 * np.abs(level)) / np.log(256)) / 127
    plain: Samples = (32767 * np.sign(coded) * (256 ** np.abs(coded) - 1) / 255).astype("<i2")
    return plain


def speech_end_s(samples: Samples) -> float:
    """The end of the last block that is loud enough to be speech."""
    blocks = samples[: len(samples) // _BLOCK * _BLOCK].reshape(-1, _BLOCK).astype(float)
    level = np.sqrt((blocks**2).mean(axis=1))
    return float((np.flatnonzero(level > level.max() * 10 ** (-SPEECH_BELOW_PEAK_DB / 20))[-1] + 1) * 0.01)


def _read(path: Path) -> Samples:
    with av.open(str(path)) as source:
        samples: Samples = np.concatenate([frame.to_ndarray().reshape(-1) for frame in source.decode(audio=0)])
    return samples


async def listen(asr: WhisperAsr, vad: SileroVad, clip: Clip) -> Listened:
    """Play `clip` to the recogniser in time; a final is asked for at each stop of the detector, and at the end."""
    loop = asyncio.get_running_loop()
    heard, detector, stream = Listened(clip), vad.open(), asr.open(AsrContext(language="en"))
    begun, mark, finals = loop.time(), 0, asyncio.Event()

    async def read() -> None:
        async for hypothesis in stream:
            _take(heard, hypothesis, loop.time() - begun)
            if hypothesis.final and hypothesis.mark == mark:
                finals.set()

    reading = asyncio.create_task(read())
    for frame in frames(clip.samples.tobytes()):
        await asyncio.sleep(begun + frame.end - loop.time())
        stream.push_frame(frame)
        event = detector.push_frame(frame)
        if isinstance(event, Onset) and heard.onset_s is None:
            heard.onset_s = event.since
        if isinstance(event, Offset):
            mark += 1
            finals.clear()
            stream.finalise(mark)
    mark += 1  # what the detector missed at the end is owed to the words, not to the clock
    finals.clear()
    stream.finalise(mark)
    await finals.wait()
    await stream.aclose()
    await reading
    return heard


def _take(heard: Listened, hypothesis: Hypothesis, at: float) -> None:
    heard.told.append((at, hypothesis))
    if (
        hypothesis.final and at < len(heard.clip.samples) / INPUT_RATE_HZ
    ):  # the last one counts: it is the answer to the detector's last stop
        heard.final_s = at - heard.clip.speech_end_s
    if heard.judged_s is None:
        event = PartialTranscript(at, 1, hypothesis.text, hypothesis.stable)
        words = hypothesis.text if hypothesis.final else settled_words(event)
        if judge_words(words, BargeInPolicy()) is Verdict.INTERRUPTION:
            heard.judged_s = at - (heard.onset_s or 0.0)


async def listen_all(asr: WhisperAsr, chosen: Sequence[Clip], sessions: int) -> list[Listened]:
    """All clips, `sessions` of them side by side, each caller beginning a little later than the one before."""
    vad = SileroVad()
    await vad.warm_up()
    await asr.warm_up()
    waiting = list(chosen)

    async def caller(number: int) -> list[Listened]:
        await asyncio.sleep(0.37 * number)
        heard = []
        while waiting:
            heard.append(await listen(asr, vad, waiting.pop(0)))
        return heard

    found = await asyncio.gather(*(caller(number) for number in range(sessions)))
    await asr.aclose()
    return [heard for each in found for heard in each]


def forms(text: str) -> list[str]:
    """The words of `text` as they are compared."""
    return [form for form in map(normal_form, split_words(text)) if form]


def _stable_forms(hypothesis: Hypothesis) -> list[str]:
    return forms(" ".join(split_words(hypothesis.text)[: hypothesis.stable]))


def changed(told: Sequence[Hypothesis]) -> int:
    """How many partials of a turn called words stable that a later hypothesis does not begin with."""
    count = 0
    for index, hypothesis in enumerate(told):
        stable = _stable_forms(hypothesis)
        later = told[index + 1 :]
        count += not hypothesis.final and any(forms(after.text)[: len(stable)] != stable for after in later)
    return count


def stable_delays(heard: Listened) -> list[float | None]:
    """For each word of the last final: seconds from its end until it was stable before that final; None: it wasn't."""
    final_at, last = next((at, h) for at, h in reversed(heard.told) if h.final)
    before = [(at, h) for at, h in heard.told if at < final_at]
    delays: list[float | None] = []
    for position, word in enumerate(last.words):
        at = next((at for at, h in before if h.stable > position), None)
        delays.append(None if at is None else at - word.end)
    return delays


def word_error(texts: Sequence[tuple[str, str]]) -> float:
    """Errors a word over pairs of (reference, recognised)."""
    words = sum(len(forms(reference)) for reference, _ in texts)
    return sum(Levenshtein.distance(forms(a), forms(b)) for a, b in texts) / max(1, words)


def one_shot(asr: WhisperAsr, chosen: Sequence[Clip]) -> float:
    """Word error of faster-whisper's own greedy transcription."""
    asr.decoder.load()
    model = asr.decoder._model
    pairs = []
    for clip in chosen:
        samples = clip.samples.astype(np.float32) / 32768
        found, _ = model.transcribe(samples, beam_size=1, language="en", without_timestamps=True)
        pairs.append((clip.text, " ".join(segment.text for segment in found)))
    return word_error(pairs)


def measure(options: dict[str, Any], chosen: Sequence[Clip], *, sessions: int, compare: bool) -> Figures:
    """Play all of `chosen` to a recogniser of these options."""
    asr = WhisperAsr(**options)
    loop = PricedLoop(asr.workers)
    try:
        heard = loop.run_until_complete(listen_all(asr, chosen, sessions))
    finally:
        loop.close()
    audio_s = sum(len(clip.samples) for clip in chosen) / INPUT_RATE_HZ
    told = [[h for _, h in each.told] for each in heard]
    partials = [h for each in told for h in each if not h.final]
    delays = [delay for each in heard for delay in stable_delays(each)]
    stable = _spread([delay for delay in delays if delay is not None])
    judged = _spread([each.judged_s for each in heard if each.judged_s is not None])
    finals = _spread([each.final_s for each in heard if each.final_s is not None])
    return Figures(
        asr.model, len(chosen), round(audio_s, 1), len(partials), sum(h.stable > 0 for h in partials),
        sum(map(changed, told)), *stable, round(sum(d is not None for d in delays) / max(1, len(delays)), 3), *judged,
        *finals, round(loop.cost_s / audio_s, 3), _spread(loop.waits_s)[1],
        round(word_error([(each.clip.text, _final(each)) for each in heard]), 4),
        round(one_shot(asr, chosen), 4) if compare else None,
    )  # fmt: skip


def _final(heard: Listened) -> str:
    return next(h.text for _, h in reversed(heard.told) if h.final)


def _spread(values: Sequence[float]) -> tuple[float, float]:
    if not values:
        return float("nan"), float("nan")
    return round(float(np.percentile(values, 50)), 3), round(float(np.percentile(values, 95)), 3)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures as JSON, one object a model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", action="append", help="tiny.en and base unless named; may be repeated")
    parser.add_argument("--clips", type=int, default=20, help="a source")
    parser.add_argument("--split", default="", help="how the manifest's split begins")
    parser.add_argument("--sessions", type=int, default=1)
    parser.add_argument("--compare", action="store_true", help="with faster-whisper's own transcription")
    parser.add_argument("--options", default="{}", help="of the recogniser, as JSON")
    asked = parser.parse_args(arguments)
    chosen = list(clips(asked.clips, split=asked.split))
    print(machine.headline(machine.describe()), f"· {asked.sessions} sessions, frames of {FRAME_SECONDS:g} s")  # noqa: T201
    for model in asked.model or ("tiny.en", "base"):
        options = {"model": model, **json.loads(asked.options)}
        figures = measure(options, chosen, sessions=asked.sessions, compare=asked.compare)
        print(json.dumps(asdict(figures)), flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
