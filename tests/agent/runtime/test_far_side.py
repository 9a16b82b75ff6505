"""A caller who plays the agent's voice out of our sight: what was heard is what the far side reports."""

import pytest

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.testing.scripted_llm import ScriptedReply
from duologue.testing.scripted_tts import ScriptedTts
from duologue.testing.virtual_time import pass_time

# "One two three. Four five six. …": words of known length, 60 ms a letter.
COUNT = "One two three four five. Six seven eight nine ten. Eleven twelve thirteen fourteen. Fifteen and so on."
TTS = {"first_audio_s": 0.05, "real_time_factor": 0.01}
FAR = {"plays_far_side": True}
BARGE_IN = [(1.0, 1.0), (4.0, 1.5)]
TURNS = ["please count", "wait what about tomorrow"]


@pytest.fixture
def far_call(call):
    def make(speech=((1.0, 1.0),), turns=("please count",), **more):
        replies = more.pop("replies", [ScriptedReply(COUNT, token_s=0.001), ScriptedReply("Fine.")])
        more.setdefault("hang_up", 16.0)
        return call(speech, turns, replies, tts=ScriptedTts(**TTS), transport_options=FAR, **more)

    return make


async def report_until(session, transport, end, every_s=0.2, lag_s=0.0):
    """What a well-behaved far side does: it says all the time how much of the live reply it has played."""
    while session.now() < end and not session.closed:
        track = session._reply_player._playout.track
        if track:
            transport.report_playout(track.reply, max(0, transport.played_samples - int(lag_s * 16_000)))
        await pass_time(every_s)


def test_a_far_side_that_reports_decides_what_was_heard(far_call):
    async def during(session, transport):
        await report_until(session, transport, 15.0)

    done = far_call(during=during).go()
    assert done.said()[1] == ("agent", COUNT)
    ended = done.times[done.events.index(done.one(ev.ReplyEnded))]
    assert ended > 2.5 + 75 * 0.06  # not before it was played, however early it was sent


def test_a_cut_is_where_the_far_side_says_it_was(far_call, until):
    async def during(session, transport):
        await report_until(session, transport, 4.1)
        await until(session, 5.0)
        transport.report_playout(1, int(1.0 * 16_000))  # its last word on the reply that was cut

    done = far_call(BARGE_IN, TURNS, during=during).go()
    assert done.one(act.CancelReply).reason == "interrupted"
    assert done.said()[1] == ("agent", "One two three four")
    assert [told.heard for told in done.all(act.TruncateHistory)][-1].strip() == "One two three four"


def test_a_far_side_that_falls_silent_at_a_cut_is_taken_at_its_last_report(far_call):
    async def during(session, transport):
        await report_until(session, transport, 3.9)

    done = far_call(BARGE_IN, TURNS, during=during).go()
    _, (_, heard), *_ = done.said()
    assert COUNT.startswith(heard) and 10 < len(heard) < len(COUNT)
    assert done.said()[-1] == ("agent", "Fine.")


def test_one_that_never_reports_is_taken_to_play_in_real_time(far_call):
    done = far_call(BARGE_IN, TURNS).go()
    cut = done.one(act.CancelReply)
    answered = done.times[done.events.index(done.all(act.BeginReply)[-1])]
    assert answered - done.times[done.events.index(cut)] < 2.0  # nobody waits for a report that never comes
    heard = done.said()[1][1]
    truth = done.transport.played_samples  # all of both replies; of the first about a second and a half
    assert heard.startswith("One two three four") and len(heard) < 50 and truth


def test_one_that_reports_only_the_cut_corrects_what_was_guessed(far_call, until):
    async def during(session, transport):
        await until(session, 6.5)
        transport.report_playout(1, int(0.4 * 16_000))

    done = far_call(BARGE_IN, TURNS, during=during).go()
    assert done.said()[1] == ("agent", "One two")
    assert len(done.all(act.TruncateHistory)) == 2
    assert done.all(act.TruncateHistory)[1].heard == "One two"


def test_a_report_about_a_reply_long_gone_changes_nothing(far_call, until):
    async def during(session, transport):
        await until(session, 12.0)
        transport.report_playout(1, 100)
        transport.report_playout(77, 100)

    done = far_call(during=during).go()
    assert done.said()[1] == ("agent", COUNT)


def test_a_backchannel_costs_a_gap_and_the_reply_goes_on_from_the_held_word(far_call):
    done = far_call([(1.0, 1.0), (4.0, 0.4)], ["please count", "mm-hm"]).go()
    assert done.one(act.ResumePlayout) and done.all(act.CancelReply) == []
    assert done.said()[1] == ("agent", COUNT)
    made_s = done.session.meter.synthesised_s
    played_s = done.transport.played_samples / 16_000
    assert made_s <= played_s < made_s + 0.6  # all of it, and the held word once more


def test_a_transport_that_plays_in_sight_is_believed_more_than_its_reports(call, until):
    async def during(session, transport):
        await until(session, 3.0)
        transport.report_playout(1, 10**9)

    done = call([(1.0, 1.0)], ["please count"], [ScriptedReply(COUNT)], hang_up=12.0, during=during).go()
    assert done.said()[1] == ("agent", COUNT) and done.one(ev.ReplyEnded).cut is False


def test_cuts_are_remembered_up_to_a_bound(far_call, until):
    async def during(session, transport):
        for _ in range(12):
            session.say(COUNT)
            await pass_time(2.0)
            session.interrupt()
            await pass_time(0.1)
        transport.report_playout(1, 1_000)  # forgotten
        transport.report_playout(12, 1_000)

    done = far_call((), (), during=during, hang_up=30.0).go()
    said = done.said()
    assert all(text.startswith("One two three") for _, text in said[:11]) and said[11:] == [("agent", "")]
    assert len(done.session._reply_player._cut_tracks) == 8
