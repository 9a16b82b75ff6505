"""Playout out of our sight: what a remote player reports, late, wrong or never, and what is guessed meanwhile."""

import pytest

from duologue.errors import TransportError
from duologue.ports.transport import AHEAD_SECONDS_MAX
from duologue.runtime.playout.base import Heard
from duologue.runtime.playout.remote import GUESS_S_MAX
from duologue.runtime.playout.track import Track
from duologue.testing.memory_transport import RemoteMemoryTransport
from duologue.testing.virtual_time import pass_time


class Diary(RemoteMemoryTransport):
    """Notes what it is told besides frames."""

    def __init__(self, **options):
        super().__init__(**options)
        self.told = []

    def end_reply(self, reply):
        self.told.append(f"end {reply}")

    def cut_reply(self, reply):
        self.told.append(f"cut {reply}")
        super().cut_reply(reply)

    def hold_reply(self, reply):
        self.told.append(f"hold {reply}")
        super().hold_reply(reply)

    def resume_reply(self, reply):
        self.told.append(f"resume {reply}")
        super().resume_reply(reply)

    @property
    def waiting(self):
        return self._loudspeaker.unplayed(self._now_sample())


def test_it_gets_all_at_once_and_what_it_reports_is_what_was_heard(play_remote, spoken, second):
    async def script(playout, transport, told):
        playout.start(spoken(("One two ", 1.0), ("three.", 1.0)))
        assert transport.waiting == 2 * second and transport.told == ["end 1"]
        await pass_time(0.5)
        assert playout.position() == second // 2  # nothing was reported: as if it played at once
        assert playout.report(second // 4) == "" and playout.position() == second // 4
        playout.end_if_heard()
        assert not told.ended
        assert playout.report(2 * second) == ""
        playout.end_if_heard()
        assert told.ended == [(1, "One two three.")]
        playout.end_if_heard()

    play_remote(script, Diary)


def test_a_report_that_cannot_be_true_is_refused_and_changes_nothing(play_remote, spoken, second):
    async def script(playout, transport, told):
        playout.start(spoken(("One two ", 1.0), ("three.", 1.0)))
        playout.report(second)
        assert playout.report(second - 1) == f"reply 1 was played for {second} samples already, not {second - 1}"
        assert playout.report(9 * second) == f"{9 * second} samples of reply 1 can't be played, {2 * second} were sent"
        assert playout.position() == second
        assert playout.report(2 * second + second // 4) == "" and playout.position() == 2 * second  # it counts padding

    play_remote(script)


def test_one_that_never_reports_is_taken_to_play_in_real_time(play_remote, spoken):
    async def script(playout, transport, told):
        playout.start(spoken(("One two.", 1.0)))
        await pass_time(0.99)
        assert not told.ended
        await pass_time(0.02)
        assert told.ended == [(1, "One two.")]
        assert told.words == ["One", " two."] and told.times == pytest.approx([0.25, 0.75], abs=0.04)

    play_remote(script)


def test_one_that_falls_silent_has_heard_what_it_last_reported(play_remote, spoken, second):
    async def script(playout, transport, told):
        playout.start(spoken(("One two ", 1.0), ("three.", 9.0)))
        await pass_time(1.0)
        playout.report(second)
        playout.end_if_heard()
        await pass_time(2.9)
        assert not told.ended
        await pass_time(0.2)
        assert told.ended == [(1, "One two ")]

    play_remote(script)


def test_a_hold_does_not_count_as_played_by_one_that_never_reports(play_remote, spoken, second):
    async def script(playout, transport, told):
        playout.start(spoken(("One two ", 1.0), ("three.", 1.0)))
        await pass_time(0.7)
        playout.hold()
        assert playout.position() == round(0.7 * second)
        await pass_time(5.0)
        assert playout.position() == round(0.7 * second) and told.words == ["One"]
        playout.resume()
        assert playout.position() == round(0.7 * second)  # it was heard, though it is sent again
        await pass_time(1.4)
        assert not told.ended
        await pass_time(0.2)
        assert told.ended == [(1, "One two three.")] and "".join(told.words) == "One two three."

    play_remote(script)


def test_what_it_is_sent_twice_it_counts_twice(play_remote, spoken, second):
    async def script(playout, transport, told):
        playout.start(spoken(("One two ", 1.0), ("three.", 1.0)))
        await pass_time(0.7)
        playout.report(round(0.6 * second))
        playout.hold()
        playout.report(round(0.7 * second))  # late: what it had played when the cut reached it
        playout.resume()
        assert transport.told == ["end 1", "cut 1", "end 1"]
        assert playout.position() == round(0.7 * second) and transport.waiting == round(1.5 * second)
        playout.report(round(1.2 * second))
        assert playout.position() == second
        playout.report(round(2.2 * second))
        assert playout.position() == 2 * second
        playout.end_if_heard()
        assert told.ended == [(1, "One two three.")] and "".join(told.words) == "One two three."

    play_remote(script, Diary)


def test_one_that_can_hold_is_told_to_and_is_sent_nothing_twice(play_remote, spoken, second):
    async def script(playout, transport, told):
        playout.start(spoken(("One two ", 1.0), ("three.", 1.0)))
        await pass_time(0.7)
        playout.hold()
        assert playout.report(round(0.7 * second)) == ""
        await pass_time(4.0)
        playout.resume()
        assert transport.told == ["end 1", "hold 1", "resume 1"] and transport.waiting == round(1.3 * second)
        await pass_time(1.3)
        assert playout.report(2 * second) == ""
        playout.end_if_heard()
        assert told.ended == [(1, "One two three.")] and playout.played_samples == 2 * second

    play_remote(script, Diary, can_hold=True)


def test_a_cut_in_a_hold_makes_one_that_can_hold_forget_what_it_kept(play_remote, spoken, second):
    async def script(playout, transport, told):
        track = spoken(("One two ", 1.0), ("three.", 1.0))
        playout.start(track)
        await pass_time(0.7)
        playout.hold()
        await pass_time(1.0)
        assert playout.cut() == Heard(track, round(0.7 * second), "One")
        assert transport.told == ["end 1", "hold 1", "cut 1", "end 1"]
        await pass_time(1.0)
        assert transport.played_samples == round(0.7 * second)

    play_remote(script, Diary, can_hold=True)


def test_one_that_has_played_all_when_it_is_held_ends_after_the_hold(play_remote, spoken, second):
    async def script(playout, transport, told):
        playout.start(spoken(("One two.", 1.0)))
        await pass_time(1.0)
        playout.hold()
        playout.report(second)
        playout.end_if_heard()
        await pass_time(5.0)
        assert told.ended == []
        playout.resume()
        assert told.ended == [(1, "One two.")] and transport.told == ["end 1", "hold 1", "resume 1"]

    play_remote(script, Diary, can_hold=True)


def test_more_that_is_made_in_a_hold_is_sent_after_it(play_remote, speech, second):
    async def script(playout, transport, told):
        track = Track(1, second)
        playout.start(track)
        first = track.begin_chunk("One ")
        track.add(speech(1.0))
        await pass_time(0.5)
        playout.hold()
        first.complete = True
        track.begin_chunk("two.").complete = True
        track.add(speech(1.0))
        track.finish()
        assert transport.played_of(1) == second // 2 and transport.told == ["hold 1"]
        playout.resume()
        await pass_time(1.6)
        assert told.ended == [(1, "One two.")] and transport.told == ["hold 1", "resume 1", "end 1"]

    play_remote(script, Diary, can_hold=True)


def test_after_a_hold_in_a_long_reply_it_goes_on_from_the_held_word(play_remote, speech, second):
    async def script(playout, transport, told):
        track = Track(1, second)
        playout.start(track)
        for _ in range(11):
            begun = track.begin_chunk("word ")
            track.add(speech(1.0))
            begun.complete = True
        assert transport.waiting == 11 * second
        await pass_time(2.5)
        playout.hold()
        playout.resume()
        assert transport.waiting == 9 * second  # from the start of the third word

    play_remote(script, Diary)


def test_a_report_that_is_older_than_the_hold_before_takes_nothing_back(play_remote, spoken, second):
    async def script(playout, transport, told):
        playout.start(spoken(("One two ", 1.0), ("three.", 1.0)))
        await pass_time(0.7)
        playout.hold()
        playout.resume()
        playout.report(round(0.6 * second))
        playout.hold()
        playout.resume()
        assert transport.waiting == round(1.5 * second)
        await pass_time(1.5)
        playout.report(round(2.2 * second))
        playout.end_if_heard()
        assert told.ended == [(1, "One two three.")]

    play_remote(script, Diary)


def test_it_is_sent_no_more_ahead_than_the_bound_and_in_time_the_rest(play_remote, speech, second):
    async def script(playout, transport, told):
        track = Track(1, second)
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

    play_remote(script)


def test_words_are_told_on_reports_and_a_little_ahead_of_them(play_remote, spoken, second):
    async def script(playout, transport, told):
        playout.start(spoken(("One two three four ", 4.0)))
        await pass_time(0.1)
        playout.report(0)  # it begins late
        await pass_time(3.0)
        assert told.words == ["One"]  # 0.4 s after the report; the next would be a guess beyond the bound
        playout.report(round(1.4 * second))
        assert told.words == ["One", " two"]
        await pass_time(GUESS_S_MAX + 0.1)
        assert told.words == ["One", " two"]
        playout.report(4 * second)
        playout.end_if_heard()
        assert told.words == ["One", " two", " three four "] and told.ended == [(1, "One two three four ")]

    play_remote(script)


@pytest.mark.parametrize("decision", ["hold", "cut"])
def test_what_is_decided_upon_the_first_frame_holds_for_the_second(play_remote, spoken, decision):
    async def script(playout, transport, told):
        told.decide = getattr(playout, decision)
        playout.start(spoken(("One two three.", 1.0)))
        await pass_time(0.5)
        assert transport.played_samples == 0 and told.heard == [1] and told.failed == []

    play_remote(script)


class Broken(RemoteMemoryTransport):
    """Plays ten frames, then its connection is gone."""

    left = 10

    def play(self, pcm, reply):
        self.left -= 1
        if self.left < 0:
            raise TransportError("the socket is closed")
        super().play(pcm, reply)


def test_a_transport_that_fails_is_told_of_and_not_left_to_the_log_of_the_loop(play_remote, spoken):
    async def script(playout, transport, told):
        playout.start(spoken(("One.", 1.0)))
        await pass_time(1.5)

    told, _ = play_remote(script, Broken)
    assert [str(error) for error in told.failed] == ["the socket is closed"] and told.ended == []


def test_who_is_told_a_word_upon_a_report_may_cut_the_reply(play_remote, spoken, second):
    async def script(playout, transport, told):
        cuts = []
        playout.start(spoken(("One two ", 1.0), ("three.", 1.0)))
        await pass_time(0.1)
        playout._words._on_spoken = lambda reply, text: cuts.append(playout.cut())
        assert playout.report(second // 2) == "" and cuts[0].text == "One"
        assert playout.track is None and playout._words._timer is None and playout._timer is None
        playout.end_if_heard()
        assert told.ended == []

    play_remote(script)
