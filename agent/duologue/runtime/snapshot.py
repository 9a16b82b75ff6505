"""A session's whole state as JSON-able data, and what another process reads out of it."""

import re
from collections.abc import Mapping
from typing import Any, Final

from duologue.core.codec import to_data
from duologue.core.conversation import Conversation
from duologue.core.messages import ToolSpec
from duologue.core.migration import unheard
from duologue.core.policy import Policy
from duologue.errors import ProtocolError

_ID: Final = re.compile(r"[A-Za-z0-9_-]{0,128}")
VERSION: Final = 2
READS: Final = (1, 2)  # the versions that are understood


def take(session: str, conversation: Conversation, remote_tools: tuple[ToolSpec, ...]) -> dict[str, Any]:
    """The state of session `session`."""
    return {
        "version": VERSION,
        "id": session,
        "remote_tools": to_data(remote_tools),
        "conversation": conversation.snapshot(),
    }


def session_id(snapshot: Any) -> str:
    """The id of the session that `snapshot` was taken of; empty for no snapshot.

    Raises `ProtocolError` for what is no snapshot, and for an id that is none: files are called by it.
    """
    if snapshot is None:
        return ""
    if not isinstance(snapshot, Mapping):
        raise ProtocolError(f"{snapshot!r:.60} is no snapshot", hint="Give what session.snapshot() returned")
    found = snapshot.get("id", "")
    if not isinstance(found, str) or not _ID.fullmatch(found):
        raise ProtocolError(f"a session can't be called {found!r:.60}", hint="Letters, digits, - and _, at most 128")
    return found


def restore(policy: Policy, snapshot: Mapping[str, Any]) -> Conversation:
    """The conversation of `snapshot`. Raises `ProtocolError` for what is none, or of another release."""
    if snapshot.get("version") not in READS:
        raise ProtocolError(
            f"a snapshot of version {snapshot.get('version')!r}, expected one of {READS}",
            hint="Take it with the release that restores it, or the one before",
        )
    try:
        return Conversation.restore(policy, snapshot["conversation"])
    except (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ProtocolError(f"the snapshot can't be read: {error}") from error


def remote_tools(snapshot: Mapping[str, Any]) -> tuple[ToolSpec, ...]:
    """What the caller's side offered when `snapshot` was taken."""
    try:
        return tuple(
            ToolSpec(str(spec["name"]), str(spec["description"]), dict(spec["parameters"]))
            for spec in snapshot.get("remote_tools", ())
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolError(f"the snapshot's remote_tools can't be read: {error!r}") from error


def persona_of(snapshot: Mapping[str, Any] | None) -> str:
    """Name of the persona that spoke, or was to speak next; empty where nothing says so."""
    try:
        state = (snapshot or {})["conversation"]["state"]
        following = state["next_persona"] if "next_persona" in state else state["next_pack"]
        return str(following[0] if following else state["persona"] if "persona" in state else state["pack"])
    except (IndexError, KeyError, TypeError):
        return ""


def waiting_reply(snapshot: Mapping[str, Any], live: int) -> tuple[str, str] | None:
    """The text of reply `live` that was heard when `snapshot` was taken, and the rest of it; None if another was live:
    that one was begun anew, with what was not heard."""
    reply = snapshot["conversation"]["state"].get("reply")
    if not reply or reply.get("number") != live:
        return None
    heard, text = reply.get("heard_text", ""), reply.get("text", "")
    return heard, unheard(text, heard)
