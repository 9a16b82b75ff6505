"""What of a model's text is spoken, and what is kept from the voice."""

import random

import pytest

from duologue.text.spoken_text import ASIDE_CHARS_MAX, ASIDES_MAX, SPAN_CHARS_MAX, TAG_CHARS_MAX, SpokenTextFilter


def filtered(text: str, *cuts: int) -> tuple[str, list[str]]:
    """What of `text`, pushed in pieces divided at `cuts`, is spoken, and the asides."""
    stream, spoken, at = SpokenTextFilter(), "", 0
    for cut in (*cuts, len(text)):
        spoken += stream.push_text(text[at:cut])
        at = cut
    return spoken + stream.flush(), stream.take_asides()


def spoken(text: str) -> str:
    return filtered(text)[0]


@pytest.mark.parametrize(
    "text",
    [
        "Hello there, how are you?",
        "If a < b and x<y and z>w, then 5 * 3 * 2 is 5*3*2.",
        "That is *really* good, **bold**, ***both***, *Never* do that. *Good* question, snake_case.",
        "**Note** this. *this* is what i mean. A*",
        "list[int] or a_[b] or \\[x\\] or [a link](https://x.com) ![picture](y.png)",
        '{user}, hello. {} {1} {\'a\': 1} {"city": "Paris"}',
        "`code` and ``more`` and ```inline``` and\n```python\nprint([])\n```\n",
        '```json\n{"city": "Paris"}\n```\nis how it looks.',
        "```json\n12\n```",
        "I <3 you <- and <https://x.com> and <input disabled>, <",
        "Use `<b>`, `[x]` or ``*y*``, `open\nand [on",
        "\n```html\n<b>[x]</b> *y* `` <think>\n```\nor\n```\n[never closed",
        "* one\n* two\n- three",
        "We came.*So* it was",
        "  leading and trailing  ",
        "a [ b",
        "an [open\nline] here",
        "【没有完",
        "*open",
        "*smiles *there",
        "*waves*at",
        "<|never closed",
        "Ends in [",
        "Ends in {",
        "Ends in ``",
        "Ends in <b",
        "Ends in *",
        "\n```",
        "Ends in <!",
    ],
)
def test_ordinary_text_is_spoken_as_it_is(text: str) -> None:
    assert filtered(text) == (text, [])


@pytest.mark.parametrize(
    "aside",
    [
        '<tool_call>{"name": "weather", "arguments": {"city": "Paris"}}</tool_call>',
        "<function=weather><parameter=city>Paris</parameter></function>",
        "<think>Let me see.\n\nShe asks [something] *odd*: a < b.</think>",
        "<THINK>loud</think>",
        '<invoke name="weather"><x/></invoke>',
        "<mood>happy</mood>",
        '<emotion value="joy" strength=0.8/>',
        "<!-- a note -->",
        "<|im_end|>",
        '<|tool_call_start|>[weather(city="Paris")]<|tool_call_end|>',
        "<｜tool▁calls▁begin｜>weather<｜tool▁calls▁end｜>",
        "[smiles]",
        "[mood: happy [very]]",
        "[1]",
        "[2, 3–5]",
        "【微笑】",
        "【1†source】",
        '{"name": "weather", "arguments": {"city": "Par\\"}is", "days": [1, 2]}}',
        '[{"name": "weather"}, {"name": "time"}]',
        '{ "tool" : "a\\\\" }',
    ],
)
def test_what_is_meant_for_tools_or_mood_is_taken_out_and_kept_as_an_aside(aside: str) -> None:
    assert filtered(f"Hello {aside} there.") == ("Hello there.", [aside])
    assert filtered(f"{aside}\nHello.") == ("Hello.", [aside])
    assert filtered(f"Hello {aside}.") == ("Hello.", [aside])


@pytest.mark.parametrize("fence", ["tool_call", "json", "JSON", "tool_code"])
def test_a_tool_call_in_a_fence_is_taken_out(fence: str) -> None:
    call = f'```{fence}\n{{"name": "weather"}}\n```'
    assert filtered(f"One moment.\n{call}\nHere it is.") == ("One moment.\nHere it is.", [call])


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        ("*smiles* Hello there.", "Hello there."),
        ("Hello! *waves at you* How are you?", "Hello! How are you?"),
        ("*waves softly* hello", "hello"),
        ("*laughing* that is good", "that is good"),
        ("I see.\n*She nods and looks away.*\nGo on.", "I see.\nGo on."),
        ("Good night. *yawns*", "Good night. "),
        ("*sighs*. okay", ". okay"),
        ("*smiles* *nods* Hello.", "Hello."),
        ("*微笑* 你好", "你好"),
        ("你好！*微笑* 再见", "你好！ 再见"),
        ("😀 *laughs* 😀 ok", "😀 😀 ok"),
        ("*grins*", ""),
    ],
)
def test_an_action_that_opens_a_line_or_sentence_is_not_spoken(text: str, heard: str) -> None:
    assert spoken(text) == heard


