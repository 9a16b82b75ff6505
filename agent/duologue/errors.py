"""Every error that Duologue raises, and what the person who meets it can do next.

    DuologueError
    ├── ConfigurationError     your settings: the message names the key and the nearest right one
    ├── PackError              your prompt pack: file and line
    ├── AudioError             an audio file or buffer that can't be read
    ├── StageError             a model or service: which stage, and whether trying again may help
    │   ├── StageUnavailable   it is not there: not installed, no model, nothing answers
    │   ├── StageOverloaded    it has more work than its bound allows
    │   └── StageTimeout       it answered too late
    ├── TransportError         the remote side hung up or sent what it must not send
    ├── ProtocolError          the caller used the engine out of order: the core's table lacks the step
    └── InternalError          ours; please report it with the trace

A message says what was found, what was expected and what to do; `hint`, where there is one, is the next step alone.
"""


class DuologueError(Exception):
    """Root of the tree. `hint` is the next step, in the imperative, or empty."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        stop = "" if message.endswith((".", "!", "?", "…")) else "."  # what a server said may end with its own
        return f"{message}{stop} {self.hint}" if self.hint else message


class ConfigurationError(DuologueError):
    """A setting is wrong or missing: fix it and start again."""


class PackError(DuologueError):
    """A prompt pack can't be read. `path` and `line` (1-based; 0 where no line is to blame) say where."""

    def __init__(self, path: str, line: int, message: str, *, hint: str = "") -> None:
        where = f"{path}:{line}" if line else path
        super().__init__(f"{where}: {message}", hint=hint)
        self.path = path
        self.line = line


class AudioError(DuologueError):
    """An audio file or buffer is broken, empty or of a kind that can't be read."""


class StageError(DuologueError):
    """A stage (`"vad"`, `"asr"`, `"llm"`, `"tts"`) failed. `retryable`: the same request may succeed if sent again."""

    def __init__(self, stage: str, message: str, *, retryable: bool = False, hint: str = "") -> None:
        super().__init__(f"{stage}: {message}", hint=hint)
        self.stage = stage
        self.retryable = retryable


class StageUnavailable(StageError):
    """The stage is not there: the package, the model or the endpoint is missing."""


class StageOverloaded(StageError):
    """The stage's queue is at its bound."""


class StageTimeout(StageError):
    """The stage did not answer in the time allowed."""


class TransportError(DuologueError):
    """The remote side's fault: it hung up, went silent or sent what can't be understood."""


class ProtocolError(DuologueError):
    """An event came in a phase that has no transition for it. Nothing was changed."""


class InternalError(DuologueError):
    """A promise of ours broke. Report it with the trace."""
