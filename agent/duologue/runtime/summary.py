"""What the model makes of the older part of a conversation, so that the prompt stays within its budget."""

from contextlib import aclosing
from typing import Final

from duologue.core.events import SummaryMade
from duologue.core.messages import Message
from duologue.errors import DuologueError
from duologue.ports.llm import Llm, LlmRequest, TextDelta, Usage
from duologue.runtime.cascade import LLM_STALL_S_MAX
from duologue.runtime.services import Services
from duologue.runtime.watched import watched

OUTPUT_TOKENS_MAX: Final = 400
SUMMARISE: Final = (
    "Summarise the conversation so far for your own memory: facts, names, wishes, promises, open questions. "
    "At most 200 words, in the language of the conversation."
)


async def summarise(llm: Llm, messages: tuple[Message, ...], items: int, services: Services) -> None:
    """Post the summary by `llm` of the first `items` items, which are `messages`; an empty one where that fails."""
    text = ""
    try:
        text = await _summary(llm, messages, services)
    except DuologueError as error:
        services.note("llm", f"no summary, an extract takes its place: {error}", "warning")
    services.post(SummaryMade(services.now(), items, text))


async def _summary(llm: Llm, messages: tuple[Message, ...], services: Services) -> str:
    request = LlmRequest((*messages, Message("user", SUMMARISE)), output_tokens_max=OUTPUT_TOKENS_MAX)
    text = ""
    services.meter.requests += 1
    async with aclosing(watched("llm", llm.stream(request), LLM_STALL_S_MAX)) as stream:
        async for item in stream:
            if isinstance(item, TextDelta):
                text += item.text
            elif isinstance(item, Usage):
                services.meter.usage(item)
    return text
