"""A language model that knows a pack's sample dialogues: what a small model lacks, its pack has.

Two things are done with what the user said, and both are noted. Is it one of the pack's questions, the pack's own
answer is given, word for word: asked to say it after an example, a very small model gets months and prices wrong. Else
the nearest exchanges go into the prompt as examples of how this agent talks, right before the user's words: all before
them stays as it was, so that it is still in the model's prompt cache.

Requests that a pack can't answer go through as they are: summaries, results of tools, anything with tools on offer.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, Protocol, Self, runtime_checkable

from duologue.core.messages import Message
from duologue.dialogues import Exchange
from duologue.ports import Llm, LlmFinished, LlmItem, LlmRequest, TextDelta
from duologue_pipelines.llm.matching import LineMatcher, Match
from duologue_pipelines.llm.rehearsal import LOOK_BACK, SUMMARISE, pieces

EXAMPLE_MIN: Final = 0.35  # likeness below which an example is about something else, and misleads


@runtime_checkable
class ReadsAhead(Protocol):
    """A model that can be told how prompts will begin."""

    async def read_ahead(self, messages: Sequence[Message]) -> None:
        """Have `messages` read before anybody asks."""
        ...


@dataclass(eq=False)
class ExamplesLlm:
    """`llm` with a pack's `exchanges`.

    `examples`: how many go into a prompt. `verbatim_min`: likeness (0..1) of the user's words to one of the pack's
    lines from which the pack's answer is given as it is; above 1 never. `beginning`: what the prompts of this pack
    begin with, read ahead where the model can do that.
    """

    llm: Llm
    exchanges: Sequence[Exchange] = ()
    examples: int = 1
    verbatim_min: float = 0.6
    beginning: tuple[Message, ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        return self.llm.name

    @property
    def model(self) -> str:
        return self.llm.model

    @property
    def is_language_model(self) -> bool:
        return self.llm.is_language_model

    @classmethod
    def probe(cls) -> str:
        """Always there; the model answers for itself."""
        return ""

    def with_exchanges(self, exchanges: Sequence[Exchange]) -> Self:
        """The same model with another pack's lines, from the next turn on."""
        return replace(self, exchanges=exchanges, beginning=())

    async def warm_up(self) -> None:
        """The model; then what all prompts begin with is read, so that the first answer does not wait for that."""
        await self.llm.warm_up()
        _ = self._matcher
        if self.beginning and isinstance(self.llm, ReadsAhead):
            await self.llm.read_ahead(self.beginning)

    async def aclose(self) -> None:
        """The model, which other packs may share."""
        await self.llm.aclose()

    async def stream(self, request: LlmRequest) -> AsyncGenerator[LlmItem, None]:
        """Stream the pack's answer or the model's. Raises what the model raises."""
        matches = self._matches(request)
        if matches and matches[0].score >= self.verbatim_min:
            for item in as_written(matches[0]):
                yield item
            return
        async with aclosing(self.llm.stream(with_examples(request, matches))) as items:
            async for item in items:
                yield item

    @cached_property
    def _matcher(self) -> LineMatcher:
        return LineMatcher(self.exchanges)

    def _matches(self, request: LlmRequest) -> list[Match]:
        """The pack's exchanges nearest to what the user said last, the nearest first."""
        said = request.messages[-1] if request.messages else Message("system")
        if said.role != "user" or said.images or said.text.startswith(SUMMARISE) or request.tools:
            return []
        agent_texts = [message.text for message in reversed(request.messages) if message.role == "assistant"]
        last = self._matcher.last_exchange(agent_texts[:LOOK_BACK])
        return self._matcher.nearest(said.text, last, count=max(1, self.examples), score_min=EXAMPLE_MIN)[
            : self.examples or (1 if self.verbatim_min <= 1 else 0)
        ]


def with_examples(request: LlmRequest, matches: Sequence[Match]) -> LlmRequest:
    """`request` with `matches` as turns of their own right before the last message, the nearest last."""
    shown = [
        message
        for match in reversed(matches)
        for message in (Message("user", match.line), Message("assistant", match.exchange.agent))
    ]
    return replace(request, messages=(*request.messages[:-1], *shown, *request.messages[-1:]))


def as_written(match: Match) -> list[LlmItem]:
    """The pack's own answer, as a model would stream it, and where it stands."""
    found = match.exchange
    remark = f"answered as written in {found.path}:{found.line} (likeness {match.score:.2f})"
    return [*(TextDelta(piece) for piece in pieces(found.agent)), LlmFinished("stop", remarks=(remark,))]
