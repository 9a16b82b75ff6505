"""What a session costs: tokens, audio seconds, CPU seconds; and how long each stage took, turn by turn."""

import time
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from duologue.ports.llm import Usage

TIMINGS_KEPT: Final = 500  # of each stage; older ones give way


def percentile(values: list[float], share: float) -> float | None:
    """The `share` quantile (0..1) of `values` by nearest rank; None without values."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else None


@dataclass(slots=True)
class Meter:
    """Counts of one session. Seconds unless the name says otherwise.

    `stages`: stage name → its newest timings: `asr_final` (asked for → there), `llm_first_token`, `tts_first_audio`,
    `response` (endpoint decided → first frame sent).
    """

    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    requests: int = 0
    wasted_output_chars: int = 0
    replies: int = 0
    speculative: int = 0
    speculative_used: int = 0
    user_audio_s: float = 0.0
    agent_audio_s: float = 0.0
    synthesised_s: float = 0.0
    models: dict[str, int] = field(default_factory=dict)
    stages: dict[str, list[float]] = field(default_factory=dict)
    cpu_started_s: float = field(default_factory=time.process_time)

    def usage(self, usage: Usage) -> None:
        """Add what an endpoint counted."""
        self.input_tokens += usage.input
        self.cached_input_tokens += usage.cached_input
        self.output_tokens += usage.output
        if usage.model in self.models or len(self.models) < 32:
            self.models[usage.model] = self.models.get(usage.model, 0) + usage.input + usage.output

    def timing(self, stage: str, seconds: float) -> None:
        """Remember how long `stage` took this time."""
        kept = self.stages.setdefault(stage, [])
        kept.append(seconds)
        if len(kept) > TIMINGS_KEPT:
            del kept[0]

    def report(self) -> dict[str, Any]:
        """All counts as JSON-able data; timings in milliseconds with median and p95. CPU is the whole process's."""
        return {
            "tokens": {
                "input": self.input_tokens,
                "cached_input": self.cached_input_tokens,
                "output": self.output_tokens,
                "by_model": dict(self.models),
            },
            "requests": self.requests,
            "replies": self.replies,
            "speculative_replies": {"begun": self.speculative, "used": self.speculative_used},
            "audio_seconds": {
                "user": round(self.user_audio_s, 3),
                "agent": round(self.agent_audio_s, 3),
                "synthesised": round(self.synthesised_s, 3),
            },
            "cpu_seconds": round(time.process_time() - self.cpu_started_s, 3),
            "stages_ms": {
                stage: {
                    "count": len(timings),
                    "median": round(1000 * median(timings), 1),
                    "p95": round(1000 * (percentile(timings, 0.95) or 0.0), 1),
                }
                for stage, timings in sorted(self.stages.items())
            },
        }
