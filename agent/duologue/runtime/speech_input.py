"""What the session hears: the user's audio on the session's time axis, through detection into recognition."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from duologue.audio import FRAME_SECONDS, Frame
from duologue.core.events import (
    FinalTranscript,
    PartialTranscript,
    RecognitionFailed,
    SpeechStarted,
    SpeechStopped,
)
from duologue.errors import DuologueError, StageError
from duologue.ports.asr import AUDIO_SECONDS_MAX, Asr, AsrContext, AsrStream, Hypothesis, KeepsSessions
from duologue.ports.vad import Onset, Vad
from duologue.runtime.judging import Judging
from duologue.runtime.overruns import Overruns
from duologue.runtime.services import Services
from duologue.runtime.watched import stage_broke

PREROLL_SECONDS: Final = 0.3  # before the onset: a detector is sure of a plosive only after it
RING_FRAMES: Final = 100  # 2 s: an onset may be reported late, and a wary hold later still
VAD_FAILURES_MAX: Final = 3
VAD_SOUND_FRAMES: Final = 500  # after ten seconds without one, failures are counted from the first again
# A frame that lies so far ahead of the clock can't be; one whose like all come so much late has lost some before it.
AHEAD_S_MAX: Final = 0.1
BEHIND_S_MAX: Final = 0.25
DRIFT_WINDOW_FRAMES: Final = 100


class AudioClock:
    """Stamps frames by their count, from the first one's arrival on; watches for frames that never came."""

    def __init__(self) -> None:
        self._next: float | None = None
        self._least_late = float("inf")
        self._watched = 0

    def stamp(self, now: float) -> tuple[float, float]:
        """`at` of the frame that arrives at `now`, and by how much the axis was moved for it (0.0: not at all)."""
        if self._next is None:
            self._next = now - FRAME_SECONDS
        moved = 0.0
        late = now - (self._next + FRAME_SECONDS)
        self._least_late = min(self._least_late, late)
        self._watched += 1
        if late < -AHEAD_S_MAX:
            moved = late
        elif self._watched >= DRIFT_WINDOW_FRAMES:
            if self._least_late > BEHIND_S_MAX:
                moved = self._least_late
            self._least_late, self._watched = float("inf"), 0
        at = self._next + moved
        self._next = at + FRAME_SECONDS
        return at, moved


class Recognition:
    """The recognition of one turn, begun again once if the recogniser fails in a way that may pass."""

    def __init__(
        self,
        turn: int,
        asr: Asr,
        services: Services,
        frames: list[Frame],
        asr_context: Callable[[], AsrContext],
    ) -> None:
        self.turn = turn
        self._asr = asr
        self._services = services
        self._asr_context = asr_context
        self._frames = deque(frames, maxlen=int(AUDIO_SECONDS_MAX / FRAME_SECONDS))
        self._asked_at: dict[int, float] = {}
        self._mark = 0
        self._stream: AsrStream | None = None
        self._broken: DuologueError | None = None
        self.task = services.spawn(self._run())

    def push_frame(self, frame: Frame) -> None:
        """One more frame of the turn."""
        self._frames.append(frame)
        self._order(lambda stream: stream.push_frame(frame))

    def finalise(self, mark: int) -> None:
        """Ask for the final to all frames so far."""
        self._mark = mark
        self._asked_at = {mark: self._services.now()}
        self._order(lambda stream: stream.finalise(mark))

    def _order(self, command: Callable[[AsrStream], None]) -> None:
        """Give the recogniser a command. An error costs the turn, not the session: it may be a stranger's."""
        if self._stream:
            try:
                command(self._stream)
            except Exception as error:
                self._broken, self._stream = _as_ours(error), None
                self.task.cancel()

    async def _run(self) -> None:
        for attempt in (1, 2):
            try:
                await self._listen()
            except asyncio.CancelledError:
                if self._broken is None:
                    raise
                self._services.post(RecognitionFailed(self._services.now(), self.turn, str(self._broken)))
            except DuologueError as error:
                if isinstance(error, StageError) and error.retryable and attempt == 1:
                    self._services.note("asr", f"begun again: {error}", "warning")
                    continue
                self._services.post(RecognitionFailed(self._services.now(), self.turn, str(error)))
            return

    async def _listen(self) -> None:
        try:
            await self._hear(self._asr.open(self._asr_context()))
        except Exception as error:
            raise _as_ours(error) from error

    async def _hear(self, stream: AsrStream) -> None:
        self._stream = stream
        try:
            for frame in list(self._frames):
                stream.push_frame(frame)
            if self._mark:
                stream.finalise(self._mark)
            async for hypothesis in stream:
                self._tell(hypothesis)
        finally:
            self._stream = None
            await stream.aclose()

    def _tell(self, heard: Hypothesis) -> None:
        services, now = self._services, self._services.now()
        if heard.note:
            services.note("asr", heard.note)
        if not heard.final:
            services.post(PartialTranscript(now, self.turn, heard.text, heard.stable))
            return
        asked_at = self._asked_at.pop(heard.mark, None)
        if asked_at is not None:
            services.meter.timing("asr_final", now - asked_at)
        services.post(FinalTranscript(now, self.turn, heard.mark, heard.text, heard.words, heard.language))


