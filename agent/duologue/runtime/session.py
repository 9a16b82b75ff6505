"""One conversation with one caller over one transport: what a program holds in its hands.

Composed of rooms, each with one task: the `Shell` drives the core, `SpeechInput` hears, `ReplyPlayer` speaks,
`ToolRunner` runs tools. Everything runs on one event loop; whatever takes long runs in tasks that belong to the session
and end with it.
"""

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, Unpack

from duologue.audio import FRAME_BYTES
from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.conversation import Conversation
from duologue.core.history import Item
from duologue.core.machines import Phase
from duologue.core.messages import ToolSpec
from duologue.core.policy import Policy
from duologue.core.words import mended
from duologue.errors import DuologueError, ProtocolError, StageError, TransportError
from duologue.ports.judge import JudgeContext
from duologue.ports.llm import LlmRequest, Usage
from duologue.ports.transport import Transport
from duologue.runtime import snapshot
from duologue.runtime.judging import Judging
from duologue.runtime.meter import Meter
from duologue.runtime.own_tasks import OwnTasks
from duologue.runtime.personas import Personas
from duologue.runtime.reply import ReplyContext
from duologue.runtime.reply_player import ReplyPlayer
from duologue.runtime.services import Services, Severity
from duologue.runtime.session_setup import Aside, Note, Persona, ReplyFinished, SessionEvent, SessionSetup, Spoken
from duologue.runtime.shell import CarryOut, Observer, Shell, as_ours
from duologue.runtime.speech_input import SpeechInput
from duologue.runtime.step_times import teller
from duologue.runtime.summary import summarise
from duologue.runtime.told_by_programs import GivenOptions, checked, reply_options, tool_specs
from duologue.runtime.tool_runner import ToolRunner
from duologue.runtime.trace import Trace
from duologue.runtime.user_tools import HandedToTools
from duologue.runtime.watched import attended, closed_in_time


