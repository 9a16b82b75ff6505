"""Whisper on real audio: exactness, increments, long turns, guards, and what it says when something is wrong."""

import asyncio
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from duologue.audio import frames
from duologue.core.words import Word, normal_form
from duologue.errors import ConfigurationError, StageError, StageOverloaded, StageUnavailable
from duologue.ports.asr import AsrContext, Hypothesis
from duologue_pipelines.asr.turn_audio import Clip
from duologue_pipelines.asr.voiced import Voiced, VoicedTrack
from duologue_pipelines.asr.whisper import WhisperAsr, _best_border
from duologue_pipelines.asr.whisper_decoder import (
    Decoded,
    _aligned,
    _Attempt,
    _guarded,
    _without_long_silence,
    likeliest_language,
)

pytestmark = pytest.mark.shared_data
QUIET = bytes(640)


def samples_of(path: Path) -> NDArray[np.int16]:
    with av.open(str(path)) as source:
        return np.concatenate([frame.to_ndarray().reshape(-1) for frame in source.decode(audio=0)])


@pytest.fixture(scope="module")
def model(shared_data: Path) -> str:
    return str(shared_data / "asr/whisper-mini-en-ct2")


@pytest.fixture(scope="module")
def exact(shared_data: Path) -> list[tuple[str, NDArray[np.int16]]]:
    """Clips that the small model gets right, with their text."""
    folder = shared_data / "speech/mini"
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    return [(row["hypothesis"], samples_of(folder / row["file"])) for row in rows if row["exact"]]


async def hear(
    asr: WhisperAsr, samples: NDArray[np.int16], *, pace_s: float = 0.0, context: AsrContext | None = None
) -> list[Hypothesis]:
    """Push `samples` as one turn from second 5 on and ask for a final; everything that was told."""
    stream = asr.open(context or AsrContext())
    told: list[Hypothesis] = []

    async def read() -> None:
        async for hypothesis in stream:
            told.append(hypothesis)
            if hypothesis.final:
                return

    reading = asyncio.create_task(read())
    for index, frame in enumerate(frames(samples.tobytes(), start=5.0)):
        stream.push_frame(frame)
        if pace_s and index % 5 == 4:
            await asyncio.sleep(pace_s)
    stream.finalise(1)
    await reading
    await stream.aclose()
    return told


def heard(asr: WhisperAsr, *clips: NDArray[np.int16], **options: Any) -> list[list[Hypothesis]]:
    async def scenario() -> list[list[Hypothesis]]:
        found = [await hear(asr, clip, **options) for clip in clips]
        await asr.aclose()
        return found

    return asyncio.run(scenario())


def test_what_the_model_gets_right_comes_out_right(model: str, exact: list[tuple[str, NDArray[np.int16]]]) -> None:
    chosen = exact[:12]
    found = heard(WhisperAsr(model=model, window_s=30, partial_ms=0), *[clip for _, clip in chosen])
    assert [told[-1].text for told in found] == [text for text, _ in chosen]
    assert all(len(told) == 1 for told in found)


def test_the_short_window_hears_as_well(model: str, exact: list[tuple[str, NDArray[np.int16]]]) -> None:
    chosen = exact[:12]
    found = heard(WhisperAsr(model=model, partial_ms=0), *[clip for _, clip in chosen])
    assert sum(told[-1].text == text for told, (text, _) in zip(found, chosen, strict=True)) >= 10


def test_words_settle_while_the_person_speaks(model: str, exact: list[tuple[str, NDArray[np.int16]]]) -> None:
    text, clip = next(item for item in exact if len(item[1]) > 40_000)
    (told,) = heard(WhisperAsr(model=model, partial_ms=200), clip, pace_s=0.05)
    assert len(told) >= 3
    assert told[-1].text == text
    assert told[-1].language == "en"
    partials = [h for h in told if not h.final]
    assert all(a.stable <= b.stable for a, b in pairwise(partials))
    assert max(h.stable for h in partials) >= 1
    times = [word.start for word in told[-1].words]
    assert times == sorted(times)
    assert 4.9 < times[0] < told[-1].words[-1].end < 5.1 + len(clip) / 16_000
    assert all(0 < (word.probability or 0) <= 1 for word in told[-1].words)


