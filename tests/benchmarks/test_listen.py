"""Listening to a call that was really held, in virtual time, and to folders that hold none."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks.listen import Listened, listen, main, show, word_error
from duologue.audio import write_wav
from duologue.settings import Settings, StageChoice
from duologue.testing import virtual_time
from duologue_pipelines.demo.run import demo

SCRIPT = """
voice = "en-us+f3"
[[step]]
say = "How do rockets fly?"
[[step]]
kind = "interruption"
when = "agent_speaking"
delay_s = 2.8
say = "Can I bring my dog?"
"""


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("call")
    (folder / "caller.toml").write_text(SCRIPT)
    settings = Settings(
        asr=StageChoice(use="pocketsphinx"), llm=StageChoice(use="rehearsal"), tts=StageChoice(use="espeak")
    )
    quiet = Console(file=io.StringIO())
    main = demo(settings, folder / "out", caller=folder / "caller.toml", console=quiet)
    assert virtual_time.run(main, tasks_left="cancel") == 0
    return folder / "out"


def test_the_recording_says_what_the_transcript_says_and_ends_where_it_says(held: Path) -> None:
    [expecting] = listen(held, general=False).values()
    assert len(expecting) == 3 and word_error(expecting) < 0.3
    assert [abs(reply.cut_off_by) <= 1 for reply in expecting if reply.cut_off_by is not None] == [True]


@pytest.mark.parametrize("words", [3, -3])
def test_a_transcript_that_claims_more_or_less_than_was_heard_is_caught(words: int, held: Path, tmp_path: Path) -> None:
    lying = shutil.copytree(held, tmp_path / "lying")
    transcript = json.loads((lying / "transcript.json").read_text())
    for turn in transcript["turns"]:
        if turn.get("cut"):
            turn["heard"] = " ".join(turn["text"].split()[: len(turn["heard"].split()) + words])
        elif turn["who"] == "agent":
            turn["heard"] = ""  # of no interest here
    (lying / "transcript.json").write_text(json.dumps(transcript))
    assert main(["--quick", str(lying)]) == 1


def test_errors_are_counted_over_all_words_and_shown_reply_by_reply() -> None:
    replies = [Listened(1, ("good", "day"), ("good", "they"), None), Listened(2, ("a", "b"), ("a", "b"), -2)]
    assert word_error(replies) == 0.25 and np.isnan(word_error([]))
    text = io.StringIO()
    assert show({"expecting": replies}, Console(file=text, width=120)) is False
    assert "expecting: word error 25.0 %" in text.getvalue() and "-2 words" in text.getvalue()


def test_a_folder_without_a_call_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "no transcript.json of a call" in capsys.readouterr().err
    (tmp_path / "transcript.json").write_text('{"turns": []}')
    write_wav(tmp_path / "conversation.wav", np.zeros(160, dtype=np.int16))
    assert main([str(tmp_path)]) == 2
    assert "1 channels, expected 2" in capsys.readouterr().err


def test_who_expects_nothing_hears_the_same_replies(
    held: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    greeting = shutil.copytree(held, tmp_path / "greeting")
    transcript = json.loads((greeting / "transcript.json").read_text())
    transcript["turns"] = transcript["turns"][:1]
    (greeting / "transcript.json").write_text(json.dumps(transcript))
    assert main([str(greeting)]) == 0
    assert "expecting: word error" in (shown := capsys.readouterr().out) and "general: word error" in shown
