"""A chat-completions endpoint that answers by script, at a stated pace, and misbehaves on request. Loopback, no vendor.

For tests of anything that talks to such an endpoint, and for trying the engine offline:

    python -m duologue.testing.openai_server --tokens-per-second 40 --fault 429

It speaks what clients use of the protocol: `GET /v1/models`, `POST /v1/chat/completions` streamed or whole, tool calls,
usage with cached tokens. It records requests, and which streams the client hung up on.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Self

from duologue.core.messages import ToolCall
from duologue.errors import ConfigurationError
from duologue.testing.loopback_http import HttpConnection, HttpRequest
from duologue.testing.scripted_llm import ScriptedReply, split_tokens

REQUESTS_KEPT: Final = 1000  # the oldest are forgotten beyond that
_PREFIX: Final = "/v1"

# kind: status, the endpoint's code for it, its message
STATUS_FAULTS: Final = {
    "400": (400, "invalid_request_error", "Your request makes no sense."),
    "401": (401, "invalid_api_key", "Incorrect API key provided."),
    "403": (403, "permission_denied", "Your key may not use this model."),
    "404": (404, "model_not_found", "The model does not exist."),
    "429": (429, "rate_limit_exceeded", "Rate limit reached. Please try again later."),
    "quota": (
        429,
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    "500": (500, "server_error", "The server had an error while processing your request."),
    "503": (503, "overloaded", "The engine is currently overloaded."),
}
FAULTS: Final = {
    **{kind: f"answers {status}: {message}" for kind, (status, _, message) in STATUS_FAULTS.items()},
    "garbage": "answers 200 with an HTML page",
    "not_http": "answers bytes that are no HTTP",
    "whole_json": "answers one JSON object though a stream was asked for",
    "hang_up": "closes the connection without a byte",
    "no_answer": "never answers",
    "slow_headers": "answers well, but only after delay_s",
    "broken_json": "sends broken JSON inside the stream after after_tokens",
    "error_event": "reports an error inside the stream after after_tokens",
    "half": "closes the connection after after_tokens",
    "stall": "sends nothing more after after_tokens, and keeps the connection open",
    "half_after_finish": "closes the connection after the finish, without usage or [DONE]",
    "stall_after_finish": "sends nothing more after the finish, and keeps the connection open",
    "no_finish": "ends the body properly after after_tokens, without a finish",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One misbehaviour, of the kinds in `FAULTS`.

    `requests`: how many requests it hits, None for all. `model`: only requests for this one, empty for any.
    `retry_after_s`: sent as `Retry-After` with a status. `after_tokens`: how much of the answer comes before it.
    """

    kind: str
    requests: int | None = 1
    model: str = ""
    after_tokens: int = 2
    delay_s: float = 1.0
    retry_after_s: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in FAULTS:
            raise ConfigurationError(f"unknown fault {self.kind!r}", hint=f"Known are: {', '.join(FAULTS)}")


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request for a chat completion as it came.

    `body`: the JSON. `at`: loop seconds. `connection`: counted from 1.
    """

    body: dict[str, Any]
    headers: dict[str, str]
    connection: int
    at: float

    @property
    def model(self) -> str:
        return str(self.body.get("model", ""))

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [message for message in self.body.get("messages") or [] if isinstance(message, dict)]

    @property
    def tool_names(self) -> list[str]:
        return [tool["function"]["name"] for tool in self.body.get("tools") or []]

    @property
    def last_text(self) -> str:
        """The text of the last message, without pictures."""
        return text_of(self.messages[-1]) if self.messages else ""


Replies = Sequence[ScriptedReply] | Callable[[ChatRequest], ScriptedReply]


class OpenAiServer:
    """The endpoint. `async with OpenAiServer(...) as server:` and give `server.base_url` to a client.

    `replies`: one a request, from the beginning again at the end, or a function of the request. `faults`: the first one
    that still has a request to hit is taken. `models`: None for an
    endpoint without such a list. `api_key`: required of clients, empty for none. `refused_fields`: answered
    with 400, as by servers that don't know them.

    `requests`: chat requests, oldest first. `connections`: how many were opened. `streams_open`: answers under way.
    `hung_up`: how many of them the client closed before their end. `refused`: requests answered with 400.
    """

    def __init__(
        self,
        replies: Replies,
        *,
        faults: Iterable[Fault] = (),
        models: Sequence[str] | None = ("scripted",),
        api_key: str = "",
        refused_fields: Sequence[str] = (),
    ) -> None:
        self._replies = replies
        self._faults = [(fault, fault.requests) for fault in faults]
        self._models = models
        self._api_key = api_key
        self._refused_fields = tuple(refused_fields)
        self._server: asyncio.Server | None = None
        self._live: set[HttpConnection] = set()
        self._changed = asyncio.Event()
        self._served = 0
        self._last_messages: list[dict[str, Any]] = []
        self.requests: list[ChatRequest] = []
        self.connections = 0
        self.streams_open = 0
        self.hung_up = 0
        self.refused = 0

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen. Raises `ConfigurationError` if the port is taken."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(self._connection, host, port)
        except OSError as error:
            raise ConfigurationError(
                f"can't listen on {host}:{port}: {error}", hint="Take another port, or 0 for any"
            ) from error

    @property
    def base_url(self) -> str:
        """Where to find it, `/v1` included."""
        assert self._server, "start the server first"
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://{host}:{port}{_PREFIX}"

    async def aclose(self) -> None:
        """Hang up on everybody. Idempotent."""
        if self._server:
            self._server.close()
        answers = [live.responding for live in self._live if live.responding]
        for live in list(self._live):
            live.hang_up()
        for answer in answers:
            answer.cancel()
        await asyncio.gather(*answers, return_exceptions=True)
        while self._live:
            self._changed.clear()
            await self._changed.wait()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def misbehave(self, *faults: Fault) -> None:
        """From now on commit these instead of those before; none of them: behave."""
        self._faults = [(fault, fault.requests) for fault in faults]

    async def until(self, holds: Callable[[], bool], timeout_s: float = 2.0) -> None:
        """Wait until `holds()`, looked at whenever a stream begins, sends or ends. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout_s):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    def _connection(self) -> HttpConnection:
        self.connections += 1
        connection = HttpConnection(self.connections, self._respond, self._connection_lost)
        self._live.add(connection)
        return connection

    def _connection_lost(self, connection: HttpConnection) -> None:
        self._live.discard(connection)
        self._changed.set()

    async def _respond(self, request: HttpRequest, connection: HttpConnection) -> None:
        if self._api_key and request.headers.get("authorization") != f"Bearer {self._api_key}":
            _send_error(connection, *STATUS_FAULTS["401"])
        elif (request.method, request.path) == ("GET", f"{_PREFIX}/models") and self._models is not None:
            entries = [{"id": model, "object": "model", "created": 0, "owned_by": "duologue"} for model in self._models]
            connection.send(HTTPStatus.OK, {"object": "list", "data": entries})
        elif (request.method, request.path) == ("POST", f"{_PREFIX}/chat/completions"):
            await self._chat(request, connection)
        else:
            _send_error(connection, 404, "not_found", f"There is nothing at {request.method} {request.path}.")

    async def _chat(self, request: HttpRequest, connection: HttpConnection) -> None:
        try:
            body = json.loads(request.body)
            chat = ChatRequest(body, request.headers, request.connection, asyncio.get_running_loop().time())
            refused = [name for name in self._refused_fields if name in body]
            is_sound = isinstance(body.get("messages"), list)
        except (ValueError, AttributeError):
            refused, is_sound = [], False
        if not is_sound or refused:
            self.refused += 1
            problem = f"Unrecognized request argument supplied: {refused[0]}" if refused else "No messages in the body"
            _send_error(connection, 400, "invalid_request_error", problem)
            return
        self.requests.append(chat)
        del self.requests[:-REQUESTS_KEPT]
        self._changed.set()
        fault = self._take_fault(chat.model)
        if fault and await self._misbehave_at_once(fault, connection):
            return
        await self._answer(chat, self._next_reply(chat), fault, connection)

    def _take_fault(self, model: str) -> Fault | None:
        for place, (fault, left) in enumerate(self._faults):
            if left != 0 and fault.model in ("", model):
                self._faults[place] = (fault, None if left is None else left - 1)
                return fault
        return None

    async def _misbehave_at_once(self, fault: Fault, connection: HttpConnection) -> bool:
        """Commit a fault that comes instead of an answer; False if the answer is still to come."""
        if fault.kind in STATUS_FAULTS:
            headers = {} if fault.retry_after_s is None else {"retry-after": f"{fault.retry_after_s:g}"}
            _send_error(connection, *STATUS_FAULTS[fault.kind], headers)
        elif fault.kind == "garbage":
            connection.send(HTTPStatus.OK, b"<!DOCTYPE html><html><body><h1>Welcome to nginx!</h1></body></html>")
        elif fault.kind == "not_http":
            connection.write(b"\x00\x01 SSH-2.0-OpenSSH_9.6\r\n\r\n")
            connection.hang_up()
        elif fault.kind == "whole_json":
            connection.send(HTTPStatus.OK, _completion(ScriptedReply("A whole answer."), "scripted", {}))
        elif fault.kind == "hang_up":
            connection.hang_up()
        elif fault.kind == "no_answer":
            await self._for_ever()
        elif fault.kind == "slow_headers":
            await asyncio.sleep(fault.delay_s)
            return False
        else:
            return False
        return True

    def _next_reply(self, chat: ChatRequest) -> ScriptedReply:
        if callable(self._replies):
            return self._replies(chat)
        self._served += 1
        return self._replies[(self._served - 1) % len(self._replies)]

    async def _answer(
        self, chat: ChatRequest, reply: ScriptedReply, fault: Fault | None, connection: HttpConnection
    ) -> None:
        usage = self._usage(chat, reply)
        if not chat.body.get("stream"):
            await asyncio.sleep(reply.first_token_s + reply.token_s * len(reply.streamed))
            connection.send(HTTPStatus.OK, _completion(reply, chat.model, usage))
            return
        self.streams_open += 1
        try:
            if await self._stream(chat, reply, fault, connection):
                if (chat.body.get("stream_options") or {}).get("include_usage"):
                    connection.send_event(_chunk(chat.model, usage=usage))
                connection.send_event("[DONE]")
                connection.end_events()
        except asyncio.CancelledError:
            self.hung_up += 1
            raise
        finally:
            self.streams_open -= 1
            self._changed.set()

    async def _stream(
        self, chat: ChatRequest, reply: ScriptedReply, fault: Fault | None, connection: HttpConnection
    ) -> bool:
        """Send the tokens; whether the stream is to be ended properly."""
        loop = asyncio.get_running_loop()
        due = loop.time() + reply.first_token_s
        connection.begin_events()
        connection.send_event(_chunk(chat.model, {"role": "assistant", "content": ""}))
        tokens = reply.streamed
        breaks_at = min(fault.after_tokens, len(tokens)) if fault else -1
        for count, token in enumerate((*tokens, "")):
            if fault and count == breaks_at and await self._misbehave_inside(fault, connection):
                return False
            await asyncio.sleep(due - loop.time())
            if token:
                connection.send_event(_chunk(chat.model, {"content": token}))
                self._changed.set()
            due += reply.token_s
        for index, call in enumerate(reply.tool_calls):
            for part in _call_parts(index, call):
                connection.send_event(_chunk(chat.model, {"tool_calls": [part]}))
        connection.send_event(_chunk(chat.model, {}, finish_reason=_reason(reply)))
        if fault and fault.kind == "half_after_finish":
            connection.hang_up()
            return False
        if fault and fault.kind == "stall_after_finish":
            await self._for_ever()
        return True

    async def _misbehave_inside(self, fault: Fault, connection: HttpConnection) -> bool:
        """Commit a fault of the stream; False for the kinds that have happened already."""
        if fault.kind == "broken_json":
            connection.send_event('{"choices": [{"delta": {"conte')
            connection.end_events()
        elif fault.kind == "error_event":
            connection.send_event(json.dumps({"error": {"message": "The model crashed.", "code": "server_error"}}))
            connection.end_events()
        elif fault.kind == "half":
            connection.hang_up()
        elif fault.kind == "stall":
            await self._for_ever()
        elif fault.kind == "no_finish":
            connection.end_events()
        else:
            return False
        return True

    async def _for_ever(self) -> None:
        """Until the client hangs up, which cancels this."""
        await asyncio.get_running_loop().create_future()

    def _usage(self, chat: ChatRequest, reply: ScriptedReply) -> dict[str, Any]:
        """Tokens of request and answer. Cached are those of the leading messages that the request before had too."""
        messages, before = chat.messages, self._last_messages
        self._last_messages = messages
        same = next((i for i, pair in enumerate(zip(messages, before, strict=False)) if pair[0] != pair[1]), None)
        shared = messages[: min(len(messages), len(before)) if same is None else same]
        asked = reply.usage.input if reply.usage else _token_count(messages)
        answered = reply.usage.output if reply.usage else len(reply.streamed)
        return {
            "prompt_tokens": asked,
            "completion_tokens": answered,
            "total_tokens": asked + answered,
            "prompt_tokens_details": {"cached_tokens": min(asked, _token_count(shared))},
        }


