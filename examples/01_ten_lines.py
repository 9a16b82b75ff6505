"""The ten lines of the README, with a caller who asks something, so that there is something to listen to.

python examples/01_ten_lines.py     → out/01_ten_lines.wav, caller left, agent right
"""

import asyncio

from duologue import Agent, events, tool
from duologue_pipelines.transports.caller_script import CallerScript
from duologue_pipelines.transports.wav import WavTransport

SCRIPT = {"step": [{"say": "When does the museum open?", "when": "agent_done"}]}


@tool
async def weather(city: str) -> str:
    "Current weather in a city."
    return f"It is sunny in {city}."


async def main() -> None:
    transport = WavTransport(script=CallerScript.model_validate(SCRIPT), recording="out/01_ten_lines.wav")
    agent = Agent(pack="assistant", tools=[weather])
    async with agent, agent.session(transport) as session:
        async for event in session.events():
            match event:
                case events.FinalTranscript(text=text):
                    print("caller:", text)
                case events.ReplyEnded(heard=heard):
                    print("agent: ", heard)


asyncio.run(main())
