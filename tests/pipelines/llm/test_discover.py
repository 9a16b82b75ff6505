"""What is found on a machine, in which order, and why; the ports are ours, so nothing of the developer's is asked."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from duologue.testing.openai_server import OpenAiServer
from duologue.testing.scripted_llm import ScriptedReply
from duologue_pipelines.llm.discover import LOCAL_SERVERS, Candidate, LocalServer, choose, discover
from duologue_pipelines.llm.openai import LOCAL_KEY, OPENAI_BASE_URL, OPENAI_MODEL, OpenAiLlm

QUICK = ScriptedReply("Hello.", first_token_s=0.0, token_s=0.0)
Look = Callable[..., list[Candidate]]


def port_of(server: OpenAiServer) -> int:
    return int(server.base_url.rsplit(":", 1)[1].split("/")[0])


@pytest.fixture
def look() -> Look:
    """Discover with a server a name, made of the options given for it; None for a port where nothing listens."""

    def run(env: dict[str, str] | None = None, **servers: dict[str, Any] | None) -> list[Candidate]:
        async def whole() -> list[Candidate]:
            async with AsyncExitStack() as open_servers:
                known = []
                for name, options in servers.items():
                    server = await open_servers.enter_async_context(OpenAiServer([QUICK], **(options or {})))
                    known.append(LocalServer(name, port_of(server), f"pull one for {name}"))
                    if options is None:
                        await server.aclose()
                return await discover(env or {}, timeout_s=2.0, servers=known)

        return asyncio.run(whole())

    return run


async def answering(answer: bytes, then: Callable[[str], Awaitable[list[Candidate]]]) -> list[Candidate]:
    """Run `then` with the address of a server that sends `answer` to whatever comes, and hangs up."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    async with server:
        return await then(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")


def test_on_a_bare_machine_the_stand_in_is_chosen_and_says_what_it_is(look: Look) -> None:
    candidates = look(ollama=None)
    assert [(c.name, c.available) for c in candidates] == [("openai", False), ("ollama", False), ("rehearsal", True)]
    assert candidates[0].why == "neither OPENAI_API_KEY nor OPENAI_BASE_URL is set"
    assert "has nothing listening" in candidates[1].why
    chosen = choose(candidates)
    assert (chosen.use, chosen.options) == ("rehearsal", {})
    assert "no language model" in chosen.why


def test_a_key_in_the_environment_comes_first_and_nobody_is_called_for_it(look: Look) -> None:
    chosen = choose(look({"OPENAI_API_KEY": "sk-1"}, ollama={}))
    assert chosen == Candidate(
        "openai",
        "openai",
        OPENAI_BASE_URL,
        (OPENAI_MODEL,),
        "OPENAI_API_KEY is set",
        True,
        {"model": OPENAI_MODEL},
    )


def test_the_first_local_server_with_a_model_is_chosen(look: Look) -> None:
    candidates = look(ollama={"models": ["nomic-embed-text"]}, vllm={"models": ["bge-rerank", "qwen3:4b", "llama3"]})
    assert [c.available for c in candidates] == [False, False, True, True]
    assert "no model to talk to; pull one for ollama" in candidates[1].why
    chosen = choose(candidates)
    assert chosen.name == "vllm"
    assert chosen.models == ("bge-rerank", "qwen3:4b", "llama3")
    assert "answers with 3 models" in chosen.why
    assert chosen.options == {"base_url": chosen.base_url, "model": "qwen3:4b", "api_key": LOCAL_KEY}
    assert OpenAiLlm(**chosen.options).model == "qwen3:4b"


def test_a_users_key_is_not_sent_to_a_well_known_port(monkeypatch: pytest.MonkeyPatch, look: Look) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    found = look(ollama={"models": ["m"]})[1]
    assert OpenAiLlm(**found.options).api_key == LOCAL_KEY


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"api_key": "k"}, "asks for a key: set OPENAI_BASE_URL and OPENAI_API_KEY"),
        ({"models": None}, "answers 404, but not with a list of models"),
    ],
)
def test_a_local_server_that_will_not_do_says_why(look: Look, options: dict[str, Any], why: str) -> None:
    found = look(llama=options)[1]
    assert not found.available
    assert why in found.why


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "does not speak HTTP"),
        (b"220 ftp ready\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>", "answers 200, but not with a list of models"),
        (b'HTTP/1.1 200 OK\r\n\r\n{"data": [{"id": "m"}]}', ""),
        (b'HTTP/1.0 200 OK\r\nContent-Length: 23\r\n\r\n{"data": [{"id": "m"}]}', ""),
    ],
)
def test_a_base_url_on_this_machine_is_asked(answer: bytes, why: str) -> None:
    async def ask(base_url: str) -> list[Candidate]:
        return await discover({"OPENAI_BASE_URL": base_url + "/"}, timeout_s=2.0, servers=())

    named = asyncio.run(answering(answer, ask))[0]
    if why:
        assert not named.available
        assert why in named.why
    else:
        assert named.available
        assert named.options == {"base_url": named.base_url, "model": "m"}


def test_a_server_that_never_answers_costs_no_more_than_the_time_out() -> None:
    async def scenario() -> list[Candidate]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        begun = loop.time()
        found = await discover({}, timeout_s=0.05, servers=[LocalServer("silent", port, "")] * 3)
        assert loop.time() - begun < 2.0
        server.close()
        return found

    assert "does not answer within 0.05 s" in asyncio.run(scenario())[1].why


@pytest.mark.parametrize(
    ("base_url", "available"), [("https://llm.example.org/v1", True), ("llm.example.org:8000", False)]
)
def test_another_host_is_taken_at_its_word_unless_it_is_no_address(base_url: str, available: bool) -> None:
    named = asyncio.run(discover({"OPENAI_BASE_URL": base_url}, servers=()))[0]
    assert named.available is available
    assert "OPENAI_BASE_URL" in named.why


def test_the_usual_ports_are_looked_at() -> None:
    assert {server.name: server.port for server in LOCAL_SERVERS} == {
        "ollama": 11434,
        "lm-studio": 1234,
        "llama.cpp": 8080,
        "vllm": 8000,
    }
