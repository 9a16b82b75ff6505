"""A call as a folder: the recording, the transcript, the report and the picture.

`trace.jsonl` is written by the session itself while the call lasts.
"""

import json
import math
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from duologue.audio import write_wav
from duologue.errors import ConfigurationError
from duologue.measure import ActMeasured, Summary
from duologue_pipelines.calls.call import FinishedCall, peak_memory_mb
from duologue_pipelines.calls.fillers import filler_span
from duologue_pipelines.calls.timeline import Caption, Cut, Delay, Stretch, StretchKind, TimelineData, render_timeline
from duologue_pipelines.calls.transcript import AgentReply

RECORDING: Final = "conversation.wav"
TRANSCRIPT: Final = "transcript.json"
TRACE: Final = "trace.jsonl"
TIMELINE: Final = "timeline.svg"
REPORT: Final = "report.json"


def make_folder(out: Path) -> None:
    """Make `out` before the call, so that nobody learns afterwards that it can't be. Raises `ConfigurationError`."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"{out}: the folder can't be made ({error.strerror or error})", hint="Choose another place with --out"
        ) from error


def write_folder(call: FinishedCall, out: Path, *, title: str, more: dict[str, Any] | None = None) -> list[str]:
    """Write all files of `call` into `out`, `more` into the report. Of those that can't be written, why, in a sentence
    each: one does not keep the others from it."""
    failed = []
    writers: dict[str, Callable[[Path], object]] = {
        RECORDING: lambda path: write_wav(path, call.caller, call.agent, sample_rate_hz=call.sample_rate_hz),
        TRANSCRIPT: lambda path: _write_json(path, call.transcript.data()),
        REPORT: lambda path: _write_json(path, report_of(call) | (more or {})),
        TIMELINE: lambda path: path.write_text(render_timeline(timeline_of(call, title)), encoding="utf-8"),
    }
    for name, write in writers.items():
        try:
            write(out / name)
        except OSError as error:
            failed.append(f"{out / name}: can't be written ({error.strerror or error})")
    return failed


def _write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, ensure_ascii=False, indent=2, allow_nan=False) + "\n", encoding="utf-8")


# --- the report ---------------------------------------------------------------------------------------------------


def report_of(call: FinishedCall) -> dict[str, Any]:
    """Everything measured, as JSON-able data. Latencies are read off the waveform; stage timings are the engine's."""
    measured, costs = call.measured, dict(call.costs)
    cpu_s = costs.pop("cpu_seconds")
    return {
        "version": 1,
        "machine": {"system": platform.platform(), "python": platform.python_version(), "cores": os.cpu_count()},
        "stages": call.stages,
        "is_language_model": call.is_language_model,
        "latencies_ms": {
            "measured_from": "the waveform of conversation.wav",
            "response": _summary_ms(measured.response),
            "first_word": _summary_ms(measured.first_word),
            "yield": _summary_ms(measured.yields),
            "dead_air": _summary_ms(measured.dead_air),
        },
        "acts": [_act_data(act) for act in measured.acts],
        "late": {str(reply.number): reply.late_step for reply in call.transcript.replies.values() if reply.late_step},
        **costs,
        "seconds": {
            "call": round(len(call.caller) / call.sample_rate_hz, 3),
            "wall": round(call.wall_s, 3),
            "cpu": cpu_s,
        },
        "peak_memory_mb": None if (peak_mb := peak_memory_mb()) is None else round(peak_mb, 1),
        "notes": list(dict.fromkeys(f"{note.source}: {note.text}" for note in call.transcript.notes)),
        "error": None if call.error is None else str(call.error),
        "interrupted": call.interrupted,
    }


def _summary_ms(summary: Summary) -> dict[str, Any]:
    return {
        "count": len(summary.values),
        "median": _ms(None if math.isnan(summary.median) else summary.median),
        "p95": _ms(None if math.isnan(summary.p95) else summary.p95),
        "each": [_ms(value) for value in summary.values],
    }


def _act_data(act: ActMeasured) -> dict[str, Any]:
    return {
        "kind": act.mark.kind,
        "said": act.mark.text,
        "start": round(act.voice.start, 3),
        "end": round(act.voice.end, 3),
        "over_agent": act.over_agent,
        "response_ms": _ms(act.response_s),
        "first_word_ms": _ms(act.first_word_s),
        "yield_ms": _ms(act.yield_s),
        "talked_into_ms": _ms(act.talked_into_s),
        "dead_air_ms": _ms(act.dead_air_s),
        "went_on": act.went_on,
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 1)


# --- the picture --------------------------------------------------------------------------------------------------


