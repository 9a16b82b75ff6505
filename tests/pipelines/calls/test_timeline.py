"""The picture is parsed and measured: what must be in it is, and no text covers another."""

import itertools
import re
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

from duologue.audio import Samples
from duologue_pipelines.calls.timeline import Caption, Cut, Delay, Stretch, TimelineData, render_timeline, row_bounds

RATE_HZ = 24_000
SVG = "{http://www.w3.org/2000/svg}"


def sound(*spoken: tuple[float, float], seconds: float = 12.0) -> Samples:
    samples = np.zeros(round(seconds * RATE_HZ), dtype=np.int16)
    for start, end in spoken:
        samples[round(start * RATE_HZ) : round(end * RATE_HZ)] = 5000
    return samples


def timeline(title: str, caller: Samples, agent: Samples, **more: Any) -> TimelineData:
    return TimelineData(title, caller, agent, RATE_HZ, **more)


def picture(data: TimelineData) -> ET.Element:
    return ET.fromstring(render_timeline(data))


def texts(svg: ET.Element) -> list[str]:
    return ["".join(element.itertext()) for element in svg.iter(f"{SVG}text")]


def full() -> TimelineData:
    return TimelineData(
        title="A <call> & more",
        subtitle="answers after 450 ms",
        caller=sound((0.5, 2.0), (5.0, 5.4), (7.0, 7.3), (9.0, 10.0)),
        agent=sound((2.45, 5.1), (5.5, 7.1), (7.4, 9.18), (10.5, 11.5)),
        sample_rate_hz=RATE_HZ,
        captions=(
            Caption("caller", 0.5, 2.0, "when does the museum open"),
            Caption("agent", 2.45, 9.18, "The museum opens at nine", "in the morning and closes at six"),
            Caption("caller", 5.0, 5.4, "mm-hm"),
            Caption("caller", 7.0, 7.3, "(cough)"),
            Caption("caller", 9.0, 10.0, "can I bring my dog"),
            Caption("agent", 10.5, 11.5, "不行，狗要在外面等。"),
        ),
        stretches=(
            Stretch("speculative", 2.1, 2.45),
            Stretch("dropped", 1.0, 1.4),
            Stretch("hold", 5.1, 5.5),
            Stretch("backchannel", 5.0, 5.4),
            Stretch("noise", 7.0, 7.3),
        ),
        cuts=(Cut(9.18),),
        delays=(Delay("response", 2.0, 2.45), Delay("resume", 5.1, 5.5), Delay("yield", 9.0, 9.18)),
    )


def test_everything_that_happened_is_in_the_picture_and_in_the_legend() -> None:
    svg = picture(full())
    said = texts(svg)
    for expected in ("A <call> & more", "answers after 450 ms", "silent after 180 ms", "goes on after 400 ms", "caller",
                     "agent", "mm-hm", "(cough)", "0 s", "11"):  # fmt: skip
        assert expected in said, expected
    legend = " ".join(said)
    for words in ("the caller is heard", "asks for nothing", "a cough", "hold:", "cut:", "never heard", "made ready"):
        assert words in legend, words
    title, description = svg.find(f"{SVG}title"), svg.find(f"{SVG}desc")
    assert title is not None and title.text == "A <call> & more" and description is not None


def test_the_legend_names_nothing_that_did_not_happen() -> None:
    legend = " ".join(texts(picture(timeline("quiet", sound((1, 2)), sound((3, 4))))))
    assert "the caller is heard" in legend
    for words in ("hold:", "cut:", "cough", "never heard", "made ready", "from the caller"):
        assert words not in legend, words


def test_what_was_not_heard_is_struck_out_and_kept_short() -> None:
    data = timeline("t", sound(), sound((1, 3)), captions=(Caption("agent", 1, 3, "heard words", "lost " * 60),))
    spans = list(picture(data).iter(f"{SVG}tspan"))
    assert spans and all(span.get("text-decoration") == "line-through" for span in spans)
    struck = " ".join(span.text or "" for span in spans)
    assert struck.startswith("lost lost") and struck.endswith("…") and len(struck) < 110


def boxes(svg: ET.Element) -> list[tuple[float, float, float, float, str]]:
    """(left, top, right, bottom, text) of every text, by a narrow estimate of its width."""
    found = []
    for group in [svg, *svg.iter(f"{SVG}g")]:
        shift = float((re.search(r"translate\(0 ([\d.]+)\)", group.get("transform", "")) or [0, 0])[1])
        for text in group.findall(f"{SVG}text"):
            words = "".join(text.itertext()).rstrip()
            x, y, size = float(text.get("x", 0)), float(text.get("y", 0)) + shift, float(text.get("font-size", 12))
            width = 0.5 * size * len(words)
            left = x - {"end": width, "middle": width / 2}.get(text.get("text-anchor", ""), 0)
            found.append((left, y - 0.7 * size, left + width, y, words))
    return found


