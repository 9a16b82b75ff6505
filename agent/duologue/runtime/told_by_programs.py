"""What programs and the caller's side may tell a session, checked at the door: a wrong argument is told to whoever gave
it, and never breaks the conversation later."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final, TypedDict, TypeVar

from duologue.core import events as ev
from duologue.core.codec import decode, encode
from duologue.core.history import Item
from duologue.core.messages import ToolSpec
from duologue.core.options import ReplyOptions
from duologue.core.words import mended
from duologue.errors import ProtocolError
from duologue.nearest import did_you_mean
from duologue.runtime.user_tools import Tool

# What only the session's own stages know. From anybody else it would have the core decide about what never happened: a
# reply that ends while it is played, a tool that nobody asked for.
TOLD_BY_STAGES: Final = (
    ev.SpeechStarted, ev.SpeechStopped, ev.PartialTranscript, ev.FinalTranscript, ev.RecognitionFailed, ev.TurnJudged,
    ev.ReplyText, ev.ReplyGenerated, ev.ReplyHeard, ev.HeardSoFar, ev.ReplyEnded, ev.HeardCorrected, ev.ReplyFailed,
    ev.ToolRequested, ev.SummaryMade,
)  # fmt: skip


class GivenOptions(TypedDict, total=False):
    """What `ReplyOptions` holds, for type checkers; a test compares the two."""

    instructions: str | None
    input: Sequence[Item] | None
    tools: Iterable[ToolSpec | Tool] | None
    tool_choice: str
    voice: str | None
    output_tokens_max: int | None
    temperature: float | None
    text_only: bool
    in_history: bool


EventT = TypeVar("EventT", bound=ev.Event)


def checked(event: EventT) -> EventT:
    """`event` with every field of its type, and text that encoders take.

    Raises `ProtocolError` for a field that is something else, and for an event that is a stage's to tell.
    """
    if isinstance(event, TOLD_BY_STAGES):
        raise ProtocolError(f"{type(event).__name__} is for the session's own stages to tell")
    try:
        whole: EventT = decode(_mended(encode(event)))
    except (AttributeError, RecursionError, TypeError, ValueError) as error:
        raise ProtocolError(
            f"{type(event).__name__} can't be told: {error}", hint="Check the types of what you give"
        ) from error
    return whole


def reply_options(given: Mapping[str, Any]) -> ReplyOptions:
    """`given` as options; tools may be functions decorated with `tool`. Raises `ProtocolError` for a name that is
    none."""
    known = [field.name for field in fields(ReplyOptions)]
    for name in given:
        if name not in known:
            raise ProtocolError(f"a reply has no option {name!r}", hint=did_you_mean(name, known))
    tools = given.get("tools")
    return ReplyOptions(**{**given, **({} if tools is None else {"tools": tool_specs(tools)})})


def tool_specs(tools: Iterable[Any]) -> tuple[ToolSpec, ...]:
    """What the model is told of `tools`: descriptions, or functions decorated with `tool`. Raises `ProtocolError` for
    anything else."""
    if not isinstance(tools, Iterable):
        raise ProtocolError(f"tools are several, got {tools!r:.60}", hint="Give a list")
    specs = tuple(tool.spec if isinstance(tool, Tool) else tool for tool in tools)
    for spec in specs:
        if not isinstance(spec, ToolSpec):
            raise ProtocolError(f"{spec!r:.60} is no tool", hint="Give a ToolSpec, or a function with @duologue.tool")
    return specs


def _mended(data: Any) -> Any:
    """JSON-able `data` with its texts mended."""
    if isinstance(data, str):
        return mended(data)
    if isinstance(data, dict):
        return {key: _mended(value) for key, value in data.items()}
    return [_mended(item) for item in data] if isinstance(data, list) else data
