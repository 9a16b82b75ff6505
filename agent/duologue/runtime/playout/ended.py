"""Replies that are over and may still be corrected: a remote player tells late how much of them it played."""

from dataclasses import dataclass
from typing import Final

from duologue.runtime.playout.base import Heard
from duologue.runtime.playout.track import Track

KEPT: Final = 32  # the newest; their text and where it lies, no audio


@dataclass(slots=True)
class Ended:
    """A reply that is over. `count`: samples of it that are taken to have been played.

    `is_sure`: a report said so, so that only more can be true. `is_awaited`: the core waits to be told.
    """

    track: Track
    count: int
    is_sure: bool
    is_awaited: bool = False

    def heard(self, count: int) -> str:
        """The text that `count` samples say, to the word; what a hold repeated is in it once."""
        return self.track.heard(self.track.position(count))


class EndedReplies:
    """The newest `KEPT` of them, by number."""

    def __init__(self) -> None:
        self._kept: dict[int, Ended] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, reply: int) -> Ended | None:
        """Reply `reply`, unless nothing of it was played or it is forgotten."""
        return self._kept.get(reply)

    def keep(self, heard: Heard, *, cut: bool) -> Ended:
        """Remember a reply that was played or cut. One that ended by itself is sure: less of it was not heard."""
        ended = Ended(heard.track, heard.count, is_sure=heard.is_told or not cut)
        self._kept[heard.track.reply] = ended
        for oldest in list(self._kept)[:-KEPT]:
            del self._kept[oldest]
        return ended

    def report(self, reply: int, samples: int) -> tuple[str, str | None]:
        """A report on a reply that is over: what is wrong with it or "", and the text heard if that is news."""
        ended = self._kept.get(reply)
        if ended is None:
            return f"reply {reply} is not played, or too long ago", None
        count = ended.track.within(samples)
        if count is None:
            return f"{samples} samples of reply {reply} can't be played, {ended.track.count} were sent", None
        if ended.is_sure and count < ended.count:
            return f"reply {reply} was played for {ended.count} samples already, not {samples}", None
        is_news = ended.is_awaited or count != ended.count
        ended.count, ended.is_sure = count, True
        return "", ended.heard(count) if is_news else None
