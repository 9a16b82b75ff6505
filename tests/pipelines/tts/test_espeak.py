"""espeak: voices by name and language, errors that name the nearest, many sessions on one library."""

import asyncio
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from duologue.audio import OUTPUT_RATE_HZ, level_dbfs
from duologue.errors import ConfigurationError, StageError, StageOverloaded
from duologue.ports.tts import SpeechAudio, SpeechItem, SpeechRequest, SpokenWord
from duologue_pipelines.tts import espeak as espeak_module
from duologue_pipelines.tts.espeak import EspeakTts
from duologue_pipelines.tts.espeak_library import EspeakEvent, library
from duologue_pipelines.tts.espeak_words import WordTimer
from duologue_pipelines.tts.speakable import SourceWord

RATE_HZ = OUTPUT_RATE_HZ  # of a request that names none
SENTENCE = "The weather is nice today, and we will walk along the river."


def speak(request: SpeechRequest, tts: EspeakTts | None = None) -> list[SpeechItem]:
    async def collect() -> list[SpeechItem]:
        engine = tts or EspeakTts()
        try:
            return [item async for item in engine.synthesise(request)]
        finally:
            await engine.aclose()

    return asyncio.run(collect())


def pcm(items: list[SpeechItem]) -> np.ndarray:
    return np.frombuffer(b"".join(item.pcm for item in items if isinstance(item, SpeechAudio)), dtype="<i2")


def words(items: list[SpeechItem]) -> list[SpokenWord]:
    return [item for item in items if isinstance(item, SpokenWord)]


def test_probe_finds_the_wheel() -> None:
    assert EspeakTts.probe() == ""


def test_it_has_a_hundred_languages() -> None:
    voices = EspeakTts().voices()
    assert len(voices) > 100
    assert {"fo", "kaa"}.isdisjoint(voices)  # the wheel lacks their dictionaries
    assert {"en-us", "en-gb", "cmn", "de", "fr-fr", "es"} <= set(voices)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en-GB", "Hello"),
        ("zh-CN", "你好"),
        ("zh-HK", "你好"),
        ("de-AT", "Guten Tag"),
        ("pt_BR", "Bom dia"),
        ("no", "Hei"),
    ],
)
def test_languages_are_found_by_their_bcp_47_code(language: str, text: str) -> None:
    assert level_dbfs(pcm(speak(SpeechRequest(text, language)))) > -40


def test_the_same_language_keeps_the_default_voice_and_another_keeps_its_variant() -> None:
    tts = EspeakTts("en-us+f3")
    assert tts._espeak_voice(SpeechRequest("", "en")) == "en-us+f3"
    assert tts._espeak_voice(SpeechRequest("", "en-GB")) == "en-gb+f3"
    assert tts._espeak_voice(SpeechRequest("", "zh-CN")) == "cmn+f3"
    assert tts._espeak_voice(SpeechRequest("", "zh-CN", voice="de")) == "de+f3"
    assert tts._espeak_voice(SpeechRequest("", "de", voice="+whisper")) == "de+whisper"
    assert EspeakTts("")._espeak_voice(SpeechRequest("")) == "en-us"


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        (SpeechRequest("hi", voice="en-uss"), "en-us"),
        (SpeechRequest("hi", voice="en-us+f33"), "f3"),
        (SpeechRequest("hi", language="xx"), "no voice for the language"),
        (SpeechRequest("hi", speed=3.0), "voice.speed must be a number between 0.5 and 2"),
        (SpeechRequest("hi", loudness=-1.0), "voice.loudness"),
        (SpeechRequest("hi", sample_rate_hz=44_100), "one of 8000, 16000, 24000, 48000 Hz, got 44100"),
    ],
)
def test_what_it_cannot_do_is_said_with_the_nearest_it_can(request_: SpeechRequest, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named.replace("+", r"\+")):
        speak(request_)


def test_a_wrong_option_is_refused_when_the_stage_is_made_or_warmed_up() -> None:
    with pytest.raises(ConfigurationError, match=r"tts\.espeak\.speed"):
        EspeakTts(speed=9.0)
    with pytest.raises(ConfigurationError, match="no voice 'klingon'"):
        asyncio.run(EspeakTts("klingon").warm_up())


def test_words_lie_where_the_audio_is_loud() -> None:
    items = speak(SpeechRequest(SENTENCE, "en"))
    samples, told = pcm(items), words(items)
    assert [SENTENCE[w.start_char : w.end_char] for w in told] == SENTENCE.split()
    levels = [level_dbfs(samples[round(w.start * RATE_HZ) : round(w.end * RATE_HZ)]) for w in told]
    assert min(levels) > -35
    today, and_ = told[4], told[5]
    pause = samples[round(today.end * RATE_HZ) + 240 : round(and_.start * RATE_HZ) - 240]
    assert level_dbfs(pause) < -60 or len(pause) < 600  # the comma's pause belongs to no word


def test_a_long_text_is_cut_in_portions_and_times_go_on() -> None:
    text = " ".join([SENTENCE] * 12)
    items = speak(SpeechRequest(text, "en"))
    told = words(items)
    assert len(told) == len(text.split())
    assert all(a.end <= b.start + 1e-9 for a, b in itertools.pairwise(told))
    assert told[-1].end <= len(pcm(items)) / RATE_HZ


