"""The contract of the LLM port, kept by every adapter that ships; and proof that the kit sees each promise broken."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from typing import Any

import pytest

from duologue.core.messages import ToolCall
from duologue.dialogues import Exchange
from duologue.errors import StageError
from duologue.ports import Llm, LlmFinished, LlmItem, LlmRequest, TextDelta, ToolCallRequest, Usage
from duologue.testing import virtual_time
from duologue.testing.contracts import llm as contract
from duologue.testing.contracts.llm import LlmCase, check_llm
from duologue.testing.openai_server import Fault, OpenAiServer
from duologue.testing.scripted_llm import ScriptedLlm, ScriptedReply
from duologue_pipelines.llm.openai import OpenAiLlm
from duologue_pipelines.llm.rehearsal import RehearsalLlm

REPLY = ScriptedReply("It rains in Oslo, and it is cold.", first_token_s=0.005, token_s=0.002)
CALL = ToolCall("call_1", "weather", '{"city": "Oslo"}')


def test_openai_keeps_the_contract() -> None:
    async def run() -> tuple[str, ...]:
        def by_model(chat: Any) -> ScriptedReply:
            calls = chat.model == "caller" and chat.body.get("tool_choice") != "none"
            return replace(REPLY, text="", tool_calls=(CALL,)) if calls else REPLY

        faults = [
            Fault("half", requests=None, model="broken"),
            Fault("500", requests=1, model="flaky"),
            Fault("401", requests=None, model="refused"),
        ]
        async with OpenAiServer(by_model, faults=faults) as server:

            def make(model: str) -> Callable[[], OpenAiLlm]:
                return lambda: OpenAiLlm(model, base_url=server.base_url, backoff_s=0.001)

            return await check_llm(
                LlmCase(
                    make("scripted"),
                    make_tool_caller=make("caller"),
                    make_broken=make("broken"),
                    make_flaky=make("flaky"),
                    make_refused=make("refused"),
                    streams_open=lambda: server.streams_open,
                )
            )

    assert len(asyncio.run(run())) == 14


def test_rehearsal_keeps_the_contract() -> None:
    line = Exchange("Tell me about the weather in Oslo.", REPLY.text, (), "Weather", 0, "en", "weather.md", 3)
    case = LlmCase(lambda: RehearsalLlm([line], tokens_per_second=10, first_token_s=1.0))
    assert len(virtual_time.run(check_llm(case))) == 9


def test_scripted_keeps_the_contract() -> None:
    made: list[ScriptedLlm] = []

    def make(*replies: ScriptedReply) -> Callable[[], ScriptedLlm]:
        def one() -> ScriptedLlm:
            made.append(ScriptedLlm(replies, cycle=True))
            return made[-1]

        return one

    case = LlmCase(
        make(REPLY),
        make_tool_caller=make(replace(REPLY, text="", tool_calls=(CALL,))),
        make_broken=make(replace(REPLY, fail_after=2)),
        make_refused=make(replace(REPLY, fail_after=0, error=StageError("llm", "no", hint="Ask another."))),
        streams_open=lambda: sum(llm.open_streams for llm in made),
    )
    assert len(virtual_time.run(check_llm(case))) == 13


class Faulty(ScriptedLlm):
    """Passes the scripted items through `spoil`, which breaks one promise."""

    def __init__(self, spoil: Callable[[list[LlmItem]], list[LlmItem]], reply: ScriptedReply = REPLY) -> None:
        super().__init__([reply], cycle=True)
        self._spoil = spoil

    async def stream(self, request: LlmRequest) -> AsyncGenerator[LlmItem, None]:
        for item in self._spoil([item async for item in super().stream(request)]):
            yield item


TEXT, USAGE, END = TextDelta("Rain."), Usage("m", 1, 1), LlmFinished()


@pytest.mark.parametrize(
    ("spoiled", "complaint"),
    [
        ([TEXT, TEXT], "LlmFinished must come last"),
        ([TEXT, TEXT, END, END], "LlmFinished must come once"),
        ([TEXT, TEXT, USAGE, USAGE, END], "Usage must come once"),
        ([TEXT, USAGE, TEXT, END], "Usage must come right before"),
        ([TEXT, END], "in deltas; 1 came"),
        ([TEXT, TextDelta(""), END], "an empty delta"),
        ([TEXT, TEXT, LlmFinished("crash")], "ended with"),
        ([TEXT, TEXT, Usage("m", 1, 1, cached_input=2), END], "cached tokens are among those asked"),
        ([TEXT, TEXT, Usage("", 1, 1), END], "must name the model"),
        ([TEXT, TEXT, Usage("m", -1, 1), END], "can't be negative"),
    ],
)
def test_the_kit_sees_a_spoiled_stream(spoiled: list[LlmItem], complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        virtual_time.run(check_llm(LlmCase(lambda: Faulty(lambda _: spoiled))))


@pytest.mark.parametrize(
    ("calls", "complaint"),
    [
        ([], "none was"),
        ([ToolCall("a", "weather", '{"city": "Os')], "must come whole"),
        ([ToolCall("a", "weather", "[]")], "must be a JSON object"),
        ([ToolCall("a", "weather", "{}"), ToolCall("a", "weather", "{}")], "an id of its own"),
        ([ToolCall("a", "time", "{}")], "only weather was on offer"),
    ],
)
def test_the_kit_sees_a_spoiled_tool_call(calls: list[ToolCall], complaint: str) -> None:
    items: list[LlmItem] = [*map(ToolCallRequest, calls), LlmFinished("tool_calls")]
    case = LlmCase(lambda: ScriptedLlm([REPLY]), make_tool_caller=lambda: Faulty(lambda _: items))
    with pytest.raises(AssertionError, match=complaint):
        virtual_time.run(contract.calls_tools_whole(case))


@pytest.mark.parametrize(
    ("calls", "complaint"), [((CALL,), "no tool was to be called"), ((CALL, CALL), "one tool at most")]
)
def test_the_kit_sees_a_tool_choice_that_is_not_heeded(calls: tuple[ToolCall, ...], complaint: str) -> None:
    class Deaf(ScriptedLlm):
        async def stream(self, request: LlmRequest) -> AsyncGenerator[LlmItem, None]:
            if len(calls) == 1 or request.tool_choice == "auto":
                request = replace(request, tool_choice="auto", parallel_tool_calls=None)
            async for item in super().stream(request):
                yield item

    reply = replace(REPLY, tool_calls=calls)
    case = LlmCase(lambda: ScriptedLlm([REPLY]), make_tool_caller=lambda: Deaf([reply], cycle=True))
    with pytest.raises(AssertionError, match=complaint):
        virtual_time.run(contract.heeds_the_tool_choice(case))


class Lingering(ScriptedLlm):
    """Its endpoint goes on after the stream was closed."""

    @property
    def open_streams(self) -> int:
        return 1


def test_the_kit_sees_a_connection_that_stays_open() -> None:
    llm = Lingering([REPLY], cycle=True)
    with pytest.raises(AssertionError, match="go on at the endpoint"):
        virtual_time.run(contract.closes_at_once(LlmCase(lambda: llm, streams_open=lambda: llm.open_streams)))


class Stubborn(ScriptedLlm):
    """Finishes its work before it lets go."""

    async def stream(self, request: LlmRequest) -> AsyncGenerator[LlmItem, None]:
        try:
            async for item in super().stream(request):
                yield item
        finally:
            await asyncio.sleep(3600)


def test_the_kit_sees_a_close_that_waits() -> None:
    with pytest.raises(AssertionError, match="must not wait for the answer"):
        virtual_time.run(contract.closes_at_once(LlmCase(lambda: Stubborn([REPLY]))))


def broken_with(reply: ScriptedReply) -> LlmCase:
    def make() -> Llm:
        return ScriptedLlm([reply])

    return LlmCase(make, make_broken=make, make_flaky=make, make_refused=make)


@pytest.mark.parametrize(
    ("check", "reply", "complaint"),
    [
        (contract.tells_of_a_break, REPLY, "must raise StageError"),
        (contract.tells_of_a_break, replace(REPLY, fail_after=1, error=StageError("llm", "x")), "must be retryable"),
        (
            contract.tells_of_a_break,
            replace(REPLY, fail_after=1, error=StageError("tts", "x", retryable=True)),
            "must name the stage llm",
        ),
        (contract.tells_of_a_break, replace(REPLY, fail_after=0), "must have been passed on"),
        (contract.retries_before_the_first_item, REPLY, "must stand in LlmFinished.notes"),
        (contract.refuses_with_a_next_step, REPLY, "was to be refused"),
        (contract.refuses_with_a_next_step, replace(REPLY, fail_after=0), "must not be retryable"),
        (
            contract.refuses_with_a_next_step,
            replace(REPLY, fail_after=0, error=StageError("llm", "x")),
            "must say what to do next",
        ),
    ],
)
def test_the_kit_sees_a_failure_told_badly(check: contract.Check, reply: ScriptedReply, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        virtual_time.run(check(broken_with(reply)))


def test_the_kit_names_the_check_that_failed() -> None:
    with pytest.raises(AssertionError, match=r"^streams_text_then_ends: "):
        virtual_time.run(check_llm(LlmCase(lambda: Faulty(lambda _: [TEXT, END]))))
