"""How long each stage took for its part of a reply: told, and noted in the trace where that made the answer late."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from duologue.runtime.session_setup import StepTook
from duologue.runtime.shell import Shell

STEP_S_MAX: Final = 1.0  # beyond it a caller wonders whether anybody is there
STEPS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {"llm_first_token": ("llm", "first token"), "tts_first_audio": ("tts", "first audio")}
)


def step_named(step: str) -> str:
    """`llm_first_token` as "LLM first token"."""
    stage, words = STEPS.get(step, ("", step.replace("_", " ")))
    return f"{stage.upper()} {words}".strip()


def teller(shell: Shell) -> Callable[[int, str, float], None]:
    """`reply, step, seconds` → told to whoever watches, and noted where it was long."""

    def tell(reply: int, step: str, seconds: float) -> None:
        shell.tell(StepTook(shell.now(), reply, step, seconds))
        if seconds > STEP_S_MAX:
            shell.note("late", f"reply {reply}: {step_named(step)} {seconds:.1f} s")

    return tell