class Session(HandedToTools):
    """One conversation with one caller, to be used with `async with`, which raises at its end what failed it (`error`),
    unless that was the connection.

    What a program may do to it (`say`, `type`, `interrupt`, …) raises `ProtocolError` where the conversation has no
    step for it now, and after its end. It may be done from any thread; from another than the loop's, as from an
    observer, it is done a moment later, and refused by a `Note`. Everything else belongs to the loop's thread.
    `user_data`: what the program gave the session to carry.
    """

    def __init__(self, transport: Transport, setup: SessionSetup) -> None:
        self.transport = transport
        self.user_data = setup.user_data
        self.meter = Meter()
        self.error: DuologueError | None = None
        self.id = snapshot.session_id(setup.snapshot) or uuid.uuid4().hex
        self._setup = setup
        self._personas = Personas(setup.persona, setup.stages, setup.personas)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._failed = False
        self._tasks = OwnTasks(self._fail)
        self._closed = asyncio.Event()
        self._shell = Shell(self._make_conversation(), self._crash)
        services = Services(self.now, self._shell.post, self.note, self._tasks.spawn, self.meter)
        self._services = services
        stages = setup.stages
        judged = JudgeContext(self.id, setup.persona.language, self.output_rate_hz)
        self._judging = Judging(stages.judges, judged, services)
        self._speech_input = SpeechInput(
            stages.vad,
            stages.asr,
            services,
            judging=self._judging,
            asr_context=lambda: self._personas.asr_context(self.id),
            on_deaf=self._deaf,
        )
        remote_tools = setup.remote_tools or snapshot.remote_tools(setup.snapshot or {})
        self._tool_runner = ToolRunner(setup.tools, remote_tools, services, self)
        self._reply_player = ReplyPlayer(
            transport,
            services,
            self._reply_context,
            self._request,
            on_spoken=lambda reply, text: self._shell.tell(Spoken(self.now(), reply, text)),
            on_failed=self._transport_failed,
            on_played=self._judging.hear_agent if stages.judges else None,
        )
        self._shell.begin(setup.traced(self.id, self._trace_header), self._carry_out())  # last: it opens a file

    def _make_conversation(self) -> Conversation:
        setup = self._setup
        if setup.snapshot is None:
            return Conversation(setup.policy, instructions=setup.persona.instructions, persona=setup.persona.name)
        return snapshot.restore(setup.policy, setup.snapshot)

    def _trace_header(self) -> dict[str, Any]:
        return {
            "session": self.id,
            "stages": {**self._setup.stages.names(), "llm": f"{self._personas.llm.name} ({self._personas.llm.model})"},
            "is_language_model": self._personas.llm.is_language_model,
            "conversation": self.conversation.snapshot(),
        }

    def _carry_out(self) -> CarryOut:
        """What the core's actions mean; those that are not here are only told."""
        player, tools, hearing = self._reply_player, self._tool_runner, self._speech_input
        return {
            act.OpenRecognition: lambda action: hearing.open(action.turn, action.since),
            act.FinaliseRecognition: lambda action: hearing.finalise(action.turn, action.mark),
            act.CloseRecognition: lambda action: hearing.close(action.turn),
            act.BeginReply: player.begin,
            act.ReleaseReply: player.release,
            act.ContinueReply: player.go_on,
            act.SpeakFiller: player.fill,
            act.FinishReply: player.finish,
            act.CancelReply: player.cancel,
            act.HoldPlayout: player.hold,
            act.ResumePlayout: player.resume,
            act.RunTool: tools.run,
            act.CancelTool: tools.cancel,
            act.SummariseHistory: self._summarise,
            act.CloseSession: self._close_session,
        }

    # --- life -----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if not self._personas.llm.is_language_model:
            self.note("llm", f"{self._personas.llm.name} is no language model: it answers from sample dialogues")
        self._judging.begin()
        self._tasks.spawn(self._run_transport())
        if accompany := getattr(self.transport, "accompany", None):
            self._tasks.spawn(attended(accompany(self), self._transport_failed))
        if self._setup.snapshot is not None:
            self._shell.drain(lambda: self._shell.take_over(self._revive))
        elif self._setup.persona.greeting:
            self.say(self._setup.persona.greeting)
        self._shell.rearm()
        return self

    def _revive(self, live: int) -> None:
        reply = self.conversation.core.state.reply
        if reply and (waiting := snapshot.waiting_reply(self._setup.snapshot or {}, live)):
            action = act.BeginReply(live, reply.turn, persona=reply.persona, tag=reply.tag, options=reply.options)
            self._reply_player.revive(action, *waiting)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self._closed.is_set():
                await self.close("left", finish=error is None)
        finally:
            await self._end()
        if error is None and self.error is not None and not isinstance(self.error, TransportError):
            raise self.error  # a connection that broke is the peer's business; everything else is the program's

    async def close(self, reason: str = "closed", *, finish: bool = True) -> None:
        """End the session; with `finish` after the agent has said what it is saying. Returns when it is over; inside a
        tool, and in what a tool began, at once: the reply that would have to end first waits for the tool.
        """
        self._request_close(reason, finish)
        if not self._tool_runner.is_asking:
            await self._closed.wait()

    def hang_up(self, reason: str = "hung up by the agent") -> None:
        """End the session when the agent has said what it is saying, a tool's reply included. Returns at once; nothing
        happens where it is over. What is said for more than `limits.close_s_max` from now is cut short.
        """
        self._request_close(reason, finish=True)

    def _request_close(self, reason: str, finish: bool) -> None:
        with suppress(ProtocolError):  # it is over: nothing is left to be ended
            self.post(ev.CloseRequested(self.now(), mended(reason), finish))

    async def wait_closed(self) -> None:
        """Return when the session is over, whoever ended it; inside a tool at once, as `close` does."""
        if not self._tool_runner.is_asking:
            await self._closed.wait()

    async def _run_transport(self) -> None:
        try:
            await self.transport.run(self)
            reason = "hung up"
        except TransportError as error:
            self.error, reason = error, "connection lost"
            self.note("transport", str(error), "error")
        except Exception as error:  # a stranger's transport may raise anything
            return self._transport_failed(error)
        self._shell.post(ev.CloseRequested(self.now(), reason, finish=False))

    async def _end(self) -> None:
        """Stop and await everything that belongs to the session."""
        self._closed.set()
        self._shell.rearm()
        try:
            self._reply_player.silence()
            await closed_in_time(self.transport.aclose(), "transport", self.note)
            await self._tool_runner.finish()
        finally:
            self._speech_input.close_all()
            if stuck := await self._tasks.end():
                self.note("internal", f"{stuck} tasks were cancelled, did not stop and are left behind", "error")
            self.trace.close()
            if self.trace.lost:
                self._shell.tell(Note(self.now(), "trace", self.trace.lost, "error"))
            self._over()

    def _transport_failed(self, error: Exception) -> None:
        self._fail(error if isinstance(error, DuologueError) else TransportError(f"{type(error).__name__}: {error}"))

    def _fail(self, error: BaseException) -> None:
        """Something that the session can't do without broke: end, and remember what was heard until now."""
        if self._closed.is_set() or self._failed:
            return
        self._failed = True
        self.error = as_ours(error)
        self.note("transport" if isinstance(error, TransportError) else "internal", str(self.error), "error")
        self._shell.post(ev.CloseRequested(self.now(), f"failed: {self.error}", finish=False))

    def _crash(self, error: BaseException) -> None:
        """The core or one of its actions broke: say so and end, rather than hang."""
        self.error = self.error or as_ours(error)
        self.note("internal", str(as_ours(error)), "error")
        with suppress(Exception):  # it may be broken past that, too; then what was heard is lost with it
            reply, heard = self._reply_player.silence()
            self.conversation.feed(ev.ReplyEnded(max(self.now(), self.conversation.now), reply, heard, cut=True))
        self._over()

    def _over(self) -> None:
        self._closed.set()
        self._shell.end()

    def now(self) -> float:
        """Session seconds."""
        return self._shell.now()

    def post(self, event: ev.Event) -> None:
        """Tell the core `event`, from any thread. Raises `ProtocolError` for one that is out of order or a stage's to
        tell, and after the end.

        From inside an action it waits its turn, from another thread for the loop's; a refusal is noted then.
        """
        event = checked(event)
        if self.closed or self.phase is Phase.CLOSED:
            raise ProtocolError(f"{type(event).__name__} came when the session was over", hint="See session.closed")
        if isinstance(event, ev.ToolReturned) and not self.conversation.awaits_tool(event.call_id):
            self.note("tool", f"dropped: no call {event.call_id!r} waits for a result", "warning")
        elif threading.get_ident() == self._thread:
            self._shell.post(event, self._refused)
        else:
            self._loop.call_soon_threadsafe(self._do_later, self.post, event)

    def _do_later(self, action: Callable[..., None], *args: Any) -> None:
        try:
            action(*args)
        except ProtocolError as error:
            self._refused(error)

    def _refused(self, error: ProtocolError) -> None:
        self.note("program", f"dropped: {error}", "warning")

    def note(self, source: str, text: str, severity: Severity = "info") -> None:
        """Write to the trace, and tell the observers."""
        self._shell.note(source, text, severity)

    # --- the transport's sink -------------------------------------------------------------------------------------

    @property
    def output_rate_hz(self) -> int:
        """Rate of the agent's audio: what the transport plays is 20 ms at this rate."""
        return self._setup.output_rate_hz

    def audio(self, pcm: bytes) -> None:
        """The next 20 ms of the caller: 640 bytes. Raises `TransportError` for another length."""
        if len(pcm) != FRAME_BYTES:
            raise TransportError(
                f"a piece of audio has {len(pcm)} bytes, expected {FRAME_BYTES}",
                hint="Deliver 20 ms of mono 16 kHz int16 at a time",
            )
        if not self._closed.is_set():
            self._speech_input.audio(pcm)

    def event(self, event: ev.Event) -> None:
        """Something the caller's side did.

        What comes out of order is noted and dropped: a peer can't know our phase.
        """
        if self._shell.is_deciding:  # from inside an action, as when a transport tells at once what it flushed
            self._loop.call_soon(self.event, event)
            return
        try:
            self._shell.post(replace(checked(event), at=self.now()))
        except ProtocolError as error:
            self.note("transport", f"dropped: {error}", "warning")

    def played(self, reply: int, samples: int) -> None:
        """The remote player has played so many samples of `reply`. What can't be true is noted and dropped."""
        if self._shell.is_deciding:
            self._loop.call_soon(self.played, reply, samples)
        elif not self.closed:
            self._reply_player.reported(reply, samples)

    def _deaf(self, error: StageError) -> None:
        self.error = error
        self._shell.post(ev.CloseRequested(self.now(), f"voice activity detection failed: {error}"))

    # --- what a program sees --------------------------------------------------------------------------------------

    def events(self) -> AsyncIterator[SessionEvent]:
        """Everything that happens and is decided until the session is over: from its beginning for the first who
        reads, from now for others. A reader that falls more than 2000 behind loses the oldest.
        """
        return self._shell.broadcast.events()

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Call `observer` with all that happens and is decided, in order, before it is carried out: no audio overtakes
        what announces it, and nothing is lost. It must be quick, and what it posts waits its turn.

        Returns a function that ends it. Raises `ProtocolError` beyond 32 observers.
        """
        return self._shell.observe(observer)

    @property
    def trace(self) -> Trace:
        """The log of all that happened."""
        return self._shell.trace

    @property
    def phase(self) -> Phase:
        """Who has the floor."""
        return self.conversation.phase

    @property
    def conversation(self) -> Conversation:
        """The core, to look at: `history`, `summary`, `phase`."""
        return self._shell.conversation

    @property
    def closed(self) -> bool:
        """Whether the session is over."""
        return self._closed.is_set()

    def snapshot(self) -> dict[str, Any]:
        """The whole state as JSON-able data; `agent.session(transport, snapshot=…)` goes on from it elsewhere."""
        self._reply_player.report()
        return snapshot.take(self.id, self.conversation, self._tool_runner.remote)

    # --- what a program does --------------------------------------------------------------------------------------

    def say(self, text: str, *, interruptible: bool = True, in_history: bool = True) -> None:
        """Say `text`, word for word, as soon as nobody else has the floor."""
        self.post(ev.SayRequested(self.now(), text, interruptible, in_history))

    def type(self, text: str, *, images: Iterable[str] = (), reply: bool = True, author: str = "") -> None:
        """A turn of the user that is typed. `images`: http(s) or data URLs. `author`: who of several typed it."""
        self.post(ev.TypedTurn(self.now(), text, tuple(images), reply, author))

    def show(self, *images: str) -> None:
        """Images (http(s) or data URLs) that go with the user's open or next turn."""
        self.post(ev.ImagesShown(self.now(), images))

    def request_reply(self, tag: str = "", **options: Unpack[GivenOptions]) -> None:
        """A reply as soon as nobody else has the floor. `options`: as in `duologue.ReplyOptions`, for it alone; `tools`
        may be functions. `tag` comes back with `BeginReply`, `RefuseSay` and `ReplyOver`.

        Raises `ProtocolError` for options that contradict each other, or that there are not.
        """
        self.post(ev.ReplyRequested(self.now(), tag, reply_options(options)))

    def insert(self, item: Item, after: str | None = None) -> None:
        """Put `item` into the history, behind the item `after` (`"root"`: before all others; None: at the end).

        Raises `ProtocolError` for an id that is not there, or taken, and for a result that no call waits for.
        """
        self.post(ev.ItemInserted(self.now(), item, after))

    def remove(self, item_id: str) -> None:
        """Take an item out of the history, a call with its result. Raises `ProtocolError` where there is none."""
        self.post(ev.ItemRemoved(self.now(), item_id))

    def open_turn(self, *, interrupt: bool = False) -> None:
        """Push-to-talk pressed. The agent goes on speaking, unless `interrupt`."""
        self.post(ev.TurnOpened(self.now(), interrupt))

    def commit_turn(self) -> None:
        """Push-to-talk released, or a manual commit."""
        self.post(ev.TurnCommitted(self.now()))

    def clear_turn(self) -> None:
        """Forget the open turn."""
        self.post(ev.TurnCleared(self.now()))

    def interrupt(self) -> None:
        """Silence the agent."""
        self.post(ev.InterruptRequested(self.now()))

    def truncate_reply(self, reply: int, audio_ms: float) -> None:
        """What a player says that cut `reply` by itself: its first `audio_ms` were heard, and no more. Silences a reply
        that is being played. What a hold repeated counts as the player played it, and is in the history once.

        Raises `ProtocolError` for a reply that was not played or is forgotten (the newest 32 are not), beyond its end
        by more than 250 ms, which a player may count in padding, and when the session is over.
        """
        if self.closed:
            raise ProtocolError("a reply can't be cut when the session is over", hint="See session.closed")
        if threading.get_ident() != self._thread:
            self._loop.call_soon_threadsafe(self._do_later, self.truncate_reply, reply, audio_ms)
        else:
            self._reply_player.truncate(reply, audio_ms, self.output_rate_hz)

    def set_endpointing(self, *, automatic: bool, reply_automatically: bool = True) -> None:
        """Turns end by silence, or only by commit; replies come by themselves, or only on request."""
        policy = self.conversation.policy
        endpointing = replace(policy.endpointing, mode="automatic" if automatic else "manual")
        reply = replace(policy.reply, automatic=reply_automatically)
        self.set_policy(replace(policy, endpointing=endpointing, reply=reply))

    def set_policy(self, policy: Policy) -> None:
        """Other numbers from now on (`dataclasses.replace(session.conversation.policy, …)`)."""
        self.post(ev.PolicyChanged(self.now(), policy))

    def return_tool(self, call_id: str, output: str, *, failed: bool = False) -> None:
        """The result of a tool that the caller's side ran (`RunTool` with `remote`), however late. A reply with it
        begins on request. One that no call waits for is noted and dropped."""
        self.post(ev.ToolReturned(self.now(), call_id, output, failed))

    def set_remote_tools(self, specs: Iterable[ToolSpec]) -> None:
        """The caller's side offers these tools from now on; calls come as `RunTool` with `remote`."""
        self._tool_runner.set_remote(tool_specs(specs))

    def use_persona(self, persona: Persona, *, greet: bool = False) -> None:
        """Another persona speaks from the next turn or reply on, never in the middle of one; its greeting comes first
        if `greet`. What the one before is saying is said to its end, in that one's voice.

        Raises `ProtocolError` beyond 32 personas in one session.
        """
        self._personas.check(persona)
        greeting = persona.greeting if greet else ""
        self.post(ev.PersonaChanged(self.now(), persona.name, persona.instructions, greeting))
        self._personas.follow(persona)

    def hand_off(self, persona: Persona) -> None:
        """ "I transfer you": another persona takes over and greets, in its own voice."""
        self.use_persona(persona, greet=True)

    # --- what the core's actions mean -----------------------------------------------------------------------------

    def _reply_context(self, action: act.BeginReply) -> ReplyContext:
        speech = self._personas.speech(action, self.conversation.language)
        return ReplyContext(
            services=self._services,
            source=self._personas.source(action),
            speech=replace(speech, sample_rate_hz=self.output_rate_hz),
            session=self.id,
            tool_traits=lambda name: self._tool_runner.traits(name, action.options.tools or ()),
            unique_id=lambda call_id: self._tool_runner.unique_id(call_id, self.conversation.knows_tool_call),
            on_aside=self._aside,
            on_finished=self._reply_finished,
            on_step=teller(self._shell),
            text_only=action.options.text_only,
        )

    def _aside(self, reply: int, text: str) -> None:
        now = self.now()
        self.trace.note(now, "llm", "not spoken", reply=reply, aside=text)
        self._shell.tell(Aside(now, reply, text))

    def _reply_finished(self, reply: int, reason: str, usage: Usage | None) -> None:
        self._shell.tell(ReplyFinished(self.now(), reply, reason, usage))

    def _request(self, reply: int, tools: bool) -> LlmRequest:
        options = self.conversation.options(reply)
        specs = self._tool_runner.specs if options.tools is None else options.tools
        return LlmRequest(
            tuple(self.conversation.prompt(reply)),
            tools=specs if tools else (),
            temperature=options.temperature,
            output_tokens_max=options.output_tokens_max,
            tool_choice=self._tool_runner.choice(options.tool_choice, specs) if tools else "auto",
            session=self.id,
        )

    def _summarise(self, action: act.SummariseHistory) -> None:
        messages = tuple(self.conversation.to_summarise(action.items))
        self._tasks.spawn(summarise(self._personas.llm, messages, action.items, self._services))

    def _close_session(self, action: act.CloseSession) -> None:
        self._reply_player.silence()
        self._over()
