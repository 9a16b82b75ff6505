"""The scripted endpoint as a client sees it that knows nothing but HTTP."""

import asyncio
import json
from argparse import Namespace
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from duologue.core.messages import ToolCall
from duologue.errors import ConfigurationError
from duologue.testing.loopback_http import HEAD_BYTES_MAX, PIPELINED_MAX
from duologue.testing.openai_server import ChatRequest, Fault, OpenAiServer, text_of
from duologue.testing.openai_server import __main__ as cli
from duologue.testing.scripted_llm import ScriptedReply

QUICK = ScriptedReply("Good morning.", first_token_s=0.0, token_s=0.0)
CALL = ToolCall("call_1", "weather", '{"city": "Oslo"}')


def chat(text: str = "Hello", *, stream: bool = True, **more: Any) -> bytes:
    return post({"model": "m", "stream": stream, "messages": [{"role": "user", "content": text}], **more})


def post(body: Any, path: str = "/v1/chat/completions") -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


def run(scenario: Callable[[OpenAiServer], Awaitable[Any]], server: OpenAiServer) -> Any:
    async def whole() -> Any:
        async with asyncio.timeout(10), server:
            return await scenario(server)

    return asyncio.run(whole())


async def exchange(server: OpenAiServer, *requests: bytes, until: bytes) -> bytes:
    """Send, read until `until` or the end, hang up."""
    port = int(server.base_url.rsplit(":", 1)[1].split("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    try:
        for request in requests:
            writer.write(request)
        while until not in received and (more := await reader.read(65536)):
            received += more
        return received
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


def ask(*requests: bytes, until: bytes, server: OpenAiServer) -> bytes:
    received = run(lambda live: exchange(live, *requests, until=until), server)
    assert isinstance(received, bytes)
    return received


def test_a_stream_is_chunks_usage_and_done() -> None:
    request = chat(stream_options={"include_usage": True})
    received = ask(request, until=b"0\r\n\r\n", server=OpenAiServer([QUICK]))
    events = [line[6:] for line in received.decode().split("\r\n\r\n", 1)[1].splitlines() if line.startswith("data: ")]
    *chunks, done = events
    assert done == "[DONE]"
    bodies = [json.loads(chunk) for chunk in chunks]
    assert [body["choices"][0]["delta"] for body in bodies[:-1]] == [
        {"role": "assistant", "content": ""},
        {"content": "Good"},
        {"content": " morning."},
        {},
    ]
    assert bodies[-2]["choices"][0]["finish_reason"] == "stop"
    assert bodies[-1]["usage"]["completion_tokens"] == 2


def test_without_stream_the_answer_is_whole() -> None:
    server = OpenAiServer([ScriptedReply("Let me look.", first_token_s=0.0, token_s=0.0, tool_calls=(CALL,))])
    body = json.loads(ask(chat(stream=False), until=b"}}}", server=server).split(b"\r\n\r\n", 1)[1])
    choice = body["choices"][0]
    assert choice["message"]["content"] == "Let me look."
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "weather", "arguments": CALL.arguments}
    assert choice["finish_reason"] == "tool_calls"


def test_requests_sent_ahead_are_answered_in_order() -> None:
    server = OpenAiServer(lambda request: ScriptedReply(request.last_text, first_token_s=0.0, token_s=0.0))
    received = ask(chat("one"), chat("two"), chat("three", stream=False), until=b"}}}", server=server)
    assert received.index(b'"one"') < received.index(b'"two"') < received.index(b'"three"')
    assert [request.connection for request in server.requests] == [1, 1, 1]


def test_too_many_requests_sent_ahead_close_the_connection() -> None:
    server = OpenAiServer([ScriptedReply("x", first_token_s=60)])
    assert b"[DONE]" not in ask(*[chat()] * (PIPELINED_MAX + 5), until=b"[DONE]", server=server)


@pytest.mark.parametrize(
    ("request_bytes", "status", "says"),
    [
        (b"GET /v1/models HTTP/1.1\r\n\r\n", 200, b'"id": "scripted"'),
        (b"GET /v1/models?limit=2 HTTP/1.0\r\n\r\n", 200, b'"id": "scripted"'),
        (b"GET /elsewhere HTTP/1.1\r\n\r\n", 404, b"There is nothing at GET /elsewhere."),
        (post(b"no json"), 400, b"No messages in the body"),
        (post([1, 2]), 400, b"No messages in the body"),
        (post({"messages": 7}), 400, b"No messages in the body"),
        (b"HELLO\r\n\r\n", 400, b"expected METHOD PATH"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, b"expected METHOD PATH"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400, b"expected METHOD PATH"),
        (b"x" * (HEAD_BYTES_MAX + 1), 400, b"a request head of more than"),
    ],
)
def test_a_request_is_answered_with_a_status_whatever_it_is(request_bytes: bytes, status: int, says: bytes) -> None:
    received = ask(request_bytes, until=says, server=OpenAiServer([QUICK]))
    assert received.startswith(f"HTTP/1.1 {status} ".encode())
    assert says in received


def test_a_client_that_hangs_up_is_noticed_at_once() -> None:
    async def scenario(server: OpenAiServer) -> None:
        await exchange(server, chat(), until=b"assistant")
        await server.until(lambda: server.hung_up == 1)
        assert server.streams_open == 0

    run(scenario, OpenAiServer([ScriptedReply("x", first_token_s=60)]))


def test_waiting_for_what_never_happens_ends() -> None:
    async def scenario(server: OpenAiServer) -> None:
        with pytest.raises(TimeoutError):
            await server.until(lambda: False, timeout_s=0.01)

    run(scenario, OpenAiServer([QUICK]))


def test_closing_hangs_up_on_everybody() -> None:
    async def scenario(server: OpenAiServer) -> None:
        asking = asyncio.create_task(exchange(server, chat(), until=b"[DONE]"))
        await server.until(lambda: server.streams_open == 1)
        await server.aclose()
        await server.aclose()
        assert b"[DONE]" not in await asking

    run(scenario, OpenAiServer([ScriptedReply("x", first_token_s=60)]))


def test_a_taken_port_is_said() -> None:
    async def scenario(server: OpenAiServer) -> None:
        port = int(server.base_url.rsplit(":", 1)[1].split("/")[0])
        with pytest.raises(ConfigurationError, match="Take another port"):
            await OpenAiServer([QUICK]).start(port=port)

    run(scenario, OpenAiServer([QUICK]))


def test_an_unknown_fault_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"unknown fault '418'.*hang_up"):
        Fault("418")


