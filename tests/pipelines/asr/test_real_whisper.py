"""The real whisper on people: what is settled stays, a final is not decoded twice, bad lines are understood."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.partials import Clip, changed, forms, listen_all, speech_end_s, telephone, word_error
from benchmarks.priced_loop import PricedLoop
from duologue.audio import Samples, frames
from duologue.ports.asr import AsrContext, Hypothesis
from duologue_pipelines.asr.turn_audio import Clip as TurnClip
from duologue_pipelines.asr.voiced import VoicedTrack
from duologue_pipelines.asr.whisper import WhisperAsr
from pipelines.asr.test_whisper import samples_of

pytestmark = pytest.mark.shared_data
NAMES = ("ls_1188-133604-0022", "ls_1188-133604-0033")


@pytest.fixture(scope="module")
def recogniser(real_model: Callable[[str], Path]) -> WhisperAsr:
    return WhisperAsr(model=str(real_model("whisper:tiny.en")))


@pytest.fixture(scope="module")
def people(shared_data: Path) -> list[tuple[str, Samples]]:
    folder = shared_data / "speech"
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    return [(row["text"], samples_of(folder / row["file"])) for row in rows if Path(row["file"]).stem in NAMES]


def test_settled_words_stay_and_a_pause_is_decoded_once(
    recogniser: WhisperAsr, people: list[tuple[str, Samples]]
) -> None:
    text, samples = people[0]
    clip = Clip("clip", "native", text, np.concatenate([samples, np.zeros(24_000, "<i2")]), speech_end_s(samples))
    loop = PricedLoop(recogniser.workers)
    try:
        (heard,) = loop.run_until_complete(listen_all(recogniser, [clip], 1))
    finally:
        loop.close()
    told = [hypothesis for _, hypothesis in heard.told]
    assert sum(hypothesis.stable > 3 and not hypothesis.final for hypothesis in told) >= 3
    assert changed(told) == 0
    finals = [hypothesis for hypothesis in told if hypothesis.final]
    assert word_error([(text, finals[-1].text)]) < 0.3


def test_a_final_asked_for_again_in_silence_costs_no_decode(
    recogniser: WhisperAsr, people: list[tuple[str, Samples]]
) -> None:
    async def scenario() -> list[Hypothesis]:
        stream = recogniser.open(AsrContext("en"))
        asked = 0
        for frame in frames(people[0][1][:48_000].tobytes()):
            stream.push_frame(frame)
        found = []
        for mark in (1, 2):
            stream.finalise(mark)
            found.append(await anext(aiter(stream)))
            while not found[-1].final:
                found[-1] = await anext(aiter(stream))
            asked = asked or stream._asked
        assert stream._asked == asked
        await stream.aclose()
        return found

    first, second = asyncio.run(scenario())
    assert (first.mark, second.mark, second.text) == (1, 2, first.text)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda s: np.clip(s.astype(np.int32) * 8, -9000, 9000).astype("<i2"), id="clipped"),
        pytest.param(lambda s: np.clip(s // 2 + 9000, -32768, 32767).astype("<i2"), id="shifted"),
        pytest.param(lambda s: (s // 80).astype("<i2"), id="very quiet"),
        pytest.param(telephone, id="telephone"),
    ],
)
def test_a_bad_line_is_understood_about_as_well_as_by_faster_whisper_alone(
    recogniser: WhisperAsr, people: list[tuple[str, Samples]], spoil: Callable[[Samples], Samples]
) -> None:
    recogniser.decoder.load()
    ours, plain = [], []
    for text, samples in people:
        spoiled = spoil(samples[:80_000])
        clip = TurnClip(spoiled.tobytes(), 0, 0.0)
        decoded = recogniser.decoder.decode(clip, ("en",), VoicedTrack(recogniser.voice_judge))
        found, _ = recogniser.decoder._model.transcribe(clip.samples, beam_size=1, language="en")
        plain.append(" ".join(segment.text for segment in found))
        ours.append((plain[-1], " ".join(word.text for word in decoded.words)))
        assert len(forms(text)) > 3
    assert all(forms(text) for text in plain)
    assert word_error(ours) <= 0.2
