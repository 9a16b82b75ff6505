"""The shell: tell the core what happened, carry out what it decides, re-arm one deadline. It decides nothing itself.

One session serves one caller over one transport. Everything runs on one event loop; whatever takes long runs in tasks
that belong to the session and end with it.
"""

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self

from duologue.audio import FRAME_BYTES
from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.actions import Action
from duologue.core.codec import to_data
from duologue.core.messages import Message, ToolSpec
from duologue.core.turns import Conversation, Phase
from duologue.core.words import mended
from duologue.errors import DuologueError, InternalError, ProtocolError, StageError, TransportError
from duologue.ports.asr import AsrContext
from duologue.ports.llm import Llm, LlmRequest
from duologue.ports.transport import Transport
from duologue.runtime import snapshot
from duologue.runtime.controls import Controls
from duologue.runtime.hearing import Ear, EarContext
from duologue.runtime.meter import Meter
from duologue.runtime.mouth import Mouth
from duologue.runtime.overruns import Overruns
from duologue.runtime.parts import Aside, Note, Persona, SessionEvent, SessionSetup
from duologue.runtime.readers import Readers
from duologue.runtime.reply import ReplyContext
from duologue.runtime.summary import summarise
from duologue.runtime.toolbox import Toolbox

END_S_MAX: Final = 5.0  # for tasks to stop when they are cancelled; a user's function may refuse to


