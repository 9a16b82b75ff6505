"""The script's stages, all of them shipped in `duologue.testing`: a detector that needs one frame, a recogniser that
needs no time at all, and a model and a voice with the script's delays."""

from typing import Final

import numpy as np

from duologue.audio import FRAME_SAMPLES, FRAME_SECONDS, INPUT_RATE_HZ, OUTPUT_RATE_HZ
from duologue.core.policy import EndpointingPolicy, Policy
from duologue.runtime.session_setup import Persona, SessionSetup, Stages
from duologue.testing.scripted_asr import ScriptedAsr, Utterance
from duologue.testing.scripted_llm import ScriptedLlm, ScriptedReply
from duologue.testing.scripted_tts import ScriptedTts
from duologue.testing.scripted_vad import ScriptedVad

QUESTION: Final = "What time is it in Paris right now?"
# The first clause ends early: what a synthesiser is given first is a clause here, and single tokens with LiveKit.
SHORT_REPLY: Final = "Sure. That sounds like a good idea. Let us begin with the first step now."
LONG_REPLY: Final = (
    "Certainly. The restaurant opens at seven in the evening and it closes around midnight. You can reserve a table on "
    "the terrace, which overlooks the harbour, or inside near the fireplace. Unfortunately the international "
    "conference means we are extraordinarily busy this weekend."
)


def voice(seconds: float, seed: int = 0) -> bytes:
    """Noise at the loudness of speech, of whole frames, loud from its first sample to its last."""
    count = round(seconds * INPUT_RATE_HZ) // FRAME_SAMPLES * FRAME_SAMPLES
    noise = np.random.default_rng(seed).standard_normal(count) * 6000
    noise[[0, -1]] = 6000
    return np.clip(noise, -32000, 32000).astype("<i2").tobytes()


class Script:
    """The stages of one run. `heard`: what the recogniser will take the next turn for. `output_rate_hz`: of the
    agent's audio."""

    def __init__(self, reply: str, output_rate_hz: int = OUTPUT_RATE_HZ) -> None:
        self.output_rate_hz = output_rate_hz
        self.heard = QUESTION
        self.asr = ScriptedAsr(lambda _: Utterance(self.heard, final_delay_s=0.0, whole_text_in_finals=True))
        self.llm = ScriptedLlm(lambda _: ScriptedReply(reply, first_token_s=0.2, token_s=0.02))
        # A short answer takes about as long as the peers' do, a long one as long as it takes to say.
        pace = 0.02 if reply is SHORT_REPLY else 0.06
        self.tts = ScriptedTts(first_audio_s=0.1, seconds_per_char=pace, real_time_factor=0.0)
        self.stages = Stages(ScriptedVad(offset_delay_s=FRAME_SECONDS), self.asr, self.llm, self.tts)

    def setup(self, configuration: str) -> SessionSetup:
        """A session's parts. `tuned` ends every turn after 0.2 s, `default` is the engine's own policy."""
        policy = Policy()
        if configuration == "tuned":
            policy = Policy(endpointing=EndpointingPolicy(complete_s=0.2, neutral_s=0.2, incomplete_s=0.2))
        persona = Persona("bench", "You are a test.")
        return SessionSetup(self.stages, persona, policy, output_rate_hz=self.output_rate_hz)

    def forget(self) -> None:
        """Drop the stages' own records, which would be counted as the engine's memory."""
        self.llm.requests.clear()
        self.tts.requests.clear()
