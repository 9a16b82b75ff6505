"""Packs: what is read, and where a mistake stands."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from duologue.core.policy import BACKCHANNELS, STOP_WORDS
from duologue.dialogues import Exchange, read_dialogues
from duologue.errors import ConfigurationError, PackError
from duologue.languages import best_language
from duologue.packs import Pack, find_pack, pack_folders, pack_names, read_pack

MANIFEST = """\
name = "coach"
description = "A coach."
languages = ["en", "zh"]
default_language = "en"

[voice]
speed = 0.9

[voice.names.en]
espeak = "en-us+f3"

[texts.en]
apology = "Oh dear."
vocabulary = ["tempo", "warm up"]
backchannels = ["righto"]
stop_words = ["time out"]

[texts.zh]
fillers = ["嗯，"]

[variables]
sport = "tennis"

[settings.endpointing]
patience = 2.5

[settings.reply]
apology = "from settings"
"""
FILES = {
    "pack.toml": MANIFEST,
    "system.md": "You coach $sport in $language. It costs $$5.\n",
    "system.zh.md": "你教${sport}。\n",
    "greeting.md": "Hello,\nplayer!\n",
    "greeting.zh.md": "你好，\n球手！\n",
    "dialogues/serve.md": "# Serve\nuser: How do I serve?\nor: Show me a serve.\nagent: Throw high.\n",
    "dialogues/serve.zh.md": "user：怎么发球？\nagent：抛高一点。\n",
}


class Kitchen:
    """Makes packs in a folder, and mistakes in them."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "coach"

    def write(self, **changed: str | bytes | None) -> Path:
        files: dict[str, str | bytes | None] = dict(FILES)
        files.update(changed)
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return self.folder

    def read(self, **changed: str | bytes | None) -> Pack:
        return read_pack(self.write(**changed))

    def mistake(self, name: str, content: str | bytes | None) -> PackError:
        with pytest.raises(PackError) as caught:
            self.read(**{name: content})
        return caught.value


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(tmp_path)


# --- what is read -------------------------------------------------------------------------------------------------


def test_a_pack_is_read_in_both_languages(kitchen: Kitchen) -> None:
    pack = kitchen.read()
    assert (pack.name, pack.languages, pack.default_language) == ("coach", ("en", "zh"), "en")
    assert pack.system() == "You coach tennis in English. It costs $5."
    assert pack.system("zh-CN", {"sport": "乒乓球"}) == "你教乒乓球。"
    assert pack.greeting() == "Hello, player!"
    assert pack.greeting("zh") == "你好，球手！"
    assert pack.voice_name("espeak", "en-GB") == "en-us+f3"
    assert pack.voice_name("piper") is None
    assert pack.manifest.voice.speed == 0.9
    assert pack.texts("zh").fillers == ("嗯，",)


def test_variables_are_filled_in_every_text(kitchen: Kitchen) -> None:
    manifest = (
        MANIFEST.replace("Oh dear.", "No $sport for $name.").replace("嗯，", "${sport}，").replace("tempo", "$$5")
    )
    line = "user: Do you play $sport?\nor: $sport?\nagent: I teach $sport for $$5.\n"
    pack = kitchen.read(**{"pack.toml": manifest, "greeting.md": "Hi, it is $name.\n", "dialogues/serve.md": line})
    assert pack.greeting() == "Hi, it is coach."
    assert pack.texts().apology == "No tennis for coach." and pack.texts("zh").fillers == ("tennis，",)
    assert pack.recommended("zh")["reply"]["fillers"] == ("tennis，",)
    assert pack.exchanges()[0].asked == ("Do you play tennis?", "tennis?")
    assert pack.exchanges()[0].agent == "I teach tennis for $5." and "$5" in pack.phrases()
    greeting = kitchen.read(**{"greeting.md": "Ready for $sport?"}).greeting(variables={"sport": "golf"})
    assert greeting == "Ready for golf?"


