"""A caller who listens: each 20 ms it hears what the agent was saying and decides what to do with its own mouth.

It lives on sample counts alone, no clock and no events, and knows of the agent only what a person on the line would
know: whether it is heard. So it can sit behind any transport, and its marks tell afterwards, to the frame, what was
said when and why.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from duologue.audio import FRAME_SAMPLES, FRAME_SECONDS, INPUT_RATE_HZ, SILENCE, Samples, level_dbfs
from duologue.measure import OFF_DBFS, Mark
from duologue_pipelines.transports.caller_script import Utterance

BREATH_S: Final = 0.45  # an agent that pauses no longer than this, between two clauses, is still speaking


class ReactiveCaller:
    """Speaks `utterances` one after the other, each when its time has come.

    After the last one it hangs up when the agent has answered and been silent for `hang_up_s`, or has not begun to
    within `patience_s`. `marks` grows as utterances begin.
    """

    def __init__(self, utterances: Sequence[Utterance], *, hang_up_s: float = 1.5, patience_s: float = 20.0) -> None:
        self.marks: list[Mark] = []
        self._utterances = list(utterances)
        self._hang_up_s = hang_up_s
        self._patience_s = patience_s
        self._frames = 0
        self._saying: Samples = np.zeros(0, dtype=np.int16)
        self._waited = 0  # frames since the last step's end
        self._heard = 0  # frames in which the agent was audible since then
        self._quiet = 0  # frames since the agent was last audible

    @property
    def now(self) -> float:
        """Seconds of its own audio so far."""
        return self._frames * FRAME_SECONDS

    def next_frame(self, agent: Samples) -> bytes | None:
        """Its next 20 ms (640 bytes), or None when it hangs up. `agent`: what it heard in the 20 ms before."""
        self._listen(agent)
        if len(self._saying) == 0:
            if self._is_over():
                return None
            self._begin_if_due()
        frame, self._saying = self._saying[:FRAME_SAMPLES], self._saying[FRAME_SAMPLES:]
        self._frames += 1
        if len(frame) == 0:
            self._waited += 1
            return SILENCE
        self._waited = self._heard = 0
        return frame.astype("<i2").tobytes().ljust(len(SILENCE), b"\0")

    def _listen(self, agent: Samples) -> None:
        if level_dbfs(agent) >= OFF_DBFS:
            self._heard += 1
            self._quiet = 0
        else:
            self._quiet += 1

    def _is_over(self) -> bool:
        if len(self.marks) < len(self._utterances):
            return False
        return self._agent_is_done(self._hang_up_s) or self._is_out_of_patience(self._patience_s)

    def _begin_if_due(self) -> None:
        if len(self.marks) == len(self._utterances):
            return
        utterance = self._utterances[len(self.marks)]
        due = self._is_due(utterance)
        if not due and (utterance.when == "at" or not self._is_out_of_patience(utterance.patience_s)):
            return
        end = self.now + len(utterance.samples) / INPUT_RATE_HZ
        self.marks.append(Mark(utterance.kind, self.now, end, utterance.text, missed=not due))
        self._saying = utterance.samples

    def _is_due(self, utterance: Utterance) -> bool:
        if utterance.when == "then":
            return self._waited * FRAME_SECONDS >= utterance.delay_s
        if utterance.when == "at":
            return self.now >= utterance.at_s - FRAME_SECONDS / 2
        if utterance.when == "agent_done":
            return self._agent_is_done(utterance.delay_s)
        return self._quiet * FRAME_SECONDS < BREATH_S and self._heard * FRAME_SECONDS >= max(
            utterance.delay_s, FRAME_SECONDS
        )

    def _agent_is_done(self, silence_s: float) -> bool:
        return self._heard > 0 and self._quiet * FRAME_SECONDS >= silence_s

    def _is_out_of_patience(self, patience_s: float) -> bool:
        """Nothing was heard of the agent for `patience_s`, since the last step or since it fell silent."""
        return min(self._waited, self._quiet) * FRAME_SECONDS >= patience_s
