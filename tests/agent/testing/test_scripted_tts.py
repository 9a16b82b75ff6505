"""The scripted synthesiser: time on the loop's clock, a tone a word, faults on request, every synthesis counted."""

import asyncio

import numpy as np
import pytest

from duologue.errors import ConfigurationError, StageError
from duologue.ports.tts import SpeechAudio, SpeechItem, SpeechRequest, SpokenWord
from duologue.testing.scripted_tts import ScriptedTts, SpeechFault, words_with_places
from duologue.testing.virtual_time import run


async def timed(tts: ScriptedTts, request: SpeechRequest) -> list[tuple[float, SpeechItem]]:
    begun = asyncio.get_running_loop().time()
    return [(asyncio.get_running_loop().time() - begun, item) async for item in tts.synthesise(request)]


def test_first_audio_and_pace_are_what_was_asked_for() -> None:
    tts = ScriptedTts(first_audio_s=0.25, seconds_per_char=0.1, real_time_factor=0.5)
    items = run(timed(tts, SpeechRequest("abc de")))
    words = [item for _, item in items if isinstance(item, SpokenWord)]
    assert [(w.start_char, w.end_char, round(w.start, 3), round(w.end, 3)) for w in words] == [
        (0, 3, 0.0, 0.3),
        (4, 6, 0.3, 0.5),
    ]
    assert items[0][0] == pytest.approx(0.25)
    audio = [(at, item) for at, item in items if isinstance(item, SpeechAudio)]
    assert sum(len(item.pcm) for _, item in audio) == 2 * 0.5 * 24_000
    assert audio[-1][0] == pytest.approx(0.25 + 0.5 * 0.5, abs=0.03)


def test_every_sample_of_a_word_can_be_told_from_silence_and_runs_are_the_same() -> None:
    first, second = (run(timed(ScriptedTts(), SpeechRequest("one two three"))) for _ in range(2))
    assert first == second
    pcm = b"".join(item.pcm for _, item in first if isinstance(item, SpeechAudio))
    samples = np.frombuffer(pcm, dtype="<i2")
    assert np.all(samples != 0)
    assert 5000 < np.abs(samples).max() < 10000


def test_speed_shortens_and_a_wrong_speed_is_refused() -> None:
    tts = ScriptedTts(word_times=False)
    lengths = [
        sum(
            len(item.pcm)
            for _, item in run(timed(tts, SpeechRequest("hello", speed=speed)))
            if isinstance(item, SpeechAudio)
        )
        for speed in (1.0, 2.0)
    ]
    assert lengths[0] == 2 * lengths[1]
    with pytest.raises(ConfigurationError, match=r"between 0\.5 and 2"):
        run(timed(tts, SpeechRequest("hello", speed=4.0)))


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 48_000])
def test_a_word_is_the_same_tone_for_the_same_time_at_every_rate(rate_hz: int) -> None:
    items = run(timed(ScriptedTts(seconds_per_char=0.1), SpeechRequest("hello", sample_rate_hz=rate_hz)))
    samples = np.frombuffer(b"".join(item.pcm for _, item in items if isinstance(item, SpeechAudio)), dtype="<i2")
    assert len(samples) == 0.5 * rate_hz
    assert np.argmax(np.abs(np.fft.rfft(samples))) / 0.5 == 220  # the first word's
    with pytest.raises(ConfigurationError, match="got 44100"):
        run(timed(ScriptedTts(), SpeechRequest("hello", sample_rate_hz=44_100)))


def test_the_end_of_a_reply_is_kept_with_the_requests_and_is_no_text() -> None:
    tts = ScriptedTts(faults=(SpeechFault(""),))  # whatever is spoken fails
    assert run(timed(tts, SpeechRequest("", session="one", reply=1, last=True))) == []
    assert (tts.spoken, [request.last for request in tts.requests], tts.live) == ([], [True], 0)


def test_a_fault_strikes_where_and_as_often_as_said() -> None:
    tts = ScriptedTts(faults=(SpeechFault("bad", after_s=0.2, times=1, retryable=False),))

    async def story() -> tuple[float, int]:
        heard = 0
        with pytest.raises(StageError, match="scripted fault on 'bad'") as failure:
            async for item in tts.synthesise(SpeechRequest("this is a bad sentence")):
                heard += len(item.pcm) // 2 if isinstance(item, SpeechAudio) else 0
        assert not failure.value.retryable
        again = await timed(tts, SpeechRequest("this is a bad sentence"))
        return heard / 24_000, len(again)

    heard_s, items_after = run(story())
    assert 0.2 <= heard_s < 0.3
    assert items_after > 5
    assert (tts.opened, tts.closed, tts.live) == (2, 2, 0)


def test_a_fault_may_come_at_the_end_or_be_only_a_stall() -> None:
    tts = ScriptedTts(faults=(SpeechFault("late", after_s=99), SpeechFault("slow", stall_s=3, raises=False)))
    with pytest.raises(StageError):
        run(timed(tts, SpeechRequest("late")))
    items = run(timed(tts, SpeechRequest("slow")))
    assert items[-1][0] > 3.1


def test_closing_in_the_middle_counts_as_closed() -> None:
    tts = ScriptedTts()

    async def story() -> None:
        stream = tts.synthesise(SpeechRequest("one two"))
        await anext(stream)
        assert tts.live == 1
        await stream.aclose()

    run(story())
    assert (tts.opened, tts.closed, tts.spoken) == (1, 1, ["one two"])


def test_words_are_split_as_they_are_heard() -> None:
    text = " Hi, 你好，ok — end. 👍"
    assert [text[a:b] for a, b in words_with_places(text)] == ["Hi,", "你", "好，ok", "end."]
    assert words_with_places("... 👍") == []
