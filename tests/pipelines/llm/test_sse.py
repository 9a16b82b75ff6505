"""Server-sent events, cut wherever a network cuts them."""

import pytest

from duologue_pipelines.llm.sse import EVENT_BYTES_MAX, MalformedStream, SseDecoder

BODY = 'data: {"a": "é"}\n\n: keep-alive\n\nevent: x\r\nid: 7\r\ndata:one\r\ndata: two\r\n\r\ndata: [DONE]\n\n'.encode()
EVENTS = ['{"a": "é"}', "one\ntwo", "[DONE]"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_the_same_however_the_bytes_are_cut(size: int) -> None:
    decoder = SseDecoder()
    pieces = [BODY[i : i + size] for i in range(0, len(BODY), size)]
    assert [event for piece in pieces for event in decoder.add_bytes(piece)] == EVENTS
    assert decoder.finish() == []
    assert decoder.foreign == b""


def test_a_line_separator_of_unicode_is_text() -> None:
    assert SseDecoder().add_bytes("data: a\u2028b\u0085c\n\n".encode()) == ["a\u2028b\u0085c"]


def test_a_last_event_without_its_blank_line_counts() -> None:
    decoder = SseDecoder()
    assert decoder.add_bytes(b"data: one\n\ndata: two") == ["one"]
    assert decoder.finish() == ["two"]


def test_a_byte_order_mark_is_no_part_of_the_first_field() -> None:
    assert SseDecoder().add_bytes(b"\xef\xbb\xbfdata: one\n\n") == ["one"]


def test_what_is_no_event_stream_is_kept_to_be_shown() -> None:
    decoder = SseDecoder()
    assert decoder.add_bytes(b"<html>\n<body>busy\n") + decoder.finish() == []
    assert decoder.foreign == b"<html>\n<body>busy\n"
    assert len(SseDecoder().foreign) == 0


def test_bytes_that_are_not_utf8_are_malformed() -> None:
    with pytest.raises(MalformedStream, match="not UTF-8"):
        SseDecoder().add_bytes(b"data: \xff\n\n")


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 70_000 + b"\n", b"y" * 70_000])
def test_an_event_without_end_is_given_up_at_the_bound(piece: bytes) -> None:
    decoder = SseDecoder()
    with pytest.raises(MalformedStream, match=str(EVENT_BYTES_MAX)):
        for _ in range(20):
            decoder.add_bytes(piece)
