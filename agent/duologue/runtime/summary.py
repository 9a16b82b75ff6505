"""What the model makes of the older part of a conversation, so that the prompt stays within its budget."""

from contextlib import aclosing
from typing import Final

from duologue.core.messages import Message
from duologue.ports.llm import Llm, LlmRequest, TextDelta, Usage
from duologue.runtime.cascade import LLM_STALL_S_MAX
from duologue.runtime.meter import Meter
from duologue.runtime.watched import watched

OUTPUT_TOKENS_MAX: Final = 400
SUMMARISE: Final = (
    "Summarise the conversation so far for your own memory: facts, names, wishes, promises, open questions. "
    "At most 200 words, in the language of the conversation."
)


async def summarise(llm: Llm, messages: tuple[Message, ...], meter: Meter) -> str:
    """The summary of `messages` by `llm`. Raises `DuologueError`."""
    request = LlmRequest((*messages, Message("user", SUMMARISE)), output_tokens_max=OUTPUT_TOKENS_MAX)
    text = ""
    meter.requests += 1
    async with aclosing(watched("llm", llm.stream(request), LLM_STALL_S_MAX)) as stream:
        async for item in stream:
            if isinstance(item, TextDelta):
                text += item.text
            elif isinstance(item, Usage):
                meter.usage(item)
    return text
