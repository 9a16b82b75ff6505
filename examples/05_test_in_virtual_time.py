"""A test of a conversation: scripted stages, virtual time, and the recording to look at. No sleep, no model, no luck.

python examples/05_test_in_virtual_time.py     (or name it test_….py and leave it to pytest)
"""

import numpy as np

from duologue import Agent, Persona, Settings, Stages
from duologue.measure import Mark, measure
from duologue.testing import virtual_time
from duologue.testing.memory_transport import MemoryTransport
from duologue.testing.scripted_asr import ScriptedAsr
from duologue.testing.scripted_llm import ScriptedLlm, ScriptedReply
from duologue.testing.scripted_tts import ScriptedTts
from duologue.testing.scripted_vad import ScriptedVad

STORY = "Once upon a time there was a clock. " + "It told the same long story every hour, day and night. " * 5


def voice(seconds: float) -> bytes:
    noise = np.random.default_rng(1).normal(0, 6000, int(seconds * 16_000))
    return noise.clip(-32000, 32000).astype("<i2").tobytes()


async def call() -> tuple[MemoryTransport, str]:
    """The caller asks at second 1, and interrupts the story at second 4."""
    transport = MemoryTransport([(1.0, voice(1.0)), (4.0, voice(1.5)), (9.0, bytes(2))])
    stages = Stages(
        ScriptedVad(),
        ScriptedAsr(["Tell me a story.", "Stop, that is enough, thank you."]),
        ScriptedLlm([ScriptedReply(STORY), ScriptedReply("All right.")]),
        ScriptedTts(),
    )
    agent = Agent(settings=Settings(), stages=stages, persona=Persona("narrator"))
    async with agent, agent.session(transport) as session:
        await session.wait_closed()
        return transport, [item.text for item in session.conversation.history if item.text][1]


def test_the_agent_falls_silent_at_once_and_remembers_only_what_was_heard() -> None:
    transport, remembered = virtual_time.run(call())
    question, interruption = Mark("turn", 1.0, 2.0), Mark("interruption", 4.0, 5.5)
    acts = measure(*transport.recording(), [question, interruption], sample_rate_hz=transport.output_rate_hz).acts
    assert acts[0].response_s is not None and acts[0].response_s < 1.0
    assert acts[1].yield_s is not None and acts[1].yield_s < 0.06
    assert STORY.startswith(remembered) and len(remembered) < len(STORY) / 2
    print(f"answered after {acts[0].response_s:.3f} s, silent after {acts[1].yield_s:.3f} s, heard: {remembered!r}")


if __name__ == "__main__":
    test_the_agent_falls_silent_at_once_and_remembers_only_what_was_heard()
