"""The whole runtime against a model behind a real HTTP server: streams with a pace, and every way in which they break.

Real time, since sockets know no other; all faults are lived through at once, so it takes as long as the longest.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from benchmarks import llama_server
from benchmarks.http_faults import ANSWERS, CASES, GREETING, QUESTIONS, Caller, Outcome, hold_all
from benchmarks.stages import voice
from duologue import Agent, Persona, Policy, Session, Settings, Stages, tool
from duologue.core import actions as act
from duologue.core.history import AgentItem, UserItem
from duologue.core.messages import ToolCall
from duologue.core.policy import EndpointingPolicy, LimitsPolicy, ReplyPolicy
from duologue.ports.asr import Asr
from duologue.ports.transport import Transport
from duologue.testing.memory_transport import MemoryTransport
from duologue.testing.openai_server import ChatRequest, OpenAiServer
from duologue.testing.scripted_asr import ScriptedAsr, Utterance
from duologue.testing.scripted_llm import ScriptedReply
from duologue.testing.scripted_tts import ScriptedTts
from duologue.testing.scripted_vad import ScriptedVad
from duologue_pipelines.llm.openai import OpenAiLlm

FILLER = "[One moment.]"  # a busy machine may take its time
APOLOGY = "[Sorry, something went wrong. Could you say that again?]"
QUICK = {"first_token_timeout_s": 1.5, "stall_timeout_s": 1.0, "backoff_s": 0.05, "retries": 1}
ANSWERED = ("none", "429 once", "500 once", "500, second model", "nothing once")
HALF = ("stops half-way", "stalls half-way", "broken JSON half-way", "error event half-way")


# --- faults, all of them ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    out = tmp_path_factory.mktemp("faults")
    tts = ScriptedTts(first_audio_s=0.02, seconds_per_char=0.012, real_time_factor=0.0)
    held = asyncio.run(hold_all(tts, QUICK, out))
    assert len(list(out.glob("*.jsonl"))) == len(list(out.glob("*.wav"))) == len(CASES)
    return {outcome.case: outcome for outcome in held}


@pytest.mark.parametrize("case", [case.name for case in CASES])
def test_whatever_the_endpoint_does_the_session_lives_and_nothing_said_is_lost(
    outcomes: dict[str, Outcome], case: str
) -> None:
    outcome = outcomes[case]
    assert outcome.error == "" and outcome.lost == []
    who = [speaker for speaker, _ in outcome.history]
    expected = ["agent", "caller", "agent", "caller", "agent", "caller", "agent"]
    assert who == (expected if case in (*ANSWERED, *HALF) else [*expected[:4], "caller", "agent"])
    assert outcome.history[0] == ("agent", GREETING) and outcome.history[-1] == ("agent", ANSWERS[QUESTIONS[2]])


@pytest.mark.parametrize("case", ANSWERED)
def test_a_retry_or_another_model_answers_as_if_nothing_had_been(outcomes: dict[str, Outcome], case: str) -> None:
    outcome = outcomes[case]
    assert set(outcome.heard) - {FILLER} == {ANSWERS[QUESTIONS[1]]}
    notes = " ".join(outcome.told)
    assert ("asking again after" in notes) == (case != "none")
    assert ("asking second instead" in notes) == ("second" in case)


@pytest.mark.parametrize("case", [case.name for case in CASES if case.name not in (*ANSWERED, *HALF)])
def test_where_nobody_answers_that_is_said_aloud_and_the_trace_has_the_next_step(
    outcomes: dict[str, Outcome], case: str
) -> None:
    outcome = outcomes[case]
    assert set(outcome.heard) - {FILLER} == {APOLOGY}
    told = [text for text in outcome.told if "llm: " in text]
    assert told
    step = {
        "401 wrong key": "Set OPENAI_API_KEY",
        "404 no such model": "Check the model's name",
        "429 for good": "models_fallback",
        "500 for good": "Try again later",
        "nothing for good": "first_token_timeout_s",
    }.get(case, "Check DUOLOGUE_LLM__BASE_URL")
    assert step in told[0]


@pytest.mark.parametrize("case", HALF)
def test_what_came_of_a_broken_stream_is_said_and_kept_and_then_apologised_for(
    outcomes: dict[str, Outcome], case: str
) -> None:
    outcome = outcomes[case]
    begun, apology = outcome.heard
    assert apology == APOLOGY
    assert ANSWERS[QUESTIONS[1]].startswith(begun) and begun.startswith("It rains in the morning.")
    assert ("agent", begun) in outcome.history
    assert outcome.requests <= 2  # twice only where it broke before any of it could be heard


# --- a call of one's own ----------------------------------------------------------------------------------------------

BRISK = Policy(
    endpointing=EndpointingPolicy(complete_s=0.1, neutral_s=0.15, incomplete_s=0.3),
    reply=ReplyPolicy(filler_after_s=0.3),
    limits=LimitsPolicy(idle_s=None),
)
Talk = Callable[[Caller, Session, MemoryTransport, OpenAiServer], Awaitable[None]]


def asr_for(turns: Sequence[str]) -> Asr:
    return ScriptedAsr([Utterance(turn, whole_text_in_finals=True) for turn in turns])


def call(
    replies: Any,
    turns: Sequence[str],
    talk: Talk,
    *,
    tools: Sequence[Any] = (),
    seconds_per_char: float = 0.012,
) -> tuple[Session, OpenAiServer, list[Any]]:
    """Hold a call: `talk` says when what is said; the session, the server and the events when it is over."""

    async def whole() -> tuple[Session, OpenAiServer, list[Any]]:
        async with OpenAiServer(replies) as server:
            llm = OpenAiLlm("scripted", base_url=server.base_url, **QUICK)
            tts = ScriptedTts(first_audio_s=0.02, seconds_per_char=seconds_per_char, real_time_factor=0.0)
            agent = Agent(
                settings=Settings(),
                stages=Stages(ScriptedVad(), asr_for(turns), llm, tts),
                persona=Persona("test", "You are brief."),
                tools=tools,
            )
            transport: Transport = MemoryTransport(hang_up=False)
            assert isinstance(transport, MemoryTransport)
            async with asyncio.timeout(30), agent, agent.session(transport, policy=BRISK) as session:
                caller = Caller(session, transport)
                reading = asyncio.ensure_future(caller.follow())
                await talk(caller, session, transport, server)
                await session.close(finish=False)
                await reading
            return session, server, caller.events

    return asyncio.run(whole())


def said(session: Session) -> list[tuple[str, str]]:
    """Who said what: a reply's stretches before and behind its tools as one."""
    told: dict[str, tuple[str, str]] = {}
    for item in session.conversation.history:
        if isinstance(item, UserItem):
            told[item.id] = ("user", item.text)
        elif isinstance(item, AgentItem):
            _, before = told.get(f"reply {item.reply}", ("agent", ""))
            told[f"reply {item.reply}"] = ("agent", f"{before} {item.text}".strip())
    return list(told.values())


