"""What of a reply was heard, to the word, and how its samples are counted, at every rate."""

from itertools import pairwise

import numpy as np
import pytest

from duologue.audio import frame_samples
from duologue.ports.transport import AHEAD_SECONDS_MAX
from duologue.ports.tts import SpokenWord
from duologue.runtime.playout.track import BEHIND_SECONDS, STRETCHES_MAX, Chunk, Track


@pytest.fixture
def chunk(second):
    def make(text, seconds, words=(), *, complete=True):
        return Chunk(text, 0, second, True, round(seconds * second), complete, [SpokenWord(*word) for word in words])

    return make


# --- heard text -----------------------------------------------------------------------------------------------------


def test_with_word_times_a_word_is_heard_when_half_of_it_was_played(chunk, second):
    said = chunk("One two three.", 1.0, [(0, 3, 0.0, 0.3), (4, 7, 0.4, 0.6), (8, 14, 0.6, 1.0)])
    assert [said.heard(int(at * second)) for at in (0.0, 0.14, 0.16, 0.35, 0.49, 0.51, 0.85, 1.0)] == [
        "", "", "One", "One", "One", "One two", "One two three.", "One two three.",
    ]  # fmt: skip


def test_without_word_times_the_audio_is_shared_out_by_the_length_of_the_words(chunk, second):
    said = chunk("Do extraordinary things. ", 1.0)
    assert said.heard(int(0.10 * second)) == "Do"
    assert said.heard(int(0.30 * second)) == "Do"
    assert said.heard(int(0.50 * second)) == "Do extraordinary"
    assert said.heard(second) == "Do extraordinary things. "


