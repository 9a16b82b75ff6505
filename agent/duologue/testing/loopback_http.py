"""Just enough of an HTTP/1.1 server to play an endpoint in tests, faults included, without any vendor.

A library would do the one thing that is not wanted here: keep the server from misbehaving. One connection answers its
requests one after the other; a client that hangs up cancels the answer under way at once, which is how a test sees a
cancelled reply.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

HEAD_BYTES_MAX: Final = 64 * 1024
BODY_BYTES_MAX: Final = 32 * 1024 * 1024  # pictures travel inside the JSON
PIPELINED_MAX: Final = 16  # requests sent ahead on one connection; beyond that it is closed


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request. `headers`: names in lower case. `connection`: which connection it came by, counted from 1."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


class HttpConnection(asyncio.Protocol):
    """One client's connection: parses requests, runs `respond` for each, and cancels it when the client hangs up."""

    def __init__(self, number: int, respond: "Responder", lost: Callable[["HttpConnection"], None]) -> None:
        self.number = number
        self._respond = respond
        self._lost = lost
        self._received = bytearray()
        self._waiting: deque[HttpRequest] = deque()
        self._transport: asyncio.Transport | None = None
        self.responding: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        try:
            while request := self._parse():
                self._waiting.append(request)
        except ValueError as error:
            self.send(HTTPStatus.BAD_REQUEST, {"error": {"message": str(error)}}, {"connection": "close"})
            self.hang_up()
        if len(self._waiting) > PIPELINED_MAX:
            self.hang_up()
        self._answer_next()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.responding:
            self.responding.cancel()
        self._transport = None
        self._lost(self)

    def _answer_next(self) -> None:
        if self._waiting and not self.responding and self._transport:
            self.responding = asyncio.get_running_loop().create_task(self._answer(self._waiting.popleft()))

    async def _answer(self, request: HttpRequest) -> None:
        try:
            await self._respond(request, self)
        finally:
            self.responding = None
        self._answer_next()

    def _parse(self) -> HttpRequest | None:
        """The next whole request, or None until more has come. Raises `ValueError` for what is no HTTP or too large."""
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            if len(self._received) > HEAD_BYTES_MAX:
                raise ValueError(f"a request head of more than {HEAD_BYTES_MAX} bytes")
            return None
        first, *lines = self._received[:head_end].decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        if "transfer-encoding" in headers or not 0 <= length <= BODY_BYTES_MAX or first.count(" ") != 2:
            raise ValueError(
                f"expected METHOD PATH HTTP/1.1 with a Content-Length up to {BODY_BYTES_MAX}, got {first!r}"
            )
        body_start = head_end + 4
        if len(self._received) < body_start + length:
            return None
        method, path, _ = first.split(" ")
        body = bytes(self._received[body_start : body_start + length])
        del self._received[: body_start + length]
        return HttpRequest(method, path.partition("?")[0], headers, body, self.number)

    def write(self, data: bytes) -> None:
        """Send raw bytes; nothing once the client has hung up."""
        if self._transport:
            self._transport.write(data)

    def send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        """Send a whole response: `body` as it is if bytes (HTML unless `headers` say otherwise), as JSON if not."""
        is_raw = isinstance(body, bytes)
        content = body if is_raw else json.dumps(body, ensure_ascii=False).encode()
        kind = "text/html; charset=utf-8" if is_raw else "application/json"
        self._send_head(status, {"content-type": kind, "content-length": str(len(content)), **(headers or {})})
        self.write(content)

    def begin_events(self) -> None:
        """Begin a response of server-sent events, its length unknown."""
        self._send_head(HTTPStatus.OK, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})

    def send_event(self, data: str) -> None:
        """Send one event as a chunk of its own."""
        event = f"data: {data}\n\n".encode()
        self.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")

    def end_events(self) -> None:
        """End the body; the connection may be used again."""
        self.write(b"0\r\n\r\n")

    def hang_up(self) -> None:
        """Close after what was written has gone out."""
        if self._transport:
            self._transport.close()

    def _send_head(self, status: int, headers: dict[str, str]) -> None:
        lines = [f"HTTP/1.1 {int(status)} {HTTPStatus(status).phrase}", *(f"{k}: {v}" for k, v in headers.items())]
        self.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))


Responder = Callable[[HttpRequest, HttpConnection], Awaitable[None]]
