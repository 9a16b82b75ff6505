"""The `openai` adapter against llama.cpp's own server, which nobody here wrote, with a real model."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from benchmarks import llama_server
from duologue.core.messages import Message
from duologue.errors import StageError, StageTimeout, StageUnavailable
from duologue.ports import LlmFinished, LlmRequest, TextDelta, Usage
from duologue.runtime.meter import Meter
from duologue.testing.contracts.llm import Check, LlmCase, check_name, checks_for
from duologue_pipelines.llm.discover import LocalServer, choose, discover
from duologue_pipelines.llm.openai import OpenAiLlm

MODEL = "llamacpp:SmolLM2-135M-Instruct-Q4_1"
SYSTEM = Message("system", "You are a voice assistant at a museum. Answer in one short sentence. " * 12)
STORY = LlmRequest((Message("user", "Tell me a long story about a dragon."),), output_tokens_max=600, temperature=1.0)
SHORT = LlmRequest((Message("user", "Hi."),), output_tokens_max=8)


@pytest.fixture(scope="module")
def server(real_model: Any) -> Iterator[Any]:
    with llama_server.running(real_model(MODEL)) as started:
        yield started


@pytest.fixture
def server_of_its_own(real_model: Any) -> Iterator[Any]:
    with llama_server.running(real_model(MODEL)) as started:
        yield started


def with_llm(server: Any, scenario: Callable[[OpenAiLlm], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        llm = OpenAiLlm(**{"base_url": server.base_url, "output_tokens_max": 40, "backoff_s": 0.01, **options})
        try:
            async with asyncio.timeout(60):
                await scenario(llm)
        finally:
            await llm.aclose()

    asyncio.run(run())


async def idle(server: Any, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        for _ in range(10_000):
            if not await asyncio.to_thread(server.slots_busy):
                return
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("check", checks_for(LlmCase(make=lambda: OpenAiLlm())), ids=check_name)
def test_it_keeps_the_contract(server: Any, check: Check) -> None:
    asyncio.run(check(LlmCase(make=lambda: OpenAiLlm(base_url=server.base_url, output_tokens_max=40))))


def test_auto_finds_it_and_names_its_model(server: Any) -> None:
    port = int(server.base_url.rpartition(":")[2].removesuffix("/v1"))
    found = choose(asyncio.run(discover({}, 2.0, [LocalServer("llama.cpp", port, "")])))
    assert (found.name, found.models, found.options["model"]) == ("llama.cpp", ("smol",), "smol")


def test_a_cancelled_reply_frees_the_slot_at_once(server: Any) -> None:
    async def scenario(llm: OpenAiLlm) -> None:
        stream = llm.stream(STORY)
        await anext(stream)
        assert await asyncio.to_thread(server.slots_busy) == 1
        await stream.aclose()
        await idle(server, 2.0)  # the server itself looks once a second whether anybody still listens

    with_llm(server, scenario)


def test_the_stable_prefix_of_a_prompt_is_a_cache_hit_that_the_meter_shows(server: Any, collect: Any) -> None:
    async def scenario(llm: OpenAiLlm) -> None:
        meter = Meter()
        history = [SYSTEM]
        for question in ("When do you open?", "And on Sunday?", "What is a ticket?"):
            history.append(Message("user", question))
            items = await collect(llm.stream(LlmRequest(tuple(history), session="caller", temperature=0.0)))
            history.append(Message("assistant", "".join(item.text for item in items if isinstance(item, TextDelta))))
            (usage,) = [item for item in items if isinstance(item, Usage)]
            meter.usage(usage)
        tokens = meter.report()["tokens"]
        assert usage.cached_input > 0.8 * usage.input
        assert tokens["cached_input"] > 0.5 * tokens["input"] > 0

    with_llm(server, scenario)


def test_a_full_server_is_waited_for_and_given_up_in_time(server: Any, collect: Any) -> None:
    async def scenario(llm: OpenAiLlm) -> None:
        patient = OpenAiLlm(base_url=server.base_url)
        busy = patient.stream(STORY)
        await anext(busy)
        with pytest.raises(StageTimeout, match=r"sent no token within 0\.3 s") as late:
            await anext(llm.stream(STORY))
        assert late.value.retryable
        await busy.aclose()
        await patient.aclose()
        await idle(server, 3.0)

    with_llm(server, scenario, first_token_timeout_s=0.3, retries=0)


def test_who_waits_at_a_full_server_is_answered_when_a_slot_is_free(server: Any, collect: Any) -> None:
    async def scenario(llm: OpenAiLlm) -> None:
        answers = await asyncio.gather(*(collect(llm.stream(SHORT)) for _ in range(3)))
        assert all(isinstance(items[-1], LlmFinished) for items in answers)

    with_llm(server, scenario, first_token_timeout_s=30)


def test_a_server_killed_in_mid_stream_is_a_break_that_may_pass_and_a_dead_one_is_told(
    server_of_its_own: Any, collect: Any
) -> None:
    async def scenario(llm: OpenAiLlm) -> None:
        stream = llm.stream(STORY)
        await anext(stream)
        server_of_its_own.kill()
        with pytest.raises(StageError, match="broke off") as broken:
            await collect(stream)
        assert broken.value.retryable
        with pytest.raises(StageUnavailable, match="no answer from") as gone:
            await collect(llm.stream(STORY))
        assert gone.value.retryable and "Is the server running" in gone.value.hint

    with_llm(server_of_its_own, scenario)


def test_a_prompt_beyond_its_context_is_refused_with_its_words(server: Any, collect: Any) -> None:
    async def scenario(llm: OpenAiLlm) -> None:
        with pytest.raises(StageError, match="exceeds the available context size") as refused:
            await collect(llm.stream(LlmRequest((Message("user", "word " * 3000),))))
        assert not refused.value.retryable
        assert await collect(llm.stream(SHORT))

    with_llm(server, scenario)
