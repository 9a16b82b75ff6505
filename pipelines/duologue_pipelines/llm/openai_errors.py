"""What went wrong at a chat-completions endpoint, as our typed errors, each with the next step and what may
be tried.

what came                       error               again?  another model?
401                             StageUnavailable    no      no: the key is the same
403, 404                        StageUnavailable    no      yes
429                             StageOverloaded     yes     yes
429 out of quota                StageUnavailable    no      no
408, 409, 425, 5xx              StageError          yes     yes
any other 4xx                   StageError          no      yes
nothing listens, line broke     StageUnavailable    yes     yes
too late                        StageTimeout        yes     yes, rather than wait for the same one again
an error inside the stream      by its code         ..      yes
no event stream, broken JSON    StageError          ..      yes
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from duologue.errors import StageError, StageOverloaded, StageTimeout, StageUnavailable
from duologue_pipelines.llm.chat_wire import StreamFault
from duologue_pipelines.llm.surrogates import whole_characters

MESSAGE_CHARS_MAX: Final = 300  # of what a server says; an error page may have megabytes
_KEY_HINT: Final = "Set OPENAI_API_KEY, or DUOLOGUE_LLM__API_KEY, to a key that this endpoint accepts"
_ADDRESS_HINT: Final = "Check DUOLOGUE_LLM__BASE_URL (or OPENAI_BASE_URL): it usually ends in /v1"
_RETRYABLE_STATUS: Final = frozenset({408, 409, 425})
_RETRYABLE_CODES: Final = ("server_error", "overloaded", "rate_limit", "timeout", "unavailable", "internal")
_QUOTA_CODES: Final = ("insufficient_quota", "billing")


class AttemptFailed(Exception):
    """One request to one model failed. Never leaves the adapter: `error` does, once nothing more may be
    tried.

    `retry_after_s`: what the endpoint asks to wait, if it does. `other_model`: whether another model might
    answer. `prefer_other`: whether another model is worth more than the same one again.
    """

    def __init__(
        self,
        error: StageError,
        *,
        retry_after_s: float | None = None,
        other_model: bool = True,
        prefer_other: bool = False,
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.retry_after_s = retry_after_s
        self.other_model = other_model
        self.prefer_other = prefer_other


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Whom an error is about. `api_key` is here only to be kept out of messages: some servers echo it."""

    base_url: str
    model: str
    api_key: str

    def __str__(self) -> str:
        return f"{self.model or 'the default model'} at {self.base_url}"

    def quote(self, said: Any) -> str:
        """What a server said, on one line, bounded, without our key and without the tags of an HTML page."""
        text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        if "<html" in text.casefold() or "<!doctype" in text.casefold():
            text = "an HTML page: " + re.sub(r"<[^>]*>", " ", text)
        if self.api_key:
            text = text.replace(self.api_key, "***")
        text = " ".join(whole_characters(text).split())
        return text if len(text) <= MESSAGE_CHARS_MAX else text[: MESSAGE_CHARS_MAX - 1] + "…"


def status_failure(endpoint: Endpoint, status: int, said: str, retry_after_s: float | None) -> AttemptFailed:
    """The endpoint refused with an HTTP status."""
    message = f"{endpoint} answered {status}: {endpoint.quote(said) or 'nothing more'}"
    if retry_after_s is not None:
        message += f"; it asks to wait {retry_after_s:g} s"
    if status in (401, 403):
        return AttemptFailed(StageUnavailable("llm", message, hint=_KEY_HINT), other_model=status == 403)
    if status == 404:
        hint = f"Check the model's name (DUOLOGUE_LLM__MODEL, here {endpoint.model!r}). {_ADDRESS_HINT}"
        return AttemptFailed(StageUnavailable("llm", message, hint=hint))
    if status == 429 and any(code in said for code in _QUOTA_CODES):
        hint = "Look at the plan and billing of this key's account, or set another key in DUOLOGUE_LLM__API_KEY"
        return AttemptFailed(StageUnavailable("llm", message, hint=hint), other_model=False)
    if status == 429:
        hint = "Send fewer requests, raise the account's rate limit, or name models_fallback"
        return AttemptFailed(StageOverloaded("llm", message, retryable=True, hint=hint), retry_after_s=retry_after_s)
    if status >= 500 or status in _RETRYABLE_STATUS:
        hint = "Try again later, or name models_fallback; for a server of your own, look at its log"
        return AttemptFailed(StageError("llm", message, retryable=True, hint=hint), retry_after_s=retry_after_s)
    return AttemptFailed(
        StageError("llm", message, hint="The endpoint refuses the request as it stands: see its words above")
    )


def connection_failure(endpoint: Endpoint, cause: BaseException) -> AttemptFailed:
    """Nothing listens, the name does not resolve, TLS fails, or the line broke before an answer."""
    why = endpoint.quote(cause) or type(cause).__name__
    hint = f"Is the server running and reachable from here? {_ADDRESS_HINT}"
    return AttemptFailed(StageUnavailable("llm", f"no answer from {endpoint}: {why}", retryable=True, hint=hint))


def timeout_failure(endpoint: Endpoint, seconds: float) -> AttemptFailed:
    """No token came in time."""
    message = f"{endpoint} sent no token within {seconds:g} s"
    hint = "Raise first_token_timeout_s, choose a faster model, or name models_fallback"
    return AttemptFailed(StageTimeout("llm", message, retryable=True, hint=hint), prefer_other=True)


def reported_failure(endpoint: Endpoint, fault: StreamFault) -> AttemptFailed:
    """An error object where the first token was awaited."""
    message = f"{endpoint} reported an error in its stream: {endpoint.quote(fault)}"
    if fault.code.isdigit() and 400 <= int(fault.code) < 600:
        return status_failure(endpoint, int(fault.code), str(fault), None)
    retryable = not fault.code or any(code in fault.code for code in _RETRYABLE_CODES)
    hint = "Try again, or look at the server's log" if retryable else "See the endpoint's words above"
    return AttemptFailed(StageError("llm", message, retryable=retryable, hint=hint))


def garbage_failure(endpoint: Endpoint, found: str, *, retryable: bool) -> AttemptFailed:
    """The body is no stream of chat-completion chunks. `retryable`: it began as one."""
    message = f"{endpoint} answered with something other than a chat-completions stream: {endpoint.quote(found)}"
    return AttemptFailed(StageError("llm", message, retryable=retryable, hint=_ADDRESS_HINT))


def broken_stream(endpoint: Endpoint, why: str) -> StageError:
    """The stream ended before it was finished, after something of it was passed on."""
    message = f"the answer of {endpoint} broke off: {endpoint.quote(why)}"
    return StageError("llm", message, retryable=True, hint="What was streamed stands; ask again for the rest")


def stalled_stream(endpoint: Endpoint, seconds: float) -> StageTimeout:
    """No token followed the last one in time."""
    message = f"the answer of {endpoint} stalled: no token for {seconds:g} s"
    return StageTimeout(
        "llm", message, retryable=True, hint="What was streamed stands; ask again, or raise stall_timeout_s"
    )