def test_the_text_of_a_message_may_come_in_parts() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    assert text_of({"content": [{"type": "text", "text": "What"}, picture, {"type": "text", "text": "is it?"}]}) == (
        "What is it?"
    )
    assert text_of({"content": None}) == ""


# --- as a program ----------------------------------------------------------------------------------------------------


def request_of(text: str, role: str = "user", *tools: str) -> ChatRequest:
    offered = [{"type": "function", "function": {"name": name}} for name in tools]
    return ChatRequest({"messages": [{"role": role, "content": text}], "tools": offered}, {}, 1, 0.0)


@pytest.fixture
def demo(tmp_path: Path) -> cli.DemoReplies:
    lines = "# Museum\nuser: When do you open?\nagent: At nine.\n"
    return cli.DemoReplies(list(cli.read_dialogues("museum.md", lines, "en")), 0.1, 50.0)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("when do you open", "At nine."),
        ("I like tea", "You said: I like tea."),
        ("我喜欢茶", "你说的是：我喜欢茶。"),
        ("", "You said: nothing."),
    ],
)
def test_the_program_answers_from_dialogues_or_repeats(demo: cli.DemoReplies, said: str, answer: str) -> None:
    reply = demo(request_of(said))
    assert reply.text.startswith(answer)
    assert (reply.first_token_s, reply.token_s) == (0.1, 0.02)


def test_the_program_calls_a_tool_when_told(demo: cli.DemoReplies) -> None:
    assert demo(request_of('Please call weather {"city": "Oslo"}', "user", "weather")).tool_calls == (CALL,)
    assert demo(request_of("call weather", "user", "weather")).tool_calls == (ToolCall("call_2", "weather", "{}"),)
    assert demo(request_of("call weather", "user")).tool_calls == (), "it is not on offer"
    assert demo(request_of("rain", "tool", "weather")).text == "The tool says: rain"


@pytest.mark.parametrize(("text", "requests"), [("429", 1), ("429:3", 3), ("429:all", None)])
def test_a_fault_is_named_with_how_often(text: str, requests: int | None) -> None:
    assert cli.parse_fault(text) == Fault("429", requests=requests)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--fault", "429:often"], "KIND, KIND:COUNT or KIND:all"),
        (["--fault", "teapot"], "unknown fault"),
        (["--dialogues", "/nowhere.md"], "can't read the dialogues /nowhere.md"),
    ],
)
def test_a_wrong_argument_ends_the_program_with_a_sentence(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    assert complaint in capsys.readouterr().err


def test_the_pace_must_be_positive(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--tokens-per-second", "0"])
    assert "must be greater than 0" in capsys.readouterr().err


def test_the_program_says_where_it_listens_and_what_it_is_asked(tmp_path: Path) -> None:
    said: list[str] = []
    arguments: Namespace = cli._parser().parse_args(["--first-token-s", "0", "--tokens-per-second", "1000"])

    async def scenario() -> bytes:
        stop, listening = asyncio.Event(), asyncio.Event()

        def say(line: str) -> None:
            said.append(line)
            listening.set()

        program = asyncio.create_task(cli.serve(arguments, say, stop))
        await listening.wait()
        port = int(said[0].split(":")[2].split("/")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(chat("Hi"))
        received = await reader.readuntil(b"[DONE]")
        writer.close()
        stop.set()
        await program
        return received

    assert b'"You"' in asyncio.run(scenario())
    assert said[0].startswith("OPENAI_BASE_URL=http://127.0.0.1:")
    assert said[1].startswith("m: 'Hi' -> 'You said: Hi.")
