"""The scripted language model keeps to its script and counts what is left open. All times are virtual."""

import asyncio

import pytest

from duologue.core.messages import Message, ToolCall
from duologue.errors import StageError
from duologue.ports import LlmFinished, LlmItem, LlmRequest, TextDelta, ToolCallRequest, Usage
from duologue.testing import virtual_time
from duologue.testing.scripted_llm import REQUESTS_KEPT, ScriptedLlm, ScriptedReply, split_tokens
from duologue.testing.virtual_time import pass_time

REQUEST = LlmRequest((Message("user", "Hello there"),))


async def timed(llm: ScriptedLlm, request: LlmRequest = REQUEST) -> list[tuple[float, LlmItem]]:
    loop = asyncio.get_running_loop()
    return [(round(loop.time(), 3), item) async for item in llm.stream(request)]


def test_tokens_come_when_the_script_says() -> None:
    llm = ScriptedLlm([ScriptedReply("Good morning, Ann.", first_token_s=0.3, token_s=0.05)])
    assert virtual_time.run(timed(llm)) == [
        (0.3, TextDelta("Good")),
        (0.35, TextDelta(" morning,")),
        (0.4, TextDelta(" Ann.")),
        (0.45, Usage("scripted", input=2, output=3)),
        (0.45, LlmFinished("stop")),
    ]
    assert llm.requests == [REQUEST]
    assert (llm.opened, llm.finished, llm.open_streams) == (1, 1, 0)


def test_a_slow_listener_does_not_slow_the_model() -> None:
    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        async for _ in ScriptedLlm([ScriptedReply("a b c", first_token_s=1.0, token_s=1.0)]).stream(REQUEST):
            await pass_time(0.9)
        return loop.time()

    assert virtual_time.run(scenario()) == pytest.approx(5.8)


@pytest.mark.parametrize("text", ["It is 9:15 — really?", "现在 是九点，OK?", "  two  spaces ", ""])
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(split_tokens(text)) == text


def test_chinese_is_streamed_by_character() -> None:
    assert split_tokens("你好，Ann 再见") == ["你", "好", "，Ann", " 再", "见"]


def test_tokens_can_be_given_one_by_one() -> None:
    llm = ScriptedLlm([ScriptedReply(tokens=("<mo", "od>"), usage=Usage("m", 1, 2, 1), reason="length", notes=("n",))])
    items = [item for _, item in virtual_time.run(timed(llm))]
    assert items == [TextDelta("<mo"), TextDelta("od>"), Usage("m", 1, 2, 1), LlmFinished("length", ("n",))]


def test_only_the_tools_that_the_request_allows_are_called() -> None:
    calls = (ToolCall("a", "time", "{}"), ToolCall("b", "weather", "{}"))

    def called(**request: object) -> tuple[str, str]:
        llm = ScriptedLlm([ScriptedReply(tool_calls=calls)])
        items = [item for _, item in virtual_time.run(timed(llm, LlmRequest((), **request)))]  # type: ignore[arg-type]
        names = [item.call.name for item in items if isinstance(item, ToolCallRequest)]
        return " ".join(names), items[-1].reason  # type: ignore[union-attr]

    assert called() == called(tool_choice="required") == ("time weather", "tool_calls")
    assert called(tool_choice="none") == ("", "stop")
    assert called(tool_choice="weather") == ("weather", "tool_calls")
    assert called(parallel_tool_calls=False) == ("time", "tool_calls")


def test_tools_are_called_after_the_text() -> None:
    call = ToolCall("call_1", "weather", "{}")
    items = [i for _, i in virtual_time.run(timed(ScriptedLlm([ScriptedReply("Wait.", tool_calls=(call,))])))]
    assert items[1] == ToolCallRequest(call)
    assert items[-1] == LlmFinished("tool_calls")


def test_a_reply_breaks_off_after_so_many_tokens() -> None:
    llm = ScriptedLlm([ScriptedReply("one two three", fail_after=2)])

    async def scenario() -> list[LlmItem]:
        items: list[LlmItem] = []
        stream = llm.stream(REQUEST)
        with pytest.raises(StageError, match="breaks off after 2 tokens") as caught:
            while True:
                items.append(await anext(stream))
        assert caught.value.retryable
        return items

    assert virtual_time.run(scenario()) == [TextDelta("one"), TextDelta(" two")]
    assert (llm.broken, llm.open_streams) == (1, 0)


@pytest.mark.parametrize("fail_after", [None, 0, 1])
def test_a_reply_fails_with_the_error_it_is_given(fail_after: int | None) -> None:
    llm = ScriptedLlm([ScriptedReply("one", fail_after=fail_after, error=StageError("llm", "401"))])
    with pytest.raises(StageError, match="401"):
        virtual_time.run(timed(llm))


def test_a_stream_that_is_closed_or_cancelled_is_counted() -> None:
    llm = ScriptedLlm([ScriptedReply("one two")], cycle=True)

    async def scenario() -> None:
        stream = llm.stream(REQUEST)
        await anext(stream)
        assert llm.open_streams == 1
        await stream.aclose()
        waiting = asyncio.create_task(timed(llm))
        await pass_time(0.1)
        assert llm.open_streams == 1
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    virtual_time.run(scenario())
    assert (llm.opened, llm.closed_early, llm.finished, llm.open_streams) == (2, 2, 0, 0)


def test_breaking_out_at_the_end_is_an_end() -> None:
    llm = ScriptedLlm([ScriptedReply("one")])

    async def scenario() -> None:
        stream = llm.stream(REQUEST)
        while not isinstance(await anext(stream), LlmFinished):
            pass
        await stream.aclose()

    virtual_time.run(scenario())
    assert (llm.finished, llm.closed_early) == (1, 0)


def test_a_script_that_is_over_says_so() -> None:
    llm = ScriptedLlm([ScriptedReply("one")])
    virtual_time.run(timed(llm))
    with pytest.raises(StageError, match=r"has 1 replies and this is request 2. Give ScriptedLlm more"):
        virtual_time.run(timed(llm))
    with pytest.raises(StageError, match="has 0 replies"):
        virtual_time.run(timed(ScriptedLlm([], cycle=True)))


def test_a_script_may_cycle_or_be_a_function_of_the_request() -> None:
    cycling = ScriptedLlm([ScriptedReply("one"), ScriptedReply("two")], cycle=True)
    texts = [virtual_time.run(timed(cycling))[0][1] for _ in range(3)]
    assert texts == [TextDelta("one"), TextDelta("two"), TextDelta("one")]
    echoing = ScriptedLlm(lambda request: ScriptedReply(request.messages[-1].text), model="echo")
    assert virtual_time.run(timed(echoing))[0][1] == TextDelta("Hello")
    assert echoing.model == "echo"


def test_the_requests_kept_are_bounded() -> None:
    llm = ScriptedLlm([ScriptedReply("x", first_token_s=0.0, token_s=0.0)], cycle=True)
    llm.requests = [LlmRequest(())] * REQUESTS_KEPT
    virtual_time.run(timed(llm))
    assert len(llm.requests) == REQUESTS_KEPT
    assert llm.requests[-1] is REQUEST