def test_a_long_turn_lets_settled_audio_go(model: str, exact: list[tuple[str, NDArray[np.int16]]]) -> None:
    gap = np.zeros(4800, np.int16)
    turn = np.concatenate([part for _, clip in exact[:8] for part in (clip, gap)])

    async def scenario() -> tuple[list[str], float]:
        asr = WhisperAsr(model=model, window_s=6, partial_ms=300)
        stream = asr.open(AsrContext())
        held, mark, texts = 0.0, 0, []
        whole = frames(turn.tobytes())
        for index, frame in enumerate(whole):
            stream.push_frame(frame)
            if index % 100 == 99:  # as at the detector's stops
                mark += 1
                stream.finalise(mark)
                async for hypothesis in stream:
                    if hypothesis.final:
                        texts.append(hypothesis.text)
                        break
                held = max(held, stream._audio.seconds)
        await stream.aclose()
        await asr.aclose()
        return texts, held

    texts, held = asyncio.run(scenario())
    assert len(turn) / 16_000 > 14
    assert held < 8
    assert len(texts[-1].split()) > len(texts[2].split()) > 5


def test_a_turn_longer_than_the_window_is_decoded_in_pieces(
    model: str, exact: list[tuple[str, NDArray[np.int16]]]
) -> None:
    gap = np.zeros(3200, np.int16)
    turn = np.concatenate([part for _, clip in exact[:18] for part in (clip, gap)])
    assert len(turn) / 16_000 > 31
    (told,) = heard(WhisperAsr(model=model, partial_ms=0), turn)
    final = told[-1]
    times = [word.start for word in final.words]
    assert times == sorted(times)
    assert final.stable > 0
    assert len(final.text.split()) > 30


def test_silence_and_noise_without_a_voice_have_no_words(model: str, shared_data: Path) -> None:
    quiet = np.zeros(32_000, np.int16)
    rain = samples_of(shared_data / "noise/noise/esc10_rain_5-194892-A.flac")
    tick = samples_of(shared_data / "noise/noise/esc10_clock_tick_2-134700-A.flac")
    found = heard(WhisperAsr(model=model), quiet, rain, tick)
    assert [told[-1].text for told in found] == ["", "", ""]


def test_asking_again_without_new_audio_answers_again(model: str, exact: list[tuple[str, NDArray[np.int16]]]) -> None:
    async def scenario() -> list[Hypothesis]:
        asr = WhisperAsr(model=model, workers=1)
        stream = asr.open(AsrContext("en-GB"))
        for frame in frames(exact[0][1].tobytes()):
            stream.push_frame(frame)
        finals = []
        for mark in (1, 2):
            stream.finalise(mark)
            async for hypothesis in stream:
                if hypothesis.final:
                    finals.append(hypothesis)
                    break
        await stream.aclose()
        await asr.aclose()
        return finals

    first, second = asyncio.run(scenario())
    assert (first.mark, second.mark) == (1, 2)
    assert first.text == second.text == exact[0][0]


def test_a_full_queue_comes_out_of_the_iteration(model: str, exact: list[tuple[str, NDArray[np.int16]]]) -> None:
    async def scenario() -> None:
        asr = WhisperAsr(model=model, workers=1, queue_max=1, partial_ms=0)
        streams = [asr.open(AsrContext()) for _ in range(4)]
        for stream in streams:
            for frame in frames(exact[0][1].tobytes()):
                stream.push_frame(frame)
            stream.finalise(1)
        outcomes = await asyncio.gather(*(anext(aiter(stream)) for stream in streams), return_exceptions=True)
        assert any(isinstance(outcome, StageOverloaded) for outcome in outcomes)
        assert any(isinstance(outcome, Hypothesis) for outcome in outcomes)
        for stream in streams:
            await stream.aclose()
        await asr.aclose()

    asyncio.run(scenario())


