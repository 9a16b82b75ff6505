"""What of a model's text is spoken: everything but what it wrote for tools, for the avatar's mood or to itself.

Taken out, and kept for whoever wants it (`take_asides`):
- `<tool_call>…</tool_call>`, `<function=…>…</function>`, `<think>…</think>` and their like, to their end however far it
  is; `<mood>…</mood>`, `<emotion …/>` and their like, up to `SPAN_CHARS_MAX`; special tokens `<|…|>`; comments;
- tool calls as bare JSON (`{"name": …`, `[{"name": …`: the first key tells) or in a ```json or ```tool_call fence;
- stage directions in brackets, `[smiles]`, `[mood: happy]`, 【微笑】, and citations, `[1]`. Markdown links, and
  brackets right behind a letter or a backslash (`list[str]`), stay;
- actions between asterisks, `*smiles*`. Emphasis looks the same, so an action must open a line or a sentence, and
  either nothing of that sentence follows (the end, a new line, or white space and then a capital, CJK, a quote or
  another span), or it begins with a lower-case word in -s or -ing ("*waves softly* hello"). `That is *really* good`,
  `*Never* do that`, `**bold**` and `5 * 3 * 2` keep their words.
Of other tags (`<b>`, `<say>`) only the tag goes. Code, in a line or in a fence, stays as it is; what is said of it is
the synthesiser's business. White space around what was taken out is joined.

It works on a stream, and the result does not depend on how the text was split: only what may be the beginning of such a
span is withheld, and beyond a bound it is text after all. What is still open at the end of the reply is dropped when
it can only be a tool call or a thought, and spoken otherwise.
"""

import re
import unicodedata
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from duologue.core.words import is_cjk

SPAN_CHARS_MAX: Final = 200  # a stage direction is short: what is not closed by then is text
TAG_CHARS_MAX: Final = 1000  # of one tag with its attributes
ASIDE_CHARS_MAX: Final = 8000  # kept of one aside; a longer thought is kept up to here
ASIDES_MAX: Final = 64  # kept until they are taken; the oldest go first

_UNTIL_CLOSED: Final = frozenset(
    "tool_call tool_calls toolcall toolcalls function functions function_call function_calls tool tools tool_use "
    "tool_code tool_response tool_result tool_results tool_output invoke parameters arguments think thinking thought "
    "thoughts reasoning reflection scratchpad analysis script style".split()
)
_SHORT: Final = frozenset(
    "mood emotion emotions feeling feelings expression face gesture action animation pose sentiment tone affect state "
    "stage sfx sound memory".split()
)
_LINE_TAGS: Final = frozenset("br p div li tr ul ol table h1 h2 h3 h4 h5 h6".split())
_TOOL_KEYS: Final = frozenset(
    "name tool tool_name tool_call tool_calls tools function functions function_name function_call action arguments "
    "args parameters call id type recipient_name mood emotion emotions gesture expression".split()
)
_TOOL_FENCES: Final = frozenset("tool_call tool_calls tool_code tool tools function function_call".split())
_NOT_ACTIONS: Final = frozenset(
    "this his yes always its is was as has does thus perhaps sometimes unless us plus less across besides "
    "nothing something anything everything during being having going bring thing morning evening".split()
)

