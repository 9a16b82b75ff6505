"""The agent: put together, loaded once, shared by many sessions, and bounded."""

import asyncio
import json
import re
from dataclasses import replace

import pytest

from duologue import Agent, Persona, Settings, Stages, tool
from duologue.core import actions as act
from duologue.core import events as ev
from duologue.errors import ConfigurationError, PackError, StageOverloaded, StageUnavailable
from duologue.packs import find_pack
from duologue.runtime import agent as agent_module
from duologue.runtime.session_setup import Note
from duologue.settings import StageChoice
from duologue.testing.memory_transport import MemoryTransport
from duologue.testing.scripted_asr import ScriptedAsr
from duologue.testing.scripted_llm import ScriptedLlm, ScriptedReply
from duologue.testing.scripted_tts import ScriptedTts
from duologue.testing.scripted_vad import ScriptedVad
from duologue.testing.virtual_time import pass_time, run


@tool
async def add(a: int, b: int) -> int:
    return a + b


def stages(*replies, turns=(), vad=None):
    return Stages(vad or ScriptedVad(), ScriptedAsr(turns), ScriptedLlm(replies, cycle=True), ScriptedTts())


def test_mistakes_are_found_before_the_first_session():
    with pytest.raises(ConfigurationError, match=r"no tool. Decorate the function with @duologue\.tool"):
        Agent(persona=Persona("x"), settings=Settings(), tools=[print])
    with pytest.raises(ConfigurationError, match=r"two tools are called 'add'. Rename one"):
        Agent(persona=Persona("x"), settings=Settings(), tools=[add, add])
    with pytest.raises(ConfigurationError, match=r"there is no pack 'asistant'.*assistant"):
        Agent("asistant")
    with pytest.raises(ConfigurationError, match=r"not loaded yet. await agent\.ready\(\) first"):
        _ = Agent(persona=Persona("x"), settings=Settings()).stages


def test_settings_may_be_a_mapping_of_the_settings_file_s_shape(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "duologue.toml").write_text('language = "zh"\nsessions_max = 7\n', encoding="utf-8")
    agent = Agent(settings={"language": "en", "pack": "nobody", "endpointing": {"patience": 2}}, pack="assistant")
    assert (agent.settings.language, agent.settings.sessions_max) == ("en", 7)
    assert (agent.settings.pack, agent.settings.endpointing.patience) == ("assistant", 2.0)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"langauge": "en"}, "argument: .*langauge.*Did you mean 'language'"),
        ({"llm": {"use": 3}}, r"argument: llm\.use"),
        ({"endpointing": {"patience": 99}}, "argument: endpointing.patience must lie between 0.1 and 10.0, got 99"),
        ({3: "three"}, "argument: "),
        ("duologue.toml", r"settings must be Settings or a mapping, got 'duologue.toml'\. Write settings="),
        ([("language", "en")], "settings must be Settings or a mapping"),
    ],
)
def test_settings_that_are_none_say_what_is_wrong(settings, problem):
    with pytest.raises(ConfigurationError, match=problem):
        Agent(persona=Persona("x"), settings=settings)


def test_a_pack_by_name_speaks_with_its_system_text_and_greeting():
    made = stages(ScriptedReply("Hi."))

    async def main():
        agent = Agent("assistant", settings=Settings(language="en"), stages=made)
        assert agent.notes == ()
        async with agent.session(MemoryTransport(hang_up=8.0)) as session:
            await session.wait_closed()
        return session

    session = run(main())
    pack = find_pack("assistant")
    assert session.conversation.persona == "assistant"
    assert session.conversation.history[0].text == pack.greeting("en").strip()
    assert session.conversation.snapshot()["system"] == pack.system("en")


def test_stages_are_loaded_once_for_all_sessions_and_freed_with_the_agent():
    made = stages(ScriptedReply("Hi."))
    loads = []

    async def main():
        async with Agent(persona=Persona("x"), settings=Settings(), stages=made) as agent:
            warm_up = made.llm.warm_up
            made.llm.warm_up = lambda: loads.append(1) or warm_up()
            await asyncio.gather(*(agent.ready() for _ in range(3)))
            assert made.llm.warmed_up and not made.llm.closed

    run(main())
    assert loads == [] and made.llm.closed


class LateVad(ScriptedVad):
    """Not there at first."""

    def __init__(self):
        super().__init__()
        self.tries = 0

    async def warm_up(self):
        self.tries += 1
        await pass_time(1.0)
        if self.tries == 1:
            raise StageUnavailable("vad", "no model here", hint="Pull one")


