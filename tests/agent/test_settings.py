"""Settings: who wins, and what a mistake says."""

import re
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from duologue.core.policy import EndpointingPolicy, Policy
from duologue.errors import ConfigurationError, PackError
from duologue.settings import Settings, StageChoice, TraceSettings, load_settings


def load(
    folder: Path, toml: str | None = None, *assignments: str, environ: dict[str, str] | None = None, **more: Any
) -> Settings:
    if toml is not None:
        (folder / "duologue.toml").write_text(toml, encoding="utf-8")
    return load_settings(assignments=assignments, environ=environ or {}, folder=folder, **more)


def complaint(folder: Path, *given: str, **more: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(folder, *given, **more)
    return str(caught.value)


def write_pack(folder: Path, settings: str) -> None:
    pack = folder / "prompts" / "brisk"
    pack.mkdir(parents=True)
    (pack / "pack.toml").write_text(f'name = "brisk"\ndescription = "d"\ngreeting = false\n{settings}')
    (pack / "system.md").write_text("You are brisk.")


# --- what comes out -----------------------------------------------------------------------------------------------


def test_without_any_source_the_defaults_stand(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings.vad.use == "both"
    assert settings.asr.use == settings.llm.use == settings.tts.use == "auto"
    assert settings.pack == "assistant"
    assert settings.policy().endpointing == EndpointingPolicy()
    assert isinstance(settings.policy(), Policy)
    assert settings.sources == ("pack assistant",)


def test_built_directly_no_source_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOLOGUE_PACK", "coach")
    settings = Settings(asr=StageChoice(use="whisper"), endpointing=EndpointingPolicy(patience=2))
    assert (settings.pack, settings.asr.use, settings.policy().endpointing.patience) == ("assistant", "whisper", 2)
    assert settings.sources == ()


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_pack(tmp_path: Path) -> None:
    write_pack(tmp_path, "[settings.endpointing]\npatience = 4\nmerge_s = 3\ncomplete_s = 0.9\nneutral_s = 0.9\n")
    toml = 'pack = "brisk"\n[endpointing]\npatience = 3\nmerge_s = 2.5\ncomplete_s = 0.8\n'
    environ = {"DUOLOGUE_ENDPOINTING__PATIENCE": "2", "DUOLOGUE_ENDPOINTING__MERGE_S": "1.5"}
    settings = load(
        tmp_path, toml, "endpointing.patience=1.5", environ=environ, overrides={"endpointing": {"final_s_max": 9}}
    )
    found = settings.endpointing
    assert (found.patience, found.merge_s, found.complete_s, found.neutral_s) == (1.5, 1.5, 0.8, 0.9)
    assert found.final_s_max == 9
    assert settings.sources == (
        "arguments", "--set flags", "environment", str(tmp_path / "duologue.toml"), "pack brisk",
    )  # fmt: skip


def test_the_whole_tree_can_stand_in_the_file(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        """
        language = "en"
        sessions_max = 8
        judge = "mine:Judge"

        [asr]
        use = "whisper"
        model = "base"
        beams = 2

        [reply]
        fillers = ["Well."]

        [limits]
        idle_s = "off"
        session_s_max = 60

        [trace]
        folder = "traces"
        bytes_max = 20000
        """,
    )
    assert settings.asr == StageChoice(use="whisper", model="base", beams=2)
    assert settings.asr.options == {"model": "base", "beams": 2}
    assert settings.judge.use == "mine:Judge"
    assert settings.reply.fillers == ("Well.",)
    assert (settings.limits.idle_s, settings.limits.session_s_max) == (None, 60)
    assert settings.trace == TraceSettings(folder=Path("traces"), bytes_max=20_000)
    assert (settings.language, settings.sessions_max) == ("en", 8)


def test_a_transport_is_no_setting(tmp_path: Path) -> None:
    said = complaint(tmp_path, '[transport]\nuse = "wav"\n')
    assert f"{tmp_path / 'duologue.toml'}:1: transport is no known key" in said
    assert "no such setting" in complaint(tmp_path, environ={"DUOLOGUE_TRANSPORT__USE": "wav"})


def test_lists_in_the_environment_are_json_or_numbered(tmp_path: Path) -> None:
    environ = {
        "DUOLOGUE_REPLY__FILLERS": '["One, two.", "Three."]',
        "DUOLOGUE_LLM__MODELS__0": "first",
        "DUOLOGUE_LLM__MODELS__1": "second",
    }
    settings = load(tmp_path, environ=environ)
    assert settings.reply.fillers == ("One, two.", "Three.")
    assert settings.llm.options == {"models": ["first", "second"]}


def test_text_alone_is_a_stages_use_and_may_stand_beside_its_options(tmp_path: Path) -> None:
    environ = {"DUOLOGUE_ASR": "whisper", "DUOLOGUE_ASR__MODEL": "base", "DUOLOGUE_TTS__SPEED": "1.2"}
    settings = load(tmp_path, 'tts = "piper"', environ=environ)
    assert settings.asr == StageChoice(use="whisper", model="base")
    assert settings.tts == StageChoice(use="piper", speed="1.2")


def test_another_adapter_does_not_inherit_the_options_of_the_one_it_replaces(tmp_path: Path) -> None:
    toml = '[asr]\nuse = "whisper"\nmodel = "base"\n[tts]\nvoice = "amy"\n'
    settings = load(tmp_path, toml, "asr.use=pocketsphinx", "tts.use=piper")
    assert settings.asr == StageChoice(use="pocketsphinx")
    assert settings.tts == StageChoice(use="piper", voice="amy")  # written for whichever `auto` takes


def test_none_off_and_null_switch_off_what_can_be_off(tmp_path: Path) -> None:
    settings = load(tmp_path, None, "limits.idle_s=none", "language=null", "trace.folder=OFF")
    assert (settings.limits.idle_s, settings.language, settings.trace.folder) == (None, None, None)


def test_what_cannot_be_off_says_so(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"silence_s_max must be a number and can't be switched off, got 'off'"
    ):
        load(tmp_path, None, "endpointing.silence_s_max=off")


def test_a_choice_remembers_where_it_was_set(tmp_path: Path) -> None:
    toml = '[asr]\nuse = "whisper"\n\nmodel = "base"\n'
    settings = load(tmp_path, toml, "tts.voice=amy", environ={"DUOLOGUE_LLM": "openai"})
    assert settings.asr.origin("model") == f"{tmp_path / 'duologue.toml'}:4"
    assert settings.tts.origin("voice") == "--set tts.voice"
    assert settings.llm.origin("use") == "environment variable DUOLOGUE_LLM"
    assert settings.vad.origin("use") == settings.asr.origin("beams") == ""


def test_the_settings_file_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text('pack = "assistant"\nsessions_max = 3\n')
    assert load(tmp_path, config="other.toml").sessions_max == 3
    assert load(tmp_path, environ={"DUOLOGUE_CONFIG": str(tmp_path / "other.toml")}).sessions_max == 3


def test_secrets_are_masked_before_anybody_sees_them(tmp_path: Path) -> None:
    settings = load(tmp_path, None, "llm.api_key=sk-123", "llm.base_url=http://x")
    assert settings.redacted()["llm"] == {"use": "auto", "api_key": "***", "base_url": "http://x"}
    assert settings.redacted()["endpointing"]["mode"] == "automatic"
    assert settings.llm.options["api_key"] == "sk-123"


def test_the_packs_stock_phrases_are_the_conversations_in_its_language(tmp_path: Path) -> None:
    assert load(tmp_path).reply.apology.startswith("Sorry")
    assert load(tmp_path, 'language = "zh-CN"').reply.apology.startswith("不好意思")
    assert load(tmp_path, 'language = "zh"\n[reply]\napology = "糟糕"').reply.apology == "糟糕"


# --- what a mistake says ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("toml", "line", "message"),
    [
        (
            "[endpointing]\npatince = 2\n",
            2,
            "endpointing.patince is no known key. Did you mean 'endpointing.patience'?",
        ),
        ("[endpointing]\npatience = 33\n", 2, "endpointing.patience must lie between 0.1 and 10.0, got 33"),
        ("[endpointing]\npatience = nan\n", 2, "must lie between 0.1 and 10.0, got nan"),
        ("[endpointing]\nmerge_s = -0.5\n", 2, "endpointing.merge_s must be 0 or more, got -0.5"),
        ("[endpointing]\nmerge_s = inf\n", 2, "endpointing.merge_s must be 0 or more, got inf"),
        ("output_rate_hz = 44100\n", 1, "output_rate_hz must be 8000, 16000, 24000 or 48000, got 44100"),
        ("output_rate_hz = 'hi-fi'\n", 1, "output_rate_hz must be a whole number, got 'hi-fi'"),
        ("sessions_max = 0\n", 1, "sessions_max must lie between 1 and 100000, got 0"),
        ("\n\npatience = 2\n", 3, "patience is no known key. Did you mean 'endpointing.patience'?"),
        ("[endpointng]\npatience = 2\n", 1, "endpointng is no known key. Did you mean 'endpointing'?"),
        ('[reply]\nfillers = [\n  "a",\n  3,\n]\n', 2, "reply.fillers[1] must be text, got 3"),
        ('[reply]\nfillers = "a"\n', 2, "reply.fillers must be a list"),
        ('[endpointing]\nmode = "auto"\n', 2, "must be 'automatic' or 'manual', got 'auto'"),
        ('[barge_in]\nenabled = "maybe"\n', 2, "barge_in.enabled must be true or false, got 'maybe'"),
        ("[history]\nitems_max = 10.5\n", 2, "history.items_max must be a whole number, got 10.5"),
        ("[limits]\nidle_s = -1\n", 2, "limits.idle_s must lie between 1.0 and 86400.0, got -1"),
        ("limits = 3\n", 1, "limits must be a table, got 3"),
        ("[trace]\nfile = 'x'\n", 2, "trace.file is no known key. Did you mean"),
        ("trace.bytes_max = 3\n", 1, "trace.bytes_max must lie between"),
        ("[asr]\nuse = 3\n", 2, "asr.use must be text, got 3"),
        ("asr = 3\n", 1, "asr must be a table"),
        ("nonsense = 3\n", 1, "nonsense is no known key. Known here:"),
        ("[endpointing\n", 1, "broken TOML"),
        ('a = "x\n', 1, "broken TOML"),
        ("a = [1,\n2\n", 3, "broken TOML"),
    ],
)
def test_a_mistake_in_the_file_names_its_line(toml: str, line: int, message: str, tmp_path: Path) -> None:
    text = complaint(tmp_path, toml)
    assert text.startswith(f"{tmp_path / 'duologue.toml'}:{line}: ")
    assert message in text


def test_several_mistakes_are_told_at_once(tmp_path: Path) -> None:
    toml = "[endpointing]\npatince = 2\n[reply]\nqueue_max = 0\n"
    text = complaint(tmp_path, toml, environ={"DUOLOGUE_SESSIONS_MAX": "x"})
    assert [line.split(": ")[0].rpartition("/")[2] for line in text.splitlines()] == [
        "duologue.toml:2", "duologue.toml:4", "environment variable DUOLOGUE_SESSIONS_MAX",
    ]  # fmt: skip
    assert "Did you mean 'endpointing.patience'?" in text


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("DUOLOGUE_ASR_MODEL", "no such setting. Did you mean DUOLOGUE_ASR__MODEL?"),
        ("DUOLOGUE_ENDPOINTNG__PATIENCE", "no such setting. Did you mean DUOLOGUE_ENDPOINTING__PATIENCE?"),
        ("DUOLOGUE_MODEL", "no such setting. Did you mean DUOLOGUE_MODELS?"),
        ("DUOLOGUE_ENDPOINTING__PATINCE", "endpointing.patince is no known key. Did you mean 'endpointing.patience'?"),
        ("DUOLOGUE_XYZZY", "no such setting. There are, among others: asr"),
        ("DUOLOGUE_ASR__", "a name is missing beside the two underscores. Write it like DUOLOGUE_ASR__KEY"),
    ],
)
def test_a_typo_in_the_environment_is_not_silent(variable: str, message: str, tmp_path: Path) -> None:
    text = complaint(tmp_path, environ={variable: "1"})
    assert text.startswith(f"environment variable {variable}: ")
    assert message in text


