"""Chunks as the compatible servers of this world send them."""

import json
from typing import Any

import pytest

from duologue.core.messages import Message, ToolCall, ToolSpec
from duologue.ports import LlmItem, LlmRequest, TextDelta, ToolCallRequest, Usage
from duologue_pipelines.llm.chat_wire import (
    ARGUMENT_CHARS_MAX,
    ChunkReader,
    Dialect,
    StreamFault,
    cache_key,
    message_json,
    request_body,
)
from duologue_pipelines.llm.sse import MalformedStream


def read(*deltas: dict[str, Any] | str, reason: str | None = "stop") -> tuple[list[LlmItem], ChunkReader]:
    reader = ChunkReader("m")
    items: list[LlmItem] = []
    for delta in deltas:
        items += reader.read_event(delta if isinstance(delta, str) else json.dumps({"choices": [{"delta": delta}]}))
    if reason:
        items += reader.read_event(json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}))
    return items + reader.finish(), reader


def calls(*parts: dict[str, Any] | list[dict[str, Any]]) -> list[ToolCall]:
    items, _ = read(
        *({"tool_calls": part if isinstance(part, list) else [part]} for part in parts), reason="tool_calls"
    )
    return [item.call for item in items if isinstance(item, ToolCallRequest)]


def part(arguments: Any = "", name: str = "", call_id: str = "", index: int | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {"function": {"name": name, "arguments": arguments}}
    return made | ({"id": call_id} if call_id else {}) | ({"index": index} if index is not None else {})


def test_calls_are_put_together_by_their_number() -> None:
    assert calls(
        part("", "one", "a", 0),
        part("", "two", "b", 1),
        part('{"x"', index=0),
        part('{"y"', index=1),
        part(": 1}", index=0),
        part(": 2}", index=1),
    ) == [ToolCall("a", "one", '{"x": 1}'), ToolCall("b", "two", '{"y": 2}')]


def test_calls_that_all_have_number_nought_are_told_apart_by_their_ids() -> None:
    assert calls(
        part('{"x"', "one", "a", 0), part(": 1}", index=0), part('{"y"', "one", "b", 0), part(": 2}", index=0)
    ) == [ToolCall("a", "one", '{"x": 1}'), ToolCall("b", "one", '{"y": 2}')]


def test_calls_without_number_go_on_until_the_next_name() -> None:
    assert calls(part('{"x"', "one", "a"), part(": 1}"), part("{}", "two", "b")) == [
        ToolCall("a", "one", '{"x": 1}'),
        ToolCall("b", "two", "{}"),
    ]


def test_calls_without_id_get_one_each() -> None:
    first, second = calls([part("{}", "one", index=0), part("{}", "one", index=1)])
    assert first.call_id and second.call_id and first.call_id != second.call_id


def test_arguments_may_be_an_object_or_missing() -> None:
    assert [call.arguments for call in calls(part({"city": "北京"}, "one", "a", 0), part(None, "two", "b", 1))] == [
        '{"city": "北京"}',
        "{}",
    ]


def test_a_stop_with_calls_is_a_call_for_tools() -> None:
    _, reader = read({"tool_calls": [part("{}", "one", "a", 0)]}, reason="stop")
    assert reader.reason == "tool_calls"


def test_text_may_come_in_parts_as_refusal_or_in_a_message() -> None:
    parts = [{"type": "thinking", "text": "hm"}, {"type": "text", "text": "Yes."}]
    assert read({"content": parts})[0] == [TextDelta("Yes.")]
    assert read({"content": None, "refusal": "I can't."})[0] == [TextDelta("I can't.")]
    assert read('{"choices": [{"message": {"content": "Whole."}}]}')[0] == [TextDelta("Whole.")]


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_in_a_field_of_its_own_is_a_sign_of_life_and_no_text(field: str) -> None:
    items, reader = read({field: "Let me see."}, reason=None)
    assert items == []
    assert reader.alive
    assert reader.thought_chars == 11


def test_the_opening_chunk_is_no_token() -> None:
    _, reader = read({"role": "assistant", "content": ""}, reason=None)
    assert not reader.alive


def test_other_choices_than_the_first_are_left_alone() -> None:
    assert read('{"choices": [{"index": 1, "delta": {"content": "Other."}}]}')[0] == []


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 3}, Usage("m", 9, 3)),
        (
            {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}},
            Usage("m", 9, 3, 4),
        ),
        ({"prompt_tokens": None, "completion_tokens": "3", "prompt_tokens_details": None}, Usage("m", 0, 0)),
    ],
)
def test_usage_is_read_leniently(usage: dict[str, Any], expected: Usage) -> None:
    assert read(json.dumps({"choices": [], "usage": usage}))[0] == [expected]


def test_usage_names_the_model_that_answered() -> None:
    chunk = json.dumps({"model": "m-2025", "choices": None, "usage": {"prompt_tokens": 1, "completion_tokens": 1}})
    assert read(chunk)[0] == [Usage("m-2025", 1, 1)]


