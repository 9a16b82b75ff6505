"""Duologue: spoken conversations between people and language models.

The public names. They are looked up when first used, so that `import duologue` loads nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duologue import errors
    from duologue.core import actions, events
    from duologue.core.history import AgentItem, CallItem, OutputItem, SystemItem, UserItem
    from duologue.core.machines import Phase
    from duologue.core.messages import ToolSpec
    from duologue.core.options import ReplyOptions
    from duologue.core.policy import Policy
    from duologue.packs import Pack, find_pack
    from duologue.ports.tts import SpeechRequest
    from duologue.runtime.agent import Agent
    from duologue.runtime.event_log import log_events
    from duologue.runtime.session import Session
    from duologue.runtime.session_setup import Aside, Note, Persona, Spoken, Stages, StepTook
    from duologue.runtime.user_tools import Tool, tool
    from duologue.settings import Settings, load_settings

__version__ = "0.1.0"

_HOME = {
    "Agent": "duologue.runtime.agent",
    "AgentItem": "duologue.core.history",
    "Aside": "duologue.runtime.session_setup",
    "CallItem": "duologue.core.history",
    "Note": "duologue.runtime.session_setup",
    "OutputItem": "duologue.core.history",
    "Pack": "duologue.packs",
    "Persona": "duologue.runtime.session_setup",
    "Phase": "duologue.core.machines",
    "Policy": "duologue.core.policy",
    "ReplyOptions": "duologue.core.options",
    "Session": "duologue.runtime.session",
    "Settings": "duologue.settings",
    "SpeechRequest": "duologue.ports.tts",
    "Spoken": "duologue.runtime.session_setup",
    "Stages": "duologue.runtime.session_setup",
    "StepTook": "duologue.runtime.session_setup",
    "SystemItem": "duologue.core.history",
    "Tool": "duologue.runtime.user_tools",
    "ToolSpec": "duologue.core.messages",
    "UserItem": "duologue.core.history",
    "find_pack": "duologue.packs",
    "load_settings": "duologue.settings",
    "log_events": "duologue.runtime.event_log",
    "tool": "duologue.runtime.user_tools",
}
# Whole modules that are part of the interface.
_MODULES = {"actions": "duologue.core.actions", "errors": "duologue.errors", "events": "duologue.core.events"}

__all__ = [
    "Agent", "AgentItem", "Aside", "CallItem", "Note", "OutputItem", "Pack", "Persona", "Phase", "Policy",
    "ReplyOptions", "Session", "Settings", "SpeechRequest", "Spoken", "Stages", "StepTook", "SystemItem", "Tool",
    "ToolSpec", "UserItem", "actions", "errors", "events", "find_pack", "load_settings", "log_events", "tool",
]  # fmt: skip


if not TYPE_CHECKING:  # seen by type checkers, it would make every name one of ours, misspelt ones too

    def __getattr__(name):
        if name in _MODULES:
            return import_module(_MODULES[name])
        if name in _HOME:
            return getattr(import_module(_HOME[name]), name)
        raise AttributeError(f"module 'duologue' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