def text_of(message: dict[str, Any]) -> str:
    """The text of a message in the protocol's shape, whose content may be a list of parts."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(str(part.get("text", "")) for part in content if part.get("type") == "text")


def _token_count(messages: list[dict[str, Any]]) -> int:
    return sum(len(split_tokens(text_of(message))) for message in messages)


def _reason(reply: ScriptedReply) -> str:
    return reply.reason or ("tool_calls" if reply.tool_calls else "stop")


def _chunk(
    model: str,
    delta: dict[str, Any] | None = None,
    *,
    finish_reason: str | None = None,
    usage: dict[str, Any] | None = None,
) -> str:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    chunk = {
        "id": "chatcmpl-scripted",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": model,
        "choices": choices,
    }
    return json.dumps({**chunk, "usage": usage} if usage else chunk, ensure_ascii=False)


def _call_parts(index: int, call: ToolCall) -> list[dict[str, Any]]:
    """A tool call as models send it: the name first, then the arguments in pieces."""
    half = len(call.arguments) // 2
    pieces = [piece for piece in (call.arguments[:half], call.arguments[half:]) if piece]
    begin = {"index": index, "id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": ""}}
    return [begin, *({"index": index, "function": {"arguments": piece}} for piece in pieces)]


def _completion(reply: ScriptedReply, model: str, usage: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "".join(reply.streamed) or None}
    if reply.tool_calls:
        message["tool_calls"] = [
            {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in reply.tool_calls
        ]
    choice = {"index": 0, "message": message, "finish_reason": _reason(reply)}
    completion = {"id": "chatcmpl-scripted", "object": "chat.completion", "created": 0, "model": model}
    return {**completion, "choices": [choice], "usage": usage}


def _send_error(
    connection: HttpConnection, status: int, code: str, message: str, headers: dict[str, str] | None = None
) -> None:
    error = {"message": message, "type": code, "code": code, "param": None}
    connection.send(status, {"error": error}, headers)
