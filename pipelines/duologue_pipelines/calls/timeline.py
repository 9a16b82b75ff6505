"""A picture of a conversation: who was heard when, and what the agent did about it; for people who never saw one.

The picture is an SVG of rows of up to fifteen seconds, the caller's sound above the agent's, with the words beside it.
It is drawn from plain data and from the recording, so that it shows what was heard and not what was meant. Text never
covers text: labels are set where there is room, and rows grow for them.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final, Literal

import numpy as np

from duologue.audio import Samples
from duologue.core.words import is_cjk

SECONDS_MAX: Final = 600.0  # 40 rows; a longer conversation is drawn up to there, and the picture says so

Who = Literal["caller", "agent"]
StretchKind = Literal["hold", "speculative", "dropped", "noise", "backchannel"]
DelayKind = Literal["response", "yield", "resume"]


@dataclass(frozen=True, slots=True)
class Caption:
    """Words beside the sound. `text`: what was heard; `unheard`: the rest of it, which was not. Times in seconds."""

    who: Who
    start: float
    end: float
    text: str
    unheard: str = ""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Something that lasted. `hold`: the agent silent, undecided. `speculative`, `dropped`: a reply made ready before
    the turn was over, and used or not. `noise`, `backchannel`: what the caller's sound in it was."""

    kind: StretchKind
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Cut:
    """The agent's reply ended here because the caller took the floor."""

    at: float


@dataclass(frozen=True, slots=True)
class Delay:
    """A measured latency. `response`: caller's last sample → agent's first. `yield`: caller's first → agent's last.
    `resume`: how long the agent was silent for nothing."""

    kind: DelayKind
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class TimelineData:
    """What is drawn. `caller`, `agent`: int16, shape (n,), at `sample_rate_hz`, sample 0 being second 0."""

    title: str
    caller: Samples
    agent: Samples
    sample_rate_hz: int
    subtitle: str = ""
    captions: Sequence[Caption] = ()
    stretches: Sequence[Stretch] = ()
    cuts: Sequence[Cut] = ()
    delays: Sequence[Delay] = ()

    @property
    def seconds(self) -> float:
        """How long the conversation was."""
        return max(len(self.caller), len(self.agent)) / self.sample_rate_hz


# --- looks --------------------------------------------------------------------------------------------------------

ROW_SECONDS: Final = 15.0
_ROW_SECONDS_MIN: Final = 9.0  # a row may end so early, to end while nothing happens
_QUIET_MIN: Final = 0.1
_TAIL_S: Final = 0.5  # of the silence behind the last sound
_WIDTH: Final = 1200
_LEFT: Final = 84  # room for the two names
_RIGHT: Final = 24
_SCALE: Final = (_WIDTH - _LEFT - _RIGHT) / ROW_SECONDS  # pixels a second
_LANE: Final = 44  # height of a waveform
_COLUMN: Final = 2  # pixels a step of the envelope
_FONT: Final = 12
_LINE: Final = 15
_GAP: Final = 6
_CAPTION_WIDTH_MIN: Final = 176
_UNHEARD_MAX: Final = 90  # letters: enough to see what was lost
_CALLER: Final = "#1f5fa8"
_AGENT: Final = "#c2570c"  # blue and orange: apart for the colour-blind too
_GREY: Final = "#6b7280"
_RED: Final = "#b91c1c"
_GREEN: Final = "#15803d"
_DELAY_LOOKS: Final[dict[DelayKind, tuple[str, str]]] = {
    "response": (_GREEN, "answers after"),
    "yield": (_RED, "silent after"),
    "resume": (_GREY, "goes on after"),
}
_LEGEND: Final[dict[str, str]] = {
    "caller": "the caller is heard",
    "agent": "the agent is heard",
    "backchannel": "a listener's “mm-hm”: asks for nothing",
    "noise": "a cough or another noise",
    "hold": "hold: the agent is silent until it knows more",
    "cut": "cut: the reply ends, the caller has the floor",
    "unheard": "grey, struck out: never heard",
    "speculative": "the reply is made ready before the turn is over",
    "dropped": "made ready and dropped: the caller went on",
    "response": "from the caller's last sound to the agent's first",
    "yield": "from the caller's first sound to the agent's last",
    "resume": "silence for a false alarm; the agent goes on where it was",
}


