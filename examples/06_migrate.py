"""A conversation moved to another process in mid-sentence: its whole state is JSON.

Here both sides are in one file; between them lies nothing but a string. The turn is typed, the stages are scripted.

python examples/06_migrate.py
"""

import asyncio
import json

from duologue import Agent, Persona, Settings, Stages, events
from duologue.testing.memory_transport import MemoryTransport
from duologue.testing.scripted_asr import ScriptedAsr
from duologue.testing.scripted_llm import ScriptedLlm, ScriptedReply
from duologue.testing.scripted_tts import ScriptedTts
from duologue.testing.scripted_vad import ScriptedVad

DIRECTIONS = "Go straight on to the bridge. Then turn left at the old mill. The house is the third on your right."


def agent(reply: str) -> Agent:
    stages = Stages(ScriptedVad(), ScriptedAsr(), ScriptedLlm([ScriptedReply(reply)]), ScriptedTts())
    return Agent(settings=Settings(), stages=stages, persona=Persona("guide", instructions="You show people the way."))


async def old_process() -> str:
    guide = agent(DIRECTIONS)
    async with guide, guide.session(MemoryTransport(hang_up=False)) as session:
        session.type("How do I get to the station?")
        async for event in session.events():
            if isinstance(event, events.ReplyHeard):
                break
        await asyncio.sleep(3.0)  # in the middle of the second sentence …
        return json.dumps(session.snapshot())


async def new_process(state: str) -> None:
    guide = agent("")  # what the reply has left to say is in the state
    async with guide, guide.session(MemoryTransport(hang_up=False), snapshot=json.loads(state)) as session:
        async for event in session.events():
            if isinstance(event, events.ReplyEnded):
                break
        for item in session.conversation.history:
            print(f"{type(item).__name__:10} {item.text}")


print("state:", len(state := asyncio.run(old_process())), "characters of JSON")
asyncio.run(new_process(state))
