"""Playout in our sight: when frames are sent, and what of them was heard."""

import numpy as np
import pytest

from duologue.audio import frame_samples
from duologue.errors import TransportError
from duologue.runtime.playout.base import Heard
from duologue.runtime.playout.local import STALLED_SECONDS
from duologue.runtime.playout.track import Track
from duologue.testing.memory_transport import MemoryTransport
from duologue.testing.virtual_time import pass_time


def test_a_reply_is_sent_a_few_frames_ahead_and_ends_when_it_is_played(play_local, spoken, second):
    async def script(playout, transport, told):
        playout.start(spoken(("One two.", 0.5)))
        assert told.heard == [1] and transport.unplayed() == 3 * frame_samples(second)
        await pass_time(0.25)
        assert playout.position() == second // 4 and not told.ended
        await pass_time(0.24)
        assert not told.ended
        await pass_time(0.02)
        assert told.ended == [(1, "One two.")] and playout.track is None
        assert playout.position() == 0

    _, transport = play_local(script)
    assert transport.played_samples == second // 2


def test_a_hold_is_silence_and_a_resume_begins_with_the_held_word(play_local, spoken, second):
    async def script(playout, transport, told):
        playout.start(spoken(("One two ", 1.0), ("three.", 1.0)))
        await pass_time(0.7)
        playout.hold()
        playout.hold()
        assert playout.position() == round(0.7 * second)
        await pass_time(1.0)
        assert transport.played_samples == round(0.7 * second)
        playout.resume()
        playout.resume()
        await pass_time(1.49)
        assert not told.ended
        await pass_time(0.03)
        assert told.ended == [(1, "One two three.")] and told.heard == [1]
        assert playout.played_samples == round(2.2 * second)

    play_local(script)


def test_a_cut_tells_what_was_heard_and_nothing_comes_after_it(play_local, spoken, second):
    async def script(playout, transport, told):
        assert playout.cut() is None
        playout.hold()
        playout.resume()
        track = spoken(("One two ", 1.0), ("three.", 1.0))
        playout.start(track)
        await pass_time(0.7)
        assert playout.cut() == Heard(track, round(0.7 * second), "One two "[:3])
        await pass_time(2.0)
        assert transport.played_samples == round(0.7 * second) == playout.played_samples
        assert told.ended == []

    play_local(script)


def test_a_cut_in_a_hold_keeps_the_place_of_the_hold(play_local, spoken, second):
    async def script(playout, transport, told):
        playout.start(spoken(("One two three.", 1.0)))
        await pass_time(0.3)
        playout.hold()
        await pass_time(0.5)
        assert playout.cut().count == round(0.3 * second)

    play_local(script)


def test_a_slow_synthesis_leaves_a_gap_and_nothing_else(play_local, speech, second):
    async def script(playout, transport, told):
        track = Track(1, second)
        playout.start(track)
        first = track.begin_chunk("One ")
        track.add(speech(0.1))
        await pass_time(0.5)
        first.complete = True
        then = track.begin_chunk("two.")
        track.add(speech(0.105))
        then.complete = True
        await pass_time(0.15)
        assert not told.ended
        track.finish()
        await pass_time(0.06)
        assert told.ended == [(1, "One two.")]

    _, transport = play_local(script)
    _, agent = transport.recording()
    sounding = np.flatnonzero(agent)
    assert (len(sounding), sounding[0]) == (round(0.1 * second) + round(0.105 * second), 0)
    assert np.max(np.diff(sounding)) == round(0.4 * second) + 1


def test_a_reply_without_sound_ends_at_once(play_local, second):
    async def script(playout, transport, told):
        track = Track(3, second)
        playout.start(track)
        track.finish()
        await pass_time(0.01)
        assert told.ended == [(3, "")] and told.heard == []

    play_local(script)


def test_text_that_comes_after_all_is_played_before_the_end(play_local, spoken, speech, second):
    async def script(playout, transport, told):
        track = spoken(("One ", 0.1))
        playout.start(track)
        late = track.begin_chunk("two.")
        track.add(speech(0.1))
        late.complete = True
        await pass_time(0.25)
        assert told.ended == [(1, "One two.")]

    _, transport = play_local(script)
    assert transport.played_samples == round(0.2 * second)


@pytest.mark.parametrize("decision", ["hold", "cut"])
def test_what_is_decided_upon_the_first_frame_holds_for_the_second(play_local, spoken, decision):
    async def script(playout, transport, told):
        told.decide = getattr(playout, decision)
        playout.start(spoken(("One two three.", 1.0)))
        await pass_time(0.5)
        assert transport.played_samples == 0 and told.heard == [1] and told.failed == []

    play_local(script)


class BrokenTransport(MemoryTransport):
    """Plays ten frames, then its connection is gone, for every call that there is."""

    left = 10

    def _fail(self):
        if self.left <= 0:
            raise TransportError("the socket is closed")

    def play(self, pcm, reply):
        self._fail()
        self.left -= 1
        super().play(pcm, reply)

    def unplayed(self):
        self._fail()
        return super().unplayed()

    def cut_reply(self, reply):
        self._fail()
        return super().cut_reply(reply)


def test_a_transport_that_fails_is_told_of_and_not_left_to_the_log_of_the_loop(play_local, spoken):
    async def script(playout, transport, told):
        playout.start(spoken(("One two three.", 1.0)))
        await pass_time(1.5)
        playout.cut()

    told, _ = play_local(script, BrokenTransport)
    assert {str(error) for error in told.failed} == {"the socket is closed"} and told.ended == []


