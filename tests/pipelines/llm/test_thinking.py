"""Thoughts of a reasoning model, split over deltas in every possible way, never get through."""

import pytest

from duologue_pipelines.llm.thinking import ThoughtFilter


def filtered(text: str, size: int, *, begins_inside: bool = False) -> tuple[str, int]:
    thoughts = ThoughtFilter(begins_inside=begins_inside)
    spoken = "".join(thoughts.add_text(text[i : i + size]) for i in range(0, len(text), size)) + thoughts.finish()
    return spoken, thoughts.withheld


@pytest.mark.parametrize("size", range(1, 30))
@pytest.mark.parametrize(
    ("text", "spoken", "withheld"),
    [
        ("<think>Hm, 2 < 3.</think>\n\nIt is three.", "It is three.", 10),
        ("One. <thinking>so</thinking> Two.", "One. Two.", 2),
        ("If a < b and b > c, then <b>.", "If a < b and b > c, then <b>.", 0),
        ("<reasoning>a</reasoning>A<think>b</think>B", "AB", 2),
        ("ends with <thi", "ends with <thi", 0),
        ("stray</think> tag", "straytag", 0),
        ("<think>cut off while thinkin", "", 21),
        ("<think></think>Yes.", "Yes.", 0),
    ],
)
def test_only_what_is_outside_is_passed_on(text: str, spoken: str, withheld: int, size: int) -> None:
    assert filtered(text, size) == (spoken, withheld)


@pytest.mark.parametrize("size", range(1, 12))
def test_a_stream_may_begin_inside_a_thought(size: int) -> None:
    assert filtered("Let me see.</think>Nine.", size, begins_inside=True) == ("Nine.", 11)


def test_nothing_is_held_back_but_a_possible_tag() -> None:
    thoughts = ThoughtFilter()
    assert thoughts.add_text("It is 3 <") == "It is 3 "
    assert thoughts.add_text(" 4") == "< 4"
    assert thoughts.add_text(" <thin") == " "
    assert thoughts.add_text("g>") == "<thing>"