class Session(Controls):
    """One conversation with one caller, to be used with `async with`, which raises at its end what failed it (`error`),
    unless that was the connection."""

    def __init__(self, transport: Transport, setup: SessionSetup) -> None:
        self.transport = transport
        self.meter = Meter()
        self.error: DuologueError | None = None
        self.id = str((setup.snapshot or {}).get("id") or uuid.uuid4().hex)
        self._setup = setup
        self._persona = setup.persona
        self._conversation = self._make_conversation()
        self._loop = asyncio.get_running_loop()
        self._t0 = self._loop.time() - self._conversation.now
        self._inbox: deque[ev.Event] = deque()
        self._draining = self._failed = False
        self._timer: asyncio.TimerHandle | None = None
        self._readers = Readers()
        self._overruns = Overruns(self.note)
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = asyncio.Event()
        self._ear = Ear(setup.stages.vad, setup.stages.asr, self._ear_context())
        self._toolbox = Toolbox(
            setup.tools,
            setup.remote_tools or snapshot.remote_tools(setup.snapshot or {}),
            meter=self.meter,
            post=self.post,
            note=self.note,
            now=self.now,
            spawn=self._spawn,
        )
        self._mouth = Mouth(transport, self._reply_context, self._request, self._playout_failed)
        self.trace = setup.traced(self.id, self._trace_header)  # last: it opens a file

    def _ear_context(self) -> EarContext:
        return EarContext(
            meter=self.meter,
            post=self.post,
            note=self.note,
            now=self.now,
            spawn=self._spawn,
            asr_context=self._asr_context,
            on_deaf=self._deaf,
        )

    def _asr_context(self) -> AsrContext:
        persona = self._persona
        return AsrContext(persona.language, persona.phrases, persona.languages)

    def _make_conversation(self) -> Conversation:
        setup = self._setup
        if setup.snapshot is None:
            return Conversation(setup.policy, system=self._persona.system, pack=self._persona.name)
        return snapshot.restore(setup.policy, setup.snapshot)

    def _trace_header(self) -> dict[str, Any]:
        stages = self._setup.stages
        return {
            "session": self.id,
            "policy": to_data(self._setup.policy),
            "stages": {
                "vad": stages.vad.name,
                "asr": stages.asr.name,
                "llm": f"{self._llm.name} ({self._llm.model})",
                "tts": stages.tts.name,
            },
            "is_language_model": self._llm.is_language_model,
            "conversation": self._conversation.snapshot(),
        }

    # --- life -----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if not self._llm.is_language_model:
            self.note("llm", f"{self._llm.name} is no language model: it answers from sample dialogues")
        self._spawn(self._run_transport())
        if self._setup.snapshot is not None:
            self._drain(self._take_over)
        elif self._persona.greeting:
            self.say(self._persona.greeting)
        self._rearm()
        return self

    def _take_over(self) -> None:
        now = self.now()
        self._advance(now)
        actions = self._conversation.take_over()
        self.trace.taken_over(now)
        self.trace.actions(now, actions)
        live = self._conversation.reply
        if waiting := snapshot.waiting_reply(self._setup.snapshot or {}, live):
            self._mouth.revive(live, *waiting)
        self._carry_out_all(actions)

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
        """End the session; with `finish` after the agent has said what it is saying. Returns when it is over."""
        if not self._closed.is_set():
            self.post(ev.CloseRequested(self.now(), mended(reason), finish))
        await self._closed.wait()

    async def wait_closed(self) -> None:
        """Return when the session is over, whoever ended it."""
        await self._closed.wait()

    async def _run_transport(self) -> None:
        try:
            await self.transport.run(self)
            reason = "hung up"
        except TransportError as error:
            self.error, reason = error, "connection lost"
            self.note("transport", str(error))
        if not self._closed.is_set():
            self.post(ev.CloseRequested(self.now(), reason, finish=False))

    async def _end(self) -> None:
        """Stop and await everything that belongs to the session."""
        self._closed.set()
        self._rearm()
        try:
            self._mouth.silence()
            await self.transport.aclose()
            await self._toolbox.finish()
        finally:
            self._ear.close_all()
            pending = list(self._tasks)
            for task in pending:
                task.cancel()
            if pending and (stuck := (await asyncio.wait(pending, timeout=END_S_MAX))[1]):
                self.note("internal", f"{len(stuck)} tasks did not stop when they were cancelled, and are left behind")
            self.trace.close()
            if self.trace.lost:
                self._publish(Note(self.now(), "trace", self.trace.lost))
            self._end_events()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """A task that belongs to the session: its failure is the session's, and it ends with it."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _playout_failed(self, error: Exception) -> None:
        self._fail(error if isinstance(error, DuologueError) else TransportError(f"{type(error).__name__}: {error}"))

    def _fail(self, error: BaseException) -> None:
        """Something that the session can't do without broke: end, and remember what was heard until now."""
        if self._closed.is_set() or self._failed:
            return
        self._failed = True
        self.error = _as_ours(error)
        self.note("transport" if isinstance(error, TransportError) else "internal", str(self.error))
        self.post(ev.CloseRequested(self.now(), f"failed: {self.error}", finish=False))

    def _crash(self, error: BaseException) -> None:
        """The core or one of its actions broke: say so and end, rather than hang."""
        self.error = self.error or _as_ours(error)
        self.note("internal", str(_as_ours(error)))
        reply, heard = self._mouth.silence()
        with suppress(Exception):  # it may be broken past that, too; then what was heard is lost with it
            self._conversation.feed(ev.ReplyEnded(max(self.now(), self._conversation.now), reply, heard, cut=True))
        self._end_events()

    # --- beats ----------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """Session seconds."""
        return self._loop.time() - self._t0

    def post(self, event: ev.Event) -> None:
        """Tell the core `event`, and carry out what it decides. From inside an action it waits its turn.

        Raises `ProtocolError` for an event that is out of order.
        """
        if self._draining:
            self._inbox.append(event)
        else:
            self._drain(lambda: self._beat(event))

    def _drain(self, first: Callable[[], None]) -> None:
        """Do `first` and all that it brings about. Raises the `ProtocolError` of `first`; any other error ends the
        session."""
        self._draining = True
        refusal: ProtocolError | None = None
        try:
            try:
                first()
            except ProtocolError as error:
                refusal = error
            while self._inbox:
                self._beat(self._inbox.popleft())
        except Exception as error:  # whatever it is, a session must not hang half-decided: it ends and says why
            self._inbox.clear()
            self._crash(error)
        finally:
            self._draining = False
            self._rearm()
        if refusal:
            raise refusal

    def _beat(self, event: ev.Event) -> None:
        if self._closed.is_set():
            return
        self.trace.begin_step()
        if event.at < self._conversation.now:
            event = replace(event, at=self._conversation.now)  # a timer fired between the stamp and here
        self._advance(event.at)
        actions = self._conversation.feed(event)
        self.trace.event(event)
        self._publish(event)
        self.trace.actions(event.at, actions)
        self._carry_out_all(actions)

    def _advance(self, now: float) -> None:
        deadline = self._conversation.deadline
        if deadline is not None and deadline <= now:
            actions = self._conversation.advance(now)
            self.trace.advanced(now)
            self.trace.actions(now, actions)
            self._carry_out_all(actions)

    def _on_deadline(self) -> None:
        self._timer = None
        if self._closed.is_set():
            return
        self.trace.begin_step()
        now = self.now()
        due = self._conversation.deadline or now
        self._overruns.late(now - due, now)
        try:
            self._drain(lambda: self._advance(max(now, due)))
        except ProtocolError as error:  # nobody to tell it to: a deadline of its own is what the core must know
            self._crash(error)

    def _rearm(self) -> None:
        deadline = None if self._closed.is_set() else self._conversation.deadline
        if self._timer:
            if deadline is not None and self._timer.when() == deadline + self._t0:
                return
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            self._timer = self._loop.call_at(deadline + self._t0, self._on_deadline)

    def _carry_out_all(self, actions: Iterable[Action]) -> None:
        for action in actions:
            self._publish(action)
            carry_out = CARRY_OUT.get(type(action))
            if carry_out:
                carry_out(self, action)

    # --- the transport's sink -------------------------------------------------------------------------------------

    def audio(self, pcm: bytes) -> None:
        """The next 20 ms of the caller: 640 bytes. Raises `TransportError` for another length."""
        if len(pcm) != FRAME_BYTES:
            raise TransportError(
                f"a piece of audio has {len(pcm)} bytes, expected {FRAME_BYTES}",
                hint="Deliver 20 ms of mono 16 kHz int16 at a time",
            )
        if not self._closed.is_set():
            self._ear.audio(pcm)

    def event(self, event: ev.Event) -> None:
        """Something the caller's side did.

        What comes out of order is noted and dropped: a peer can't know our phase.
        """
        if self._draining:  # from inside an action, as when a transport tells at once what it flushed
            self._loop.call_soon(self.event, event)
            return
        if isinstance(event, ev.PlayoutReported):
            self._mouth.far_side_reports(event)
            return
        try:
            self.post(replace(event, at=self.now()))
        except ProtocolError as error:
            self.note("transport", f"dropped: {error}")

    def _deaf(self, error: StageError) -> None:
        self.error = error
        self.post(ev.CloseRequested(self.now(), f"voice activity detection failed: {error}"))

    # --- what a program does besides `Controls` ---------------------------------------------------------------------

    def set_remote_tools(self, specs: Iterable[ToolSpec]) -> None:
        """The far side offers these tools from now on; calls come as `RunTool` with `far_side` in `events`."""
        self._toolbox.set_remote(specs)

    def use_persona(self, persona: Persona) -> None:
        """Another pack, from the next turn on."""
        self._persona = persona
        self.post(ev.PackChanged(self.now(), persona.name, persona.system))

    def events(self) -> AsyncIterator[SessionEvent]:
        """Everything that happens and is decided until the session is over: from its beginning for the first who
        reads, from now for others. A reader that falls more than 2000 behind loses the oldest.
        """
        return self._readers.events()

    def _publish(self, event: SessionEvent) -> None:
        if not isinstance(event, ev.HeardSoFar):
            self._readers.publish(event)

    def note(self, source: str, text: str) -> None:
        """Write to the trace, and tell the readers of `events`."""
        now = self.now()
        self.trace.note(now, source, text)
        self._publish(Note(now, source, text))

    @property
    def phase(self) -> Phase:
        """Who has the floor."""
        return self._conversation.phase

    @property
    def conversation(self) -> Conversation:
        """The core, to look at: `history`, `summary`, `phase`."""
        return self._conversation

    @property
    def closed(self) -> bool:
        """Whether the session is over."""
        return self._closed.is_set()

    def snapshot(self) -> dict[str, Any]:
        """The whole state as JSON-able data; `agent.session(transport, snapshot=…)` goes on from it elsewhere."""
        self._mouth.report()
        return snapshot.take(self.id, self._conversation, self._toolbox.remote)

    # --- what the core's actions mean -----------------------------------------------------------------------------

    @property
    def _llm(self) -> Llm:
        return self._persona.llm or self._setup.stages.llm

    def _reply_context(self) -> ReplyContext:
        return ReplyContext(
            llm=self._llm,
            tts=self._setup.stages.tts,
            speech=self._persona.speech_in(self._conversation.language),
            meter=self.meter,
            post=self.post,
            note=self.note,
            now=self.now,
            spawn=self._spawn,
            tool_traits=self._toolbox.traits,
            unique_id=self._toolbox.unique_id,
            on_aside=self._aside,
        )

    def _aside(self, reply: int, text: str) -> None:
        now = self.now()
        self.trace.note(now, "llm", "not spoken", reply=reply, aside=text)
        self._publish(Aside(now, reply, text))

    def _request(self, reply: int, tools: bool) -> LlmRequest:
        specs = self._toolbox.specs if tools else ()
        return LlmRequest(tuple(self._conversation.prompt(reply)), tools=specs, session=self.id)

    def _open_recognition(self, action: act.OpenRecognition) -> None:
        self._ear.open(action.turn, action.since)

    def _finalise_recognition(self, action: act.FinaliseRecognition) -> None:
        self._ear.finalise(action.turn, action.mark)

    def _close_recognition(self, action: act.CloseRecognition) -> None:
        self._ear.close(action.turn)

    def _summarise(self, action: act.SummariseHistory) -> None:
        messages = tuple(self._conversation.to_summarise(action.items))
        self._spawn(self._summary(action.items, messages))

    async def _summary(self, items: int, messages: tuple[Message, ...]) -> None:
        text = ""
        try:
            text = await summarise(self._llm, messages, self.meter)
        except DuologueError as error:
            self.note("llm", f"no summary, an extract takes its place: {error}")
        self.post(ev.SummaryMade(self.now(), items, text))

    def _close_session(self, action: act.CloseSession) -> None:
        self._mouth.silence()
        self._end_events()

    def _end_events(self) -> None:
        self._closed.set()
        self._readers.end()


