"""Keeps half characters out of texts.

JSON can spell a character beyond the sixteen-bit ones as two halves (`\\ud83d\\ude00`), and a server that cuts its
answer anywhere sends the halves in two deltas. A half alone can't be written as UTF-8: whatever takes it further, a
log or the next request, would fail on it.
"""

from typing import Any, Final

REPLACEMENT: Final = "\ufffd"


class SurrogateJoiner:
    """Text deltas in, whole characters out: a first half at the end of a delta waits for the next one."""

    def __init__(self) -> None:
        self._held = ""

    def add_text(self, delta: str) -> str:
        """The whole characters so far; a half that nothing completes is U+FFFD."""
        if not delta:
            return ""
        text = self._held + delta
        self._held = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
        return whole_characters(text[:-1] if self._held else text)

    def finish(self) -> str:
        """U+FFFD for the half that nothing followed, if there is one."""
        held, self._held = self._held, ""
        return REPLACEMENT if held else ""


def whole_characters(text: str) -> str:
    """`text` with halves that stand side by side joined, and any other replaced by U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def with_whole_characters(value: Any) -> Any:
    """JSON-able `value` with `whole_characters` in all of its texts and keys."""
    if isinstance(value, str):
        return whole_characters(value)
    if isinstance(value, dict):
        return {with_whole_characters(key): with_whole_characters(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [with_whole_characters(item) for item in value]
    return value
