"""A rich call over scripted stages, with all that a session can live through: its states, and its trace."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from duologue import Agent, Persona, Policy, Session, Settings, Stages, ToolSpec, tool
from duologue.audio import INPUT_RATE_HZ
from duologue.core.messages import ToolCall
from duologue.core.policy import HistoryPolicy, LimitsPolicy, ReplyPolicy
from duologue.testing.memory_transport import MemoryTransport, RemoteMemoryTransport
from duologue.testing.scripted_asr import ScriptedAsr, Utterance
from duologue.testing.scripted_llm import ScriptedLlm, ScriptedReply
from duologue.testing.scripted_tts import ScriptedTts
from duologue.testing.scripted_vad import ScriptedVad
from duologue.testing.virtual_time import pass_time, run

STORY = "There was a clock that ran backwards, and it told the time of yesterday. " * 3
SPOKEN = [(4.0, 1.0), (8.0, 0.4), (12.5, 1.5), (24.0, 1.2), (30.0, 0.5), (31.0, 0.6), (36.0, 1.0)]
TURNS = ["what is the weather like", "mm-hm", "no stop it please", "tell me a story", "well", "i mean", "goodbye now"]
POLICY = Policy(
    history=HistoryPolicy(tokens_max=200, keep_fraction=0.5),
    limits=LimitsPolicy(idle_s=5.0, idle_prompts=("Still there?",), farewell="Goodbye."),
    reply=ReplyPolicy(tool_s_max=4.0),
)
OPEN_DOOR = ToolSpec("open_door", "Open the door.", {"type": "object", "properties": {}})


@tool
async def weather(city: str) -> str:
    """Weather in a city."""
    await pass_time(1.0)
    return f"rain in {city}"


@tool(cancellable=False)
async def pay() -> str:
    """Not to be stopped."""
    await pass_time(2.0)
    return "paid"


def answer(request: Any) -> ScriptedReply:
    """The weather by a tool, the door by the caller's side, and stories."""
    last = request.messages[-1]
    if request.output_tokens_max == 400:
        return ScriptedReply("They talked about the weather.")
    if last.role == "tool" or not request.tools:
        return ScriptedReply(STORY, token_s=0.02)
    calls = {
        "weather": [("weather", '{"city": "Rome"}'), ("weather", "{}")],
        "door": [("open_door", "{}"), ("pay", "{}")],
    }
    for word, wanted in calls.items():
        if word in last.text:
            made = tuple(ToolCall(f"call-{place}", name, given) for place, (name, given) in enumerate(wanted, 1))
            return ScriptedReply("Let me see about that for you. ", tool_calls=made)
    return ScriptedReply(STORY, token_s=0.02)


def make_agent() -> Agent:
    voices = ScriptedTts()
    turns = [Utterance(turn, whole_text_in_finals=True) for turn in TURNS]
    return Agent(
        settings=Settings(),
        stages=Stages(ScriptedVad(), ScriptedAsr(turns * 50), ScriptedLlm(answer), voices),
        persona=Persona("test", "You are a test.", greeting="Hello there."),
        tools=[weather, pay],
        remote_tools=[OPEN_DOOR],
    )


def voice(seconds: float) -> bytes:
    """Loud noise: mono 16 kHz int16."""
    rng = np.random.default_rng(1)
    return (rng.standard_normal(int(seconds * INPUT_RATE_HZ)) * 6000).clip(-32000, 32000).astype("<i2").tobytes()


SCRIPT = [(at, voice(seconds)) for at, seconds in SPOKEN]


def caller(**options: Any) -> MemoryTransport:
    return MemoryTransport(SCRIPT, **options)


def remote_caller(**options: Any) -> RemoteMemoryTransport:
    """One whose player is out of our sight, and reports only when a test makes it."""
    return RemoteMemoryTransport(SCRIPT, **options)


async def do_all(session: Session) -> None:
    """What a program does meanwhile, at its seconds."""

    async def until(second: float) -> None:
        await pass_time(max(0.0, second - session.now()))

    await until(14.5)
    session.type("open the door", images=["https://example.org/door.png"])
    await until(16.5)
    session.return_tool("call-1", "open")
    session.say("By the way, dinner is ready.", interruptible=False)
    session.show("https://example.org/dinner.png")
    await until(22.0)
    session.use_persona(Persona("other", "You are another."))
    session.interrupt()
    await until(29.8)
    session.set_endpointing(automatic=False)
    session.open_turn()
    await until(32.0)
    session.commit_turn()
    session.set_endpointing(automatic=True)
    await until(34.0)
    session.request_reply(instructions="Whisper.", in_history=False)
    await until(39.0)
    session.type("and no answer to this", reply=False)
    session.hang_up("enough")


@dataclass(frozen=True)
class Recorded:
    """`snapshots`: of every quarter of a second, as JSON gives them. `trace`: the file's lines."""

    snapshots: list[Any]
    trace: list[str]


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    path: Path = tmp_path_factory.mktemp("fuzz") / "trace.jsonl"
    snapshots: list[Any] = []

    async def main() -> None:
        async with make_agent().session(caller(hang_up=60.0), policy=POLICY, trace=path) as session:

            async def take() -> None:
                while not session.closed:
                    snapshots.append(json.loads(json.dumps(session.snapshot())))
                    await pass_time(0.25)

            await take_both(take(), do_all(session))

    async def take_both(*both: Any) -> None:
        import asyncio

        await asyncio.gather(*both)

    run(main())
    return Recorded(snapshots, path.read_text(encoding="utf-8").splitlines())
