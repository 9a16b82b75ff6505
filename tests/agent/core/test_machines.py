"""The two tables, what they leave out, and the pairs of states that there are."""

import pytest

from duologue.core.floor import RULES, Happening, Holder
from duologue.core.machines import HAS_FLOOR, PHASES, REPLY, TURN, Phase, ReplyState, ReplyStep, TurnState, TurnStep
from duologue.core.state import Reply, Turn
from duologue.errors import ProtocolError

JOINTS = {(turn, Holder.AGENT if reply in HAS_FLOOR else Holder.NO_REPLY) for turn, reply in PHASES}


@pytest.mark.parametrize("table", [TURN, REPLY], ids=["turn", "reply"])
def test_every_state_has_a_way_in_and_a_way_out(table):
    left = {source for (source, _), target in table.items() if source is not target}
    reached = {target for (source, _), target in table.items() if source is not target}
    assert left == reached == set(type(next(iter(left))))


@pytest.mark.parametrize(("table", "steps"), [(TURN, TurnStep), (REPLY, ReplyStep)], ids=["turn", "reply"])
def test_every_step_is_in_its_table(table, steps):
    assert {step for _, step in table} == set(steps)


@pytest.mark.parametrize("state", TurnState)
@pytest.mark.parametrize("step", TurnStep)
def test_a_step_that_the_turn_s_table_lacks_is_refused_and_nothing_has_changed(begin, state, step):
    core = begin().conversation.core
    core.state.turn = turn = None if state is TurnState.IDLE else Turn(1, 0.0, state=state)
    if target := TURN.get((state, step)):
        core.turn_to(step)
        assert turn is None or turn.state is target
    else:
        with pytest.raises(ProtocolError, match=f"a turn that is {state.value} can't be {step.value}"):
            core.turn_to(step)
        assert core.turn_state is state


@pytest.mark.parametrize("state", ReplyState)
@pytest.mark.parametrize("step", ReplyStep)
def test_a_step_that_the_reply_s_table_lacks_is_refused_and_nothing_has_changed(begin, state, step):
    core, reply = begin().conversation.core, Reply(1, 0, state=state)
    if target := REPLY.get((state, step)):
        core.reply_to(reply, step)
        assert reply.state is target
    else:
        with pytest.raises(ProtocolError, match=f"a reply that is {state.value} can't be {step.value}"):
            core.reply_to(reply, step)
        assert reply.state is state


def test_every_phase_but_the_last_is_read_off_some_pair_of_states():
    assert set(PHASES.values()) == set(Phase) - {Phase.CLOSED}


def test_no_pair_has_a_parked_turn_without_the_agent_nor_a_hold_without_a_voice():
    assert {reply for turn, reply in PHASES if turn is TurnState.PARKED} == {ReplyState.WAITING, ReplyState.HEARD}
    assert {turn for turn, reply in PHASES if reply is ReplyState.HELD} == {TurnState.SPEAKING, TurnState.PAUSING}
    assert not [pair for pair in PHASES if ReplyState.CUTTING in pair]


@pytest.mark.parametrize("happening", Happening)
def test_every_rule_stands_where_a_conversation_can_be_and_says_what_it_does(happening):
    assert RULES[happening] and set(RULES[happening]) <= JOINTS
    assert all(rule.__doc__ for rule in RULES[happening].values())


def test_what_nobody_can_help_has_a_rule_wherever_it_can_happen():
    assert set(RULES[Happening.CLOSING]) == set(RULES[Happening.STOPPED]) == set(RULES[Happening.OPENED]) == JOINTS
    assert set(RULES[Happening.TYPED]) == JOINTS
    assert {joint for joint in JOINTS if joint[1] is Holder.AGENT} == set(RULES[Happening.REPLY_ENDED])
    assert {joint for joint in JOINTS if joint[0] is not TurnState.IDLE} == set(RULES[Happening.WORDS])
