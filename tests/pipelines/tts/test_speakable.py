"""What is written for the eye becomes what is said, and every character of it keeps its place."""

import random

import pytest

from duologue_pipelines.tts.speakable import Speakable, Spoken, speakable

ENGLISH = {
    "Dr. Smith paid $5.20.": "Doctor Smith paid five dollars and twenty cents.",
    "$1, €0.99, £2.50 and 5 USD": "one dollar, ninety nine cents, two pounds and fifty pence and five U.S. dollars",
    "$3.5 million or -$2": "three point five million dollars or minus two dollars",
    "I have 1,234,567 items": "I have one million two hundred thirty four thousand five hundred sixty seven items",
    "3.14 and -5 and 007": "three point one four and minus five and zero zero seven",
    "12.5% of 1/2 cup, 3/4 or ½": "twelve point five percent of one half cup, three quarters or one half",
    "1st, 22nd, 103rd": "first, twenty second, one hundred third",
    "since 2024, in the 1990s and the 80s": "since twenty twenty four, in the nineteen nineties and the eighties",
    "on 2024-05-17": "on May seventeenth, twenty twenty four",
    "May 5, 2021 or 17 May 2024": "May fifth, twenty twenty one or May seventeenth, twenty twenty four",
    "on 3/4/2025": "on March fourth, twenty twenty five",
    "on 25/4/2025": "on April twenty fifth, twenty twenty five",
    "at 3:30 pm, 15:05, 12:00, 9 a.m. sharp": ("at three thirty P M, fifteen oh five, twelve o'clock, nine A M sharp"),
    "by 5 p.m. We go": "by five P M. We go",
    "it took 1:02:03": "it took one oh two and three seconds",
    "Call (555) 123-4567.": "Call five five five, one two three, four five six seven.",
    "+1 555 123 4567": "plus one, five five five, one two three, four five six seven",
    "20°C, 5km away at 60 km/h, 1 kg": (
        "twenty degrees Celsius, five kilometers away at sixty kilometers per hour, one kilogram"
    ),
    "3-5 days, pages 10–20": "three to five days, pages ten to twenty",
    "v1.2.3 and 3.11.2": "version one point two point three and three point eleven point two",
    "10k users, 3x faster, #5, No. 7": "ten thousand users, three times faster, number five, number seven",
    "e.g. tea, i.e. a drink, etc.": "for example tea, that is a drink, et cetera.",
    "St. Paul on Main St. by Dec. 5th": "Saint Paul on Main Street by December fifth",
    "2 * 3 = 6 & a <= b": "two times three equals six and a at most b",
    "GPT-4 and B12 stay": "GPT-4 and B12 stay",
    "a ratio of 3:1, score 2-1": "a ratio of three to one, score two to one",
    "5'10\" and 24/7": "five foot ten and twenty four seven",
    "C++, C#, 10^3 and $5/month": "C plus plus, C sharp, ten to the power of three and five dollars per month",
    "ISBN 978-3-16-148410-0": "ISBN nine seven eight, three, one six, one four eight four one zero, zero",
    "USD 1.5 billion, €3bn": "one point five billion U.S. dollars, three billion euros",
    "7pm-9pm in Jan 2024": "seven P M to nine P M in January twenty twenty four",
    "3 < 4 and 5 > 2": "three less than four and five greater than two",
    "99999999999999999999": " ".join(["nine"] * 20),
}
CHINESE = {
    "今天是2024年5月17日。": "今天是二零二四年五月十七日. ",
    "2024-05-17 和 2024/5/18": "二零二四年五月十七日 和 二零二四年五月十八日",
    "下午3:30，8:05，9:00": "下午三点三十分, 八点零五分, 九点整",
    "我有2个苹果，12本书": "我有两个苹果, 十二本书",
    "花了¥25.5，共 $5": "花了二十五点五元, 共 五美元",
    "涨了12%，第3名": "涨了百分之十二, 第三名",
    "电话13800138000": "电话幺三八零零幺三八零零零",
    "3-5天，1/3，气温25℃": "三到五天, 三分之一, 气温二十五摄氏度",
    "共 1,234 元": "共 一千二百三十四 元",
    "负数-5，100km/h": "负数负五, 一百公里每小时",
    "我用 GPT-4 看 MP3": "我用 GPT-4 看 MP3",
    "１２个": "十二个",
    "好。真的！是吗？：对；": "好. 真的! 是吗? : 对; ",
    "2024-13-40": "两千零二十四到十三到四十",
    "99:99": "九十九比九十九",
    "2022-2023年，用了10年": "二零二二到二零二三年, 用了十年",
    "3:2战胜，7×24，100+，C++": "三比二战胜, 七乘二十四, 一百多, C加加",
    "2000多年，@小明，50kg": "两千多年, 艾特小明, 五十公斤",
    "00123 和 12345678901234567890": "零零一二三 和 一二三四五六七八九零一二三四五六七八九零",
}
MARKUP = {
    "# Title\nSome **bold** and *it*": "Title.\nSome bold and it",
    "- one\n- two!\n\n1. first\n2. second": "one.\ntwo!\n\none. first.\ntwo. second",
    "- [ ] task\nnext": "task.\nnext",
    "> quoted": "quoted",
    "a [link](https://x.com/a_(b)?c=1) and ![image](i.png)": "a link and image",
    "see [ref][1] and [^2]": "see ref and ",
    "`getUserName()` and `foo_bar.baz`": "get User Name and foo bar dot baz",
    "un**believ**able, unclosed **bold": "unbelievable, unclosed bold",
    "```python\nx = 1\n```\nDone.": " Code block. \nDone.",
    "Look:\n```\nx = 1": "Look:\n Code block. ",
    "| a | b |\n|---|---|\n| c | d |": "a, b.\nc, d.",
    "one\n\n---\ntwo": "one.\ntwo",
    "a<br>b &amp; c": "a \nb & c",
    "snake_case here": "snake case here",
    "[[raw phonemes]]": "raw phonemes",
    "nice :-) 👍 1️⃣": "nice    1",
    "so\u200bft\u00adhy\x00phen": "so ft hy phen",
}
ADDRESSES = {
    "https://www.example.com/docs/intro?x=1#y.": "example dot com slash docs slash intro.",
    "https://host:8080/a1b2c3/9/xyz": "host",
    "mail a.b-c@x.org": "mail a dot b dash c at x dot org",
    "visit example.com!": "visit example dot com!",
}


