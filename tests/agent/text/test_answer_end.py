"""An answer ends at a token that was written out, and where its model begins to repeat itself."""

import pytest

from duologue.text.answer_end import TAIL_CHARS, AnswerEnd, repetition


def pushed(text: str, step: int) -> tuple[str, str]:
    """What of `text` is passed on in pieces of `step` characters, and why it ended."""
    end = AnswerEnd()
    passed = "".join(end.push_text(text[at : at + step]) for at in range(0, len(text), step))
    return passed + end.flush(), end.reason


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    "token",
    ["<|im_end|>", "<end_of_turn>", "<|eot_id|>", "</s>", "<|im_start|>", "<|endoftext|>", "[/INST]", "<eos>",
     "<｜end▁of▁sentence｜>", "\nUser:", "\n### Instruction:"],
)  # fmt: skip
def test_a_token_that_was_written_out_ends_the_answer_however_it_is_split(token: str, step: int) -> None:
    passed, reason = pushed(f"It opens at nine.{token} And then user: what? It opens", step)
    assert passed == "It opens at nine."
    assert reason == f"the model wrote {token.strip()!r}, which ends its answer"


@pytest.mark.parametrize("step", [1, 5, 1000])
@pytest.mark.parametrize(
    "text",
    ["a < b, and <|im_en no token", "It is <", "<s>struck out</s> and <s>again</s>, done.", "User: is no turn here.",
     "Dear User:", "[INS", "Ha ha ha ha ha ha ha ha, that is good!", "No, no, no, no! I mean it.",
     "Row, row, row your boat, gently down the stream. Merrily, merrily, merrily, merrily, life is but a dream.",
     "I will huff, and I will puff. And it fell. I will huff, and I will puff. It stood. I will huff, and I will puff.",
     "哈哈哈哈哈哈，真有意思。好的好的，我知道了。", "-" * 200, "One.\n\n" + " " * 100 + "Two.", ""],
)  # fmt: skip
def test_whatever_a_person_might_say_goes_through(text: str, step: int) -> None:
    assert pushed(text, step) == (text, "")


@pytest.mark.parametrize(
    ("unit", "chars_max"),
    [("a", 80), ("no, ", 80), ("He", 80), ("You can walk. ", 90), ("000,", 80), ("是", 48), ("我不知道。", 48),
     ("They are called the fastest trains on earth. ", 160),
     ("I'm sorry for your loss, and I am here to help you with anything that you need, day and night, today. ", 330)],
)  # fmt: skip
def test_a_model_that_repeats_itself_is_cut_long_before_its_limit(unit: str, chars_max: int) -> None:
    begun = "The answer is this: "
    for step in (1, 4, 4000):
        passed, reason = pushed(begun + unit * 400, step)
        assert len(passed) - len(begun) <= chars_max
        assert passed == pushed(begun + unit * 400, 1)[0]
        assert reason.startswith("the model repeats itself: ")
        assert pushed(begun + unit * 400, 3)[1] == reason


def test_a_sentence_that_comes_again_and_again_with_others_between_is_repetition() -> None:
    text = "".join(f"I'm not a car. I'm a voice assistant for number {i}. " for i in range(20))
    passed, reason = pushed(text, 5)
    assert passed.count("I'm not a car.") == 4 and "not a car" in reason
    passed, reason = pushed("".join(f"我真的不知道。第{i}次了吗？" for i in range(20)), 1)
    assert passed.count("我真的不知道") == 4


def test_after_the_end_nothing_comes_any_more() -> None:
    end = AnswerEnd()
    assert end.push_text("Yes.</s>more") == "Yes." and end.push_text("more") == end.flush() == ""


def test_what_is_kept_is_bounded() -> None:
    end = AnswerEnd()
    for i in range(3000):
        end.push_text(f"word{i} ")
    assert len(end._tail) <= TAIL_CHARS and len(end._sentence) <= TAIL_CHARS + 20


def test_rules_of_lines_and_nothing_are_no_repetition() -> None:
    assert repetition("") == "" and repetition("=" * 300) == "" and repetition("word " * 30) == "word"
