"""A session that version 0.1.0 wrote down goes on in this one. The snapshots are as that version wrote them."""

import copy

import pytest

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.conversation import Conversation
from duologue.core.history import AgentItem, CallItem, OutputItem, UserItem
from duologue.core.invariant import invariant
from duologue.core.machines import Phase, ReplyState, TurnState
from duologue.core.policy import Policy
from duologue.core.state import Timer

QUESTION = {"turn": 1, "text": "What time is it?", "images": []}
TEXT = "It is five o'clock. And the sun is out."
LOOKED_UP = {
    "reply": 1, "text": "Let me look. It is five.", "cut": False,
    "rounds": [{"at_char": 13, "calls": [{"call_id": "a", "name": "clock", "arguments": "{}"}],
                "results": [["a", "17:00"]]}],
}  # fmt: skip
QUIET = {
    "phase": "listening", "now": 3.0, "turns": 1, "replies": 1, "voice": False,
    "timers": {"session": 3600.0, "idle": 33.0}, "turn": None, "reply": None, "cutting": [], "orphans": [],
    "wishes": [], "images": [], "pauses": [], "alarms": [], "language": None, "answered_turn": 1,
    "answered_until": 1.45, "automatic": True, "reply_automatically": True, "idle_prompts_said": 0, "fillers_said": 0,
    "closing": "", "pack": "test", "next_pack": None, "summarising": 0, "summary_outdated": False,
}  # fmt: skip
TURN = {
    "number": 2, "since": 2.95, "by_hand": False, "text": "", "evidence": "", "prefix": "", "merged": 0,
    "language": None, "mark": 0, "final_mark": 0, "heard_mark": 0, "voice_since": 2.95, "voice_until": 2.95,
    "voiced_s": 0.0, "over": False, "alarm": True, "failed": "", "speculations": 0, "owed": 0,
}  # fmt: skip
REPLY = {
    "number": 1, "turn": 1, "script": None, "basis": "what time is it", "released": True, "held": False, "heard": True,
    "generated": False, "failed": "", "cancelled": "", "interruptible": True, "in_history": True, "apology": False,
    "instructions": None, "text": TEXT, "heard_text": "", "rest_s": None, "filler_said": False, "calls": [],
    "rounds": [],
}  # fmt: skip
NEAR = {"call_id": "near", "name": "clock", "arguments": "{}", "timeout_s": 20.0, "far_side": False,
        "cancellable": True, "deadline": 22.1, "output": None}  # fmt: skip
FAR = {**NEAR, "call_id": "far", "name": "camera", "far_side": True}
AWAITED = {"session": 3600.0, "unheard": 21.85, "filler": 5.85}
DINNER = {"kind": "say", "text": "Dinner is ready.", "turn": 0, "images": [], "instructions": None,
          "interruptible": True, "in_history": False}  # fmt: skip

