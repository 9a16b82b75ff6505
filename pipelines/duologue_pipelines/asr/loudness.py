"""Where in a turn something is loud enough to be the speaker, told frame by frame on the loop.

It decides what work is worth doing, never what was said: a decode is spared while nothing loud was added. Where noise
is as loud as the speaker nothing is ever quiet, and everything is decoded.
"""

from typing import Final

import numpy as np

from duologue.audio import Frame

_BELOW_LOUDEST: Final = 10 ** (-30 / 20)  # soft consonants lie some 25 dB below a speaker's vowels
_SOUND_RMS: Final = 8.0  # of 32768, about -72 dB: below this there is no sound at all


class LoudnessTrack:
    """The loudness of one turn. `loud_end`: index within the turn just past the last loud frame."""

    def __init__(self) -> None:
        self.loud_end = 0
        self._loudest = 0.0

    def push_frame(self, frame: Frame, end: int) -> None:
        """Take `frame`, which ends at sample `end` of the turn."""
        samples = frame.samples.astype(np.float32)
        rms = float(samples.std())  # about its mean: a constant shift is no sound
        self._loudest = max(self._loudest, rms)
        if rms >= max(_SOUND_RMS, self._loudest * _BELOW_LOUDEST):
            self.loud_end = end
