"""`openai`: any endpoint that speaks OpenAI's chat-completions protocol, through the official client.

Decides whom to ask, what to ask in the endpoint's dialect, and what to try when that fails. It knows nothing
of turns or speech. The client's own retries are off: it can't know that a person is waiting in silence, nor
that another model would do. The client is imported on `warm_up`, in a thread (about a second on a slow
machine), never with this module.
"""

import asyncio
import importlib
import importlib.util
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import KW_ONLY, dataclass, field, replace
from email.utils import parsedate_to_datetime
from random import Random
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from duologue.errors import ConfigurationError, StageUnavailable
from duologue.ports import LlmFinished, LlmItem, LlmRequest
from duologue_pipelines.llm import openai_errors
from duologue_pipelines.llm.access import address_fault, key_fault, late_hint
from duologue_pipelines.llm.chat_stream import ChatStream, TokenTimeouts
from duologue_pipelines.llm.chat_wire import ChunkReader, Dialect, request_body
from duologue_pipelines.llm.openai_errors import AttemptFailed, Endpoint
from duologue_pipelines.llm.retry_plan import RetryLimits, RetryPlan

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

OPENAI_BASE_URL: Final = "https://api.openai.com/v1"
OPENAI_MODEL: Final = "gpt-4.1-mini"  # answers at once: a model that reasons first leaves the caller in silence
MODEL_REST_S: Final = 30.0  # how long a model that failed is asked last, so that not every turn pays for its time-out
LOCAL_KEY: Final = "no-key"  # the client insists on one; local servers ignore it
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_REFUSED: Final = (400, 422)
_NOT_FOR_CHAT: Final = ("embed", "rerank", "whisper", "tts", "moderation", "image")


