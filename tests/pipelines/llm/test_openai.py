"""The `openai` adapter against a real HTTP server that answers well."""

import asyncio
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from duologue.core.messages import Message, ToolCall, ToolSpec
from duologue.errors import ConfigurationError, StageError, StageUnavailable
from duologue.ports import LlmFinished, LlmRequest, TextDelta, ToolCallRequest, Usage
from duologue.testing.openai_server import OpenAiServer
from duologue.testing.scripted_llm import ScriptedReply
from duologue_pipelines.llm.openai import OPENAI_MODEL, OpenAiLlm

WEATHER = ToolSpec("weather", "Current weather", {"type": "object", "properties": {"city": {"type": "string"}}})
QUICK = ScriptedReply("It is quarter past nine.", first_token_s=0.0, token_s=0.0)


def test_an_answer_comes_token_by_token_with_usage_and_an_end(with_endpoint: Any, ask: Any, collect: Any) -> None:
    async def scenario(_: OpenAiServer, llm: OpenAiLlm) -> None:
        *tokens, usage, finished = await collect(llm.stream(ask()))
        assert [token.text for token in tokens] == ["It", " is", " quarter", " past", " nine."]
        assert usage == Usage("scripted", input=7, output=5, cached_input=0)
        assert finished == LlmFinished("stop")

    with_endpoint(scenario)


def test_tokens_arrive_as_the_model_makes_them(with_endpoint: Any, ask: Any) -> None:
    async def scenario(server: OpenAiServer, llm: OpenAiLlm) -> None:
        async for item in llm.stream(ask()):
            if isinstance(item, TextDelta) and item.text == "It":
                assert server.streams_open == 1
                break

    with_endpoint(scenario, replies=[replace(QUICK, token_s=0.02)])


def test_the_prompt_cache_of_the_endpoint_is_counted(with_endpoint: Any, ask: Any, collect: Any) -> None:
    async def scenario(_: OpenAiServer, llm: OpenAiLlm) -> None:
        await collect(llm.stream(ask("One?")))
        items = await collect(llm.stream(ask("Two?")))
        assert items[-2] == Usage("scripted", input=4, output=5, cached_input=3)

    with_endpoint(scenario)


def test_tool_calls_come_whole(with_endpoint: Any, ask: Any, collect: Any) -> None:
    calls = (ToolCall("call_a", "weather", '{"city": "Oslo"}'), ToolCall("call_b", "weather", '{"city": "Rome"}'))

    async def scenario(server: OpenAiServer, llm: OpenAiLlm) -> None:
        items = await collect(llm.stream(ask(tools=(WEATHER,))))
        assert [item.call for item in items if isinstance(item, ToolCallRequest)] == list(calls)
        assert items[-1] == LlmFinished("tool_calls")
        assert server.requests[0].body["tools"][0]["function"] == {
            "name": "weather",
            "description": "Current weather",
            "parameters": WEATHER.parameters,
        }

    with_endpoint(scenario, replies=[replace(QUICK, text="", tool_calls=calls)])


def test_the_conversation_reaches_the_endpoint_in_its_shape(with_endpoint: Any, collect: Any) -> None:
    call = ToolCall("call_a", "weather", '{"city": "Oslo"}')
    picture = "data:image/png;base64,AAAA"
    messages = (
        Message("system", "You are brief."),
        Message("user", "What is this?", images=(picture,)),
        Message("assistant", tool_calls=(call,)),
        Message("tool", "Rain", call_id="call_a"),
    )

    async def scenario(server: OpenAiServer, llm: OpenAiLlm) -> None:
        await collect(llm.stream(LlmRequest(messages, temperature=0.5, output_tokens_max=50)))
        body = server.requests[0].body
        assert body["messages"] == [
            {"role": "system", "content": "You are brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": picture}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_a",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
                    }
                ],
            },
            {"role": "tool", "content": "Rain", "tool_call_id": "call_a"},
        ]
        assert (body["temperature"], body["max_tokens"], body["stream"]) == (0.5, 50, True)
        assert "prompt_cache_key" not in body, "only OpenAI knows that field"

    with_endpoint(scenario)


