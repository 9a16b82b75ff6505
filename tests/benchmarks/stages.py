"""The script's stages: a detector that needs one frame, a recogniser that needs none, and the shipped scripted voice
and model at the script's delays."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import numpy as np

from duologue.audio import FRAME_SAMPLES, SAMPLE_RATE_HZ, Frame
from duologue.core.policy import EndpointingPolicy, Policy
from duologue.core.words import split_words
from duologue.ports.asr import AsrContext, Hypothesis
from duologue.ports.vad import Offset, Onset
from duologue.runtime.parts import Persona, SessionSetup, Stages
from duologue.testing.scripted_llm import ScriptedLlm, ScriptedReply
from duologue.testing.scripted_tts import ScriptedTts

VOICE_AMPLITUDE: Final = 1500  # as the peers' energy detectors have it
PARTIAL_FRAMES: Final = 20  # the first partial, 400 ms into the turn, as with the peers
QUESTION: Final = "What time is it in Paris right now?"
# The first clause ends early: what a synthesiser is given first is a clause here, and single tokens with LiveKit.
SHORT_REPLY: Final = "Sure. That sounds like a good idea. Let us begin with the first step now."
LONG_REPLY: Final = (
    "Certainly. The restaurant opens at seven in the evening and it closes around midnight. You can reserve a table on "
    "the terrace, which overlooks the harbour, or inside near the fireplace. Unfortunately the international "
    "conference means we are extraordinarily busy this weekend."
)


class _Stage:
    """What all of them have in common: nothing to load, nothing to free."""

    name = "bench"

    @classmethod
    def probe(cls) -> str:
        """Always there."""
        return ""

    async def warm_up(self) -> None:
        """Nothing to load."""

    async def aclose(self) -> None:
        """Nothing to free."""


class EnergyVad(_Stage):
    """Voice is a frame with a loud sample in it; one such frame is an onset, one without is an offset."""

    def open(self) -> "EnergyVadStream":
        """A stream for one session."""
        return EnergyVadStream()


class EnergyVadStream:
    """One session's detector."""

    def __init__(self) -> None:
        self._voiced = False

    def push(self, frame: Frame) -> Onset | Offset | None:
        """Compare `frame` with the one before."""
        voiced = bool(np.abs(frame.samples).max() > VOICE_AMPLITUDE)
        if voiced == self._voiced:
            return None
        self._voiced = voiced
        return Onset(frame.at) if voiced else Offset(frame.at)

    def reset(self) -> None:
        """Forget the voice."""
        self._voiced = False


class InstantAsr(_Stage):
    """Hears `text` whatever is said: a partial after 400 ms of voice, the final when it is asked for, at once."""

    def __init__(self, text: str = QUESTION) -> None:
        self.text = text

    def open(self, context: AsrContext) -> "InstantAsrStream":
        """A stream for one turn."""
        return InstantAsrStream(self)


class InstantAsrStream:
    """The recognition of one turn."""

    def __init__(self, asr: InstantAsr) -> None:
        self._asr = asr
        self._voiced = 0
        self._answers: asyncio.Queue[Hypothesis | None] = asyncio.Queue(100)

    def push(self, frame: Frame) -> None:
        """Count the voice."""
        self._voiced += bool(np.abs(frame.samples).max() > VOICE_AMPLITUDE)
        if self._voiced == PARTIAL_FRAMES and self._asr.text:
            self._voiced += 1
            self._answers.put_nowait(Hypothesis(self._asr.text, stable=len(split_words(self._asr.text)) - 1))

    def finalise(self, mark: int) -> None:
        """Answer."""
        text = self._asr.text
        self._answers.put_nowait(Hypothesis(text, stable=len(split_words(text)), final=True, mark=mark))

    async def __aiter__(self) -> AsyncIterator[Hypothesis]:
        while (answer := await self._answers.get()) is not None:
            yield answer

    async def aclose(self) -> None:
        """End the iteration."""
        while not self._answers.empty():
            self._answers.get_nowait()
        self._answers.put_nowait(None)


def voice(seconds: float, seed: int = 0) -> bytes:
    """Noise at the loudness of speech, of whole frames, loud from its first sample to its last."""
    count = round(seconds * SAMPLE_RATE_HZ) // FRAME_SAMPLES * FRAME_SAMPLES
    noise = np.random.default_rng(seed).standard_normal(count) * 6000
    noise[[0, -1]] = 6000
    return np.clip(noise, -32000, 32000).astype("<i2").tobytes()


class Script:
    """The stages of one run and what they are set to. Clear `forget` now and then: the scripted ones keep a record."""

    def __init__(self, reply: str) -> None:
        self.asr = InstantAsr()
        self.llm = ScriptedLlm(lambda _: ScriptedReply(reply, first_token_s=0.2, token_s=0.02))
        self.tts = ScriptedTts(first_audio_s=0.1, real_time_factor=0.0)
        self.stages = Stages(EnergyVad(), self.asr, self.llm, self.tts)

    def setup(self, configuration: str) -> SessionSetup:
        """A session's parts. `tuned` ends every turn after 0.2 s, `default` is the engine's own policy."""
        policy = Policy()
        if configuration == "tuned":
            policy = Policy(endpointing=EndpointingPolicy(complete_s=0.2, neutral_s=0.2, incomplete_s=0.2))
        return SessionSetup(self.stages, Persona("bench", system="You are a test."), policy)

    def forget(self) -> None:
        """Drop the stages' own records, which would be counted as the engine's memory."""
        self.llm.requests.clear()
        self.tts.spoken.clear()
