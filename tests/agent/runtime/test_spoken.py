"""Words are told as they are heard: in step with the sound, and together the text that the history holds."""

import numpy as np
import pytest

from duologue import Settings, Spoken
from duologue.audio import OUTPUT_RATES_HZ
from duologue.core import actions as act
from duologue.core import events as ev
from duologue.ports.tts import SpeechAudio, SpokenWord
from duologue.testing.memory_transport import MemoryTransport, RemoteMemoryTransport
from duologue.testing.scripted_llm import ScriptedReply
from duologue.testing.scripted_tts import ScriptedTts

COUNT = "One two three four five. Six seven eight nine ten. Eleven twelve thirteen fourteen. Fifteen and so on."


class Coded(ScriptedTts):
    """Speaks each word as a flat stretch of a value of its own, so that a recording shows it."""

    words = 0

    async def synthesise(self, request):
        code = 0
        async for item in super().synthesise(request):
            if isinstance(item, SpokenWord):
                self.words += 1
                code = self.words
                yield item
            else:
                yield SpeechAudio(np.full(len(item.pcm) // 2, code, dtype="<i2").tobytes())


def told(done, reply=1):
    return "".join(event.text for event in done.all(Spoken) if event.reply == reply)


def middles(done):
    """Session second at which half of each word had been heard, as often as it needs to be repeated."""
    _, agent = done.transport.recording()
    rate_hz, found = done.transport.output_rate_hz, []
    for code in range(1, int(agent.max()) + 1):
        places = np.flatnonzero(agent == code)
        whole = max(len(run) for run in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1))
        found.append((places[0] + whole / 2) / rate_hz)
    return found


@pytest.mark.parametrize("rate_hz", OUTPUT_RATES_HZ)
def test_each_word_is_told_within_40_ms_of_its_sound(call, rate_hz):
    done = call(
        [(1.0, 1.0)],
        ["please count"],
        [ScriptedReply(COUNT)],
        hang_up=14.0,
        tts=Coded(),
        settings=Settings(output_rate_hz=rate_hz),
    ).go()
    assert done.said()[1] == ("agent", COUNT) and told(done) == COUNT
    words = done.all(Spoken)
    assert [event.text.strip() for event in words] == COUNT.split()
    late = [event.at - heard for event, heard in zip(words, middles(done), strict=True)]
    assert min(late) >= -0.001 and max(late) <= 0.04, late


def test_after_a_cut_the_words_told_are_those_that_are_remembered(call):
    # The onset falls into a word; what is told ends with the one before, or with it, as the history does.
    for onset in np.arange(4.0, 4.5, 0.06):
        speech = [(1.0, 1.0), (float(onset), 1.5)]
        done = call(speech, ["please count", "wait what"], [ScriptedReply(COUNT), ScriptedReply("Fine.")]).go()
        cut = done.events.index(done.one(act.CancelReply))
        assert done.said()[1] == ("agent", told(done).strip()) and COUNT.startswith(told(done)) and told(done) != COUNT
        assert not [event for event in done.events[cut + 2 :] if isinstance(event, Spoken) and event.reply == 1]


def test_in_a_hold_nothing_is_told_and_after_it_only_new_words(call):
    done = call([(1.0, 1.0), (4.0, 0.4)], ["please count", "mm-hm"], [ScriptedReply(COUNT)], tts=Coded()).go()
    held, resumed = (done.events.index(done.one(kind)) for kind in (act.HoldPlayout, act.ResumePlayout))
    assert [event for event in done.events[held:resumed] if isinstance(event, Spoken)] == []
    assert told(done) == COUNT == done.said()[1][1]


def test_the_last_word_is_told_before_the_reply_is_over_and_the_first_after_it_is_heard(call):
    seen = []

    async def during(session, transport):
        session.observe(seen.append)

    done = call([(1.0, 1.0)], ["please count"], [ScriptedReply(COUNT)], during=during, hang_up=14.0).go()
    assert [event for event in seen if isinstance(event, Spoken)] == done.all(Spoken)
    kinds = [type(event) for event in seen if isinstance(event, Spoken | ev.ReplyHeard | ev.ReplyEnded)]
    assert kinds == [ev.ReplyHeard, *[Spoken] * len(COUNT.split()), ev.ReplyEnded]


@pytest.mark.parametrize(
    ("kind", "options"), [(MemoryTransport, {}), (RemoteMemoryTransport, {"report_every_s": 0.05})]
)
def test_whoever_is_told_a_word_may_interrupt_at_it(call, kind, options):
    async def during(session, transport):
        session.observe(lambda event: isinstance(event, Spoken) and "seven" in event.text and session.interrupt())

    done = call(
        [(1.0, 1.0)],
        ["please count"],
        [ScriptedReply(COUNT)],
        during=during,
        hang_up=14.0,
        transport_kind=kind,
        transport_options=options,
    ).go()
    assert done.session._reply_player._playout._words._timer is None
    assert told(done) == "One two three four five. Six seven" and done.said()[1] == ("agent", told(done))
    assert not [note for note in done.events if type(note).__name__ == "Note" and note.source == "observer"]


def test_a_filler_is_heard_and_is_no_word_of_the_reply(call):
    slow = ScriptedReply("Fine, thank you.", first_token_s=7.0)
    done = call([(1.0, 1.0)], ["hello"], [slow], hang_up=14.0).go()
    assert done.one(act.SpeakFiller).text in done.tts.spoken and told(done) == "Fine, thank you."


@pytest.mark.parametrize("can_hold", [False, True])
def test_of_a_remote_player_words_are_told_in_step_between_its_reports(call, can_hold):
    done = call(
        [(1.0, 1.0), (4.0, 0.4)],
        ["please count", "mm-hm"],
        [ScriptedReply(COUNT)],
        hang_up=16.0,
        transport_kind=RemoteMemoryTransport,
        transport_options={"report_every_s": 0.4, "can_hold": can_hold},
        tts=Coded(),
    ).go()
    assert told(done) == COUNT == done.said()[1][1]
    first = [event.at - heard for event, heard in zip(done.all(Spoken)[:3], middles(done), strict=False)]
    assert max(np.abs(first)) <= 0.04, first
