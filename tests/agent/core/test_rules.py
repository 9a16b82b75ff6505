"""Each row of the table of joint rules: the way there, what happens, and where both machines are afterwards."""

import pytest

from duologue.core import events as ev
from duologue.core.floor import RULES, Happening, Holder, rule_for
from duologue.core.invariant import invariant
from duologue.core.machines import TurnState
from duologue.core.state import Timer
from duologue.errors import ProtocolError

ANSWER = "It is five o'clock. And the sun is out."


def told(talk, *events):
    talk.feed(*events)
    return talk


def waited(talk, until):
    talk.advance(until)
    return talk


# The shortest ways to each pair: the turn's state, and whether the agent has the floor.
WAYS = {
    "idle": lambda begin: begin(),
    "speaking": lambda begin: begin().voice(),
    "pausing": lambda begin: begin().pause("I would like to"),
    "over": lambda begin: told(
        begin(), ev.TurnOpened(1.0), ev.PartialTranscript(1.5, 1, "So", 1), ev.TurnCommitted(2.0)
    ),
    "idle, agent": lambda begin: begin().answering(),
    "speaking, agent": lambda begin: begin().talked_over(),
    "pausing, agent": lambda begin: told(begin().talked_over(), ev.SpeechStopped(3.1, until=3.05)),
    "over, agent": lambda begin: told(begin().answering(), ev.TurnOpened(3.0), ev.TurnCommitted(3.1)),
    "parked, agent": lambda begin: begin().parked(),
}
# Where the shortest way will not do.
OTHER_WAYS = {
    (Happening.VOICE_ON, "speaking"): lambda begin: told(begin(), ev.TurnOpened(1.0)),
    (Happening.VOICE_ON, "speaking, agent"): lambda begin: told(begin().answering(), ev.TurnOpened(3.0)),
    (Happening.VOICE_OFF, "idle"): lambda begin: begin(mode="manual").voice(),
    (Happening.VOICE_OFF, "over"): lambda begin: told(begin().voice(), ev.TurnCommitted(1.5)),
    (Happening.VOICE_OFF, "idle, agent"): lambda begin: told(begin().talked_over(), ev.TurnCleared(3.1)),
    (Happening.VOICE_OFF, "over, agent"): lambda begin: told(
        begin().answering(), ev.TurnOpened(3.0), ev.SpeechStarted(3.1, since=3.05), ev.TurnCommitted(3.2)
    ),
    (Happening.FINAL_OVERDUE, "pausing"): lambda begin: told(
        (talk := begin().parked()), talk.policy_of(3.5, patience=9.0), ev.ReplyEnded(3.6, 1, ANSWER)
    ),
    (Happening.TURN_BOUND, "speaking"): lambda begin: begin(turn_s_max=2.0).voice(),
    (Happening.TURN_BOUND, "pausing"): lambda begin: begin(turn_s_max=2.0, patience=9.0).pause(),
    (Happening.TURN_BOUND, "over"): lambda begin: waited(
        told(begin(turn_s_max=2.0).voice(), ev.SpeechStopped(1.5, until=1.45)), 2.1
    ),
    (Happening.TURN_BOUND, "speaking, agent"): lambda begin: begin(turn_s_max=0.5, speculate=False).talked_over(),
    (Happening.TURN_BOUND, "pausing, agent"): lambda begin: told(
        begin(turn_s_max=0.6, verdict_s=2.0).talked_over(), ev.SpeechStopped(3.1, until=3.05)
    ),
    (Happening.TURN_BOUND, "parked, agent"): lambda begin: begin(turn_s_max=0.6).parked(),
    (Happening.TURN_BOUND, "over, agent"): lambda begin: told(
        begin(unheard_s_max=90.0).answering(), ev.TurnOpened(3.0), ev.TurnCommitted(3.1)
    ).moved_elsewhere(),
}


def voice(talk):
    talk.state.voice = True  # as a snapshot may have it
    return talk


OTHER_WAYS[Happening.VOICE_OFF, "parked, agent"] = lambda begin: voice(begin().parked())