_SPECIAL: Final = re.compile(r"[<\[【*{`]")
_ATTRIBUTE: Final = r"\s+[\w:.-]+\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s\"'<>/]+)"
_TAG: Final = re.compile(rf"<(/?)([A-Za-z][\w.-]*)(?::([\w.-]+))?(?:=[^\s<>]*)?(?:{_ATTRIBUTE})*\s*(/?)>")
_TAG_HEAD: Final = re.compile(
    rf"</?(?:([A-Za-z][\w.-]*)(?::[\w.-]*)?(?:=[^\s<>]*)?(?:{_ATTRIBUTE})*"
    r"(?:\s+(?:[\w:.-]+\s*(?:=\s*(?:\"[^\"<>]*\"?|'[^'<>]*'?|[^\s\"'<>/]*))?)?)?\s*/?)?$"
)
_TOKEN: Final = re.compile(r"<[|｜]([^|｜<>\n]{1,64})[|｜]>")
_TOKEN_HEAD: Final = re.compile(r"<(?:[|｜](?:[^|｜<>\n]{0,64}(?:[|｜])?)?)?$")
_JSON: Final = re.compile(r"\[?\s*\{\s*\"(\w{1,32})\"\s*:")
_JSON_HEAD: Final = re.compile(r"\[?\s*(?:\{\s*(?:\"\w{0,32}(?:\"\s*)?)?)?$")
_JSON_PARTS: Final = re.compile(r"\\.|[\"{}\[\]]", re.DOTALL)
_FENCE: Final = re.compile(r"```[^\S\n]*([\w-]*)[^\S\n]*\n\s*")
_FENCE_HEAD: Final = re.compile(r"`{0,3}$|```[^\S\n]*[\w-]{0,32}[^\S\n]*$")
_CITATION: Final = re.compile(r"\^?\d+(?:\s*[,;–-]\s*\^?\d+)*")
_ACTION: Final = re.compile(r"\*(?![\s*])([^*\n]{1,200}?)(?<!\s)\*(?!\*)")
_ENDED: Final = frozenset(".!?…。！？｡\"'”’»」』)）")
_BEGINNING: Final = frozenset("\"'“‘«「『(（*[【<~")
_UNSPACED: Final = frozenset(".,;:!?…。，；：！？、)）")


class _Do(Enum):
    WAIT = auto()  # more text is needed to tell
    KEEP = auto()  # it is text
    DROP = auto()  # an aside
    STRIP = auto()  # neither


@dataclass(frozen=True, slots=True)
class _Step:
    """What to do with the first `chars` of the buffer. `until`: after dropping those, drop on to this text, included;
    `json`: or to where the brackets close. `instead`: white space that takes the place of a stripped tag. `code`: text
    follows up to the end of a fence, whatever it looks like."""

    do: _Do
    chars: int = 0
    until: str = ""
    json: bool = False
    instead: str = ""
    code: bool = False


_WAIT: Final = _Step(_Do.WAIT)
_KEEP_ONE: Final = _Step(_Do.KEEP, 1)


def _look_at_tag(text: str, *, final: bool) -> _Step:
    """`text` begins with `<`."""
    for look in (_look_at_token, _look_at_comment):
        step = look(text, final=final)
        if step:
            return step
    tag = _TAG.match(text)
    if tag and tag.end() <= TAG_CHARS_MAX:
        return _judge_tag(text, tag, final=final)
    head = _TAG_HEAD.match(text)
    if not head or len(text) >= TAG_CHARS_MAX:
        return _KEEP_ONE
    if not final:
        return _WAIT
    name = (head[1] or "").lower()
    cut_short = len(name) > 2 and any(control.startswith(name) for control in _UNTIL_CLOSED | _SHORT)
    return _Step(_Do.DROP, len(text)) if cut_short else _KEEP_ONE


def _look_at_token(text: str, *, final: bool) -> _Step | None:
    token = _TOKEN.match(text)
    if not token:
        return _WAIT if _TOKEN_HEAD.match(text) and not final else None
    name = token[1].lower()
    if "tool" not in name or ("begin" not in name and "start" not in name):
        return _Step(_Do.DROP, token.end())
    return _Step(_Do.DROP, token.end(), until=re.sub("begin|start", "end", token[0].lower()))


def _look_at_comment(text: str, *, final: bool) -> _Step | None:
    if text.startswith("<!--"):
        return _Step(_Do.DROP, 4, until="-->")
    return _WAIT if "<!--".startswith(text) and not final else None


