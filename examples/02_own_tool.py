"""A tool: a plain function that the model may call. Its signature is the schema, its docstring the description.

With OPENAI_API_KEY (or OPENAI_BASE_URL, for a server of your own) a real model decides to call it. Without, a scripted
one does, so that this runs anywhere. The turn is typed instead of spoken.

python examples/02_own_tool.py
"""

import asyncio
import os
from typing import Annotated, Literal

from pydantic import Field

from duologue import Agent, Persona, Stages, actions, events, tool
from duologue.core.messages import ToolCall
from duologue.testing.memory_transport import MemoryTransport
from duologue.testing.scripted_asr import ScriptedAsr
from duologue.testing.scripted_llm import ScriptedLlm, ScriptedReply
from duologue.testing.scripted_tts import ScriptedTts
from duologue.testing.scripted_vad import ScriptedVad


@tool(timeout_s=5.0)
async def book_table(
    people: Annotated[int, Field(ge=1, le=12)], evening: Literal["friday", "saturday"], terrace: bool = False
) -> str:
    "Book a table at the harbour restaurant."
    return f"Booked for {people} on {evening} at half past seven{', on the terrace' if terrace else ''}."


def scripted() -> Agent:
    call = ToolCall("call-1", "book_table", '{"people": 4, "evening": "friday", "terrace": true}')
    replies = [ScriptedReply(tool_calls=(call,)), ScriptedReply("Done: four of you, on Friday, on the terrace.")]
    stages = Stages(ScriptedVad(), ScriptedAsr(), ScriptedLlm(replies), ScriptedTts())
    return Agent(tools=[book_table], stages=stages, persona=Persona("host", instructions="You take bookings."))


async def main() -> None:
    real = os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL")
    agent = Agent(tools=[book_table]) if real else scripted()
    async with agent, agent.session(MemoryTransport(hang_up=False)) as session:
        session.type("A table for four on Friday, please, outside if you can.")
        async for event in session.events():
            match event:
                case actions.RunTool(name=name, arguments=arguments):
                    print("tool:  ", name, arguments)
                case events.ToolReturned(output=output):
                    print("result:", output)
                case events.ReplyEnded(heard=heard) if "Booked" in heard or "Done" in heard:
                    print("agent: ", heard)
                    break


asyncio.run(main())
