"""A caller who plays the agent's voice out of our sight: what was heard is what the remote player reports."""

import math
import random
from contextlib import suppress
from itertools import pairwise

import pytest

from duologue import Note, Spoken
from duologue.core import actions as act
from duologue.core import events as ev
from duologue.errors import ProtocolError
from duologue.runtime.reply_player import REPORT_NOTES_MAX
from duologue.testing.memory_transport import RemoteMemoryTransport
from duologue.testing.scripted_llm import ScriptedLlm, ScriptedReply
from duologue.testing.scripted_tts import ScriptedTts
from duologue.testing.virtual_time import pass_time

# "One two three. Four five six. …": words of known length, 60 ms a letter.
COUNT = "One two three four five. Six seven eight nine ten. Eleven twelve thirteen fourteen. Fifteen and so on."
TTS = {"first_audio_s": 0.05, "real_time_factor": 0.01}
RATE_HZ = 24_000  # of the sessions here
BARGE_IN = [(1.0, 1.0), (4.0, 1.5)]
TURNS = ["please count", "wait what about tomorrow"]


@pytest.fixture
def remote_call(call):
    def make(speech=((1.0, 1.0),), turns=("please count",), can_hold=False, report_every_s=None, **more):
        replies = more.pop("replies", [ScriptedReply(COUNT, token_s=0.001), ScriptedReply("Fine.")])
        more.setdefault("hang_up", 16.0)
        options = {"can_hold": can_hold, "report_every_s": report_every_s, **more.pop("transport_options", {})}
        return call(
            speech,
            turns,
            replies,
            tts=ScriptedTts(**TTS),
            transport_kind=RemoteMemoryTransport,
            transport_options=options,
            **more,
        )

    return make


async def report_until(session, transport, end, every_s=0.2, lag_s=0.0):
    """What a well-behaved player does: it says all the time how much of the reply it has played; late by `lag_s`."""
    while session.now() < end and not session.closed:
        reply = session.conversation.reply
        if reply:
            transport.report_playout(reply, max(0, transport.played_of(reply) - int(lag_s * RATE_HZ)))
        await pass_time(every_s)


def dropped(done):
    return [note.text for note in done.all(Note) if note.source == "transport"]


def told(done, reply):
    """What was told word by word."""
    return "".join(spoken.text for spoken in done.all(Spoken) if spoken.reply == reply)


def test_a_player_that_reports_decides_what_was_heard(remote_call):
    done = remote_call(report_every_s=0.2).go()
    assert done.said()[1] == ("agent", COUNT) and told(done, 1) == COUNT and dropped(done) == []
    ended = done.times[done.events.index(done.one(ev.ReplyEnded))]
    assert ended > 2.5 + 75 * 0.06  # not before it was played, however early it was sent


def test_a_cut_is_where_the_player_says_it_was(remote_call, until):
    async def during(session, transport):
        await report_until(session, transport, 4.1, lag_s=0.9)
        await until(session, 5.0)
        transport.report_playout(1, int(1.0 * RATE_HZ))  # its last word on the reply that was cut

    done = remote_call(BARGE_IN, TURNS, during=during).go()
    assert done.one(act.CancelReply).reason == "interrupted"
    assert done.said()[1] == ("agent", "One two three four")
    assert [told.heard for told in done.all(act.TruncateHistory)][-1].strip() == "One two three four"


def test_a_player_that_falls_silent_at_a_cut_is_taken_at_its_last_report(remote_call):
    async def during(session, transport):
        await report_until(session, transport, 3.9)

    done = remote_call(BARGE_IN, TURNS, during=during).go()
    _, (_, heard), *_ = done.said()
    assert COUNT.startswith(heard) and 10 < len(heard) < len(COUNT)
    assert done.said()[-1] == ("agent", "Fine.")


def test_one_that_never_reports_is_taken_to_play_in_real_time(remote_call):
    done = remote_call(BARGE_IN, TURNS).go()
    cut = done.one(act.CancelReply)
    answered = done.times[done.events.index(done.all(act.BeginReply)[-1])]
    assert answered - done.times[done.events.index(cut)] < 2.0  # nobody waits for a report that never comes
    heard = done.said()[1][1]
    truth = done.transport.played_samples  # all of both replies; of the first about a second and a half
    assert heard.startswith("One two three four") and len(heard) < 50 and truth
    assert told(done, 1).strip() == heard


