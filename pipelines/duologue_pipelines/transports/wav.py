"""A call with files for a telephone: recorded or scripted speech goes in, what both said comes out as WAV.

The pace is the event loop's. On an ordinary loop the call runs in real time; on `duologue.testing.virtual_time` it
runs as fast as the models do, and is the same call. The caller (`ReactiveCaller`) listens to the agent and speaks in
turn, or out of turn if the script says so.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soxr

from duologue import registry
from duologue.audio import (
    FRAME_SECONDS,
    INPUT_RATE_HZ,
    OUTPUT_RATE_HZ,
    Samples,
    frame_samples,
    write_wav,
)
from duologue.errors import AudioError, ConfigurationError, TransportError
from duologue.loudspeaker import Loudspeaker
from duologue.measure import Mark
from duologue.ports.transport import WAITING_SECONDS_MAX, TransportSink
from duologue.ports.tts import Tts
from duologue.settings import StageChoice
from duologue.stages import TTS
from duologue_pipelines.transports.caller_script import CallerScript, Utterance, prepare, read_script
from duologue_pipelines.transports.reactive_caller import ReactiveCaller


class WavTransport:
    """One call. `input`: audio files, said one after the other, each when the agent has answered; or `script`: a file
    of what to say when (see `caller_script`). `output`: where to write the agent's voice alone; `recording`: where to
    write both channels, the caller left and the agent right, sample-aligned. Both are written when the call ends, at
    the session's output rate (`output_rate_hz`, from `run` on).

    `caller_voice`: speaks the script; by default the synthesiser that it names. Raises `ConfigurationError` and
    `AudioError`.
    """

    name = "wav"
    reports_playout = False

    def __init__(
        self,
        input: str | Sequence[str] = (),
        *,
        script: str | CallerScript | None = None,
        output: str | None = None,
        recording: str | None = None,
        caller_voice: Tts | None = None,
    ) -> None:
        files = [Path(input)] if isinstance(input, str) else [Path(name) for name in input]
        if (script is None) == (not files):
            raise ConfigurationError(
                "the wav transport needs either input (audio files) or script, and not both",
                hint='Set transport.input = "question.wav"',
            )
        self._script = _script(files, script)
        self._output, self._recording = _wav_path(output), _wav_path(recording)
        self._check_apart()
        self._caller_voice = caller_voice
        self._caller: ReactiveCaller | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._origin = 0.0
        self._sink: TransportSink | None = None
        self._ended: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._spoken = bytearray()
        self._frames = 0
        self._loudspeaker = Loudspeaker()
        self.output_rate_hz = OUTPUT_RATE_HZ
        self._closed = False

    # --- the port -------------------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Read and synthesise what the caller will say, so that the call can begin at once. Idempotent.

        Raises `AudioError`, `ConfigurationError`, `StageError`.
        """
        if self._caller is None:
            script = self._script
            utterances = await self._utterances()
            self._caller = ReactiveCaller(utterances, hang_up_s=script.hang_up_s, patience_s=script.patience_s)

    async def _utterances(self) -> list[Utterance]:
        if self._caller_voice is not None or not self._script.speaks:
            return await prepare(self._script, self._caller_voice)
        voice = _voice(self._script.synthesiser)
        try:
            return await prepare(self._script, voice)
        finally:
            await voice.aclose()

    async def run(self, sink: TransportSink) -> None:
        """Speak into `sink` until the script is over and answered; then write the files."""
        if self._sink is not None:
            raise TransportError("the wav transport was run twice", hint="Make a new one for each call")
        self._sink = sink
        self.output_rate_hz = sink.output_rate_hz
        await self.prepare()
        self._loop = loop = asyncio.get_running_loop()
        self._origin = loop.time()
        self._ended = loop.create_future()
        if self._closed:
            return
        self._timer = loop.call_at(self._origin + FRAME_SECONDS, self._tick)
        try:
            await self._ended
        finally:
            self._timer.cancel()
            await loop.run_in_executor(None, self._write, *self.recording())

    def play(self, pcm: bytes, reply: int) -> None:
        """Hear `pcm` when the frame before is over. After the call nothing is heard."""
        if self._closed:
            return
        if self.unplayed() > WAITING_SECONDS_MAX * self.output_rate_hz:
            raise TransportError(f"{WAITING_SECONDS_MAX:g} s of the agent wait to be heard, no more is taken")
        self._loudspeaker.send(pcm, self._now_sample())

    def end_reply(self, reply: int) -> None:
        """Nothing to do: behind it there is silence."""

    def cut_reply(self, reply: int) -> int:
        """Take back what was not heard yet; how many samples."""
        return len(self._loudspeaker.take_back(self._now_sample())) // 2

    def unplayed(self) -> int:
        """Samples sent and not yet heard."""
        return self._loudspeaker.unplayed(self._now_sample())

    async def aclose(self) -> None:
        """Hang up; nothing more is heard."""
        if not self._closed:
            self.cut_reply(0)
            self._closed = True
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    # --- afterwards -----------------------------------------------------------------------------------------------

    @property
    def began(self) -> float:
        """`loop.time()` at the recording's second 0; 0.0 before the call."""
        return self._origin

    @property
    def marks(self) -> Sequence[Mark]:
        """What the caller has done so far, and when."""
        return () if self._caller is None else tuple(self._caller.marks)

    def recording(self) -> tuple[Samples, Samples]:
        """(caller, agent): int16 of the same length at `output_rate_hz`, sample-aligned, second 0 being when `run`
        began."""
        spoken = np.frombuffer(bytes(self._spoken), dtype="<i2")
        caller: Samples = soxr.resample(spoken, INPUT_RATE_HZ, self.output_rate_hz)
        agent = self._loudspeaker.channel(self._now_sample())
        length = max(len(caller), len(agent))
        return np.pad(caller, (0, length - len(caller))), np.pad(agent, (0, length - len(agent)))

    def _check_apart(self) -> None:
        """Raise `ConfigurationError` where the call would be written over what the caller says."""
        for step in self._script.step:
            for path in (self._output, self._recording):
                if step.file is not None and path is not None and _is_same(step.file, path):
                    raise ConfigurationError(
                        f"{path}: the call would be written over the caller's own recording",
                        hint="Choose another name for what is written",
                    )

    def _write(self, caller: Samples, agent: Samples) -> None:
        """Write both files: one that can't be written does not keep the other from it."""
        failed: list[tuple[Path, OSError]] = []
        for path, channels in ((self._recording, (caller, agent)), (self._output, (agent,))):
            try:
                if path is not None:
                    write_wav(path, *channels, sample_rate_hz=self.output_rate_hz)
            except OSError as error:
                failed.append((path or Path(), error))
        if failed:
            told = ", ".join(f"{path} ({error.strerror or error})" for path, error in failed)
            raise AudioError(f"what was said can't be written to {told}", hint="Choose another place") from failed[0][1]

    # --- the clock ------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """20 ms have gone by: the caller has heard and said a frame's worth."""
        assert self._loop and self._ended and self._sink and self._caller
        if self._ended.done():
            return
        self._frames += 1
        heard = frame_samples(self.output_rate_hz)
        pcm = self._caller.next_frame(self._loudspeaker.window((self._frames - 1) * heard, self._frames * heard))
        if pcm is None:
            self._ended.set_result(None)
            return
        self._spoken += pcm
        self._sink.audio(pcm)
        self._timer = self._loop.call_at(self._origin + (self._frames + 1) * FRAME_SECONDS, self._tick)

    def _now_sample(self) -> int:
        if self._loop is None:
            return 0
        # The addend: 0.06 s are 1440 samples, whatever binary says.
        return int((self._loop.time() - self._origin) * self.output_rate_hz + 1e-3)


def _voice(synthesiser: str) -> Tts:
    try:
        return registry.make(TTS, StageChoice(use=synthesiser))
    except ConfigurationError as error:
        raise ConfigurationError(f"synthesiser in the caller's script: {error}") from error


def _script(files: Sequence[Path], script: str | CallerScript | None) -> CallerScript:
    if isinstance(script, CallerScript):
        return script
    return CallerScript.of_files(files) if script is None else read_script(Path(script))


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one of them is not there
        return False


def _wav_path(name: str | None) -> Path | None:
    path = None if name is None else Path(name)
    if path is not None and path.suffix.lower() != ".wav":
        raise AudioError(f"{path}: only .wav is written, got {path.suffix or 'no suffix'!r}", hint="Name it ….wav")
    return path
