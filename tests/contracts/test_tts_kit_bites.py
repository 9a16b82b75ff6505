"""The kit of the TTS port catches each broken promise: one adapter a lie."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

import numpy as np
import pytest

from duologue.ports.tts import SpeechAudio, SpeechItem, SpeechRequest, SpokenWord
from duologue.testing.contracts.tts import TtsPromises, check_tts
from duologue.testing.scripted_tts import ScriptedTts
from duologue.testing.virtual_time import run

Change = Callable[[list[SpeechItem], SpeechRequest], list[SpeechItem]]


class Lying(ScriptedTts):
    """Does what the scripted synthesiser does, and then changes it."""

    def __init__(self, change: Change) -> None:
        super().__init__()
        self._change = change

    async def synthesise(self, request: SpeechRequest) -> AsyncGenerator[SpeechItem, None]:
        honest = [item async for item in super().synthesise(request)]
        for item in self._change(honest, request):
            await asyncio.sleep(0.01)
            yield item


def words_changed(change: Callable[[SpokenWord], SpokenWord]) -> Change:
    return lambda items, _: [change(item) if isinstance(item, SpokenWord) else item for item in items]


def audio_of(items: list[SpeechItem]) -> bytes:
    return b"".join(item.pcm for item in items if isinstance(item, SpeechAudio))


def words_of(items: list[SpeechItem]) -> list[SpeechItem]:
    return [item for item in items if isinstance(item, SpokenWord)]


def quieter(item: SpeechItem) -> SpeechItem:
    if isinstance(item, SpokenWord):
        return item
    return SpeechAudio((np.frombuffer(item.pcm, dtype="<i2") // 2).astype("<i2").tobytes())


LIES: dict[str, Change] = {
    "not empty": lambda items, _: [SpeechAudio(b""), *items],
    "even number of bytes": lambda items, _: [SpeechAudio(b"abc"), *items],
    "items are SpeechAudio or SpokenWord": lambda items, _: [*items, b"raw"],  # type: ignore[list-item]
    "speech can be heard": lambda items, _: [
        SpeechAudio(bytes(len(i.pcm))) if isinstance(i, SpeechAudio) else i for i in items
    ],
    "words give audio": lambda items, _: items[:2],
    "before the whole is synthesised": lambda items, _: (
        [*words_of(items), SpeechAudio(audio_of(items))] if items else []
    ),
    "a word lies in the text": words_changed(lambda w: replace(w, end_char=w.end_char + 1000)),
    "times are in order": words_changed(lambda w: replace(w, end=w.start - 1)),
    "inside the audio": words_changed(lambda w: replace(w, end=w.end + 100)),
    "never go back": words_changed(lambda w: replace(w, start_char=0)),
    "no later than its audio": lambda items, _: (
        [i for i in items if isinstance(i, SpeechAudio)] + words_of(items)
    ),
    "covers letters": lambda items, _: [i for i in items if isinstance(i, SpeechAudio)],
    "every letter of plain text": lambda items, _: [i for i in items if i is not words_of(items)[0]] if items else [],
    "nothing to say gives nothing": lambda items, request: (
        items or ([] if request.last else [SpeechAudio(b"\1\0")])
    ),
    "four times as long": lambda items, request: (
        items if request.speed == 1.0 else [SpeechAudio(b"\1\1" * 9000)]
    ),
    "at the rate that was asked for": lambda items, request: (
        [SpeechAudio(audio_of(items)[::2] or b"\1\1")] if request.sample_rate_hz == 8000 else items
    ),
    "lost or added by the rate": lambda items, request: (
        [quieter(item) for item in items] if request.sample_rate_hz == 16000 else items
    ),
    "`last` with empty text gives nothing": lambda items, request: (
        items or ([SpeechAudio(b"\1\1")] if request.last else [])
    ),
    "spoken like another": lambda items, request: [*items, *items] if request.last else items,
    "12 dB quieter": lambda items, request: (
        items if request.loudness == 1.0 else [SpeechAudio(b"\1\1" * 9000)]
    ),
}  # fmt: skip


@pytest.mark.parametrize("promise", LIES)
def test_each_lie_is_caught_by_its_check(promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        run(check_tts(lambda: Lying(LIES[promise])))


def test_a_voice_that_is_duller_than_it_says_is_caught() -> None:
    with pytest.raises(AssertionError, match="sound up to 11025 Hz"):
        run(check_tts(ScriptedTts, TtsPromises(sound_up_to_hz=11025)))


class Mixing(ScriptedTts):
    """Has one queue for all that it speaks, whoever asked for it."""

    def __init__(self) -> None:
        super().__init__()
        self._queue: list[SpeechItem] = []

    async def synthesise(self, request: SpeechRequest) -> AsyncGenerator[SpeechItem, None]:
        own = [item async for item in super().synthesise(request)]
        self._queue += own
        for _ in own:
            yield self._queue.pop(0)


def test_replies_that_mix_are_caught() -> None:
    with pytest.raises(AssertionError, match="replies do not mix"):
        run(check_tts(Mixing))


class ByNumber(ScriptedTts):
    """Keys replies by their number alone, and speaks the same chunk to both sessions that have the number."""

    def __init__(self) -> None:
        super().__init__()
        self._spoken: dict[int, str] = {}

    async def synthesise(self, request: SpeechRequest) -> AsyncGenerator[SpeechItem, None]:
        text = self._spoken.setdefault(request.reply, request.text) if request.reply else request.text
        try:
            async for item in super().synthesise(replace(request, text=text)):
                yield item
        finally:
            self._spoken.pop(request.reply, None)


def test_replies_of_two_sessions_that_mix_are_caught() -> None:
    with pytest.raises(AssertionError, match="replies do not mix"):
        run(check_tts(ByNumber))


class Stubborn(ScriptedTts):
    """Takes a cancellation for a suggestion."""

    async def synthesise(self, request: SpeechRequest) -> AsyncGenerator[SpeechItem, None]:
        try:
            async for item in super().synthesise(request):
                yield item
        except asyncio.CancelledError:
            yield SpeechAudio(b"\1\1")


def test_swallowing_a_cancellation_is_caught() -> None:
    with pytest.raises(AssertionError, match="cancelled"):
        run(check_tts(Stubborn))


class Bare(ScriptedTts):
    """Lets a stranger's error out."""

    async def synthesise(self, request: SpeechRequest) -> AsyncGenerator[SpeechItem, None]:
        if request.voice:
            raise KeyError(request.voice)
        async for item in super().synthesise(request):
            yield item


def test_a_bare_error_is_caught() -> None:
    with pytest.raises(AssertionError, match="bare KeyError"):
        run(check_tts(Bare))


class Nameless(ScriptedTts):
    name = ""


class Mute(ScriptedTts):
    @classmethod
    def probe(cls) -> str:
        return None  # type: ignore[return-value]


@pytest.mark.parametrize(("make", "promise"), [(Nameless, "entry point's name"), (Mute, "a sentence or an empty")])
def test_a_stage_says_who_it_is(make: type[ScriptedTts], promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        run(check_tts(make))
