"""The demo with a caller of one's own: what its steps are taken for, what is wrong with a script, and a call with the
shared models (whisper, piper), once with rehearsed answers and once with a language model's over HTTP."""

import io
import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from duologue.errors import AudioError, ConfigurationError, StageUnavailable
from duologue.packs import find_pack
from duologue.runtime.replay import replay_file
from duologue.settings import Settings, StageChoice
from duologue.testing import virtual_time
from duologue.testing.openai_server import ChatRequest, OpenAiServer
from duologue.testing.scripted_llm import ScriptedReply
from duologue_pipelines.calls.acts import scripted_call
from duologue_pipelines.demo.run import demo

HERE = Path(__file__).parent
PACK = HERE / "shared_pack"
JOB = "I answer questions about this town, and people ask me about everything. In the evening they look for music."
SHARED = "../../../../shared/data"  # as it stands in the script


def written(folder: Path, script: str, name: str = "caller.toml") -> Path:
    (folder / name).write_text(script)
    return folder / name


def call(
    settings: Settings, out: Path, caller: Path, server: OpenAiServer | None = None
) -> tuple[int, str]:  # the exit status, and what was shown
    text = io.StringIO()

    async def main() -> int:
        if server is None:
            return await demo(settings, out, caller=caller, console=Console(file=text, width=150))
        async with server:
            llm = StageChoice(use="openai", base_url=server.base_url, model="scripted", api_key="any")
            asked = settings.model_copy(update={"llm": llm})
            return await demo(asked, out, caller=caller, console=Console(file=text, width=150))

    return virtual_time.run(main(), tasks_left="cancel"), text.getvalue()


# --- what a step is -----------------------------------------------------------------------------------------------


def test_each_step_is_an_act_by_its_kind(tmp_path: Path) -> None:
    steps = (
        'say = "When does the museum open?"', 'say = ["How are", 0.8, "you?"]', 'say = "Wait"\nkind = "interruption"',
        'say = "mm-hm"\nkind = "backchannel"', 'noise = "cough"', 'noise = "click"', 'file = "a.wav"\nkind = "noise"',
    )  # fmt: skip
    path = written(tmp_path, "\n".join(f"[[step]]\n{step}" for step in steps))
    made = scripted_call(path, find_pack("assistant"))
    assert [act.name for act in made.acts] == [
        "question", "thinking pause", "interruption", "mm-hm", "cough", "noise", "noise",
    ]  # fmt: skip
    assert made.acts[0].exchange is not None and "nine in the morning" in made.acts[0].exchange.agent
    assert made.acts[2].exchange is None and made.acts[4].expects == "the agent goes on"
    assert made.script.step[6].file == tmp_path / "a.wav"


def test_a_line_is_known_by_its_words_whatever_their_case_and_marks(tmp_path: Path) -> None:
    path = written(tmp_path, '[[step]]\nfile = "q.flac"\ncaption = "when does the museum OPEN"\n')
    act = scripted_call(path, find_pack("assistant")).acts[0]
    assert act.exchange is not None and act.exchange.user == "When does the museum open?"


# --- what may be wrong --------------------------------------------------------------------------------------------

EMBEDDED = Settings(
    asr=StageChoice(use="pocketsphinx"), llm=StageChoice(use="rehearsal"), tts=StageChoice(use="espeak")
)


@pytest.mark.parametrize(
    ("script", "error", "message"),
    [
        (None, ConfigurationError, r"caller\.toml: No such file or directory. Check the path of the script"),
        ("[[step]\n", ConfigurationError, r"caller\.toml:1: broken TOML: .* A step is a line \[\[step\]\]"),
        ('[[step]]\nsays = "hi"\n', ConfigurationError, r"caller\.toml:2: step\[0\]\.says is no known key"),
        ('[[step]]\nsay = "hi"\nkind = "hum"\n', ConfigurationError, r"caller\.toml:3: step\[0\]\.kind"),
        ("", ConfigurationError, r"step is missing"),
        ('[[step]]\nfile = "none.wav"\n', AudioError, r"none\.wav: no such file"),
        ('[[step]]\nfile = "caller.toml"\n', AudioError, r"caller\.toml: no audio stream in it"),
        ('synthesiser = "espaek"\n[[step]]\nsay = "hi"\n', ConfigurationError, r"caller.*'espaek'.*'espeak'"),
        ('synthesiser = "auto"\n[[step]]\nsay = "hi"\n', ConfigurationError, r"caller.*'auto'.*espeak"),
        ('synthesiser = "piper"\nvoice = "no.onnx"\n[[step]]\nsay = "hi"\n', StageUnavailable, r"no piper voice at no"),
    ],
)
def test_a_script_that_cannot_be_played_is_told_before_anything_is_loaded(
    script: str | None, error: type[Exception], message: str, tmp_path: Path
) -> None:
    caller = tmp_path / "caller.toml"
    if script is not None:
        caller.write_text(script)
    with pytest.raises(error, match=message):
        call(EMBEDDED, tmp_path / "out", caller)
    assert not (tmp_path / "out" / "conversation.wav").exists()