def test_one_that_reports_only_the_cut_corrects_what_was_guessed(remote_call, until):
    async def during(session, transport):
        await until(session, 6.5)
        transport.report_playout(1, int(0.4 * RATE_HZ))
        await until(session, 7.0)
        transport.report_playout(1, int(0.6 * RATE_HZ))  # and yet a little more
        transport.report_playout(1, int(0.5 * RATE_HZ))  # less is not true any more

    done = remote_call(BARGE_IN, TURNS, during=during).go()
    assert [told.heard for told in done.all(act.TruncateHistory)][1:] == ["One two", "One two three"]
    assert done.said()[1] == ("agent", "One two three")
    assert dropped(done) == ["dropped: a report of playout: reply 1 was played for 14400 samples already, not 12000"]


def test_a_reply_that_was_thought_over_too_early_is_corrected_upwards(remote_call, until):
    async def during(session, transport):
        await until(session, 3.5)
        transport.report_playout(1, int(0.4 * RATE_HZ))  # and for more than three seconds no word
        await until(session, 9.0)
        assert session.conversation.history[-1].text == "One two"
        transport.report_playout(1, int(1.0 * RATE_HZ))

    done = remote_call(during=during).go()
    assert done.said()[1] == ("agent", "One two three four")


@pytest.mark.parametrize(
    ("reply", "samples", "why"),
    [
        (77, 100, "reply 77 is not played, or too long ago"),
        (1, 100, "reply 1 was played for 116640 samples already, not 100"),
        (1, 10**9, "1000000000 samples of reply 1 can't be played, 116640 were sent"),
        (1, -1, "-1 samples of reply 1, expected whole numbers that are not negative"),
        (1, 5.5, "5.5 samples of reply 1, expected"),
        (1, True, "True samples of reply 1, expected"),
        (1, None, "None samples of reply 1, expected"),
        ("1", 100, "100 samples of reply '1', expected"),
    ],
)
def test_a_report_that_cannot_be_true_is_noted_and_dropped(remote_call, until, reply, samples, why):
    async def during(session, transport):
        await until(session, 12.0)
        transport.report_playout(reply, samples)

    done = remote_call(during=during).go()
    assert done.said()[1] == ("agent", COUNT) and done.session.error is None
    (note,) = dropped(done)
    assert note.startswith(f"dropped: a report of playout: {why}")


def test_a_player_that_counts_wrong_all_the_time_fills_no_log(remote_call, until):
    async def during(session, transport):
        for _ in range(500):
            transport.report_playout(77, 100)

    notes = dropped(remote_call(during=during).go())
    assert len(notes) == REPORT_NOTES_MAX and notes[-1].endswith("no more of these is noted")


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_reported_the_session_lives_and_what_was_heard_is_part_of_the_text(remote_call, seed):
    rng = random.Random(seed)

    async def during(session, transport):
        while session.now() < 14.0:
            await pass_time(rng.expovariate(10))
            wild = [-5, 0, 10**12, 2.5, None, "7", True, rng.randrange(200_000)]
            reply = rng.choice([0, 1, 2, 3, session.conversation.reply, -1, None, 10**9])
            samples = rng.choice([*wild, transport.played_of(1), transport.played_of(2)])
            transport.report_playout(reply, samples)
            with suppress(ProtocolError):
                session.truncate_reply(rng.choice([1, 2, 9]), rng.choice([-1, 0, 300, 1e9, math.nan, "x"]))

    done = remote_call([(1.0, 1.0), (4.0, 1.5), (8.0, 0.4)], [*TURNS, "mm-hm"], can_hold=seed % 2 == 0, during=during)
    done.replies = done.llm = ScriptedLlm([ScriptedReply(COUNT, token_s=0.001)], cycle=True)
    done.go()
    assert done.session.error is None
    assert all(COUNT.startswith(text) for who, text in done.said() if who == "agent")


@pytest.mark.parametrize("can_hold", [False, True])
@pytest.mark.parametrize("report_every_s", [None, 0.2])
def test_a_backchannel_costs_a_gap_and_the_reply_goes_on(remote_call, can_hold, report_every_s):
    options = {"can_hold": can_hold, "report_every_s": report_every_s}
    done = remote_call([(1.0, 1.0), (4.0, 0.4)], ["please count", "mm-hm"], **options).go()
    assert done.one(act.ResumePlayout) and done.all(act.CancelReply) == []
    assert done.said()[1] == ("agent", COUNT) and told(done, 1) == COUNT and dropped(done) == []
    made_s = done.session.meter.synthesised_s
    again_s = 0.0 if can_hold else 0.6  # the held word once more
    assert made_s - 1e-6 <= done.transport.played_s <= made_s + again_s + 1e-6


