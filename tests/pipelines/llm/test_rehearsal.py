"""The stand-in answers as rehearsed, at its pace, and never pretends to be more."""

import asyncio
import inspect
from typing import Any

import pytest

from duologue.core.messages import Message
from duologue.dialogues import read_dialogues
from duologue.errors import ConfigurationError
from duologue.ports import LlmFinished, LlmRequest, TextDelta, Usage
from duologue.testing import virtual_time
from duologue_pipelines.llm.rehearsal import SUMMARY_WORDS_MAX, Exchange, RehearsalLlm, summary

LINES = tuple(
    read_dialogues(
        "museum.md",
        """
# Museum
user: When does the museum open?
agent: It opens at nine. It closes at six.
user: How much is a ticket?
agent: Twelve dollars.
""",
        "en",
    )
) + tuple(read_dialogues("guan.md", "# 馆\nuser: 几点开门？\nagent: 早上九点开门。\n", "zh"))


def talk(llm: RehearsalLlm, *said: str, **more: Any) -> tuple[str, LlmFinished, Usage, list[float]]:
    """The answer to a conversation of user and agent in turn; text, end, usage, and when each delta came."""
    roles = ("user", "assistant")
    messages = [Message("system", "Be brief."), *(Message(roles[i % 2], text) for i, text in enumerate(said))]

    async def run() -> tuple[str, LlmFinished, Usage, list[float]]:
        loop = asyncio.get_running_loop()
        text, times, others = "", [], []
        async for item in llm.stream(LlmRequest(tuple(messages), **more)):
            if isinstance(item, TextDelta):
                text += item.text
                times.append(round(loop.time(), 3))
            else:
                others.append(item)
        usage, finished = others
        assert isinstance(usage, Usage) and isinstance(finished, LlmFinished)
        return text, finished, usage, times

    return virtual_time.run(run())


def test_it_answers_as_rehearsed_and_says_where_that_stands() -> None:
    text, finished, usage, _ = talk(RehearsalLlm(LINES), "When does the museum open?")
    assert text == "It opens at nine. It closes at six."
    assert finished.reason == "stop"
    assert finished.notes[0] == "rehearsal is no language model"
    assert finished.notes[1].startswith("answered as rehearsed in museum.md:3 (likeness 1.0")
    assert usage == Usage("rehearsal", input=7, output=8)


def test_it_admits_that_it_is_no_language_model() -> None:
    llm = RehearsalLlm()
    assert (llm.name, llm.model, llm.is_language_model, RehearsalLlm.probe()) == ("rehearsal", "rehearsal", False, "")


def test_tokens_come_at_the_pace_that_was_set() -> None:
    llm = RehearsalLlm(LINES, tokens_per_second=10, first_token_s=0.5)
    assert talk(llm, "How much is a ticket?")[3] == [0.5, 0.6]
    assert talk(llm, "几点开门")[3] == [0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1]


def test_the_bound_on_tokens_is_kept_and_said() -> None:
    text, finished, usage, _ = talk(RehearsalLlm(LINES), "When does the museum open?", output_tokens_max=4)
    assert (text, finished.reason, usage.output) == ("It opens at nine.", "length", 4)


def test_the_same_words_get_the_same_answer() -> None:
    assert talk(RehearsalLlm(LINES), "ticket") == talk(RehearsalLlm(LINES), "ticket")


def test_what_was_not_rehearsed_is_said_so_in_the_callers_language() -> None:
    assert "not rehearsed" in talk(RehearsalLlm(LINES), "Tell me a joke.")[0]
    text, finished, *_ = talk(RehearsalLlm(LINES), "讲个笑话")
    assert "没有排练过" in text
    assert "no rehearsed line is near" in finished.notes[1]


def test_the_packs_own_words_are_used_where_no_line_is_near() -> None:
    llm = RehearsalLlm(LINES, fallback={"en": "Pardon?"})
    assert talk(llm, "Tell me a joke.")[0] == "Pardon?"
    assert "没有排练过" in talk(llm, "讲个笑话")[0]
    assert talk(RehearsalLlm(LINES, fallback="Hm?"), "讲个笑话")[0] == "Hm?"


def test_a_request_without_a_user_is_answered_too() -> None:
    assert "not rehearsed" in talk(RehearsalLlm(LINES))[0]


def test_a_dialogue_goes_on_from_what_was_heard() -> None:
    llm = RehearsalLlm(LINES)
    assert talk(llm, "when does it open", "It opens at", "and how much is that")[0] == "Twelve dollars."


def test_other_lines_can_be_taken_at_the_same_pace() -> None:
    before = RehearsalLlm(LINES, tokens_per_second=10, fallback="Hm?")
    virtual_time.run(before.warm_up())
    after = before.with_exchanges([Exchange("Ping?", "Pong.", (), "Games", 0, "en", "games.md", 2)])
    assert talk(after, "Ping?")[0] == "Pong."
    assert talk(after, "When does the museum open?")[0] == "Hm?"
    assert talk(before, "When does the museum open?")[0].startswith("It opens")
    assert after.tokens_per_second == 10


def test_settings_can_name_its_options() -> None:
    assert {"exchanges", "tokens_per_second", "first_token_s", "fallback"} == set(
        inspect.signature(RehearsalLlm).parameters
    )


@pytest.mark.parametrize("options", [{"tokens_per_second": 0}, {"first_token_s": -1}])
def test_a_pace_out_of_range_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=f"llm.{next(iter(options))}"):
        RehearsalLlm(**options)


# --- summaries -------------------------------------------------------------------------------------------------------


def test_a_summary_is_made_of_sentences_that_were_said() -> None:
    text, finished, *_ = talk(
        RehearsalLlm(LINES),
        "My name is Ann. I come from Oslo.",
        "Nice to meet you, Ann from Oslo.",
        "Summarise the conversation so far.",
    )
    assert text == "User: My name is Ann. User: I come from Oslo. Agent: Nice to meet you, Ann from Oslo."
    assert "a summary of whole sentences" in finished.notes[1]


def test_a_summary_may_be_asked_of_a_text_in_the_message() -> None:
    said = summary("Summarise this:\nuser: I like tea.\nagent: Tea it is.\n\nuser: 我叫安。很高兴。", ())
    assert said == "user: I like tea. agent: Tea it is. user: 我叫安。 user: 很高兴。"


def test_a_summary_keeps_the_most_telling_sentences_within_its_bound() -> None:
    dull = [Message("assistant", "Yes. " * 5) for _ in range(40)]
    telling = Message("user", "My daughter Ingrid plays the cello in Bergen every Thursday evening.")
    long = [Message("user", " ".join(f"word{n * 9 + i}" for i in range(9)) + ".") for n in range(20)]
    said = summary("Summarise", [*dull, telling, *long])
    assert telling.text in summary("Summarise", [*dull, telling])
    assert len(said.split()) <= SUMMARY_WORDS_MAX + 10
    assert summary("Summarise", [*dull]).count("Yes.") == 1


def test_a_summary_of_nothing_says_so() -> None:
    assert summary("Summarise", [Message("system", "Be brief."), Message("user", " ")]) == "Nothing was said yet."