def render_timeline(data: TimelineData) -> str:
    """The picture as SVG text."""
    out: list[str] = []
    y = _heading(out, data)
    for start, end in row_bounds(data):
        y = _Row(data, start, end, y).draw(out)
    if data.seconds > SECONDS_MAX:
        note = f"The first {SECONDS_MAX / 60:g} of {data.seconds / 60:.0f} minutes are shown."
        out.append(_text(_LEFT, y + _LINE, note, fill=_GREY))
        y += 2 * _LINE
    return _document(data, out, y + 8)


def row_bounds(data: TimelineData) -> list[tuple[float, float]]:
    """Where rows begin and end, in seconds: after at most `ROW_SECONDS`, and where possible while nothing happens."""
    things: list[Caption | Stretch | Delay] = [*data.captions, *data.stretches, *data.delays]
    busy = sorted((thing.start, thing.end) for thing in things)
    seconds = max(min(_last_sound(data) + _TAIL_S, data.seconds, SECONDS_MAX), 1.0)
    bounds: list[tuple[float, float]] = []
    start = 0.0
    while seconds - start > ROW_SECONDS + 1e-9:
        end = _quiet_moment(busy, start + _ROW_SECONDS_MIN, start + ROW_SECONDS)
        bounds.append((start, end))
        start = end
    return [*bounds, (start, seconds)]


def _last_sound(data: TimelineData) -> float:
    """The second of the last sample that is not digital silence."""
    loud = (np.flatnonzero(channel) for channel in (data.caller, data.agent))
    return max((int(samples[-1]) + 1 for samples in loud if len(samples)), default=0) / data.sample_rate_hz


def _quiet_moment(busy: Sequence[tuple[float, float]], earliest: float, latest: float) -> float:
    """The middle of the longest quiet between two seconds; `latest` if there is none."""
    gaps = []
    quiet_since = earliest
    for start, end in [*busy, (latest, math.inf)]:
        if min(start, latest) > quiet_since:
            gaps.append((min(start, latest) - quiet_since, (quiet_since + min(start, latest)) / 2))
        quiet_since = max(quiet_since, end)
    length, middle = max(gaps, default=(0.0, latest))
    return middle if length > _QUIET_MIN else latest


