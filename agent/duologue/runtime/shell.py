"""The four beats: tell the core what happened, tell the observers, carry out what it decides, re-arm one deadline.

The shell decides nothing. It knows what an action means only through the table that its session gives it, and it keeps
the order in which things are told: an event before the actions that come of it, an action before it is carried out.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from duologue.core.actions import Action
from duologue.core.conversation import Conversation
from duologue.core.events import Event, HeardSoFar
from duologue.errors import ConfigurationError, DuologueError, InternalError, ProtocolError
from duologue.runtime.broadcast import Broadcast
from duologue.runtime.overruns import Overruns
from duologue.runtime.services import Severity
from duologue.runtime.session_setup import Note, SessionEvent
from duologue.runtime.trace import Trace

BEATS_MAX: Final = 1000  # in one go: real ones are a dozen
TELLING_MAX: Final = 8  # one because of the other: a note about a note
OBSERVERS_MAX: Final = 32  # of one session; each costs time on the loop at every event

OnRefused = Callable[[ProtocolError], None]
Observer = Callable[[SessionEvent], None]
CarryOut = Mapping[type[Action], Callable[[Any], None]]


class Shell:
    """Drives one `Conversation` on the event loop's clock.

    `on_crash` is told what the core or one of its actions raised: nothing can be decided after that. `begin` comes
    before everything else.
    """

    def __init__(self, conversation: Conversation, on_crash: Callable[[Exception], None]) -> None:
        self.conversation = conversation
        self.broadcast = Broadcast()
        self.trace: Trace
        self._loop = asyncio.get_running_loop()
        self._t0 = self._loop.time() - conversation.now
        self._on_crash = on_crash
        self._carry_out: CarryOut = {}
        self._observers: list[Observer] = []
        self._inbox: deque[tuple[Event, OnRefused | None]] = deque()
        self._draining = self._over = False
        self._telling = 0  # things that are being told, one because of the other
        self._timer: asyncio.TimerHandle | None = None
        self._overruns = Overruns(self.note)

    def begin(self, trace: Trace, carry_out: CarryOut) -> None:
        """`trace` takes the log from now on; `carry_out` says what each action means."""
        self.trace, self._carry_out = trace, carry_out

    def end(self) -> None:
        """No beat after this one, no deadline, no event for those who read. Idempotent."""
        self._over = True
        self.rearm()
        self.broadcast.end()

    # --- what can be asked -----------------------------------------------------------------------------------------

    def now(self) -> float:
        """Session seconds."""
        return self._loop.time() - self._t0

    @property
    def is_deciding(self) -> bool:
        """Whether a step is being carried out: what is posted now waits its turn."""
        return self._draining

    # --- telling ---------------------------------------------------------------------------------------------------

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Call `observer` with everything that is told, in order, before it is carried out; returns what ends that."""
        if len(self._observers) >= OBSERVERS_MAX:
            raise ProtocolError(f"{OBSERVERS_MAX} observers already watch this session", hint="End one of them first")
        self._observers.append(observer)
        return lambda: self._observers.remove(observer) if observer in self._observers else None

    def tell(self, event: SessionEvent) -> None:
        """Tell the observers, then those who read. What they post waits its turn."""
        if self._draining:
            self._tell(event)
        else:
            self.drain(lambda: self._tell(event))

    def _tell(self, event: SessionEvent) -> None:
        if self._telling >= TELLING_MAX:
            raise ProtocolError("an observer tells something at each thing that it is told")
        self._telling += 1
        try:
            self._tell_observers(event)
        finally:
            self._telling -= 1
        if not isinstance(event, HeardSoFar):
            self.broadcast.publish(event)

    def _tell_observers(self, event: SessionEvent) -> None:
        for observer in tuple(self._observers):
            try:
                observer(event)
            except (
                Exception,
                asyncio.CancelledError,
            ) as error:  # a stranger's function: it loses its place, the conversation goes on
                if observer in self._observers:
                    self._observers.remove(observer)
                self.note("observer", f"{type(error).__name__}: {error}; it is told nothing more", "error")

    def note(self, source: str, text: str, severity: Severity = "info") -> None:
        """Write to the trace, and tell it."""
        now = self.now()
        self.trace.note(now, source, text, **({} if severity == "info" else {"severity": severity}))
        self.tell(Note(now, source, text, severity))

    # --- the beats -------------------------------------------------------------------------------------------------

    def post(self, event: Event, on_refused: OnRefused | None = None) -> None:
        """Tell the core `event`, and carry out what it decides. From inside an action it waits its turn. After the end
        nothing is done.

        Raises `ProtocolError` for an event that is out of order; for one that had to wait `on_refused` is told, and
        without that it is a crash: what our own stages post must be in order.
        """
        if self._draining:
            self._inbox.append((event, on_refused))
        else:
            self.drain(lambda: self._beat(event))

    def drain(self, first: Callable[[], None]) -> None:
        """Do `first` and all that it brings about.

        Raises the `ProtocolError` of `first`; any other error is a crash.
        """
        self._draining = True
        refusal: ProtocolError | None = None
        try:
            try:
                first()
            except ProtocolError as error:
                refusal = error
            for _ in range(BEATS_MAX):
                if not self._inbox:
                    break
                self._beat_waiting(*self._inbox.popleft())
            else:
                last = type(self._inbox.popleft()[0]).__name__ if self._inbox else ""
                raise ConfigurationError(
                    f"{BEATS_MAX} events brought each other about, the last a {last}",
                    hint="An observer answers what it tells itself: let it answer others only",
                )
        except Exception as error:  # whatever it is, a session must not hang half-decided: it ends and says why
            self._inbox.clear()
            self._on_crash(error)
        finally:
            self._draining = False
            self.rearm()
        if refusal:
            raise refusal

    def _beat_waiting(self, event: Event, on_refused: OnRefused | None) -> None:
        try:
            if self._over and on_refused:
                raise ProtocolError(f"{type(event).__name__} came when the session was over")
            self._beat(event)
        except ProtocolError as error:
            if on_refused is None:
                raise
            on_refused(error)

    def _beat(self, event: Event) -> None:
        if self._over:
            return
        self.trace.begin_step()
        if event.at < self.conversation.now:
            event = replace(event, at=self.conversation.now)  # a timer fired between the stamp and here
        self.advance(event.at)
        actions = self.conversation.feed(event)
        self.trace.event(event)
        self.tell(event)
        self.trace.actions(event.at, actions)
        self._carry_out_all(actions)

    def advance(self, now: float) -> None:
        """Meet the deadlines up to `now`."""
        deadline = self.conversation.deadline
        if deadline is not None and deadline <= now:
            actions = self.conversation.advance(now)
            self.trace.advanced(now)
            self.trace.actions(now, actions)
            self._carry_out_all(actions)

    def take_over(self, before: Callable[[int], None]) -> None:
        """The conversation came from another process: begin again what died there.

        `before` is told the live reply's number once that is decided, before it is carried out.
        """
        now = self.now()
        actions = self.conversation.take_over()  # before any deadline: what they are about died with the old process
        self.trace.taken_over(now)
        self.trace.actions(now, actions)
        before(self.conversation.reply)
        self._carry_out_all(actions)

    def _carry_out_all(self, actions: Iterable[Action]) -> None:
        for action in actions:
            self.tell(action)
            if carry_out := self._carry_out.get(type(action)):
                carry_out(action)

    # --- the one deadline ------------------------------------------------------------------------------------------

    def rearm(self) -> None:
        """Wake at the core's deadline, and at no other time."""
        deadline = None if self._over else self.conversation.deadline
        if self._timer:
            if deadline is not None and self._timer.when() == deadline + self._t0:
                return
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            self._timer = self._loop.call_at(deadline + self._t0, self._on_deadline)

    def _on_deadline(self) -> None:
        self._timer = None
        if self._over:
            return
        self.trace.begin_step()
        now = self.now()
        due = self.conversation.deadline or now
        self._overruns.late(now - due, now)
        try:
            self.drain(lambda: self.advance(max(now, due)))
        except ProtocolError as error:  # nobody to tell it to: a deadline of its own is what the core must know
            self._on_crash(error)


def as_ours(error: BaseException) -> DuologueError:
    """`error` as one of our tree; a step that the core refuses to its own shell is our fault."""
    if isinstance(error, DuologueError) and not isinstance(error, ProtocolError):
        return error
    return InternalError(f"{type(error).__name__}: {error}", hint="Please report it with the trace")