def test_of_unknown_tags_only_the_tag_goes() -> None:
    assert filtered("one <b>bold</b> <say>word</say></think> a</mood>") == ("one bold word a", [])
    assert spoken("one<br>two<br/>three") == "one\ntwo\nthree"


def test_what_can_only_be_a_tool_call_or_a_thought_is_dropped_though_it_never_ends() -> None:
    for text in (
        "<think>and so on",
        '<tool_call>{"na',
        '{"name": "weather", "arg',
        '{"na',
        "<tool_ca",
        '```json\n{"name": ',
        "```tool_call\nweather()",
        '```json\n{"na',
    ):
        assert filtered("Well, " + text) == ("Well, ", [text]) or filtered("Well,\n" + text) == ("Well,\n", [text])


def test_a_mood_that_is_not_closed_soon_is_text() -> None:
    text = "never closed " * (SPAN_CHARS_MAX // 10)
    assert filtered("<mood>" + text) == (text, [])
    assert filtered("<mood>short") == ("short", [])


def test_what_is_withheld_is_bounded() -> None:
    for opening in ("[", "【", "*", '<a b="', '{"' + "k" * 30):
        stream = SpokenTextFilter()
        given = stream.push_text(opening) + "".join(stream.push_text("x") for _ in range(TAG_CHARS_MAX))
        assert given == opening + "x" * TAG_CHARS_MAX
    flood = SpokenTextFilter()
    assert flood.push_text("{" + " " * SPAN_CHARS_MAX) == "{"


def test_ordinary_text_is_not_withheld() -> None:
    stream = SpokenTextFilter()
    assert [stream.push_text(delta) for delta in ("Hello", " there, a", " <", " b")] == [
        "Hello",
        " there, a",
        "",
        " < b",
    ]


def test_asides_are_given_once_and_bounded() -> None:
    stream = SpokenTextFilter()
    stream.push_text("[a] [b] ")
    assert (stream.take_asides(), stream.take_asides()) == (["[a]", "[b]"], [])
    stream.push_text("[x] " * (ASIDES_MAX + 5) + "<think>" + "t" * (2 * ASIDE_CHARS_MAX) + "</think>")
    asides = stream.take_asides()
    assert len(asides) == ASIDES_MAX
    assert len(asides[-1]) == ASIDE_CHARS_MAX


def test_a_tool_call_in_backticks_is_one() -> None:
    assert spoken('Look: `{"name": "weather"}` there.') == "Look: `` there."


def test_after_a_flush_it_goes_on() -> None:
    stream = SpokenTextFilter()
    assert stream.push_text("<think>never closed") + stream.flush() == ""
    assert stream.push_text("Hello ") + stream.flush() == "Hello "
    assert stream.flush() == ""


def test_white_space_around_what_was_taken_out_is_joined() -> None:
    assert spoken("a [x] [y] b") == "a b"
    assert spoken("a\n\n[x]\n\nb") == "a\n\nb"
    assert spoken("a [x]\n\nb") == "a\n\nb"
    assert spoken("a[1] b") == "a b"
    assert spoken("[x]") == ""


PIECES = (
    "[", "]", "*", "**", "<", ">", "</think>", "<think>", "<b>", "{", '{"name":', "}", '"', "```", "```json\n", "\n",
    " ", "word", "Hello", ".", "smiles", "*nods*", "【", "】", "(", "<mood>", "</mood>", "\\", "1", "你好", "<|",
    "|>", "😀",
    "```py\n", "tool_call", "<!--", "-->", '<emotion a="b"/>', "[1]", "`", "<|tool_start|>", "<|tool_end|>", "x" * 90,
    "<a b", "=",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(300))
def test_the_result_does_not_depend_on_how_the_text_was_split(seed: int) -> None:
    rng = random.Random(seed)
    text = "".join(rng.choice(PIECES) for _ in range(rng.randint(1, 40)))
    whole = filtered(text)
    assert filtered(text, *range(1, len(text))) == whole
    for _ in range(3):
        cuts = sorted(rng.randint(0, len(text)) for _ in range(rng.randint(1, 12)))
        assert filtered(text, *cuts) == whole