DOES = {
    Happening.VOICE_ON: lambda talk, at: talk.feed(ev.SpeechStarted(at, since=at)),
    Happening.VOICE_OFF: lambda talk, at: talk.feed(ev.SpeechStopped(at, until=at)),
    Happening.WORDS: lambda talk, at: talk.feed(
        ev.PartialTranscript(at, talk.conversation.turn, "what about me then", 4)
    ),
    Happening.FINAL_OVERDUE: lambda talk, at: talk.advance(talk.state.timers[Timer.FINAL]),
    Happening.TURN_BOUND: lambda talk, at: talk.advance(talk.state.timers[Timer.TURN]),
    Happening.OPENED: lambda talk, at: talk.feed(ev.TurnOpened(at)),
    Happening.COMMITTED: lambda talk, at: talk.feed(ev.TurnCommitted(at)),
    Happening.CLEARED: lambda talk, at: talk.feed(ev.TurnCleared(at)),
    Happening.TYPED: lambda talk, at: talk.feed(ev.TypedTurn(at, "typed")),
    Happening.STOPPED: lambda talk, at: talk.feed(ev.InterruptRequested(at)),
    Happening.REPLY_ENDED: lambda talk, at: talk.feed(ev.ReplyEnded(at, talk.conversation.reply, ANSWER)),
    Happening.CLOSING: lambda talk, at: talk.feed(ev.CloseRequested(at, "bye")),
}
# The turn and the reply afterwards. A reply that is being cut is none.
THEN = {
    Happening.VOICE_ON: {
        "idle": "speaking, none",
        "speaking": "speaking, none",
        "pausing": "speaking, none",
        "over": "speaking, none",
        "idle, agent": "speaking, held",
        "speaking, agent": "speaking, heard",
        "pausing, agent": "speaking, held",
        "over, agent": "over, heard",
        "parked, agent": "speaking, held",
    },
    Happening.VOICE_OFF: {
        "idle": "idle, none",
        "speaking": "pausing, none",
        "over": "over, none",
        "idle, agent": "idle, heard",
        "speaking, agent": "pausing, held",
        "over, agent": "over, heard",
        "parked, agent": "parked, heard",
    },
    Happening.WORDS: {
        "speaking": "speaking, none",
        "pausing": "pausing, speculative",
        "over": "over, none",
        "speaking, agent": "speaking, none",
        "pausing, agent": "pausing, none",
        "over, agent": "over, heard",
        "parked, agent": "pausing, none",
    },
    Happening.FINAL_OVERDUE: {
        "pausing": "pausing, none",
        "over": "idle, waiting",
        "over, agent": "over, heard",
        "parked, agent": "idle, heard",
    },
    Happening.TURN_BOUND: {
        "speaking": "over, none",
        "pausing": "idle, waiting",
        "over": "over, none",
        "speaking, agent": "speaking, held",
        "pausing, agent": "pausing, held",
        "over, agent": "over, heard",
        "parked, agent": "parked, heard",
    },
    Happening.OPENED: {
        "idle": "speaking, none",
        "speaking": "speaking, none",
        "pausing": "speaking, none",
        "over": "speaking, none",
        "idle, agent": "speaking, heard",
        "speaking, agent": "speaking, none",
        "pausing, agent": "speaking, none",
        "over, agent": "speaking, heard",
        "parked, agent": "speaking, heard",
    },
    Happening.COMMITTED: {
        "speaking": "over, none",
        "pausing": "idle, waiting",
        "over": "over, none",
        "speaking, agent": "over, none",
        "pausing, agent": "over, none",
        "over, agent": "over, heard",
        "parked, agent": "over, heard",
    },
    Happening.CLEARED: {
        "speaking": "idle, none",
        "pausing": "idle, none",
        "over": "idle, none",
        "speaking, agent": "idle, heard",
        "pausing, agent": "idle, heard",
        "over, agent": "idle, heard",
        "parked, agent": "idle, heard",
    },
    Happening.TYPED: {
        "idle": "idle, waiting",
        "speaking": "speaking, none",
        "pausing": "pausing, none",
        "over": "over, none",
        "idle, agent": "idle, none",
        "speaking, agent": "speaking, none",
        "pausing, agent": "pausing, none",
        "over, agent": "over, heard",
        "parked, agent": "idle, none",
    },
    Happening.STOPPED: {
        "idle": "idle, none",
        "speaking": "speaking, none",
        "pausing": "pausing, none",
        "over": "over, none",
        "idle, agent": "idle, none",
        "speaking, agent": "speaking, none",
        "pausing, agent": "pausing, none",
        "over, agent": "over, none",
        "parked, agent": "idle, none",
    },
    Happening.REPLY_ENDED: {
        "idle, agent": "idle, none",
        "speaking, agent": "speaking, none",
        "pausing, agent": "pausing, none",
        "over, agent": "over, none",
        "parked, agent": "pausing, none",
    },
    Happening.CLOSING: {
        "idle": "idle, none",
        "speaking": "idle, none",
        "pausing": "idle, none",
        "over": "idle, none",
        "idle, agent": "idle, heard",
        "speaking, agent": "idle, heard",
        "pausing, agent": "idle, heard",
        "over, agent": "idle, heard",
        "parked, agent": "idle, heard",
    },
}


def joint_of(place):
    turn, _, agent = place.partition(", ")
    return TurnState(turn), Holder.AGENT if agent else Holder.NO_REPLY


ROWS = [(happening, place) for happening, places in THEN.items() for place in places]


def at_row(begin, happening, place):
    talk = OTHER_WAYS.get((happening, place), WAYS[place])(begin)
    core = talk.conversation.core
    assert (core.turn_state, Holder.AGENT if core.agent_has_floor else Holder.NO_REPLY) == joint_of(place)
    return talk


@pytest.mark.parametrize(("happening", "place"), ROWS, ids=str)
def test_where_each_rule_leads(begin, happening, place):
    talk = at_row(begin, happening, place)
    assert rule_for(talk.conversation.core, happening) is RULES[happening][joint_of(place)]
    DOES[happening](talk, talk.conversation.now)
    core = talk.conversation.core
    assert invariant(core) == []
    assert f"{core.turn_state}, {core.reply_state}" == THEN[happening][place]


def test_each_row_is_there_and_no_other():
    assert {happening: set(rows) for happening, rows in RULES.items()} == {
        happening: set(map(joint_of, places)) for happening, places in THEN.items()
    }


@pytest.mark.parametrize(
    ("happening", "place"),
    [
        (happening, place)
        for happening in (Happening.COMMITTED, Happening.CLEARED)
        for place in WAYS
        if place not in THEN[happening]
    ],
    ids=str,
)
def test_a_hand_is_refused_where_there_is_none_and_nothing_has_changed(begin, happening, place):
    talk = WAYS[place](begin)
    before = talk.conversation.snapshot()
    with pytest.raises(ProtocolError, match=f"{happening} can't happen while"):
        DOES[happening](talk, talk.conversation.now)
    assert talk.conversation.snapshot() == before
