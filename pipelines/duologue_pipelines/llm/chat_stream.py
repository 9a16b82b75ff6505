"""One open answer of a chat-completions endpoint: bytes to items, under two time-outs, with every fault told
apart.

A server may die, stall or talk nonsense at any byte. What came before the fault is passed on first; then the
fault is raised: as `AttemptFailed` while nothing was passed on (the adapter may try again), as a retryable
`StageError` afterwards.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, NoReturn

from duologue.errors import StageError
from duologue.ports import LlmFinished, LlmItem
from duologue_pipelines.llm import openai_errors
from duologue_pipelines.llm.chat_wire import ChunkReader, StreamFault
from duologue_pipelines.llm.openai_errors import AttemptFailed, Endpoint
from duologue_pipelines.llm.sse import MalformedStream, SseDecoder

AFTER_FINISH_S: Final = 0.5  # for usage and [DONE] once the model has finished: the last chunk of speech waits for it
DRAIN_S: Final = 0.05  # for the last bytes of the body: with them the connection can be used again


@dataclass(frozen=True, slots=True)
class TokenTimeouts:
    """`first_token_s`:

    from the request to the first token, be it of a thought. `stall_s`: from one token to the next.
    """

    first_token_s: float
    stall_s: float


class ChatStream:
    """The body of one response. Call `read` until `finished`."""

    def __init__(
        self,
        body: AsyncIterator[bytes],
        reader: ChunkReader,
        endpoint: Endpoint,
        timeouts: TokenTimeouts,
        first_token_deadline: float,
    ) -> None:
        self._body = body
        self._reader = reader
        self._endpoint = endpoint
        self._timeouts = timeouts
        self._deadline = first_token_deadline
        self._decoder = SseDecoder()
        self._events = 0
        self._begun = False
        self._failure: AttemptFailed | StageError | None = None
        self._notes: list[str] = []
        self.finished = False

    async def read(self) -> list[LlmItem]:
        """The next items, perhaps none; `LlmFinished` is the last one of all."""
        if self._failure:
            raise self._failure
        received = await self._receive()
        items: list[LlmItem] = []
        try:
            events = self._decoder.finish() if received is None else self._decoder.add_bytes(received)
            for data in events:
                self._events += 1
                items += self._reader.read_event(data)
                if self._reader.done:
                    break
            if self._reader.done or received is None:
                items += await self._end()
        except (MalformedStream, StreamFault) as fault:
            return self._after(items, self._translated(fault), fault)
        except (AttemptFailed, StageError) as failure:
            return self._after(items, failure, failure.__cause__)
        if events:
            self._await_next_token()
        self._begun = self._begun or bool(items)
        return items

    async def _receive(self) -> bytes | None:
        """Some more of the body, or None at its end.

        An end after the model's finish is an end, however it comes about.
        """
        try:
            async with asyncio.timeout_at(self._deadline):
                return await anext(self._body, None)
        except TimeoutError as error:
            if self._finish_is_known("the endpoint kept the stream open after the finish"):
                return None
            self._raise_late(error)
        except Exception as error:  # what a broken line raises depends on the client's version (httpx, httpx2, its own)
            if self._finish_is_known("the line broke after the finish"):
                return None
            why = f"{type(error).__name__} {error.__cause__ or error}"
            raise self._broken(why) from error

    def _finish_is_known(self, note: str) -> bool:
        if self._reader.reason:
            self._notes.append(note)
        return bool(self._reader.reason)

    def _raise_late(self, cause: TimeoutError) -> NoReturn:
        if self._begun:
            raise openai_errors.stalled_stream(self._endpoint, self._timeouts.stall_s) from cause
        seconds = self._timeouts.stall_s if self._reader.alive else self._timeouts.first_token_s
        raise openai_errors.timeout_failure(self._endpoint, seconds) from cause

    def _broken(self, why: str) -> AttemptFailed | StageError:
        if self._begun:
            return openai_errors.broken_stream(self._endpoint, why)
        return openai_errors.connection_failure(self._endpoint, ConnectionError(why))

    def _translated(self, fault: MalformedStream | StreamFault) -> AttemptFailed | StageError:
        if self._begun:
            return openai_errors.broken_stream(self._endpoint, str(fault))
        if isinstance(fault, StreamFault):
            return openai_errors.reported_failure(self._endpoint, fault)
        return openai_errors.garbage_failure(self._endpoint, str(fault), retryable=True)

    def _after(
        self, items: list[LlmItem], failure: AttemptFailed | StageError, cause: BaseException | None
    ) -> list[LlmItem]:
        """Pass on what came before the failure, and fail at the next `read`; fail now if nothing came."""
        if not items:
            raise failure from cause
        self._begun = True
        if isinstance(failure, AttemptFailed):
            failure = openai_errors.broken_stream(self._endpoint, str(failure.error))
        failure.__cause__ = cause
        self._failure = failure
        return items

    def _await_next_token(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._reader.reason:
            self._deadline = now + AFTER_FINISH_S
        elif self._reader.alive:
            self._deadline = now + self._timeouts.stall_s

    async def _end(self) -> list[LlmItem]:
        """The last items; raises if the body ended without the model having finished."""
        if not self._reader.done and not self._reader.reason:
            if not self._events:
                found = self._decoder.foreign or b"an empty body"
                raise openai_errors.garbage_failure(self._endpoint, self._endpoint.quote(found), retryable=False)
            raise self._broken("the stream ended before the model had finished")
        items = self._reader.finish()
        await self._drain()
        if self._reader.thought_chars:
            self._notes.append(f"{self._reader.thought_chars} characters of reasoning were not passed on")
        if not self._reader.alive:
            self._notes.append("the model said nothing")
        self.finished = True
        return [*items, LlmFinished(self._reader.reason or "stop", tuple(self._notes))]

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(DRAIN_S):
                while await anext(self._body, None) is not None:
                    pass
        except Exception:  # the answer is complete: all that can be lost here is the connection, and that is replaced
            return