def test_loading_that_failed_is_tried_again_and_one_that_was_cut_off_too():
    vad = LateVad()

    async def main():
        agent = Agent(persona=Persona("x"), settings=Settings(), stages=stages(vad=vad))
        with pytest.raises(StageUnavailable, match=r"no model here. Pull one"):
            async with agent.session(MemoryTransport()):
                pass
        assert agent.live == set()
        agent._loading = asyncio.ensure_future(pass_time(100))
        agent._loading.cancel()
        await asyncio.wait([agent._loading])
        await agent.ready()

    run(main())
    assert vad.tries == 2


def test_a_recogniser_that_is_behind_takes_no_caller_more():
    class Behind(ScriptedAsr):
        wait_s = 0.0

        def queue_wait_s(self) -> float:
            return self.wait_s

    async def main():
        agent = Agent(persona=Persona("x"), settings=Settings(), stages=replace(stages(), asr=Behind()))
        asr = agent.stages.asr
        asr.wait_s = 9.0
        async with agent.session(MemoryTransport(hang_up=False)):  # alone it waits for nobody: what is late passes
            with pytest.raises(StageOverloaded, match=r"9.0 s behind with 1 sessions, no more are taken. Try again"):
                async with agent.session(MemoryTransport()):
                    pass
            asr.wait_s = agent_module.QUEUE_WAIT_S_MAX
            async with agent.session(MemoryTransport(hang_up=False)):
                assert len(agent.live) == 2

    run(main())


def test_one_session_too_many_is_refused_and_a_place_that_is_free_again_is_given():
    async def main():
        agent = Agent(persona=Persona("x"), settings=Settings(sessions_max=2), stages=stages())
        async with agent.session(MemoryTransport(hang_up=False)):
            async with agent.session(MemoryTransport(hang_up=False)):
                assert len(agent.live) == 2
                with pytest.raises(
                    StageOverloaded, match=r"2 sessions are live, no more are taken. Try again"
                ) as caught:
                    async with agent.session(MemoryTransport()):
                        pass
                assert caught.value.retryable
            async with agent.session(MemoryTransport(hang_up=False)):
                pass

    run(main())


def test_sessions_that_are_being_opened_count():
    async def main():
        agent = Agent(persona=Persona("x"), settings=Settings(sessions_max=1), stages=stages(vad=LateVad()))
        agent.stages.vad.tries = 1

        async def talk():
            async with agent.session(MemoryTransport(hang_up=0.5)) as session:
                await session.wait_closed()

        first = asyncio.ensure_future(talk())
        await pass_time(0.5)
        with pytest.raises(StageOverloaded):
            await talk()
        await first

    run(main())


def test_many_sessions_share_the_stages_and_nothing_else():
    """25 callers at once, each with a question of their own."""
    count = 25
    shared = Stages(
        ScriptedVad(),
        ScriptedAsr(lambda turn: f"question {turn}"),
        ScriptedLlm(lambda request: ScriptedReply(f"Answer to {request.messages[-1].text}.")),
        ScriptedTts(),
    )
    sessions = []

    async def talk(agent, number):
        script = [(1.0 + 0.01 * number, b"\x10\x27\xf0\xd8" * 8000)]  # a second of voice
        async with agent.session(MemoryTransport(script, hang_up=7.0)) as session:
            sessions.append(session)
            await session.wait_closed()

    async def main():
        agent = Agent(persona=Persona("x"), settings=Settings(), stages=shared)
        await asyncio.gather(*(talk(agent, number) for number in range(count)))
        assert agent.live == set()

    run(main())
    pairs = [[item.text for item in session.conversation.history] for session in sessions]
    assert sorted(pairs) == sorted([f"question {n}", f"Answer to question {n}."] for n in range(count))
    assert len({session.id for session in sessions}) == count
    assert all(session.error is None for session in sessions)


class Cascade:
    def __init__(self, made):
        self.stages, self.notes = made, ("llm: scripted (for the test)",)

    def persona(self, pack, settings):
        return Persona(f"{pack.name}-of-cascade", "Be a cascade.")


async def build(settings, pack):
    return Cascade(stages(ScriptedReply("Hi.")))


class Entry:
    """As `importlib.metadata` gives them."""

    def load(self):
        return build


