"""The whole demo with the real embedded stages, in virtual time: a minute of talk in two seconds."""

import io
import json
import os
import signal
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from duologue.audio import read_wav
from duologue.errors import ConfigurationError
from duologue.measure import Mark, audible_spans, measure
from duologue.packs import find_pack
from duologue.runtime.replay import replay_file
from duologue.settings import Settings, StageChoice
from duologue.testing import virtual_time
from duologue_pipelines.calls import output_files
from duologue_pipelines.calls.acts import Act
from duologue_pipelines.calls.call import FinishedCall
from duologue_pipelines.calls.transcript import AgentReply, Transcript
from duologue_pipelines.calls.verdicts import judge
from duologue_pipelines.demo.caller import demo_call
from duologue_pipelines.demo.run import demo

EMBEDDED = Settings(
    asr=StageChoice(use="pocketsphinx"), llm=StageChoice(use="rehearsal"), tts=StageChoice(use="espeak")
)


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    out = tmp_path_factory.mktemp("demo") / "out"
    text = io.StringIO()
    console = Console(file=text, width=120, highlight=False)
    status = virtual_time.run(demo(EMBEDDED, out, console=console), tasks_left="cancel")
    return SimpleNamespace(out=out, status=status, text=text.getvalue())


def test_every_act_goes_as_it_should(held: SimpleNamespace) -> None:
    report = json.loads((held.out / "report.json").read_text())
    assert [(act["act"], act["passed"], act["why"]) for act in report["demo"] if not act["passed"]] == []
    assert {act["act"] for act in report["demo"]} == {"question", "thinking pause", "mm-hm", "cough", "interruption"}
    assert held.status == 0
    assert "✓" in held.text and "✗" not in held.text and "no language model" in held.text


def test_a_demo_that_is_interrupted_keeps_the_call_and_judges_nothing(tmp_path: Path) -> None:
    text = io.StringIO()
    console = Console(file=text, width=120, highlight=False)
    hook = text.write

    def write(shown: str) -> int:
        if "opens at nine" in shown and "opens at nine" not in text.getvalue():
            os.kill(os.getpid(), signal.SIGTERM)
        return hook(shown)

    text.write = write  # type: ignore[method-assign]  # a terminal at which somebody loses patience
    assert virtual_time.run(demo(EMBEDDED, tmp_path, console=console), tasks_left="cancel") == 130
    assert f"Interrupted. What was said until then is in {tmp_path}:" in text.getvalue()
    assert "Did it go as it should?" not in text.getvalue()
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["interrupted"] and len(report["notes"]) == len(set(report["notes"]))
    assert report["peak_memory_mb"] == round(report["peak_memory_mb"], 1)
    assert replay_file(tmp_path / "trace.jsonl").ended


def test_a_file_that_cannot_be_written_keeps_no_other_from_it_and_is_not_claimed(tmp_path: Path) -> None:
    text = io.StringIO()
    console = Console(file=text, width=120, highlight=False)
    hook = text.write

    def write(shown: str) -> int:
        if "opens at nine" in shown and not (tmp_path / "report.json").exists():
            (tmp_path / "report.json").mkdir()  # and then hang up: the rest of the call is of no interest here
            os.kill(os.getpid(), signal.SIGTERM)
        return hook(shown)

    text.write = write  # type: ignore[method-assign]  # something gets in the way while the call lasts
    virtual_time.run(demo(EMBEDDED, tmp_path, console=console), tasks_left="cancel")
    told = text.getvalue()
    assert f"{tmp_path / 'report.json'}: can't be written (Is a directory)" in told and "every figure" not in told
    for name in ("conversation.wav", "transcript.json", "timeline.svg", "trace.jsonl"):
        assert (tmp_path / name).stat().st_size and f"{tmp_path / name}  " in told
    assert not (tmp_path / ".lock").exists()


def test_a_second_call_into_the_same_folder_is_refused(tmp_path: Path) -> None:
    with (
        output_files.kept_from_others(tmp_path / ".lock", str(tmp_path)),
        pytest.raises(ConfigurationError, match=r"another call is being written there \(process \d+\)"),
    ):
        virtual_time.run(demo(EMBEDDED, tmp_path, console=Console(file=io.StringIO())))


def test_the_recording_has_both_sides_and_lasts_less_than_a_minute(held: SimpleNamespace) -> None:
    both, rate = read_wav(held.out / "conversation.wav")
    assert both.shape[1] == 2 and 25 < len(both) / rate < 55
    caller, agent = (audible_spans(channel, sample_rate_hz=rate) for channel in both.T)
    assert len(caller) >= 6 and len(agent) >= 5


