"""A language model that says what a script tells it, when the script tells it: the fake beside the LLM port.

Time is the running loop's, so that on the virtual-time loop a ten-second answer takes no time at all. It counts what a
cancelled reply must not leave behind: streams that are still open.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from duologue.core.messages import ToolCall
from duologue.errors import StageError
from duologue.ports import LlmFinished, LlmItem, LlmRequest, TextDelta, ToolCallRequest, Usage

REQUESTS_KEPT: Final = 10_000  # the oldest are forgotten beyond that: a simulation of hours stays flat in memory
_CJK: Final = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # as in core.words
_TOKEN: Final = re.compile(rf"\s*[{_CJK}]|\s*[^\s{_CJK}]+|\s+")


def split_tokens(text: str) -> list[str]:
    """`text` as a model might stream it: words with the space before them, CJK by character. Joined they are `text`."""
    return _TOKEN.findall(text)


@dataclass(frozen=True, slots=True)
class ScriptedReply:
    """One answer. `tokens`, if given, is streamed instead of `text`. `first_token_s`, then `token_s` a token: seconds.

    `tool_calls` come whole after the text, those that the request's `tool_choice` and `parallel_tool_calls` allow.
    `fail_after`: break off after so many tokens, 0 for before the first, with `error` or else a retryable `StageError`;
    an `error` alone is raised after the last token. `usage`: None to count the tokens. `reason`: empty for the one that
    fits.
    """

    text: str = ""
    tokens: tuple[str, ...] = ()
    first_token_s: float = 0.2
    token_s: float = 0.02
    tool_calls: tuple[ToolCall, ...] = ()
    fail_after: int | None = None
    error: StageError | None = None
    reason: str = ""
    usage: Usage | None = None
    notes: tuple[str, ...] = ()

    @property
    def streamed(self) -> tuple[str, ...]:
        """The tokens as they are streamed."""
        return self.tokens or tuple(split_tokens(self.text))


ReplyChooser = Callable[[LlmRequest], ScriptedReply]


class ScriptedLlm:
    """Answers request after request from `replies`, or asks a function for the reply to each request.

    With `cycle` the script begins again at its end; otherwise one request too many raises `StageError`.
    `requests`: what was asked, oldest first. `opened`, `finished`, `broken`, `closed_early`: how many streams were
    begun, came to their end, failed, and were closed or cancelled before it. `open_streams`: begun and not yet over.
    """

    def __init__(
        self,
        replies: Sequence[ScriptedReply] | ReplyChooser,
        *,
        cycle: bool = False,
        model: str = "scripted",
    ) -> None:
        self._replies = replies
        self._cycle = cycle
        self._model = model
        self._served = 0
        self.requests: list[LlmRequest] = []
        self.opened = 0
        self.finished = 0
        self.broken = 0
        self.closed_early = 0
        self.warmed_up = False
        self.closed = False

    @property
    def name(self) -> str:
        return "scripted"

    @property
    def model(self) -> str:
        return self._model

    @property
    def is_language_model(self) -> bool:
        return False

    @property
    def open_streams(self) -> int:
        return self.opened - self.finished - self.broken - self.closed_early

    @classmethod
    def probe(cls) -> str:
        return ""

    async def warm_up(self) -> None:
        self.warmed_up = True

    async def aclose(self) -> None:
        self.closed = True

    async def stream(self, request: LlmRequest) -> AsyncGenerator[LlmItem, None]:
        """Stream the next reply of the script."""
        self.requests.append(request)
        del self.requests[:-REQUESTS_KEPT]
        reply = self._next(request)
        self.opened += 1
        finished = broken = False
        try:
            async with aclosing(self._items(reply, request)) as items:
                async for item in items:
                    finished = isinstance(item, LlmFinished)
                    yield item
        except StageError:
            broken = True
            raise
        finally:
            self.finished += finished
            self.broken += broken
            self.closed_early += not finished and not broken

    def _next(self, request: LlmRequest) -> ScriptedReply:
        if callable(self._replies):
            return self._replies(request)
        count = len(self._replies)
        if not count or (self._served >= count and not self._cycle):
            raise StageError(
                "llm",
                f"the script has {count} replies and this is request {self._served + 1}",
                hint="Give ScriptedLlm more replies, or cycle=True",
            )
        self._served += 1
        return self._replies[(self._served - 1) % count]

    async def _items(self, reply: ScriptedReply, request: LlmRequest) -> AsyncGenerator[LlmItem, None]:
        loop = asyncio.get_running_loop()
        due = loop.time() + reply.first_token_s
        tokens = reply.streamed
        for count, token in enumerate(tokens):
            if count == reply.fail_after:
                break
            await asyncio.sleep(due - loop.time())
            yield TextDelta(token)
            due += reply.token_s
        await asyncio.sleep(due - loop.time())
        if reply.error or reply.fail_after is not None:
            raise reply.error or StageError(
                "llm", f"the script breaks off after {reply.fail_after} tokens", retryable=True
            )
        calls = _allowed(reply.tool_calls, request)
        for call in calls:
            yield ToolCallRequest(call)
        words_asked = sum(len(split_tokens(message.text)) for message in request.messages)
        yield reply.usage or Usage(self._model, input=words_asked, output=len(tokens))
        yield LlmFinished(reply.reason or ("tool_calls" if calls else "stop"), reply.notes)


def _allowed(calls: tuple[ToolCall, ...], request: LlmRequest) -> tuple[ToolCall, ...]:
    """Those of `calls` that the request lets a model make."""
    if request.tool_choice == "none":
        return ()
    if request.tool_choice not in ("auto", "required"):
        calls = tuple(call for call in calls if call.name == request.tool_choice)
    return calls[:1] if request.parallel_tool_calls is False else calls
