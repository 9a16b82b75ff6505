"""A whole call with files for a telephone, and its latencies measured off the recording.

The caller is a script: what to say, when, and what kind of thing it is. Give WavTransport `input=["question.wav"]`
instead of `script` to use recordings of your own; `duologue talk` does the same from the command line.

python examples/03_wav_conversation.py     → out/03_conversation.wav, caller left, agent right
"""

import asyncio

from duologue import Agent
from duologue.measure import measure
from duologue_pipelines.transports.caller_script import CallerScript
from duologue_pipelines.transports.wav import WavTransport

SCRIPT = {
    "step": [
        {"say": "How do rockets fly?", "when": "agent_done"},
        {"noise": "cough", "when": "agent_speaking", "delay_s": 2.0},
        {"say": ["Wait.", 0.3, "Can I bring my dog?"], "kind": "interruption", "when": "agent_speaking"},
    ]
}


async def main() -> None:
    transport = WavTransport(script=CallerScript.model_validate(SCRIPT), recording="out/03_conversation.wav")
    agent = Agent(pack="assistant")
    async with agent, agent.session(transport) as session:
        await session.wait_closed()
    measured = measure(*transport.recording(), transport.marks, sample_rate_hz=transport.output_rate_hz)
    for act in measured.acts:
        said = act.mark.text or act.mark.kind
        if act.response_s is not None:
            print(f"{said!r}: answered after {1000 * act.response_s:.0f} ms")
        if act.yield_s is not None:
            print(f"{said!r}: the agent was silent after {1000 * act.yield_s:.0f} ms")
        if act.went_on:
            print(f"{said!r}: the agent went on after {1000 * (act.dead_air_s or 0):.0f} ms")


asyncio.run(main())