@pytest.mark.parametrize(("written", "said"), [*ENGLISH.items(), *MARKUP.items(), *ADDRESSES.items()])
def test_english_is_read_as_people_read_it(written: str, said: str) -> None:
    assert speakable(written, "en").text == said


@pytest.mark.parametrize(("written", "said"), CHINESE.items())
def test_chinese_is_read_as_people_read_it(written: str, said: str) -> None:
    assert speakable(written, "zh-CN").text == said


def test_the_day_comes_first_outside_the_united_states() -> None:
    assert speakable("3/4/2025", "en-GB").text == "April third, twenty twenty five"


@pytest.mark.parametrize(
    ("written", "language", "said"),
    [
        ("1.234,5 Euro", "de", "eintausendzweihundertvierunddreißig Komma fünf Euro"),
        ("J'ai 3 chats", "fr-FR", "J'ai trois chats"),
        ("foo@bar.de", "de", "foo ät bar Punkt de"),
        ("1.2.3 und 12", "de", "1.2.3 und zwölf"),
        ("3 raon", "ga", "3 raon"),  # num2words lacks Irish: the engine reads the digit
    ],
)
def test_other_languages_say_their_numbers_where_num2words_can(written: str, language: str, said: str) -> None:
    assert speakable(written, language).text == said


@pytest.mark.parametrize(
    ("text", "language", "said"),
    [
        ("2 cups", "zh-CN", "two cups"),
        ("50kg", "zh-CN", "五十公斤"),
        ("2个", "en", "两个"),
        ("2個", None, "二個"),
        ("みかん2つ", None, "みかん二つ"),
        ("2 cups", None, "two cups"),
    ],
)
def test_the_script_overrules_a_language_that_cannot_be_meant(text: str, language: str | None, said: str) -> None:
    assert speakable(text, language).text == said


def test_wide_punctuation_stays_for_engines_that_know_it() -> None:
    assert speakable("你好，3：00。", "zh", plain_punctuation=False).text == "你好，三点整。"


@pytest.mark.parametrize("text", ["", " \n", "👍🎉", "**", "---\n", "…", "?!", "\u200b"])
def test_nothing_to_say_is_silent(text: str) -> None:
    spoken = speakable(text, "en")
    assert spoken.is_silent
    assert spoken.words() == ()


def sources(text: str, spoken: Speakable) -> list[tuple[str, str]]:
    return [(spoken.text[w.start : w.end], text[w.start_char : w.end_char]) for w in spoken.words()]


def test_words_know_where_they_came_from() -> None:
    text = "It's **bold**, $5.20 at www.x.org and 你好，ok 2个。"
    assert sources(text, speakable(text, "en-US")) == [
        ("It's", "It's"),
        ("bold,", "bold**,"),
        ("五点二零美元", "$5.20"),
        ("at", "at"),
        ("x点org", "www.x.org"),
        ("and", "and"),
        ("你", "你"),
        ("好,", "好，"),
        ("ok", "ok"),
        ("两", "2"),
        ("个.", "个。"),
    ]


def test_many_words_for_one_piece_are_one_word() -> None:
    text = "Pay $12.50 now"
    assert sources(text, speakable(text, "en")) == [
        ("Pay", "Pay"),
        ("twelve dollars and fifty cents", "$12.50"),
        ("now", "now"),
    ]


def test_an_equal_length_is_no_proof_of_equal_letters() -> None:
    text = "花 $5.20 了"  # five characters, spoken with six and a space: chance must not align them
    assert ("五点二零美元", "$5.20") in sources(text, speakable(text, "zh"))


PIECES = [
    "Dr. ", "$5.20", " 2024-05-17 ", "**", "*", "_", "`x_y()`", "```\n", "\n", "\n\n", "- ", "# ", "| a | b |",
    "👍", "1️⃣",
    "你好", "，", "。", "2个",
    "3:30", " pm", "https://x.com/a?b", "a@b.org", " ", "the ", "GPT-4", "5km", "%",
    "-7", "1/2", "&amp;",
    "[l](u)", "[[", "]]", "(", ")", "…", "—", "e.g.", "1st", "\u200b", "\x07", "<br>", "é", "ß", "١٢", "½", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
def test_every_character_keeps_its_place_whatever_is_written(seed: int) -> None:
    chance = random.Random(seed)
    pieces = [*PIECES, *ENGLISH, *CHINESE, *MARKUP, *ADDRESSES]
    for _ in range(10):
        text = "".join(chance.choices(pieces, k=chance.randint(0, 14)))
        for language in ("en", "zh", "de", None):
            spoken = speakable(text, language)
            assert "".join(text[p.start_char : p.end_char] for p in spoken.pieces) == text
            assert all(isinstance(piece, Spoken) for piece in spoken.pieces)
            assert "\0" not in spoken.text
            spoken.text.encode()
            at = at_source = 0
            for word in spoken.words():
                assert at <= word.start < word.end <= len(spoken.text)
                assert at_source <= word.start_char < word.end_char <= len(text)
                at, at_source = word.end, word.end_char
