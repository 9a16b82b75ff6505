"""Which phonemes of a sentence belong to which word, where the phonemiser fuses words ("of the" is "ɾəvðə").

Each word is phonemised once more alone, and the string of those is laid beside the sentence's own; where they differ,
borders are put in proportion.
"""

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Final

_NO_SOUND: Final = frozenset("ˈˌ .,!?:;…—-'\"()[]¿¡«»")


def word_spans(sentence: Sequence[str], words: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
    """Spans of `sentence` (phonemes) that the `words` (the phonemes of each, said alone) take, in order, end exclusive.

    Stress marks, spaces and punctuation are left out of the comparison and out of the ends of the spans. A word that
    the sentence swallowed gets an empty span.
    """
    places = [index for index, phoneme in enumerate(sentence) if phoneme not in _NO_SOUND]
    spoken = [sentence[index] for index in places]
    alone = [[phoneme for phoneme in word if phoneme not in _NO_SOUND] for word in words]
    matcher = SequenceMatcher(None, [phoneme for word in alone for phoneme in word], spoken, autojunk=False)
    blocks = matcher.get_opcodes()
    spans: list[tuple[int, int]] = []
    position = border = 0
    for word in alone:
        position += len(word)
        start, border = border, max(border, _border(position, blocks, len(spoken)))
        spans.append((places[start], places[border - 1] + 1) if border > start else _empty(start, places))
    return spans


def _empty(start: int, places: Sequence[int]) -> tuple[int, int]:
    if not places:
        return 0, 0
    at = places[start] if start < len(places) else places[-1] + 1
    return at, at


def _border(position: int, blocks: Sequence[tuple[str, int, int, int, int]], end: int) -> int:
    """Where `position` among the words' phonemes lies among the sentence's."""
    for _, own_start, own_end, start, stop in blocks:
        if own_start < position <= own_end:
            return start + round((position - own_start) / (own_end - own_start) * (stop - start))
    return 0 if position == 0 else end
