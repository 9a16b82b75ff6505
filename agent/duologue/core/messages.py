"""What is said to a language model: messages, tool calls, tool descriptions. Plain data, no vendor's shape."""

from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function the model wants called. `arguments`: JSON text as the model wrote it, unchecked."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `images`: http(s) or data URLs. `call_id`: which call a `tool` message answers.
    `name`: who said it, where several speak; empty for nobody in particular."""

    role: Role
    text: str = ""
    images: tuple[str, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    call_id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A function as the model sees it. `parameters`: JSON schema of the arguments object."""

    name: str
    description: str
    parameters: dict[str, Any]
