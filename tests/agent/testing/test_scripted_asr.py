"""The scripted recogniser says what its script says, in virtual time."""

import asyncio

import numpy as np
import pytest

from duologue.audio import Frame
from duologue.errors import StageError
from duologue.ports.asr import AsrContext, Hypothesis
from duologue.testing.scripted_asr import ScriptedAsr, ScriptedAsrStream, Utterance
from duologue.testing.virtual_time import pass_time, run

LOUD = np.full(320, 4000, "<i2").tobytes()


def push(stream: ScriptedAsrStream, seconds: float, *, start: float = 0.0, pcm: bytes = LOUD) -> None:
    for index in range(round(seconds / 0.02)):
        stream.push_frame(Frame(pcm, start + index * 0.02))


async def read(stream: ScriptedAsrStream, until_mark: int) -> list[Hypothesis]:
    told = []
    async for hypothesis in stream:
        told.append(hypothesis)
        if hypothesis.mark == until_mark:
            return told
    return told


def test_words_appear_with_the_voice_and_the_final_after_its_delay() -> None:
    async def scenario() -> None:
        asr = ScriptedAsr([Utterance("Tell me a story.", word_seconds=0.2, final_delay_s=0.3, language="en")])
        stream = asr.open(AsrContext())
        loop = asyncio.get_running_loop()
        told: list[Hypothesis] = []
        reading = asyncio.create_task(read(stream, 5))
        for step in range(4):
            push(stream, 0.2, start=step * 0.2)
            await pass_time(0.2)
        begun = loop.time()
        stream.finalise(5)
        told = await reading
        assert loop.time() - begun == pytest.approx(0.3)
        assert [h.text for h in told] == ["Tell", "Tell me", "Tell me a", "Tell me a story.", "Tell me a story."]
        assert [h.stable for h in told] == [0, 1, 2, 3, 4]
        assert told[-1].final and told[-1].language == "en"
        assert told[-1].words[1].start == pytest.approx(0.2)

    run(scenario())


def test_a_final_covers_what_was_heard_or_the_whole_text_when_told_so() -> None:
    async def scenario() -> None:
        asr = ScriptedAsr(["one two three four"], final_delay_s=0.1)
        asr.expect(Utterance("一二三四", whole_text_in_finals=True))
        for text in ("one two", "一二三四"):
            stream = asr.open(AsrContext("en"))
            push(stream, 0.5)
            push(stream, 0.5, start=0.5, pcm=bytes(640))
            stream.finalise(1)
            final = (await read(stream, 1))[-1]
            assert (final.text, final.language) == (text, "en")
        assert [context.language for context in asr.contexts] == ["en", "en"]
        assert len(asr.streams) == 2

    run(scenario())


def test_turns_beyond_the_script_have_no_words() -> None:
    async def scenario() -> None:
        stream = ScriptedAsr().open(AsrContext())
        push(stream, 1.0)
        stream.finalise(1)
        assert (await read(stream, 1))[-1].text == ""

    run(scenario())


def test_a_newer_mark_replaces_the_one_that_is_owed() -> None:
    async def scenario() -> None:
        stream = ScriptedAsr(["one"]).open(AsrContext())
        push(stream, 0.3)
        stream.finalise(1)
        stream.finalise(2)
        assert [h.mark for h in await read(stream, 2) if h.final] == [2]

    run(scenario())


def test_a_failure_comes_out_of_the_iteration_and_closes_the_stream() -> None:
    async def scenario() -> None:
        fault = StageError("asr", "the model is gone")
        stream = ScriptedAsr([Utterance("one two", fail=fault, fail_at_final=2, partials=False)]).open(AsrContext())
        push(stream, 0.6)
        stream.finalise(1)
        assert (await read(stream, 1))[-1].text == "one two"
        stream.finalise(2)
        with pytest.raises(StageError, match="the model is gone"):
            await read(stream, 2)
        assert stream.closed
        assert await read(stream, 3) == []

    run(scenario())


def test_nothing_is_told_after_close() -> None:
    async def scenario() -> None:
        stream = ScriptedAsr(["one"]).open(AsrContext())
        reading = asyncio.create_task(read(stream, 1))
        await pass_time(0)
        push(stream, 0.3)
        stream.finalise(1)
        await stream.aclose()
        push(stream, 0.3)
        stream.finalise(2)
        assert await reading == []

    run(scenario())


def test_it_is_always_there() -> None:
    assert ScriptedAsr.probe() == ""
    run(ScriptedAsr().warm_up())
    run(ScriptedAsr().aclose())