def test_variables_that_are_no_settings_are_left_alone(tmp_path: Path) -> None:
    environ = {"DUOLOGUE_MODELS": "/m", "DUOLOGUE_HUB_URL": "http://h", "DUOLOGUE_X_MINE": "1", "PATH": "/bin"}
    assert load(tmp_path, environ=environ).sources == ("pack assistant",)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("asr.model", "--set asr.model: expected KEY=VALUE. Write it like --set asr.model=base"),
        ("=3", "expected KEY=VALUE"),
        ("asr_use=whisper", "--set asr_use: asr_use is no known key. Did you mean 'asr.use'?"),
        ("endpointing.patience=[1", "--set endpointing.patience: endpointing.patience must be a number, got '[1'"),
        ("reply=3", "--set reply: reply must be a table"),
        ("endpointing.mode.x=3", "--set endpointing.mode.x: endpointing.mode"),
    ],
)
def test_a_wrong_flag_is_named(assignment: str, message: str, tmp_path: Path) -> None:
    assert message in complaint(tmp_path, "", assignment)


def test_a_value_given_both_whole_and_in_parts_is_refused(tmp_path: Path) -> None:
    text = complaint(tmp_path, "", "asr.files=[1]", "asr.files.x=1")
    assert "--set asr.files.x: files is given both as a whole and by its parts" in text