def _judge_tag(text: str, tag: re.Match[str], *, final: bool) -> _Step:
    closing, first, second, selfclosing = tag.groups()
    name = (second or first).lower()
    if name not in _UNTIL_CLOSED and name not in _SHORT:
        return _Step(_Do.STRIP, tag.end(), instead="\n" if name in _LINE_TAGS else "")
    if closing:
        return _Step(_Do.STRIP, tag.end())
    if selfclosing:
        return _Step(_Do.DROP, tag.end())
    closer = f"</{first}:{second}>" if second else f"</{first}>"
    if name in _UNTIL_CLOSED:
        return _Step(_Do.DROP, tag.end(), until=closer)
    bound = tag.end() + SPAN_CHARS_MAX
    closed = text.lower().find(closer.lower(), tag.end(), bound)
    if closed >= 0:
        return _Step(_Do.DROP, closed + len(closer))
    return _Step(_Do.STRIP, tag.end()) if final or len(text) >= bound else _WAIT


def _look_at_json(text: str, *, final: bool) -> _Step:
    """`text` begins with `{` or `[`, or with what may stand before them in a fence."""
    found = _JSON.match(text)
    if found and found.end() <= SPAN_CHARS_MAX:
        return _Step(_Do.DROP, json=True) if found[1].lower() in _TOOL_KEYS else _KEEP_ONE
    if not _JSON_HEAD.match(text) or len(text) >= SPAN_CHARS_MAX:
        return _KEEP_ONE
    if not final:
        return _WAIT
    return _Step(_Do.DROP, len(text)) if "{" in text and '"' in text else _KEEP_ONE


def _look_at_fence(text: str, *, line_start: bool, final: bool) -> _Step:
    """`text` begins with a backtick."""
    if "```".startswith(text) and text != "```":
        return _KEEP_ONE if final else _WAIT
    if not text.startswith("```"):
        return _look_at_inline_code(text, final=final)
    if not line_start:
        return _Step(_Do.KEEP, 3)
    opened = _FENCE.match(text)
    if not opened:
        return _WAIT if _FENCE_HEAD.match(text) and not final else _Step(_Do.KEEP, 3)
    keep = _Step(_Do.KEEP, 3, code=True)
    if opened[1].lower() in _TOOL_FENCES:
        return _Step(_Do.DROP, 3, until="```")
    if opened[1].lower() != "json":
        return keep
    step = _look_at_json(text[opened.end() :], final=final)
    if step.do is _Do.DROP:
        return _Step(_Do.DROP, 3, until="```")
    return step if step.do is _Do.WAIT else keep


def _look_in_code(text: str, *, final: bool) -> _Step:
    """Up to the end of the fence it is in, `text` is text."""
    end = text.find("```")
    if end >= 0:
        return _Step(_Do.KEEP, end + 3)
    undecided = 0 if final else len(text) - len(text.rstrip("`"))
    plain = len(text) - undecided
    return _Step(_Do.KEEP, plain, code=True) if plain else _WAIT


def _look_at_inline_code(text: str, *, final: bool) -> _Step:
    """`text` begins with one or two backticks and something else: code in a line is text, tool calls in it are not."""
    if text[1] in "`{":
        return _KEEP_ONE
    line = text[:SPAN_CHARS_MAX].partition("\n")[0]
    end = line.find("`", 1) + 1
    if end:
        return _Step(_Do.KEEP, end)
    return _WAIT if len(line) == len(text) and len(text) < SPAN_CHARS_MAX and not final else _KEEP_ONE


def _look_at_bracket(text: str, before: str, *, final: bool) -> _Step:
    """`text` begins with `[` or `【`, and `before` is the character before it."""
    if before == "\\":
        return _KEEP_ONE
    if text[0] == "[":
        step = _look_at_json(text, final=final)
        if step.do is not _Do.KEEP:
            return step
    end = _bracket_end(text)
    if end == 0:
        return _KEEP_ONE
    if end > len(text) or (end == len(text) and text[0] == "[" and not final):
        return _KEEP_ONE if final else _WAIT
    is_link = text[0] == "[" and text[end : end + 1] == "("
    is_index = before.isascii() and (before.isalnum() or before in "_)]") and before != ""
    if is_link or (is_index and not _CITATION.fullmatch(text[1 : end - 1])):
        return _Step(_Do.KEEP, end)
    return _Step(_Do.DROP, end)