def test_an_interruption_closes_the_connection_and_the_server_sees_it() -> None:
    story = ScriptedReply("".join(f"Clock {i} ran backwards. " for i in range(40)), first_token_s=0.05, token_s=0.05)
    other = ScriptedReply("Tomorrow is fine.", first_token_s=0.05, token_s=0.01)

    async def talk(caller: Caller, session: Session, transport: MemoryTransport, server: OpenAiServer) -> None:
        await transport.speak(voice(0.6))
        await server.until(lambda: server.streams_open == 1, timeout_s=5.0)
        while not transport.played_samples:
            await transport.speak(bytes(640))
        await transport.speak(bytes(32_000))
        assert server.streams_open == 1 and server.hung_up == 0
        await transport.speak(voice(1.3))
        await server.until(lambda: server.hung_up == 1, timeout_s=2.0)
        await caller.listen(2)

    session, server, events = call([story, other], ["tell me a story", "wait, what about tomorrow"], talk)
    assert server.hung_up == 1 and server.streams_open == 0
    assert [event.reason for event in events if isinstance(event, act.CancelReply)] == ["interrupted"]
    (_, first), (_, heard), (_, second), (_, answer) = said(session)
    assert (first, second, answer) == ("tell me a story", "wait, what about tomorrow", "Tomorrow is fine.")
    assert "".join(story.streamed).startswith(heard) and 10 < len(heard) < 300
    assert server.requests[-1].messages[2] == {"role": "assistant", "content": heard}


@tool
async def weather(city: str, days: int = 1) -> dict[str, Any]:
    """Weather in a city."""
    return {"city": city, "days": days, "sky": "rain"}


def test_a_tool_goes_to_the_model_and_back_over_the_wire() -> None:
    calls = (ToolCall("call_1", "weather", '{"city": "Rome"}'), ToolCall("call_2", "weather", '{"town": "Oslo"}'))

    def answer(request: ChatRequest) -> ScriptedReply:
        if request.messages[-1]["role"] == "tool":
            return ScriptedReply("It rains in Rome.", first_token_s=0.02, token_s=0.005)
        return ScriptedReply("Let me see. ", tool_calls=calls, first_token_s=0.02, token_s=0.005)

    async def talk(caller: Caller, session: Session, transport: MemoryTransport, server: OpenAiServer) -> None:
        await caller.ask(1)

    session, server, _ = call(answer, ["how is the weather in Rome"], talk, tools=[weather])
    assert said(session) == [
        ("user", "how is the weather in Rome"),
        ("agent", "Let me see. It rains in Rome."),
    ]
    first, second = server.requests
    assert first.tool_names == second.tool_names == ["weather"]
    described = first.body["tools"][0]["function"]
    assert described["description"] == "Weather in a city." and described["parameters"]["required"] == ["city"]
    assistant, rome, oslo = second.messages[-3:]
    assert assistant["content"] == "Let me see."
    assert [made["function"]["arguments"] for made in assistant["tool_calls"]] == [made.arguments for made in calls]
    assert (rome["tool_call_id"], rome["content"]) == ("call_1", '{"city":"Rome","days":1,"sky":"rain"}')
    assert oslo["tool_call_id"] == "call_2" and "city: Field required" in oslo["content"]