def test_settings_fill_what_the_request_leaves_open(with_endpoint: Any, ask: Any, collect: Any) -> None:
    async def scenario(server: OpenAiServer, llm: OpenAiLlm) -> None:
        await collect(llm.stream(ask()))
        body = server.requests[0].body
        assert (body["temperature"], body["max_tokens"], body["top_k"]) == (0.3, 77, 5)

    with_endpoint(scenario, temperature=0.3, output_tokens_max=77, extra_body={"top_k": 5})


def test_one_connection_serves_turn_after_turn(with_endpoint: Any, ask: Any, collect: Any) -> None:
    async def scenario(server: OpenAiServer, llm: OpenAiLlm) -> None:
        await llm.warm_up()
        for _ in range(3):
            await collect(llm.stream(ask()))
        assert server.connections == 1
        assert {request.connection for request in server.requests} == {1}

    with_endpoint(scenario)


def test_closing_the_stream_closes_the_connection_at_once(with_endpoint: Any, ask: Any) -> None:
    async def scenario(server: OpenAiServer, llm: OpenAiLlm) -> None:
        stream = llm.stream(ask())
        assert isinstance(await anext(stream), TextDelta)
        await stream.aclose()
        await server.until(lambda: server.hung_up == 1, timeout_s=1.0)
        assert server.streams_open == 0

    with_endpoint(scenario, replies=[replace(QUICK, token_s=5.0)])


def test_cancelling_before_the_first_token_closes_the_connection(with_endpoint: Any, ask: Any, collect: Any) -> None:
    async def scenario(server: OpenAiServer, llm: OpenAiLlm) -> None:
        reply = asyncio.create_task(collect(llm.stream(ask())))
        await server.until(lambda: server.streams_open == 1)
        reply.cancel()
        await server.until(lambda: server.hung_up == 1, timeout_s=1.0)
        with pytest.raises(asyncio.CancelledError):
            await reply

    with_endpoint(scenario, replies=[replace(QUICK, first_token_s=60.0)])


def test_two_sessions_at_once_get_their_own_answers(with_endpoint: Any, ask: Any, collect: Any, spoken: Any) -> None:
    async def scenario(server: OpenAiServer, llm: OpenAiLlm) -> None:
        answers = await asyncio.gather(*(collect(llm.stream(ask(name))) for name in ("Ann", "Bob")))
        assert [spoken(items) for items in answers] == ["You are Ann", "You are Bob"]

    with_endpoint(scenario, replies=lambda chat: replace(QUICK, text=f"You are {chat.last_text}", token_s=0.005))


def test_thoughts_are_not_passed_on(with_endpoint: Any, ask: Any, collect: Any, spoken: Any) -> None:
    async def scenario(_: OpenAiServer, llm: OpenAiLlm) -> None:
        items = await collect(llm.stream(ask()))
        assert spoken(items) == "It is nine."
        assert items[-1].notes == ("8 characters of reasoning were not passed on",)

    tokens = ("<th", "ink>", "Let me", " s", "</thi", "nk>", "\n\n", "It is", " nine.")
    with_endpoint(scenario, replies=[replace(QUICK, tokens=tokens)])


def test_an_endpoint_that_knows_no_usage_is_asked_without_and_remembered(
    with_endpoint: Any, ask: Any, collect: Any, spoken: Any
) -> None:
    async def scenario(server: OpenAiServer, llm: OpenAiLlm) -> None:
        for _ in range(2):
            items = await collect(llm.stream(ask()))
            assert spoken(items) == QUICK.text
            assert not any(isinstance(item, Usage) for item in items)
        assert server.refused == 1

    with_endpoint(scenario, server={"refused_fields": ["stream_options"]})


def test_the_first_model_that_can_chat_is_taken_where_none_is_named(with_endpoint: Any, ask: Any, collect: Any) -> None:
    async def scenario(server: OpenAiServer, llm: OpenAiLlm) -> None:
        await llm.warm_up()
        await llm.warm_up()
        assert llm.model == "qwen3:8b"
        await collect(llm.stream(ask()))
        assert server.requests[0].model == "qwen3:8b"

    with_endpoint(scenario, model="", server={"models": ["nomic-embed-text", "qwen3:8b", "llama3"]})


