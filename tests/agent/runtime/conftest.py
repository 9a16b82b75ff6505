"""A whole call over scripted stages in virtual time: what was said, decided and heard, for tests to look at."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from duologue import Agent, Persona, Policy, Session, Settings, Stages
from duologue.audio import INPUT_RATE_HZ
from duologue.core.history import AgentItem, OutputItem, UserItem
from duologue.errors import DuologueError
from duologue.ports.judge import Judge
from duologue.ports.reply_source import ReplySource
from duologue.testing.memory_transport import MemoryTransport, RemoteMemoryTransport
from duologue.testing.scripted_asr import ScriptedAsr, Utterance
from duologue.testing.scripted_llm import ScriptedLlm, ScriptedReply
from duologue.testing.scripted_tts import ScriptedTts
from duologue.testing.scripted_vad import ScriptedVad
from duologue.testing.virtual_time import pass_time, run

STORY = "It is five o'clock here, my friend. " + "And then there is a very long story to tell about clocks. " * 4


def voice(seconds: float) -> bytes:
    """Loud noise: mono 16 kHz int16."""
    rng = np.random.default_rng(1)
    return (rng.standard_normal(int(seconds * INPUT_RATE_HZ)) * 6000).clip(-32000, 32000).astype("<i2").tobytes()


@dataclass
class Call:
    """One scripted call. `speech`: (second, seconds of voice) pairs; `turns`: what the recogniser makes of them."""

    speech: Sequence[tuple[float, float]] = ()
    turns: Any = ()
    replies: Any = field(default_factory=lambda: [ScriptedReply(STORY)])
    hang_up: float = 20.0
    policy: Policy | None = None
    persona: Persona = field(default_factory=lambda: Persona("test", "You are a test."))
    tools: Iterable[Any] = ()
    remote_tools: Iterable[Any] = ()
    settings: Settings = field(default_factory=Settings)
    vad: ScriptedVad = field(default_factory=ScriptedVad)
    tts: ScriptedTts = field(default_factory=ScriptedTts)
    reply_source: ReplySource | None = None
    judges: tuple[Judge, ...] = ()
    transport_kind: type[MemoryTransport] | type[RemoteMemoryTransport] = MemoryTransport
    transport_options: dict[str, Any] = field(default_factory=dict)
    session_options: dict[str, Any] = field(default_factory=dict)
    during: Callable[[Session, Any], Awaitable[None]] | None = None

    def __post_init__(self) -> None:
        whole = [Utterance(turn, whole_text_in_finals=True) if isinstance(turn, str) else turn for turn in self.turns]
        self.asr = ScriptedAsr(whole)
        self.llm = self.replies if isinstance(self.replies, ScriptedLlm) else ScriptedLlm(self.replies, cycle=True)
        self.raised: DuologueError | None = None
        self.events: list[Any] = []
        self.times: list[float] = []
        self.session: Session = None  # type: ignore[assignment]  # set by `go`
        self.transport: Any = None

    def agent(self) -> Agent:
        return Agent(
            settings=self.settings,
            stages=Stages(self.vad, self.asr, self.llm, self.tts, self.judges, self.reply_source),
            persona=self.persona,
            tools=self.tools,
            remote_tools=self.remote_tools,
        )

    def go(self) -> "Call":
        run(self.talk())
        return self

    async def talk(self) -> None:
        script = [(at, voice(seconds)) for at, seconds in self.speech]
        self.transport = self.transport_kind(script, hang_up=self.hang_up, **self.transport_options)
        try:
            await self._talk()
        except DuologueError as error:
            if self.session is None or error is not self.session.error:
                raise
            self.raised = error

    async def _talk(self) -> None:
        async with self.agent().session(self.transport, policy=self.policy, **self.session_options) as session:
            self.session = session
            doing = asyncio.ensure_future(self.during(session, self.transport)) if self.during else None
            async for event in session.events():
                self.events.append(event)
                self.times.append(session.now())
            if doing:
                await doing

    def all(self, kind: type) -> list[Any]:
        """Events and actions of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    def one(self, kind: type) -> Any:
        (only,) = self.all(kind)
        return only

    def audible(self, start: float, end: float) -> bool:
        """Whether the agent was heard between two session seconds."""
        _, agent = self.transport.recording()
        rate_hz = self.transport.output_rate_hz
        return bool(np.any(np.abs(agent[int(start * rate_hz) : int(end * rate_hz)]) > 200))

    def trace_notes(self, source: str) -> list[str]:
        """What was noted by one source, after the end too."""
        entries = [entry for _, kind, entry in self.session.trace.entries if kind == "note"]
        return [entry["text"] for entry in entries if entry["source"] == source]

    def said(self) -> list[tuple[str, str]]:
        """The history as (who, text): a reply's stretches before and behind its tools as one."""
        told: list[tuple[str, str]] = []
        spoke = 0
        for item in self.session.conversation.history:
            if isinstance(item, UserItem):
                told.append(("user", item.text))
            elif isinstance(item, AgentItem) and item.reply and item.reply == spoke:
                told[-1] = ("agent", f"{told[-1][1]} {item.text}")
            elif isinstance(item, AgentItem):
                told.append(("agent", item.text))
            if isinstance(item, AgentItem | UserItem):
                spoke = item.reply if isinstance(item, AgentItem) else 0
        return told

    def results(self) -> list[tuple[str, str]]:
        """What tools gave, as the history has it: call id and output."""
        items = self.session.conversation.history
        return [(item.call_id, item.output) for item in items if isinstance(item, OutputItem)]


@pytest.fixture
def until() -> Callable[[Session, float], Awaitable[None]]:
    """Wait until a session's second."""
    return lambda session, at: pass_time(at - session.now())


@pytest.fixture
def call() -> type[Call]:
    return Call
