"""Twenty questions that the pack `assistant` knows, as people would put them, and twenty that it does not, asked of
rehearsal, of a small model alone, and of the model with the pack: what each says and after how many seconds.

    PYTHONPATH=tests .venv/bin/python -m benchmarks.forty_questions >answers.md

It prints the table that `docs/JUDGED_ANSWERS.md` holds, with an empty place for each judgement: those are a person's.
Each question is asked in a conversation of its own, after the pack's greeting. The instructions are read ahead, as in
a call, and an answer that repeats itself is cut (✂) as in a call. The questions were written before any of the three
was asked, and are not to be mended after their answers.
"""

import argparse
import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from statistics import median
from typing import Final

from duologue.core.messages import Message
from duologue.packs import Pack, find_pack
from duologue.ports import Llm, LlmRequest, TextDelta
from duologue.text.answer_end import AnswerEnd
from duologue_pipelines.llm.examples import ExamplesLlm
from duologue_pipelines.llm.llamacpp import LlamaCppLlm
from duologue_pipelines.llm.rehearsal import RehearsalLlm

KNOWN: Final = (
    "Hey, what time do you guys open the museum in the morning?",
    "Could I come by on a Sunday?",
    "What do you charge to get in?",
    "I've got a dog with me, is that a problem?",
    "Is it possible to get tickets on the internet?",
    "Which bus goes to the museum?",
    "So who am I talking to?",
    "Am I talking to a machine or to a human?",
    "Will you remember this call tomorrow?",
    "How far is it from here to the moon?",
    "Do you think there are aliens out there?",
    "What makes the sky look blue?",
    "How many minutes should I boil the noodles?",
    "My sauce got way too thick, what do I do?",
    "How often should I take breaks at work?",
    "I just can't get out of bed in the mornings.",
    "What's the quickest train on earth?",
    "I'd like to make a reservation for dinner tonight.",
    "How do I memorize vocabulary?",
    "Do you know anything funny?",
)
# The last of each five is near to something that the pack knows, and is not that.
UNKNOWN: Final = (
    "What is the capital of Australia?",
    "How many legs does a spider have?",
    "Who painted the Mona Lisa?",
    "What's twelve times twelve?",
    "Is the museum shop open too?",
    "How do I boil an egg?",
    "What's a good name for a cat?",
    "Can you recommend a book?",
    "My phone won't charge, what can I try?",
    "Do students pay less for a ticket?",
    "How long does it take to learn the piano?",
    "Why do cats purr?",
    "What's the tallest mountain in the world?",
    "I have a headache.",
    "Is there parking at the museum?",
    "How do I tie a tie?",
    "Where do penguins live?",
    "What should I give my mother for her birthday?",
    "What time is it?",
    "How far away is Mars?",
)
LANGUAGE: Final = "en"


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said, and after how many seconds it began."""

    text: str
    first_s: float


def prompt(pack: Pack, question: str) -> LlmRequest:
    """The first turn of a call."""
    greeting = Message("assistant", pack.greeting(LANGUAGE) or "")
    return LlmRequest((Message("system", pack.system(LANGUAGE)), greeting, Message("user", question)))


async def ask(llm: Llm, request: LlmRequest) -> Answer:
    """Ask one question."""
    begun, first, text, end = time.perf_counter(), 0.0, "", AnswerEnd()
    async with aclosing(llm.stream(request)) as items:
        async for item in items:
            if isinstance(item, TextDelta):
                first = first or time.perf_counter() - begun
                text += end.push_text(item.text)
                if end.reason:  # what a session would cut
                    text += " ✂"
                    break
    return Answer(" ".join(text.split()), first)


async def ask_all(answerers: Mapping[str, Llm], pack: Pack, questions: Sequence[str]) -> dict[str, list[Answer]]:
    """All questions of each, one after the other."""
    return {name: [await ask(llm, prompt(pack, text)) for text in questions] for name, llm in answerers.items()}


async def run(model: str) -> None:
    """Ask, and print."""
    pack = find_pack("assistant")
    alone = LlamaCppLlm(model)
    answerers: dict[str, Llm] = {
        "rehearsal": RehearsalLlm(pack.samples),
        "the model alone": alone,
        "the model with the pack": ExamplesLlm(alone, pack.samples, alone.examples, alone.verbatim_min),
    }
    try:
        await alone.warm_up()
        await alone.read_ahead(prompt(pack, "").messages[:2])
        for heading, questions in (("The pack knows it", KNOWN), ("The pack does not know it", UNKNOWN)):
            answers = await ask_all(answerers, pack, questions)
            print(f"\n## {heading}\n")  # noqa: T201
            for line in table(questions, answers):
                print(line)  # noqa: T201
    finally:
        await alone.aclose()


def table(questions: Sequence[str], answers: Mapping[str, Sequence[Answer]]) -> list[str]:
    """Markdown: a row an answer, the judgement to be filled in; the medians below."""
    lines = ["| question | asked of | answer | first token | judged |", "|---|---|---|---|---|"]
    for place, question in enumerate(questions):
        for name, given in answers.items():
            shown = question if name == next(iter(answers)) else ""
            lines.append(f"| {shown} | {name} | {given[place].text} | {given[place].first_s:.2f} s | |")
    medians = ", ".join(f"{name} {median(answer.first_s for answer in given):.2f} s" for name, given in answers.items())
    return [*lines, "", f"First token, median of {len(questions)}: {medians}."]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="", help="a name in the cache, or a path to a .gguf")
    asyncio.run(run(parser.parse_args().model))