def test_the_report_holds_what_it_must_and_measures_the_recording(held: SimpleNamespace) -> None:
    report = json.loads((held.out / "report.json").read_text())
    both, rate = read_wav(held.out / "conversation.wav")
    response = report["latencies_ms"]["response"]
    assert response["count"] == len(response["each"]) == 4 and 200 < response["median"] <= response["p95"] < 1500
    assert report["latencies_ms"]["yield"]["count"] == 1 and report["peak_memory_mb"] > 10
    assert report["audio_seconds"]["user"] == pytest.approx(len(both) / rate, abs=0.1)
    assert {"asr_final", "llm_first_token", "tts_first_audio"} <= set(report["stages_ms"])
    assert report["seconds"]["cpu"] > 0 and report["error"] is None and report["tokens"]
    first = report["acts"][0]
    voice = audible_spans(both[:, 0], sample_rate_hz=rate)[0]
    assert first["start"] == pytest.approx(voice.start, abs=0.01) and first["response_ms"] == response["each"][0]


def test_the_transcript_knows_what_was_heard_of_the_interrupted_reply(held: SimpleNamespace) -> None:
    turns = json.loads((held.out / "transcript.json").read_text())["turns"]
    assert turns[0]["who"] == "agent" and turns[0]["heard"].startswith("Hello")
    cut = [turn for turn in turns if turn["who"] == "agent" and turn["cut"] == "interrupted"]
    assert len(cut) == 1 and cut[0]["text"].startswith(cut[0]["heard"]) and len(cut[0]["heard"]) < len(cut[0]["text"])
    assert [turn["outcome"] for turn in turns if turn["who"] == "user"].count("backchannel") == 1


def test_the_trace_replays_and_the_picture_is_one(held: SimpleNamespace) -> None:
    assert replay_file(held.out / "trace.jsonl").difference is None
    picture = ET.parse(held.out / "timeline.svg").getroot()
    words = " ".join("".join(element.itertext()) for element in picture.iter("{http://www.w3.org/2000/svg}text"))
    for expected in ("mm-hm", "(cough)", "answers after", "silent after", "hold:", "cut:", "pocketsphinx"):
        assert expected in words


def test_a_folder_that_cannot_be_made_is_told_before_anything_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigurationError, match="the folder can't be made"):
        virtual_time.run(demo(EMBEDDED, tmp_path / "file" / "out", console=Console(file=io.StringIO())))


# --- the caller ---------------------------------------------------------------------------------------------------


def test_the_shipped_pack_is_asked_questions_chosen_by_hand() -> None:
    call = demo_call(find_pack("assistant"))
    assert [act.name for act in call.acts] == [
        "question", "thinking pause", "mm-hm", "question", "cough", "interruption",
    ]  # fmt: skip
    assert [step.text for step in call.script.step][:3] == [
        "When does the museum open?", "How do I get to the city from the airport?", "mm-hm",
    ]  # fmt: skip


def test_in_chinese_the_caller_is_made_up_from_the_dialogues() -> None:
    call = demo_call(find_pack("assistant"), "zh")
    assert call.script.voice == "cmn+f3" and call.script.language == "zh"
    thinking = call.script.step[1].say
    assert isinstance(thinking, tuple) and len(thinking) == 3 and " " not in call.script.step[1].texts[0]
    assert len(call.acts[3].exchange.agent) > 50 if call.acts[3].exchange else False


def pack_with(folder: Path, dialogues: str) -> Path:
    (folder / "dialogues").mkdir(parents=True)
    (folder / "pack.toml").write_text('name = "mine"\ndescription = "x"\nlanguages = ["en"]\ngreeting = false\n')
    (folder / "system.md").write_text("Be kind.\n")
    (folder / "dialogues" / "a.md").write_text(dialogues)
    return folder


def test_a_pack_with_too_few_dialogues_is_told_what_it_needs(tmp_path: Path) -> None:
    folder = pack_with(tmp_path / "mine", "# A\n\nuser: Hello?\nagent: Hello.\n")
    with pytest.raises(ConfigurationError, match=r"pack mine has too few in 'en'.*--pack assistant"):
        demo_call(find_pack(str(folder)))


def test_any_pack_with_enough_dialogues_will_do(tmp_path: Path) -> None:
    lines = [
        ("Hello you?", "Hi."),
        ("Yes?", "No."),
        ("What is it that you do here?", "I tell " * 12),
        ("Why?", "So " * 60),
    ]
    folder = pack_with(tmp_path / "mine", "# A\n\n" + "\n".join(f"user: {q}\nagent: {a}\n" for q, a in lines))
    call = demo_call(find_pack(str(folder)))
    assert call.script.step[1].say == ("What is", 0.9, "it that you do here?")
    assert call.acts[3].exchange is not None and call.acts[3].exchange.user == "Why?"


