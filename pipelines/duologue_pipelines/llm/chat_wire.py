"""The chat-completions protocol as data: our request to JSON, its stream of JSON chunks to our items. No I/O.

Lenient where compatible servers differ (missing indexes and ids, arguments as objects, text as a list of
parts), strict where leniency would hide a fault: a chunk that is no JSON object, an error in mid-stream, an
end without a finish.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from duologue.core.messages import Message, ToolCall
from duologue.errors import StageError
from duologue.ports import LlmItem, LlmRequest, TextDelta, ToolCallRequest, Usage
from duologue_pipelines.llm.sse import MalformedStream
from duologue_pipelines.llm.surrogates import SurrogateJoiner, whole_characters, with_whole_characters
from duologue_pipelines.llm.thinking import ThoughtFilter

ARGUMENT_CHARS_MAX: Final = 1 << 20  # of all tool calls of one answer
CACHE_KEY_CHARS_MAX: Final = 64  # OpenAI's bound on prompt_cache_key
NAME_CHARS_MAX: Final = 64  # OpenAI's bound on the name of a message's author
_NO_NAME: Final = re.compile(r"[\s<|\\/>]+")  # what it takes in none
_DONE: Final = "[DONE]"
_IMAGE_SCHEMES: Final = ("http://", "https://", "data:image/")


@dataclass(frozen=True, slots=True)
class Dialect:
    """What an endpoint is known to take. Each field is given up once, when the endpoint says that it does not
    know it.

    `usage`: token counts at the end of the stream (`stream_options`). `tokens_field`: how it calls the bound
    on the output (OpenAI's newer models refuse `max_tokens`, most compatible servers know nothing else).
    `temperature`: whether it may be set (reasoning models refuse it). `cache_key`: OpenAI's hint which prompt
    cache to use. `parallel`: whether it may be told how many tools an answer calls.
    """

    usage: bool = True
    tokens_field: str = "max_tokens"
    temperature: bool = True
    cache_key: bool = False
    parallel: bool = True

    def concede(self, refusal: str) -> "Dialect | None":
        """The dialect to try next after a 400 or 422 with this text;

        None if the refusal is about something else.
        """
        said = refusal.casefold()
        if self.usage and ("stream_options" in said or "include_usage" in said):
            return replace(self, usage=False)
        if self.cache_key and "prompt_cache_key" in said:
            return replace(self, cache_key=False)
        if self.tokens_field == "max_tokens" and "max_completion_tokens" in said:
            return replace(self, tokens_field="max_completion_tokens")
        if self.temperature and "temperature" in said:
            return replace(self, temperature=False)
        if self.parallel and "parallel_tool_calls" in said:
            return replace(self, parallel=False)
        return None


def request_body(request: LlmRequest, model: str, dialect: Dialect) -> dict[str, Any]:
    """The JSON body that asks for `request`, in whole characters: half of one, typed or out of a tool, would make every
    later request of its conversation fail."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [message_json(message) for message in request.messages],
        "stream": True,
    }
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
            }
            for tool in request.tools
        ]
        if request.tool_choice != "auto":
            body["tool_choice"] = _tool_choice(request.tool_choice)
        if request.parallel_tool_calls is not None and dialect.parallel:
            body["parallel_tool_calls"] = request.parallel_tool_calls
    if dialect.usage:
        body["stream_options"] = {"include_usage": True}
    if request.temperature is not None and dialect.temperature:
        body["temperature"] = request.temperature
    if request.output_tokens_max is not None:
        body[dialect.tokens_field] = request.output_tokens_max
    if request.session and dialect.cache_key:
        body["prompt_cache_key"] = cache_key(request.session)
    whole: dict[str, Any] = with_whole_characters(body)
    return whole


def _tool_choice(choice: str) -> Any:
    return choice if choice in ("none", "required") else {"type": "function", "function": {"name": choice}}