WRITTEN = {
    "idle": {**QUIET, "next_pack": ["other", "Be other."]},
    "agent speaking": {**QUIET, "phase": "agent_speaking", "now": 2.5, "timers": AWAITED, "reply": REPLY},
    "thinking": {**QUIET, "phase": "thinking", "now": 1.9, "timers": AWAITED, "reply": {**REPLY, "heard": False}},
    "parked": {
        **QUIET, "phase": "agent_speaking", "now": 3.5, "turns": 2, "reply": REPLY, "alarms": [3.4],
        "timers": {**AWAITED, "turn": 52.95, "final": 5.4},
        "turn": {**TURN, "mark": 1, "voice_until": 3.15, "voiced_s": 0.2},
    },
    "overlap held": {
        **QUIET, "phase": "overlap", "now": 3.1, "turns": 2, "voice": True, "reply": {**REPLY, "held": True},
        "timers": {**AWAITED, "turn": 52.95, "voice": 4.05}, "turn": TURN, "wishes": [DINNER],
    },
    "overlap paused": {
        **QUIET, "phase": "overlap", "now": 3.2, "turns": 2, "reply": {**REPLY, "held": True},
        "timers": {**AWAITED, "turn": 52.95, "verdict": 3.4},
        "turn": {**TURN, "mark": 1, "voice_until": 3.15, "voiced_s": 0.2},
    },
    "tools running": {
        **QUIET, "phase": "agent_speaking", "now": 2.2, "timers": {**AWAITED, "filler": 3.3},
        "reply": {**REPLY, "generated": True, "text": "Let me look. ", "calls": [NEAR, FAR]},
        "orphans": [{**NEAR, "call_id": "old", "cancellable": False, "deadline": 9.0}],
    },
    "closing": {
        **QUIET, "phase": "agent_speaking", "now": 2.5, "reply": REPLY, "closing": "bye",
        "timers": {"unheard": 21.85, "filler": 5.85, "close": 17.5},
    },
    "closed": {**QUIET, "phase": "closed", "timers": {}, "closing": "bye"},
    "speculative": {
        **QUIET, "phase": "endpointing", "now": 1.6, "timers": {"session": 3600.0, "turn": 50.95, "endpoint": 1.85},
        "turn": {**TURN, "number": 1, "since": 0.95, "text": "What time is it?", "evidence": "What time is it?",
                 "mark": 1, "final_mark": 1, "heard_mark": 1, "voice_since": 0.95, "voice_until": 1.45,
                 "voiced_s": 0.5, "alarm": False, "speculations": 1},
        "reply": {**REPLY, "released": False, "heard": False, "text": ""}, "answered_turn": 0, "answered_until": 0.0,
    },
    "committed": {
        **QUIET, "phase": "endpointing", "now": 2.0, "replies": 0, "timers": {"session": 3600.0, "final": 4.0},
        "automatic": False, "reply_automatically": False, "answered_turn": 0, "answered_until": 0.0,
        "turn": {**TURN, "number": 1, "since": 1.0, "by_hand": True, "text": "What time is it", "mark": 1,
                 "evidence": "What time is it", "voice_since": 1.0, "voice_until": 1.0, "over": True, "alarm": False},
    },
    "speaking while a cut is awaited": {
        **QUIET, "phase": "user_speaking", "now": 3.3, "turns": 2, "voice": True,
        "timers": {"session": 3600.0, "turn": 52.95, "cut": 4.3},
        "turn": {**TURN, "text": "no stop", "evidence": "no stop", "alarm": False},
        "cutting": [{**REPLY, "held": True, "cancelled": "interrupted"}],
    },
}  # fmt: skip


def restored(name, items=(QUESTION,)):
    state = copy.deepcopy(WRITTEN[name])
    snapshot = {"state": state, "system": "Be kind.", "summary": "", "items": [copy.deepcopy(item) for item in items]}
    return Conversation.restore(Policy(), snapshot)


@pytest.mark.parametrize("name", WRITTEN)
def test_it_is_legal_now_and_can_be_written_and_moved_again(name):
    conversation = restored(name)
    assert invariant(conversation.core) == []
    again = Conversation.restore(Policy(), conversation.snapshot())
    assert again.snapshot() == conversation.snapshot()
    if conversation.phase is not Phase.CLOSED:
        again.take_over()
        assert invariant(again.core) == []


@pytest.mark.parametrize(
    ("name", "phase", "turn", "reply"),
    [
        ("idle", Phase.LISTENING, TurnState.IDLE, ReplyState.NONE),
        ("agent speaking", Phase.AGENT_SPEAKING, TurnState.IDLE, ReplyState.HEARD),
        ("thinking", Phase.THINKING, TurnState.IDLE, ReplyState.WAITING),
        ("parked", Phase.AGENT_SPEAKING, TurnState.PARKED, ReplyState.HEARD),
        ("overlap held", Phase.OVERLAP, TurnState.SPEAKING, ReplyState.HELD),
        ("overlap paused", Phase.OVERLAP, TurnState.PAUSING, ReplyState.HELD),
        ("closed", Phase.CLOSED, TurnState.IDLE, ReplyState.NONE),
        ("speculative", Phase.ENDPOINTING, TurnState.PAUSING, ReplyState.SPECULATIVE),
        ("committed", Phase.ENDPOINTING, TurnState.OVER, ReplyState.NONE),
        ("speaking while a cut is awaited", Phase.USER_SPEAKING, TurnState.SPEAKING, ReplyState.NONE),
    ],
)
def test_its_phase_is_told_by_the_two_machines(name, phase, turn, reply):
    core = restored(name).core
    assert (core.phase, core.turn_state, core.reply_state) == (phase, turn, reply)