def test_no_text_covers_another() -> None:
    crowd = tuple(
        Caption(who, at, at + 0.4, f"caption number {index} of a crowded picture")
        for who in ("caller", "agent")
        for index, at in enumerate(np.arange(0.2, 11.5, 0.5).tolist())
    )
    delays = tuple(Delay("response", at, at + 0.3) for at in np.arange(0.5, 11.5, 0.6).tolist())
    for data in (full(), timeline("crowd", sound((0, 12)), sound((0, 12)), captions=crowd, delays=delays)):
        for one, other in itertools.combinations(boxes(picture(data)), 2):
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            assert apart, (one, other)


def test_all_text_lies_within_the_picture() -> None:
    data = timeline(
        "edge", sound((14, 15), seconds=15), sound(seconds=15),
        captions=(Caption("caller", 14.5, 15, "words at the very end of the row"),),
        delays=(Delay("response", 14.9, 15.0),),
    )  # fmt: skip
    svg = picture(data)
    width, height = float(svg.get("width", 0)), float(svg.get("height", 0))
    for left, top, right, bottom, words in boxes(svg):
        assert 0 <= left and right <= width and 0 <= top and bottom <= height, words


def test_rows_break_where_nothing_happens() -> None:
    data = timeline(
        "t", sound((1, 13), (16, 29.5), seconds=40), sound((30.2, 31), seconds=40),
        captions=(Caption("caller", 1, 13, "a"), Caption("caller", 14, 29.5, "b"), Caption("agent", 30.2, 31, "c")),
    )  # fmt: skip
    bounds = row_bounds(data)
    assert bounds[0] == (0.0, 13.5) and bounds[1][0] == 13.5
    assert bounds[1][1] == 28.5  # no quiet moment within reach
    assert bounds[-1] == (28.5, 31.5)  # the silence at the end is not drawn


def test_rows_end_after_fifteen_seconds_when_the_talk_never_pauses() -> None:
    talk = timeline("t", sound((0, 40), seconds=40), sound(), captions=(Caption("caller", 0, 40, "on and on " * 30),))
    assert row_bounds(talk) == [(0.0, 15.0), (15.0, 30.0), (30.0, 40.0)]
    said = [text for text in texts(picture(talk)) if "on and on" in text]
    assert sum(text.count("and") for text in said) == 30  # each word stands in one row, none is lost


@pytest.mark.parametrize("rate_hz", [8_000, 48_000])
def test_the_picture_is_the_same_at_every_rate(rate_hz: int) -> None:
    talk = timeline("t", sound((1, 13), (16, 29.5), seconds=40), sound((30.2, 31), seconds=40))
    caller, agent = (np.repeat(channel[::3], rate_hz // 8_000) for channel in (talk.caller, talk.agent))
    other = TimelineData("t", caller, agent, rate_hz)
    assert (other.seconds, row_bounds(other)) == (talk.seconds, row_bounds(talk))
    assert render_timeline(other) == render_timeline(talk)


def test_an_empty_call_is_a_picture_too() -> None:
    svg = picture(timeline("nobody spoke", sound(seconds=0), sound(seconds=0)))
    assert "nobody spoke" in texts(svg) and "0 s" in texts(svg)


def test_a_long_call_is_drawn_up_to_ten_minutes_and_says_so() -> None:
    samples = np.full(RATE_HZ * 660, 3000, dtype=np.int16)
    text = render_timeline(timeline("long", samples, samples[:RATE_HZ]))
    assert "The first 10 of 11 minutes are shown." in text and len(text) < 3_000_000


@pytest.mark.parametrize("text", ["a\x00b\x0b <tag> & \ufffe", "嗯，对对对。", "🙂 ok"])
def test_any_text_makes_valid_xml(text: str) -> None:
    svg = picture(timeline(text, sound((1, 2)), sound(), captions=(Caption("caller", 1, 2, text, text),)))
    assert any(text.strip()[-1] in said or text.strip()[0] in said for said in texts(svg))


def test_a_caption_without_words_takes_no_room() -> None:
    empty = picture(timeline("t", sound((1, 2)), sound(), captions=(Caption("caller", 1, 2, " "),)))
    none = picture(timeline("t", sound((1, 2)), sound()))
    assert empty.get("height") == none.get("height")