def test_a_wrong_argument_is_the_programs(tmp_path: Path) -> None:
    text = complaint(tmp_path, overrides={"endpointing": {"patience": "fast"}})
    assert text == "argument: endpointing.patience must be a number, got 'fast'"
    with pytest.raises(ConfigurationError, match=r"pak is no known key. Did you mean 'pack'"):
        Settings(pak="x")  # type: ignore[call-arg]  # the mistake under test


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    assert "no such settings file (named by --config)" in complaint(tmp_path, config="none.toml")
    assert "(named by DUOLOGUE_CONFIG)" in complaint(tmp_path, environ={"DUOLOGUE_CONFIG": "none.toml"})


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "duologue.toml").write_bytes(b'pack = "a"\nlanguage = "\xff"\n')
    assert "duologue.toml:2: broken TOML: byte 0xff is not UTF-8 text" in complaint(tmp_path)


def test_a_byte_order_mark_and_windows_lines_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "duologue.toml").write_bytes(b"\xef\xbb\xbfsessions_max = 5\r\n[endpointing]\r\npatience = 2\r\n")
    assert load(tmp_path).endpointing.patience == 2


def test_what_a_pack_recommends_wrongly_is_the_packs_mistake(tmp_path: Path) -> None:
    write_pack(tmp_path, "[settings.endpointing]\nmerge_s = 1\npatience = 99\n")
    with pytest.raises(PackError) as caught:
        load(tmp_path, 'pack = "brisk"')
    assert str(caught.value).endswith(
        "prompts/brisk/pack.toml:6: settings.endpointing.patience must lie between 0.1 and 10.0, got 99"
    )


