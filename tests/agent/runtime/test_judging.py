"""Judges hear both sides of a session on its clock; what they say is told to the core, and they can't hurt it."""

import asyncio
import itertools

import numpy as np
import pytest

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.errors import StageError
from duologue.ports.judge import Judgement
from duologue.runtime.judging import FAILURES_MAX, IN_A_ROW_MAX, JUDGEMENTS_MAX
from duologue.runtime.session_setup import Note
from duologue.testing.memory_transport import RemoteMemoryTransport
from duologue.testing.scripted_asr import Utterance
from duologue.testing.scripted_judge import Opinion, ScriptedJudge, ScriptedJudgeStream
from duologue.testing.scripted_llm import ScriptedReply
from duologue.testing.virtual_time import pass_time

ASK = [(1.0, 1.0)]


def notes(done):
    return [note.text for note in done.all(Note) if note.source == "judge"]


def judgements(done):
    return [(event.turn, event.judge, event.over, event.backchannel, event.echo) for event in done.all(ev.TurnJudged)]


def test_a_judgement_of_the_open_turn_is_told_to_the_core(call):
    judge = ScriptedJudge([Opinion(over=0.9, delay_s=0.1), Opinion(echo=0.2, upon="begin")])
    done = call(ASK, ["what time is it"], [ScriptedReply("Five.")], judges=(judge,), hang_up=6.0).go()
    assert judgements(done) == [(1, "scripted", None, None, 0.2), (1, "scripted", 0.9, None, None)]
    stopped = done.one(ev.SpeechStopped)
    assert done.all(ev.TurnJudged)[1].at == pytest.approx(stopped.at + 0.1)
    assert stopped.until < done.all(ev.TurnJudged)[1].until <= done.all(ev.TurnJudged)[1].at
    (stream,) = judge.streams
    assert [(turn.turn, turn.ended, turn.pauses) for turn in stream.turns] == [(1, True, [stopped.until])]
    assert stream.turns[0].since == done.one(ev.SpeechStarted).since
    assert stream.context.session == done.session.id and (judge.opened, judge.closed) == (1, 1)


def test_both_sides_are_heard_on_one_clock(call):
    judge = ScriptedJudge([])
    done = call(ASK, ["what time is it"], [ScriptedReply("It is five.")], judges=(judge,), hang_up=6.0).go()
    user, agent = done.transport.recording()
    stream = judge.streams[0]
    assert len(stream.agent) > 20 and np.all(np.diff([frame.at for frame in stream.agent]) == pytest.approx(0.02))
    for frames, channel in ((stream.user, user), (stream.agent, agent)):
        loud = next(frame for frame in frames if np.any(np.abs(frame.samples) > 1500))
        sounded_at = np.flatnonzero(np.abs(channel) > 1500)[0] / done.transport.output_rate_hz
        assert loud.at - 0.03 <= sounded_at <= loud.end + 0.03
    ends = [frame.end for frame in stream.user]
    assert (ends == sorted(ends) and len(stream.user) == stream.user.maxlen) or len(stream.user) > 250


def test_where_a_remote_player_plays_frames_sound_one_after_the_other(call):
    judge = ScriptedJudge([])
    done = call(
        ASK,
        ["hi"],
        [ScriptedReply("It is five.")],
        judges=(judge,),
        transport_kind=RemoteMemoryTransport,
        hang_up=6.0,
    ).go()
    at = [frame.at for frame in judge.streams[0].agent]
    assert len(at) > 20 and np.diff(at) == pytest.approx([0.02] * (len(at) - 1))
    assert at[0] == pytest.approx(done.one(ev.ReplyHeard).at, abs=0.03)


def test_one_that_comes_too_late_is_dropped(call):
    judge = ScriptedJudge(lambda turn: [Opinion(over=0.1 * turn)])

    class Late(ScriptedJudge):
        """Tells of each turn what was asked about the one before."""

        def open(self, context):
            stream = super().open(context)
            stream.end_turn = lambda turn: stream._told.append(Judgement(turn, 1.0, over=0.5)) or stream._changed.set()
            return stream

    late = Late([], name="late")
    done = call([(1.0, 1.0), (6.0, 1.0)], ["one", "two"], [ScriptedReply("Yes.")], judges=(judge, late), hang_up=10.0)
    done.go()
    assert judgements(done) == [(1, "scripted", 0.1, None, None), (2, "scripted", 0.2, None, None)]


def test_a_voice_over_the_agent_is_a_turn_to_be_judged(call):
    judge = ScriptedJudge(lambda turn: [Opinion(backchannel=0.95, upon="begin", delay_s=0.2)] if turn == 2 else [])
    done = call([(1.0, 1.0), (5.5, 0.3)], ["tell me a story", Utterance("mhm")], judges=(judge,), hang_up=12.0).go()
    assert judgements(done) == [(2, "scripted", None, 0.95, None)]
    assert len(done.all(act.ResumePlayout)) == 1