def cache_key(session: str) -> str:
    """`session`, or a digest of it where it is longer than the endpoint allows."""
    if len(session) <= CACHE_KEY_CHARS_MAX:
        return session
    return hashlib.sha256(session.encode()).hexdigest()[:CACHE_KEY_CHARS_MAX]


def message_json(message: Message) -> dict[str, Any]:
    """One message in the protocol's shape.

    Raises `StageError` for an image that is neither an http(s) nor a data URL.
    """
    result: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.images:
        parts: list[dict[str, Any]] = [{"type": "text", "text": message.text}] if message.text else []
        result["content"] = parts + [_image_part(url) for url in message.images]
    if message.tool_calls:
        result["content"] = result["content"] or None
        result["tool_calls"] = [
            {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.role == "tool":
        result["tool_call_id"] = message.call_id
    if name := _NO_NAME.sub("_", message.name)[:NAME_CHARS_MAX]:
        result["name"] = name
    return result


def _image_part(url: str) -> dict[str, Any]:
    if not url.startswith(_IMAGE_SCHEMES):
        raise StageError(
            "llm",
            f"an image must be an http(s) URL or a data:image/… URL, got {url[:40]!r}",
            hint="Encode the picture as data:image/png;base64,…",
        )
    return {"type": "image_url", "image_url": {"url": url}}


class StreamFault(Exception):
    """The endpoint reported an error inside the stream. `code`, `kind`: its words for it, or empty."""

    def __init__(self, message: str, code: str, kind: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.kind = kind


@dataclass(slots=True)
class _GrowingCall:
    call_id: str
    name: str
    arguments: list[str] = field(default_factory=list)

    def whole(self) -> ToolCallRequest:
        # A function without parameters is called with no text at all by some models; the next request must
        # carry valid JSON.
        arguments = whole_characters("".join(self.arguments)).strip() or "{}"
        return ToolCallRequest(ToolCall(whole_characters(self.call_id), whole_characters(self.name), arguments))


class ChunkReader:
    """The chunks of one answer in, items out; tool calls are kept until they are whole.

    `alive`: a token was seen, be it only of a thought. `reason`: the finish reason, once known. `done`:
    `[DONE]` was seen.
    """

    def __init__(self, model: str, *, begins_thinking: bool = False) -> None:
        self._model = model
        self._thoughts = ThoughtFilter(begins_inside=begins_thinking)
        self._characters = SurrogateJoiner()
        self._reasoning_chars = 0
        self._calls: list[_GrowingCall] = []
        self._call_numbers: dict[int, _GrowingCall] = {}
        self._argument_chars = 0
        self._usage: Usage | None = None
        self.alive = False
        self.done = False
        self.reason = ""

    @property
    def thought_chars(self) -> int:
        """Characters of reasoning that were not passed on."""
        return self._reasoning_chars + self._thoughts.withheld

    def read_event(self, data: str) -> list[LlmItem]:
        """The items in one event.

        Raises `MalformedStream` for what is no chunk, `StreamFault` for a reported error.
        """
        if data.startswith(_DONE):
            self.done = True
            return []
        try:
            chunk = json.loads(data)
        except (json.JSONDecodeError, RecursionError) as error:
            raise MalformedStream(f"broken JSON ({error}): {data[:80]!r}") from error
        if not isinstance(chunk, dict):
            raise MalformedStream(f"a JSON {type(chunk).__name__} instead of an object: {data[:80]!r}")
        if chunk.get("error"):
            raise _reported(chunk["error"])
        self._take_usage(chunk)
        choices = chunk.get("choices") or []
        if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
            raise MalformedStream(f"`choices` is no list of objects: {data[:80]!r}")
        items: list[LlmItem] = []
        for choice in choices:
            if not choice.get("index"):  # only one answer is ever asked for
                items += self._take_choice(choice)
        return items

    def finish(self) -> list[LlmItem]:
        """What remains when the stream has ended well: held text, whole tool calls, usage."""
        items: list[LlmItem] = []
        if text := self._thoughts.add_text(self._characters.finish()) + self._thoughts.finish():
            items.append(TextDelta(text))
        items += [call.whole() for call in self._calls]
        if self._calls and self.reason in ("", "stop", "function_call"):
            self.reason = "tool_calls"
        if self._usage:
            items.append(self._usage)
        return items

    def _take_choice(self, choice: dict[str, Any]) -> list[LlmItem]:
        delta = choice.get("delta") or choice.get("message") or {}
        if not isinstance(delta, dict):
            raise MalformedStream(f"`delta` is no object: {str(delta)[:80]!r}")
        thought = _text_of(delta.get("reasoning_content") or delta.get("reasoning"))
        self._reasoning_chars += len(thought)
        text = _text_of(delta.get("content")) + _text_of(delta.get("refusal"))
        calls = delta.get("tool_calls") or []
        if not isinstance(calls, list):
            raise MalformedStream(f"`tool_calls` is no list: {str(calls)[:80]!r}")
        for call in calls:
            self._take_call(call)
        self.reason = choice.get("finish_reason") or self.reason
        self.alive = self.alive or bool(thought or text or self._calls or self.reason)
        spoken = self._thoughts.add_text(self._characters.add_text(text)) if text else ""
        return [TextDelta(spoken)] if spoken else []

    def _take_call(self, part: Any) -> None:
        function = part.get("function") if isinstance(part, dict) else None
        if not isinstance(function, dict):
            raise MalformedStream(f"a tool call without a function: {str(part)[:80]!r}")
        call_id, name = part.get("id") or "", function.get("name") or ""
        index = part.get("index")
        call = self._call_at(index, continues=not name)
        # Some servers send every call as number 0: a new id with a name is a new call all the same.
        if call is None or (name and call_id and call_id != call.call_id):
            call = _GrowingCall(call_id or f"call_{secrets.token_hex(8)}", name)
            self._calls.append(call)
            if isinstance(index, int):
                self._call_numbers[index] = call
        arguments = function.get("arguments") or ""
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        self._argument_chars += len(text)
        if self._argument_chars > ARGUMENT_CHARS_MAX:
            raise MalformedStream(f"tool arguments of more than {ARGUMENT_CHARS_MAX} characters")
        call.arguments.append(text)

    def _call_at(self, index: Any, *, continues: bool) -> _GrowingCall | None:
        """The call that a part belongs to;

        a part without a number goes on with the last call unless it names a function.
        """
        if isinstance(index, int):
            return self._call_numbers.get(index)
        return self._calls[-1] if self._calls and continues else None

    def _take_usage(self, chunk: dict[str, Any]) -> None:
        usage = chunk.get("usage")
        if not isinstance(usage, dict):
            return
        details = usage.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, dict) else 0
        model = chunk.get("model")
        self._usage = Usage(
            model=whole_characters(model) if isinstance(model, str) and model else self._model,
            input=_count(usage.get("prompt_tokens")),
            output=_count(usage.get("completion_tokens")),
            cached_input=_count(cached),
        )


def _count(value: Any) -> int:
    """A token count; 0 for whatever is none, since no answer should fail for its accounting."""
    return value if isinstance(value, int) and value > 0 else 0


def _text_of(content: Any) -> str:
    """Text of a delta:

    a string, or a list of parts of which only those of type `text` are meant to be read out.
    """
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, Iterable) and not isinstance(content, dict):
        parts = (part for part in content if isinstance(part, dict) and part.get("type", "text") == "text")
        return "".join(text for part in parts if isinstance(text := part.get("text"), str))
    raise MalformedStream(f"text of type {type(content).__name__}: {str(content)[:80]!r}")


def _reported(error: Any) -> StreamFault:
    if not isinstance(error, dict):
        return StreamFault(str(error), "")
    code = error.get("code") or error.get("type") or ""
    return StreamFault(str(error.get("message") or error), str(code), str(error.get("type") or ""))