def test_a_reply_with_tools_is_items_now_and_the_persona_to_come_still_comes():
    talk = restored("idle", (QUESTION, LOOKED_UP))
    assert talk.history == (
        UserItem(1, "What time is it?"),
        AgentItem(1, "Let me look."),
        CallItem("a", "clock", "{}", 1),
        OutputItem("a", "17:00"),
        AgentItem(1, "It is five.", start=13),
    )
    assert talk.persona == "test"
    assert talk.feed(ev.SayRequested(4.0, "Hello.")) == [act.BeginReply(2, 0, text="Hello.", persona="other")]
    assert talk.prompt(2)[0].text == "Be other."


def test_a_late_word_still_stops_the_agent():
    talk = restored("parked")
    assert talk.feed(ev.FinalTranscript(3.6, 2, 1, "Stop."))[-1] == act.CancelReply(1, "interrupted")


def test_a_held_agent_goes_on_and_says_what_waits_afterwards():
    talk = restored("overlap held")
    talk.feed(ev.SpeechStopped(3.3, until=3.25))
    assert act.ResumePlayout(1) in talk.feed(ev.FinalTranscript(3.4, 2, 1, "mm-hm"))
    begun = talk.feed(ev.ReplyEnded(5.0, 1, TEXT))[-1]
    assert (begun.text, begun.options.in_history) == ("Dinner is ready.", False)


def test_a_held_agent_goes_on_when_the_verdict_is_overdue():
    assert act.ResumePlayout(1) in restored("overlap paused").advance(3.4)


def test_tools_of_ours_are_waited_for_and_those_of_the_caller_s_side_end_the_reply():
    talk = restored("tools running")
    assert talk.deadline == 3.3
    assert talk.feed(ev.ToolReturned(2.5, "near", "17:00")) == [act.FinishReply(1)]
    talk.feed(ev.ReplyEnded(3.0, 1, "Let me look."))
    talk.feed(ev.ToolReturned(9.0, "far", "a face"))
    talk.feed(ev.ToolReturned(9.5, "old", "done"))
    assert [item.id for item in talk.history] == [
        "turn_1", "reply_1", "call_near", "call_far", "output_near", "output_far", "call_old", "output_old",
    ]  # fmt: skip


def test_a_session_that_was_closing_closes():
    talk = restored("closing")
    assert talk.feed(ev.ReplyEnded(3.0, 1, TEXT))[-1] == act.CloseSession("bye")


def test_a_speculative_reply_is_released_when_its_turn_is_over():
    assert restored("speculative", ()).advance(1.85)[-1] == act.ReleaseReply(1)


def test_a_session_by_hand_stays_so_under_the_policy_it_had():
    talk = restored("committed", ())
    assert (talk.policy.endpointing.mode, talk.policy.reply.automatic) == ("manual", False)
    assert talk.feed(ev.FinalTranscript(2.1, 1, 1, "What time is it?"))[-1] == act.TurnDismissed(
        1, "no reply wanted", "What time is it?"
    )


def test_a_cut_is_confirmed():
    talk = restored("speaking while a cut is awaited")
    assert talk.core.state.timers[Timer.CUT] == 4.3
    assert talk.feed(ev.ReplyEnded(3.4, 1, "It is", cut=True)) == [
        act.TruncateHistory(1, "It is"),
        act.ReplyOver(1, "", "It is", "interrupted"),
    ]


@pytest.mark.parametrize(
    "break_it",
    [
        lambda data: data["state"].pop("phase"),
        lambda data: data.update(state=None),
        lambda data: data.update(items=[{"reply": 1}]),
        lambda data: data["state"].update(phase="asleep", reply=REPLY, turn={**TURN, "over": True}),
    ],
)
def test_what_it_never_wrote_is_refused(break_it):
    data = {"state": copy.deepcopy(QUIET), "system": "", "summary": "", "items": [QUESTION]}
    break_it(data)
    with pytest.raises(ValueError, match="not a snapshot of a conversation"):
        Conversation.restore(Policy(), data)