class Diary(MemoryTransport):
    """Notes what it is told, and can come to a stop."""

    def __init__(self, **options):
        super().__init__(**options)
        self.told, self.stopped_with = [], None

    def play(self, pcm, reply):
        self.told.append(reply)
        super().play(pcm, reply)
        if self.stopped_with is not None:
            self.stopped_with += len(pcm) // 2

    def end_reply(self, reply):
        self.told.append(f"end {reply}")

    def cut_reply(self, reply):
        self.told.append(f"cut {reply}")
        return super().cut_reply(reply)

    def unplayed(self):
        return super().unplayed() if self.stopped_with is None else self.stopped_with


def test_a_transport_is_told_of_which_reply_a_frame_is_and_when_it_was_all(play_local, spoken):
    async def script(playout, transport, told):
        playout.start(spoken(("One two.", 0.1), reply=4))
        await pass_time(0.2)
        assert transport.told == [4] * 5 + ["end 4"]
        transport.told.clear()
        playout.start(spoken(("One two.", 1.0), reply=5))
        playout.hold()
        assert transport.told == [5] * 3 + ["cut 5"]
        transport.told.clear()
        playout.cut()
        assert transport.told == ["end 5"]  # it is silent already
        transport.told.clear()
        playout.start(spoken(("One two.", 1.0), reply=6))
        playout.cut()
        assert transport.told == [6] * 3 + ["cut 6", "end 6"]
        transport.told.clear()
        playout.start(Track(7, transport.output_rate_hz))
        playout.hold()
        playout.cut()
        assert transport.told == []  # nothing of it was played

    play_local(script, Diary)


def test_a_player_that_stalls_gets_no_more_until_it_goes_on(play_local, spoken, second):
    async def script(playout, transport, told):
        playout.start(spoken(("One two.", 10.0)))
        await pass_time(0.5)
        transport.stopped_with = transport.unplayed()
        await pass_time(5.0)
        assert transport.stopped_with / second == pytest.approx(STALLED_SECONDS, abs=0.05)
        frames = len(transport.told)
        transport.stopped_with = None
        await pass_time(1.0)
        assert len(transport.told) - frames == pytest.approx(50, abs=6)

    play_local(script, Diary)


def test_words_are_told_in_step_and_are_the_heard_text(play_local, spoken):
    async def script(playout, transport, told):
        playout.start(spoken(("One two ", 1.0), ("three.", 1.0)))
        await pass_time(2.1)
        assert told.words == ["One", " two", " three."] and told.ended == [(1, "One two three.")]
        assert told.times == pytest.approx([0.25, 0.75, 1.5], abs=0.04)

    play_local(script)


def test_in_a_hold_nothing_is_told_and_after_it_only_new_words(play_local, spoken):
    async def script(playout, transport, told):
        playout.start(spoken(("One two ", 1.0), ("three.", 1.0)))
        await pass_time(0.9)
        playout.hold()
        await pass_time(1.0)
        assert told.words == ["One", " two"] and playout.heard_text() == "One two"
        playout.resume()  # from 0.5 s: "two" once more
        await pass_time(0.4)
        assert told.words == ["One", " two"] and playout.heard_text() == "One two"
        await pass_time(1.2)
        assert told.words == ["One", " two", " three."]
        assert told.times[-1] == pytest.approx(1.9 + 1.0, abs=0.04)
        assert told.ended == [(1, "One two three.")]

    play_local(script)


def test_at_a_cut_all_is_told_that_was_heard(play_local, spoken, second):
    async def script(playout, transport, told):
        playout.start(spoken(("One two three four.", 2.0)))
        await pass_time(1.05)  # in "three", less than half of it
        assert "".join(told.words) == playout.cut().text == "One two"
        await pass_time(2.0)
        assert told.words == ["One", " two"]

    play_local(script)


def test_words_wait_for_a_slow_synthesis(play_local, speech, second):
    async def script(playout, transport, told):
        track = Track(1, second)
        playout.start(track)
        begun = track.begin_chunk("One ")
        await pass_time(1.0)
        track.add(speech(0.4))
        begun.complete = True
        await pass_time(2.0)
        assert told.words == ["One"] and told.times == pytest.approx([1.2], abs=0.04)
        begun = track.begin_chunk("two.")
        track.add(speech(0.4))
        begun.complete = True
        track.finish()
        await pass_time(0.5)
        assert told.words == ["One", " two."] and told.times[1] == pytest.approx(3.2, abs=0.04)

    play_local(script)


def test_what_was_told_stays_heard_though_the_voice_turns_out_to_be_slower(play_local, speech, second):
    async def script(playout, transport, told):
        track = Track(1, second)
        playout.start(track)
        track.begin_chunk("One two three four. ")  # usually it takes 1.4 s
        track.add(speech(1.0))
        await pass_time(1.0)
        assert "".join(told.words) == "One two three"
        track.add(speech(9.0))  # then "two" has just begun
        await pass_time(0.05)
        assert playout.heard_text() == playout.cut().text == "One two three"

    play_local(script)


def test_who_is_told_the_last_words_may_cut_the_reply(play_local, spoken):
    async def script(playout, transport, told):
        cuts = []
        playout.start(spoken(("One two", 0.4)))
        await pass_time(0.1)
        playout._words._on_spoken = lambda reply, text: text == " two" and cuts.append(playout.cut())
        await pass_time(1.0)
        assert [cut.text for cut in cuts] == ["One two"] and told.ended == []

    play_local(script)