def test_each_chinese_character_is_heard_for_itself(chunk, second):
    said = chunk("今天天气很好", 0.375)
    assert said.heard(int(0.1625 * second)) == "今天天"
    assert chunk("说hello吧", 0.5).heard(second // 10) == "说"


def test_while_it_is_synthesised_a_chunk_is_taken_to_be_as_long_as_usual(chunk, second):
    begun = chunk("This is a sentence of some length.", 0.25, complete=False)
    assert begun.heard(second // 4) == "This"
    assert chunk("今天天气很好", 0.9, complete=False).heard(second) == "今天天气"


def test_a_fast_voice_is_known_by_its_whole_chunks(speech, second):
    text = "This is a sentence of some length. "
    track = Track(1, second)
    track.begin_chunk(text)
    track.add(speech(1.0))  # it takes a usual voice two and a half
    track.chunks[0].complete = True
    track.begin_chunk(text)
    track.add(speech(0.5))
    assert track.heard(int(1.5 * second)) == f"{text}This is a sentence"
    assert Track(1, second).begin_chunk(text).pace == 1.0


def test_a_chunk_without_sound_is_heard_when_it_is_reached(chunk):
    assert chunk("*** ", 0).heard(0) == "*** "
    assert chunk("—", 0, complete=False).heard(0) == ""
    assert chunk("", 0, complete=False).spans() == []


def test_fillers_are_heard_but_are_no_text(speech, second):
    track = Track(1, second)
    filler = track.begin_chunk("One moment. ", in_text=False)
    track.add(speech(0.5))
    filler.complete = True
    answer = track.begin_chunk("It rains.")
    track.add(speech(0.5))
    answer.complete = True
    assert track.heard(second // 2) == "" and track.heard(second) == "It rains."
    assert track.rest_s(second // 4) == 0.75


def test_a_chunk_that_broke_off_does_not_stick_to_the_next(speech, second):
    track = Track(1, second)
    broken = track.begin_chunk("This breaks off here. ")
    broken.words = [SpokenWord(0, 4, 0.0, 0.2), SpokenWord(5, 11, 0.2, 0.6)]
    track.add(speech(0.4))
    after = track.begin_chunk("And on.")
    track.add(speech(0.5))
    after.complete = True
    assert track.heard(track.made) == "This breaks And on."
    assert track.heard(int(0.4 * second)) == "This breaks"  # its length tells a handover where to go on


# --- the track ------------------------------------------------------------------------------------------------------


def test_frames_come_whole_and_the_last_one_is_filled_up(speech, second):
    track, frame = Track(1, second), frame_samples(second)
    track.begin_chunk("Hi.")
    track.add(speech(0.03))
    assert len(track.take_frame()) == 2 * frame and not track.has_frame and track.take_frame() is None
    track.finish()
    assert track.has_frame and not track.all_sent
    assert np.count_nonzero(np.frombuffer(track.take_frame(), dtype="<i2")) == frame // 2
    assert track.take_frame() is None and track.sent == track.made == frame * 3 // 2 and track.all_sent


def test_a_rewind_goes_to_the_start_of_the_word(spoken, second):
    track = spoken(("One two ", 1.0), ("three.", 1.0))
    track.sent = track.made
    track.rewind(int(0.9 * second))
    assert track.sent == second // 2
    track.sent = track.made
    track.rewind(int(0.9 * second) + int(1.2 * second))  # it has gone on from 0.5 s
    assert track.sent == second
    empty = Track(2, second)
    empty.rewind(0)
    assert empty.count == empty.sent == 0


def test_what_a_hold_repeats_is_counted_twice_and_heard_once(spoken, second):
    track = spoken(("One two ", 1.0), ("three.", 1.0))
    track.sent = int(0.9 * second)
    track.rewind(int(0.9 * second))  # in "two", most of it heard: again from 0.5 s
    track.sent = track.made
    assert track.count == int(0.9 * second) + int(1.5 * second)
    places = [track.position(int(at * second)) / second for at in (0.3, 0.9, 1.0, 1.3, 1.4, 2.4, 9.0)]
    assert places == [0.3, 0.9, 0.9, 0.9, pytest.approx(1.0), 2.0, 2.0]
    assert [track.heard(track.position(int(at * second))) for at in (0.3, 0.9, 1.0, 1.5)] == [
        "One", "One two", "One two", "One two ",
    ]  # fmt: skip


def test_holds_beyond_a_bound_are_taken_together(spoken, second):
    track = spoken(("One two ", 1.0), ("three.", 1.0))
    for _ in range(3 * STRETCHES_MAX):
        track.sent += second // 100
        track.rewind(track.count)
    assert len(track._stretches) == STRETCHES_MAX
    assert track.position(0) == 0 and track.heard(track.position(track.count)).startswith("One")


def test_a_player_may_count_a_quarter_of_a_second_beyond_the_end(spoken, second):
    track = spoken(("One two.", 1.0))
    track.sent = track.made
    assert [track.within(count) for count in (0, second, second * 5 // 4)] == [0, second, second]
    assert track.within(second * 5 // 4 + 1) is None


def test_each_word_has_a_sample_from_which_it_counts_as_heard(second, speech):
    track = Track(1, second)
    begun = track.begin_chunk("One two. ")
    begun.words = [SpokenWord(0, 3, 0.0, 0.3), SpokenWord(4, 7, 0.4, 0.6)]
    assert track.next_word(0) is None  # not made yet
    track.add(speech(0.7))
    places = [0]
    while (at := track.next_word(places[-1])) is not None:
        places.append(at)
    assert [at / second for at in places] == [0, pytest.approx(0.15, abs=1e-3), pytest.approx(0.5, abs=1e-3)]
    for before, at in pairwise(places):
        assert len(track.heard(at)) > len(track.heard(at - 1)) == len(track.heard(before))
    begun.complete = True
    assert track.next_word(places[-1]) == track.made  # the full stop
    filler = track.begin_chunk("Hm. ", in_text=False)
    track.add(speech(0.5))
    filler.complete = True
    assert track.next_word(int(0.7 * second)) is None


def test_far_behind_the_playout_audio_is_forgotten_and_a_rewind_goes_no_further(spoken, second):
    track = spoken(("Long.", 30.0))
    track.sent = 25 * second
    track.played(20 * second)
    track.rewind(0)
    assert track.sent == int((20 - BEHIND_SECONDS) * second)
    track.forget_audio()
    assert track.heard(track.made) == "Long."


def test_synthesis_waits_when_it_is_far_ahead_and_goes_on_when_that_was_played(speech, second):
    track = Track(1, second)
    track.begin_chunk("Long.")
    track.add(speech(AHEAD_SECONDS_MAX))
    assert track.room.is_set()
    track.add(speech(0.5))
    assert not track.room.is_set()
    track.played(second)
    assert track.room.is_set()
