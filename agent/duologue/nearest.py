"""What somebody probably meant: the nearest right name for a wrong one, for the messages of settings and packs."""

import difflib
from collections.abc import Iterable


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The one of `names` most like `word` (case aside), or None when none is near."""
    by_lower = {name.lower(): name for name in names}
    # 0.6 is difflib's own default: "patince" finds "patience", "colour" finds nothing.
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """A next step: the nearest of `names`, or else what there is (at most twelve of them); empty when there is none."""
    known = sorted(set(names))
    guess = nearest(word, known)
    if guess is not None:
        return f"Did you mean {guess!r}?"
    if not known:
        return ""
    shown = ", ".join(known[:12])
    return f"There are: {shown}" if len(known) <= 12 else f"There are, among others: {shown}"
