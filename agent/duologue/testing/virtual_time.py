"""The jumping clock, as tests know it. It lives in the runtime, since `duologue talk` runs on it too."""

from duologue.runtime.virtual_time import (
    DeadlockError,
    TasksLeftError,
    TimeLimitError,
    UnhandledError,
    VirtualTimeLoop,
    pass_time,
    run,
)

__all__ = [
    "DeadlockError", "TasksLeftError", "TimeLimitError", "UnhandledError", "VirtualTimeLoop", "pass_time", "run",
]  # fmt: skip
