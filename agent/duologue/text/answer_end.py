"""Where an answer ends although its model goes on writing.

A model ends its answer with a token that is no text. Behind a wrong chat template it writes that token out, and what
follows is no answer any more but the next turns of a conversation that it makes up. Others repeat themselves: a
character, a few words, a sentence, for as long as they are allowed to. Nobody should hear any of that.

It works on a stream, and the result does not depend on how the text was split: only what may be the beginning of a
token is withheld. Text that merely says something twice, laughs, or has a refrain, goes through.
"""

import re
from collections import deque
from typing import Final

from duologue.core.words import is_cjk, split_words

_ENDS: Final = (
    "<|im_end|>", "<|im_start|>", "<|endoftext|>", "<|end_of_text|>", "<|end_of_turn|>", "<|start_header_id|>",
    "<|end|>", "<|eot_id|>", "<|eom_id|>", "<|eot|>", "<|return|>", "<|user|>", "<|assistant|>", "<|system|>",
    "<end_of_turn>", "<start_of_turn>", "<turn|>", "<|turn>", "<eos>", "</s>", "[INST]", "[/INST]",
    "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>",
)  # fmt: skip
_STRUCK_OUT: Final = "<s>"  # an HTML tag whose end looks like a token
# What a model that has no template writes next: the user's turn, which is not its to write.
_LABELS: Final = ("\nUser:", "\nHuman:", "\n### Instruction:", "\n### User:", "\n### Human:")
_MARKS: Final = tuple(sorted((*_ENDS, *_LABELS), key=len, reverse=True))
_FIRST: Final = re.compile("|".join(re.escape(mark) for mark in _MARKS))
_BEGINNINGS: Final = frozenset(mark[:length] for mark in _MARKS for length in range(1, len(mark)))
_MARK_CHARS_MAX: Final = len(_MARKS[0])

TAIL_CHARS: Final = 600  # looked at for repetition: three sentences of 200 characters
UNIT_CHARS_MAX: Final = 200  # of what is repeated
REPEATED_CHARS_MIN: Final = 60  # of all repetitions together: ten "ha", four seconds of speech, is laughing
REPEATED_CHARS_MIN_CJK: Final = 24  # a character is a word
LONG_UNIT_REPEATS: Final = 3  # of a sentence without anything between
SHORT_UNIT_REPEATS: Final = 4
LONG_UNIT_CHARS: Final = 40
LOOK_EVERY_CHARS: Final = 16  # a look costs a tenth of a millisecond
SENTENCES_KEPT: Final = 8
SAME_SENTENCES: Final = 4  # of those kept: said again and again with something between
SENTENCE_WORDS_MIN: Final = 4
_SENTENCE_ENDS: Final = frozenset(".!?。！？\n")
_SHOWN_CHARS: Final = 40


class AnswerEnd:
    """Passes on one answer up to its end. `reason`: why it ended before its model did, a sentence; else empty."""

    def __init__(self) -> None:
        self.reason = ""
        self._held = ""
        self._struck_out = 0
        self._tail = ""
        self._unlooked = 0
        self._sentence = ""
        self._sentences: deque[str] = deque(maxlen=SENTENCES_KEPT)

    def push_text(self, delta: str) -> str:
        """Take some more text; what of it belongs to the answer and is certain. Nothing once `reason` is set."""
        if self.reason:
            return ""
        text, self._held = self._held + delta, ""
        start = 0
        while found := _FIRST.search(text, start):
            self._struck_out += text.count(_STRUCK_OUT, start, found.start())
            if found[0] != "</s>" or not self._struck_out:
                passed = self._watched(text[: found.start()])
                self.reason = self.reason or f"the model wrote {found[0].strip()!r}, which ends its answer"
                return passed
            self._struck_out -= 1
            start = found.end()
        self._held = _withheld(text)
        passed = text[: len(text) - len(self._held)]
        self._struck_out += passed.count(_STRUCK_OUT, start)
        return self._watched(passed)

    def flush(self) -> str:
        """No more comes: what was withheld is text after all."""
        held, self._held = self._held, ""
        return "" if self.reason else held

    def _watched(self, text: str) -> str:
        """`text`, up to where the model is seen to repeat itself; character by character, however it comes."""
        for at, char in enumerate(text, start=1):
            self._tail = (self._tail + char)[-TAIL_CHARS:]
            self._unlooked = (self._unlooked + 1) % LOOK_EVERY_CHARS
            repeated = "" if self._unlooked else repetition(self._tail)
            if char in _SENTENCE_ENDS:
                repeated = repeated or self._end_sentence()
            else:
                self._sentence = (self._sentence + char)[-TAIL_CHARS:]
            if repeated:
                self.reason = f"the model repeats itself: {repeated[:_SHOWN_CHARS]!r}"
                return text[:at]
        return text

    def _end_sentence(self) -> str:
        """A sentence ended: it, if it was said too often lately."""
        sentence, self._sentence = self._sentence.strip(), ""
        words = split_words("".join(char if char.isalnum() else " " for char in sentence.lower()))
        if len(words) < SENTENCE_WORDS_MIN:
            return ""
        same = " ".join(words)
        self._sentences.append(same)
        return sentence if self._sentences.count(same) >= SAME_SENTENCES else ""


def _withheld(text: str) -> str:
    """The end of `text` that may be the beginning of a mark."""
    for length in range(min(_MARK_CHARS_MAX - 1, len(text)), 0, -1):
        if text[-length:] in _BEGINNINGS:
            return text[-length:]
    return ""


def repetition(text: str) -> str:
    """What the end of `text` repeats over and over, or nothing.

    A unit of up to `UNIT_CHARS_MAX` characters counts if it stands there four times (a sentence: three) without
    anything between, over at least `REPEATED_CHARS_MIN` characters. White space and rules of lines count as nothing.
    """
    end, last = text[-1:], text[-12:]
    enough = REPEATED_CHARS_MIN_CJK if 2 * sum(map(is_cjk, last)) > len(last) else REPEATED_CHARS_MIN
    place = len(text) - 1
    while (place := text.rfind(end, max(0, len(text) - 1 - UNIT_CHARS_MAX), place)) >= 0 and end:
        period = len(text) - 1 - place
        repeats = LONG_UNIT_REPEATS if period >= LONG_UNIT_CHARS else SHORT_UNIT_REPEATS
        length = max(enough, repeats * period)
        if len(text) >= length and text[-length:-period] == text[-length + period :]:
            unit = text[-period:]
            if any(char.isalnum() for char in unit):
                return unit.strip()
            return ""
    return ""