def _bracket_end(text: str) -> int:
    """Past the bracket that closes the first one; 0 where none does in time; beyond `text` where one still may."""
    opener, closer = text[0], "]" if text[0] == "[" else "】"
    depth = 0
    for index, char in enumerate(text[:SPAN_CHARS_MAX]):
        if char == "\n":
            return 0
        depth += (char == opener) - (char == closer)
        if depth == 0:
            return index + 1
    return 0 if len(text) >= SPAN_CHARS_MAX else len(text) + 1


def _look_at_asterisk(text: str, *, opens: bool, final: bool) -> _Step:
    """`text` begins with `*`. `opens`: a line or sentence may begin here."""
    if text.startswith("**"):
        return _Step(_Do.KEEP, 2)
    if text == "*" and not final:
        return _WAIT
    if not opens or text[1:2].isspace():
        return _KEEP_ONE
    span = _ACTION.match(text)
    if not span:
        hopeless = final or len(text) > SPAN_CHARS_MAX + 1 or "*" in text[1:] or "\n" in text
        return _KEEP_ONE if hopeless else _WAIT
    rest = text[span.end() :]
    following = rest.lstrip(" \t")[:1]
    if not following and not final:
        return _WAIT
    return _Step(_Do.DROP, span.end()) if _is_action(span[1], rest[:1], following) else _KEEP_ONE


def _is_action(content: str, directly: str, following: str) -> bool:
    """Whether an asterisk span is an action, by what stands `directly` behind it and the `following` visible character
    (a new line counts as one; empty at the end of the reply)."""
    if following in ("", "\n"):
        return True
    apart = directly.isspace()
    begins = following.isupper() or is_cjk(following) or following in _BEGINNING or _is_emoji(following)
    if apart and begins:
        return True
    first = content.split()[0].strip(",.!…")
    acts = first.islower() and first.endswith(("s", "ing")) and len(first) > 3 and first not in _NOT_ACTIONS
    return acts and (apart or following in _ENDED)


def _is_emoji(char: str) -> bool:
    return unicodedata.category(char) == "So"


