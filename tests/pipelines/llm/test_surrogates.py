"""Half characters of JSON: joined where the other half comes, never passed on alone."""

import json
from typing import Any

import pytest

from duologue.core.messages import Message, ToolCall
from duologue.ports import LlmItem, LlmRequest, TextDelta, ToolCallRequest, Usage
from duologue_pipelines.llm.chat_wire import ChunkReader, Dialect, request_body
from duologue_pipelines.llm.openai_errors import Endpoint
from duologue_pipelines.llm.surrogates import SurrogateJoiner, whole_characters

HIGH, LOW = "\ud83d", "\ude00"


def read(*deltas: dict[str, Any]) -> list[LlmItem]:
    reader = ChunkReader("m")
    items: list[LlmItem] = []
    for delta in deltas:
        items += reader.read_event(
            json.dumps({"model": HIGH, "choices": [{"delta": delta}], "usage": {"prompt_tokens": 1}})
        )
    items += reader.read_event(json.dumps({"choices": [{"delta": {}, "finish_reason": "stop"}]}))
    return items + reader.finish()


def text_of(*contents: str) -> str:
    return "".join(item.text for item in read(*({"content": c} for c in contents)) if isinstance(item, TextDelta))


@pytest.mark.parametrize(
    ("contents", "spoken"),
    [
        ((f"that {HIGH}", f"{LOW} and more"), "that 😀 and more"),
        ((f"that {HIGH}{LOW} and",), "that 😀 and"),
        ((f"that {HIGH}", "", f"{LOW}!"), "that 😀!"),
        ((f"that {HIGH}", " and"), "that \ufffd and"),
        ((f"{LOW} first",), "\ufffd first"),
        ((f"at the end {HIGH}",), "at the end \ufffd"),
        ((f"{HIGH}{HIGH}", LOW), "\ufffd😀"),
        (("naïve 中文 😀",), "naïve 中文 😀"),
    ],
)
def test_halves_are_joined_and_left_over_ones_replaced(contents: tuple[str, ...], spoken: str) -> None:
    assert text_of(*contents) == spoken


def test_a_first_half_waits_and_is_told_once() -> None:
    joiner = SurrogateJoiner()
    assert joiner.add_text(HIGH) == ""
    assert joiner.add_text("") == ""
    assert joiner.finish() == "\ufffd"
    assert joiner.finish() == ""


def test_a_thought_that_ends_in_half_a_character_does_not_leak() -> None:
    assert text_of(f"<think>hm {HIGH}", "</think>Yes.") == "Yes."


def test_calls_and_counts_hold_whole_characters_too() -> None:
    call = {"id": HIGH, "function": {"name": f"look{LOW}", "arguments": f'{{"q": "{HIGH}'}}
    items = read({"tool_calls": [call]}, {"tool_calls": [{"function": {"arguments": f'{LOW}"}}'}}]})
    assert [item.call for item in items if isinstance(item, ToolCallRequest)] == [
        ToolCall("\ufffd", "look\ufffd", '{"q": "😀"}')
    ]
    assert [item.model for item in items if isinstance(item, Usage)] == ["\ufffd"]


def test_a_request_can_always_be_written() -> None:
    messages = (Message("user", f"smile {HIGH}"), Message("tool", f"{HIGH}{LOW} {LOW}", call_id="1"))
    body = request_body(LlmRequest(messages), "m", Dialect())
    json.dumps(body, ensure_ascii=False).encode()
    assert [message["content"] for message in body["messages"]] == ["smile \ufffd", "😀 \ufffd"]


def test_what_a_server_said_can_always_be_written() -> None:
    assert Endpoint("http://h/v1", "m", "").quote(f"no {HIGH} today") == "no \ufffd today"


def test_whole_text_is_left_as_it_is() -> None:
    text = "naïve 😀"
    assert whole_characters(text) is text
