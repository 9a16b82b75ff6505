"""What of a reply was heard, to the word; when its frames are sent; and what a far side's reports change."""

import asyncio

import numpy as np
import pytest

from duologue.audio import FRAME_SAMPLES, SAMPLE_RATE_HZ
from duologue.errors import TransportError
from duologue.ports.tts import SpokenWord
from duologue.runtime.playout import AHEAD_SECONDS_MAX, BEHIND_SECONDS, Chunk, Playout, PlayoutListener, Track
from duologue.testing.memory_transport import MemoryTransport
from duologue.testing.virtual_time import pass_time, run

SECOND = SAMPLE_RATE_HZ


def chunk(text, samples, words=(), *, complete=True, in_text=True):
    return Chunk(text, 0, in_text, samples, complete, [SpokenWord(*word) for word in words])


def speech(seconds, value=1000):
    return np.full(int(seconds * SECOND), value, dtype="<i2").tobytes()


def spoken(*chunks, reply=1, complete=True):
    """A track of (text, seconds) chunks."""
    track = Track(reply)
    for text, seconds in chunks:
        begun = track.begin_chunk(text)
        track.add(speech(seconds))
        begun.complete = True
    if complete:
        track.finish()
    return track


# --- heard text -----------------------------------------------------------------------------------------------------


def test_with_word_times_a_word_is_heard_when_half_of_it_was_played():
    said = chunk("One two three.", SECOND, [(0, 3, 0.0, 0.3), (4, 7, 0.4, 0.6), (8, 14, 0.6, 1.0)])
    assert [said.heard(int(at * SECOND)) for at in (0.0, 0.14, 0.16, 0.35, 0.49, 0.51, 0.85, 1.0)] == [
        "", "", "One", "One", "One", "One two", "One two three.", "One two three.",
    ]  # fmt: skip


def test_without_word_times_the_audio_is_shared_out_by_the_length_of_the_words():
    said = chunk("Do extraordinary things. ", SECOND)
    assert said.heard(int(0.10 * SECOND)) == "Do"
    assert said.heard(int(0.30 * SECOND)) == "Do"
    assert said.heard(int(0.50 * SECOND)) == "Do extraordinary"
    assert said.heard(SECOND) == "Do extraordinary things. "


def test_each_chinese_character_is_heard_for_itself():
    said = chunk("今天天气很好", 6000)
    assert said.heard(2600) == "今天天"
    assert chunk("说hello吧", 8000).heard(1600) == "说"


