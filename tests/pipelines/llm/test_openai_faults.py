"""The `openai` adapter against a real HTTP server that misbehaves: each fault has a type and a next step."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from duologue.errors import StageError, StageOverloaded, StageTimeout, StageUnavailable
from duologue.ports import LlmFinished, LlmItem
from duologue.testing.openai_server import Fault, OpenAiServer
from duologue.testing.scripted_llm import ScriptedReply
from duologue_pipelines.llm.chat_wire import StreamFault
from duologue_pipelines.llm.openai import OpenAiLlm, retry_after_s
from duologue_pipelines.llm.openai_errors import MESSAGE_CHARS_MAX, Endpoint, reported_failure

QUICK = ScriptedReply("It is quarter past nine.", first_token_s=0.0, token_s=0.0)


@pytest.fixture
def answer(with_endpoint: Any, ask: Any, collect: Any) -> Any:
    """Ask once; the items, and how many requests that took."""

    def run(*faults: Fault, **options: Any) -> tuple[list[LlmItem], int]:
        async def scenario(server: OpenAiServer, llm: OpenAiLlm) -> tuple[list[LlmItem], int]:
            return await collect(llm.stream(ask())), len(server.requests)

        result: tuple[list[LlmItem], int] = with_endpoint(scenario, *faults, **options)
        return result

    return run


@pytest.fixture
def failure(with_endpoint: Any, ask: Any) -> Any:
    """Ask once and fail; the error, what came before it, and how many requests that took."""

    def run(*faults: Fault, **options: Any) -> tuple[StageError, str, int]:
        async def scenario(server: OpenAiServer, llm: OpenAiLlm) -> tuple[StageError, str, int]:
            heard = ""
            with pytest.raises(StageError) as caught:
                async for item in llm.stream(ask()):
                    heard += getattr(item, "text", "")
            return caught.value, heard, len(server.requests)

        result: tuple[StageError, str, int] = with_endpoint(scenario, *faults, **options)
        return result

    return run


def notes_of(items: Sequence[LlmItem]) -> tuple[str, ...]:
    last = items[-1]
    assert isinstance(last, LlmFinished)
    return last.notes


# --- refusals that no repetition mends ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "kind_of_error", "hint"),
    [
        ("401", StageUnavailable, "Set OPENAI_API_KEY, or DUOLOGUE_LLM__API_KEY"),
        ("403", StageUnavailable, "Set OPENAI_API_KEY, or DUOLOGUE_LLM__API_KEY"),
        ("404", StageUnavailable, "DUOLOGUE_LLM__MODEL, here 'scripted'"),
        ("quota", StageUnavailable, "billing"),
        ("400", StageError, "refuses the request as it stands"),
    ],
)
def test_a_refusal_is_not_repeated_and_names_the_setting(
    failure: Any, kind: str, kind_of_error: type[StageError], hint: str
) -> None:
    error, heard, requests = failure(Fault(kind, requests=None))
    assert type(error) is kind_of_error
    assert not error.retryable
    assert hint in str(error)
    assert f"answered {400 if kind == '400' else 429 if kind == 'quota' else kind}" in str(error)
    assert (heard, requests) == ("", 1)


def test_a_wrong_key_is_found_out_by_warm_up(with_endpoint: Any) -> None:
    async def scenario(_: OpenAiServer, llm: OpenAiLlm) -> None:
        with pytest.raises(StageUnavailable, match="Set OPENAI_API_KEY"):
            await llm.warm_up()

    with_endpoint(scenario, api_key="wrong", server={"api_key": "right"})


def test_a_key_that_the_server_echoes_is_kept_out_of_the_message(failure: Any) -> None:
    error, _, _ = failure(Fault("401"), api_key="Incorrect")
    assert "*** API key provided" in str(error)


# --- failures before the first token ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["429", "500", "503", "hang_up", "not_http"])
def test_a_passing_failure_is_retried_before_the_first_token(answer: Any, spoken: Any, kind: str) -> None:
    items, requests = answer(Fault(kind, requests=2))
    assert spoken(items) == QUICK.text
    assert requests == 3
    assert len(notes_of(items)) == 2
    assert "(1 of 2)" in notes_of(items)[0] and "(2 of 2)" in notes_of(items)[1]


@pytest.mark.parametrize(
    ("kind", "kind_of_error", "says"),
    [
        ("429", StageOverloaded, "Rate limit reached"),
        ("500", StageError, "The server had an error"),
        ("503", StageError, "currently overloaded"),
        ("hang_up", StageUnavailable, "no answer from scripted at http://127.0.0.1"),
        ("not_http", StageUnavailable, "no answer from scripted"),
    ],
)
def test_a_lasting_failure_ends_after_the_retries(
    failure: Any, kind: str, kind_of_error: type[StageError], says: str
) -> None:
    error, heard, requests = failure(Fault(kind, requests=None), retries=1)
    assert type(error) is kind_of_error
    assert error.retryable
    assert says in str(error)
    assert (heard, requests) == ("", 2)
    assert any("(1 of 1)" in note for note in error.__notes__)


def test_the_wait_that_the_endpoint_asks_for_is_kept(with_endpoint: Any, ask: Any, collect: Any) -> None:
    async def scenario(server: OpenAiServer, llm: OpenAiLlm) -> None:
        await collect(llm.stream(ask()))
        first, second = server.requests
        assert second.at - first.at >= 0.06

    with_endpoint(scenario, Fault("429", retry_after_s=0.06))


def test_a_wait_beyond_the_bound_is_not_waited_for(failure: Any) -> None:
    error, _, requests = failure(Fault("429", retry_after_s=60))
    assert type(error) is StageOverloaded
    assert "it asks to wait 60 s" in str(error)
    assert requests == 1


def test_a_server_that_never_answers_is_given_up(failure: Any) -> None:
    error, heard, requests = failure(Fault("no_answer", requests=None), first_token_timeout_s=0.05, retries=1)
    assert type(error) is StageTimeout
    assert error.retryable
    assert "no token within 0.05 s" in str(error) and "first_token_timeout_s" in error.hint
    assert (heard, requests) == ("", 2)


def test_a_stream_that_opens_but_brings_no_token_is_given_up(failure: Any) -> None:
    error, _, _ = failure(Fault("stall", after_tokens=0), first_token_timeout_s=0.05, retries=0)
    assert type(error) is StageTimeout
    assert "no token within 0.05 s" in str(error)


def test_slow_headers_within_the_time_are_waited_for(answer: Any, spoken: Any) -> None:
    items, requests = answer(Fault("slow_headers", delay_s=0.05))
    assert spoken(items) == QUICK.text
    assert requests == 1
    assert notes_of(items) == ()


def test_nothing_listening_says_what_to_start(ask: Any, collect: Any) -> None:
    async def scenario() -> None:
        async with OpenAiServer([QUICK]) as server:
            gone = server.base_url
        llm = OpenAiLlm("scripted", base_url=gone, retries=0)
        with pytest.raises(StageUnavailable, match="Is the server running") as streamed:
            await collect(llm.stream(ask()))
        assert streamed.value.retryable
        with pytest.raises(StageUnavailable, match="Is the server running"):
            await llm.warm_up()
        await llm.aclose()

    asyncio.run(scenario())


# --- answers that are no stream --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "says"), [("garbage", "an HTML page: Welcome to nginx!"), ("whole_json", "A whole answer")]
)
def test_an_answer_that_is_no_stream_points_at_the_address(failure: Any, kind: str, says: str) -> None:
    error, heard, requests = failure(Fault(kind, requests=None))
    assert type(error) is StageError
    assert not error.retryable
    assert says in str(error)
    assert "DUOLOGUE_LLM__BASE_URL" in error.hint
    assert (heard, requests) == ("", 1)


@pytest.mark.parametrize("kind", ["broken_json", "error_event", "half", "no_finish"])
def test_a_stream_that_breaks_before_its_first_token_is_retried(answer: Any, spoken: Any, kind: str) -> None:
    items, requests = answer(Fault(kind, after_tokens=0))
    assert spoken(items) == QUICK.text
    assert requests == 2
    assert len(notes_of(items)) == 1


# --- failures half-way -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("broken_json", "broken JSON"),
        ("error_event", "The model crashed."),
        ("half", "broke off"),
        ("no_finish", "ended before the model had finished"),
    ],
)
def test_a_stream_that_breaks_half_way_keeps_what_was_streamed(failure: Any, kind: str, says: str) -> None:
    error, heard, requests = failure(Fault(kind, after_tokens=2))
    assert heard == "It is"
    assert type(error) is StageError
    assert error.retryable
    assert says in str(error)
    assert requests == 1, "nothing is said twice"


def test_a_stream_that_stalls_half_way_is_given_up(failure: Any) -> None:
    error, heard, _ = failure(Fault("stall", after_tokens=2), stall_timeout_s=0.05)
    assert heard == "It is"
    assert type(error) is StageTimeout
    assert error.retryable
    assert "stalled: no token for 0.05 s" in str(error)


# --- other models ----------------------------------------------------------------------------------------------------


def test_the_next_model_answers_when_the_first_does_not_exist(with_endpoint: Any, ask: Any, collect: Any) -> None:
    async def scenario(server: OpenAiServer, llm: OpenAiLlm) -> None:
        items = await collect(llm.stream(ask()))
        assert [request.model for request in server.requests] == ["scripted", "second"]
        assert "asking second instead" in notes_of(items)[0]
        await collect(llm.stream(ask()))
        assert server.requests[-1].model == "second", "a model that has just failed is not asked first again"

    with_endpoint(scenario, Fault("404", requests=None, model="scripted"), models_fallback=["second"])


def test_a_model_that_is_silent_is_left_for_another_at_once(with_endpoint: Any, ask: Any, collect: Any) -> None:
    async def scenario(server: OpenAiServer, llm: OpenAiLlm) -> None:
        await collect(llm.stream(ask()))
        assert [request.model for request in server.requests] == ["scripted", "second"]

    fault = Fault("no_answer", requests=None, model="scripted")
    with_endpoint(scenario, fault, models_fallback=["second"], first_token_timeout_s=0.05)


def test_when_every_model_fails_the_error_tells_the_whole_story(failure: Any) -> None:
    error, _, requests = failure(
        Fault("500", requests=None, model="scripted"),
        Fault("404", requests=None, model="second"),
        models_fallback=["second"],
        retries=1,
    )
    assert requests == 3
    assert "second at" in str(error)
    assert ["asking again" in error.__notes__[0], "asking second instead" in error.__notes__[1]] == [True, True]


def test_a_refused_key_is_not_tried_on_other_models(failure: Any) -> None:
    _, _, requests = failure(Fault("401", requests=None), models_fallback=["second"])
    assert requests == 1


# --- ends ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_the_endpoint_says_why_it_stopped(answer: Any, reason: str) -> None:
    items, _ = answer(replies=[replace(QUICK, reason=reason)])
    assert items[-1] == LlmFinished(reason)


@pytest.mark.parametrize("kind", ["half_after_finish", "stall_after_finish"])
def test_an_answer_that_has_finished_is_whole_whatever_the_line_does_then(answer: Any, spoken: Any, kind: str) -> None:
    items, _ = answer(Fault(kind))
    assert spoken(items) == QUICK.text
    assert len(notes_of(items)) == 1


# --- warm-up ---------------------------------------------------------------------------------------------------------


def test_an_endpoint_without_a_list_of_models_is_taken_as_it_is(with_endpoint: Any) -> None:
    async def scenario(server: OpenAiServer, llm: OpenAiLlm) -> None:
        await llm.warm_up()
        assert llm.model == "", "the endpoint takes its default"

    with_endpoint(scenario, model="", server={"models": None})


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>", "DUOLOGUE_LLM__BASE_URL"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n{", "DUOLOGUE_LLM__BASE_URL"),
        (b"", "did not answer within 0.05 s"),
    ],
)
def test_what_is_no_endpoint_is_found_out_by_warm_up(answer: bytes, says: str) -> None:
    async def scenario() -> None:
        hung_up = asyncio.Event()

        async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await reader.read()
            writer.close()
            await writer.wait_closed()
            hung_up.set()

        server = await asyncio.start_server(respond, "127.0.0.1", 0)
        base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        llm = OpenAiLlm(base_url=base_url, first_token_timeout_s=5.0 if answer else 0.05)
        async with server:
            with pytest.raises(StageError, match=says):
                await llm.warm_up()
            await llm.aclose()
            await hung_up.wait()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "2", "retry-after-ms": "150"}, 0.15),
        ({"retry-after": "Wed, 01 Jan 2025 10:00:05 GMT", "date": "Wed, 01 Jan 2025 10:00:00 GMT"}, 5.0),
        ({"retry-after": "Wed, 01 Jan 2025 09:00:00 GMT", "date": "Wed, 01 Jan 2025 10:00:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 01 Jan 2025 10:00:05 GMT"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "2 minutes"}, None),
    ],
)
def test_the_wait_that_is_asked_for_is_read_in_all_its_spellings(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after_s(headers) == seconds


def test_a_missing_client_says_what_to_install(monkeypatch: pytest.MonkeyPatch, ask: Any, collect: Any) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(StageUnavailable, match="pip install openai"):
        asyncio.run(collect(OpenAiLlm("m", base_url="http://127.0.0.1:1/v1").stream(ask())))


def test_a_reported_error_is_judged_by_its_code() -> None:
    endpoint = Endpoint("http://x/v1", "m", "")
    assert type(reported_failure(endpoint, StreamFault("Busy", "429")).error) is StageOverloaded
    assert reported_failure(endpoint, StreamFault("Busy", "overloaded_error")).error.retryable
    assert not reported_failure(endpoint, StreamFault("Too long", "context_length_exceeded")).error.retryable


def test_what_a_server_says_is_quoted_on_one_bounded_line() -> None:
    endpoint = Endpoint("http://x/v1", "", "secret")
    assert endpoint.quote(b"a\n secret\xff b") == "a ***\ufffd b"
    assert len(endpoint.quote("x" * 5000)) == MESSAGE_CHARS_MAX
    assert str(endpoint) == "the default model at http://x/v1"