def test_images_go_with_the_turn_and_stay_in_the_conversation() -> None:
    picture = "data:image/png;base64,iVBORw0KGgo="

    async def talk(caller: Caller, session: Session, transport: MemoryTransport, server: OpenAiServer) -> None:
        session.show("https://example.org/cat.png")
        await caller.ask(1)
        session.type("and this", images=[picture])
        await caller.listen(2)

    answers = [ScriptedReply(f"Cat number {n}.", first_token_s=0.02, token_s=0.005) for n in (1, 2)]
    session, server, _ = call(lambda request: answers[len(request.messages) > 2], ["what is this"], talk)
    assert said(session)[-1] == ("agent", "Cat number 2.")
    spoken, _, typed = server.requests[-1].messages[1:]
    assert spoken["content"] == [
        {"type": "text", "text": "what is this"},
        {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}},
    ]
    assert typed["content"][1]["image_url"]["url"] == picture


def test_the_endpoint_s_own_count_is_in_the_meter_with_what_its_cache_saved() -> None:
    async def talk(caller: Caller, session: Session, transport: MemoryTransport, server: OpenAiServer) -> None:
        await caller.ask(1)
        await caller.ask(2)

    reply = ScriptedReply("It is five o'clock.", first_token_s=0.02, token_s=0.005)
    session, server, _ = call([reply], ["what time is it", "and now"], talk)
    report = session.meter.report()
    tokens, count = report["tokens"], len(server.requests)
    assert tokens["output"] == 4 * count == 4 * report["requests"]
    assert tokens["by_model"] == {"scripted": tokens["input"] + tokens["output"]}
    assert 0 < tokens["cached_input"] < tokens["input"]
    assert report["stages_ms"]["llm_first_token"]["count"] == count
    first, last = server.requests[0].messages, server.requests[-1].messages
    assert last[: len(first)] == first  # the prompt's beginning stays, which is what caches need


# --- llama.cpp, which nobody here wrote -------------------------------------------------------------------------------


PATIENT = replace(BRISK, reply=ReplyPolicy(filler_after_s=30.0, late_after_s=30.0, unheard_s_max=40.0))


def test_an_interruption_frees_llama_cpps_slot_and_the_meter_shows_its_cache_hits(real_model: Any) -> None:
    persona = Persona("test", "You are a voice assistant. You tell long stories to children, in plain words. " * 8)

    async def whole(server: llama_server.LlamaServer) -> Session:
        llm = OpenAiLlm(base_url=server.base_url, output_tokens_max=300, temperature=1.0)
        tts = ScriptedTts(first_audio_s=0.02, seconds_per_char=0.05, real_time_factor=0.0)
        stages = Stages(ScriptedVad(), asr_for(["tell me a story", "wait, what about tomorrow"]), llm, tts)
        transport = MemoryTransport(hang_up=False)
        agent = Agent(settings=Settings(), stages=stages, persona=persona)
        async with asyncio.timeout(60), agent, agent.session(transport, policy=PATIENT) as session:
            await transport.speak(voice(0.6))
            while not transport.played_samples:
                await transport.speak(bytes(640))
            await transport.speak(bytes(32_000))  # some words of it are heard
            await transport.speak(voice(1.3))
            for _ in range(1000):  # the second answer is done, whether or not the first ended by itself before
                if session.meter.report()["tokens"].get("cached_input"):
                    break
                await transport.speak(bytes(640))
            await session.close(finish=False)
        for _ in range(300):
            if not await asyncio.to_thread(server.slots_busy):
                return session
            await asyncio.sleep(0.01)
        raise AssertionError("a slot works on for nobody")

    with llama_server.running(real_model("llamacpp:SmolLM2-135M-Instruct-Q4_1")) as server:
        session = asyncio.run(whole(server))
    assert [speaker for speaker, _ in said(session)][:3] == ["user", "agent", "user"]
    tokens = session.meter.report()["tokens"]
    assert tokens["cached_input"] > 100 and tokens["by_model"] == {"smol": tokens["input"] + tokens["output"]}
