"""The stages as settings name them, and what `auto` takes where they don't."""

import asyncio
import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from duologue.errors import ConfigurationError, PackError, StageUnavailable
from duologue.packs import find_pack, read_pack
from duologue.runtime.session_setup import Persona
from duologue.settings import Settings, StageChoice
from duologue.testing.openai_server import OpenAiServer
from duologue.testing.scripted_llm import ScriptedReply
from duologue.testing.scripted_tts import ScriptedTts
from duologue_pipelines import cascade
from duologue_pipelines.llm import discover
from duologue_pipelines.llm.openai import OpenAiLlm
from duologue_pipelines.llm.rehearsal import RehearsalLlm

HELLO = ScriptedReply("Hello.", first_token_s=0.0, token_s=0.0)
EMBEDDED = {
    "vad": StageChoice(use="webrtc"),
    "asr": StageChoice(use="pocketsphinx"),
    "tts": StageChoice(use="espeak"),
}
Build = Callable[..., cascade.Cascade]


class EchoJudge:
    name = "echo"

    def __init__(self, window_s: float = 1.0) -> None:
        self.window_s = window_s

    async def warm_up(self) -> None: ...

    async def aclose(self) -> None: ...

    @classmethod
    def probe(cls) -> str:
        return ""


class PitchJudge(EchoJudge):
    name = "pitch"

    def __init__(self, window_s: float = 1.0, floor_hz: int = 80) -> None:
        super().__init__(window_s)
        self.floor_hz = floor_hz


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> Build:
    """The stages on a machine where no server of the developer's is asked, and no key of theirs is seen."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(discover, "discover", functools.partial(discover.discover, timeout_s=2.0, servers=()))

    def run(pack: str | None = "assistant", **choices: Any) -> cascade.Cascade:
        settings = Settings(**{**EMBEDDED, **choices})
        return asyncio.run(cascade.build(settings, find_pack(pack) if pack else None))

    return run


def test_with_nothing_there_the_rehearsal_answers_and_says_so(build: Build) -> None:
    built = build()
    assert isinstance(built.stages.llm, RehearsalLlm) and not built.stages.llm.is_language_model
    assert built.stages.llm.exchanges == find_pack("assistant").samples
    llm, asr = built.notes
    assert llm == "llm: rehearsal (always there; no language model: it answers from the pack's sample dialogues)"
    assert asr.startswith("asr: pocketsphinx hears only what the pack's dialogues and vocabulary hold")
    assert asr.endswith("duologue models pull whisper:tiny")
    assert [stage.name for stage in built.stages.all()] == ["webrtc", "pocketsphinx", "rehearsal", "espeak"]


def test_a_server_that_the_environment_names_is_taken_with_its_first_model(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def whole() -> cascade.Cascade:
        async with OpenAiServer([HELLO], models=("tts-1", "talker")) as server:
            monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
            return await cascade.build(Settings(**EMBEDDED), None)

    built = asyncio.run(whole())
    assert isinstance(built.stages.llm, OpenAiLlm) and built.stages.llm.model == "talker"
    assert built.notes[0] == "llm: openai (OPENAI_BASE_URL names it and it answers)"


def test_a_key_alone_means_openai(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    built = build(llm=StageChoice(temperature=0.2))
    assert isinstance(built.stages.llm, OpenAiLlm)
    assert (built.stages.llm.base_url, built.stages.llm.temperature) == ("https://api.openai.com/v1", 0.2)
    assert built.notes[0] == "llm: openai (OPENAI_API_KEY is set)"


def test_settings_that_say_where_to_ask_mean_openai_and_nobody_looks_around(build: Build) -> None:
    built = build(llm=StageChoice(base_url="http://127.0.0.1:9/v1", model="mine"))
    assert isinstance(built.stages.llm, OpenAiLlm)
    assert (built.stages.llm.base_url, built.stages.llm.model) == ("http://127.0.0.1:9/v1", "mine")
    assert built.notes[0] == "llm: openai (the settings say where to ask)"


def test_what_is_named_is_taken_without_a_word_on_why(build: Build) -> None:
    built = build(None, llm=StageChoice(use="rehearsal", tokens_per_second=10))
    assert isinstance(built.stages.llm, RehearsalLlm) and built.stages.llm.tokens_per_second == 10
    assert built.stages.llm.exchanges == () and [note for note in built.notes if not note.startswith("asr: ")] == []


def test_auto_says_of_each_stage_what_it_took_and_why(build: Build) -> None:
    built = build(vad=StageChoice(), asr=StageChoice(), tts=StageChoice())
    assert [note.split(":")[0] for note in built.notes] == ["vad", "asr", "llm", "tts"] + (
        ["asr"] if built.stages.asr.name == "pocketsphinx" else []
    )
    for stage, note in zip(built.stages.all(), built.notes, strict=False):
        assert note.split(": ", 1)[1].startswith(f"{stage.name} (")


@pytest.mark.parametrize(
    ("choices", "problem"),
    [
        ({"vad": StageChoice(use="webrtx")}, "webrtc"),
        ({"tts": StageChoice(use="espeak", sped=2)}, "speed"),
        ({"llm": StageChoice(use="openai", temprature=1)}, "temperature"),
        ({"llm": StageChoice(temprature=1)}, "temperature"),
        ({"asr": StageChoice(modle="base")}, "'model'"),
        ({"llm": StageChoice(use="openai", base_url="localhost")}, "http://127.0.0.1:11434/v1"),
        ({"llm": StageChoice(use="rehearsal", tokens_per_second=0)}, "tokens_per_second must be greater than 0"),
    ],
)
def test_a_wrong_name_or_option_is_named_with_the_nearest_right_one(
    build: Build, choices: dict[str, StageChoice], problem: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build(**choices)
    assert problem in str(caught.value)


def test_an_optional_stage_is_left_out_named_alone_or_among_several(build: Build) -> None:
    assert build().stages.judges == ()
    echo, pitch = f"{__name__}:EchoJudge", f"{__name__}:PitchJudge"
    assert [judge.name for judge in build(judge=StageChoice(echo)).stages.judges] == ["echo"]
    built = build(judge=StageChoice(f"{echo}, {pitch}", floor_hz=60, window_s=2.0))
    first, second = built.stages.judges
    assert isinstance(first, EchoJudge) and isinstance(second, PitchJudge)
    assert (first.window_s, second.window_s, second.floor_hz) == (2.0, 2.0, 60)
    assert built.stages.names()["judge"] == "echo, pitch"
    assert built.stages.named()[-2:] == [("judge", first), ("judge", second)]
    with pytest.raises(ConfigurationError, match=r"judge.flor_hz: none of .*PitchJudge has an option 'flor_hz'"):
        build(judge=StageChoice(f"{echo}, {pitch}", flor_hz=60))
    with pytest.raises(ConfigurationError, match="there is no asr called 'none'"):
        build(asr=StageChoice("none"))


def test_a_named_stage_that_is_not_there_says_what_to_install(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises((ConfigurationError, StageUnavailable), match="no_such_package"):
        build(vad=StageChoice(use="no_such_package.vad:Vad"))


def test_a_pack_is_spoken_in_its_voice_and_the_settings_voice_goes_first(build: Build) -> None:
    pack = find_pack("assistant")
    persona = build().persona(pack, Settings(language="zh"))
    assert (
        persona.language == "zh" and persona.instructions == pack.system("zh") and persona.phrases == pack.phrases("zh")
    )
    assert persona.greeting == pack.greeting("zh") and persona.speech.language == "zh"
    assert isinstance(persona.llm, RehearsalLlm)
    mine = Settings(tts=StageChoice(use="espeak", voice="en-gb"))
    assert build(tts=mine.tts).persona(pack, mine).speech.voice == "en-gb"


def test_a_voice_that_the_synthesiser_lacks_is_the_packs_mistake(build: Build, tmp_path: Path) -> None:
    (tmp_path / "pack.toml").write_text(
        'name = "p"\ndescription = ""\ngreeting = false\n[voice.names.en]\nespeak = "en-us+fx"\n'
    )
    (tmp_path / "system.md").write_text("Be brief.\n")
    pack = read_pack(tmp_path)
    with pytest.raises(
        PackError, match=r"pack\.toml:5: voice\.names\.en\.espeak: espeak has no variant 'fx'"
    ) as caught:
        build().persona(pack, Settings())
    assert "f" in caught.value.hint
    scripted = replace(build().stages, tts=ScriptedTts())
    cascade.Cascade(scripted, ()).persona(pack, Settings())  # one that cannot tell is not asked


def test_a_language_model_needs_no_rehearsed_lines(build: Build) -> None:
    built = build(llm=StageChoice(use="openai", base_url="http://127.0.0.1:9/v1", model="mine"))
    assert built.persona(find_pack("assistant"), Settings()).llm is None


def test_without_a_pack_the_remark_is_about_the_personas_phrases(build: Build) -> None:
    assert any("one word in three wrong" in note for note in build(None).notes)
    settings = Settings(**EMBEDDED)
    waiter = Persona("waiter", phrases=("soup please",))
    notes = asyncio.run(cascade.build(settings, None, waiter)).notes
    assert any("a persona's phrases, where there is no pack" in note for note in notes)


def test_what_a_packs_writer_should_know_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "pack.toml").write_text('name = "p"\nlanguages = ["en", "zh"]\n')
    (tmp_path / "system.md").write_text("Be brief.\n")
    notes = asyncio.run(cascade.build(Settings(**EMBEDDED), read_pack(tmp_path))).notes
    assert any(note.startswith("pack: p lists 'zh' and holds no text in Chinese") for note in notes)
