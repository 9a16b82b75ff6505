"""The scripted stages of the whole runtime's world, with the scenario's pace and faults drawn."""

import asyncio
from typing import TYPE_CHECKING, Final

from duologue.core.messages import ToolCall
from duologue.errors import StageError
from duologue.ports.llm import LlmRequest
from duologue.runtime.user_tools import Tool, tool
from duologue.sim.coded_tts import CodedTts
from duologue.sim.modelled_replies import PIECES
from duologue.testing.scripted_llm import ScriptedLlm, ScriptedReply
from duologue.testing.scripted_tts import ScriptedTts, SpeechFault
from duologue.testing.scripted_vad import ScriptedVad

if TYPE_CHECKING:
    from duologue.sim.whole_world import WholeWorld

HANGS_S: Final = 120.0  # longer than any guard
TTS_FAULTS: Final = ("three trains", "lighthouse", "weather will")  # on these words the synthesiser breaks


def llm_of(world: "WholeWorld") -> ScriptedLlm:
    """A model that answers whatever it is asked."""
    return ScriptedLlm(lambda request: _answer(world, request))


def _answer(world: "WholeWorld", request: LlmRequest) -> ScriptedReply:
    rng = world.rng
    if request.output_tokens_max:
        error = StageError("llm", "no summary today") if world.strikes("summary failing") else None
        return ScriptedReply(f"Summary {len(world.llm.requests)}: small talk.", error=error)
    first_s = rng.uniform(*world.scenario.first_token_s)
    if world.strikes("llm slow"):
        first_s += rng.uniform(1.0, 8.0)
    if world.strikes("llm hanging"):
        first_s = HANGS_S
    count = 0 if world.strikes("llm empty") else rng.choice((1, 1, 2, 3, 5))
    calls: tuple[ToolCall, ...] = ()
    if request.tools and rng.random() < world.scenario.tools:
        number = len(world.llm.requests)
        names = [rng.choice(("weather", "timetable", "camera", "nonsense")) for _ in range(rng.choice((1, 1, 2, 3)))]
        calls = tuple(ToolCall(f"c{number}.{index}", name, _arguments(world, name)) for index, name in enumerate(names))
        count = min(count, 1)
    fails = world.strikes("llm failing")
    return ScriptedReply(
        "".join(rng.choice(PIECES) for _ in range(count)),
        first_token_s=first_s,
        token_s=rng.uniform(0.005, 0.05),
        tool_calls=() if fails else calls,
        fail_after=rng.randint(0, 12) if fails else None,
    )


def _arguments(world: "WholeWorld", name: str) -> str:
    if world.strikes("tool failing"):
        return '{"city": 7'
    return '{"city": "Rome"}' if name in ("weather", "timetable") else "{}"


def tts_of(world: "WholeWorld") -> CodedTts:
    """A synthesiser in code."""
    rng, faults = world.rng, world.scenario.faults
    struck: tuple[SpeechFault, ...] = ()
    if "tts failing" in faults:
        struck = tuple(
            SpeechFault(
                words,
                after_s=rng.choice((0.0, 0.0, 0.7)),
                times=rng.choice((0, 1, 3)),
                retryable=rng.random() < 0.7,
                stall_s=rng.choice((0.0, 0.0, 30.0)),
            )
            for words in TTS_FAULTS
        )
        world.tally.fault("tts failing")
    inner = ScriptedTts(
        first_audio_s=rng.uniform(*world.scenario.tts_s) * (8 if "tts slow" in faults else 1),
        real_time_factor=rng.choice((0.05, 0.3, 1.1 if "tts slow" in faults else 0.5)),
        faults=struck,
    )
    return CodedTts(inner, word_times=rng.random() < 0.7)


def vad_of(world: "WholeWorld") -> ScriptedVad:
    """A detector by loudness."""
    late = "vad late" in world.scenario.faults
    broken = {world.rng.randrange(2500) for _ in range(2)} if "vad flaps" in world.scenario.faults else set()
    return ScriptedVad(onset_delay_s=0.2 if late else 0.02, offset_delay_s=world.rng.uniform(0.06, 0.2), faults=broken)


def tools_of(world: "WholeWorld") -> tuple[Tool, ...]:
    """Two tools of ours: one that may be stopped, one that may not."""

    async def work() -> str:
        if world.strikes("tool silent"):
            await asyncio.sleep(HANGS_S)
        await asyncio.sleep(world.rng.uniform(0.05, 0.8) + (5.0 if world.strikes("tool slow") else 0.0))
        if world.strikes("tool failing"):
            raise ValueError("there is no such city")
        return "It is fine."

    async def weather(city: str) -> str:
        """The weather in a city."""
        return await work()

    async def timetable(city: str) -> str:
        """Trains to a city; asking cannot be taken back."""
        return await work()

    return (tool(weather), tool(timeout_s=4.0, cancellable=False)(timetable))
