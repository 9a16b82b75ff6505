"""What the tests of language models share: an endpoint on loopback, the adapter beside it, a stream as a list."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

import pytest

from duologue.core.messages import Message
from duologue.ports import LlmItem, LlmRequest, TextDelta
from duologue.testing.openai_server import Fault, OpenAiServer, Replies
from duologue.testing.scripted_llm import ScriptedReply
from duologue_pipelines.llm.openai import OpenAiLlm

QUICK = ScriptedReply("It is quarter past nine.", first_token_s=0.0, token_s=0.0)
Scenario = Callable[[OpenAiServer, OpenAiLlm], Awaitable[Any]]


@pytest.fixture(autouse=True)
def no_key_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "NO_PROXY", "HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def ask() -> Callable[..., LlmRequest]:
    def request(text: str = "What time is it?", **more: Any) -> LlmRequest:
        return LlmRequest((Message("system", "You are brief."), Message("user", text)), **more)

    return request


@pytest.fixture
def collect() -> Callable[[AsyncGenerator[LlmItem, None]], Awaitable[list[LlmItem]]]:
    async def items_of(stream: AsyncGenerator[LlmItem, None]) -> list[LlmItem]:
        return [item async for item in stream]

    return items_of


@pytest.fixture
def spoken() -> Callable[[Sequence[LlmItem]], str]:
    return lambda items: "".join(item.text for item in items if isinstance(item, TextDelta))


@pytest.fixture
def with_endpoint() -> Callable[..., Any]:
    """Run a scenario with a server and an adapter that asks it; what the scenario returns."""

    def run(
        scenario: Scenario,
        *faults: Fault,
        replies: Replies = (QUICK,),
        server: dict[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        async def whole() -> Any:
            async with OpenAiServer(replies, faults=faults, **(server or {})) as endpoint:
                settings = {"model": "scripted", "base_url": endpoint.base_url, "backoff_s": 0.001, **options}
                llm = OpenAiLlm(**settings)
                try:
                    async with asyncio.timeout(10):  # a test that hangs says so
                        return await scenario(endpoint, llm)
                finally:
                    await llm.aclose()

        return asyncio.run(whole())

    return run
