"""The judges of a session: fed both sides on its clock, told of its turns, and what they answer told to the core.

A judge is an opinion more, never a condition: one that fails, holds the loop or talks nonsense is noted and left out,
and the session goes on by sound and words.
"""

from collections.abc import Callable, Iterable
from contextlib import aclosing
from typing import Final

from duologue.audio import Frame
from duologue.core.events import TurnJudged
from duologue.errors import StageError
from duologue.ports.judge import Judge, JudgeContext, Judgement, JudgeStream
from duologue.runtime.overruns import BLOCKING_S_MAX, Overruns
from duologue.runtime.services import Services
from duologue.runtime.watched import stage_broke

FAILURES_MAX: Final = 3  # that may pass, of one judge in one session; it is opened anew before
OVERRUNS_MAX: Final = 10  # calls that held the loop, of one judge in one session
IN_A_ROW_MAX: Final = 100  # between two frames; one that never waits would hold the loop for ever
JUDGEMENTS_MAX: Final = 3000  # of one judge in one turn: one a frame for the longest turn


class Judging:
    """All judges of one session. Nothing is heard before `begin` and after `close`."""

    def __init__(self, judges: Iterable[Judge], context: JudgeContext, services: Services) -> None:
        self._hearings = [_Hearing(judge, context, services) for judge in judges]
        self._turn = 0

    def begin(self) -> None:
        """The session has begun."""
        for hearing in self._hearings:
            hearing.open()

    def hear_user(self, frame: Frame) -> None:
        """The next frame of the user."""
        for hearing in self._hearings:
            hearing.tell(lambda stream: stream.hear_user(frame))

    def hear_agent(self, frame: Frame) -> None:
        """The next frame that is played to the user; its `at` is when it sounds, in session seconds."""
        for hearing in self._hearings:
            hearing.tell(lambda stream: stream.hear_agent(frame))

    def begin_turn(self, turn: int, since: float) -> None:
        """The user's turn `turn` has begun at session second `since`."""
        self._turn = turn
        for hearing in self._hearings:
            hearing.begin_turn(turn, since)

    def pause_turn(self, until: float) -> None:
        """Voice paused after session second `until`; of the open turn, if there is one."""
        if turn := self._turn:
            for hearing in self._hearings:
                hearing.tell(lambda stream: stream.pause_turn(turn, until))

    def end_turn(self, turn: int) -> None:
        """`turn` is decided."""
        if turn == self._turn:
            self._turn = 0
            for hearing in self._hearings:
                hearing.end_turn(turn)

    def close(self) -> None:
        """The session is over."""
        for hearing in self._hearings:
            hearing.close()


class _Hearing:
    """One judge as it hears a session, and what it may do wrong there."""

    def __init__(self, judge: Judge, context: JudgeContext, services: Services) -> None:
        self._judge = judge
        self._context = context
        self._services = services
        self._stream: JudgeStream | None = None
        self._cancel: Callable[[], object] = lambda: None
        self._turn: tuple[int, float] | None = None
        self._failures = self._held_loop = self._judgements = self._in_a_row = 0
        self._overruns = Overruns(services.note)

    def open(self) -> None:
        """Begin to hear, from now on."""
        try:
            self._stream = stream = self._judge.open(self._context)
        except Exception as error:  # a stranger's judge may raise anything, here and below
            self._failed(error)
            return
        self._cancel = self._services.spawn(self._listen(stream)).cancel
        if turn := self._turn:
            self.tell(lambda stream: stream.begin_turn(*turn))

    def begin_turn(self, turn: int, since: float) -> None:
        """Tell it of the turn, or whoever is opened in its place later."""
        self._turn, self._judgements = (turn, since), 0
        self.tell(lambda stream: stream.begin_turn(turn, since))

    def end_turn(self, turn: int) -> None:
        """The turn is decided."""
        self._turn = None
        self.tell(lambda stream: stream.end_turn(turn))

    def tell(self, what: Callable[[JudgeStream], None]) -> None:
        """Tell it something. It must not take long: it is done on the loop."""
        self._in_a_row = 0
        if self._stream is None:
            return
        begun_at = self._services.now()
        try:
            what(self._stream)
        except Exception as error:
            self._failed(error)
            return
        now = self._services.now()
        self._overruns.blocked("judge", now - begun_at, now)
        self._held_loop += now - begun_at > BLOCKING_S_MAX
        if self._held_loop > OVERRUNS_MAX:
            self._leave_out(f"it held the event loop {self._held_loop} times")

    def close(self) -> None:
        """Hear nothing more."""
        self._stream = None
        self._cancel()

    async def _listen(self, stream: JudgeStream) -> None:
        try:
            async with aclosing(stream):
                async for judgement in stream:
                    if self._stream is not stream:
                        return
                    self._in_a_row += 1
                    if self._in_a_row > IN_A_ROW_MAX:
                        self._leave_out(f"more than {IN_A_ROW_MAX} judgements between two frames")
                        return
                    self._judged(judgement)
            if self._stream is stream:
                self._leave_out("it ended by itself")
        except Exception as error:
            if self._stream is stream:
                self._failed(error)

    def _judged(self, judgement: Judgement) -> None:
        if self._turn is None or judgement.turn != self._turn[0]:
            return  # it comes too late
        self._judgements += 1
        told = (judgement.over, judgement.backchannel, judgement.echo)
        wrong = [share for share in told if share is not None and not 0.0 <= share <= 1.0]
        if wrong:
            self._leave_out(f"{wrong[0]!r} is no probability")
        elif self._judgements > JUDGEMENTS_MAX:
            self._leave_out(f"more than {JUDGEMENTS_MAX} judgements of one turn")
        else:
            services = self._services
            services.post(TurnJudged(services.now(), judgement.turn, self._judge.name, *told, until=judgement.at))

    def _failed(self, error: Exception) -> None:
        """Open it anew after what may pass, a few times; leave it out for the rest of the session otherwise."""
        broken = error if isinstance(error, StageError) else stage_broke("judge", error)
        self._failures += 1
        if not broken.retryable or self._failures >= FAILURES_MAX:
            self._leave_out(str(broken))
            return
        self._services.note("judge", f"{self._judge.name} was opened anew after: {broken}", "warning")
        self.close()
        self.open()

    def _leave_out(self, why: str) -> None:
        self._services.note("judge", f"{self._judge.name} is left out from now on: {why}", "error")
        self.close()
