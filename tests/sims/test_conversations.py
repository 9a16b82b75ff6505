"""Thousands of conversations, with everything going wrong that can: no rule is broken."""

import pytest

from duologue.sim.runner import run_many


@pytest.mark.parametrize(("depth", "kinds_of_faults_min"), [("core", 20), ("whole", 12)])
def test_no_conversation_breaks_a_rule(depth, kinds_of_faults_min, conversations, told):
    report = run_many(depth, conversations=conversations[depth])
    assert not report.failed, told(report)
    tally = report.tally
    assert tally.conversations == conversations[depth]
    assert tally.turns > tally.conversations
    assert tally.replies > tally.turns
    assert 0.5 < tally.reused / tally.speculative < 1
    assert tally.yielded / tally.interruptions > 0.95
    assert tally.survived / tally.backchannels > 0.5  # with every stage failing; the benchmark measures sound ones
    assert len(tally.faults) >= kinds_of_faults_min, "hardly anything went wrong: the simulation proves little"
