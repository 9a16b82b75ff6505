"""An address or a key that can't be used is told apart from a server that misbehaves."""

import asyncio

import pytest

from duologue_pipelines.llm.access import address_fault, key_fault, late_hint
from duologue_pipelines.llm.discover import Candidate, discover
from duologue_pipelines.llm.openai import OpenAiLlm


@pytest.mark.parametrize("url", ["https://api.openai.com/v1", "http://[::1]:8000/v1", "http://köln.example/v1"])
def test_addresses_that_may_be_asked(url: str) -> None:
    assert address_fault(url) == ""


@pytest.mark.parametrize("url", ["", "not a url", "ftp://x", "http://", "http://[::1", "http://h:99999", "http://h:x"])
def test_addresses_that_are_none(url: str) -> None:
    assert address_fault(url).startswith(f"must be an http or https address, got {url!r}")


def test_a_key_is_what_a_header_can_carry_and_is_never_told() -> None:
    assert key_fault("sk-abc_123.XYZ") == ""
    assert key_fault("sk-sécret") == "can't be a key: its character 5 of 9 is '\\xe9'"
    assert "secret" not in key_fault("sk-secret\nmore")


def test_the_line_end_of_a_key_file_is_no_part_of_the_key() -> None:
    assert OpenAiLlm(base_url="http://h/v1", api_key="sk-abc\n").api_key == "sk-abc"


def test_a_silent_server_asked_over_tls_may_speak_plain_http() -> None:
    assert late_hint("https://127.0.0.1:8000/v1").endswith("If it speaks plain http, write http://127.0.0.1:8000/v1")
    assert "plain http" not in late_hint("http://127.0.0.1:8000/v1")
    assert "plain http" not in late_hint("https://api.openai.com/v1")


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({"OPENAI_BASE_URL": "http://[::1"}, "OPENAI_BASE_URL must be an http or https address"),
        ({"OPENAI_API_KEY": "schlüssel"}, "OPENAI_API_KEY can't be a key"),
    ],
)
def test_the_doctor_says_so_too(environment: dict[str, str], why: str) -> None:
    async def named() -> Candidate:
        return (await discover(environment))[0]

    found = asyncio.run(named())
    assert not found.available
    assert why in found.why
