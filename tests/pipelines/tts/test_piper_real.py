"""The real Piper voice: no join can be seen in its sound, and its words are where it says they are."""

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from duologue.core.words import normal_form
from duologue.ports.tts import SpeechAudio, SpeechItem, SpeechRequest, SpokenWord
from duologue_pipelines.tts.piper import PiperTts
from duologue_pipelines.tts.piper_voice import FIRST_WINDOW_FRAMES, WINDOW_FRAMES

SENTENCES = (
    "We walked along the quiet river and talked about the old days of the house.",
    "The next train to the mountains leaves from platform seven on Monday morning.",
)
HOP = 256
RATE_HZ = 22_050


def speak(tts: PiperTts, *requests: SpeechRequest) -> list[list[SpeechItem]]:
    async def collect() -> list[list[SpeechItem]]:
        try:
            return [[item async for item in tts.synthesise(request)] for request in requests]
        finally:
            await tts.aclose()

    return asyncio.run(collect())


def samples(items: list[SpeechItem]) -> np.ndarray:
    pcm = b"".join(item.pcm for item in items if isinstance(item, SpeechAudio))
    return np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768


def _roughness(audio: np.ndarray, at: int) -> float:
    """How much of the sound around sample `at` lies above 8 kHz: a step in the wave is seen there."""
    around = audio[at - 64 : at + 64] * np.hanning(128)
    power = np.abs(np.fft.rfft(around)) ** 2
    return float(power[47:].sum() / max(power.sum(), 1e-9))


def test_joins_of_windows_are_no_rougher_than_the_speech_around_them(real_model: Callable[[str], Path]) -> None:
    voice = PiperTts(str(real_model("piper:en_US-joe-medium")))
    loaded = voice._load(real_model("piper:en_US-joe-medium"))
    (sentence,) = loaded.sentences(SENTENCES[0], ())
    audio = np.concatenate(list(loaded.begin(sentence, 1.0, 0).windows))
    joins = list(range(FIRST_WINDOW_FRAMES * HOP, len(audio) - 200, WINDOW_FRAMES * HOP))
    elsewhere = list(range(3000, len(audio) - 200, 97))
    assert len(joins) >= 6
    steps = np.abs(np.diff(audio))
    assert max(steps[at - 1] for at in joins) <= np.percentile(steps, 99.9)
    usual = np.percentile([_roughness(audio, at) for at in elsewhere], 95)
    assert np.median([_roughness(audio, at) for at in joins]) <= usual
    levels = [np.sqrt(np.mean(audio[at - 110 : at] ** 2)) / np.sqrt(np.mean(audio[at : at + 110] ** 2)) for at in joins]
    around = [
        np.sqrt(np.mean(audio[at - 110 : at] ** 2) + 1e-9) / np.sqrt(np.mean(audio[at : at + 110] ** 2) + 1e-9)
        for at in elsewhere
    ]
    low, high = np.percentile(around, [1, 99])
    assert low <= np.median(levels) <= high


def test_a_chunk_begins_and_ends_in_silence_so_that_chunks_join_without_a_click(
    real_model: Callable[[str], Path],
) -> None:
    voice = PiperTts(str(real_model("piper:en_US-joe-medium")))
    for items in speak(voice, *(SpeechRequest(text) for text in SENTENCES)):
        audio = samples(items)
        assert np.abs(audio[:24]).max() < 0.01
        assert np.abs(audio[-24:]).max() < 0.01


def test_words_are_where_a_recogniser_hears_them(real_model: Callable[[str], Path]) -> None:
    from faster_whisper import WhisperModel

    voice = PiperTts(str(real_model("piper:en_US-joe-medium")))
    recogniser = WhisperModel(str(real_model("whisper:base")), device="cpu", compute_type="int8", cpu_threads=1)
    off: list[float] = []
    for text, items in zip(
        SENTENCES, speak(voice, *(SpeechRequest(text, sample_rate_hz=16_000) for text in SENTENCES)), strict=True
    ):
        found, _ = recogniser.transcribe(samples(items), language="en", beam_size=1, word_timestamps=True)
        heard = {normal_form(word.word): word for segment in found for word in segment.words}
        told = [item for item in items if isinstance(item, SpokenWord)]
        assert all(a.end <= b.start + 1e-6 for a, b in itertools.pairwise(told))
        for word in told:
            written = normal_form(text[word.start_char : word.end_char])
            if written in heard and text.lower().split().count(written) == 1:
                off.append((word.start + word.end) / 2 - (heard[written].start + heard[written].end) / 2)
        loud = np.flatnonzero(np.abs(samples(items)) > 0.02) / 16_000
        assert abs(told[0].start - loud[0]) < 0.05  # the ends are read off the waveform
        assert abs(told[-1].end - loud[-1]) < 0.15
    assert len(off) >= 15  # of 28 words, nearly all that occur once
    # Between them whisper judges. Its times run early as a whole (measured: 0.1 s, while both ends agree with the
    # waveform), so what counts is how far each word lies from that.
    early = np.median(off)
    assert abs(early) < 0.2, off
    assert np.percentile(np.abs(np.array(off) - early), 90) < 0.12, off