def test_speed_and_loudness_of_the_stage_multiply_those_of_the_request() -> None:
    plain = pcm(speak(SpeechRequest(SENTENCE)))
    fast = pcm(speak(SpeechRequest(SENTENCE, speed=1.5), EspeakTts(speed=1.5, loudness=0.5)))
    assert len(plain) / len(fast) > 1.6
    assert level_dbfs(plain) - level_dbfs(fast) == pytest.approx(6, abs=1.5)


def test_closing_stops_the_library_within_a_portion() -> None:
    calls: list[int] = []

    def stop_after_three(audio: np.ndarray, events: list[EspeakEvent]) -> bool:
        calls.append(len(audio))
        return len(calls) < 3

    library().speak(SENTENCE, voice="en-us", words_per_minute=175, on_audio=stop_after_three)
    assert len(calls) == 3


def test_what_the_callback_raises_comes_out_and_the_library_goes_on() -> None:
    def broken(audio: np.ndarray, events: list[EspeakEvent]) -> bool:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        library().speak(SENTENCE, voice="en-us", words_per_minute=175, on_audio=broken)
    with pytest.raises(StageError, match="refused the voice"):
        library().speak("hi", voice="nothing-like-it", words_per_minute=175, on_audio=lambda a, e: True)
    assert len(pcm(speak(SpeechRequest("Good.")))) > 4000


def test_sessions_in_several_loops_and_voices_do_not_mix() -> None:
    requests = [
        SpeechRequest(SENTENCE, "en"),
        SpeechRequest("Guten Morgen, wie geht es Ihnen?", "de"),
        SpeechRequest("你好，今天天气很好。", "zh"),
        SpeechRequest(SENTENCE, "en", voice="en-us+m1", speed=1.5),
    ]
    # A warm-up of each: espeak's noise source makes single samples differ, lengths barely.
    alone = [len(pcm(speak(request))) for request in requests]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda request: len(pcm(speak(request))), requests * 3))
    for length, expected in zip(together, alone * 3, strict=True):
        assert length == pytest.approx(expected, rel=0.02)


def test_more_syntheses_than_its_bound_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espeak_module, "SYNTHESES_MAX", 1)

    async def two() -> None:
        tts = EspeakTts()
        first = tts.synthesise(SpeechRequest(SENTENCE))
        await anext(first)
        with pytest.raises(StageOverloaded):
            await anext(tts.synthesise(SpeechRequest(SENTENCE)))
        await first.aclose()
        assert await anext(tts.synthesise(SpeechRequest(SENTENCE)))
        await tts.aclose()

    asyncio.run(two())


def test_no_thread_outlives_the_stage() -> None:
    speak(SpeechRequest(SENTENCE))
    alive = [thread for thread in threading.enumerate() if thread.name.startswith("espeak")]
    for thread in alive:
        thread.join(5)
    assert not any(thread.is_alive() for thread in alive)


def source_words(*spans: tuple[int, int]) -> list[SourceWord]:
    return [SourceWord(start, end, start, end) for start, end in spans]


def heard(timer: WordTimer, *feeds: tuple[int, list[EspeakEvent]]) -> list[tuple[int, float, float] | int]:
    """What comes out for feeds of `n` loud samples each: words as (start_char, start, end), audio as its length."""
    items = [item for n, events in feeds for item in timer.add_audio(np.full(n, 1000, np.int16), events)]
    return [
        (item.start_char, round(item.start, 3), round(item.end, 3)) if isinstance(item, SpokenWord) else len(item)
        for item in [*items, *timer.finish()]
    ]


def test_a_word_is_told_before_its_audio_and_fused_words_share_it() -> None:
    timer = WordTimer(source_words((0, 2), (3, 6), (7, 11)), 1000, 500)
    feeds = (100, [EspeakEvent(False, 0, 0)]), (100, [EspeakEvent(False, 7, 150)]), (100, [EspeakEvent(True, 11, 280)])
    assert heard(timer, *feeds) == [(0, 0.5, 0.56), (3, 0.56, 0.65), 150, (7, 0.65, 0.78), 130, 20]


def test_a_clause_that_ends_inside_a_word_does_not_end_it() -> None:
    timer = WordTimer(source_words((0, 9), (10, 12)), 1000, 0)
    feeds = (50, [EspeakEvent(False, 0, 0), EspeakEvent(True, 4, 40)]), (50, [EspeakEvent(False, 5, 50)])
    assert heard(timer, *feeds) == [(0, 0.0, 0.082), (10, 0.082, 0.1), 100]


def test_audio_before_the_first_word_and_events_of_no_word_are_passed_on() -> None:
    timer = WordTimer(source_words((4, 6)), 1000, 0)
    feeds = (60, [EspeakEvent(False, 0, 0), EspeakEvent(False, 4, 50)]), (40, [EspeakEvent(True, 6, 100)])
    assert heard(timer, *feeds) == [50, (4, 0.05, 0.1), 50]
    assert heard(WordTimer([], 1000, 0), (30, [EspeakEvent(True, 3, 30)])) == [30]
