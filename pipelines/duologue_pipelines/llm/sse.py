"""Server-sent events out of a byte stream, for the chat-completions protocol.

Why not the client's own reader: it swallows `[DONE]` (so a stream cut short by a dying server looks like a
finished one), it says nothing of what came instead when a server answers with an HTML page, and it builds a
model object a token. Source of the format: https://html.spec.whatwg.org/multipage/server-sent-events.html, of
which only `data` matters here.
"""

from typing import Final

EVENT_BYTES_MAX: Final = 1 << 20  # a token is some hundred bytes; a server that sends more is broken
FOREIGN_BYTES_MAX: Final = 4096  # kept of a body that is no event stream, to say what it was
_FIELDS: Final = (b"data", b"event", b"id", b"retry")


class MalformedStream(ValueError):
    """The body is not what the protocol allows; the message says what was found."""


class SseDecoder:
    """Bytes in, the `data` of whole events out. `foreign`: the beginning of whatever was no event stream."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._data: list[str] = []
        self._size = 0
        self.foreign = b""

    def add_bytes(self, received: bytes) -> list[str]:
        """The events completed by `received`.

        Raises `MalformedStream` beyond `EVENT_BYTES_MAX` or for bytes that are not UTF-8.
        """
        self._pending += received
        events: list[str] = []
        # A lone CR ends a line too by the standard, but no known server does that, and waiting for a possible
        # LF costs a token.
        while (end := self._pending.find(b"\n")) >= 0:
            line = bytes(self._pending[:end]).removesuffix(b"\r")
            del self._pending[: end + 1]
            self._take_line(line, events)
        if self._size + len(self._pending) > EVENT_BYTES_MAX:
            raise MalformedStream(f"an event of more than {EVENT_BYTES_MAX} bytes")
        return events

    def finish(self) -> list[str]:
        """What a server left unterminated at its end: some forget the last blank line."""
        events: list[str] = []
        if self._pending:
            line, self._pending = bytes(self._pending), bytearray()
            self._take_line(line, events)
        self._take_line(b"", events)
        return events

    def _take_line(self, line: bytes, events: list[str]) -> None:
        if not line:
            if self._data:
                events.append("\n".join(self._data))
            self._data, self._size = [], 0
            return
        name, colon, value = line.removeprefix(b"\xef\xbb\xbf").partition(b":")
        if colon and not name:
            return  # a comment, sent by proxies to keep the connection alive
        if name not in _FIELDS:
            self.foreign = (self.foreign + line + b"\n")[:FOREIGN_BYTES_MAX]
            return
        if name == b"data":
            self._size += len(value)
            try:
                self._data.append(value.removeprefix(b" ").decode())
            except UnicodeDecodeError as error:
                raise MalformedStream("bytes that are not UTF-8") from error