def test_a_missing_model_is_said_at_warm_up_and_in_a_turn(
    exact: list[tuple[str, NDArray[np.int16]]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DUOLOGUE_MODELS", str(tmp_path))
    asr = WhisperAsr(model="distil-large-v2")
    with pytest.raises(StageUnavailable, match="duologue models pull whisper:distil-large-v2"):
        asyncio.run(asr.warm_up())
    with pytest.raises(StageUnavailable, match="not on this machine"):
        heard(WhisperAsr(model="distil-large-v2"), exact[0][1])


def test_a_model_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    for name in ("model.bin", "config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(StageUnavailable, match="can't be loaded"):
        asyncio.run(WhisperAsr(model=str(tmp_path)).warm_up())


def test_a_decode_that_fails_is_a_stage_error(model: str, exact: list[tuple[str, NDArray[np.int16]]]) -> None:
    asr = WhisperAsr(model=model, partial_ms=0)
    asr.decoder.load()
    asr.decoder._model.model = _BrokenModel()
    with pytest.raises(StageError, match=r"whisper failed on .* s of audio"):
        heard(asr, exact[0][1])


class _BrokenModel:
    is_multilingual = False
    device = "cpu"

    def encode(self, *_: object, **__: object) -> None:
        raise RuntimeError("out of memory")


def test_a_language_that_the_model_lacks_is_refused(model: str) -> None:
    async def scenario() -> None:
        asr = WhisperAsr(model=model, language="zh")
        with pytest.raises(ConfigurationError, match="has no language 'zh'"):
            await asr.warm_up()
        with pytest.raises(ConfigurationError, match="multilingual"):
            asr.open(AsrContext())
        await asr.aclose()

    asyncio.run(scenario())
    assert WhisperAsr(model=model).decoder.check_language("cmn-Hans") == "zh"


def test_the_probe_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DUOLOGUE_MODELS", str(tmp_path))
    assert WhisperAsr.probe() == "" or "duologue models pull whisper:tiny" in WhisperAsr.probe()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WhisperAsr(window_s=1), "asr.whisper.window_s must be a number between 2 and 30, got 1"),
        (lambda: WhisperAsr(workers=0), "asr.whisper.workers"),
        (lambda: WhisperAsr(beam=0), "asr.whisper.beam"),
        (lambda: WhisperAsr(compute_type="int4"), "asr.whisper.compute_type must be one of"),
        (lambda: WhisperAsr(device="tpu"), "asr.whisper.device"),
        (lambda: WhisperAsr(partial_ms=-1), "asr.whisper.partial_ms"),
        (lambda: WhisperAsr(queue_max=0), "asr.whisper.queue_max"),
    ],
)
def test_an_option_out_of_range_is_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make()


def attempt(text: str, *, mean: float = -0.2, no_speech: float = 0.0) -> _Attempt:
    words = tuple(Word(word, index * 0.3, index * 0.3 + 0.3) for index, word in enumerate(text.split()))
    return _Attempt(words, mean, no_speech, "en", 1.0)


def test_the_guards_drop_what_cannot_be_believed_and_say_so() -> None:
    assert _guarded(attempt("hello there"), 1.0) == (attempt("hello there").words, "")
    assert _guarded(attempt("hello", mean=-1.4, no_speech=0.9), 1.0)[0] == ()
    assert "near-silence" in _guarded(attempt("Thank you."), 0.2)[1]
    assert "in 0.2 s of voice" in _guarded(attempt("one two three four five six seven eight"), 0.2)[1]
    words, note = _guarded(attempt("well so so so so so"), 3.0)
    assert ([word.text for word in words], note) == (["well", "so"], "cut a loop after 2 words")


def test_a_sigh_heard_as_a_full_stop_and_a_loop_inside_a_word_are_no_words() -> None:
    assert _guarded(attempt("."), 1.0) == ((), "dropped marks of punctuation without a word")
    words, note = _guarded(attempt("well Hehehehehehehe yes"), 3.0)
    assert ([word.text for word in words], note) == (["well"], "cut a loop inside the word after 1 words")


