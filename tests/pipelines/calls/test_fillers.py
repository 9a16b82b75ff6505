"""A slow model is covered by a filler: it is heard, shown as what it is, and measured as no answer."""

import io
import json
import xml.dom.minidom
from pathlib import Path

import pytest
from rich.console import Console

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.measure import Span
from duologue.runtime import virtual_time
from duologue.runtime.session_setup import Spoken, StepTook
from duologue.settings import load_settings
from duologue_pipelines.calls.fillers import filler_span
from duologue_pipelines.calls.transcript import Transcript
from duologue_pipelines.demo.run import demo

CALL = 'voice = "en-us+f3"\n[[step]]\nsay = "When does the museum open?"\n'


def test_a_slow_model_is_measured_to_its_answer_and_named(tmp_path: Path) -> None:
    script, out, told = tmp_path / "call.toml", tmp_path / "out", io.StringIO()
    script.write_text(CALL)
    chosen = ["asr=pocketsphinx", "llm=rehearsal", "llm.first_token_s=6", "tts=espeak"]
    settings = load_settings(assignments=chosen, environ={}, folder=tmp_path)
    console = Console(file=told, width=250, highlight=False)
    virtual_time.run(demo(settings, out, caller=script, console=console), tasks_left="cancel")
    report = json.loads((out / "report.json").read_text())
    [answer], [first] = (report["latencies_ms"][name]["each"] for name in ("response", "first_word"))
    assert 3500 < first < 5000 and 5500 < answer < 7500
    assert list(report["late"].values()) == ["LLM first token 6.0 s"]
    assert "(LLM first token 6.0 s)" in told.getvalue() and "filler after" not in told.getvalue()
    assert "(One moment.)" in told.getvalue() and "filler: covers the wait" in told.getvalue()
    assert "late: reply 2: LLM first token 6.0 s" in told.getvalue()
    assert "reply 2: LLM first token 6.0 s" in (out / "trace.jsonl").read_text()
    assert "first word: the same" in told.getvalue()
    picture = xml.dom.minidom.parseString((out / "timeline.svg").read_text())
    drawn = " ".join(node.toxml() for node in picture.getElementsByTagName("text"))
    assert "(One" in drawn and "moment.)" in drawn
    turns = json.loads((out / "transcript.json").read_text())["turns"]
    assert [turn["filler"] for turn in turns if turn.get("filler")] == ["One moment."]


def _told(*events: tuple[float, object]) -> Transcript:
    transcript = Transcript()
    for now, event in events:
        transcript.take_event(event, now)  # type: ignore[arg-type]  # a list of many kinds
    return transcript


BEGUN = ((1.0, act.BeginReply(1, 1)), (5.0, act.SpeakFiller(1, "Hm.")), (5.1, ev.ReplyHeard(5.1, 1)))


@pytest.mark.parametrize(
    ("events", "audible", "expected"),
    [
        # a gap between filler and answer
        (((8.3, Spoken(8.3, 1, "At ")),), [Span(5.1, 5.9), Span(8.0, 9.0)], Span(5.1, 8.0)),
        # one runs into the other: the word tells
        (((6.2, Spoken(6.2, 1, "At ")),), [Span(5.1, 9.0)], Span(5.1, 6.2)),
        # cut before any answer
        (((7.0, ev.ReplyEnded(7.0, 1, "", cut=True)),), [Span(5.1, 5.9)], Span(5.1, 5.9)),
    ],
)
def test_a_filler_ends_where_the_answer_begins(
    events: tuple[tuple[float, object], ...], audible: list[Span], expected: Span
) -> None:
    transcript = _told(*BEGUN, *events)
    found = filler_span(transcript.replies[1], audible, 0.0, transcript.now)
    assert found is not None and found.start == expected.start
    assert found.end == (7.0 if not isinstance(events[0][1], Spoken) else expected.end)


def test_a_filler_for_a_tool_stands_inside_its_reply() -> None:
    transcript = _told(
        (1.0, act.BeginReply(1, 1)), (1.1, ev.ReplyHeard(1.1, 1)), (1.3, Spoken(1.3, 1, "Let me see.")),
        (4.0, act.SpeakFiller(1, "Hm.")), (6.0, StepTook(6.0, 1, "llm_first_token", 0.4)),
        (9.0, ev.ReplyEnded(9.0, 1, "Let me see. Nine.")),
    )  # fmt: skip
    audible = [Span(1.1, 2.0), Span(4.1, 4.6), Span(7.0, 9.0)]
    assert filler_span(transcript.replies[1], audible, 0.0, 9.0) == Span(4.0, 4.6)
    assert transcript.replies[1].late_step == "" and not transcript.replies[1].filler_first
    assert filler_span(_told((1.0, act.BeginReply(1, 1))).replies[1], [], 0.0, 1.0) is None
