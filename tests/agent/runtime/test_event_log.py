"""A session as `logging` records: which level, which session, and only where somebody asked for it."""

import logging

import pytest

from duologue import Settings, log_events, tool
from duologue.core import actions as act
from duologue.core.messages import ToolCall
from duologue.errors import StageError
from duologue.testing.scripted_asr import Utterance
from duologue.testing.scripted_llm import ScriptedReply

ASK = [(1.0, 1.0)]
HICCUP = Utterance("hello", fail=StageError("asr", "a hiccup", retryable=True), fail_after_s=0.5)
DEAF = Utterance("hello", fail=StageError("asr", "no ears"), fail_after_s=0.5)
LOGGED = Settings(log=True)


@tool
async def broken() -> str:
    """Raises."""
    raise RuntimeError("out of order")


def at(caplog, level):
    """What was logged at one level, without the session's id."""
    return [record.getMessage().split(" ", 1)[1] for record in caplog.records if record.levelno == level]


@pytest.fixture(autouse=True)
def everything(caplog):
    caplog.set_level(logging.DEBUG, "duologue")


def test_nothing_is_logged_unless_somebody_asked(call, caplog):
    call(ASK, ["hello"], [ScriptedReply("Hi.")], hang_up=5.0).go()
    assert [record for record in caplog.records if record.name == "duologue"] == []


def test_notes_are_information_and_decisions_are_for_who_looks_for_a_mistake(call, caplog):
    done = call(ASK, ["hello"], [ScriptedReply("Hi.")], hang_up=5.0, settings=LOGGED).go()
    assert at(caplog, logging.INFO) == ["llm: scripted is no language model: it answers from sample dialogues"]
    decided = [event for event in done.events if isinstance(event, act.Action)]
    assert at(caplog, logging.DEBUG) == [repr(action) for action in decided] and len(decided) > 5
    assert at(caplog, logging.WARNING) == at(caplog, logging.ERROR) == []


def test_each_record_names_its_session(call, caplog):
    done = call(ASK, ["hello"], [ScriptedReply("Hi.")], hang_up=5.0, settings=LOGGED).go()
    records = [record for record in caplog.records if record.name == "duologue"]
    assert records and all(record.session == done.session.id for record in records)
    assert all(record.getMessage().startswith(f"{done.session.id} ") for record in records)


def test_what_was_mended_is_a_warning(call, caplog):
    script = [ScriptedReply(tool_calls=(ToolCall("c1", "broken", "{}"),)), ScriptedReply("Well.")]
    call(ASK, [HICCUP, Utterance("hello")], script, tools=[broken], hang_up=8.0, settings=LOGGED).go()
    assert at(caplog, logging.WARNING) == [
        "asr: begun again: asr: a hiccup",
        "tool: broken: RuntimeError: out of order",
    ]
    assert at(caplog, logging.ERROR) == []


def test_what_was_not_is_an_error(call, caplog):
    call([*ASK, (8.0, 1.0)], [DEAF, "hello"], [ScriptedReply("x", fail_after=0)], hang_up=14.0, settings=LOGGED).go()
    assert at(caplog, logging.ERROR) == [
        "turn 1 was not recognised: asr: no ears",
        "reply 2 failed: llm: the script breaks off after 0 tokens",
        "reply 3 failed: llm: the script breaks off after 0 tokens",
    ]


def test_a_session_that_fails_says_why(call, caplog, until):
    async def during(session, transport):
        await until(session, 1.0)
        transport.break_off("the cable was pulled")

    call(during=during, settings=LOGGED).go()
    assert at(caplog, logging.ERROR) == ["transport: the connection broke: the cable was pulled"]


def test_a_logger_of_one_s_own_hears_as_long_as_it_is_wanted(call, caplog):
    caplog.set_level(logging.INFO, "calls")

    async def during(session, transport):
        end = log_events(session, logging.getLogger("calls"))
        session.note("test", "first", "warning")
        end()
        session.note("test", "second")

    done = call(hang_up=1.0, during=during).go()
    told = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "calls"]
    assert told == [("WARNING", f"{done.session.id} test: first")]
