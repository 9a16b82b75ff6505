"""One open answer, fault by fault, with the network's timing exact: the bytes come from a list, time is virtual."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from duologue.errors import StageError, StageTimeout
from duologue.ports import LlmFinished, LlmItem, TextDelta
from duologue.testing import virtual_time
from duologue_pipelines.llm.chat_stream import AFTER_FINISH_S, DRAIN_S, ChatStream, TokenTimeouts
from duologue_pipelines.llm.chat_wire import ChunkReader
from duologue_pipelines.llm.openai_errors import AttemptFailed, Endpoint

HELLO = b'data: {"choices": [{"delta": {"content": "Hello"}}]}\n\n'
THOUGHT = b'data: {"choices": [{"delta": {"reasoning": "Hm"}}]}\n\n'
OPENING = b'data: {"choices": [{"delta": {"role": "assistant"}}]}\n\n'
STOP = b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
COMMENT = b": still there\n\n"
Piece = bytes | float | Exception


async def body_of(*pieces: Piece) -> AsyncIterator[bytes]:
    """Bytes as they are; a number is a wait in seconds; an exception is raised."""
    for piece in pieces:
        if isinstance(piece, Exception):
            raise piece
        if isinstance(piece, bytes):
            yield piece
        else:
            await asyncio.sleep(piece)


async def reading(*pieces: Piece) -> tuple[list[LlmItem], Exception | None, float]:
    """The items, the failure if any, and when it was over. First token within 5 s, then one a second."""
    loop = asyncio.get_running_loop()
    chat = ChatStream(
        body_of(*pieces),
        ChunkReader("m"),
        Endpoint("http://x/v1", "m", ""),
        TokenTimeouts(first_token_s=5.0, stall_s=1.0),
        first_token_deadline=5.0,
    )
    items: list[LlmItem] = []
    try:
        while not chat.finished:
            items += await chat.read()
    except (AttemptFailed, StageError) as failure:
        return items, failure, loop.time()
    return items, None, loop.time()


def read(*pieces: Piece) -> tuple[list[LlmItem], Exception | None, float]:
    return virtual_time.run(reading(*pieces))


def test_an_answer_in_one_piece_is_whole() -> None:
    assert read(HELLO + STOP + DONE) == ([TextDelta("Hello"), LlmFinished("stop")], None, 0.0)


@pytest.mark.parametrize(
    "nonsense", [b"data: {oops\n\n", b'data: {"error": {"message": "crash"}}\n\n', b"data: \xff\n\n"]
)
def test_what_came_before_a_fault_in_the_same_piece_is_not_lost(nonsense: bytes) -> None:
    items, failure, _ = read(HELLO + nonsense)
    assert items in ([TextDelta("Hello")], [])
    if items:
        assert isinstance(failure, StageError) and failure.retryable
        assert "broke off" in str(failure)
    else:
        assert isinstance(failure, AttemptFailed), "bytes that are no text spoil the whole piece"


def test_an_end_without_finish_in_the_same_piece_keeps_the_text() -> None:
    items, failure, _ = read(HELLO.rstrip())
    assert items == [TextDelta("Hello")]
    assert isinstance(failure, StageError) and "ended before the model had finished" in str(failure)


def test_an_opening_and_comments_are_no_token() -> None:
    items, failure, at = read(OPENING, *(COMMENT, 1.0) * 9)
    assert items == []
    assert isinstance(failure, AttemptFailed) and isinstance(failure.error, StageTimeout)
    assert failure.prefer_other
    assert at == 5.0


def test_a_thought_is_a_token_and_the_next_one_must_follow_in_time() -> None:
    items, failure, at = read(4.0, THOUGHT, 0.9, THOUGHT, 60.0)
    assert items == []
    assert isinstance(failure, AttemptFailed) and "no token within 1 s" in str(failure)
    assert at == pytest.approx(5.9)


def test_after_the_finish_neither_silence_nor_a_broken_line_is_a_fault() -> None:
    items, failure, at = read(HELLO, STOP, 60.0)
    assert (failure, at) == (None, AFTER_FINISH_S)
    assert items[-1] == LlmFinished("stop", ("the endpoint kept the stream open after the finish",))
    items, failure, _ = read(HELLO, STOP, ConnectionResetError())
    assert failure is None
    assert items[-1] == LlmFinished("stop", ("the line broke after the finish",))


def test_the_end_does_not_wait_for_a_connection_that_stays_open() -> None:
    items, failure, at = read(HELLO, STOP + DONE, 60.0)
    assert (failure, at) == (None, DRAIN_S)
    assert items[-1] == LlmFinished("stop")


def test_a_line_that_breaks_after_the_end_is_no_fault() -> None:
    assert read(HELLO, STOP + DONE, ConnectionResetError())[1] is None


def test_a_line_that_breaks_first_may_be_tried_again() -> None:
    _, failure, _ = read(ConnectionResetError("reset by peer"))
    assert isinstance(failure, AttemptFailed)
    assert failure.error.retryable and "reset by peer" in str(failure)


def test_an_answer_of_nothing_is_noted() -> None:
    assert read(OPENING + DONE)[0] == [LlmFinished("stop", ("the model said nothing",))]


def test_an_empty_body_is_no_answer() -> None:
    _, failure, _ = read()
    assert isinstance(failure, AttemptFailed) and "an empty body" in str(failure)