def test_while_it_is_synthesised_a_chunk_is_taken_to_be_as_long_as_usual():
    begun = chunk("This is a sentence of some length.", SECOND // 4, complete=False)
    assert begun.heard(SECOND // 4) == "This"
    assert chunk("今天天气很好", int(0.9 * SECOND), complete=False).heard(SECOND) == "今天天气"


def test_a_fast_voice_is_known_by_its_whole_chunks():
    text = "This is a sentence of some length. "
    track = Track(1)
    track.begin_chunk(text)
    track.add(speech(1.0))  # it takes a usual voice two and a half
    track.chunks[0].complete = True
    track.begin_chunk(text)
    track.add(speech(0.5))
    assert track.heard(int(1.5 * SECOND)) == f"{text}This is a sentence"
    assert Track(1).begin_chunk(text).pace == 1.0


def test_a_chunk_without_sound_is_heard_when_it_is_reached():
    assert chunk("*** ", 0).heard(0) == "*** "
    assert chunk("—", 0, complete=False).heard(0) == ""
    assert chunk("", 0, complete=False).spans() == []


def test_fillers_are_heard_but_are_no_text():
    track = Track(1)
    filler = track.begin_chunk("One moment. ", in_text=False)
    track.add(speech(0.5))
    filler.complete = True
    answer = track.begin_chunk("It rains.")
    track.add(speech(0.5))
    answer.complete = True
    assert track.heard(SECOND // 2) == "" and track.heard(SECOND) == "It rains."
    assert track.rest_s(SECOND // 4) == 0.75


def test_a_chunk_that_broke_off_does_not_stick_to_the_next():
    track = Track(1)
    broken = track.begin_chunk("This breaks off here. ")
    broken.words = [SpokenWord(0, 4, 0.0, 0.2), SpokenWord(5, 11, 0.2, 0.6)]
    track.add(speech(0.4))
    after = track.begin_chunk("And on.")
    track.add(speech(0.5))
    after.complete = True
    assert track.heard(track.made) == "This breaks And on."
    assert track.heard(int(0.4 * SECOND)) == "This breaks"  # its length tells a handover where to go on


# --- the track ------------------------------------------------------------------------------------------------------


def test_frames_come_whole_and_the_last_one_is_filled_up():
    track = Track(1)
    track.begin_chunk("Hi.")
    track.add(speech(0.03))
    assert len(track.take_frame()) == 640 and track.take_frame() is None
    track.finish()
    assert np.count_nonzero(np.frombuffer(track.take_frame(), dtype="<i2")) == 160
    assert track.take_frame() is None and track.sent == track.made == 480


def test_a_rewind_goes_to_the_start_of_the_word():
    track = spoken(("One two ", 1.0), ("three.", 1.0))
    track.sent = track.made
    track.rewind(int(0.9 * SECOND))
    assert track.sent == SECOND // 2
    track.rewind(int(1.7 * SECOND))
    assert track.sent == SECOND
    Track(2).rewind(0)


def test_far_behind_the_playout_audio_is_forgotten_and_a_rewind_goes_no_further():
    track = spoken(("Long.", 30.0))
    track.played(20 * SECOND)
    track.rewind(0)
    assert track.sent == int((20 - BEHIND_SECONDS) * SECOND)
    track.forget_audio()
    assert track.heard(track.made) == "Long."


def test_synthesis_waits_when_it_is_far_ahead_and_goes_on_when_that_was_played():
    track = Track(1)
    track.begin_chunk("Long.")
    track.add(speech(AHEAD_SECONDS_MAX))
    assert track.room.is_set()
    track.add(speech(0.5))
    assert not track.room.is_set()
    track.played(SECOND)
    assert track.room.is_set()


# --- the pace -------------------------------------------------------------------------------------------------------


class Told:
    def __init__(self):
        self.heard, self.ended, self.failed = [], [], []
        self.decide = lambda: None
        self.listener = PlayoutListener(
            self._first_heard, lambda reply, text: self.ended.append((reply, text)), self.failed.append
        )

    def _first_heard(self, reply):
        self.heard.append(reply)
        self.decide()


class Ears:
    """Nobody speaks to it; for transports that only play."""

    def audio(self, pcm):
        pass

    def event(self, event):
        pass


def play(script, **options):
    """Run `script(playout, transport, told)` while the transport plays."""
    told = Told()
    transport = MemoryTransport(hang_up=False, **options)

    async def main():
        running = asyncio.ensure_future(transport.run(Ears()))
        await asyncio.wait([running], timeout=0)
        await script(Playout(transport, told.listener), transport, told)
        await transport.aclose()
        await running

    run(main())
    return told, transport


def test_a_reply_is_sent_a_few_frames_ahead_and_ends_when_it_is_played():
    async def script(playout, transport, told):
        playout.start(spoken(("One two.", 0.5)))
        assert told.heard == [1] and transport.unplayed() == 3 * FRAME_SAMPLES
        await pass_time(0.25)
        assert playout.position() == SECOND // 4 and not told.ended
        await pass_time(0.24)
        assert not told.ended
        await pass_time(0.02)
        assert told.ended == [(1, "One two.")] and playout.track is None
        assert playout.position() == 0

    _, transport = play(script)
    assert transport.played_samples == SECOND // 2


def test_a_hold_is_silence_and_a_resume_begins_with_the_held_word():
    async def script(playout, transport, told):
        playout.start(spoken(("One two ", 1.0), ("three.", 1.0)))
        await pass_time(0.7)
        playout.hold()
        playout.hold()
        assert playout.position() == int(0.7 * SECOND)
        await pass_time(1.0)
        assert transport.played_samples == int(0.7 * SECOND)
        playout.resume()
        playout.resume()
        await pass_time(1.49)
        assert not told.ended
        await pass_time(0.03)
        assert told.ended == [(1, "One two three.")] and told.heard == [1]
        assert playout.sent_samples == int(2.2 * SECOND)

    play(script)


def test_a_cut_tells_what_was_heard_and_nothing_comes_after_it():
    async def script(playout, transport, told):
        assert playout.cut() == (None, 0)
        playout.hold()
        playout.resume()
        track = spoken(("One two ", 1.0), ("three.", 1.0))
        playout.start(track)
        await pass_time(0.7)
        assert playout.cut() == (track, int(0.7 * SECOND))
        await pass_time(2.0)
        assert transport.played_samples == int(0.7 * SECOND) == playout.sent_samples
        assert told.ended == []

    play(script)


def test_a_cut_in_a_hold_keeps_the_place_of_the_hold():
    async def script(playout, transport, told):
        playout.start(spoken(("One two three.", 1.0)))
        await pass_time(0.3)
        playout.hold()
        await pass_time(0.5)
        assert playout.cut()[1] == int(0.3 * SECOND)

    play(script)


def test_a_slow_synthesis_leaves_a_gap_and_nothing_else():
    async def script(playout, transport, told):
        track = Track(1)
        playout.start(track)
        first = track.begin_chunk("One ")
        track.add(speech(0.1))
        await pass_time(0.5)
        first.complete = True
        second = track.begin_chunk("two.")
        track.add(speech(0.105))
        second.complete = True
        await pass_time(0.15)
        assert not told.ended
        track.finish()
        await pass_time(0.06)
        assert told.ended == [(1, "One two.")]

    _, transport = play(script)
    _, agent = transport.recording()
    sounding = np.flatnonzero(agent)
    assert (len(sounding), sounding[0]) == (int(0.205 * SECOND), 0)
    assert np.max(np.diff(sounding)) == int(0.4 * SECOND) + 1


def test_a_reply_without_sound_ends_at_once():
    async def script(playout, transport, told):
        track = Track(3)
        playout.start(track)
        track.finish()
        await pass_time(0.01)
        assert told.ended == [(3, "")] and told.heard == []

    play(script)


def test_text_that_comes_after_all_is_played_before_the_end():
    async def script(playout, transport, told):
        track = spoken(("One ", 0.1))
        playout.start(track)
        late = track.begin_chunk("two.")
        track.add(speech(0.1))
        late.complete = True
        await pass_time(0.25)
        assert told.ended == [(1, "One two.")]

    _, transport = play(script)
    assert transport.played_samples == int(0.2 * SECOND)


@pytest.mark.parametrize("decision", ["hold", "cut"])
@pytest.mark.parametrize("far_side", [False, True])
def test_what_is_decided_upon_the_first_frame_holds_for_the_second(decision, far_side):
    async def script(playout, transport, told):
        told.decide = getattr(playout, decision)
        playout.start(spoken(("One two three.", 1.0)))
        await pass_time(0.5)
        assert transport.played_samples == 0 and told.heard == [1] and told.failed == []

    play(script, plays_remote=far_side)


class BrokenTransport(MemoryTransport):
    """Plays so many frames, then its connection is gone."""

    def __init__(self, frames, **options):
        super().__init__(hang_up=False, **options)
        self.left = frames

    def send(self, frame):
        self.left -= 1
        if self.left < 0:
            raise TransportError("the socket is closed")
        super().send(frame)


@pytest.mark.parametrize("far_side", [False, True])
def test_a_transport_that_fails_is_told_of_and_not_left_to_the_log_of_the_loop(far_side):
    told = Told()

    async def main():
        transport = BrokenTransport(10, plays_remote=far_side)
        running = asyncio.ensure_future(transport.run(Ears()))
        await asyncio.wait([running], timeout=0)
        playout = Playout(transport, told.listener)
        playout.start(spoken(("One.", 1.0)))
        await pass_time(1.5)
        await transport.aclose()
        await running

    run(main())
    assert [str(error) for error in told.failed] == ["the socket is closed"] and told.ended == []


# --- where the far side plays ---------------------------------------------------------------------------------------


def test_a_far_side_gets_all_at_once_and_what_it_reports_is_what_was_heard():
    async def script(playout, transport, told):
        playout.start(spoken(("One two ", 1.0), ("three.", 1.0)))
        assert transport.unplayed() == 2 * SECOND
        assert not playout.is_reported
        await pass_time(0.5)
        assert playout.position() == SECOND // 2  # nothing was reported: as if it played at once
        assert playout.report(SECOND // 4) == SECOND // 4 == playout.position()
        assert playout.is_reported
        playout.end_if_heard()
        assert playout.report(100) == SECOND // 4  # never back
        assert playout.report(9 * SECOND) == 2 * SECOND
        playout.end_if_heard()
        assert told.ended == [(1, "One two three.")]
        playout.end_if_heard()

    play(script, plays_remote=True)


def test_a_far_side_that_never_reports_is_taken_to_play_in_real_time():
    async def script(playout, transport, told):
        playout.start(spoken(("One two.", 1.0)))
        await pass_time(0.99)
        assert not told.ended
        await pass_time(0.02)
        assert told.ended == [(1, "One two.")]

    play(script, plays_remote=True)


def test_a_far_side_that_falls_silent_has_heard_what_it_last_reported():
    async def script(playout, transport, told):
        playout.start(spoken(("One two ", 1.0), ("three.", 9.0)))
        await pass_time(1.0)
        playout.report(SECOND)
        playout.end_if_heard()
        await pass_time(2.9)
        assert not told.ended
        await pass_time(0.2)
        assert told.ended == [(1, "One two ")]

    play(script, plays_remote=True)


def test_a_hold_does_not_count_as_played_on_a_far_side_that_never_reports():
    async def script(playout, transport, told):
        playout.start(spoken(("One two ", 1.0), ("three.", 1.0)))
        await pass_time(0.7)
        playout.hold()
        assert playout.position() == int(0.7 * SECOND)
        await pass_time(5.0)
        assert playout.position() == int(0.7 * SECOND)
        playout.resume()
        assert playout.position() == SECOND // 2
        await pass_time(1.4)
        assert not told.ended
        await pass_time(0.2)
        assert told.ended == [(1, "One two three.")]

    play(script, plays_remote=True)


def test_what_a_far_side_is_sent_twice_it_counts_twice():
    async def script(playout, transport, told):
        playout.start(spoken(("One two ", 1.0), ("three.", 1.0)))
        await pass_time(0.7)
        playout.report(int(0.6 * SECOND))
        playout.hold()
        playout.report(int(0.7 * SECOND))  # late: what it had played when the flush reached it
        playout.resume()
        assert playout.position() == SECOND // 2 and transport.unplayed() == int(1.5 * SECOND)
        assert playout.report(int(1.2 * SECOND)) == SECOND
        assert playout.report(int(2.2 * SECOND)) == 2 * SECOND
        playout.end_if_heard()
        assert told.ended == [(1, "One two three.")]

    play(script, plays_remote=True)


def test_after_a_hold_in_a_long_reply_a_far_side_goes_on_from_the_held_word():
    async def script(playout, transport, told):
        track = Track(1)
        playout.start(track)
        for _ in range(11):
            begun = track.begin_chunk("word ")
            track.add(speech(1.0))
            begun.complete = True
        assert transport.unplayed() == 11 * SECOND
        await pass_time(2.5)
        playout.hold()
        playout.resume()
        assert transport.unplayed() == 9 * SECOND  # from the start of the third word

    play(script, plays_remote=True)


def test_a_far_side_is_sent_no_more_ahead_than_the_bound_and_in_time_the_rest():
    async def script(playout, transport, told):
        track = Track(1)
        playout.start(track)
        begun = track.begin_chunk("Long.")
        track.add(speech(AHEAD_SECONDS_MAX + 0.5))
        assert not track.room.is_set()
        await pass_time(2.1)
        assert track.room.is_set()  # nobody reported: time tells
        track.add(speech(0.5))
        begun.complete = True
        track.finish()
        await pass_time(AHEAD_SECONDS_MAX)
        assert told.ended == [(1, "Long.")]

    play(script, plays_remote=True)
