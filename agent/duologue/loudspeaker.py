"""FLOOR 1: what a listener hears of frames that were sent, by sample count and without a clock.

A frame sent at sample t is heard from t, or from the end of the frame before, whichever is later; what is taken back
are exactly the samples that were not heard by then. Transports that play out in sight (in memory, to a file) hear with
it. It has no rate of its own: everybody passes `now`, counted in samples at the rate of what is sent; it never
decreases.
"""

from collections import deque
from collections.abc import Iterator

import numpy as np

from duologue.audio import Samples


class Loudspeaker:
    """`record`: keep all that was heard (two bytes a sample); otherwise only the last of it, for `window`."""

    def __init__(self, *, record: bool = True) -> None:
        self._queue = deque[tuple[int, bytes]]()  # (first sample, pcm), not wholly heard yet
        self._heard = deque[tuple[int, bytes]](maxlen=None if record else 8)
        self._record = record
        self._end = 0
        self._heard_samples = 0

    def send(self, pcm: bytes, now: int) -> None:
        """Hear `pcm` (mono int16) as soon as what was sent before is over."""
        self._settle(now)
        start = max(now, self._end)
        self._queue.append((start, pcm))
        self._end = start + len(pcm) // 2

    def take_back(self, now: int) -> bytes:
        """What was not heard by `now`, and now never will be."""
        self._settle(now)
        waiting, self._queue = self._queue, deque()
        taken = bytearray()
        for start, pcm in waiting:
            heard = max(0, now - start)
            if heard:
                self._hear(start, pcm[: heard * 2])
            taken += pcm[heard * 2 :]
        self._end = min(self._end, now)
        return bytes(taken)

    def unplayed(self, now: int) -> int:
        """Samples sent and not heard by `now`."""
        return max(0, self._end - now)

    def played(self, now: int) -> int:
        """Samples heard by `now`, all together."""
        self._settle(now)
        return self._heard_samples + (max(0, now - self._queue[0][0]) if self._queue else 0)

    def pieces(self, now: int) -> Iterator[tuple[int, bytes]]:
        """What was heard by `now`: (first sample, pcm), in order. Without `record` only the last of it."""
        self._settle(now)
        yield from self._heard
        yield from ((start, pcm[: (now - start) * 2]) for start, pcm in self._queue if start < now)

    def window(self, start: int, end: int) -> Samples:
        """int16 of shape (end - start,): what was heard from sample `start` to `end`, no later than now."""
        self._settle(end)
        samples = np.zeros(end - start, dtype=np.int16)
        for heard in (self._queue, self._heard):
            for at, pcm in reversed(heard):
                if at + len(pcm) // 2 <= start:
                    return samples
                first, last = max(at, start), min(at + len(pcm) // 2, end)
                if first < last:
                    samples[first - start : last - start] = np.frombuffer(pcm, dtype="<i2")[first - at : last - at]
        return samples

    def channel(self, now: int) -> Samples:
        """int16 of shape (n,), sample 0 being second 0: all that was heard by `now`. Needs `record`."""
        pieces = list(self.pieces(now))
        samples = np.zeros(max((at + len(pcm) // 2 for at, pcm in pieces), default=0), dtype=np.int16)
        for at, pcm in pieces:
            samples[at : at + len(pcm) // 2] = np.frombuffer(pcm, dtype="<i2")
        return samples

    def _settle(self, now: int) -> None:
        while self._queue and self._queue[0][0] + len(self._queue[0][1]) // 2 <= now:
            self._hear(*self._queue.popleft())

    def _hear(self, start: int, pcm: bytes) -> None:
        self._heard_samples += len(pcm) // 2
        self._heard.append((start, pcm))
