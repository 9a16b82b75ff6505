"""pocketsphinx on real audio: with a pack's sentences, without, in another language, and through pauses."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from duologue.audio import frames
from duologue.core.words import is_cjk
from duologue.errors import ConfigurationError, StageOverloaded, StageUnavailable
from duologue.ports.asr import AsrContext, Hypothesis
from duologue_pipelines.asr.pocketsphinx import PocketsphinxAsr, _bundled
from duologue_pipelines.asr.sphinx_decoders import DecoderLender
from duologue_pipelines.asr.sphinx_engine import BoundDecoder, NativeDecoder, SphinxDecoder, _library, open_decoder
from duologue_pipelines.asr.sphinx_language import build_language, spoken_tokens

CLIPS = ("tts_019", "tts_000", "tts_003", "tts_005", "tts_007")


def samples_of(path: Path) -> NDArray[np.int16]:
    with av.open(str(path)) as source:
        return np.concatenate([frame.to_ndarray().reshape(-1) for frame in source.decode(audio=0)])


def word_errors(said: list[str], heard: list[str]) -> int:
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        corner, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (word != other))
    return row[-1]


@pytest.fixture(scope="module")
def clips(shared_data: Path) -> list[tuple[str, NDArray[np.int16]]]:
    rows = [json.loads(line) for line in (shared_data / "speech/manifest.jsonl").read_text().splitlines()]
    texts = {Path(row["file"]).stem: row["text"] for row in rows}
    return [(texts[name], samples_of(shared_data / f"speech/wav/{name}.flac")) for name in CLIPS]


async def hear(asr: PocketsphinxAsr, pieces: list[NDArray[np.int16]], context: AsrContext) -> list[Hypothesis]:
    """One turn, a final asked for (and awaited) after each of `pieces`; everything that was told."""
    stream = asr.open(context)
    told: list[Hypothesis] = []
    at = 3.0
    for mark, piece in enumerate(pieces, 1):
        for index, frame in enumerate(frames(piece.astype("<i2").tobytes(), start=at)):
            stream.push_frame(frame)
            at = frame.end
            if index % 10 == 9:
                await asyncio.sleep(0.01)
        stream.finalise(mark)
        async for hypothesis in stream:
            told.append(hypothesis)
            if hypothesis.final and hypothesis.mark == mark:
                break
    await stream.aclose()
    return told


def heard(asr: PocketsphinxAsr, pieces: list[NDArray[np.int16]], context: AsrContext) -> list[Hypothesis]:
    async def scenario() -> list[Hypothesis]:
        await asr.warm_up()
        found = await hear(asr, pieces, context)
        await asr.aclose()
        return found

    return asyncio.run(scenario())


@pytest.mark.shared_data
def test_a_packs_sentences_come_out_nearly_right(clips: list[tuple[str, NDArray[np.int16]]]) -> None:
    context = AsrContext("en", tuple(text for text, _ in clips))

    async def scenario() -> tuple[int, int]:
        asr = PocketsphinxAsr()
        errors = words = 0
        for text, clip in clips:
            told = await hear(asr, [np.concatenate([clip, np.zeros(1600, np.int16)])], context)
            errors += word_errors(spoken_tokens(text), told[-1].text.split())
            words += len(spoken_tokens(text))
        await asr.aclose()
        return errors, words

    errors, words = asyncio.run(scenario())
    assert errors / words < 0.25


@pytest.mark.shared_data
def test_loudness_does_not_matter(clips: list[tuple[str, NDArray[np.int16]]]) -> None:
    text, clip = clips[0]
    context = AsrContext("en", tuple(text for text, _ in clips))
    found = {heard(PocketsphinxAsr(), [(clip * gain).astype(np.int16)], context)[-1].text for gain in (0.1, 0.3, 1.0)}
    assert len(found) == 1
    assert word_errors(spoken_tokens(text), found.pop().split()) <= 2


@pytest.mark.shared_data
def test_a_final_at_a_short_gap_does_not_fragment_the_sentence(clips: list[tuple[str, NDArray[np.int16]]]) -> None:
    _, clip = clips[0]
    context = AsrContext("en", tuple(text for text, _ in clips))
    middle = len(clip) // 2
    whole = heard(PocketsphinxAsr(), [clip], context)[-1]
    parts = heard(PocketsphinxAsr(), [clip[:middle], clip[middle:]], context)
    finals = [h for h in parts if h.final]
    assert [h.mark for h in finals] == [1, 2]
    assert finals[-1].text == whole.text


@pytest.mark.shared_data
def test_after_a_real_pause_the_words_before_it_are_settled(clips: list[tuple[str, NDArray[np.int16]]]) -> None:
    _, clip = clips[0]
    context = AsrContext("en", tuple(text for text, _ in clips))
    pause = np.zeros(24_000, np.int16)
    told = heard(PocketsphinxAsr(), [clip, np.concatenate([pause, clip])], context)
    first, last = (h for h in told if h.final)
    count = len(first.text.split())
    assert last.text.split()[:count] == first.text.split()
    assert last.stable >= count
    assert len(last.words) > count
    assert last.words[count].start - last.words[count - 1].end > 1.0
    assert all(word.probability is not None for word in last.words)


@pytest.mark.shared_data
def test_without_phrases_the_general_model_is_used(shared_data: Path) -> None:
    clip = samples_of(shared_data / "speech/wav/ls_3729-6852-0012.flac")
    told = heard(PocketsphinxAsr(), [clip], AsrContext())
    assert told[-1].language == "en"
    assert len(told[-1].text.split()) >= 3
    assert all(word.probability is not None for word in told[-1].words)


@pytest.mark.shared_data
def test_a_packs_phrases_can_be_left_aside(shared_data: Path) -> None:
    clip = samples_of(shared_data / "speech/wav/ls_3729-6852-0012.flac")
    context = AsrContext("en", ("when does the museum open",))
    by_pack, generally = (heard(PocketsphinxAsr(pack_phrases=use), [clip], context)[-1].text for use in (True, False))
    assert generally == heard(PocketsphinxAsr(), [clip], AsrContext())[-1].text != by_pack


def test_it_says_which_words_it_can_hear() -> None:
    assert "hears only what the pack's dialogues and vocabulary hold" in PocketsphinxAsr().remark_on(["yes", "no"])
    assert "one word in three wrong" in PocketsphinxAsr().remark_on(())
    assert "one word in three wrong" in PocketsphinxAsr(pack_phrases=False).remark_on(["yes"])
    assert PocketsphinxAsr(language_model="mine.lm").remark_on(["yes"]) == ""


@pytest.mark.shared_data
def test_mandarin_with_models_of_its_own(shared_data: Path) -> None:
    folder = shared_data / "asr/pocketsphinx-zh"
    asr = PocketsphinxAsr(
        acoustic_model=str(folder / "am"),
        dictionary=str(folder / "mandarin_notone.dic"),
        language_model=str(folder / "zh_5k.lm.bin"),
        language="zh",
    )
    clip = samples_of(shared_data / "speech/wav/et_complete_synthetic_2.flac")
    final = heard(asr, [clip], AsrContext("zh-CN", ("你好",)))[-1]
    assert final.text
    assert any(is_cjk(char) for char in final.text)
    assert len(final.words) >= len(final.text.replace(" ", "")) - 3


@pytest.mark.shared_data
def test_rain_has_no_words(shared_data: Path) -> None:
    rain = samples_of(shared_data / "noise/noise/esc10_rain_5-194892-A.flac")
    told = heard(PocketsphinxAsr(), [rain[:40_000], rain[40_000:]], AsrContext("en", ("hello",)))
    assert [(h.text, h.final) for h in told] == [("", True), ("", True)]


def test_a_turn_beyond_the_decoders_is_refused_when_its_wait_is_over_and_closing_one_makes_room() -> None:
    async def scenario() -> None:
        asr = PocketsphinxAsr(decoders_max=1, decoder_wait_s=0.15)
        context = AsrContext("en", ("hello there",))
        first = asr.open(context)
        first.finalise(1)
        assert (await anext(aiter(first))).final
        second = asr.open(context)
        with pytest.raises(StageOverloaded, match="all 1 decoders are in use"):
            await anext(aiter(second))
        await first.aclose()
        third = asr.open(AsrContext("en", ("other words",)))
        third.finalise(1)
        assert (await anext(aiter(third))).final
        await third.aclose()
        await asr.aclose()

    asyncio.run(scenario())


async def said(asr: PocketsphinxAsr, clip: NDArray[np.int16], context: AsrContext) -> list[Hypothesis]:
    """One turn with all of its audio at once, closed as soon as its final is there."""
    stream = asr.open(context)
    for frame in frames(clip.astype("<i2").tobytes()):
        stream.push_frame(frame)
    stream.finalise(1)
    told = []
    async for hypothesis in stream:
        told.append(hypothesis)
        if hypothesis.final:
            break
    await stream.aclose()
    return told


@pytest.mark.shared_data
def test_turns_beyond_the_decoders_wait_with_their_audio_and_lose_nothing(
    clips: list[tuple[str, NDArray[np.int16]]],
) -> None:
    context = AsrContext("en", tuple(text for text, _ in clips))

    async def scenario() -> tuple[list[str], list[str], int]:
        alone = PocketsphinxAsr()
        expected = [(await said(alone, clip, context))[-1].text for _, clip in clips]
        await alone.aclose()
        asr = PocketsphinxAsr(decoders_max=1, decoder_wait_s=20)
        told = await asyncio.gather(*(said(asr, clip, context) for _, clip in clips))
        waited = sum("all decoders were in use for" in h.note for turn in told for h in turn)
        await asr.aclose()
        return expected, [turn[-1].text for turn in told], waited

    expected, found, waited = asyncio.run(scenario())
    assert found == expected
    assert waited > 0  # and the trace tells that they did


@pytest.mark.shared_data
def test_a_turn_that_is_heard_to_its_end_leaves_its_decoder_to_one_that_waits(
    clips: list[tuple[str, NDArray[np.int16]]],
) -> None:
    context = AsrContext("en", tuple(text for text, _ in clips))
    (_, clip), (_, other) = clips[:2]

    async def scenario() -> tuple[list[Hypothesis], list[Hypothesis]]:
        asr = PocketsphinxAsr(decoders_max=1, decoder_wait_s=20, workers=1)
        first = asr.open(context)  # never closed before the second has its words
        waiting = asyncio.create_task(said(asr, other, context))
        await asyncio.sleep(0)  # the second is open
        await asyncio.wait({asr.pool.submit(lambda: None, urgent=False)})  # behind its first try
        assert asr.lender.is_short
        for frame in frames(clip.astype("<i2").tobytes()):
            first.push_frame(frame)
        first.finalise(1)
        told = [await anext(aiter(first))]
        while not told[-1].final:
            told.append(await anext(aiter(first)))
        second = await waiting
        await first.aclose()
        await asr.aclose()
        return told, second

    first, second = asyncio.run(scenario())
    assert first[-1].text
    assert second[-1].text


def test_a_turn_closed_while_it_waits_asks_no_more() -> None:
    async def scenario() -> None:
        asr = PocketsphinxAsr(decoders_max=1, workers=1)
        context = AsrContext("en", ("hello there",))
        first = asr.open(context)
        first.finalise(1)
        assert (await anext(aiter(first))).final
        second = asr.open(context)
        await asyncio.wait({asr.pool.submit(lambda: None, urgent=False)})  # behind its first try
        assert asr.lender.is_short
        await second.aclose()
        assert [h async for h in second] == []
        await first.aclose()
        await asr.aclose()

    asyncio.run(scenario())


@pytest.mark.shared_data
def test_a_turn_broken_off_leaves_a_decoder_fit_for_the_next(clips: list[tuple[str, NDArray[np.int16]]]) -> None:
    _, clip = clips[0]
    context = AsrContext("en", tuple(text for text, _ in clips))

    async def scenario() -> tuple[str, str]:
        asr = PocketsphinxAsr(decoders_max=1, workers=1)
        before = (await hear(asr, [clip], context))[-1].text
        stream = asr.open(context)
        for frame in frames(clip.astype("<i2").tobytes()):
            stream.push_frame(frame)
        while not any(not h.final for h in [await anext(aiter(stream))]):
            pass
        await stream.aclose()
        await asyncio.wait({asr.pool.submit(lambda: None, urgent=False)})
        after = (await hear(asr, [clip], context))[-1].text
        await asr.aclose()
        return before, after

    before, after = asyncio.run(scenario())
    assert before == after


@pytest.mark.shared_data
@pytest.mark.parametrize("make", [open_decoder, BoundDecoder])
def test_both_ways_into_the_library_hear_the_same(
    make: Callable[[dict[str, str | int]], SphinxDecoder], clips: list[tuple[str, NDArray[np.int16]]], tmp_path: Path
) -> None:
    paths = _bundled()
    language = build_language([text for text, _ in clips], paths["dict"], tmp_path)
    decoder = make(
        {
            "hmm": str(paths["hmm"]),
            "dict": str(language.dictionary),
            "lm": str(language.language_model),
            "samprate": 16000,
            "loglevel": "FATAL",
        }
    )
    heard_twice = []
    for _ in range(2):
        decoder.reset()
        decoder.start()
        decoder.process((clips[0][1] * 0.5).astype("<i2").tobytes())
        assert all(segment.probability is None for segment in decoder.segments())
        decoder.end()
        heard_twice.append([segment.word for segment in decoder.segments()])
        assert all(0 <= (segment.probability or 0) <= 1 for segment in decoder.segments())
    decoder.close()
    decoder.close()
    assert heard_twice[0] == heard_twice[1]
    assert word_errors(spoken_tokens(clips[0][0]), heard_twice[0]) <= 3


def test_broken_models_are_refused(tmp_path: Path) -> None:
    config = {"hmm": str(tmp_path), "dict": "none", "lm": "none", "samprate": 16000, "loglevel": "FATAL"}
    with pytest.raises(StageUnavailable, match="can't load"):
        open_decoder(config)
    with pytest.raises(StageUnavailable, match="can't load"):
        BoundDecoder(config)
    library = _library()
    if library is not None:
        with pytest.raises(StageUnavailable, match="can't load"):
            NativeDecoder(library, config)
    with pytest.raises(StageUnavailable, match=f"there is no {tmp_path / 'none'}"):
        asyncio.run(
            PocketsphinxAsr(acoustic_model=str(tmp_path / "none"), dictionary="none", language_model="none").warm_up()
        )


def test_a_failed_loan_takes_no_place(tmp_path: Path) -> None:
    lender = DecoderLender({"hmm": str(tmp_path), "dict": "none", "lm": "none"}, 1, pack_weight=9)
    for _ in range(2):
        with pytest.raises(StageUnavailable):
            lender.lend(())


def test_it_is_there_and_speaks_english_only() -> None:
    assert PocketsphinxAsr.probe() == ""
    with pytest.raises(ConfigurationError, match=r"speaks 'en', the session asks for 'zh-CN'.*whisper"):
        PocketsphinxAsr().open(AsrContext("zh-CN"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PocketsphinxAsr(acoustic_model="x"), "go together"),
        (lambda: PocketsphinxAsr(acoustic_model="x", dictionary="y"), "language_model is missing"),
        (lambda: PocketsphinxAsr(workers=0), "asr.pocketsphinx.workers"),
        (lambda: PocketsphinxAsr(partial_ms=1), "asr.pocketsphinx.partial_ms"),
        (lambda: PocketsphinxAsr(decoders_max=0), "asr.pocketsphinx.decoders_max"),
        (lambda: PocketsphinxAsr(decoder_wait_s=-1), "asr.pocketsphinx.decoder_wait_s"),
        (lambda: PocketsphinxAsr(queue_max=0), "asr.pocketsphinx.queue_max"),
        (lambda: PocketsphinxAsr(language_weight=0), "asr.pocketsphinx.language_weight"),
    ],
)
def test_an_option_out_of_range_is_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make()
