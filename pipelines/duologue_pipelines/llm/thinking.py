"""Keeps a reasoning model's thoughts from being spoken.

Local servers pass the thoughts of reasoning models as ordinary text between `<think>` and `</think>`. The
tags may be split over deltas anywhere, so a possible beginning of a tag is held back until the next delta
decides. Nothing else is delayed.
"""

from typing import Final

_OPENING: Final = ("<think>", "<thinking>", "<reasoning>")
_CLOSING: Final = ("</think>", "</thinking>", "</reasoning>")


class ThoughtFilter:
    """Text deltas in, the text outside of thoughts out.

    `begins_inside`: the chat template has already opened the thought, so that the stream begins in it
    (DeepSeek-R1 and QwQ templates). `withheld`: how many characters were thoughts.
    """

    def __init__(self, *, begins_inside: bool = False) -> None:
        self._inside = begins_inside
        self._after_thought = False
        self._held = ""
        self.withheld = 0

    def add_text(self, delta: str) -> str:
        """What of the text so far may be spoken now and was not before."""
        text = self._held + delta
        self._held = ""
        spoken: list[str] = []
        while text:
            # A closing tag out of place is dropped too: it is markup of a thought whose opening the server
            # swallowed.
            tags = _CLOSING if self._inside else (*_OPENING, *_CLOSING)
            start, tag = _first_tag(text, tags)
            if not tag:
                self._held = text[_held_from(text, tags) :]
                self._pass(text[: len(text) - len(self._held)], spoken)
                break
            self._pass(text[:start], spoken)
            self._inside = tag in _OPENING
            self._after_thought = not self._inside
            text = text[start + len(tag) :]
        return "".join(spoken)

    def finish(self) -> str:
        """What was held back as the possible beginning of a tag, now that nothing follows."""
        held, self._held = self._held, ""
        spoken: list[str] = []
        self._pass(held, spoken)
        return "".join(spoken)

    def _pass(self, text: str, spoken: list[str]) -> None:
        if self._inside:
            self.withheld += len(text)
            return
        if self._after_thought:  # the blank lines between a thought and the answer belong to neither
            text = text.lstrip()
        if text:
            self._after_thought = False
            spoken.append(text)


def _first_tag(text: str, tags: tuple[str, ...]) -> tuple[int, str]:
    """Place and kind of the first whole tag in `text`; `(-1, "")` where there is none."""
    found = [(text.find(tag), tag) for tag in tags if tag in text]
    return min(found, default=(-1, ""))


def _held_from(text: str, tags: tuple[str, ...]) -> int:
    """Where the unfinished tag at the end of `text` begins; `len(text)` where there is none."""
    start = text.rfind("<")
    if start >= 0 and any(tag.startswith(text[start:]) for tag in tags):
        return start
    return len(text)
