"""Which rehearsed line is meant, by people who hesitate and recognisers that mishear."""

import pytest

from duologue.dialogues import Exchange, read_dialogues
from duologue_pipelines.llm.matching import LineMatcher, is_chinese, plain, tokens

ENGLISH = """
# Museum
user: Hello, can you help me?
agent: Of course.
user: When does the museum open?
or: What are the opening hours?
agent: At nine.
user: Is it open on Sunday?
agent: Until five.
user: How much is a ticket?
agent: Twelve dollars.
user: Where is the museum?
agent: By the old bridge.
user: Thanks, that is very kind.
agent: You are welcome.
# Library
user: Hello, can you help me?
agent: With pleasure, this is the library.
user: How much is a library card?
agent: It is free.
"""
CHINESE = """
# 博物馆
user: 博物馆几点开门？
agent: 早上九点。
user: 星期天开门吗？
agent: 开到五点。
user: 门票多少钱？
agent: 十二块。
"""


@pytest.fixture(scope="module")
def lines() -> list[Exchange]:
    return [*read_dialogues("en.md", ENGLISH, "en"), *read_dialogues("zh.md", CHINESE, "zh")]


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("When does the museum open?", "At nine."),
        ("um I was wondering when the museum opens", "At nine."),
        ("one does the museum hope in", "At nine."),
        ("is it open unsung day", "Until five."),
        ("what're the opening hours", "At nine."),
        ("is it open sundays", "Until five."),
        ("and how much is the", "Twelve dollars."),
        ("how much are the tickets", "Twelve dollars."),
        ("thanks", "You are welcome."),
        ("how much is a library card", "It is free."),
        ("博物馆几点开门", "早上九点。"),
        ("博物馆 什么时候 开门", "早上九点。"),
        ("门票要多少钱呢", "十二块。"),
        ("星期天开不开门", "开到五点。"),
        ("Where's the museum?", "By the old bridge."),
    ],
)
def test_a_line_is_found_through_hesitations_and_mishearings(lines: list[Exchange], said: str, answer: str) -> None:
    match = LineMatcher(lines).best(said)
    assert match
    assert match.exchange.agent == answer


@pytest.mark.parametrize(
    "said",
    [
        "",
        "?!",
        "yes",
        "okay",
        "是",
        "tell me a joke",
        "what is the capital of france",
        "where is the toilet",
        "今天天气怎么样",
    ],
)
def test_what_was_not_rehearsed_matches_nothing(lines: list[Exchange], said: str) -> None:
    assert LineMatcher(lines).best(said) is None


def test_the_dialogue_under_way_is_preferred(lines: list[Exchange]) -> None:
    matcher = LineMatcher(lines)
    hello = matcher.best("Hello, can you help me?")
    assert hello and hello.exchange.dialogue == "Museum", "of equals the first"
    library = lines[6]
    assert library.dialogue == "Library"
    asked = matcher.best("how much is it", last=library)
    assert asked and asked.exchange.agent == "It is free."
    assert matcher.best("how much is a ticket", last=library) != asked, "but not against what was said"


def test_the_last_exchange_is_known_by_what_was_heard_of_it(lines: list[Exchange]) -> None:
    matcher = LineMatcher(lines)
    assert matcher.last_exchange(["I did not get that.", "With pleasure, this is"]) == lines[6]
    assert matcher.last_exchange(["Something else."]) is None
    assert matcher.last_exchange([]) is None


def test_without_lines_nothing_matches() -> None:
    assert LineMatcher([]).best("Hello") is None


def test_text_is_compared_without_its_trimmings() -> None:
    assert plain("It’s NOT　Ｏｋａｙ — isn't it?!") == "it is not okay is not it"
    assert plain("今天 天气，很 好！") == "今天天气很好"
    assert tokens("买 CD 吗") == ["买", "cd", "吗"]
    assert tokens("开门 now") == ["开", "门", "开门", "now"]
    assert is_chinese("买CD吗？好") and not is_chinese("OK, 好") and not is_chinese("42")
