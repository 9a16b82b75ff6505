"""Adapters by name: found through real entry points, of a distribution made in a folder on the path."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from duologue import registry
from duologue.errors import ConfigurationError, StageUnavailable
from duologue.settings import StageChoice
from duologue.stage_names import spelled_out

PLUGIN = """
from typing import Literal
from duologue.errors import ConfigurationError

class Good:
    auto_rank = 900
    languages = ("xx", "xy-XY")
    def __init__(self, model: str = "tiny", *, beams: int = 1, speed: float | None = None,
                 mode: Literal["a", "b"] = "a", phrases: tuple[str, ...] = (), _private: int = 0) -> None:
        self.given = (model, beams, speed, mode, phrases)
    @classmethod
    def probe(cls): return ""

class Better(Good):
    auto_rank = 950
    languages = None
    def __init__(self, key: str, other: int = 1) -> None:
        self.given = (key, other)
    @classmethod
    def probe(cls): return "asr: x-better: no key"

class Sick(Good):
    auto_rank = 999
    @classmethod
    def probe(cls): raise OSError("disk")

class Fussy(Good):
    auto_rank = 1
    def __init__(self, size: int = 1, kind: str = "") -> None:
        if size < 0: raise ValueError("size must not be negative")
        if kind: raise ConfigurationError("kind is wrong")

class Lax(Good):
    auto_rank = 2
    def __init__(self, **options) -> None:
        self.given = options

class Odd(Good):
    auto_rank = 3
    def __init__(self, thing: "Unknown" = None, gap=0) -> None:
        self.given = (thing, gap)

class Nameless:
    languages = ("xx",)
    def __init__(self, quirk: int = 1) -> None: ...
    @classmethod
    def probe(cls): return ""

class Silent(Nameless):
    auto_rank = 990
    languages = None

def factory(size: int = 3):
    made = Good(); made.given = size
    return made