@dataclass(eq=False)
class OpenAiLlm:
    """A language model behind a chat-completions endpoint; one object and one pool of connections for all
    sessions.

    `model`: empty for OpenAI's default there, the first model that the endpoint lists elsewhere.
    `models_fallback`: asked in turn when it fails. `base_url`, `api_key`: else from OPENAI_BASE_URL and
    OPENAI_API_KEY. `temperature`: the endpoint's own if None. `output_tokens_max`: 1024 is five minutes of
    speech and stops a model that has run wild. `first_token_timeout_s` a try. `extra_body`: fields added to
    every request. `thinks_first`: the chat template opens the `<think>` itself. Raises `ConfigurationError`
    for values out of range.
    """

    model: str = ""
    _: KW_ONLY
    models_fallback: Sequence[str] = ()
    base_url: str = ""
    api_key: str = field(default="", repr=False)
    temperature: float | None = None
    output_tokens_max: int | None = 1024
    first_token_timeout_s: float = 10.0
    stall_timeout_s: float = 10.0
    retries: int = 2
    backoff_s: float = 0.25
    retry_after_s_max: float = 3.0
    extra_body: dict[str, Any] = field(default_factory=dict)
    thinks_first: bool = False
    _client: "AsyncOpenAI | None" = field(default=None, init=False, repr=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False, repr=False)
    _dialects: dict[str, Dialect] = field(default_factory=dict, init=False, repr=False)
    _rest_until: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    _random: Random = field(default_factory=Random, init=False, repr=False)

    def __post_init__(self) -> None:
        self.base_url = (self.base_url or os.environ.get("OPENAI_BASE_URL", "") or OPENAI_BASE_URL).rstrip("/")
        self.api_key = (self.api_key or os.environ.get("OPENAI_API_KEY", "")).strip()  # files of keys end in a line end
        if isinstance(self.models_fallback, str):
            raise ConfigurationError(
                f"llm.models_fallback must be a list of names, got {self.models_fallback!r}",
                hint=f'Write models_fallback = ["{self.models_fallback}"]',
            )
        if fault := address_fault(self.base_url):
            raise ConfigurationError(f"llm.base_url {fault}", hint="Write it like http://127.0.0.1:11434/v1")
        if fault := key_fault(self.api_key):
            hint = "Copy the key again into OPENAI_API_KEY or DUOLOGUE_LLM__API_KEY"
            raise ConfigurationError(f"llm.api_key {fault}", hint=hint)
        for name in ("first_token_timeout_s", "stall_timeout_s", "output_tokens_max"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigurationError(f"llm.{name} must be greater than 0, got {value}")
        for name in ("retries", "backoff_s", "retry_after_s_max"):
            if not getattr(self, name) >= 0:
                raise ConfigurationError(f"llm.{name} must be 0 or more, got {getattr(self, name)}")
        if not self.model and self._is_openai:
            self.model = OPENAI_MODEL

    @property
    def name(self) -> str:
        return "openai"

    @property
    def is_language_model(self) -> bool:
        return True

    @property
    def _is_openai(self) -> bool:
        host = urlsplit(self.base_url).hostname or ""
        return host == "openai.com" or host.endswith(".openai.com")

    @classmethod
    def probe(cls) -> str:
        if importlib.util.find_spec("openai") is None:
            return "the package openai is not installed: pip install openai"
        if not os.environ.get("OPENAI_API_KEY") and not os.environ.get("OPENAI_BASE_URL"):
            return "neither OPENAI_API_KEY nor OPENAI_BASE_URL is set"
        return ""

    async def warm_up(self) -> None:
        """Import the client, open a connection, check the key, and ask which models there are if none is named.

        An endpoint without a list of models is taken as it is: the connection is open all the same.
        """
        client = await self._ready()
        try:
            async with asyncio.timeout(self.first_token_timeout_s):
                page = await client.models.list()
        except TimeoutError as error:
            message = f"{self.base_url} did not answer within {self.first_token_timeout_s:g} s"
            raise StageUnavailable("llm", message, retryable=True, hint=late_hint(self.base_url)) from error
        except Exception as error:  # the client trips in many ways over a page that is no list: told apart below
            self._raise_if_unusable(error)
            return
        fit = chat_models([entry.id for entry in getattr(page, "data", None) or ()])
        self.model = self.model or next(iter(fit), "")  # empty: the endpoint takes its default

    def _raise_if_unusable(self, error: Exception) -> None:
        """An endpoint without a list of models may do; one without connection, or that refuses the key, won't."""
        openai = importlib.import_module("openai")
        endpoint = self._endpoint(self.model)
        if isinstance(error, openai.APIStatusError):
            if error.status_code in (401, 403):
                raise _status_failure(endpoint, error).error from error
        elif isinstance(error, openai.APIConnectionError):
            raise openai_errors.connection_failure(endpoint, error.__cause__ or error).error from error
        else:
            found = f"{type(error).__name__} {error}"
            raise openai_errors.garbage_failure(endpoint, found, retryable=False).error from error

    async def aclose(self) -> None:
        """Close all connections; streams that are open break off, the next one opens a connection again."""
        client, self._client = self._client, None
        if client and self._loop is asyncio.get_running_loop():
            await client.close()

    async def stream(self, request: LlmRequest) -> AsyncGenerator[LlmItem, None]:
        """Stream the answer to `request`.

        Raises `StageUnavailable` (nothing there, key or model refused), `StageOverloaded` (429),
        `StageTimeout`, and `StageError` for all else, after what `retries` and `models_fallback` allow;
        `retryable` if the stream broke off.
        """
        request = replace(
            request,
            temperature=self.temperature if request.temperature is None else request.temperature,
            output_tokens_max=self.output_tokens_max
            if request.output_tokens_max is None
            else request.output_tokens_max,
        )
        plan = RetryPlan(
            self._models_in_order(), RetryLimits(self.retries, self.backoff_s, self.retry_after_s_max), self._random
        )
        while True:
            try:
                async with aclosing(self._attempt(plan.model, request)) as items:
                    async for item in items:
                        yield replace(item, notes=(*plan.notes, *item.notes)) if isinstance(item, LlmFinished) else item
                return
            except AttemptFailed as failed:
                failed_before = len(plan.failed_models)
                pause_s = plan.after(failed)
                for model in plan.failed_models[failed_before:]:
                    self._rest_until[model] = asyncio.get_running_loop().time() + MODEL_REST_S
            await asyncio.sleep(pause_s)

    def _models_in_order(self) -> list[str]:
        """The models to ask, those that failed a short while ago last."""
        models = list(dict.fromkeys((self.model, *self.models_fallback)))
        now = asyncio.get_running_loop().time()
        return sorted(models, key=lambda model: self._rest_until.get(model, 0.0) > now)

    async def _attempt(self, model: str, request: LlmRequest) -> AsyncGenerator[LlmItem, None]:
        """One request to one model.

        Leaving it, in whatever way, closes the connection unless the body was read to its end.
        """
        async with AsyncExitStack() as connection:
            chat = await self._open(connection, model, request)
            while not chat.finished:
                for item in await chat.read():
                    yield item

    async def _open(self, connection: AsyncExitStack, model: str, request: LlmRequest) -> ChatStream:
        client = await self._ready()
        endpoint = self._endpoint(model)
        openai = importlib.import_module("openai")
        deadline = asyncio.get_running_loop().time() + self.first_token_timeout_s
        while True:
            body = {**request_body(request, model, self._dialect(model)), **self.extra_body}
            # The body goes in as `extra_body`, which replaces what stands before it: the client takes a quarter of a
            # millisecond a message to walk its own parameters, on the event loop, and the history is long.
            opening = client.chat.completions.with_streaming_response.create(
                model=model, messages=[], stream=True, extra_body=body
            )
            try:
                async with asyncio.timeout_at(deadline):
                    response = await connection.enter_async_context(opening)
            except TimeoutError as error:
                raise openai_errors.timeout_failure(endpoint, self.first_token_timeout_s) from error
            except openai.APIStatusError as error:
                if not self._conceded(model, error):
                    raise _status_failure(endpoint, error) from error
            except openai.OpenAIError as error:
                raise openai_errors.connection_failure(endpoint, error.__cause__ or error) from error
            else:
                reader = ChunkReader(model, begins_thinking=self.thinks_first)
                timeouts = TokenTimeouts(self.first_token_timeout_s, self.stall_timeout_s)
                return ChatStream(response.iter_bytes(), reader, endpoint, timeouts, deadline)

    def _dialect(self, model: str) -> Dialect:
        if self._is_openai:
            return self._dialects.get(model, Dialect(tokens_field="max_completion_tokens", cache_key=True))
        return self._dialects.get(model, Dialect())

    def _conceded(self, model: str, refusal: "APIStatusError") -> bool:
        """Whether the endpoint refused a field that it can do without;

        remembered, so that it is refused only once.
        """
        if refusal.status_code not in _REFUSED:
            return False
        dialect = self._dialect(model).concede(refusal.response.text)
        if dialect:
            self._dialects[model] = dialect
        return dialect is not None

    def _endpoint(self, model: str) -> Endpoint:
        return Endpoint(self.base_url, model, self.api_key)

    async def _ready(self) -> "AsyncOpenAI":
        """The client of this event loop.

        Raises `StageUnavailable` without package or key.
        """
        loop = asyncio.get_running_loop()
        if self._client and self._loop is loop:
            return self._client
        if not self.api_key and self._is_openai:
            hint = "Set OPENAI_API_KEY (or DUOLOGUE_LLM__API_KEY), or OPENAI_BASE_URL for a server of your own"
            raise StageUnavailable("llm", f"{self.base_url} needs a key and there is none", hint=hint)
        # In a thread: importing the client takes a second on a slow machine, reading the certificates a tenth of one.
        client = await asyncio.to_thread(self._new_client)
        if self._client and self._loop is loop:  # another session was faster
            await client.close()
            return self._client
        # Connections belong to one event loop; those of a loop that has ended can't be closed any more.
        self._client, self._loop = client, loop
        return client

    def _new_client(self) -> "AsyncOpenAI":
        try:
            openai = importlib.import_module("openai")
        except ImportError as error:
            message = f"the package openai can't be imported: {error}"
            raise StageUnavailable("llm", message, hint="pip install openai") from error
        # A proxy of the environment can't reach this machine's own servers.
        is_local = urlsplit(self.base_url).hostname in LOOPBACK
        client: AsyncOpenAI = openai.AsyncOpenAI(
            api_key=self.api_key or LOCAL_KEY,
            base_url=self.base_url,
            max_retries=0,
            timeout=None,
            http_client=openai.DefaultAsyncHttpxClient(trust_env=False) if is_local else None,
        )
        return client


def chat_models(listed: Sequence[str]) -> tuple[str, ...]:
    """Those of an endpoint's models whose names don't say that they are for something other than talking."""
    return tuple(model for model in listed if not any(word in model.casefold() for word in _NOT_FOR_CHAT))


def _status_failure(endpoint: Endpoint, error: "APIStatusError") -> AttemptFailed:
    body = error.body
    said = error.response.text
    if isinstance(body, dict) and body.get("message"):
        said = f"{body['message']} ({body['code']})" if body.get("code") else str(body["message"])
    return openai_errors.status_failure(endpoint, error.status_code, said, retry_after_s(dict(error.response.headers)))


def retry_after_s(headers: dict[str, str]) -> float | None:
    """Seconds that the endpoint asks to wait (`Retry-After` in seconds or as a date, OpenAI's
    `retry-after-ms`), if it does.

    A date is taken relative to the response's own `Date`: the server's clock is the only one that counts
    here.
    """
    milliseconds, after = headers.get("retry-after-ms", ""), headers.get("retry-after", "")
    try:
        if milliseconds:
            return max(0.0, float(milliseconds) / 1000)
        if not after:
            return None
        if after.strip()[:1].isdigit():
            return float(after)
        return max(0.0, (parsedate_to_datetime(after) - parsedate_to_datetime(headers["date"])).total_seconds())
    except (ValueError, KeyError, TypeError):
        return None