def test_a_key_is_sent_and_never_shown(with_endpoint: Any, ask: Any, collect: Any) -> None:
    async def scenario(_: OpenAiServer, llm: OpenAiLlm) -> None:
        await llm.warm_up()
        assert isinstance((await collect(llm.stream(ask())))[-1], LlmFinished)
        assert "geheim" not in repr(llm)

    with_endpoint(scenario, api_key="geheim", server={"api_key": "geheim"})


def test_a_proxy_does_not_stand_before_a_server_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, with_endpoint: Any, ask: Any, collect: Any, spoken: Any
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")

    async def scenario(_: OpenAiServer, llm: OpenAiLlm) -> None:
        assert spoken(await collect(llm.stream(ask()))) == QUICK.text

    with_endpoint(scenario, retries=0)


def test_sessions_that_begin_at_once_share_one_client(with_endpoint: Any, ask: Any, collect: Any) -> None:
    async def scenario(server: OpenAiServer, llm: OpenAiLlm) -> None:
        await asyncio.gather(*(collect(llm.stream(ask())) for _ in range(4)))
        await collect(llm.stream(ask()))
        assert server.connections <= 4
        assert max(request.connection for request in server.requests[4:]) <= 4

    with_endpoint(scenario)


def test_a_closed_adapter_opens_again_on_whatever_loop_asks_it(ask: Any, collect: Any, spoken: Any) -> None:
    llm = OpenAiLlm("scripted", base_url="http://127.0.0.1:1/v1")

    async def one_life() -> str:
        async with OpenAiServer([QUICK]) as server:
            llm.base_url = server.base_url
            answer = str(spoken(await collect(llm.stream(ask()))))
            await llm.aclose()
            await llm.aclose()
            return answer

    assert [asyncio.run(one_life()), asyncio.run(one_life())] == [QUICK.text, QUICK.text]


def test_at_openai_itself_the_default_model_and_the_cache_key_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    llm = OpenAiLlm()
    assert (llm.model, llm.base_url, llm.name, llm.is_language_model) == (
        OPENAI_MODEL,
        "https://api.openai.com/v1",
        "openai",
        True,
    )
    dialect = llm._dialect(OPENAI_MODEL)
    assert dialect.cache_key and dialect.tokens_field == "max_completion_tokens"


def test_without_a_key_openai_is_not_even_asked(ask: Any, collect: Any) -> None:
    with pytest.raises(StageUnavailable, match="OPENAI_API_KEY"):
        asyncio.run(collect(OpenAiLlm().stream(ask())))


def test_the_probe_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "OPENAI_API_KEY" in OpenAiLlm.probe()
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:11434/v1")
    assert OpenAiLlm.probe() == ""
    assert OpenAiLlm().base_url == "http://127.0.0.1:11434/v1"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"base_url": "localhost:8000"}, "base_url must be an http"),
        ({"base_url": "http://[::1"}, r"base_url must be an http.*\(Invalid IPv6 URL\)"),
        ({"base_url": "http://127.0.0.1:99999/v1"}, "Port out of range 0-65535"),
        ({"base_url": "http://:80/v1"}, "base_url must be an http"),
        ({"api_key": "ключ"}, r"api_key can't be a key: its character 1 of 4 is '\\u043a'"),
        ({"models_fallback": "gpt-4.1"}, r"models_fallback = \[\"gpt-4.1\"\]"),
        ({"first_token_timeout_s": 0}, "first_token_timeout_s must be greater than 0"),
        ({"output_tokens_max": 0}, "output_tokens_max must be greater than 0"),
        ({"retries": -1}, "retries must be 0 or more"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        OpenAiLlm(**options)


def test_a_picture_that_is_no_url_is_refused_before_anything_is_sent(with_endpoint: Any, collect: Any) -> None:
    async def scenario(server: OpenAiServer, llm: OpenAiLlm) -> None:
        with pytest.raises(StageError, match="data:image"):
            await collect(llm.stream(LlmRequest((Message("user", "This?", images=("cat.png",)),))))
        assert not server.requests

    with_endpoint(scenario)


def test_importing_the_adapter_does_not_import_the_client() -> None:
    code = "import sys, duologue_pipelines.llm.openai; sys.exit('openai' in sys.modules or 'httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0