class SpokenTextFilter:
    """The filter for one reply: push what the model writes, speak what comes back, flush at its end."""

    def __init__(self) -> None:
        self._text = ""  # withheld: not decided yet
        self._until = ""  # being dropped up to here, included
        self._json = _JsonDepth()
        self._aside = ""  # what is being dropped, so far
        self._asides: list[str] = []
        self._before = ""  # the last character that was kept, white space included
        self._visible = ""  # the last one that was kept and no white space
        self._line_start = True
        self._code = False  # inside a fence that is text
        self._white = ""  # kept, not yet given out: goes if what follows it does
        self._gap = False  # something was dropped behind that white space
        self._white_after = ""  # white space behind the gap

    def push_text(self, delta: str) -> str:
        """Take some more of the model's text; what of it is to be spoken and certain."""
        self._text += delta
        return self._read(final=False)

    def flush(self) -> str:
        """No more comes: the rest that is to be spoken. What is still open as a tool call or thought is dropped."""
        spoken = self._read(final=True)
        return spoken + self._joined_white("")

    def take_asides(self) -> list[str]:
        """What was taken out since the last call, as the model wrote it (`ASIDE_CHARS_MAX` of each at most)."""
        asides, self._asides = self._asides, []
        return asides

    def _read(self, *, final: bool) -> str:
        spoken: list[str] = []
        while self._text:
            if self._until or self._json.open:
                if not self._drop_on(final=final):
                    break
                continue
            special = _SPECIAL.search(self._text)
            plain = special.start() if special else len(self._text)
            step = _Step(_Do.KEEP, plain) if plain and not self._code else self._look(final=final)
            if step.do is _Do.WAIT:
                break
            self._take(step, spoken)
        if final:
            self._end_aside()
            self._code = False
        return "".join(spoken)

    def _look(self, *, final: bool) -> _Step:
        text = self._text
        if self._code:
            return _look_in_code(text, final=final)
        match text[0]:
            case "<":
                return _look_at_tag(text, final=final)
            case "{":
                return _look_at_json(text, final=final)
            case "`":
                return _look_at_fence(text, line_start=self._line_start, final=final)
            case "*":
                return _look_at_asterisk(text, opens=self._opens, final=final)
            case _:
                return _look_at_bracket(text, self._before, final=final)

    @property
    def _opens(self) -> bool:
        """Whether a line or a sentence may begin here."""
        if self._line_start:
            return True
        ended = self._visible in _ENDED or _is_emoji(self._visible)
        return ended and (self._before.isspace() or not self._visible.isascii())

    def _take(self, step: _Step, spoken: list[str]) -> None:
        taken, self._text = self._text[: step.chars], self._text[step.chars :]
        if step.do is _Do.KEEP:
            self._code = step.code
            spoken.append(self._keep(taken))
        elif step.do is _Do.STRIP:
            spoken.append(self._keep(step.instead))
        else:
            self._gap = True
            self._aside = taken
            self._until = step.until
            self._json = _JsonDepth(open=step.json)
            if not step.until and not step.json:
                self._end_aside()

    def _drop_on(self, *, final: bool) -> bool:
        """Drop more of what is being dropped; False when more text is needed."""
        text = self._text
        if self._json.open:
            chars = self._json.read(text)
            ended = not self._json.open
        else:
            found = re.search(re.escape(self._until), text, re.IGNORECASE)
            ended = found is not None
            chars = found.end() if found else max(0, len(text) - len(self._until) + 1)
        if final and not ended:
            chars, ended = len(text), True
        self._aside += text[: max(0, min(chars, ASIDE_CHARS_MAX - len(self._aside)))]
        self._text = text[chars:]
        if ended:
            self._end_aside()
        return ended

    def _end_aside(self) -> None:
        if self._aside:
            self._asides = [*self._asides, self._aside][-ASIDES_MAX:]
        self._aside = self._until = ""
        self._json = _JsonDepth()

    def _keep(self, text: str) -> str:
        if not text:
            return ""
        self._before = text[-1]
        core = text.strip()
        if not core:
            self._add_white(text)
            self._line_start = self._line_start or "\n" in text
            return ""
        begin = text.index(core)
        self._add_white(text[:begin])
        spoken = self._joined_white(core[0]) + core
        self._white = text[begin + len(core) :]
        self._visible, self._line_start = core[-1], "\n" in self._white
        return spoken

    def _add_white(self, white: str) -> None:
        if self._gap:
            self._white_after += white
        else:
            self._white += white

    def _joined_white(self, following: str) -> str:
        """The white space before `following`, once where something between it was dropped, none before a comma."""
        before, after, gap = self._white, self._white_after, self._gap
        self._white, self._white_after, self._gap = "", "", False
        if not gap:
            return before
        if not self._visible or following in _UNSPACED:
            return ""
        return after if "\n" in after and "\n" not in before else before or after


@dataclass(slots=True)
class _JsonDepth:
    """How deep in a JSON value the reading is. `open`: its end has not been read yet."""

    open: bool = False
    depth: int = 0
    in_string: bool = False

    def read(self, text: str) -> int:
        """Read on in `text`, up to the value's end or as far as is certain; how many characters that was."""
        for part in _JSON_PARTS.finditer(text):
            if part[0] == '"':
                self.in_string = not self.in_string
            elif not self.in_string and part[0][0] != "\\":
                self.depth += 1 if part[0] in "{[" else -1
                if self.depth == 0:
                    self.open = False
                    return part.end()
        backslashes = len(text) - len(text.rstrip("\\"))
        return len(text) - backslashes % 2