def test_an_act_that_goes_wrong_is_said_and_fails_the_run(tmp_path: Path) -> None:
    steps = '[[step]]\nsay = "When does the museum open?"\n[[step]]\nnoise = "cough"\n'
    status, text = call(EMBEDDED, tmp_path / "out", written(tmp_path, 'voice = "en-us+f3"\n' + steps))
    assert status == 1 and "✓" in text and "✗" in text and "there was nothing to disturb" in " ".join(text.split())
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [(act["act"], act["passed"]) for act in report["demo"]] == [("question", True), ("cough", False)]


# --- with the shared models ---------------------------------------------------------------------------------------


@pytest.fixture
def shared_settings(shared_data: Path) -> Settings:
    return Settings(
        asr=StageChoice(use="whisper", model=str(shared_data / "asr" / "whisper-mini-en-ct2")),
        llm=StageChoice(use="rehearsal"),
        tts=StageChoice(use="piper", voice=str(shared_data / "tts" / "en_US-micro-x_low.onnx")),
        pack=str(PACK),
    )


@pytest.fixture
def shared_caller(shared_data: Path, tmp_path: Path) -> Path:
    return written(tmp_path, (HERE / "shared_caller.toml").read_text().replace(SHARED, str(shared_data)))


def failed(out: Path) -> list[str]:
    report = json.loads((out / "report.json").read_text())
    return [f"{act['act']}: {act['why']}" for act in report["demo"] if not act["passed"]]


@pytest.mark.shared_data
def test_a_call_with_whisper_and_piper_goes_as_it_should(
    shared_settings: Settings, shared_caller: Path, tmp_path: Path
) -> None:
    status, _ = call(shared_settings, tmp_path / "out", shared_caller)
    assert failed(tmp_path / "out") == [] and status == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["stages"] == {"vad": "both", "asr": "whisper", "llm": "rehearsal", "tts": "piper"}
    turns = json.loads((tmp_path / "out" / "transcript.json").read_text())["turns"]
    understood = [turn["text"] for turn in turns if turn["who"] == "user" and turn["outcome"] == "answered"]
    assert understood[0] == "what is the weather there today" and understood[2:] == [
        "tell me about your job", "can you also find me a hotel",
    ]  # fmt: skip
    assert understood[1].startswith("what is the address of the restaurant")
    assert replay_file(tmp_path / "out" / "trace.jsonl").difference is None


HTTP_CALLER = f"""
hang_up_s = 0.5
[[step]]
when = "at"
at_s = 0.1
file = "{SHARED}/speech/mini/mini_083.flac"
caption = "Tell me about your job."
[[step]]
kind = "interruption"
when = "agent_speaking"
delay_s = 1.5
file = "{SHARED}/speech/mini/mini_011.flac"
caption = "Can you also find me a hotel?"
"""


@pytest.mark.shared_data
def test_answers_streamed_over_http_are_interrupted_and_told_as_heard(
    shared_data: Path, shared_settings: Settings, tmp_path: Path
) -> None:
    # short, as time runs as on the wall while a connection is open
    pack = shutil.copytree(PACK, tmp_path / "pack")
    (pack / "pack.toml").write_text((pack / "pack.toml").read_text().replace("greeting = true", "greeting = false"))
    caller = written(tmp_path, HTTP_CALLER.replace(SHARED, str(shared_data)))
    answers = {"tell me about your job": JOB, "can you also find me a hotel": "Yes, there is one near the river."}
    asked: list[ChatRequest] = []

    def answer(chat: ChatRequest) -> ScriptedReply:
        asked.append(chat)
        return ScriptedReply(answers.get(chat.last_text, "Pardon?"), first_token_s=0.15, token_s=0.02)

    server = OpenAiServer(answer, models=["scripted"])
    settings = shared_settings.model_copy(update={"pack": str(pack)})
    status, _ = call(settings, tmp_path / "out", caller, server)
    assert failed(tmp_path / "out") == [] and status == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["stages"]["llm"] == "openai" and report["is_language_model"] is True
    assert asked[-1].last_text == "can you also find me a hotel"
    told = [str(message["content"]) for message in asked[-1].messages if message.get("role") == "assistant"]
    assert len(told) == 1 and 0 < len(told[0]) < len(JOB) and JOB.startswith(told[0].rstrip(" .…-—"))