@pytest.mark.parametrize(
    ("event", "complaint"),
    [
        ("{", "broken JSON"),
        ("[1]", "a JSON list instead"),
        ('{"choices": 7}', "no list of objects"),
        ('{"choices": [7]}', "no list of objects"),
        ('{"choices": [{"delta": 7}]}', "`delta` is no object"),
        ('{"choices": [{"delta": {"content": 7}}]}', "text of type int"),
        ('{"choices": [{"delta": {"tool_calls": 7}}]}', "no list"),
        ('{"choices": [{"delta": {"tool_calls": [7]}}]}', "without a function"),
    ],
)
def test_a_chunk_of_another_shape_is_malformed(event: str, complaint: str) -> None:
    with pytest.raises(MalformedStream, match=complaint):
        read(event)


def test_arguments_without_end_are_given_up_at_the_bound() -> None:
    with pytest.raises(MalformedStream, match=str(ARGUMENT_CHARS_MAX)):
        calls(*(part("x" * 400_000, "one", "a", 0) for _ in range(3)))


@pytest.mark.parametrize(
    ("error", "message", "code"),
    [
        ({"message": "Busy", "code": 503}, "Busy", "503"),
        ({"type": "overloaded_error"}, "{'type': 'overloaded_error'}", "overloaded_error"),
        ("out of memory", "out of memory", ""),
    ],
)
def test_a_reported_error_keeps_its_words(error: Any, message: str, code: str) -> None:
    with pytest.raises(StreamFault) as caught:
        read(json.dumps({"error": error}))
    assert (str(caught.value), caught.value.code) == (message, code)


# --- the request -----------------------------------------------------------------------------------------------------


def test_a_dialect_gives_up_what_is_refused_and_nothing_twice() -> None:
    dialect = Dialect(cache_key=True)
    refusals = {
        "Unknown field: stream_options": Dialect(usage=False, cache_key=True),
        "unrecognized prompt_cache_key": Dialect(cache_key=False),
        "Use 'max_completion_tokens' instead of 'max_tokens'": Dialect(
            cache_key=True, tokens_field="max_completion_tokens"
        ),
        "Unsupported value: 'temperature'": Dialect(cache_key=True, temperature=False),
        "Unknown parameter: 'parallel_tool_calls'.": Dialect(cache_key=True, parallel=False),
    }
    for refusal, expected in refusals.items():
        assert dialect.concede(refusal) == expected
        assert expected.concede(refusal) is None
    assert dialect.concede("context length exceeded") is None


def test_a_dialect_shapes_the_request() -> None:
    request = LlmRequest((Message("user", "Hi"),), temperature=0.1, output_tokens_max=9, session="s" * 65)
    poor = request_body(request, "m", Dialect(usage=False, temperature=False))
    assert sorted(poor) == ["max_tokens", "messages", "model", "stream"]
    rich = request_body(request, "m", Dialect(tokens_field="max_completion_tokens", cache_key=True))
    assert (rich["max_completion_tokens"], rich["prompt_cache_key"]) == (9, cache_key("s" * 65))
    assert rich["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    ("choice", "body"),
    [
        ("auto", None),
        ("none", "none"),
        ("required", "required"),
        ("weather", {"type": "function", "function": {"name": "weather"}}),
    ],
)
def test_which_tools_may_be_called_is_told_where_there_are_any(choice: str, body: object) -> None:
    request = LlmRequest((), tools=(ToolSpec("weather", "", {}),), tool_choice=choice, parallel_tool_calls=False)
    told = request_body(request, "m", Dialect())
    assert told.get("tool_choice") == body and told["parallel_tool_calls"] is False
    assert "parallel_tool_calls" not in request_body(request, "m", Dialect(parallel=False))
    bare = request_body(LlmRequest((), tool_choice=choice, parallel_tool_calls=False), "m", Dialect())
    assert sorted(bare) == ["messages", "model", "stream", "stream_options"]


def test_who_said_it_is_told_in_characters_that_a_name_may_have() -> None:
    assert message_json(Message("user", "Hi", name="Ann Lee <ann@x>"))["name"] == "Ann_Lee_ann@x_"
    assert message_json(Message("user", "Hi", name="x" * 65))["name"] == "x" * 64
    assert "name" not in message_json(Message("user", "Hi"))


def test_a_cache_key_keeps_within_the_bound_and_tells_sessions_apart() -> None:
    assert cache_key("short") == "short"
    assert len(cache_key("x" * 65)) == 64
    assert cache_key("x" * 65) != cache_key("x" * 66)


def test_a_picture_may_come_without_words() -> None:
    assert message_json(Message("user", images=("https://example.org/a.png",)))["content"] == [
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    ]


def test_brackets_without_end_are_broken_json() -> None:
    with pytest.raises(MalformedStream, match="broken JSON"):
        read("[" * 100_000)
