"""A session's whole state as JSON-able data, and what another process reads out of it."""

from collections.abc import Mapping
from typing import Any, Final

from duologue.core.codec import to_data
from duologue.core.conversation import Conversation
from duologue.core.messages import ToolSpec
from duologue.core.migration import unheard
from duologue.core.policy import Policy
from duologue.errors import ProtocolError

VERSION: Final = 1


def take(session: str, conversation: Conversation, remote_tools: tuple[ToolSpec, ...]) -> dict[str, Any]:
    """The state of session `session`."""
    return {
        "version": VERSION,
        "id": session,
        "remote_tools": to_data(remote_tools),
        "conversation": conversation.snapshot(),
    }


def restore(policy: Policy, snapshot: Mapping[str, Any]) -> Conversation:
    """The conversation of `snapshot`. Raises `ProtocolError` for what is none, or of another release."""
    if snapshot.get("version") != VERSION:
        raise ProtocolError(
            f"a snapshot of version {snapshot.get('version')!r}, expected {VERSION}",
            hint="Take it with the same release that restores it",
        )
    try:
        return Conversation.restore(policy, snapshot["conversation"])
    except (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ProtocolError(f"the snapshot can't be read: {error}") from error


def remote_tools(snapshot: Mapping[str, Any]) -> tuple[ToolSpec, ...]:
    """What the far side offered when `snapshot` was taken."""
    try:
        return tuple(
            ToolSpec(str(spec["name"]), str(spec["description"]), dict(spec["parameters"]))
            for spec in snapshot.get("remote_tools", ())
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolError(f"the snapshot's remote_tools can't be read: {error!r}") from error


def pack_of(snapshot: Mapping[str, Any] | None) -> str:
    """Name of the pack that spoke, or was to speak from the next turn on; empty where nothing says so."""
    try:
        state = (snapshot or {})["conversation"]["state"]
        return str(state["next_pack"][0] if state["next_pack"] else state["pack"])
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