def timeline_of(call: FinishedCall, title: str) -> TimelineData:
    """What the picture shows of `call`: sound and delays from the recording, words and decisions from the session."""
    return TimelineData(
        title=title,
        subtitle=_subtitle(call),
        caller=call.caller,
        agent=call.agent,
        sample_rate_hz=call.sample_rate_hz,
        captions=(*_caller_captions(call), *_agent_captions(call)),
        stretches=tuple(_stretches(call)),
        cuts=tuple(_cuts(call)),
        delays=tuple(_delays(call)),
    )


def _subtitle(call: FinishedCall) -> str:
    response, yields = call.measured.response, call.measured.yields
    parts = []
    if response.values:
        each = [1000 * seconds for seconds in response.values]
        several = f" (median of {len(each)}: {min(each):.0f} to {max(each):.0f})" if len(each) > 1 else ""
        parts.append(f"answers after {1000 * response.median:.0f} ms{several}")
    if yields.values:
        parts.append(f"silent {1000 * yields.median:.0f} ms after an interruption begins")
    parts.append(" → ".join(call.stages.values()))
    return " · ".join(parts)


def _caller_captions(call: FinishedCall) -> list[Caption]:
    """For what wants an answer, what the engine understood; for the rest, what it was."""
    captions = []
    for act in call.measured.acts:
        text = _understood(call, act) if act.mark.wants_answer else act.mark.text
        captions.append(Caption("caller", act.voice.start, act.voice.end, text or act.mark.text))
    return captions


def _understood(call: FinishedCall, act: ActMeasured) -> str:
    said = [
        turn.text
        for turn in call.transcript.turns.values()
        if turn.start - call.offset_s < act.voice.end and turn.end - call.offset_s > act.voice.start and turn.text
    ]
    return " ".join(said)


def _agent_captions(call: FinishedCall) -> list[Caption]:
    captions: list[Caption] = []
    for reply in call.transcript.replies.values():
        span = _heard_span(call, reply)
        if span is None:
            continue
        span = _with_filler(call, reply, span, captions)
        if not reply.heard:
            continue
        unheard = reply.text[len(reply.heard) :].strip() if reply.text.startswith(reply.heard) else ""
        captions.append(Caption("agent", *span, reply.heard, unheard if reply.cut else ""))
    return captions


def _with_filler(
    call: FinishedCall, reply: AgentReply, span: tuple[float, float], captions: list[Caption]
) -> tuple[float, float]:
    """Add a caption for the filler of `reply`, as what it is; the rest of `span`, for the answer."""
    filler = filler_span(reply, call.measured.agent, call.offset_s, call.transcript.now)
    if filler is None:
        return span
    heard = [part.end for part in call.measured.agent if filler.start - 0.05 <= part.start < filler.end]
    end = min(max(heard, default=filler.end), filler.end)
    captions.append(Caption("agent", filler.start, end, f"({reply.filler.strip()})"))
    return (filler.end, max(span[1], filler.end)) if reply.filler_first else span


def _heard_span(call: FinishedCall, reply: AgentReply) -> tuple[float, float] | None:
    """When `reply` was heard, in seconds of the recording."""
    if reply.start is None or not (reply.heard or reply.filler):
        return None
    end = call.transcript.now if reply.end is None else reply.end
    start = reply.start - call.offset_s
    audible = [
        span.end for span in call.measured.agent if start - 0.1 <= span.start and span.end <= end - call.offset_s + 0.1
    ]
    return max(0.0, start), max(audible, default=end - call.offset_s)


def _stretches(call: FinishedCall) -> list[Stretch]:
    stretches = [
        Stretch("noise" if act.mark.kind == "noise" else "backchannel", act.voice.start, act.voice.end)
        for act in call.measured.acts
        if not act.mark.wants_answer
    ]
    for reply in call.transcript.replies.values():
        stretches.extend(Stretch("hold", a - call.offset_s, b - call.offset_s) for a, b in reply.holds)
        if not reply.speculative:
            continue
        until = reply.start if reply.start is not None else reply.end
        if until is not None:
            kind: StretchKind = "dropped" if reply.start is None else "speculative"
            stretches.append(Stretch(kind, reply.begun - call.offset_s, until - call.offset_s))
    return stretches


def _cuts(call: FinishedCall) -> list[Cut]:
    """At the agent's last sound, and not where the engine decided: that is what was heard."""
    return [
        Cut(span[1])
        for reply in call.transcript.replies.values()
        if reply.cut and (span := _heard_span(call, reply)) is not None
    ]


def _delays(call: FinishedCall) -> list[Delay]:
    delays = []
    for act in call.measured.acts:
        if act.response_s is not None:
            delays.append(Delay("response", act.voice.end, act.voice.end + act.response_s))
        if act.yield_s is not None:
            delays.append(Delay("yield", act.voice.start, act.voice.start + act.yield_s))
        if act.dead_air is not None and act.dead_air.seconds > 0:
            delays.append(Delay("resume", act.dead_air.start, act.dead_air.end))
    return delays