def _document(data: TimelineData, out: Iterable[str], height: float) -> str:
    body = "\n".join(out)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:g}" width="{_WIDTH}" \
height="{height:g}" role="img" font-family="system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', 'Noto Sans CJK SC', \
sans-serif" font-size="{_FONT}">
<title>{_safe(data.title)}</title>
<desc>Waveforms of the caller (above) and the agent (below) over time, with their words and the delays between them.\
</desc>
<defs>
<pattern id="ready" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">\
<rect width="6" height="6" fill="#fff7ed"/><rect width="2" height="6" fill="#fdba74"/></pattern>
<pattern id="dropped" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">\
<rect width="6" height="6" fill="#f9fafb"/><rect width="1.5" height="6" fill="#9ca3af"/></pattern>
</defs>
<rect x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1:g}" rx="8" fill="#ffffff" stroke="#e5e7eb"/>
{body}
</svg>
"""


def _heading(out: list[str], data: TimelineData) -> float:
    """Title, subtitle and a legend of what really occurs; where the rows begin."""
    out.append(_text(24, 36, data.title, size=20, font_weight="600", fill="#111827"))
    y = 36.0
    if data.subtitle:
        y += 22
        out.append(_text(24, y, data.subtitle, size=13, fill="#374151"))
    y += 18
    for index, (kind, words) in enumerate(_present(data)):
        x, line = 24 + index % 3 * 386, y + index // 3 * 20
        out.append(_swatch(kind, x, line))
        out.append(_text(x + 40, line + 11, words, size=11.5, fill="#374151"))
    return y + math.ceil(len(list(_present(data))) / 3) * 20 + 14


def _present(data: TimelineData) -> Iterator[tuple[str, str]]:
    kinds = {"caller", "agent"} | {stretch.kind for stretch in data.stretches} | {delay.kind for delay in data.delays}
    if data.cuts:
        kinds.add("cut")
    if any(caption.unheard for caption in data.captions):
        kinds.add("unheard")
    return ((kind, words) for kind, words in _LEGEND.items() if kind in kinds)


def _swatch(kind: str, x: float, y: float) -> str:
    """A sample of what `kind` looks like, 32 by 14 pixels."""
    if kind in ("caller", "agent", "backchannel", "noise"):
        colour = {"caller": _CALLER, "agent": _AGENT, "backchannel": "#7fb0e6", "noise": "#9ca3af"}[kind]
        heights = (3, 7, 12, 9, 13, 8, 4, 6)
        bars = "".join(
            f'<rect x="{x + 4 * i:g}" y="{y + 7 - h / 2:g}" width="3" height="{h}"/>' for i, h in enumerate(heights)
        )
        return f'<g fill="{colour}">{bars}</g>'
    if kind in _DELAY_LOOKS:
        return _measure_line(x, x + 30, y + 7, _DELAY_LOOKS[kind][0])
    if kind == "cut":
        return f'<path d="M{x + 15:g} {y - 1:g}v16" stroke="{_RED}" stroke-width="2.5"/>'
    if kind == "unheard":
        return _text(x, y + 11, "words", fill="#9ca3af", text_decoration="line-through")
    return _box(kind, x, y, 30, 14)


def _box(kind: str, x: float, y: float, width: float, height: float) -> str:
    fill, stroke = {
        "hold": ("#fde68a", "#d97706"),
        "speculative": ("url(#ready)", "#fb923c"),
        "dropped": ("url(#dropped)", "#9ca3af"),
    }[kind]
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1.5):.1f}" height="{height:.1f}" rx="2" '
        f'fill="{fill}" stroke="{stroke}" stroke-width="0.8"/>'
    )


def _measure_line(left: float, right: float, y: float, colour: str) -> str:
    """A line with a stop at each end, as on a technical drawing."""
    return (
        f'<path d="M{left:.1f} {y - 4:.1f}v8M{right:.1f} {y - 4:.1f}v8M{left:.1f} {y:.1f}H{right:.1f}" '
        f'stroke="{colour}" stroke-width="1.6" fill="none"/>'
    )


# --- a row --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Shelf:
    """Sets blocks of lines so that none covers another: each goes to the highest place that is free."""

    taken: list[tuple[float, float, int, int]] = field(default_factory=list)

    def place(self, left: float, right: float, lines: int) -> int:
        """The first line (0 is on top) of a block of `lines` between two x."""
        top = 0
        while any(
            left < end + _GAP and begin - _GAP < right and top < bottom and above < top + lines
            for begin, end, above, bottom in self.taken
        ):
            top += 1
        self.taken.append((left, right, top, top + lines))
        return top

    @property
    def lines(self) -> int:
        return max((bottom for *_, bottom in self.taken), default=0)


class _Row:
    """Some seconds. From above: the caller's words and sound, delays, the agent's sound and words, the seconds."""

    def __init__(self, data: TimelineData, start: float, end: float, y: float) -> None:
        self.data = data
        self.start = start
        self.end = end
        self.y = y

    def x(self, at: float) -> float:
        """Where second `at` lies; what is outside the row is at its edge."""
        return _LEFT + (min(max(at, self.start), self.end) - self.start) * _SCALE

    def shows(self, start: float, end: float) -> bool:
        return start < self.end and end > self.start

    def draw(self, out: list[str]) -> float:
        """Append the row's SVG; the y below it."""
        caller_words, caller_lines = self._captions("caller")
        agent_words, agent_lines = self._captions("agent")
        delays, delay_lines = self._delays()
        caller_lane = self.y + caller_lines * _LINE + 4
        between = caller_lane + _LANE + 4
        agent_lane = between + max(1, delay_lines) * (_LINE + 3) + 4
        words = agent_lane + _LANE + 4
        bottom = words + agent_lines * _LINE + 4
        self._grid(out, caller_lane, agent_lane, bottom)
        self._stretches(out, agent_lane)
        self._wave(out, self.data.caller, caller_lane, _CALLER)
        self._soft_sounds(out, caller_lane)
        self._wave(out, self.data.agent, agent_lane, _AGENT)
        self._cuts(out, agent_lane)
        out.append(f'<g transform="translate(0 {self.y:g})">{caller_words}</g>')
        out.append(f'<g transform="translate(0 {between:g})">{delays}</g>')
        out.append(f'<g transform="translate(0 {words:g})">{agent_words}</g>')
        return bottom + 34

    def _grid(self, out: list[str], caller_lane: float, agent_lane: float, bottom: float) -> None:
        right = self.x(self.end)
        for name, lane, colour in (("caller", caller_lane, _CALLER), ("agent", agent_lane, _AGENT)):
            out.append(
                f'<rect x="{_LEFT}" y="{lane:g}" width="{right - _LEFT:.1f}" height="{_LANE}" fill="#f9fafb"/>'
                f'<path d="M{_LEFT} {lane + _LANE / 2:g}H{right:.1f}" stroke="#e5e7eb"/>'
            )
            out.append(_text(_LEFT - 12, lane + _LANE / 2 + 4, name, fill=colour, font_weight="600", text_anchor="end"))
        out.append(f'<path d="M{_LEFT} {bottom:g}H{right:.1f}" stroke="#9ca3af"/>')
        for second in range(math.ceil(self.start), math.floor(self.end) + 1):
            x = self.x(second)
            out.append(f'<path d="M{x:.1f} {caller_lane:g}V{bottom + 4:g}" stroke="#e5e7eb" stroke-width="0.7"/>')
            unit = " s" if second == math.ceil(self.start) else ""
            out.append(_text(x, bottom + 17, f"{second}{unit}", size=11, fill=_GREY, text_anchor="middle"))

    def _wave(self, out: list[str], samples: Samples, lane: float, colour: str) -> None:
        path = self._envelope(samples, lane, self.start, self.end)
        if path:
            out.append(f'<path d="{path}" fill="{colour}"/>')

    def _envelope(self, samples: Samples, lane: float, start: float, end: float) -> str:
        """Bars of the peaks between two seconds, on a square-root scale so that soft speech is seen."""
        first_column = math.floor((start - self.start) * _SCALE / _COLUMN)
        last_column = math.ceil((end - self.start) * _SCALE / _COLUMN)
        path, rate_hz = [], self.data.sample_rate_hz
        for column in range(first_column, last_column):
            left = round((self.start + column * _COLUMN / _SCALE) * rate_hz)
            piece = samples[max(left, 0) : left + math.ceil(_COLUMN / _SCALE * rate_hz)]
            peak = float(np.max(np.abs(piece.astype(np.int32)))) / 32768 if len(piece) else 0.0
            height = _LANE * math.sqrt(peak)
            if height > 1.5:
                top = lane + (_LANE - height) / 2
                path.append(f"M{_LEFT + column * _COLUMN} {top:.1f}h{_COLUMN - 0.4:g}v{height:.1f}h-{_COLUMN - 0.4:g}z")
        return "".join(path)

    def _soft_sounds(self, out: list[str], lane: float) -> None:
        """Noises and backchannels in their own colour, over the caller's."""
        for stretch in self.data.stretches:
            if stretch.kind not in ("noise", "backchannel") or not self.shows(stretch.start, stretch.end):
                continue
            start, end = max(stretch.start, self.start), min(stretch.end, self.end)
            path = self._envelope(self.data.caller, lane, start, end)
            colour = "#9ca3af" if stretch.kind == "noise" else "#7fb0e6"
            out.append(f'<path d="{path}" fill="{colour}" stroke="{colour}" stroke-width="0.6"/>')

    def _stretches(self, out: list[str], lane: float) -> None:
        for stretch in self.data.stretches:
            if stretch.kind in ("noise", "backchannel") or not self.shows(stretch.start, stretch.end):
                continue
            left, right = self.x(stretch.start), self.x(stretch.end)
            if stretch.kind == "hold":
                out.append(_box("hold", left, lane, right - left, _LANE))
            else:
                out.append(_box(stretch.kind, left, lane + _LANE / 2 - 7, right - left, 14))

    def _cuts(self, out: list[str], lane: float) -> None:
        out.extend(
            f'<path d="M{self.x(cut.at):.1f} {lane - 3:g}v{_LANE + 6}" stroke="{_RED}" stroke-width="2.5"/>'
            for cut in self.data.cuts
            if self.start <= cut.at < self.end
        )

    def _delays(self) -> tuple[str, int]:
        """Measure lines with their words, drawn from y = 0 down; how many lines of them."""
        shelf, out = _Shelf(), []
        for delay in sorted(self.data.delays, key=lambda delay: delay.start):
            if not self.shows(delay.start, delay.end):
                continue
            colour, words = _DELAY_LOOKS[delay.kind]
            left, right = self.x(delay.start), max(self.x(delay.end), self.x(delay.start) + 2)
            label = f"{words} {1000 * (delay.end - delay.start):.0f} ms" if self._is_home(delay) else ""
            width = _text_width(label)
            label_x = right + 5 if right + 5 + width < _WIDTH - _RIGHT else left - 5 - width
            line = shelf.place(min(left, label_x), max(right, label_x + width), 1)
            y = line * (_LINE + 3) + 9
            out.append(_measure_line(left, right, y, colour))
            out.append(_text(label_x, y + 4, label, fill=colour, font_weight="600"))
        return "".join(out), shelf.lines

    def _is_home(self, delay: Delay) -> bool:
        """Whether the larger part of `delay` lies in this row: there its words stand."""
        inside = min(delay.end, self.end) - max(delay.start, self.start)
        return inside >= (delay.end - delay.start) / 2

    def _captions(self, who: Who) -> tuple[str, int]:
        """The words of one side, drawn from y = 0 down; how many lines."""
        shelf, blocks = _Shelf(), []
        for caption in sorted(self.data.captions, key=lambda caption: caption.start):
            if caption.who != who or not self.shows(caption.start, caption.end):
                continue
            heard, unheard = self._words_here(caption)
            if not heard and not unheard:
                continue
            left = self.x(caption.start)
            width = max(self.x(caption.end) - left, _CAPTION_WIDTH_MIN)
            lines = _wrapped(heard, unheard, width)
            width = max(sum(_text_width(word) for word, _ in line) for line in lines)
            left = min(left, _WIDTH - _RIGHT - width)
            blocks.append((shelf.place(left, left + width, len(lines)), left, lines))
        lift = (
            shelf.lines if who == "caller" else 0
        )  # the caller's words stand on their sound, the agent's hang from it
        out: list[str] = []
        for top, left, lines in blocks:
            first = lift - top - len(lines) if lift else top
            out.extend(_styled(left, (first + i) * _LINE + 12, line) for i, line in enumerate(lines))
        return "".join(out), shelf.lines

    def _words_here(self, caption: Caption) -> tuple[list[str], list[str]]:
        """The words that fall into this row, by their share of the time; those unheard stand at the caption's end."""
        words = _words(caption.text)
        length = max(caption.end - caption.start, 1e-6)
        first = math.ceil(len(words) * (max(self.start, caption.start) - caption.start) / length - 1e-9)
        last = math.ceil(len(words) * (min(self.end, caption.end) - caption.start) / length - 1e-9)
        return words[first:last], _words(_shortened(caption.unheard)) if caption.end <= self.end else []


