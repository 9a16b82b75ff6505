"""Where a stream of text is cut into speakable chunks."""

import random

import pytest

from duologue.core.words import normal_form, split_words
from duologue.text.chunking import FENCE_CHARS_MAX, Chunker

Chunks = list[str]


def cut(text: str, *, first_words_min: int = 99) -> Chunks:
    """The chunks of `text` when it comes character by character."""
    chunker = Chunker(first_words_min=first_words_min)
    chunks = [chunk for char in text for chunk in chunker.push_text(char)]
    return chunks + chunker.flush()


def bare(chunks: Chunks) -> Chunks:
    return [chunk.strip() for chunk in chunks]


def test_sentences_are_chunks_and_white_space_stays_at_their_end() -> None:
    assert cut("It rains today.  Take a coat!\n\nWill you go out?") == [
        "It rains today.  ",
        "Take a coat!\n\n",
        "Will you go out?",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Smith and Mrs. Jones met J. R. Tolkien on Main St. Peter.",
        "It is 3.14 km away, e.g. by bus, i.e. not far.",
        "The U.S. Government and the U.K. Parliament met at 5 p.m. on Monday etc. and went on.",
        "Apple Inc. and others paid approx. 5 million.",
        "See No. 5 and fig. 3 on p. 12 of vol. 2 from Jan. 7 on.",
        "The 3. place goes to version 2.0.1 of it.",
        "Open https://example.com/?q=1.2&x=!y or main.py or example.com now.",
        '"Really?" she asked. ',
        "'I see.' he said",
        "Well... maybe not",
        "Yes…no",
        "1. Open the door",
        "a. Open the door",
        "- 2. Open the door",
        "(3. Open the door",
        "Use Math.floor() or .5 here",
        "What?Nothing",
        "wait...what",
    ],
)
def test_abbreviations_numbers_and_names_do_not_end_a_sentence(text: str) -> None:
    assert bare(cut(text)) == [text.strip()]


@pytest.mark.parametrize(
    ("text", "chunks"),
    [
        ("hi there friend. how are you today", ["hi there friend.", "how are you today"]),
        ("He came at 5 p.m. She left.", ["He came at 5 p.m.", "She left."]),
        ("Eggs, milk, etc. “Right”", ["Eggs, milk, etc.", "“Right”"]),
        ("So am I. Then we go.", ["So am I.", "Then we go."]),
        ("She said no. I went home.", ["She said no.", "I went home."]),
        ("It costs me 5. Take it home.", ["It costs me 5.", "Take it home."]),
        ("Visit us at example.com. Then call.", ["Visit us at example.com.", "Then call."]),
        ('He said "go home." Then he left.', ['He said "go home."', "Then he left."]),
        ("I was thinking... You know what?! Never.", ["I was thinking...", "You know what?!", "Never."]),
        ("That is great. 😀 Go on now.", ["That is great.", "😀 Go on now."]),
        ("Here we go now:\n- eggs and milk\n- bread", ["Here we go now:", "- eggs and milk", "- bread"]),
        ("It is OK.你好吗", ["It is OK.", "你好吗"]),
        ("I live near Mr.\nSmith lives here", ["I live near Mr.", "Smith lives here"]),
        ("Is it .? Yes", ["Is it .?", "Yes"]),
    ],
)
def test_a_sentence_ends_where_the_next_one_visibly_begins(text: str, chunks: Chunks) -> None:
    assert bare(cut(text)) == chunks


def test_chinese_sentences_need_no_white_space() -> None:
    assert cut("今天天气很好。我们走吧！“好吗？”他说……然后笑了。") == [
        "今天天气很好。",
        "我们走吧！",
        "“好吗？”",
        "他说……然后笑了。",
    ]


def test_the_first_chunk_may_end_at_a_clause_border_once_it_has_three_words() -> None:
    assert cut("Well, if you ask me, I would go, of course.", first_words_min=3) == [
        "Well, if you ask me, ",
        "I would go, of course.",
    ]
    assert cut("当然可以，我来帮你，好吗？", first_words_min=3) == ["当然可以，", "我来帮你，好吗？"]
    assert (
        cut("There are 1,000 people at 10:30 — I think", first_words_min=3)[0] == "There are 1,000 people at 10:30 — "
    )
    assert cut("A well-known place - they say - is it", first_words_min=3)[0] == "A well-known place - "
    assert cut("I was thinking... perhaps not", first_words_min=3)[0] == "I was thinking... "
    assert cut("Wait for it—now", first_words_min=3) == ["Wait for it—", "now"]
    assert cut("Minus -5 is it", first_words_min=3) == ["Minus -5 is it"]


def test_a_short_first_sentence_goes_out_alone_at_once() -> None:
    assert Chunker().push_text("Sure. I can do that. Next") == ["Sure. ", "I can do that. "]


def test_the_first_chunk_is_certain_with_the_next_visible_character() -> None:
    chunker = Chunker()
    assert chunker.push_text("It is sunny.") == chunker.push_text(" ") == []
    assert chunker.push_text("And") == ["It is sunny. "]


def test_a_very_short_sentence_goes_with_the_next_if_that_is_there() -> None:
    together = Chunker()
    assert together.push_text("It is so. Yes. It really is. No. Next") == ["It is so. ", "Yes. It really is. ", "No. "]
    apart = Chunker()
    assert [apart.push_text(text) for text in ("It is so. Yes. I", "t really is. N")] == [
        ["It is so. ", "Yes. "],
        ["It really is. "],
    ]