FAILING = StageError("judge", "the model is gone")
PASSING = StageError("judge", "overloaded", retryable=True)


@pytest.mark.parametrize(
    ("error", "opened", "noted"),
    [
        (FAILING, 1, ["scripted is left out from now on: judge: the model is gone"]),
        (KeyError("logits"), 1, ["scripted is left out from now on: judge: KeyError: 'logits'"]),
        (
            PASSING,
            FAILURES_MAX,
            ["scripted was opened anew after: judge: overloaded"] * (FAILURES_MAX - 1)
            + ["scripted is left out from now on: judge: overloaded"],
        ),
    ],
)
def test_one_that_fails_is_left_out_and_the_session_goes_on(call, error, opened, noted):
    judge, other = ScriptedJudge([Opinion(upon="begin", error=error)]), ScriptedJudge([Opinion(over=0.5)], name="other")
    speech = [(1.0 + 3 * turn, 1.0) for turn in range(4)]
    done = call(speech, ["hello"] * 4, [ScriptedReply("Hi.")], judges=(judge, other), hang_up=16.0).go()
    assert done.session.error is None and len(done.said()) == 8
    assert [text[: len(wanted)] for text, wanted in zip(notes(done), noted, strict=True)] == noted
    assert judge.opened == judge.closed == opened
    assert [turn for turn, name, *_ in judgements(done) if name == "other"] == [1, 2, 3, 4]


def test_one_that_is_opened_anew_hears_of_the_open_turn(call):
    errors = iter([PASSING])
    judge = ScriptedJudge(lambda turn: [Opinion(over=0.5, upon="begin", error=next(errors, None))])
    done = call(ASK, ["hello"], [ScriptedReply("Hi.")], judges=(judge,), hang_up=6.0).go()
    assert judge.opened == 2 and [turn.turn for turn in judge.streams[1].turns] == [1]
    assert judgements(done) == [(1, "scripted", 0.5, None, None)]


class Broken(ScriptedJudge):
    """`at`: which call breaks, or `nonsense` for one that talks too much, `ends` for one that falls silent."""

    def __init__(self, at):
        super().__init__([Opinion(over=7.0)] if at == "no probability" else [])
        self.at = at

    def open(self, context):
        if self.at == "open":
            raise OSError("no such model")
        self.opened += 1
        return BrokenStream(self, context)


class BrokenStream(ScriptedJudgeStream):
    def hear_user(self, frame):
        if self._judge.at == "hear_user":
            raise OSError("no such model")
        super().hear_user(frame)

    def hear_agent(self, frame):
        if self._judge.at == "hear_agent":
            raise OSError("no such model")
        super().hear_agent(frame)

    async def __anext__(self):
        if self._judge.at in ("floods", "chatters") and self.turns:
            await pass_time(0.0 if self._judge.at == "floods" else 0.00025)
            return Judgement(self.turns[-1].turn, 1.0, over=0.5)
        if self._judge.at in ("floods", "chatters"):
            await pass_time(0.02)
            return Judgement(0, 1.0, over=0.5)
        if self._judge.at == "ends":
            raise StopAsyncIteration
        return await super().__anext__()


@pytest.mark.parametrize(
    ("at", "noted"),
    [
        ("open", "judge: OSError: no such model"),
        ("hear_user", "judge: OSError: no such model"),
        ("hear_agent", "judge: OSError: no such model"),
        ("no probability", "7.0 is no probability"),
        ("floods", f"more than {IN_A_ROW_MAX} judgements between two frames"),
        ("chatters", f"more than {JUDGEMENTS_MAX} judgements of one turn"),
        ("ends", "it ended by itself"),
    ],
)
def test_one_that_breaks_its_contract_is_left_out(call, at, noted):
    judge = Broken(at)
    done = call(ASK, ["hello"], [ScriptedReply("Hi.")], judges=(judge,), hang_up=6.0).go()
    assert done.session.error is None and done.said() == [("user", "hello"), ("agent", "Hi.")]
    (text,) = notes(done)
    assert text.startswith(f"scripted is left out from now on: {noted}")
    assert judge.closed == judge.opened


def test_one_that_holds_the_loop_is_left_out(call):
    class Heavy(ScriptedJudge):
        def open(self, context):
            stream, frames = super().open(context), itertools.count(1)
            hear = stream.hear_user

            def slowly(frame):
                hear(frame)
                if next(frames) > 50:  # as if 6 ms had passed in this call
                    asyncio.get_running_loop()._clock.now += 0.006

            stream.hear_user = slowly
            return stream

    done = call(hang_up=4.0)
    done.judges = (Heavy([]),)
    done.go()
    assert done.session.error is None
    assert notes(done)[-1].startswith("scripted is left out from now on: it held the event loop 11 times")
    assert any("held the event loop for 6 ms" in text for text in notes(done))
