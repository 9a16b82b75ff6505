"""Sample dialogues: readable Markdown that tells the recogniser what users say and the rehearsal model its answers.

    ---
    language: en
    ---
    # Opening hours

    user: What time do you open?
    or: When are you open?
    agent: We open at nine and close at six.
        On Sundays we are closed.

A heading begins a dialogue. `or:` is another way to say the user's line above it. A line that is indented or has no
speaker goes on with the line before; lines that begin with `>` are notes to the reader. The front matter is optional.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from duologue.core.words import is_cjk
from duologue.errors import PackError
from duologue.nearest import nearest

_SPOKEN: Final = re.compile(r"([A-Za-z]+)\s*[:：]\s*(.*)")
_SPEAKERS: Final = ("user", "or", "agent")


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a user says and what the agent answers.

    `user`: the line as written first; `variants`: other ways to say it. `dialogue`: the heading it stands under;
    `position`: its place in that dialogue, from 0. `language`: BCP 47. `path`, `line`: where it is written.
    """

    user: str
    agent: str
    variants: tuple[str, ...]
    dialogue: str
    position: int
    language: str
    path: str
    line: int

    @property
    def asked(self) -> tuple[str, ...]:
        """All ways to say the user's line."""
        return (self.user, *self.variants)


def joined(before: str, after: str) -> str:
    """Two lines of one text as one: with a space between, unless Chinese or Japanese goes on."""
    chinese = bool(before and after) and is_cjk(after[0]) and not before[-1].isascii()
    glue = "" if not before or chinese else " "
    return f"{before}{glue}{after}"


def read_dialogues(path: str, text: str, language: str) -> Iterator[Exchange]:
    """The exchanges in `text` (plain line ends). `language` where the front matter names none. Raises `PackError`."""
    lines = list(enumerate(text.split("\n"), start=1))
    lines, language = _front_matter(path, lines, language)
    reader = _Reader(path, language)
    for number, line in lines:
        if exchange := reader.take(number, line):
            yield exchange
    if exchange := reader.finish():
        yield exchange


def _front_matter(path: str, lines: list[tuple[int, str]], language: str) -> tuple[list[tuple[int, str]], str]:
    """What follows the front matter, and the language it names."""
    if lines[0][1].strip() != "---":
        return lines, language
    for index, (number, line) in enumerate(lines[1:], start=1):
        if line.strip() == "---":
            return lines[index + 1 :], language
        key, colon, value = line.partition(":")
        if not line.strip():
            continue
        if not colon or key.strip() != "language" or not value.strip():
            raise PackError(path, number, f"front matter: expected `language: CODE`, got {line.strip()!r}")
        language = value.strip()
    raise PackError(path, lines[0][0], "the front matter is never closed", hint="End it with a line ---")


@dataclass(slots=True)
class _Draft:
    """An exchange that is being read."""

    line: int
    asked: list[str]
    agent: str = ""

    def go_on(self, text: str) -> None:
        if self.agent:
            self.agent = joined(self.agent, text)
        else:
            self.asked[-1] = joined(self.asked[-1], text)


@dataclass(slots=True)
class _Reader:
    """Takes line by line; gives an exchange when the next one begins."""

    path: str
    language: str
    dialogue: str = ""
    position: int = 0
    draft: _Draft | None = None
    line: int = field(default=0)

    def take(self, number: int, line: str) -> Exchange | None:
        self.line = number
        indented = line[:1].isspace()
        line = line.strip()
        if not line or line.startswith(">"):
            return None
        if line.startswith("#"):
            done = self.finish()
            self.dialogue, self.position = line.lstrip("#").strip(), 0
            return done
        spoken = None if indented and self.draft is not None else _SPOKEN.match(line)
        if spoken is None or (spoken[1].lower() not in _SPEAKERS and not self._is_wrong_speaker(spoken[1])):
            self._go_on(line)
            return None
        return self._speak(spoken[1].lower(), spoken[2].strip())

    def _is_wrong_speaker(self, label: str) -> bool:
        """Whether a label is a misspelt speaker rather than a sentence's own colon ("Remember: …")."""
        guess = nearest(label, _SPEAKERS)
        if guess is None and self.draft is not None:
            return False
        hint = f"Did you mean `{guess}:`?" if guess else "Begin with `user:` or `agent:`"
        raise PackError(self.path, self.line, f"{label!r} is no speaker", hint=hint)

    def _go_on(self, line: str) -> None:
        if self.draft is None:
            raise PackError(
                self.path,
                self.line,
                f"nobody says {line[:40]!r}",
                hint="Begin the line with `user:`, or with > for notes",
            )
        self.draft.go_on(line)

    def _speak(self, speaker: str, text: str) -> Exchange | None:
        if not text:
            raise PackError(self.path, self.line, f"`{speaker}:` says nothing", hint="Write it on the same line")
        if speaker == "user":
            done = self.finish()
            self.draft = _Draft(self.line, [text])
            return done
        if self.draft is None or self.draft.agent:
            raise PackError(self.path, self.line, f"`{speaker}:` needs a `user:` line before it")
        if speaker == "or":
            self.draft.asked.append(text)
        else:
            self.draft.agent = text
        return None

    def finish(self) -> Exchange | None:
        """The exchange read last, complete. Raises `PackError` if nobody answered."""
        draft, self.draft = self.draft, None
        if draft is None:
            return None
        if not draft.agent:
            raise PackError(self.path, draft.line, "the user gets no answer", hint="Add an `agent:` line")
        exchange = Exchange(
            draft.asked[0], draft.agent, tuple(draft.asked[1:]), self.dialogue, self.position,
            self.language, self.path, draft.line,
        )  # fmt: skip
        self.position += 1
        return exchange