factory.probe = lambda: "not here"
"""
ENTRIES = """
[duologue.asr]
x-good = duologue_test_plugin:Good
x-better = duologue_test_plugin:Better
x-sick = duologue_test_plugin:Sick
x-broken = duologue_test_plugin_broken:Nothing
x-missing = duologue_test_plugin_missing:Nothing
x-renamed = duologue_test_plugin:Nothing
x-nameless = duologue_test_plugin:Nameless
x-silent = duologue_test_plugin:Silent
[duologue.llm]
x-nameless = duologue_test_plugin:Nameless
[duologue.commands]
x-command = duologue_test_plugin:factory
x-twice = duologue_test_plugin:factory
x-twice = duologue_test_plugin:Good
"""


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "duologue_test_plugin.py").write_text(PLUGIN)
    (tmp_path / "duologue_test_plugin_broken.py").write_text("raise RuntimeError('boom')")
    info = tmp_path / "duologue_test_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: duologue-test-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in [name for name in sys.modules if name.startswith("duologue_test_plugin")]:
        del sys.modules[name]


def given(choice: StageChoice, **offered: object) -> object:
    return registry.make("asr", choice, **offered).given  # type: ignore[attr-defined]  # the plugin's own


def refusal(choice: StageChoice) -> str:
    with pytest.raises(ConfigurationError) as caught:
        registry.make("asr", choice)
    return str(caught.value)


def test_adapters_are_found_through_entry_points() -> None:
    assert {"x-good", "x-broken", "whisper", "pocketsphinx"} <= set(registry.names("asr"))
    assert registry.adapter_class("asr", "x-good").__name__ == "Good"
    assert set(registry.names("vad")) >= {"both", "silero", "webrtc"}


def test_a_class_can_be_named_without_an_entry_point() -> None:
    assert given(StageChoice("duologue_test_plugin:Good", beams=2)) == ("tiny", 2, None, "a", ())
    with pytest.raises(ConfigurationError, match=r"is not package\.module:Class"):
        registry.adapter_class("asr", "duologue_test_plugin:")


def test_an_unknown_adapter_names_the_nearest_and_where_it_was_asked_for() -> None:
    with pytest.raises(ConfigurationError) as caught:
        registry.adapter_class("asr", "x-god", origin="duologue.toml:3")
    assert str(caught.value) == "duologue.toml:3: asr.use: there is no asr called 'x-god'. Did you mean 'x-good'?"
    with pytest.raises(ConfigurationError, match=r"there is no stage 'ars'\. Did you mean 'asr'"):
        registry.names("ars")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x-broken", r"x-broken \(duologue_test_plugin_broken:Nothing\) can't be loaded: RuntimeError: boom"),
        ("x-missing", "x-missing can't be loaded: no module named 'duologue_test_plugin_missing'"),
        ("x-renamed", "x-renamed .* can't be loaded: AttributeError"),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_unavailable_with_the_cause(name: str, message: str) -> None:
    with pytest.raises(StageUnavailable, match=message) as caught:
        registry.make("asr", StageChoice(name))
    assert caught.value.__cause__ is not None


def test_options_are_read_as_the_constructors_types() -> None:
    choice = StageChoice("x-good", model="base", beams="3", speed="1.5", mode="b")
    assert given(choice) == ("base", 3, 1.5, "b", ())
    assert given(StageChoice("x-good", speed="off")) == ("tiny", 1, None, "a", ())


def test_what_the_engine_offers_is_taken_only_where_the_constructor_names_it() -> None:
    assert given(StageChoice("x-good"), phrases=("hi",), exchanges=()) == ("tiny", 1, None, "a", ("hi",))
    assert given(StageChoice("x-good", phrases=["mine"]), phrases=("hi",)) == ("tiny", 1, None, "a", ("mine",))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (StageChoice("x-good", beens=2), "asr.beens: x-good has no option 'beens'. Did you mean 'beams'?"),
        (StageChoice("x-good", _private=2), "x-good has no option '_private'"),
        (StageChoice("x-good", beams="many"), "asr.beams must be a whole number, got 'many'"),
        (StageChoice("x-good", mode="c"), "asr.mode must be 'a' or 'b', got 'c'"),
        (StageChoice("x-better"), "asr.key is missing: x-better needs it. Set asr.key"),
        (StageChoice("duologue_test_plugin:Fussy", size=-1), "refuses its options: size must not be negative"),
        (StageChoice("duologue_test_plugin:Fussy", kind="x"), "kind is wrong"),
        (StageChoice("auto"), "asr.use is still 'auto'"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_refused_before_anything_is_built(choice: StageChoice, message: str) -> None:
    assert message in refusal(choice)


def test_a_constructor_that_takes_anything_gets_it() -> None:
    assert given(StageChoice("duologue_test_plugin:Lax", anything="3")) == {"anything": "3"}


def test_types_that_cannot_be_resolved_are_passed_as_they_are() -> None:
    assert given(StageChoice("duologue_test_plugin:Odd", thing="x", gap="3")) == ("x", "3")


def test_a_factory_serves_as_well_as_a_class() -> None:
    assert given(StageChoice("duologue_test_plugin:factory", size="5")) == 5


def test_auto_takes_the_best_that_is_really_there_and_says_why() -> None:
    name, why = registry.choose_auto("asr", language="xx")
    assert name == "x-good"
    assert why.startswith(("the best of those that can be used here (x-good", "the one that works here"))
    assert "x-sick: its probe failed: OSError: disk" in why
    assert "x-better: no key" in why


def test_auto_considers_only_adapters_with_the_options_that_are_set() -> None:
    assert registry.choose_auto("asr", options=["beams"]).name == "x-good"
    assert registry.choose_auto("asr", options=["other"]) == ("x-better", "the only one that has other")
    with pytest.raises(StageUnavailable, match=r"x-good: it has no option 'key'.*Run `duologue doctor`"):
        registry.choose_auto("asr", options=["beams", "key"])


def test_an_option_that_no_adapter_has_names_the_nearest_that_one_has_and_where_it_stands() -> None:
    with pytest.raises(ConfigurationError) as caught:
        registry.choose_auto("asr", options=["modell"], origin=lambda key: f"--set asr.{key}")
    assert str(caught.value) == (
        "--set asr.modell: asr.modell: no asr here has an option 'modell'. Did you mean 'model'?"
    )
    registry.check_known("asr", ["model", "quirk"])


def test_auto_takes_who_knows_the_language_before_who_does_not_say() -> None:
    assert registry.choose_auto("asr").name == "x-silent"  # no language asked for: the rank alone counts
    name, why = registry.choose_auto("asr", language="xx")
    assert name == "x-good" and "x-silent: it does not say that it knows 'xx'" in why


def test_who_has_no_rank_is_taken_by_name_or_where_nothing_else_can_be_used() -> None:
    assert "x-nameless: only by name, it has no auto_rank" in registry.choose_auto("asr", language="xx").why
    assert registry.choose_auto("asr", options=["quirk"], language="xx-XX").name == "x-silent"
    name, why = registry.choose_auto("llm", options=["quirk"])
    assert name == "x-nameless" and why == "nothing else can be used here"


def test_a_star_stands_for_every_language() -> None:
    found = {candidate.name: candidate for candidate in registry.candidates("tts", language="sw")}
    assert found["espeak"].problem == "" and found["espeak"].standing is registry.Standing.FITS


def test_auto_minds_the_language() -> None:
    assert registry.choose_auto("asr", language="xx-YY").name == "x-good"
    found = {candidate.name: candidate for candidate in registry.candidates("asr", language="fr")}
    assert found["x-good"].problem == "it does not know the language 'fr'"


def test_every_candidate_is_listed_best_first_with_what_keeps_it() -> None:
    found = registry.candidates("asr")
    assert [candidate.name for candidate in found][:4] == ["x-sick", "x-silent", "x-better", "x-good"]
    assert found[-1].name in ("x-broken", "x-missing", "x-renamed", "x-nameless")
    problems = {candidate.name: candidate.problem for candidate in found}
    assert problems["x-broken"].startswith("x-broken (duologue_test_plugin_broken:Nothing) can't be loaded")
    assert problems["x-good"] == ""


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, "pip install 'duologue[piper]'"),
        ('{"url": "https://x.org/d.whl", "archive_info": {}}', "pip install 'duologue[piper] @ https://x.org/d.whl'"),
        ('{"url": "file:///some/where", "dir_info": {"editable": true}}', "pip install -e '/some/where[piper]'"),
    ],
)
def test_how_to_install_an_extra_is_told_as_it_works_here(
    origin: str | None, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "duologue-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: duologue\nVersion: 9.9\n")
    if origin:
        (info / "direct_url.json").write_text(origin)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert registry.install_command("piper") == command
    pip = tmp_path / ".venv" / "bin" / "pip"
    pip.parent.mkdir(parents=True)
    pip.touch()
    (info / "direct_url.json").write_text(f'{{"url": "{tmp_path.as_uri()}", "dir_info": {{"editable": true}}}}')
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    monkeypatch.chdir(tmp_path)
    assert registry.install_command("piper") == ".venv/bin/pip install -e '.[piper]'"
    assert registry.install_command() == ".venv/bin/pip install -e ."


def test_commands_come_through_the_same_door() -> None:
    assert registry.command("x-command")(size=4).given == 4
    with pytest.raises(ConfigurationError, match="the command 'none' is not installed"):
        registry.command("none")


def test_two_plugins_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="two plugins call themselves 'x-twice'"):
        registry.command("x-twice")


@pytest.mark.parametrize("stage", ["vad", "asr", "llm", "tts"])
def test_each_stage_has_adapters_of_ours(stage: str) -> None:
    assert registry.names(stage)


# --- NAME:MODEL, and remarks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        ("x-good:big", {"use": "x-good", "model": "big"}),
        ("x-broken:big", {"use": "x-broken", "model": "big"}),  # the registry tells why it can't be loaded
        ("nobody:Class", "nobody:Class"),
    ],
)
def test_a_shorthand_sets_the_option_that_the_adapter_has(use: str, expected: object) -> None:
    assert spelled_out("asr", use) == expected


def test_an_adapter_may_say_which_option_names_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.adapter_class("asr", "x-better"), "model_option", "key", raising=False)
    assert spelled_out("asr", {"use": "x-better:k", "other": 2}) == {"use": "x-better", "key": "k", "other": 2}


def test_a_slip_in_the_name_of_a_shorthand_is_told() -> None:
    with pytest.raises(StageUnavailable, match="Did you mean 'x-good:big'"):
        registry.adapter_class("asr", "x-goood:big")


def test_a_remark_may_hang_on_what_callers_say() -> None:
    class Hard:
        def remark_on(self, phrases: tuple[str, ...]) -> str:
            return f"{len(phrases)} phrases"

    class Plain:
        remark = "loud"

    assert [registry.remark(Hard(), ["a", "b"]), registry.remark(Plain()), registry.remark(object())] == [
        "2 phrases", "loud", "",
    ]  # fmt: skip