# --- the verdicts -------------------------------------------------------------------------------------------------


RATE_HZ = 24_000


def spoken(*spans: tuple[float, float]) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    samples = np.zeros(RATE_HZ * 12, dtype=np.int16)
    for start, end in spans:
        samples[round(start * RATE_HZ) : round(end * RATE_HZ)] = 4000
    return samples


def verdict(
    act: str, mark: Mark | None, user: list[tuple[float, float]], agent: list[tuple[float, float]], *replies: AgentReply
) -> tuple[bool, str]:
    transcript = Transcript()
    transcript.replies = {reply.number: reply for reply in replies}
    transcript.now = 12.0
    marks = () if mark is None else (mark,)
    caller, heard = spoken(*user), spoken(*agent)
    measured = measure(caller, heard, marks, sample_rate_hz=RATE_HZ)
    call = FinishedCall(caller, heard, RATE_HZ, marks, measured, transcript, 0.0, {}, False, {}, 1.0, 1.0, None)
    exchange = demo_call(find_pack("assistant")).acts[0].exchange
    judged = judge(call, [Act(act, exchange)])[0]  # type: ignore[arg-type]
    return judged.passed, judged.why


RIGHT = "The museum opens at nine in the morning and closes at six in the evening."


def reply(start: float, end: float, text: str = RIGHT, cut: str = "") -> AgentReply:
    return AgentReply(1 + round(start), 1, start, start=start, end=end, text=text, heard=text[:10], cut=cut)


def test_each_way_to_fail_has_its_words() -> None:
    question = Mark("turn", 1, 2)
    assert verdict("question", question, [(1, 2)], [(2.5, 3)], reply(2.5, 3)) == (True, "answered after 500 ms")
    assert verdict("question", None, [], []) == (False, "the call ended before it")
    assert verdict("question", question, [], []) == (False, "nothing of it is in the recording")
    assert verdict("question", question, [(1, 2)], []) == (False, "no answer was heard")
    assert "only after 4.0 s" in verdict("question", question, [(1, 2)], [(6, 7)], reply(6, 7))[1]
    assert "holds no answer" in verdict("question", question, [(1, 2)], [(2.5, 3)])[1]
    assert (
        "something else: 'Dogs" in verdict("question", question, [(1, 2)], [(2.5, 3)], reply(2.5, 3, "Dogs wait."))[1]
    )
    missed = Mark("turn", 1, 2, missed=True)
    assert "no occasion" in verdict("question", missed, [(1, 2)], [(2.5, 3)], reply(2.5, 3))[1]
    pause = verdict("thinking pause", question, [(1, 1.3), (1.8, 2)], [(1.5, 1.7), (2.5, 3)], reply(2.5, 3))
    assert pause == (False, "the agent talked into it for 200 ms")


def test_false_alarms_must_be_survived() -> None:
    cough = Mark("noise", 2, 2.3)
    talking = reply(1, 5)
    assert verdict("cough", cough, [(2, 2.3)], [(1, 2.1), (2.5, 5)], talking) == (True, "dead air 400 ms")
    assert "nothing to disturb" in verdict("cough", cough, [(2, 2.3)], [(6, 7)])[1]
    assert "did not go on" in verdict("cough", cough, [(2, 2.3)], [(1, 2.1)], talking)[1]
    assert "3.0 s of dead air" in verdict("mm-hm", cough, [(2, 2.3)], [(1, 2.1), (5.1, 6)], talking)[1]
    cut = reply(1, 2.4, cut="interrupted")
    assert "was cut (interrupted)" in verdict("cough", cough, [(2, 2.3)], [(1, 2.1), (2.5, 5)], cut)[1]


def test_interruptions_must_be_yielded_to_and_answered() -> None:
    mark = Mark("interruption", 2, 4)
    cut, new = reply(1, 2.2, cut="interrupted"), reply(4.5, 6)
    passed, why = verdict("interruption", mark, [(2, 4)], [(1, 2.2), (4.5, 6)], cut, new)
    assert passed and why == "silent after 200 ms, answered after 500 ms"
    assert "nothing to interrupt" in verdict("interruption", mark, [(2, 4)], [(5, 6)])[1]
    assert "talked on" in verdict("interruption", mark, [(2, 4)], [(1, 5)], reply(1, 5))[1]
    late = verdict("interruption", mark, [(2, 4)], [(1, 3.5), (4.5, 6)], reply(1, 3.5), new)[1]
    assert "talked on for 1.5 s" in late and "was not cut" in late