def test_a_short_sentence_is_not_merged_beyond_the_limits() -> None:
    long = "word " * 39 + "end. "
    assert Chunker().push_text("It is so. Oh my. " + long + "Next") == ["It is so. ", "Oh my. ", long]


def test_an_over_long_sentence_is_cut_at_its_last_clause_else_between_words_else_anywhere() -> None:
    assert [len(chunk.split()) for chunk in cut("word " * 30 + "then, " + "word " * 20)] == [31, 20]
    assert [len(chunk.split()) for chunk in cut("So, " + "word " * 50)] == [40, 11]
    assert [len(chunk) for chunk in cut("abcdefghi " * 30)] == [240, 60]
    assert [len(chunk) for chunk in cut("x" * 500)] == [240, 240, 20]
    assert [len(chunk) for chunk in cut("我" * 90)] == [40, 40, 10]
    assert [len(chunk) for chunk in cut("- " * 200 + "x" * 250)] == [640, 10]


def test_the_limits_are_the_caller_s_to_set() -> None:
    text = "one two three four five six seven eight nine"
    by_chars, by_words = Chunker(chars_max=20), Chunker(words_max=4)
    assert by_chars.push_text(text) == ["one two three four ", "five six seven "]
    assert by_words.push_text(text) == ["one two three four ", "five six seven eight "]
    assert (by_chars.flush(), by_words.flush()) == (["eight nine"], ["nine"])


def test_a_code_block_stays_in_one_piece() -> None:
    code = "```python\nx = 1. \n\ny = 2!\n```\n"
    assert cut("Look here now:\n" + code + "That is all.") == ["Look here now:\n", code, "That is all."]
    assert cut("Look:\n" + code)[1:] == [code]
    assert cut("```\nnever closed. \nAnd so on")[0] == "```\nnever closed. \nAnd so on"


def test_a_short_sentence_does_not_swallow_a_code_block() -> None:
    text = "It is so. Look:\n```\nx = 1\n```\nDone now"
    assert Chunker().push_text(text) == ["It is so. ", "Look:\n", "```\nx = 1\n```\n"]


def test_what_only_begins_like_a_code_block_is_prose() -> None:
    assert cut("```code``` is code. Next one") == ["```code``` is code. ", "Next one"]
    assert cut("`x` is code. Next one") == ["`x` is code. ", "Next one"]
    assert cut("``") == ["``"]


def test_a_code_block_beyond_its_bound_is_cut_like_prose() -> None:
    text = "```\n" + "line of code\n" * (FENCE_CHARS_MAX // 10) + "```\nAfter it."
    chunks = cut(text)
    assert "".join(chunks) == text
    assert max(map(len, chunks)) < 300
    whole = Chunker(first_words_min=99)
    assert [*whole.push_text(text), *whole.flush()][0] == chunks[0]


def test_nothing_to_say_gives_no_chunk_alone() -> None:
    assert cut("") == cut(" \n ") == []
    assert cut("***\nHello to you. ---\nYes it is. 😀") == ["***\nHello to you. ", "---\nYes it is. ", "😀"]


def test_after_a_flush_a_first_chunk_comes_early_again() -> None:
    chunker = Chunker()
    assert chunker.push_text("Let me look that up") + chunker.flush() == ["Let me look that up"]
    assert chunker.push_text("Here it is now, as you wished") == ["Here it is now, "]
    assert chunker.flush() == ["as you wished"]


PIECES = (
    "Hello there", "Dr. Smith", "e.g. this", "3.14", "5. ", "U.S. ", "a.m. ", ". ", "? ", "! ", "... ", "… ", ", ",
    " - ", "—", "\n", "\n\n", "- ", "1. ", '"', "“", "”", "(", ")", "你好", "，", "。", "？", "……", "```", "```\n", "`",
    "😀", "I", "word ", "x" * 50, "example.com", "  ", "*", "No. ", "Yes", "etc. ",
)  # fmt: skip


def borders(chunks: Chunks) -> set[int]:
    ends, at = set(), 0
    for chunk in chunks:
        at += len(chunk)
        ends.add(at)
    return ends


@pytest.mark.parametrize("seed", range(150))
def test_the_borders_do_not_depend_on_the_tokens_except_that_short_sentences_merge(seed: int) -> None:
    rng = random.Random(seed)
    text = "".join(rng.choice(PIECES) for _ in range(rng.randint(1, 60)))
    finest = cut(text, first_words_min=3)
    assert "".join(finest) == (text if text.strip() else "")
    assert all(chunk.strip() for chunk in finest)
    assert all(not chunk[0].isspace() for chunk in finest[1:])
    for _ in range(5):
        chunker, chunks, at = Chunker(), list[str](), 0
        while at < len(text):
            size = rng.choice((1, 3, 8, 40, 400))
            chunks += chunker.push_text(text[at : at + size])
            at += size
        chunks += chunker.flush()
        assert "".join(chunks) == "".join(finest)
        assert borders(chunks) <= borders(finest)
        for end in borders(finest) - borders(chunks):
            before = max(border for border in borders(finest) | {0} if border < end)
            assert len([word for word in split_words(text[before:end]) if normal_form(word)]) < 3
