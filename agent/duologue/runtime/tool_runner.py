"""The tools of a session: ours, run in tasks beside each other, and those that the caller's side runs."""

import asyncio
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Final

from duologue.core.actions import CancelTool, RunTool
from duologue.core.events import ToolReturned
from duologue.core.messages import ToolSpec
from duologue.nearest import did_you_mean
from duologue.runtime.reply import ReplyTools
from duologue.runtime.services import Services
from duologue.runtime.user_tools import HandedToTools, Tool, ToolFailure

IDS_KEPT: Final = 512  # calls back that a late result may still come for
LINGER_S: Final = 5.0  # a tool that can't be stopped may finish so long after the session

_RUNNING_IN: ContextVar["ToolRunner | None"] = ContextVar("_RUNNING_IN", default=None)  # what a tool begins has it, too


class ToolRunner:
    """Runs tools and posts their results. `session` goes to those that ask for it."""

    def __init__(
        self, tools: Iterable[Tool], remote: Iterable[ToolSpec], services: Services, session: HandedToTools
    ) -> None:
        self._tools = {tool.spec.name: tool for tool in tools}
        self._remote = {spec.name: spec for spec in remote}
        self._services = services
        self._session = session
        self._ids: dict[str, None] = {}
        self._running: dict[str, tuple[RunTool, asyncio.Task[None]]] = {}

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """All tools as the model sees them; where both sides have one of a name, the caller's side's."""
        ours = (tool.spec for name, tool in self._tools.items() if name not in self._remote)
        return (*ours, *self._remote.values())

    @property
    def remote(self) -> tuple[ToolSpec, ...]:
        """Those of the caller's side."""
        return tuple(self._remote.values())

    def traits(self, name: str, offered: Iterable[ToolSpec] = ()) -> ReplyTools:
        """Time-out, who runs it, whether it can be stopped. What is `offered` for one reply alone, and is none of ours,
        the caller's side runs."""
        if name in self._remote or (name not in self._tools and any(spec.name == name for spec in offered)):
            return ReplyTools(remote=True)
        return self._tools[name].traits if name in self._tools else ReplyTools()

    def choice(self, wanted: str, specs: Iterable[ToolSpec]) -> str:
        """`wanted`, or `auto`, with a note, where there is no such tool: an endpoint would refuse the whole request."""
        names = [spec.name for spec in specs]
        if wanted in names or (names and wanted == "required") or wanted in ("auto", "none"):
            return wanted
        known = ", ".join(names) or "none"
        self._services.note("tool", f"tool_choice {wanted!r} was left out. There is: {known}", "warning")
        return "auto"

    def set_remote(self, specs: Iterable[ToolSpec]) -> None:
        """The caller's side offers these tools from now on."""
        self._remote = {spec.name: spec for spec in specs}

    def unique_id(self, call_id: str, is_known: Callable[[str], bool]) -> str:
        """`call_id`, unless the model gives one twice (some number each answer's calls anew) or none: then another.

        `is_known`: whether the conversation has a call of that id, perhaps from another process.
        """
        unique = call_id = call_id or "call"
        count = 1
        while unique in self._ids or is_known(unique):
            count += 1
            unique = f"{call_id}-{count}"
        self._ids[unique] = None
        if len(self._ids) > IDS_KEPT:
            del self._ids[next(iter(self._ids))]
        return unique

    def run(self, action: RunTool) -> None:
        """Start a tool of ours. One of the caller's side is sent over by whoever reads the session's events."""
        if not action.remote:
            self._running[action.call_id] = (action, self._services.spawn(self._run(action)))

    @property
    def is_asking(self) -> bool:
        """Whether who asks is one of these tools, or was begun by one: it must not wait for what waits for the tool."""
        return _RUNNING_IN.get() is self

    def cancel(self, action: CancelTool) -> None:
        """Stop a tool, if it still runs."""
        if running := self._running.pop(action.call_id, None):
            running[1].cancel()

    async def finish(self) -> None:
        """The session is over: stop what can be stopped, give the rest a moment."""
        lingering = [task for action, task in self._running.values() if not self.traits(action.name).cancellable]
        if lingering:
            await asyncio.wait(lingering, timeout=LINGER_S)

    async def _run(self, action: RunTool) -> None:
        _RUNNING_IN.set(self)
        begun_at, failed = self._services.now(), False
        try:
            output = await self._tool(action.name).run(action.arguments, self._session)
        except ToolFailure as error:
            output, failed = f"Failed: {error}", True
            self._services.note("tool", f"{action.name}: {error}", "warning")
        self._running.pop(action.call_id, None)
        self._services.meter.timing("tool", self._services.now() - begun_at)
        self._services.post(ToolReturned(self._services.now(), action.call_id, output, failed))

    def _tool(self, name: str) -> Tool:
        if name not in self._tools:
            known = ", ".join(self._tools) or "none"
            raise ToolFailure(f"there is no tool {name!r}. {did_you_mean(name, self._tools)} There is: {known}")
        return self._tools[name]
