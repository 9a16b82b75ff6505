"""`duologue talk` with the real embedded stages, as fast as it goes."""

import asyncio
import io
from pathlib import Path

import pytest
from rich.console import Console

from duologue.audio import read_wav, write_wav
from duologue.errors import AudioError, ConfigurationError
from duologue.measure import audible_spans
from duologue.settings import Settings, StageChoice
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
    both, _ = read_wav(tmp_path / "answer.conversation.wav")
    assert voice.shape[1] == 1 and both.shape == (len(voice), 2) and (both[:, 1] == voice[:, 0]).all()
    assert len(audible_spans(both[:, 0], bridge_s=0.5)) == 2
    assert (tmp_path / "answer.trace.jsonl").stat().st_size > 1000


def test_a_script_is_acted_out(tmp_path: Path, question: Path) -> None:
    script = tmp_path / "call.toml"
    script.write_text(
        f'voice = "en-us+f3"\n[[step]]\nfile = "{question}"\n'
        '[[step]]\nsay = "Can I bring my dog?"\nkind = "interruption"\nwhen = "agent_speaking"\ndelay_s = 1.0\n'
    )
    status, text = talk(tmp_path, [], script)
    assert status == 0 and "yield" in text and "dogs have to wait" in text


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
