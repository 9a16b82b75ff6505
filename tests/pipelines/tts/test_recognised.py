"""What the synthesisers say is understood by a recogniser that knows neither of them: pocketsphinx's own English."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from pocketsphinx import Decoder, get_model_path
from pocketsphinx.lm import ArpaBoLM
from rapidfuzz.distance import Levenshtein

from duologue.audio import INPUT_RATE_HZ
from duologue.core.words import normal_form
from duologue.ports.tts import SpeechAudio, SpeechRequest, Tts
from duologue_pipelines.tts.espeak import EspeakTts
from duologue_pipelines.tts.piper import PiperTts

# Sentence as written, and the words that must be heard: numbers, marks and abbreviations included.
SENTENCES = [
    ("Where is the **nearest** train station?", "where is the nearest train station"),
    (
        "I would like a table for 2 people at 7:30, please.",
        "i would like a table for two people at seven thirty please",
    ),
    ("It costs $25 & takes about 3 days.", "it costs twenty five dollars and takes about three days"),
    ("Dr. Smith will see you on Monday morning.", "doctor smith will see you on monday morning"),
    ("# The weather\nIt is going to rain tomorrow \U0001f327", "the weather it is going to rain tomorrow"),
    ("Can you help me to find my way home?", "can you help me to find my way home"),
]
# What else the recogniser thinks possible when espeak speaks, so that it has to choose.
OTHERS = [
    "where can i find the nearest bus stop", "i would like a room for ten people at eleven fifteen",
    "it costs sixty five pounds and takes about nine weeks", "mister jones will call you on friday evening",
    "the weather is going to be sunny on sunday", "could you show me how to get to the airport",
    "my house is near the station", "please help me find the doctor", "seven people will rain on your table",
]  # fmt: skip
MARGIN = np.zeros(4800, dtype=np.int16).tobytes()


def word_error(tts: Tts, decoder: Decoder) -> tuple[float, str]:
    """Errors a word over all sentences, and what was heard."""
    errors = total = 0
    report: list[str] = []
    for written, expected in SENTENCES:
        heard = recognised(decoder, asyncio.run(spoken(tts, written)))
        reference = expected.split()
        errors += Levenshtein.distance(reference, heard)
        total += len(reference)
        report.append(f"{expected!r} heard as {' '.join(heard)!r}")
    return errors / total, "\n".join(report)


def decoder_for(model: str) -> Decoder:
    return Decoder(
        hmm=get_model_path("en-us/en-us"), dict=get_model_path("en-us/cmudict-en-us.dict"), lm=model, loglevel="FATAL"
    )


async def spoken(tts: Tts, text: str) -> bytes:
    request = SpeechRequest(text, "en-US", sample_rate_hz=INPUT_RATE_HZ)  # what recognisers want
    return b"".join([item.pcm async for item in tts.synthesise(request) if isinstance(item, SpeechAudio)])


def recognised(decoder: Decoder, pcm: bytes) -> list[str]:
    decoder.start_utt()
    decoder.process_raw(MARGIN + pcm + MARGIN, full_utt=True)
    decoder.end_utt()
    hypothesis = decoder.hyp()
    return [normal_form(word) for word in hypothesis.hypstr.split()] if hypothesis else []


def test_espeak_is_understood_by_one_who_knows_what_could_be_said(tmp_path: Path) -> None:
    text = "\n".join([expected for _, expected in SENTENCES] + OTHERS)
    model = ArpaBoLM(text=text, add_start=True)
    model.compute()
    model.write_file(str(tmp_path / "talk.arpa"))
    error, report = word_error(EspeakTts("en-us+f3"), decoder_for(str(tmp_path / "talk.arpa")))
    assert error < 0.15, report


@pytest.mark.shared_data
def test_piper_is_understood_by_one_who_knows_nothing(shared_data: Path) -> None:
    tts = PiperTts(str(shared_data / "tts" / "en_US-micro-x_low.onnx"))
    error, report = word_error(tts, decoder_for(get_model_path("en-us/en-us.lm.bin")))
    assert error < 0.25, report