def test_a_model_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    for name in ("model.bin", "config.json"):
        (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(StageUnavailable, match=r"has no tokenizer\.json.*beside model\.bin"):
        asyncio.run(WhisperAsr(model=str(tmp_path)).warm_up())


def test_pieces_of_a_word_are_joined_and_punctuation_lengthens_nothing() -> None:
    pieces = [
        {"word": " I", "start": 0.0, "end": 0.1, "probability": 0.9},
        {"word": "'m", "start": 0.1, "end": 0.2, "probability": 0.5},
        {"word": " here", "start": 0.2, "end": 0.5, "probability": 0.8},
        {"word": ".", "start": 0.5, "end": 2.0, "probability": 0.7},
        {"word": "你", "start": 2.0, "end": 2.2, "probability": 0.7},
        {"word": " ", "start": 2.2, "end": 2.2, "probability": 0.7},
    ]
    assert _aligned([pieces]) == (
        Word("I'm", 0.0, 0.2, 0.5), Word("here.", 0.2, 0.5, 0.7), Word("你", 2.0, 2.2, 0.7),
    )  # fmt: skip
    assert _aligned([[]]) == ()


def test_long_silence_at_either_end_is_cut_to_half_a_second() -> None:
    samples = np.zeros(5 * 16_000, np.float32)
    cut, start = _without_long_silence(samples, Voiced(2.0, 3.0, 1.0))
    assert (start, len(cut) / 16_000) == (1.5, 2.0)
    kept, start = _without_long_silence(samples, Voiced(0.4, 4.5, 4.0))
    assert (start, len(kept)) == (0.0, len(samples))


def test_the_best_border_is_a_sentence_end_or_the_longest_pause() -> None:
    words = tuple(
        Word(text, start, start + 0.2)
        for text, start in (("So", 0.0), ("far.", 0.2), ("And", 0.5), ("on", 0.7), ("we", 1.2), ("go", 1.4))
    )
    assert _best_border(words, 0, 5) == 2
    assert _best_border(words, 2, 5) == 4
    assert _best_border(words, 4, 5) == 0


def test_partials_of_a_turn_whose_audio_was_dropped_say_so(model: str) -> None:
    async def scenario() -> Hypothesis:
        asr = WhisperAsr(model=model, partial_ms=0)
        stream = asr.open(AsrContext())
        for frame in frames(QUIET * 3050):
            stream.push_frame(frame)
        stream.finalise(1)
        final = await anext(aiter(stream))
        await stream.aclose()
        await asr.aclose()
        return final

    assert "1.0 s of unrecognised audio were dropped" in asyncio.run(scenario()).note


def test_a_long_decode_settles_what_lies_behind_the_border(
    model: str, exact: list[tuple[str, NDArray[np.int16]]]
) -> None:
    gap = np.zeros(3200, np.int16)
    turn = np.concatenate([part for _, clip in exact[:20] for part in (clip, gap)])
    asr = WhisperAsr(model=model)
    clip = Clip(turn.astype("<i2").tobytes(), 0, 100.0)
    decoded: Decoded = asr.decoder.decode(clip, (), VoicedTrack(asr.voice_judge))
    assert 0 < decoded.settled < len(decoded.words)
    assert 100 < decoded.words[decoded.settled - 1].end <= decoded.settled_until + 0.1 < 135
    assert decoded.language == "en"
    assert all(normal_form(word.text) for word in decoded.words)


def test_the_language_is_the_likeliest_of_those_expected():
    found = [("<|cy|>", 0.5), ("<|en|>", 0.3), ("<|zh|>", 0.1)]
    assert likeliest_language(found, ()) == ("cy", pytest.approx(0.5 / 0.9))
    assert likeliest_language(found, ("en", "zh")) == ("en", pytest.approx(0.75))
    assert likeliest_language(found, ("de", "fr")) == ("de", 0.0)
    assert likeliest_language([], ()) == ("en", 0.0)