def _as_ours(error: BaseException) -> DuologueError:
    """`error` as one of our tree; a step that the core refuses to its own shell is our fault."""
    if isinstance(error, DuologueError) and not isinstance(error, ProtocolError):
        return error
    return InternalError(f"{type(error).__name__}: {error}", hint="Please report it with the trace")


CARRY_OUT: Final[Mapping[type[Action], Callable[[Session, Any], None]]] = {
    act.OpenRecognition: Session._open_recognition,
    act.FinaliseRecognition: Session._finalise_recognition,
    act.CloseRecognition: Session._close_recognition,
    act.BeginReply: lambda session, action: session._mouth.begin(action),
    act.ReleaseReply: lambda session, action: session._mouth.release(action),
    act.ContinueReply: lambda session, action: session._mouth.go_on(action),
    act.SpeakFiller: lambda session, action: session._mouth.fill(action),
    act.CancelReply: lambda session, action: session._mouth.cancel(action),
    act.HoldPlayout: lambda session, action: session._mouth.hold(action),
    act.ResumePlayout: lambda session, action: session._mouth.resume(action),
    act.RunTool: lambda session, action: session._toolbox.run(action),
    act.CancelTool: lambda session, action: session._toolbox.cancel(action),
    act.SummariseHistory: Session._summarise,
    act.CloseSession: Session._close_session,
}