def test_a_language_without_any_text_is_told(kitchen: Kitchen) -> None:
    manifest = MANIFEST.replace("[texts.zh]", "[texts.en-GB]").replace('"zh"]', '"zh", "en-GB"]')
    texts = {"system.zh.md": None, "greeting.zh.md": None, "dialogues/serve.zh.md": None}
    pack = kitchen.read(**{"pack.toml": manifest}, **texts)
    assert len(pack.remarks) == 2
    assert "coach lists 'zh' and holds no text in Chinese (system.zh.md" in pack.remarks[0]
    assert pack.remarks[1] == "greeting.en-GB.md is missing: in English the agent waits for the caller"
    assert kitchen.read().remarks == ()


def test_a_synthesiser_that_nobody_knows_is_told_unless_it_is_declared(kitchen: Kitchen) -> None:
    manifest = MANIFEST.replace("[voice.names.en]", '[voice.names.en]\nfestival = "kal"\nespeakng = "x"')
    declared = manifest.replace("speed = 0.9", 'speed = 0.9\nother_engines = ["espeakng"]')
    [remark] = kitchen.read(**{"pack.toml": declared}).remarks
    assert remark.startswith("voice.names.en.festival: there is no synthesiser 'festival' here, only espeak")
    error = kitchen.mistake("pack.toml", manifest)
    assert error.line == 11 and 'voice.other_engines = ["espeakng"]' in str(error)


def test_a_language_that_a_pack_lacks_falls_back_to_its_own(kitchen: Kitchen) -> None:
    pack = kitchen.read(**{"system.zh.md": None})
    assert pack.language_for("fr") == "en"
    assert pack.system("fr").startswith("You coach")
    assert pack.system("zh") == "You coach tennis in Chinese. It costs $5."


def test_phrases_are_the_users_lines_and_the_vocabulary(kitchen: Kitchen) -> None:
    pack = kitchen.read()
    assert pack.phrases() == ("How do I serve?", "Show me a serve.", "tempo", "warm up")
    assert pack.phrases("zh") == ("怎么发球？",)
    [exchange] = pack.exchanges("en")
    assert (exchange.user, exchange.agent, exchange.dialogue) == ("How do I serve?", "Throw high.", "Serve")


def test_recommendations_are_settings_and_stock_phrases(kitchen: Kitchen) -> None:
    assert kitchen.read().recommended() == {
        "endpointing": {"patience": 2.5},
        "reply": {"apology": "from settings"},
        "barge_in": {"backchannels": (*BACKCHANNELS, "righto"), "stop_words": (*STOP_WORDS, "time out")},
    }
    assert kitchen.read().recommended("zh")["reply"]["fillers"] == ("嗯，",)


def test_a_pack_that_does_not_greet_needs_no_greeting(kitchen: Kitchen) -> None:
    manifest = MANIFEST.replace('name = "coach"', 'name = "coach"\ngreeting = false')
    pack = kitchen.read(**{"pack.toml": manifest, "greeting.md": None})
    assert pack.greeting() is None


def test_three_lines_make_a_pack(tmp_path: Path) -> None:
    (tmp_path / "pack.toml").write_text('name = "tiny"\n')
    (tmp_path / "system.md").write_text("Be brief.\n")
    pack = read_pack(tmp_path)
    assert (pack.greeting(), pack.languages, pack.manifest.description, pack.samples) == (None, ("en",), "", ())


def test_windows_files_are_read(kitchen: Kitchen) -> None:
    windows = {name: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() for name, text in FILES.items()}
    pack = kitchen.read(**windows)
    assert pack.system() == "You coach tennis in English. It costs $5."
    assert [exchange.agent for exchange in pack.samples] == ["Throw high.", "抛高一点。"]


def test_a_variable_that_a_pack_lacks_cannot_be_given(kitchen: Kitchen) -> None:
    with pytest.raises(ConfigurationError, match=r"has no variable 'sprot'. Did you mean 'sport'"):
        kitchen.read().system(variables={"sprot": "golf"})


# --- where a mistake stands ---------------------------------------------------------------------------------------


