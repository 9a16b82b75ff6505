"""A synthesiser's own threads: models block, and raise what they like."""

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from duologue.errors import ConfigurationError, StageError

T = TypeVar("T")


class ModelThreads:
    """`count` threads of the synthesiser `name`."""

    def __init__(self, name: str, count: int) -> None:
        self._name = name
        self._executor = ThreadPoolExecutor(count, thread_name_prefix=name)

    async def run(self, work: Callable[..., T], *args: object) -> T:
        """`work(*args)` in one of them. What it raises that is none of ours comes as `StageError`."""
        call = functools.partial(self._failing_as_stage, work, *args)
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    def close(self) -> None:
        """Let the threads go; what waits for one is dropped."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _failing_as_stage(self, work: Callable[..., T], *args: object) -> T:
        try:
            return work(*args)
        except (StageError, ConfigurationError):
            raise
        # onnxruntime's errors derive straight from Exception; whatever a run raises is a failed stage to the session.
        except Exception as error:
            raise StageError("tts", f"{self._name} failed ({error!r})", retryable=True) from error