def _as_ours(error: Exception) -> DuologueError:
    """What a recogniser raised, as one of our tree: a stranger's may raise anything."""
    return error if isinstance(error, DuologueError) else stage_broke("asr", error)


class SpeechInput:
    """Takes the user's audio; tells the core of voice and words."""

    def __init__(
        self,
        vad: Vad,
        asr: Asr,
        services: Services,
        *,
        judging: Judging,
        asr_context: Callable[[], AsrContext],
        on_deaf: Callable[[StageError], None],
    ) -> None:
        """`judging`: who hears along. `asr_context`: what a recogniser may know, asked anew for each turn. `on_deaf` is
        told when the detector fails for good."""
        self._judging = judging
        self._asr = asr
        self._services = services
        self._asr_context = asr_context
        self._on_deaf = on_deaf
        self._vad = vad
        self._detector = vad.open()
        self._clock = AudioClock()
        self._ring: deque[Frame] = deque(maxlen=RING_FRAMES)
        self._recognitions: dict[int, Recognition] = {}
        self._failures = 0
        self._overruns = Overruns(services.note)
        self._sound_frames = 0
        self._voiced = False

    def audio(self, pcm: bytes) -> None:
        """The next 20 ms of the user (640 bytes)."""
        at, moved = self._clock.stamp(self._services.now())
        if moved:
            self._services.note("audio", f"the caller's audio was moved on the session's time axis by {moved:+.3f} s")
        frame = Frame(pcm, at)
        self._ring.append(frame)
        self._services.meter.user_audio_s += FRAME_SECONDS
        for recognition in self._recognitions.values():
            recognition.push_frame(frame)
        self._judging.hear_user(frame)
        begun_at = self._services.now()
        try:
            heard = self._detector.push_frame(frame)
        except StageError as error:
            self._detector_failed(error, frame)
        except Exception as error:  # a stranger's adapter may raise anything; a session survives a frame
            self._detector_failed(stage_broke("vad", error), frame)
        else:
            now = self._services.now()
            self._overruns.blocked("vad", now - begun_at, now)
            self._sound_frames += 1
            if heard is not None:
                self._voice(isinstance(heard, Onset), heard.since if isinstance(heard, Onset) else heard.until)

    def _voice(self, on: bool, at: float) -> None:
        """Tell the core that voice went on or off at session second `at`; what it knows already is not told again."""
        if on != self._voiced:
            self._voiced = on
            now = self._services.now()
            self._services.post(SpeechStarted(now, at) if on else SpeechStopped(now, at))
            if not on:
                self._judging.pause_turn(at)

    def _detector_failed(self, error: StageError, frame: Frame) -> None:
        """Begin anew with a fresh detector, which knows of no voice: if there is one, it reports it once more."""
        self._failures = self._failures + 1 if self._sound_frames < VAD_SOUND_FRAMES else 1
        self._sound_frames = 0
        self._services.note("vad", f"opened anew after: {error}", "warning")
        if self._failures >= VAD_FAILURES_MAX:
            self._on_deaf(error)
        else:
            self._detector = self._vad.open()
            self._voice(False, frame.at)

    def open(self, turn: int, since: float) -> None:
        """Recognise `turn` from a little before `since` on."""
        frames = [frame for frame in self._ring if frame.end > since - PREROLL_SECONDS]
        self._judging.begin_turn(turn, since)
        self._recognitions[turn] = Recognition(turn, self._asr, self._services, frames, self._asr_context)

    def finalise(self, turn: int, mark: int) -> None:
        """Ask for the final of `turn`."""
        if recognition := self._recognitions.get(turn):
            recognition.finalise(mark)

    def close(self, turn: int) -> None:
        """Drop the recognition of `turn`."""
        if recognition := self._recognitions.pop(turn, None):
            self._judging.end_turn(turn)
            recognition.task.cancel()

    def close_all(self) -> None:
        """The session is over: drop all recognitions, the judges, and what the recogniser keeps for it."""
        self._judging.close()
        for turn in list(self._recognitions):
            self.close(turn)
        if isinstance(self._asr, KeepsSessions):
            try:
                self._asr.end_session(self._asr_context().session)
            except Exception as error:  # a stranger's adapter may raise anything; the session is over all the same
                self._services.note("asr", f"at the end of the session: {stage_broke('asr', error)}", "warning")