def test_a_transport_that_plays_in_sight_is_believed_more_than_reports(call, until):
    async def during(session, transport):
        await until(session, 3.0)
        session.played(1, 10**9)

    done = call([(1.0, 1.0)], ["please count"], [ScriptedReply(COUNT)], hang_up=12.0, during=during).go()
    assert done.said()[1] == ("agent", COUNT) and done.one(ev.ReplyEnded).cut is False
    assert dropped(done) == ["dropped: a report of playout: the transport plays in our sight"]


def test_replies_that_are_over_are_remembered_up_to_a_bound(remote_call, until):
    async def during(session, transport):
        for _ in range(36):
            session.say(COUNT)
            await pass_time(1.5)
            session.interrupt()
            await pass_time(0.1)
        transport.report_playout(1, 1_000)  # forgotten
        transport.report_playout(36, 1_000)
        with pytest.raises(ProtocolError, match="reply 4 can't be cut: nothing of it was played, or it is too long ag"):
            session.truncate_reply(4, 100)
        session.truncate_reply(5, 700)

    done = remote_call((), (), during=during, hang_up=70.0).go()
    said = [text for _, text in done.said()]
    assert said[4] == "One two three" and said[-1] == ""
    assert all(text.startswith("One two three four") for text in [*said[:4], *said[5:-1]])
    assert len(done.session._reply_player._ended) == 32 and len(dropped(done)) == 1


# --- a player that cut by itself ------------------------------------------------------------------------------------


def test_a_reply_that_is_over_is_cut_to_the_word_afterwards(call, until):
    async def during(session, transport):
        await until(session, 9.0)
        assert session.conversation.history[-1].text == COUNT
        session.truncate_reply(1, 1000)

    done = call([(1.0, 1.0)], ["please count"], [ScriptedReply(COUNT)], hang_up=12.0, during=during).go()
    assert done.said()[1] == ("agent", "One two three four")
    assert done.one(ev.HeardCorrected).heard == "One two three four"


def test_what_a_hold_repeated_is_in_it_once(remote_call, until):
    heard = {}

    async def during(session, transport):
        await until(session, 12.0)
        whole_ms = transport.played_of(1) / RATE_HZ * 1000
        player = session._reply_player
        for at_ms in range(0, int(whole_ms), 20):
            heard[at_ms] = player.heard_at(1, at_ms * RATE_HZ // 1000)
        session.truncate_reply(1, whole_ms + 250)
        assert session.conversation.history[1].text == COUNT
        with pytest.raises(ProtocolError, match=rf"reply 1 is {whole_ms:.0f} ms long, it can't be cut at \d+ ms"):
            session.truncate_reply(1, whole_ms + 251)

    done = remote_call([(1.0, 1.0), (4.0, 0.4)], ["please count", "mm-hm"], report_every_s=0.1, during=during).go()
    assert done.one(act.ResumePlayout)
    texts = list(heard.values())
    assert all(COUNT.startswith(text) for text in texts) and texts == sorted(texts, key=len)
    words = [len(text.split()) for text in texts]
    assert max(after - before for before, after in pairwise(words)) == 1


def test_a_reply_that_is_played_is_silenced_where_its_player_cut_it(call, until):
    async def during(session, transport):
        await until(session, 4.5)
        session.truncate_reply(1, 1000)
        assert session.conversation.reply == 0

    done = call([(1.0, 1.0)], ["please count"], [ScriptedReply(COUNT)], hang_up=12.0, during=during).go()
    assert done.said()[1] == ("agent", "One two three four") and done.one(ev.ReplyEnded).cut
    assert not done.audible(4.6, 12.0)


def test_a_cut_that_the_core_waits_to_hear_of_is_confirmed_by_it(remote_call, until):
    async def during(session, transport):
        await report_until(session, transport, 4.1, lag_s=0.9)
        await until(session, 4.6)
        session.truncate_reply(1, 1000)

    done = remote_call(BARGE_IN, TURNS, during=during).go()
    assert [event.heard for event in done.all(ev.ReplyEnded) if event.reply == 1] == ["One two three four"]
    assert done.said()[1] == ("agent", "One two three four")


@pytest.mark.parametrize("audio_ms", [-1, math.nan, math.inf, "soon", None])
def test_a_place_that_is_none_is_refused(call, until, audio_ms):
    async def during(session, transport):
        await until(session, 9.0)
        with pytest.raises(ProtocolError, match="a reply can't be cut at"):
            session.truncate_reply(1, audio_ms)

    done = call([(1.0, 1.0)], ["please count"], [ScriptedReply(COUNT)], hang_up=12.0, during=during).go()
    assert done.said()[1] == ("agent", COUNT)