def test_an_unknown_pack_names_the_nearest(tmp_path: Path) -> None:
    assert "there is no pack 'asistant'. Did you mean 'assistant'?" in complaint(tmp_path, 'pack = "asistant"')


def test_a_folder_in_the_files_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "duologue.toml").mkdir()
    assert load(tmp_path).sources == ("pack assistant",)


def test_a_stage_is_found_by_name() -> None:
    assert Settings().stage("vad").use == "both"


def test_a_settings_file_that_is_too_large_to_be_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "big.toml").write_bytes(b"#" * 5_000_001)
    with pytest.raises(ConfigurationError, match=r"big\.toml: is larger than 5 MB"):
        load(tmp_path, config=tmp_path / "big.toml")


def test_a_flag_of_nothing_but_brackets_is_a_wrong_value(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"endpointing\.patience"):
        load(tmp_path, None, "endpointing.patience=" + "[" * 100_000)


# --- NAME:MODEL ---------------------------------------------------------------------------------------------------


def test_a_stage_and_its_model_may_be_named_in_one(tmp_path: Path) -> None:
    file = tmp_path / "duologue.toml"
    file.write_text('asr = "whisper:tiny.en"\n[tts]\nuse = "piper:en_US-joe-medium"\nworkers = 3\n')
    environ = {"DUOLOGUE_LLM__USE": "openai:qwen3:8b"}
    settings = load_settings(environ=environ, folder=tmp_path)
    assert (settings.asr, settings.llm) == (
        StageChoice("whisper", model="tiny.en"),
        StageChoice("openai", model="qwen3:8b"),
    )
    assert settings.tts == StageChoice("piper", voice="en_US-joe-medium", workers=3)
    assert "duologue.toml:1" in settings.asr.origin("model")
    flags = load_settings(assignments=["asr.use=whisper:base", "tts.use=piper:x"], environ=environ, folder=tmp_path)
    assert (flags.asr.options, flags.tts.options) == ({"model": "base"}, {"voice": "x", "workers": 3})
    assert Settings(asr=StageChoice("whisper:base")).asr == StageChoice("whisper", model="base")


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["asr.use=whisper:"], "'whisper:': no model behind the colon"),
        (["asr.use=pocketsphinx:big"], "pocketsphinx has no model to be named. Write asr.use = 'pocketsphinx'"),
        (["asr.use=whisper:base", "asr.model=tiny"], "the model is named twice, 'base' in use and 'tiny' in model"),
    ],
)
def test_a_model_that_can_not_be_named_so_is_told(assignments: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        load_settings(assignments=assignments, environ={}, folder=tmp_path)


def test_what_is_no_adapter_before_the_colon_is_a_module(tmp_path: Path) -> None:
    settings = load_settings(assignments=["asr.use=mine.ears:Ears", "judge.use=a:b,c"], environ={}, folder=tmp_path)
    assert (settings.asr.use, settings.judge.use) == ("mine.ears:Ears", "a:b,c")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({1: 2}, "the key 1 is no name"),
        ({"asr": {1: 2}}, "the key 1 in asr is no name"),
        ({"asr": {"": 2}}, "the key '' in asr is no name"),
        ({"pack": None}, "pack must be text, got None"),
        ({"language": "klingon"}, "language must be a language code like en, zh or pt-BR, got 'klingon'"),
        ({"asr": object}, "asr must be a table"),
    ],
)
def test_a_programs_wrong_mapping_is_told(overrides: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        load_settings(overrides=overrides, environ={}, folder=tmp_path)


def test_a_programs_mapping_may_be_of_any_kind(tmp_path: Path) -> None:
    inner = MappingProxyType({"patience": 2})
    settings = load_settings(
        overrides=MappingProxyType({"endpointing": inner, "asr": StageChoice("whisper", model="base")}),
        environ={},
        folder=tmp_path,
    )
    assert settings.endpointing.patience == 2 and settings.asr == StageChoice("whisper", model="base")
