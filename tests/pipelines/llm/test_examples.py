"""A model with a pack's dialogues: what the pack knows is said as written, the rest after the nearest example."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from duologue.core.messages import Message, ToolSpec
from duologue.dialogues import read_dialogues
from duologue.packs import find_pack
from duologue.ports import LlmFinished, LlmRequest
from duologue.settings import Settings, StageChoice
from duologue.testing.contracts.llm import LlmCase, check_name, checks_for
from duologue.testing.scripted_llm import ScriptedLlm, ScriptedReply
from duologue_pipelines import cascade
from duologue_pipelines.llm.examples import ExamplesLlm

SYSTEM = Message("system", "You are brief.")
HELLO = Message("assistant", "Hello!")
MUSEUM = tuple(
    read_dialogues(
        "museum.md",
        "# Museum\nuser: When does the museum open?\nor: What are the opening hours?\nagent: At nine, every day.\n"
        "user: How much is a ticket?\nagent: Twelve dollars.",
        "en",
    )
)


class Asked(ScriptedLlm):
    """Keeps what it is asked, and what it is told to read ahead."""

    def __init__(self) -> None:
        super().__init__([ScriptedReply("Well, let me see.", first_token_s=0.0, token_s=0.0)], cycle=True)
        self.prompts: list[tuple[Message, ...]] = []
        self.ahead: list[Sequence[Message]] = []

    def stream(self, request: LlmRequest) -> Any:
        self.prompts.append(request.messages)
        return super().stream(request)

    async def read_ahead(self, messages: Sequence[Message]) -> None:
        self.ahead.append(messages)


def request(text: str, **more: Any) -> LlmRequest:
    return LlmRequest((SYSTEM, HELLO, Message("user", text)), **more)


@pytest.fixture
def say(collect: Any, spoken: Any) -> Any:
    def run(llm: ExamplesLlm, asked: LlmRequest) -> tuple[str, LlmFinished]:
        items = asyncio.run(collect(llm.stream(asked)))
        return spoken(items), items[-1]

    return run


@pytest.mark.parametrize("check", checks_for(LlmCase(make=lambda: ExamplesLlm(Asked()))), ids=check_name)
def test_it_keeps_the_contract(check: Any) -> None:
    asyncio.run(check(LlmCase(make=lambda: ExamplesLlm(Asked(), MUSEUM))))


def test_what_the_pack_knows_it_says_as_written_and_the_trace_says_where(say: Any) -> None:
    model = Asked()
    text, finished = say(ExamplesLlm(model, MUSEUM), request("what are your opening hours"))
    assert text == "At nine, every day." and not model.prompts
    assert finished.remarks[0].startswith("answered as written in museum.md:2 (likeness 0.") and not finished.notes


def test_the_nearest_example_stands_right_before_the_question_behind_an_unchanged_beginning(say: Any) -> None:
    model = Asked()
    llm = ExamplesLlm(model, MUSEUM, examples=2, verbatim_min=2.0)
    text, _ = say(llm, request("How much is a ticket for the museum?"))
    assert text == "Well, let me see."
    question = Message("user", "How much is a ticket for the museum?")
    *before, user, agent, last = model.prompts[0]
    assert (user.text, agent.text, last) == ("How much is a ticket?", "Twelve dollars.", question)
    assert tuple(before[:2]) == (SYSTEM, HELLO)


@pytest.mark.parametrize(
    "asked",
    [
        request("Why do cats purr?"),
        request("Summarise the conversation: when does the museum open?"),
        request("When does the museum open?", tools=(ToolSpec("look", "Look.", {}),)),
        LlmRequest((SYSTEM, Message("user", "When does the museum open?", images=("data:image/png;base64,",)))),
        LlmRequest((SYSTEM, Message("tool", "open", call_id="1"))),
        LlmRequest(()),
    ],
)
def test_what_a_pack_cannot_answer_goes_to_the_model_as_it_is(say: Any, asked: LlmRequest) -> None:
    model = Asked()
    assert say(ExamplesLlm(model, MUSEUM), asked)[0] == "Well, let me see."
    assert model.prompts == [asked.messages]


def test_without_examples_a_near_line_below_the_bound_changes_nothing(say: Any) -> None:
    model = Asked()
    asked = request("When does the museum open?")
    say(ExamplesLlm(model, MUSEUM, examples=0, verbatim_min=2.0), asked)
    assert model.prompts == [asked.messages]


def test_the_beginning_of_its_prompts_is_read_ahead_where_the_model_can() -> None:
    model = Asked()
    llm = ExamplesLlm(model, MUSEUM, beginning=(SYSTEM, HELLO))
    asyncio.run(llm.warm_up())
    assert model.ahead == [(SYSTEM, HELLO)]
    asyncio.run(llm.with_exchanges(()).warm_up())
    assert len(model.ahead) == 1 and ExamplesLlm.probe() == "" and llm.is_language_model is model.is_language_model
    asyncio.run(replace(llm, llm=ScriptedLlm([])).warm_up())  # one that can't


def test_the_stages_give_a_model_that_wants_them_the_packs_dialogues() -> None:
    async def built(**options: Any) -> cascade.Cascade:
        stages = {"asr": "pocketsphinx", "tts": "espeak", "vad": "webrtc"}
        settings = Settings(
            llm=StageChoice(use="llamacpp", **options), **{key: StageChoice(use=use) for key, use in stages.items()}
        )
        return await cascade.build(settings, find_pack("assistant"))

    pack = find_pack("assistant")
    llm = asyncio.run(built()).stages.llm
    assert isinstance(llm, ExamplesLlm) and llm.exchanges == pack.samples
    assert [message.role for message in llm.beginning] == ["system", "assistant"]
    assert not isinstance(asyncio.run(built(examples=0, verbatim_min=2)).stages.llm, ExamplesLlm)
    cascades = asyncio.run(built())
    persona = cascades.persona(pack, Settings())
    assert isinstance(persona.llm, ExamplesLlm) and persona.llm.llm is cascades.stages.llm.llm
