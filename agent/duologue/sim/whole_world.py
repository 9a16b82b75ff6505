"""The whole runtime in the caller's world: frames, tasks and trace, on the virtual-time loop.

The caller is the same as at the core's depth; here they speak into a transport, and what they hear is what it plays.
Stages are the scripted ones, with the scenario's pace and faults. Everything that the rules are held to is kept: who
sent which frame, what was audible when, what was written into the trace.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from duologue.audio import INPUT_RATE_HZ, OUTPUT_RATES_HZ, frame_samples
from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.history import Item
from duologue.core.messages import ToolSpec
from duologue.core.policy import Policy
from duologue.core.state import State
from duologue.errors import TransportError
from duologue.runtime.agent import Agent
from duologue.runtime.session import Session
from duologue.runtime.session_setup import Persona, SessionEvent, Spoken, Stages
from duologue.settings import Settings
from duologue.sim.caller import Caller
from duologue.sim.coded_tts import CodedTts
from duologue.sim.outcome import VIOLATIONS_MAX, Violation
from duologue.sim.scenario import Scenario, draw_scenario
from duologue.sim.talkers import Utterance
from duologue.sim.tally import Tally
from duologue.sim.truth_asr import TruthAsr
from duologue.sim.whole_stages import llm_of, tools_of, tts_of, vad_of
from duologue.testing.memory_transport import MemoryTransport, RemoteMemoryTransport

SECONDS_MAX: Final = 300.0  # of one conversation
REPORT_EVERY_S: Final = 0.25
VOICE: Final = 6000  # level of the caller's voice
SAMPLED_EVERY_S: Final = 1.0  # how often bounds are looked at
REMOTE_TOOL: Final = ToolSpec("camera", "What the caller's camera shows.", {"type": "object", "properties": {}})
HANDOVER_GAP_S: Final = 0.5


class SimTransport(MemoryTransport):
    """A caller in our sight. `origin`: session second of its first sample."""

    def __init__(self, world: "WholeWorld", **options: Any) -> None:
        super().__init__(hang_up=False, **options)
        self._world = world
        self.origin = 0.0

    def play(self, pcm: bytes, reply: int) -> None:
        """As ever, and noted."""
        self._world.note_frame(pcm, reply)
        super().play(pcm, reply)


class RemoteSimTransport(RemoteMemoryTransport):
    """A caller whose player reports: all the time, and where it was silenced. `origin`: as above."""

    def __init__(self, world: "WholeWorld", **options: Any) -> None:
        super().__init__(hang_up=False, **options)
        self._world = world
        self.origin = 0.0

    def play(self, pcm: bytes, reply: int) -> None:
        """As ever, and noted."""
        self._world.note_frame(pcm, reply)
        super().play(pcm, reply)

    def cut_reply(self, reply: int) -> None:
        """As ever."""
        super().cut_reply(reply)
        self._world.report_soon(self)

    def hold_reply(self, reply: int) -> None:
        """As ever."""
        super().hold_reply(reply)
        self._world.report_soon(self)

    @property
    def newest(self) -> int:
        """The reply of which it was sent something last; 0 for none."""
        return max(self._sent, default=0)


@dataclass(slots=True)
class Part:
    """What one process saw of the conversation. `agent`: what was heard, sample 0 at session second `origin`.

    `spoken`: what was told word by word, by reply; `is_remote`: as far as its player's reports went.
    """

    trace: Path
    origin: float
    agent: NDArray[np.int16]
    rate_hz: int
    spoken: dict[int, str]
    is_remote: bool
    error: str


@dataclass(slots=True)
class Voice:
    """What is audible, as far as the events tell. `reply`: live and heard, 0 for none."""

    reply: int = 0
    held: bool = False
    turns: dict[int, int] = field(default_factory=dict)


class WholeWorld:
    """One conversation through the whole runtime. Await `hold`."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.scenario: Scenario = draw_scenario(self.rng)
        self.tally = Tally()
        self.violations: list[Violation] = []
        self.parts: list[Part] = []
        self.owners: dict[int, int] = {}  # code of a word → the reply that sent it
        self.unreported: set[int] = set()  # replies of which a report was lost or late
        self.cut_replies: set[int] = set()
        self.left_open: dict[str, int] = {}  # streams that were open when it was over
        self._folder = folder
        self._loop = asyncio.get_running_loop()
        self._voice = Voice()
        self._spoken: dict[int, str] = {}
        self._timers: set[asyncio.TimerHandle] = set()
        self._speaking: list[asyncio.Task[None]] = []
        self._moved: dict[str, Any] | None = None
        self._looked_at = self._reported_until = 0.0
        self.session: Session
        self.transport: SimTransport | RemoteSimTransport
        self.rate_hz = OUTPUT_RATES_HZ[seed % len(OUTPUT_RATES_HZ)]
        self.tts: CodedTts = tts_of(self)
        self.llm = llm_of(self)
        self.asr = TruthAsr(lambda: self.caller.said, self.strikes, self.rng, self.scenario.final_s)
        self.caller: Caller = WholeCaller(self)

    # --- what the caller needs (`duologue.sim.caller.Line`) --------------------------------------------------------

    @property
    def now(self) -> float:
        """Session seconds."""
        return self.session.now()

    @property
    def policy(self) -> Policy:
        """The numbers that are in force."""
        return self.session.conversation.policy

    @property
    def history(self) -> tuple[Item, ...]:
        """What is remembered."""
        return self.session.conversation.history

    @property
    def closed(self) -> bool:
        """Whether the session is over."""
        return self.session.closed

    @property
    def audible(self) -> int:
        """Number of the reply that is heard now, 0 for none."""
        return 0 if self._voice.held else self._voice.reply

    @property
    def state(self) -> State:
        """The core's state, to look at."""
        return self.session.conversation.core.state

    def strikes(self, fault: str) -> bool:
        """Whether `fault`, if it is on in this conversation, strikes now."""
        if fault not in self.scenario.faults or self.rng.random() >= self.scenario.fault_rates[fault]:
            return False
        self.tally.fault(fault)
        return True

    def plan(self, delay_s: float, call: Callable[..., None], *args: Any) -> None:
        """The caller's side: `call` in `delay_s`."""
        self._timers.add(self._loop.call_later(max(0.0, delay_s), call, *args))

    def post(self, event: ev.Event) -> None:
        """What the caller's hand does, as a transport tells it."""
        if not self.closed:
            self.transport.event(event)

    def migrate(self) -> None:
        """The session shall go on in another process."""
        if not self.closed and self._moved is None:
            self.tally.fault("migration")
            self._moved = self.session.snapshot()
            self.transport.hang_up()

    def blame(self, rule: str, text: str) -> None:
        """`rule` is broken, now."""
        if len(self.violations) < VIOLATIONS_MAX:
            self.violations.append(Violation(rule, round(self._loop.time(), 6), text))

    # --- the conversation -----------------------------------------------------------------------------------------

    async def hold(self) -> None:
        """Hold the conversation to its end, in as many processes as it takes."""
        agent = Agent(
            settings=Settings(output_rate_hz=self.rate_hz),
            stages=Stages(vad_of(self), self.asr, self.llm, self.tts),
            persona=Persona("first", self.scenario.system, "Hello there." if self.scenario.greeting else ""),
            tools=tools_of(self),
            remote_tools=(REMOTE_TOOL,),
        )
        self._loop.call_later(SECONDS_MAX, self._too_long)
        snapshot: dict[str, Any] | None = None
        while True:
            await self._hold_part(agent, snapshot)
            if self._moved is None:
                break
            snapshot, self._moved = self._moved, None
            await asyncio.sleep(HANDOVER_GAP_S)
        await agent.aclose()
        for timer in self._timers:
            timer.cancel()
        await asyncio.gather(*self._speaking, return_exceptions=True)
        self.left_open = {
            "language model streams": self.llm.open_streams,
            "syntheses": self.tts.inner.live,
            "recognitions": self.asr.opened - self.asr.closed,
        }

    async def _hold_part(self, agent: Agent, snapshot: dict[str, Any] | None) -> None:
        trace = self._folder / f"{len(self.parts)}.jsonl"
        self.transport = self._make_transport()
        opened = agent.session(self.transport, snapshot=snapshot, trace=trace, policy=self.scenario.policy)
        async with opened as self.session:
            self.transport.origin = self.session.now()
            self._voice, self._spoken = Voice(), {}
            await asyncio.sleep(0)  # the transport runs from now on
            if snapshot is None:
                self.caller.begin()
            if isinstance(self.transport, RemoteSimTransport):
                self.plan(REPORT_EVERY_S, self._report_all_the_time, self.transport)
            async for event in self.session.events():
                self._heard(event)
            end = self.session.now()
        error = self.session.error
        told = f"{type(error).__name__}: {error}" if error else ""
        self.tally.seconds += end - self.transport.origin
        transport = self.transport
        self.parts.append(
            Part(
                trace,
                transport.origin,
                transport.recording()[1],
                self.rate_hz,
                self._spoken,
                transport.reports_playout,
                told,
            )
        )

    def _make_transport(self) -> SimTransport | RemoteSimTransport:
        if not self.scenario.remote:
            return SimTransport(self, **self._frame_faults())
        return RemoteSimTransport(self, can_hold=self.seed // len(OUTPUT_RATES_HZ) % 2 == 1, **self._frame_faults())

    def _too_long(self) -> None:
        self.blame("ends", f"the session still lives after {SECONDS_MAX:g} s")
        self.transport.hang_up()

    def _frame_faults(self) -> dict[str, Any]:
        rng, faults = self.rng, self.scenario.faults
        lost: set[int] = set()
        late: dict[int, float] = {}
        if "frames lost" in faults:
            for _ in range(rng.randint(5, 60)):
                first = rng.randrange(3000)
                lost.update(range(first, first + rng.choice((1, 1, 2, 10))))
        if "frames late" in faults:
            late = {rng.randrange(3000): rng.uniform(0.02, 0.6) for _ in range(rng.randint(3, 30))}
        for name, struck in (("frames lost", lost), ("frames late", late)):
            self.tally.faults[name] = self.tally.faults.get(name, 0) + len(struck)
        return {"lost": lost, "late": late}

    # --- what is heard and decided --------------------------------------------------------------------------------

    def _heard(self, event: SessionEvent) -> None:
        """One thing from `session.events`: the caller reacts to what can be heard."""
        handler = _HEARD.get(type(event))
        if handler:
            handler(self, event)

    def _begun(self, action: act.BeginReply) -> None:
        self._voice.turns[action.reply] = action.turn
        self.tally.replies += 1
        self.tally.speculative += action.speculative

    def _reply_heard(self, event: ev.ReplyHeard) -> None:
        self._voice.reply, self._voice.held = event.reply, False
        self.caller.agent_heard(event.reply, self._voice.turns.get(event.reply, 0))

    def _word(self, event: Spoken) -> None:
        self._spoken[event.reply] = self._spoken.get(event.reply, "") + event.text

    def _held(self, action: act.HoldPlayout) -> None:
        if self.audible == action.reply:
            self.caller.agent_paused()
        self._voice.held = True

    def _cancelled(self, action: act.CancelReply) -> None:
        if self.audible == action.reply:
            self.caller.agent_paused()
        self._voice.reply = 0
        self.cut_replies.add(action.reply)

    def _ended(self, event: ev.ReplyEnded) -> None:
        if not event.cut and event.reply == self._voice.reply:
            self._voice.reply = 0
            self.caller.agent_over(event.reply)

    def _tool(self, action: act.RunTool) -> None:
        self.tally.tools += 1
        if action.remote and not self.strikes("tool silent"):
            delay_s = self.rng.uniform(0.05, 0.8) + (3.0 if self.strikes("tool slow") else 0.0)
            self.plan(delay_s, self._return_tool, action.call_id)

    def _return_tool(self, call_id: str) -> None:
        if not self.closed:
            self.session.return_tool(call_id, "A cat on a sofa.")

    # --- the remote player ----------------------------------------------------------------------------------------

    def _report_all_the_time(self, transport: RemoteSimTransport) -> None:
        if transport is self.transport and not self.closed:
            self.report_soon(transport)
            self.plan(REPORT_EVERY_S, self._report_all_the_time, transport)

    def report_soon(self, transport: RemoteSimTransport) -> None:
        """It says how much of the newest reply it has played; that arrives with the network's delay."""
        reply = transport.newest
        played = transport.played_of(reply)
        if not played:
            return
        if self.strikes("remote mute"):
            self.unreported.add(reply)
            return
        delay_s = self.scenario.network_s
        if self.strikes("remote late"):
            self.unreported.add(reply)
            delay_s += self.rng.uniform(0.5, 3.0)
        self._reported_until = max(self._reported_until, self._loop.time() + delay_s)  # a connection keeps the order
        self.plan(self._reported_until - self._loop.time(), self._report, transport, reply, played)

    def _report(self, transport: RemoteSimTransport, reply: int, played: int) -> None:
        if transport is self.transport and not self.closed:
            transport.report_playout(reply, played)

    # --- what is played -------------------------------------------------------------------------------------------

    def note_frame(self, pcm: bytes, reply: int) -> None:
        """A frame is sent: only of the live reply it may be. Whose its words are is remembered."""
        live = self.session.conversation.reply
        if reply != live:
            told = f"{reply} while {self.session.phase} and {live or 'none'} is live"
            self.blame("silent after the cut", f"a frame was sent of reply {told}")
        for code in (int.from_bytes(pcm[:2], "little"), int.from_bytes(pcm[-2:], "little")):
            self.owners.setdefault(code, reply)
        self.look_at_bounds()

    # --- bounds ---------------------------------------------------------------------------------------------------

    def look_at_bounds(self) -> None:
        """Once a second while the agent speaks: nothing that could grow has grown beyond its bound."""
        now = self._loop.time()
        if now - self._looked_at < SAMPLED_EVERY_S:
            return
        self._looked_at = now
        player, session, transport = self.session._reply_player, self.session, self.transport
        ahead_s = max((track.made - track.sent for track in player.live_tracks()), default=0) / self.rate_hz
        unplayed = transport.unplayed() if isinstance(transport, SimTransport) else 0
        for what, size, bound in (
            ("seconds made ahead", ahead_s, 14.0),
            ("samples sent ahead", unplayed, 4 * frame_samples(self.rate_hz)),
            ("tasks", len(session._tasks), 40),
            ("trace entries in memory", len(session.trace.entries), session.trace.entries.maxlen or 0),
            ("language model streams", self.llm.open_streams, 3),
            ("syntheses", self.tts.inner.live, 3),
        ):
            if size > bound:
                self.blame("queues are bounded", f"{what}: {size}, at most {bound}")

    # --- the caller's mouth ---------------------------------------------------------------------------------------

    def speak(self, said: Utterance) -> None:
        """Say `said` into the microphone, from now on."""
        pcm = bytearray()
        for start, end in said.bursts:
            pcm += bytes(2 * max(0, int(start * INPUT_RATE_HZ) - len(pcm) // 2))
            pcm += np.full(int((end - start) * INPUT_RATE_HZ), VOICE, dtype="<i2").tobytes()
        self._speaking = [task for task in self._speaking if not task.done()]
        self._speaking.append(self._loop.create_task(self._speak(bytes(pcm))))

    async def _speak(self, pcm: bytes) -> None:
        try:
            await self.transport.speak(pcm)
        except TransportError:  # the call ended under the caller's words
            return


class WholeCaller(Caller):
    """A caller whose mouth is a microphone; what a detector makes of it is the runtime's business."""

    lies = False

    def __init__(self, world: WholeWorld) -> None:
        super().__init__(world)
        self._whole = world

    def _utter(self, said: Utterance) -> None:
        self._whole.speak(said)

    def heard_anew(self) -> None:
        """The detector of another process hears the microphone itself."""

    def _hang_up(self) -> None:
        if not self._gone:
            self._gone = True
            self._whole.transport.hang_up()


_HEARD: Final[dict[type, Callable[[WholeWorld, Any], None]]] = {
    act.BeginReply: WholeWorld._begun,
    act.ReleaseReply: lambda world, action: setattr(world.tally, "reused", world.tally.reused + 1),
    act.HoldPlayout: WholeWorld._held,
    act.ResumePlayout: lambda world, action: setattr(world._voice, "held", False),
    act.CancelReply: WholeWorld._cancelled,
    act.RunTool: WholeWorld._tool,
    ev.ReplyHeard: WholeWorld._reply_heard,
    ev.ReplyEnded: WholeWorld._ended,
    Spoken: WholeWorld._word,
}
