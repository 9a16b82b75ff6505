"""Runs are counted alike however they are shared out, and the command line tells what came of them."""

import json

import pytest

from duologue.sim import cli, core_sim
from duologue.sim.outcome import Outcome, Violation
from duologue.sim.runner import Report, run_chunk, run_many
from duologue.sim.tally import Tally

BROKEN = Violation("silent after the cut", 1.25, "reply 1 is heard")


@pytest.fixture
def breaks_at_seed_3(monkeypatch):
    def simulate(seed):
        return Outcome(seed, (BROKEN,) if seed == 3 else (), Tally(conversations=1, faults={"asr lost": 1}))

    monkeypatch.setattr(core_sim, "simulate", simulate)


@pytest.mark.parametrize(("depth", "conversations"), [("core", 60), ("whole", 20)])
def test_a_run_keeps_the_rules_and_counts_what_happened(depth, conversations):
    done = []
    report = run_many(depth, conversations=conversations, workers=1, progress=done.append)
    assert report.failed == 0 and report.failures == []
    assert report.tally.conversations == conversations == done[-1]
    assert report.tally.turns and report.tally.replies and report.tally.events
    assert report.wall_s > 0


def test_two_processes_count_what_one_does():
    alone = run_many("core", first=40, conversations=120, workers=1)
    together = run_many("core", first=40, conversations=120, workers=2)
    assert alone.tally == together.tally


def test_a_failure_names_its_seed_and_what_replays_it(breaks_at_seed_3):
    report = run_chunk("core", 0, 5)
    assert (report.failed, [outcome.seed for outcome in report.failures]) == (1, [3])
    assert report.command(3) == "duologue sim --replay 3"
    assert Report("whole").command(3) == "duologue sim --replay 3 --whole"
    assert report.tally.faults == {"asr lost": 5}


def test_the_summary_is_printed_and_the_status_says_whether_a_rule_was_broken(breaks_at_seed_3, capsys):
    assert cli.run(conversations=2, workers=1) == 0
    assert "no rule was broken" in capsys.readouterr().out
    assert cli.run(conversations=5, workers=1) == 1
    out = capsys.readouterr().out
    assert "1 conversations broke a rule" in out
    assert "silent after the cut: reply 1 is heard" in out
    assert "duologue sim --replay 3" in out


def test_the_summary_as_json_has_the_failures_in_full(breaks_at_seed_3, capsys):
    assert cli.run(conversations=5, workers=1, json=True) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["conversations"] == 5 and data["failed"] == 1
    assert data["failures"] == [
        {
            "seed": 3,
            "replay": "duologue sim --replay 3",
            "violations": [{"rule": BROKEN.rule, "at": BROKEN.at, "text": BROKEN.text}],
        }
    ]


def test_a_real_run_prints_its_medians(capsys):
    assert cli.run(conversations=40, seed=1000, workers=1) == 0
    out = capsys.readouterr().out
    assert "response, median" in out and "faults injected: asr" in out


def test_counts_add_up():
    one, other = Tally(turns=1, faults={"a": 1}, yields_s=[0.1]), Tally(turns=2, faults={"a": 2, "b": 1})
    one.add(other)
    assert (one.turns, one.faults, one.yields_s) == (3, {"a": 3, "b": 1}, [0.1])
    assert one.report()["yield_ms_median"] == 100 and one.report()["response_ms_median"] is None
