"""Every recogniser keeps the contract of the ASR port, and the kit catches those that don't."""

import asyncio
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from duologue.audio import Frame
from duologue.core.words import Word
from duologue.ports.asr import AsrContext, Hypothesis
from duologue.testing.contracts.asr import AsrPromises, check_asr
from duologue.testing.scripted_asr import ScriptedAsr, ScriptedAsrStream, Utterance
from duologue.testing.virtual_time import run
from duologue_pipelines.asr.pocketsphinx import PocketsphinxAsr
from duologue_pipelines.asr.whisper import WhisperAsr

TEXT = "tell me a story about the sea"
TONE = np.rint(8000 * np.sin(np.arange(36_000) * 0.1)).astype("<i2").tobytes()


def read_flac(path: Path) -> bytes:
    with av.open(str(path)) as source:
        return b"".join(frame.to_ndarray().astype("<i2").tobytes() for frame in source.decode(audio=0))


@pytest.mark.shared_data
def test_whisper_keeps_the_contract(shared_data: Path) -> None:
    model = str(shared_data / "asr/whisper-mini-en-ct2")
    speech = read_flac(shared_data / "speech/mini/mini_005.flac")
    promises = AsrPromises(text="the cost is two hundred and thirty eight dollars")
    asyncio.run(check_asr(lambda: WhisperAsr(model=model), speech, promises))


@pytest.mark.shared_data
def test_whisper_without_word_times_keeps_the_contract(shared_data: Path) -> None:
    model = str(shared_data / "asr/whisper-mini-en-ct2")
    speech = read_flac(shared_data / "speech/mini/mini_005.flac")
    promises = AsrPromises(words=False)
    asyncio.run(check_asr(lambda: WhisperAsr(model=model, word_times=False, workers=1), speech, promises))


@pytest.mark.shared_data
def test_pocketsphinx_keeps_the_contract(shared_data: Path) -> None:
    speech = read_flac(shared_data / "speech/mini/mini_005.flac")
    context = AsrContext("en-US", ("The cost is 238 dollars.", "I want to book a table for two."))
    asyncio.run(check_asr(PocketsphinxAsr, speech, AsrPromises(context=context)))


def scripted(stream_of: type[ScriptedAsrStream] = ScriptedAsrStream) -> ScriptedAsr:
    """Every turn says the same, so that each check finds its words."""

    class Fitting(ScriptedAsr):
        def open(self, context: AsrContext) -> ScriptedAsrStream:
            return stream_of(Utterance(f"{TEXT} {TEXT}"), context)

    return Fitting()


def test_the_scripted_recogniser_keeps_the_contract_in_virtual_time() -> None:
    run(check_asr(scripted, TONE))


class _TwoFinals(ScriptedAsrStream):
    def _answer(self, words: list[Word], mark: int) -> None:
        super()._answer(words, mark)
        super()._answer(words, mark)


class _Deaf(ScriptedAsrStream):
    def finalise(self, mark: int) -> None:
        """Never answers."""


class _Inventive(ScriptedAsrStream):
    def _tell(self, hypothesis: Hypothesis) -> None:
        super()._tell(replace(hypothesis, text=hypothesis.text or "thanks for watching", words=()))


class _Unstable(ScriptedAsrStream):
    def _tell(self, hypothesis: Hypothesis) -> None:
        flip = len(hypothesis.words) % 2
        super()._tell(replace(hypothesis, text=" ".join("ab"[flip] for _ in hypothesis.words)))


class _Overstable(ScriptedAsrStream):
    def _tell(self, hypothesis: Hypothesis) -> None:
        super()._tell(replace(hypothesis, stable=99))


class _Forgetful(ScriptedAsrStream):
    def finalise(self, mark: int) -> None:
        super().finalise(mark)
        self._words = []
        self._voiced_seconds = 0.0


class _Unending(ScriptedAsrStream):
    async def aclose(self) -> None:
        """Leaves its reader waiting."""


class _Timeless(ScriptedAsrStream):
    def push_frame(self, frame: Frame) -> None:
        super().push_frame(replace(frame, at=frame.at - 7))


@pytest.mark.parametrize(
    ("stream", "caught_as"),
    [
        (_TwoFinals, "one finalise gives one final"),
        (_Deaf, "is answered"),
        (_Inventive, "words are those of the text|gives no words"),
        (_Unstable, "settled words don't change"),
        (_Overstable, "stable counts words"),
        (_Forgetful, "covers the whole turn"),
        (_Unending, "ends the iteration at once"),
        (_Timeless, "session seconds"),
    ],
)
def test_the_kit_catches_a_recogniser_that_lies(stream: type[ScriptedAsrStream], caught_as: str) -> None:
    with pytest.raises(AssertionError, match=caught_as):
        run(check_asr(lambda: scripted(stream), TONE))


class _Dropping(ScriptedAsr):
    """Keeps something for a session, and breaks a promise about it."""

    def __init__(self, lie: str) -> None:
        super().__init__()
        self._lie = lie
        self._over: set[str] = set()

    def open(self, context: AsrContext) -> ScriptedAsrStream:
        super().open(context)
        lost = self._lie == "lost" and context.session in self._over
        return ScriptedAsrStream(Utterance("" if lost else f"{TEXT} {TEXT}"), context)

    def end_session(self, session: str) -> None:
        if self._lie == "unknown":
            del self.connections[session]
        self._over.add(session)


def test_the_kit_catches_a_recogniser_that_loses_a_session() -> None:
    with pytest.raises(AssertionError, match="whatever is kept for its session"):
        run(check_asr(lambda: _Dropping("lost"), TONE))
    with pytest.raises(KeyError):  # an end that it can't take is no promise in words: it may not raise
        run(check_asr(lambda: _Dropping("unknown"), TONE))
