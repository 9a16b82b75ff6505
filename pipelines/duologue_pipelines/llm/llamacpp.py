"""llama.cpp as a language model: any GGUF file, in this process, without a key and without a second program.

One loaded model serves all sessions, as many at a time as there are slots; see `llamacpp_engine` for what that means.
Requests and chunks are those of the chat-completions protocol, as with `openai`, but none goes over a wire.
"""

import asyncio
import importlib.util
import json
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Final

from duologue.core.messages import Message
from duologue.errors import StageError
from duologue.ports import LlmFinished, LlmItem, LlmRequest
from duologue_pipelines.llm import gguf
from duologue_pipelines.llm.chat_wire import ChunkReader, Dialect, StreamFault, request_body
from duologue_pipelines.llm.llamacpp_engine import EngineOptions, LlamaCppEngine, how_to_install
from duologue_pipelines.llm.sse import MalformedStream
from duologue_pipelines.options import check_count, check_range

# By default half of the cores: the recogniser and the synthesiser want the others. Single runs on two cores: one thread
# read a prompt at 172 to 180 tokens/s, two at 106 to 344, and at 52 where other work had both cores.
THREADS_MAX: Final = 4
CONTEXT_FULL: Final = "exceed_context_size_error"  # llama.cpp's word for it
_MORE: Final[dict[str, Any]] = {
    "return_progress": True,  # a chunk after each step of the prompt too, so that it can be left there
    "cache_prompt": True,
}