def changed(old: str, new: str) -> str:
    assert old in MANIFEST
    return MANIFEST.replace(old, new)


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (changed("speed = 0.9", "speed = 7"), 7, "voice.speed must lie between 0.5 and 2.0, got 7"),
        (changed("speed = 0.9", "sped = 1"), 7, "voice.sped is no known key. Did you mean 'voice.speed'?"),
        (changed("[texts.zh]", "[texts.fr]"), 18, "texts.fr: not among languages"),
        (changed("[voice.names.en]", "[voice.names.fr]"), 9, "voice.names.fr: not among languages"),
        (changed('default_language = "en"', 'default_language = "fr"'), 4, "one of languages (en, zh), got 'fr'"),
        (changed('apology = "Oh dear."', "apology = 3"), 13, "texts.en.apology must be text, got 3"),
        (changed("[settings.endpointing]", "[settings.llm]"), 24, "settings.llm is not a pack's to set"),
        (changed("[settings.reply]", "[settings.repli]"), 27, "Did you mean 'reply'?"),
        (changed('name = "coach"\n', ""), 0, "name is missing"),
        (changed('"coach"', '"The Coach"'), 1, "name must be small letters, digits, - and _, with a letter"),
        (changed('languages = ["en", "zh"]', "languages = []"), 3, "languages must not be empty"),
        (changed('"zh"]', '"klingon"]'), 3, "languages[1] must be a language code like en, zh or pt-BR, got 'klingon'"),
        (changed('"zh"]', '"Chinese"]'), 3, "got 'Chinese'. Chinese is 'zh'"),
        (changed("[texts.zh]", "[texts.german]"), 18, "must be a language code like en, zh or pt-BR, got 'german'"),
        (changed('espeak = "en', 'espaek = "en'), 10, "no synthesiser 'espaek' here. Did you mean 'espeak'?"),
        (changed('"Oh dear."', '"Oh $sprot."'), 13, "texts.en.apology: unknown variable $sprot. Did you mean 'sport'?"),
        (changed('["嗯，"]', '["$x"]'), 19, "texts.zh.fillers: unknown variable $x"),
        (changed('"tempo"', '"5$"'), 14, "texts.en.vocabulary: a lone $ stands for nothing"),
        (changed("[voice]", "[voice"), 6, "broken TOML"),
        (b'name = "x"\ndescription = "\xe9t\xe9"\n', 2, "byte 0xe9 is not UTF-8 text. Save the file as UTF-8"),
        (None, 0, "is missing"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_manifest_names_its_line(
    content: str | bytes | None, line: int, message: str, kitchen: Kitchen
) -> None:
    error = kitchen.mistake("pack.toml", content)
    assert message in str(error)
    assert (error.path, error.line) == (str(kitchen.folder / "pack.toml"), line)
    assert str(error).startswith(f"{error.path}:{line}: " if line else f"{error.path}: ")


@pytest.mark.parametrize(
    ("name", "content", "line", "message"),
    [
        ("system.md", "One.\nYou coach $sprot.\n", 2, "unknown variable $sprot. Did you mean 'sport'?"),
        ("system.md", "It costs $5.\n", 1, "a lone $ stands for nothing. Write $$ for a dollar sign"),
        ("system.md", " \n", 0, "is empty"),
        ("system.md", None, 0, "is missing"),
        ("greeting.md", "Hi!\nIt is $frend.\n", 2, "unknown variable $frend"),
        ("greeting.zh.md", "$5\n", 1, "a lone $ stands for nothing. Write $$ for a dollar sign"),
        ("dialogues/a.md", "# $5\n> $x\nuser: Hi\nagent: I play $sprot.\n", 4, "unknown variable $sprot"),
        ("system.fr.md", "Bonjour", 0, "language 'fr' is not among languages in pack.toml"),
        ("greeting.md", None, 0, "is missing. Write it, or set greeting = false"),
        ("greeting.md", "\n", 0, "is empty"),
        ("greeting.zh.md", b"\xff", 1, "not UTF-8"),
        ("dialogues/a.md", "# A\nuser: Hi\n", 2, "the user gets no answer. Add an `agent:` line"),
        ("dialogues/a.md", "user: Hi\nuser: Ho\nagent: Hm\n", 1, "the user gets no answer"),
        ("dialogues/a.md", "agent: Hi\n", 1, "`agent:` needs a `user:` line before it"),
        ("dialogues/a.md", "user: Hi\nagent: Ho\nor: Hm\n", 3, "`or:` needs a `user:` line before it"),
        ("dialogues/a.md", "user: Hi\nagnet: Ho\n", 2, "'agnet' is no speaker. Did you mean `agent:`?"),
        ("dialogues/a.md", "\nbob: Hi\n", 2, "'bob' is no speaker. Begin with `user:` or `agent:`"),
        ("dialogues/a.md", "Once upon a time\n", 1, "nobody says 'Once upon a time'"),
        ("dialogues/a.md", "user:\n", 1, "`user:` says nothing"),
        ("dialogues/a.md", "---\nlanguage: fr\n---\nuser: Hi\nagent: Ho\n", 1, "language 'fr' is not among"),
        ("dialogues/a.md", "---\nlang: en\n---\n", 2, "front matter: expected `language: CODE`, got 'lang: en'"),
        ("dialogues/a.md", "---\nlanguage: en\n\n", 1, "the front matter is never closed"),
    ],
)
def test_a_mistake_in_a_text_names_its_line(
    name: str, content: str | bytes | None, line: int, message: str, kitchen: Kitchen
) -> None:
    error = kitchen.mistake(name, content)
    assert message in str(error)
    assert (error.path, error.line) == (str(kitchen.folder / name), line)


def test_a_folder_in_a_files_place_is_named(kitchen: Kitchen) -> None:
    folder = kitchen.write(**{"system.md": None})
    (folder / "system.md").mkdir()
    with pytest.raises(PackError, match=r"system\.md: can't be read"):
        read_pack(folder)


# --- dialogues ----------------------------------------------------------------------------------------------------


def exchanges(text: str, language: str = "en") -> list[Exchange]:
    return list(read_dialogues("d.md", text, language))


def test_dialogues_are_read_exchange_by_exchange() -> None:
    first, second, third = exchanges(
        """---
language: en

---
> A note to the reader.
# Opening hours

user: When do you open?
or: What are
    your hours?
agent: At nine.
On Sunday at ten.
    Remember: agent: is only a word here.

user: Thanks.
agent: You are welcome.
## Other things
User: Bye.
Agent: Bye.
"""
    )
    assert first.asked == ("When do you open?", "What are your hours?")
    assert first.agent == "At nine. On Sunday at ten. Remember: agent: is only a word here."
    assert (first.dialogue, first.position, first.line, first.language) == ("Opening hours", 0, 8, "en")
    assert (second.user, second.position) == ("Thanks.", 1)
    assert (third.dialogue, third.position, third.path) == ("Other things", 0, "d.md")


def test_a_sentence_with_a_colon_is_no_speaker() -> None:
    [exchange] = exchanges("user: Hi.\nagent: Listen.\nNote: it rains.\n")
    assert exchange.agent == "Listen. Note: it rains."


def test_chinese_lines_are_joined_without_a_space() -> None:
    [exchange] = exchanges("user：你好\n  吗？\nagent：很好。\n  谢谢。OK\n  好\n", "zh")
    assert (exchange.user, exchange.agent) == ("你好吗？", "很好。谢谢。OK 好")


def test_an_empty_file_holds_no_dialogue() -> None:
    assert exchanges("") == exchanges("# Only a heading\n") == []


# --- finding ------------------------------------------------------------------------------------------------------


def test_a_pack_is_found_by_name_here_first_and_then_among_ours(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.folder = tmp_path / "prompts" / "coach"
    kitchen.write()
    assert find_pack("coach", folder=tmp_path).folder == kitchen.folder
    assert find_pack("assistant", folder=tmp_path).name == "assistant"
    assert pack_names(tmp_path) == ["assistant", "coach"]
    assert pack_folders(tmp_path)[0] == tmp_path / "prompts"


def test_a_pack_is_found_by_its_path(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.write()
    assert find_pack("./coach", folder=tmp_path).name == "coach"
    assert find_pack(str(kitchen.folder)).name == "coach"
    with pytest.raises(ConfigurationError, match="no such pack folder"):
        find_pack("./none", folder=tmp_path)


@pytest.mark.parametrize(("name", "hint"), [("asistant", "Did you mean 'assistant'"), ("", "There are: assistant")])
def test_a_pack_that_is_not_there_names_the_nearest(name: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=hint):
        find_pack(name, folder=tmp_path)


@pytest.mark.parametrize(
    ("wanted", "available", "found"),
    [
        ("en", ["zh", "en"], "en"),
        ("en-US", ["zh", "en-GB", "en"], "en-GB"),
        ("zh_CN", ["zh-CN", "zh"], "zh-CN"),
        ("EN", ["en"], "en"),
        ("fr", ["en"], None),
        (None, ["en"], None),
        ("", ["en"], None),
    ],
)
def test_the_nearest_language_is_of_the_same_tongue(
    wanted: str | None, available: list[str], found: str | None
) -> None:
    assert best_language(wanted, available) == found


# --- the pack that ships ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def assistant() -> Pack:
    return find_pack("assistant")


def test_the_assistant_speaks_english_and_chinese(assistant: Pack) -> None:
    assert assistant.languages == ("en", "zh")
    assert len(assistant.exchanges("en")) >= 80
    assert len(assistant.exchanges("zh")) >= 25
    assert "English" in assistant.system()
    assert "中文" in assistant.system("zh")
    assert assistant.greeting() and assistant.greeting("zh")


def test_the_assistant_is_written_for_the_ear(assistant: Pack) -> None:
    for exchange in assistant.samples:
        assert not set("*_#`[]()0123456789") & set(exchange.agent), f"{exchange.path}:{exchange.line}"


def test_no_two_lines_of_the_assistant_ask_the_same(assistant: Pack) -> None:
    for language in assistant.languages:
        asked = [line for exchange in assistant.exchanges(language) for line in exchange.asked]
        assert len(asked) == len(set(asked))


def test_some_answers_of_the_assistant_are_long_enough_to_interrupt(assistant: Pack) -> None:
    # 90 words are half a minute of speech
    assert sum(len(exchange.agent.split()) > 90 for exchange in assistant.exchanges("en")) >= 4


def test_callers_of_the_assistant_use_words_that_pocketsphinx_knows(assistant: Pack) -> None:
    pocketsphinx: Callable[[], str] = pytest.importorskip("pocketsphinx").get_model_path
    lines = (Path(pocketsphinx()) / "en-us" / "cmudict-en-us.dict").read_text(encoding="utf-8").splitlines()
    known = {line.split()[0] for line in lines if line}
    said = {word for phrase in assistant.phrases("en") for word in re.findall(r"[a-z']+", phrase.lower())}
    assert said <= known


@pytest.mark.parametrize("name", ["pack.toml", "system.md", "dialogues/z.md"])
def test_a_pipe_or_a_device_among_the_files_is_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    (tmp_path / "dialogues").mkdir()
    (tmp_path / "pack.toml").write_text('name = "p"\n')
    (tmp_path / "system.md").write_text("Be brief.\n")
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(PackError, match=rf"{name}: is not a regular file"):
        read_pack(tmp_path)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(PackError, match=rf"{name}: is not a regular file"):
        read_pack(tmp_path)


def test_a_manifest_of_nothing_but_brackets_is_broken(tmp_path: Path) -> None:
    (tmp_path / "pack.toml").write_text('name = "p"\nx = ' + "[" * 5000)
    with pytest.raises(PackError, match=r"pack\.toml:2: broken TOML: brackets within brackets"):
        read_pack(tmp_path)
