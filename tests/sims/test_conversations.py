"""Thousands of conversations, with everything going wrong that can: no rule is broken."""

import pytest

from duologue.sim.runner import run_many

# The whole depth has eighteen kinds of faults: all must strike in a full run, and nearly all in a short one.
KINDS_OF_FAULTS_MIN = {("core", 10_000): 25, ("core", 2_000): 25, ("whole", 300): 18, ("whole", 60): 15}


@pytest.mark.parametrize("depth", ["core", "whole"])
def test_no_conversation_breaks_a_rule(depth, conversations, told):
    report = run_many(depth, conversations=conversations[depth])
    assert not report.failed, told(report)
    tally = report.tally
    assert tally.conversations == conversations[depth]
    assert tally.turns > tally.conversations
    assert tally.replies > tally.turns
    assert 0.5 < tally.reused / tally.speculative < 1
    assert tally.yielded / tally.interruptions > 0.95
    assert tally.survived / tally.backchannels > 0.5  # with every stage failing; the benchmark measures sound ones
    assert len(tally.faults) >= KINDS_OF_FAULTS_MIN[depth, conversations[depth]], (
        "hardly anything went wrong: the simulation proves little"
    )