def _shortened(text: str) -> str:
    return text if len(text) <= _UNHEARD_MAX else text[:_UNHEARD_MAX].rpartition(" ")[0] + " …"


# --- text ---------------------------------------------------------------------------------------------------------


def _words(text: str) -> list[str]:
    """Pieces at which a line may break, each with the space that follows it."""
    return re.findall(
        r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff][^\w\s]*\s*|[^\s\u3040-\u30ff\u3400-\u9fff]+\s*", text + " "
    )


def _wrapped(heard: Iterable[str], unheard: Iterable[str], width: float) -> list[list[tuple[str, bool]]]:
    """Lines of (word, was it heard) no wider than `width`, unless one word is."""
    lines: list[list[tuple[str, bool]]] = [[]]
    used = 0.0
    for word, was_heard in [*((word, True) for word in heard), *((word, False) for word in unheard)]:
        if lines[-1] and used + _text_width(word.rstrip()) > width:
            lines.append([])
            used = 0.0
        lines[-1].append((word, was_heard))
        used += _text_width(word)
    return lines


def _styled(x: float, y: float, line: Sequence[tuple[str, bool]]) -> str:
    """One line of a caption, what was not heard struck out."""
    heard = "".join(word for word, was_heard in line if was_heard)
    unheard = "".join(word for word, was_heard in line if not was_heard).rstrip()
    heard = heard if unheard else heard.rstrip()
    crossed = f'<tspan fill="#9ca3af" text-decoration="line-through">{_safe(unheard)}</tspan>' if unheard else ""
    return f'<text x="{x:.1f}" y="{y:g}" fill="#111827" xml:space="preserve">{_safe(heard)}{crossed}</text>'


def _text_width(text: str, size: float = _FONT) -> float:
    """Generous estimate in pixels: wide fonts (DejaVu) need 0.62 em a Latin letter on the average."""
    return sum(size if is_cjk(char) or char > "\uff00" else 0.62 * size for char in text)


def _text(x: float, y: float, text: str, *, size: float = _FONT, fill: str = "#111827", **style: str) -> str:
    """A line of text; `style`: further attributes, with `_` for `-`. Nothing for no text."""
    if not text:
        return ""
    more = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in style.items())
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{fill}"{more}>{_safe(text)}</text>'


def _safe(text: str) -> str:
    """`text` for XML: escaped, and without the control characters that XML forbids."""
    return escape("".join(c for c in text if c in "\t\n" or (c >= " " and c not in "\ufffe\uffff")))
