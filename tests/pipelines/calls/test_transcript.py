"""Events in, turns and replies out; times are literal."""

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.runtime.session_setup import Note, SessionEvent
from duologue_pipelines.calls import transcript as module
from duologue_pipelines.calls.transcript import Transcript


def taken(*told: tuple[float, SessionEvent]) -> Transcript:
    transcript = Transcript()
    for now, event in told:
        transcript.take_event(event, now)
    return transcript


def test_a_turn_and_its_reply_are_put_together() -> None:
    transcript = taken(
        (1.0, act.OpenRecognition(1, 0.9)),
        (1.5, ev.PartialTranscript(1.5, 1, "when does", 1)),
        (2.0, ev.SpeechStopped(2.0, 1.95)),
        (2.1, act.BeginReply(1, 1, speculative=True)),
        (2.2, ev.ReplyText(2.2, 1, "At nine. ")),
        (2.4, act.TurnEnded(1, "when does it open")),
        (2.4, act.ReleaseReply(1)),
        (2.5, ev.ReplyHeard(2.5, 1)),
        (2.6, ev.ReplyText(2.6, 1, "Every day.")),
        (4.0, ev.ReplyEnded(4.0, 1, "At nine. Every day.")),
    )
    assert transcript.data() == {
        "version": 1,
        "seconds": 4.0,
        "turns": [
            {"who": "user", "number": 1, "start": 0.9, "end": 1.95, "text": "when does it open", "outcome": "answered",
             "merged": 0},
            {"who": "agent", "number": 1, "turn": 1, "begun": 2.1, "speculative": True, "released": True, "start": 2.5,
             "end": 4.0, "text": "At nine. Every day.", "heard": "At nine. Every day.", "cut": "", "holds": [],
             "filler": "", "filler_at": None, "answer_at": None, "steps": {}},
        ],
    }  # fmt: skip
    assert transcript.reply_at(3.0) is transcript.replies[1]
    assert transcript.reply_at(2.4) is None and transcript.reply_at(4.0) is None


def test_an_interrupted_reply_keeps_what_was_heard_its_hold_and_why_it_was_cut() -> None:
    transcript = taken(
        (1.0, act.BeginReply(2, 1)),
        (1.1, ev.ReplyText(1.1, 2, "Once upon a time.")),
        (1.2, ev.ReplyHeard(1.2, 2)),
        (2.0, act.HoldPlayout(2)),
        (2.5, act.ResumePlayout(2)),
        (3.0, act.HoldPlayout(2)),
        (3.3, act.CancelReply(2, "interrupted")),
        (3.3, ev.ReplyEnded(3.3, 2, "Once upon", cut=True)),
        (3.9, ev.HeardCorrected(3.9, 2, "Once")),
    )
    reply = transcript.replies[2]
    assert (reply.heard, reply.cut, reply.holds) == ("Once", "interrupted", [(2.0, 2.5), (3.0, 3.3)])
    open_hold = taken(
        (1.0, act.BeginReply(1, 0)), (2.0, act.HoldPlayout(1)), (2.5, ev.ReplyEnded(2.5, 1, "", cut=True))
    )
    assert open_hold.replies[1].holds == [(2.0, 2.5)] and open_hold.replies[1].cut == "cut"


def test_a_dismissed_turn_says_why() -> None:
    transcript = taken(
        (1.0, act.OpenRecognition(1, 1.0)),
        (1.2, ev.FinalTranscript(1.2, 1, 1, "mhm")),
        (1.3, act.TurnDismissed(1, "backchannel")),
        (2.0, act.TurnDismissed(2, "noise", "")),
    )
    assert (transcript.turns[1].text, transcript.turns[1].outcome) == ("mhm", "backchannel")
    assert transcript.turns[2].outcome == "noise" and transcript.turns[2].start == 2.0


def test_what_belongs_to_an_unknown_reply_is_left_alone() -> None:
    transcript = taken(
        (1.0, ev.ReplyText(1.0, 9, "x")), (1.0, ev.ReplyHeard(1.0, 9)), (1.0, ev.ReplyEnded(1.0, 9, "x")),
        (1.0, act.ReleaseReply(9)), (1.0, act.HoldPlayout(9)), (1.0, act.ResumePlayout(9)),
        (1.0, act.CancelReply(9, "x")), (1.0, ev.HeardCorrected(1.0, 9, "y")), (1.0, ev.TurnCommitted(1.0)),
    )  # fmt: skip
    assert transcript.data()["turns"] == []


def test_it_is_bounded() -> None:
    most = module.ENTRIES_MAX
    transcript = Transcript()
    for number in range(most + 10):
        transcript.take_event(act.BeginReply(number, 0), float(number))
        transcript.take_event(Note(float(number), "llm", f"note {number}"), float(number))
    assert len(transcript.replies) == most == len(transcript.notes)
    assert 9 not in transcript.replies and transcript.notes[0].text == "note 10"
