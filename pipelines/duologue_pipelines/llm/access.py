"""What is wrong with an endpoint's address or key, told before anything is sent.

The client finds out deep inside a request, where the reason drowns in its own exceptions.
"""

from urllib.parse import urlsplit


def address_fault(base_url: str) -> str:
    """Why `base_url` is no http(s) address, as the end of a sentence; empty if it is one."""
    found = repr(base_url)
    try:
        parts = urlsplit(base_url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return ""
    except ValueError as error:  # a bracket left open, a port beyond 65535
        found += f" ({error})"
    return f"must be an http or https address, got {found}"


def key_fault(api_key: str) -> str:
    """Why no HTTP header can carry `api_key`, as the end of a sentence that does not tell it; empty if one can."""
    for place, char in enumerate(api_key, start=1):
        if not "!" <= char <= "~":
            return f"can't be a key: its character {place} of {len(api_key)} is {char!a}"
    return ""


def late_hint(base_url: str) -> str:
    """What to do about a server that took the connection and said nothing."""
    hint = "Is the server running? Check DUOLOGUE_LLM__BASE_URL, or raise first_token_timeout_s"
    parts = urlsplit(base_url)
    if parts.scheme == "https" and parts.port not in (None, 443):  # a plain server waits for the rest of the greeting
        hint += f". If it speaks plain http, write http://{parts.netloc}{parts.path}"
    return hint
