"""What to try after a request has failed and nothing of its answer was passed on: the same model again,
another one, or nothing.

Somebody is waiting in silence, so pauses are short: a model that asks for a longer one is left for the next
in the list.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from duologue_pipelines.llm.openai_errors import AttemptFailed

PAUSE_S_MAX: Final = 2.0  # of a backoff of ours; what the endpoint asks for has a bound of its own


@dataclass(frozen=True, slots=True)
class RetryLimits:
    """`retries`: how often one model is asked again. `backoff_s`: the first pause, doubled each time, with
    jitter.

    `retry_after_s_max`: the longest wait that an endpoint may ask for; beyond it the next model is taken, or
    the request fails.
    """

    retries: int = 2
    backoff_s: float = 0.25
    retry_after_s_max: float = 3.0


class RetryPlan:
    """The way through the models for one request.

    `model`: whom to ask now. `notes`: what happened, for the trace.
    """

    def __init__(self, models: Sequence[str], limits: RetryLimits, random: Random) -> None:
        self._models = list(models)
        self._limits = limits
        self._random = random
        self._repeats = 0
        self.notes: list[str] = []
        self.failed_models: list[str] = []

    @property
    def model(self) -> str:
        return self._models[0]

    def after(self, failed: AttemptFailed) -> float:
        """Seconds to wait before asking `model`, which may be another one now.

        Raises the failure's error if nothing is left.
        """
        repeatable = self._repeatable(failed)
        if failed.other_model and len(self._models) > 1 and (failed.prefer_other or not repeatable):
            self.failed_models.append(self._models.pop(0))
            self._repeats = 0
            self.notes.append(f"{failed.error}; asking {self.model or 'the default model'} instead")
            return 0.0
        if not repeatable:
            for note in self.notes:
                failed.error.add_note(f"before that: {note}")
            raise failed.error from failed.__cause__
        pause_s = self._pause_s(failed)
        self._repeats += 1
        self.notes.append(
            f"{failed.error}; asking again after {pause_s:.2f} s ({self._repeats} of {self._limits.retries})"
        )
        return pause_s

    def _repeatable(self, failed: AttemptFailed) -> bool:
        too_long = failed.retry_after_s is not None and failed.retry_after_s > self._limits.retry_after_s_max
        return failed.error.retryable and self._repeats < self._limits.retries and not too_long

    def _pause_s(self, failed: AttemptFailed) -> float:
        backoff_s: float = min(self._limits.backoff_s * 2**self._repeats, PAUSE_S_MAX)
        # Jitter over the upper half keeps many sessions from coming back at the same moment.
        jittered_s = backoff_s * self._random.uniform(0.5, 1.0)
        return max(jittered_s, failed.retry_after_s or 0.0)
