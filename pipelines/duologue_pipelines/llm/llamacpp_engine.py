"""One loaded GGUF model and its slots: the only file that knows the package xllamacpp.

llama.cpp's server runs on threads of this process: requests go in as JSON, chunks of the answer come out through a
callback, with no socket between. All answers under way share each step of the model (continuous batching), and what a
slot read before is not read again (its prompt cache).

Each answer takes one thread here, which waits inside the library without the GIL, and one slot. No more answers are
handed in than there are slots, since the library's own queue has no bound and can't be left. A slot is free when its
thread has returned: a step of the model after the answer was closed, `BATCH_TOKENS` of the prompt at most.
"""

import asyncio
import secrets
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from duologue.errors import StageError, StageOverloaded, StageUnavailable
from duologue.registry import install_command
from duologue_pipelines.llm import gguf

BATCH_TOKENS: Final = 64  # of a prompt a step: a long one holds up the others, and its own end, by no more than that
PROMPT_CACHE_MIB: Final = 256  # of prompts that had to leave their slot: some twenty conversations of a small model
WAITING_PER_SLOT: Final = 4  # answers that wait for a slot; more of them would wait longer than anybody listens
SILENT: Final = -1  # verbosity: the library writes to standard error otherwise


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """`threads`: of a step of the model. `context`: tokens of one conversation. `wait_s_max`: for a free slot."""

    threads: int
    context: int
    slots: int
    wait_s_max: float


class LlamaCppEngine:
    """A model in memory. Made by `load`, in a thread; used from one event loop; `close` frees it."""

    def __init__(self, server: Any, options: EngineOptions) -> None:
        self._server = server
        self._options = options
        self._threads = ThreadPoolExecutor(options.slots, thread_name_prefix="llamacpp")
        self._free = asyncio.Semaphore(options.slots)
        self._waiting = 0
        self._closing = threading.Event()
        self.answers_open = 0  # slots that are taken

    @classmethod
    def load(cls, path: Path, options: EngineOptions) -> "LlamaCppEngine":
        """Load the model at `path`; takes a second or many. Raises `StageUnavailable`."""
        try:
            import xllamacpp
        except ImportError as error:
            raise StageUnavailable("llm", f"llamacpp needs xllamacpp ({error})", hint=how_to_install()) from error
        gguf.check_file(path)
        try:
            return cls(xllamacpp.Server(_parameters(xllamacpp.CommonParams(), path, options)), options)
        except RuntimeError as error:  # all that the library says
            raise StageUnavailable(
                "llm",
                f"llama.cpp can't load {path} with {options.slots} × {options.context} tokens of context: the file is "
                "incomplete, of an architecture that this llama.cpp does not know, or the memory does not suffice",
                hint=f"{gguf.pull_again(path)}. Or lower llm.context or llm.slots, or update xllamacpp",
            ) from error

    async def chunks(self, body: str) -> AsyncGenerator[str, None]:
        """The JSON chunks of one answer to the request `body` (JSON, too), which must ask for a stream.

        Closing it stops the answer. Raises `StageOverloaded` where no slot came free, `StageError` where the model
        can't make anything of the request, or was closed.
        """
        if self._closing.is_set():
            raise _closed()
        await self._take_slot()
        answer = _Answer(asyncio.get_running_loop(), self._closing)
        self._threads.submit(answer.make, self._server, body, self._give_back_slot)
        try:
            while (chunk := await answer.queue.get()) is not None:
                yield chunk
            if self._closing.is_set():
                raise _closed()
            if answer.error:
                raise StageError("llm", f"llama.cpp refused the request: {answer.error}", hint=_TEMPLATE_HINT)
        finally:
            answer.stopped.set()

    async def _take_slot(self) -> None:
        slots, seconds = self._options.slots, self._options.wait_s_max
        if self._free.locked() and self._waiting >= WAITING_PER_SLOT * slots:
            raise _overloaded(f"{self._waiting} answers wait for one of {slots} slots")
        self._waiting += 1
        try:
            async with asyncio.timeout(seconds):
                await self._free.acquire()
        except TimeoutError as error:
            raise _overloaded(f"all {slots} slots were busy for {seconds:g} s") from error
        finally:
            self._waiting -= 1
        self.answers_open += 1

    def _give_back_slot(self) -> None:
        self.answers_open -= 1
        self._free.release()

    async def close(self) -> None:
        """Stop all answers, end all threads and free the memory."""
        self._closing.set()
        await asyncio.to_thread(self._free_all)

    def _free_all(self) -> None:
        self._threads.shutdown(wait=True)
        self._server = None  # ends the library's threads


class _Answer:
    """One answer while it is made: a thread writes, the loop reads."""

    def __init__(self, loop: asyncio.AbstractEventLoop, closing: threading.Event) -> None:
        self.queue: asyncio.Queue[str | None] = asyncio.Queue()  # bounded by the request's bound on its output
        self.stopped = threading.Event()
        self.error: Exception | None = None
        self._loop = loop
        self._closing = closing

    def make(self, server: Any, body: str, give_back_slot: Callable[[], None]) -> None:
        """Make it, in a thread; at the end the slot is given back, in the loop."""
        try:
            if not self._is_unwanted:
                server.handle_chat_completions(body, self._take)
        except (ValueError, RuntimeError) as error:  # a template that can't take these messages, and the like
            self.error = error
        finally:
            self._in_loop(self.queue.put_nowait, None)
            self._in_loop(give_back_slot)

    @property
    def _is_unwanted(self) -> bool:
        return self.stopped.is_set() or self._closing.is_set()

    def _take(self, chunk: str) -> bool:
        """A chunk from the library; whether to stop."""
        return self._is_unwanted or not self._in_loop(self.queue.put_nowait, chunk)

    def _in_loop(self, call: Callable[..., None], *args: Any) -> bool:
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:  # the loop is gone, and with it whoever wanted the answer
            return False
        return True


def _parameters(params: Any, path: Path, options: EngineOptions) -> Any:
    """`params` (`xllamacpp.CommonParams`) for the model at `path`."""
    params.model.path = str(path)
    params.model_alias = {path.stem}
    params.n_parallel = options.slots
    params.n_ctx = options.context * options.slots  # shared out among them in equal parts
    params.n_batch = params.n_ubatch = BATCH_TOKENS
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = options.threads
        cpu.poll = 0  # no spinning while nothing is asked: the recogniser and the voice want these cores
    params.cache_ram_mib = PROMPT_CACHE_MIB
    params.fit_params = False  # what the settings say is meant
    params.warmup = False  # reading the pack's instructions ahead does that
    params.verbosity = SILENT
    # The library insists on listening, too: on loopback, with a key that nobody knows, so that nobody else is served.
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], 0, [secrets.token_hex(16)]
    params.n_threads_http, params.ui, params.endpoint_slots = 1, False, False
    return params


_TEMPLATE_HINT: Final = "The model's chat template may not take these messages: choose another model"


def _overloaded(message: str) -> StageOverloaded:
    hint = "Raise llm.slots (each takes memory for its context), lower sessions_max, or take a smaller model"
    return StageOverloaded("llm", message, retryable=True, hint=hint)


def _closed() -> StageError:
    return StageError("llm", "the model was closed", retryable=True, hint="Ask again: it is loaded anew")


def how_to_install() -> str:
    """What to type to get the library."""
    return f"Run `{install_command('llamacpp')}`"