def test_the_cascade_builds_the_stages_and_says_what_it_took_and_why(monkeypatch):
    monkeypatch.setattr(agent_module, "entry_points", lambda **which: [Entry()])

    async def main():
        agent = Agent("assistant", settings=Settings(llm=StageChoice(use="auto")))
        transport = MemoryTransport(hang_up=1.0)
        async with agent.session(transport) as session:
            await session.wait_closed()
        assert agent.notes == ("llm: scripted (for the test)",)
        assert agent.persona("assistant").name == "assistant-of-cascade"
        notes = [entry for _, kind, entry in session.trace.entries if kind == "note"]
        assert {"source": "auto", "text": "llm: scripted (for the test)"} in notes
        return session

    assert run(main()).conversation.persona == "assistant-of-cascade"


def test_without_pipelines_the_next_step_is_said(monkeypatch):
    monkeypatch.setattr(agent_module, "entry_points", lambda **which: [])

    async def main():
        with pytest.raises(ConfigurationError, match=r"no stages are installed. Install Duologue with its pipelines"):
            await Agent("assistant", settings=Settings()).ready()

    run(main())


@pytest.fixture
def pirate(tmp_path, repository):
    """A pack of another name, made from the one that is shipped."""
    folder = tmp_path / "pirate"
    folder.mkdir()
    source = repository / "prompts" / "assistant"
    manifest = (source / "pack.toml").read_text(encoding="utf-8")
    (folder / "pack.toml").write_text(re.sub(r'(?m)^name = ".*"', 'name = "pirate"', manifest), encoding="utf-8")
    for path in source.rglob("*.md"):
        copy = folder / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    return folder


def test_a_session_handed_over_speaks_as_the_pack_that_it_was_given_last(pirate, monkeypatch):
    async def main(folder_known):
        agent = Agent("assistant", settings=Settings(language="en"), stages=stages(ScriptedReply("Arr.")))
        async with agent.session(MemoryTransport(hang_up=False)) as session:
            session.use_persona(agent.persona(str(pirate)))
            state = json.loads(json.dumps(session.snapshot()))
        name = str(pirate) if folder_known else "pirate"
        state["conversation"]["state"]["next_persona"][0] = name
        transport = MemoryTransport(hang_up=1.0)
        async with agent.session(transport, snapshot=state) as session:
            persona = session._personas.following.name
            await session.wait_closed()
        return persona, [entry["text"] for _, kind, entry in session.trace.entries if kind == "note"]

    persona, notes = run(main(False))
    assert persona == "assistant"
    assert notes[-1].startswith("pirate is not known here: its words go on in the voice of assistant. Give")
    assert run(main(True))[0] == "pirate"


def test_a_broken_pack_is_no_reason_to_refuse_a_migration(tmp_path, monkeypatch):
    def broken(name):
        raise PackError("pack.toml", 1, "no")

    async def main():
        agent = Agent("assistant", settings=Settings(), stages=stages())
        await agent.ready()
        monkeypatch.setattr(agent, "persona", broken)
        assert agent._persona_for("pirate").name == "assistant"

    run(main())


def test_an_agent_for_everybody_is_used_by_many_loops():
    made = stages(ScriptedReply("Hi."))
    agent = Agent(persona=Persona("x", greeting="Hello."), settings=Settings(), stages=made)

    async def talk():
        async with agent.session(MemoryTransport(hang_up=2.0)) as session:
            return [event async for event in session.events()]

    for _ in range(2):
        told = run(talk())
        assert {ev.ReplyEnded, act.CloseSession} <= set(map(type, told))
        notes = [event.text for event in told if isinstance(event, Note)]
        assert notes == ["scripted is no language model: it answers from sample dialogues"]


def test_stages_are_named_with_their_models_in_one_word():
    agent = Agent(asr="whisper:tiny.en", tts="piper:x", settings={"asr": {"workers": 1}, "tts": "espeak"})
    assert agent.settings.asr == StageChoice("whisper", model="tiny.en", workers=1)
    assert agent.settings.tts == StageChoice("piper", voice="x")
    agent = Agent(llm="openai:gpt-4.1-mini", settings=Settings())
    assert agent.settings.llm == StageChoice("openai", model="gpt-4.1-mini")


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"ars": "whisper"}, "an agent takes no 'ars'. Did you mean 'asr'?"),
        ({"llm": 3}, "llm must be a name like 'whisper:tiny.en', got 3"),
    ],
)
def test_a_stage_named_wrong_is_told(named, message):
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        Agent(**named)
