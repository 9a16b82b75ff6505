"""`duologue talk` with the real embedded stages, as fast as it goes."""

import asyncio
import io
import os
import signal
from pathlib import Path

import pytest
from rich.console import Console

from duologue.audio import read_wav, write_wav
from duologue.errors import AudioError, ConfigurationError
from duologue.measure import audible_spans
from duologue.runtime.replay import replay_file
from duologue.settings import Settings, StageChoice
from duologue_pipelines.calls.output_files import kept_from_others
from duologue_pipelines.talk import run_talk
from duologue_pipelines.transports.caller_script import CallerScript, Step, prepare
from duologue_pipelines.transports.noises import click
from duologue_pipelines.tts.espeak import EspeakTts

EMBEDDED = Settings(
    asr=StageChoice(use="pocketsphinx"), llm=StageChoice(use="rehearsal"), tts=StageChoice(use="espeak")
)


@pytest.fixture(scope="module")
def question(tmp_path_factory: pytest.TempPathFactory) -> Path:
    async def speak() -> Path:
        voice = EspeakTts()
        script = CallerScript(step=(Step(say="When does the museum open?"),), voice="en-us+f3")
        utterances = await prepare(script, voice)
        await voice.aclose()
        path = tmp_path_factory.mktemp("talk") / "question.wav"
        write_wav(path, utterances[0].samples)
        return path

    return asyncio.run(speak())


def talk(tmp_path: Path, inputs: list[Path], script: Path | None = None) -> tuple[int, str]:
    text = io.StringIO()
    console = Console(file=text, width=160, highlight=False)
    return run_talk(EMBEDDED, inputs, script, tmp_path / "answer.wav", console=console), text.getvalue()


def test_a_question_in_a_file_is_answered_into_a_file(tmp_path: Path, question: Path) -> None:
    status, text = talk(tmp_path, [question, question])
    assert status == 0 and "when does the museum open" in text.lower() and "opens at nine" in text
    voice, _ = read_wav(tmp_path / "answer.wav")
    both, rate = read_wav(tmp_path / "answer.conversation.wav")
    assert voice.shape[1] == 1 and both.shape == (len(voice), 2) and (both[:, 1] == voice[:, 0]).all()
    assert len(audible_spans(both[:, 0], bridge_s=0.5, sample_rate_hz=rate)) == 2
    assert (tmp_path / "answer.trace.jsonl").stat().st_size > 1000


def test_a_script_is_acted_out(tmp_path: Path, question: Path) -> None:
    script = tmp_path / "call.toml"
    script.write_text(
        f'voice = "en-us+f3"\n[[step]]\nfile = "{question}"\n'
        '[[step]]\nsay = "Can I bring my dog?"\nkind = "interruption"\nwhen = "agent_speaking"\ndelay_s = 1.0\n'
    )
    status, text = talk(tmp_path, [], script)
    assert status == 0 and "yield" in text and "dogs have to wait" in text
    assert "Did it go as it should?" in text and "✓  interruption" in text and "✗" not in text


def test_an_agent_that_talks_into_a_pause_is_told_and_how_to_mend_it(tmp_path: Path) -> None:
    script = tmp_path / "call.toml"
    script.write_text('voice = "en-us+f3"\n[[step]]\nsay = ["How do I get to the city?", 3.0, "From the airport?"]\n')
    status, text = talk(tmp_path, [], script)
    assert status == 0 and "the agent talked into it for" in " ".join(text.split())
    assert "talked into: agent heard during the caller's turn" in text and "--set endpointing.patience=2" in text


def test_a_reason_is_told_once_and_every_note_on_request(tmp_path: Path, question: Path) -> None:
    _, text = talk(tmp_path, [question])
    assert text.count("no language model") == 1 and "note" not in text
    assert text.count("hears only what the pack's dialogues") == 1
    told = io.StringIO()
    run_talk(EMBEDDED, [question], None, tmp_path / "v.wav", verbose=True, console=Console(file=told, width=160))
    assert "answered as rehearsed in" in told.getvalue()


def test_what_is_made_and_written_over_is_told(tmp_path: Path, question: Path) -> None:
    out = tmp_path / "new" / "answer.wav"
    told = io.StringIO()
    for _ in range(2):
        assert run_talk(EMBEDDED, [question], None, out, console=Console(file=told, width=200)) == 0
    assert told.getvalue().count(f"Made the folder {out.parent}") == 1
    assert told.getvalue().count("(written over the one that was there)") == 3


@pytest.mark.parametrize("name", ["answer.wav", "answer.conversation.wav"])
def test_the_callers_own_recording_is_not_written_over(tmp_path: Path, question: Path, name: str) -> None:
    mine = tmp_path / name
    mine.write_bytes(question.read_bytes())
    with pytest.raises(ConfigurationError, match="written over the caller's own recording"):
        talk(tmp_path, [mine])
    assert mine.read_bytes() == question.read_bytes()


def test_a_place_that_is_taken_is_refused_before_the_call(tmp_path: Path, question: Path) -> None:
    (tmp_path / "answer.trace.jsonl").mkdir()
    with pytest.raises(ConfigurationError, match="a folder, expected a file"):
        talk(tmp_path, [question])
    (tmp_path / "answer.trace.jsonl").rmdir()
    with (
        kept_from_others(tmp_path / "answer.wav.lock", "answer.wav"),
        pytest.raises(ConfigurationError, match="another call"),
    ):
        talk(tmp_path, [question])


class Interrupting(io.StringIO):
    """A terminal at which somebody presses Ctrl-C when the agent has said something."""

    def write(self, text: str) -> int:
        if "opens at nine" in text and "opens at nine" not in self.getvalue():
            os.kill(os.getpid(), signal.SIGINT)
        return super().write(text)


def test_ctrl_c_keeps_what_was_said_until_then(tmp_path: Path, question: Path) -> None:
    told = Interrupting()
    console = Console(file=told, width=160, highlight=False)
    before = signal.getsignal(signal.SIGINT)
    assert run_talk(EMBEDDED, [question, question], None, tmp_path / "answer.wav", console=console) == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert "Interrupted. What was said until then is kept:" in told.getvalue()
    both, rate = read_wav(tmp_path / "answer.conversation.wav")
    assert len(audible_spans(both[:, 0], bridge_s=0.5, sample_rate_hz=rate)) == 1
    assert replay_file(tmp_path / "answer.trace.jsonl").ended


def test_what_is_wrong_with_the_input_is_told(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no such file"):
        talk(tmp_path, [tmp_path / "missing.wav"])
    with pytest.raises(ConfigurationError, match="either input"):
        talk(tmp_path, [])


def test_an_agent_that_is_never_heard_is_a_failure(tmp_path: Path) -> None:
    write_wav(tmp_path / "click.wav", click())
    (tmp_path / "mute").mkdir()
    (tmp_path / "mute" / "pack.toml").write_text(
        'name = "mute"\ndescription = "says nothing first"\nlanguages = ["en"]\ngreeting = false\n'
    )
    (tmp_path / "mute" / "system.md").write_text("Say nothing.\n")
    text = io.StringIO()
    settings = EMBEDDED.model_copy(update={"pack": str(tmp_path / "mute")})
    status = run_talk(
        settings, [tmp_path / "click.wav"], None, tmp_path / "a.wav", console=Console(file=text, width=160)
    )
    assert status == 1 and "not heard at all" in text.getvalue()