@dataclass(eq=False)
class LlamaCppLlm:
    """The `llamacpp` stage.

    `model`: a name in the model cache ("SmolLM2-135M-Instruct-Q4_1") or a path to a `.gguf`; empty takes the preferred
    one, else the first in the cache. `threads`: of the model, 0 for half of the cores, up to four. `context`: tokens
    of one conversation, its prompt and answer. `slots`: answers at the same time; each takes memory for its context.
    `temperature`: 0 always takes the likeliest word. `output_tokens_max`: of an answer; 160 is about a minute of
    speech. `wait_s_max`: how long an answer waits for a slot. `examples`, `verbatim_min`: what is done with the pack's
    sample dialogues, see `ExamplesLlm`; 0 and 2 leave them alone. Raises `ConfigurationError` for values out of range.
    """

    model: str = ""
    threads: int = 0
    context: int = 4096
    slots: int = 2
    temperature: float = 0.0
    output_tokens_max: int = 160
    wait_s_max: float = 10.0
    examples: int = 1
    verbatim_min: float = 0.6
    _engine: LlamaCppEngine | None = field(default=None, init=False, repr=False)
    _loading: asyncio.Task[LlamaCppEngine] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        check_count("llm.llamacpp.threads", self.threads, 0, 256)
        check_count("llm.llamacpp.context", self.context, 256, 1 << 20)
        check_count("llm.llamacpp.slots", self.slots, 1, 64)
        check_range("llm.llamacpp.temperature", self.temperature, 0.0, 2.0)
        check_count("llm.llamacpp.output_tokens_max", self.output_tokens_max, 1, self.context)
        check_range("llm.llamacpp.wait_s_max", self.wait_s_max, 0.0, 60.0)
        check_count("llm.llamacpp.examples", self.examples, 0, 16)
        check_range("llm.llamacpp.verbatim_min", self.verbatim_min, 0.0, 2.0)
        if "/" not in self.model and "\\" not in self.model and not self.model.endswith(".gguf"):
            known = gguf.models()  # named here, so that the trace and `doctor` say which it is
            self.model = self.model or (gguf.preferred(known) if known else "")

    @property
    def name(self) -> str:
        return "llamacpp"

    @property
    def is_language_model(self) -> bool:
        return True

    @property
    def answers_open(self) -> int:
        """Slots that are taken now."""
        return self._engine.answers_open if self._engine else 0

    @classmethod
    def probe(cls) -> str:
        if importlib.util.find_spec("xllamacpp") is None:
            return f"the package xllamacpp is not installed. {how_to_install()}"
        if not gguf.models():
            return f"no model in {gguf.folder()}. {gguf.PULL}"
        return ""

    async def warm_up(self) -> None:
        """Load the model. Raises `StageUnavailable`, `ConfigurationError`."""
        await self._ready()

    async def read_ahead(self, messages: Sequence[Message]) -> None:
        """Have the beginning of prompts read in every slot, so that a first answer does not wait for that."""
        request = LlmRequest(tuple(messages), temperature=0.0, output_tokens_max=1)
        await asyncio.gather(*(self._read(request, slot) for slot in range(self.slots)))

    async def _read(self, request: LlmRequest, slot: int) -> None:
        body = {**self._body(request), "id_slot": slot}
        async with aclosing((await self._ready()).chunks(json.dumps(body))) as chunks:
            async for _ in chunks:
                pass

    async def aclose(self) -> None:
        """End all answers, free threads and memory. Asked again, the model is loaded again."""
        loading, self._loading = self._loading, None
        if loading and not loading.cancelled():
            await asyncio.wait([loading])
        engine, self._engine = self._engine, None
        if engine:
            await engine.close()

    async def stream(self, request: LlmRequest) -> AsyncGenerator[LlmItem, None]:
        """Stream the answer to `request`.

        A prompt that is longer than the context loses older messages, which is noted. Raises `StageUnavailable` (no
        package, no model, one that can't be loaded), `StageOverloaded` (all slots busy), `StageError` for all else.
        """
        engine = await self._ready()
        request = replace(
            request,
            temperature=self.temperature if request.temperature is None else request.temperature,
            output_tokens_max=min(request.output_tokens_max or self.output_tokens_max, self.context),
        )
        left_out = 0
        while True:
            try:
                async with aclosing(self._answer(engine, request)) as items:
                    async for item in items:
                        yield _with_note(item, left_out, self.context) if isinstance(item, LlmFinished) else item
                return
            except _ContextFull as full:
                shorter = _shorter(request.messages)
                left_out += len(request.messages) - len(shorter)
                if len(shorter) == len(request.messages):
                    raise full.error from None
                request = replace(request, messages=shorter)

    async def _answer(self, engine: LlamaCppEngine, request: LlmRequest) -> AsyncGenerator[LlmItem, None]:
        reader = ChunkReader(self.model)
        async with aclosing(engine.chunks(json.dumps(self._body(request)))) as chunks:
            async for chunk in chunks:
                try:
                    items = reader.read_event(chunk)
                except StreamFault as fault:
                    raise self._failure(fault) from fault
                except MalformedStream as fault:
                    raise StageError("llm", f"llama.cpp wrote no chunk: {fault}", retryable=True) from fault
                for item in items:
                    yield item
        for item in reader.finish():
            yield item
        yield LlmFinished(reader.reason or "stop")

    def _failure(self, fault: StreamFault) -> Exception:
        hint = "Raise llm.context (up to what the model was made for), or shorten the pack's instructions"
        if fault.kind == CONTEXT_FULL:
            return _ContextFull(StageError("llm", f"the prompt does not fit: {fault}", hint=hint))
        return StageError("llm", f"llama.cpp reported an error: {fault}", hint="See its words above")

    def _body(self, request: LlmRequest) -> dict[str, Any]:
        return {**request_body(request, self.model, Dialect()), **_MORE}

    async def _ready(self) -> LlamaCppEngine:
        """The loaded model; whoever comes while it is being loaded waits for the same."""
        if self._engine is None:
            if self._loading is None or self._loading.done():
                self._loading = asyncio.ensure_future(self._load())
            self._engine = await asyncio.shield(self._loading)
        return self._engine

    async def _load(self) -> LlamaCppEngine:
        path = gguf.model_path(self.model)
        threads = self.threads or max(1, min((os.cpu_count() or 1) // 2, THREADS_MAX))
        options = EngineOptions(threads, self.context, self.slots, self.wait_s_max)
        return await asyncio.to_thread(LlamaCppEngine.load, path, options)


class _ContextFull(Exception):
    """The prompt is longer than the context. `error`: what to say if it can't be made shorter."""

    def __init__(self, error: StageError) -> None:
        super().__init__(str(error))
        self.error = error


def _shorter(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Without the older half of what stands between the instructions and the last user message.

    A tool's result goes with the call that it answers.
    """
    first = next((i for i, message in enumerate(messages) if message.role != "system"), len(messages))
    last = max((i for i, message in enumerate(messages) if message.role == "user"), default=first)
    start = first + (last - first + 1) // 2
    while start < last and messages[start].role == "tool":
        start += 1
    return messages[:first] + messages[start:]


def _with_note(finished: LlmFinished, left_out: int, context: int) -> LlmFinished:
    if not left_out:
        return finished
    note = f"the prompt was longer than the context of {context} tokens: {left_out} older messages were left out"
    return replace(finished, notes=(*finished.notes, note))
