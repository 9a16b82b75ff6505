"""The language model: messages in, a stream of text, tool calls and usage out.

Contract: `stream` returns an async iterator; text deltas come as the model makes them; tool calls come whole; usage and
`LlmFinished` come last where the endpoint tells them, `LlmFinished` always. Closing the iterator (`aclose`) closes the
connection at once and no further token is paid for. Before the first item a retryable failure has been retried within
the adapter; after it, a broken stream raises `StageError(retryable=True)` and what was streamed stands. With
`tool_choice` `none` no tool is called, with `parallel_tool_calls` False one at most.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Protocol

from duologue.core.messages import Message, ToolCall, ToolSpec
from duologue.ports.stage import Stage


@dataclass(frozen=True, slots=True)
class LlmRequest:
    """One request. `session`: a stable name of the conversation (for provider-side prompt caching), or empty.

    `tool_choice`: `auto`, `none` (no tool may be called), `required` (one must be), or the name of the one that must.
    `parallel_tool_calls`: whether one answer may call several tools; None leaves that to the model. Both say nothing
    where there are no `tools`.
    """

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    temperature: float | None = None
    output_tokens_max: int | None = None
    session: str = ""
    tool_choice: str = "auto"
    parallel_tool_calls: bool | None = None


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Some more text, exactly as the model wrote it."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallRequest:
    """The model wants a function called."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens counted by the endpoint. `cached_input`: those of `input` that the provider had in its prompt cache."""

    model: str
    input: int
    output: int
    cached_input: int = 0


@dataclass(frozen=True, slots=True)
class LlmFinished:
    """The stream is over. `reason`: `stop`, `length`, `tool_calls`, `content_filter` or the endpoint's own word.

    `notes`: what happened on the way that the trace should know (retries, a fallback model). `remarks`: how the answer
    came about, where nothing went wrong.
    """

    reason: str = "stop"
    notes: tuple[str, ...] = field(default=())
    remarks: tuple[str, ...] = field(default=())


LlmItem = TextDelta | ToolCallRequest | Usage | LlmFinished


class Llm(Stage, Protocol):
    """A language model, or something that honestly says it is none."""

    @property
    def is_language_model(self) -> bool:
        """False for stand-ins like `rehearsal`; shown by `doctor` and in the trace."""
        ...

    @property
    def model(self) -> str:
        """What is asked, as the trace and the meter name it."""
        ...

    def stream(self, request: LlmRequest) -> AsyncGenerator[LlmItem, None]:
        """Stream the answer to `request`."""
        ...
