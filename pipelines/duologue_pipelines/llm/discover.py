"""Which language models are there: what `use = "auto"` takes and what `duologue doctor` shows, each with its reason.

Order: what the environment names, then servers on their usual ports of this machine, then the embedded stand-in. Only
this machine is asked: whether OpenAI or another host answers is found out when it is used, not by looking around.
"""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from duologue_pipelines.llm.access import address_fault, key_fault
from duologue_pipelines.llm.openai import LOCAL_KEY, LOOPBACK, OPENAI_BASE_URL, OPENAI_MODEL, chat_models

ANSWER_BYTES_MAX: Final = 1 << 20  # of a list of models; LM Studio's runs to some ten thousand


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A server that people run on their own machine. `no_model`: what to do when it has none."""

    name: str
    port: int
    no_model: str


LOCAL_SERVERS: Final = (
    LocalServer("ollama", 11434, "pull one: ollama pull qwen3:4b"),
    LocalServer("lm-studio", 1234, "load one in LM Studio"),
    LocalServer("llama.cpp", 8080, "start llama-server with -m MODEL.gguf"),
    LocalServer("vllm", 8000, "start it as: vllm serve MODEL"),
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A language model that may be used. `why`: in a sentence, why it is or isn't `available`.

    `name`: what people call it. `use`: the adapter's entry point. `options`: what to construct the adapter with.
    """

    name: str
    use: str
    base_url: str
    models: tuple[str, ...]
    why: str
    available: bool
    options: dict[str, Any] = field(default_factory=dict)


async def discover(
    env: Mapping[str, str], timeout_s: float = 0.3, servers: Sequence[LocalServer] = LOCAL_SERVERS
) -> list[Candidate]:
    """All candidates, best first; those on this machine are asked at the same time, each for at most `timeout_s`."""
    asked = [_local(server, timeout_s) for server in servers]
    return [*await asyncio.gather(_named(env, timeout_s), *asked), _rehearsal()]


def choose(candidates: Sequence[Candidate]) -> Candidate:
    """The first that is available; `discover` ends with one that always is."""
    return next(candidate for candidate in candidates if candidate.available)


async def _named(env: Mapping[str, str], timeout_s: float) -> Candidate:
    """What OPENAI_API_KEY and OPENAI_BASE_URL name."""
    key, base_url = env.get("OPENAI_API_KEY", "").strip(), env.get("OPENAI_BASE_URL", "").rstrip("/")
    if not key and not base_url:
        return _absent("openai", OPENAI_BASE_URL, "neither OPENAI_API_KEY nor OPENAI_BASE_URL is set")
    if fault := key_fault(key):
        return _absent("openai", base_url or OPENAI_BASE_URL, f"OPENAI_API_KEY {fault}")
    if not base_url:
        why = "OPENAI_API_KEY is set"
        return Candidate("openai", "openai", OPENAI_BASE_URL, (OPENAI_MODEL,), why, True, {"model": OPENAI_MODEL})
    if fault := address_fault(base_url):
        return _absent("openai", base_url, f"OPENAI_BASE_URL {fault}")
    if urlsplit(base_url).hostname not in LOOPBACK:
        why = "OPENAI_BASE_URL is set"
        return Candidate("openai", "openai", base_url, (), why, True, {"base_url": base_url})
    found = await _models(base_url, key, timeout_s)
    if isinstance(found, str):
        return _absent("openai", base_url, f"OPENAI_BASE_URL names it, but it {found}")
    why = "OPENAI_BASE_URL names it and it answers"
    return _present("openai", base_url, found, why, {})


async def _local(server: LocalServer, timeout_s: float) -> Candidate:
    base_url = f"http://127.0.0.1:{server.port}/v1"
    found = await _models(base_url, "", timeout_s)
    if isinstance(found, str):
        return _absent(server.name, base_url, f"port {server.port} {found}")
    if not chat_models(found):
        return _absent(
            server.name, base_url, f"port {server.port} answers, but has no model to talk to; {server.no_model}"
        )
    why = f"port {server.port} answers with {len(found)} model{'s' if len(found) > 1 else ''}"
    # A key of the user's is never sent to whatever happens to listen on a well-known port.
    return _present(server.name, base_url, found, why, {"api_key": LOCAL_KEY})


def _rehearsal() -> Candidate:
    why = "always there; no language model: it answers from the pack's sample dialogues"
    return Candidate("rehearsal", "rehearsal", "", ("rehearsal",), why, True)


def _absent(name: str, base_url: str, why: str) -> Candidate:
    return Candidate(name, "openai", base_url, (), why, False)


def _present(name: str, base_url: str, models: tuple[str, ...], why: str, more: dict[str, Any]) -> Candidate:
    fit = chat_models(models)
    options = {"base_url": base_url, **({"model": fit[0]} if fit else {}), **more}
    return Candidate(name, "openai", base_url, models, why, True, options)


async def _models(base_url: str, key: str, timeout_s: float) -> tuple[str, ...] | str:
    """The models that an endpoint lists, or in words what came instead."""
    try:
        async with asyncio.timeout(timeout_s):
            status, body = await _get(f"{base_url}/models", key)
    except TimeoutError:
        return f"does not answer within {timeout_s:g} s"
    except ConnectionRefusedError:
        return "has nothing listening"
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return "answers, but does not speak HTTP"
    if status in (401, 403):
        return "asks for a key: set OPENAI_BASE_URL and OPENAI_API_KEY"
    try:
        entries = json.loads(body)["data"] or []
        return tuple(str(entry["id"]) for entry in entries)
    except (ValueError, KeyError, TypeError):
        return f"answers {status}, but not with a list of models"


async def _get(url: str, key: str) -> tuple[int, bytes]:
    """Status and body of a GET. Not by a library: the client takes a second to import and would go through proxies.

    HTTP/1.0, so that the body ends with the connection and comes in one piece.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    reader, writer = await asyncio.open_connection(host, port, ssl=parts.scheme == "https" or None)
    try:
        authorization = f"Authorization: Bearer {key}\r\n" if key else ""
        head = f"GET {parts.path} HTTP/1.0\r\nHost: {parts.netloc}\r\nAccept: application/json\r\n{authorization}\r\n"
        writer.write(head.encode("latin-1"))
        status_line, _, headers = (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")
        status = re.fullmatch(rb"HTTP/1\.[01] (\d{3}).*", status_line)
        if not status:
            raise ValueError(f"no HTTP: {status_line[:40]!r}")
        return int(status[1]), await _body(reader, _content_length(headers))
    finally:
        writer.transport.abort()


async def _body(reader: asyncio.StreamReader, length: int) -> bytes:
    """`length` bytes, or as many as come before the end or the time-out of the caller."""
    body = b""
    while len(body) < length and (more := await reader.read(length - len(body))):
        body += more
    return body


def _content_length(headers: bytes) -> int:
    for line in headers.lower().splitlines():
        if line.startswith(b"content-length:"):
            return min(int(line.partition(b":")[2]), ANSWER_BYTES_MAX)
    return ANSWER_BYTES_MAX
