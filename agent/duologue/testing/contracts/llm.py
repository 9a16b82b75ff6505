"""What every language model behind the port must do, as checks that anybody can run on their adapter.

    def test_my_llm_keeps_the_contract():
        async def run():
            async with my_endpoint() as endpoint:
                await check_llm(LlmCase(make=lambda: MyLlm(endpoint.url)))
        asyncio.run(run())

A case says how to get at the adapter: plain, with a tool to call, broken half-way, failing at first. What it leaves out
is not checked, and `checks_for` tells what will be. A check raises `AssertionError` that says what was promised and
what came. Checks need an event loop and no particular clock: the virtual-time loop does, except for adapters with
sockets.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final

from duologue.core.messages import Message, ToolSpec
from duologue.errors import StageError
from duologue.ports import Llm, LlmFinished, LlmItem, LlmRequest, TextDelta, ToolCallRequest, Usage

PATIENCE_S: Final = 30.0  # for a whole answer
CLOSE_S: Final = 2.0  # for a stream to close: it must not wait for the rest of the answer

QUESTION: Final = LlmRequest(
    (Message("system", "You are a helpful voice assistant."), Message("user", "Tell me about the weather in Oslo.")),
    session="contract",
)
WEATHER: Final = ToolSpec(
    "weather",
    "Current weather in a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
LOOK_S: Final = 0.002  # between looks at the endpoint: the news of a closed connection takes its time to arrive
MakeLlm = Callable[[], Llm]


@dataclass(frozen=True, slots=True)
class LlmCase:
    """How the kit gets at an adapter. Each factory makes a new one, not warmed up.

    `make`: answers `request` with a text of at least two deltas. `make_tool_caller`: answers it, with `WEATHER` on
    offer, by calling that, unless the request forbids it. `make_broken`: breaks off after some text. `make_flaky`: its
    first try fails in a way that may pass, before any item. `make_refused`: can't be used, and trying again won't help.
    `streams_open`: how many answers are under way as the *endpoint* sees it; with it the kit sees whether closing
    closes the connection.
    """

    make: MakeLlm
    request: LlmRequest = field(default=QUESTION)
    make_tool_caller: MakeLlm | None = None
    make_broken: MakeLlm | None = None
    make_flaky: MakeLlm | None = None
    make_refused: MakeLlm | None = None
    streams_open: Callable[[], int] | None = None


Check = Callable[[LlmCase], Awaitable[None]]


async def _collect(stream: AsyncGenerator[LlmItem, None]) -> list[LlmItem]:
    async with asyncio.timeout(PATIENCE_S):
        return [item async for item in stream]


async def _answer(make: MakeLlm, request: LlmRequest) -> list[LlmItem]:
    llm = make()
    try:
        await llm.warm_up()
        return await _collect(llm.stream(request))
    finally:
        await llm.aclose()


def _text(items: list[LlmItem]) -> str:
    return "".join(item.text for item in items if isinstance(item, TextDelta))


def _check_order(items: list[LlmItem]) -> None:
    """Exactly one `LlmFinished`, the last item; at most one `Usage`, with nothing but that after it."""
    kinds = [type(item).__name__ for item in items]
    assert kinds and kinds[-1] == "LlmFinished", f"LlmFinished must come last, always; the items were {kinds}"
    assert kinds.count("LlmFinished") == 1, f"LlmFinished must come once, it came {kinds.count('LlmFinished')} times"
    assert kinds.count("Usage") <= 1, f"Usage must come once at most, it came {kinds.count('Usage')} times"
    if "Usage" in kinds:
        assert kinds[-2] == "Usage", f"Usage must come right before LlmFinished; the items were {kinds}"


async def says_what_it_is(case: LlmCase) -> None:
    """`name`, `model`, `is_language_model` and `probe` answer without warm-up, connection or model."""
    llm = case.make()
    assert isinstance(llm.name, str) and llm.name, 'name must be a word, as in use = "name"'
    assert isinstance(llm.model, str), "model must be text"
    assert isinstance(llm.is_language_model, bool), "is_language_model must be a bool"
    assert isinstance(type(llm).probe(), str), "probe() must return a sentence, or an empty text"
    await llm.aclose()


async def warms_up_and_closes_again_and_again(case: LlmCase) -> None:
    """`warm_up` and `aclose` may be called twice, `aclose` also without the other."""
    llm = case.make()
    await llm.aclose()
    llm = case.make()
    await llm.warm_up()
    await llm.warm_up()
    await llm.aclose()
    await llm.aclose()


async def answers_without_warm_up(case: LlmCase) -> None:
    """`warm_up` only saves time: the first answer does without it."""
    llm = case.make()
    try:
        assert _text(await _collect(llm.stream(case.request))), "no text came from an adapter that was not warmed up"
    finally:
        await llm.aclose()


async def streams_text_then_ends(case: LlmCase) -> None:
    """Text in several deltas, none of them empty, then perhaps usage, then the end with its reason."""
    items = await _answer(case.make, case.request)
    _check_order(items)
    deltas = [item.text for item in items if isinstance(item, TextDelta)]
    assert len(deltas) >= 2, f"text must come as the model makes it, in deltas; {len(deltas)} came"
    assert all(deltas), "an empty delta tells nothing and must not come"
    assert "".join(deltas).strip(), "the answer is nothing but white space"
    last = items[-1]
    assert isinstance(last, LlmFinished) and last.reason in ("stop", "length"), f"a plain answer ended with {last}"


async def counts_tokens(case: LlmCase) -> None:
    """Usage, where it comes, names the model and counts what can be: nothing negative, no more cached than asked."""
    for item in await _answer(case.make, case.request):
        if isinstance(item, Usage):
            assert item.model, "usage must name the model that was asked"
            assert item.input >= 0 and item.output >= 0, f"tokens can't be negative: {item}"
            assert 0 <= item.cached_input <= item.input, f"cached tokens are among those asked: {item}"


async def closes_at_once(case: LlmCase) -> None:
    """`aclose` after the first item ends the stream at once, on the endpoint too, and again is harmless."""
    llm = case.make()
    try:
        stream = llm.stream(case.request)
        async with asyncio.timeout(PATIENCE_S):
            await anext(stream)
        await _close(stream)
        assert await anext(stream, None) is None, "an item came out of a stream that was closed"
        await stream.aclose()
        await _endpoint_is_idle(case)
    finally:
        await llm.aclose()


async def closes_before_it_begins(case: LlmCase) -> None:
    """A stream that was never iterated can be closed, and asks nothing."""
    llm = case.make()
    try:
        await _close(llm.stream(case.request))
        await _endpoint_is_idle(case)
    finally:
        await llm.aclose()


async def can_be_cancelled_before_the_first_item(case: LlmCase) -> None:
    """A task that waits for the first item can be cancelled, and nothing goes on."""
    llm = case.make()
    try:
        waiting = asyncio.ensure_future(_collect(llm.stream(case.request)))
        await asyncio.sleep(0)
        waiting.cancel()
        done, _ = await asyncio.wait([waiting], timeout=CLOSE_S)
        assert done, f"a cancelled stream was still there after {CLOSE_S:g} s"
        assert waiting.cancelled(), "a cancelled stream must let CancelledError through"
        await _endpoint_is_idle(case)
    finally:
        await llm.aclose()


async def serves_sessions_side_by_side(case: LlmCase) -> None:
    """One object serves several streams at once; closing one does not disturb another."""
    llm = case.make()
    try:
        await llm.warm_up()
        closed, whole = llm.stream(case.request), llm.stream(case.request)
        async with asyncio.timeout(PATIENCE_S):
            await anext(closed)
            first = await anext(whole)
        await _close(closed)
        items = [first, *await _collect(whole)]
        _check_order(items)
        assert _text(items).strip(), "closing one stream took the text of another"
    finally:
        await llm.aclose()


async def calls_tools_whole(case: LlmCase) -> None:
    """A tool call comes in one piece: a name on offer, an id of its own, arguments that are JSON."""
    assert case.make_tool_caller
    request = LlmRequest(case.request.messages, tools=(WEATHER,), session=case.request.session)
    items = await _answer(case.make_tool_caller, request)
    _check_order(items)
    calls = [item.call for item in items if isinstance(item, ToolCallRequest)]
    assert calls, "a tool was to be called, and none was"
    assert all(call.name == WEATHER.name for call in calls), f"only {WEATHER.name} was on offer: {calls}"
    ids = [call.call_id for call in calls]
    assert all(ids) and len(set(ids)) == len(ids), f"each call needs an id of its own: {ids}"
    for call in calls:
        try:
            arguments = json.loads(call.arguments)
        except json.JSONDecodeError as error:
            raise AssertionError(f"arguments must come whole, got {call.arguments!r}") from error
        assert isinstance(arguments, dict), f"arguments must be a JSON object, got {call.arguments!r}"
    last = items[-1]
    assert isinstance(last, LlmFinished) and last.reason == "tool_calls", f"an answer with tool calls ended with {last}"


async def heeds_the_tool_choice(case: LlmCase) -> None:
    """With `tool_choice` none no tool is called, though one is on offer; without parallel calls, one at most."""
    assert case.make_tool_caller
    request = replace(case.request, tools=(WEATHER,))
    items = await _answer(case.make_tool_caller, replace(request, tool_choice="none"))
    _check_order(items)
    calls = [item.call for item in items if isinstance(item, ToolCallRequest)]
    assert not calls, f"no tool was to be called, and there came {calls}"
    last = items[-1]
    assert isinstance(last, LlmFinished) and last.reason != "tool_calls", f"an answer without calls ended with {last}"
    items = await _answer(case.make_tool_caller, replace(request, parallel_tool_calls=False))
    calls = [item.call for item in items if isinstance(item, ToolCallRequest)]
    assert len(calls) <= 1, f"one tool at most was to be called, and there came {calls}"


async def tells_of_a_break(case: LlmCase) -> None:
    """A stream that breaks after its first item raises a retryable `StageError`; what came before stands."""
    assert case.make_broken
    llm = case.make_broken()
    stream, items = llm.stream(case.request), list[LlmItem]()
    error: StageError | None = None
    try:
        async with asyncio.timeout(PATIENCE_S):
            while item := await anext(stream, None):
                items.append(item)
    except StageError as raised:
        error = raised
    finally:
        await llm.aclose()
    assert error, f"a broken stream must raise StageError, it ended after {items}"
    assert error.stage == "llm", f"the error must name the stage llm, it names {error.stage!r}"
    assert error.retryable, f"a broken stream must be retryable: {error}"
    assert _text(items), "what was streamed before the break must have been passed on"
    assert not any(isinstance(item, LlmFinished) for item in items), "a broken stream is not finished"


async def retries_before_the_first_item(case: LlmCase) -> None:
    """A failure that may pass is retried within the adapter while nothing was passed on, and noted."""
    assert case.make_flaky
    items = await _answer(case.make_flaky, case.request)
    _check_order(items)
    assert _text(items).strip(), "the second try was to bring the answer"
    last = items[-1]
    assert isinstance(last, LlmFinished) and last.notes, "that something was retried must stand in LlmFinished.notes"


async def refuses_with_a_next_step(case: LlmCase) -> None:
    """A failure that won't pass raises a `StageError` that is not retryable and says what to do."""
    assert case.make_refused
    llm = case.make_refused()
    try:
        items = await _collect(llm.stream(case.request))
    except StageError as error:
        assert error.stage == "llm", f"the error must name the stage llm, it names {error.stage!r}"
        assert not error.retryable, f"trying again would not help, so it must not be retryable: {error}"
        assert error.hint, f"the error must say what to do next: {error}"
    else:
        raise AssertionError(f"the stream was to be refused, and brought {items}")
    finally:
        await llm.aclose()


async def _close(stream: AsyncGenerator[LlmItem, None]) -> None:
    try:
        async with asyncio.timeout(CLOSE_S):
            await stream.aclose()
    except TimeoutError:
        raise AssertionError(f"aclose took more than {CLOSE_S:g} s: it must not wait for the answer") from None


async def _endpoint_is_idle(case: LlmCase) -> None:
    if case.streams_open is None:
        return
    for _ in range(round(CLOSE_S / LOOK_S)):
        if not case.streams_open():
            return
        await asyncio.sleep(LOOK_S)
    raise AssertionError(f"{case.streams_open()} answers go on at the endpoint after the stream was closed")


_ALWAYS: Final[tuple[Check, ...]] = (
    says_what_it_is,
    warms_up_and_closes_again_and_again,
    answers_without_warm_up,
    streams_text_then_ends,
    counts_tokens,
    closes_at_once,
    closes_before_it_begins,
    can_be_cancelled_before_the_first_item,
    serves_sessions_side_by_side,
)


def checks_for(case: LlmCase) -> tuple[Check, ...]:
    """The checks that a case has the means for."""
    more: list[Check] = []
    if case.make_tool_caller:
        more += [calls_tools_whole, heeds_the_tool_choice]
    if case.make_broken:
        more.append(tells_of_a_break)
    if case.make_flaky:
        more.append(retries_before_the_first_item)
    if case.make_refused:
        more.append(refuses_with_a_next_step)
    return (*_ALWAYS, *more)


def check_name(check: Check) -> str:
    """The name of a check, for a test's id."""
    return getattr(check, "__name__", repr(check))


async def check_llm(case: LlmCase) -> tuple[str, ...]:
    """Run all checks that `case` has the means for;

    their names. Raises `AssertionError` at the first broken promise.
    """
    checks = checks_for(case)
    for check in checks:
        try:
            await check(case)
        except AssertionError as error:
            raise AssertionError(f"{check_name(check)}: {error}") from error
    return tuple(map(check_name, checks))
