"""What the bench makes of its measurements. Nothing here is timed."""

import io
import json
import sys
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import engine, machine, peers, table
from benchmarks.figures import ROWS, Contender, Figure, Row, spread

STAT_LIVEKIT = {"n": 4, "median": 306.7, "p95": 307.6, "min": 305.0, "max": 307.7}
STAT_PIPECAT = {"n": 3, "p50": 687.3, "p95": 704.5, "min": 686.9, "max": 706.4}
SHORT = peers.Effort(turns=2, sessions=2, load_s=1)


def test_livekit_s_printed_results_become_our_rows() -> None:
    figures = peers.read_livekit(
        {
            "latency": {"config": "tuned", "total": STAT_LIVEKIT, "ideal_ms": 300.00000000000006},
            "barge": {"barge_to_audio_stop": {**STAT_LIVEKIT, "median": 101.5}},
            "noise": {"events": [["user_first", 0], ["eos", 280], ["pause", 501], ["resume", 2562]]},
            "load": {"cpu_ms_per_session_second": 17.6, "mb_per_session_end": 0.4, "rss_end_mb": 136.0,
                     "rss_running_mb": 134.0, "n": 25, "secs": 40.0},
        }
    )  # fmt: skip
    assert figures["response"] == Figure(306.7, 307.6, 4)
    assert figures["overhead"].p50 == pytest.approx(6.7)
    assert figures["hold"].p50 == 101.5
    assert figures["noise_dead_air"].p50 == 2061
    assert figures["growth"].p50 == pytest.approx(2.0 / 25 / (40 / 60))


def test_livekit_s_default_configuration_has_no_overhead_that_could_be_told_from_its_waits() -> None:
    latency = {"config": "vad_default", "total": STAT_LIVEKIT, "ideal_ms": 300.0}
    assert "overhead" not in peers.read_livekit({"latency": latency})


@pytest.mark.parametrize(
    ("events", "cell"),
    [
        ([["pause", 501], ["resume", 2562]], "2061"),
        ([["pause", 101], ["clear", 110]], "reply lost"),
        ([["pause", 101]], "never resumed"),
        ([["user_first", 0]], "0"),
    ],
)
def test_dead_air_is_pause_to_resume_and_a_cleared_reply_is_lost(events: list[list[object]], cell: str) -> None:
    assert table.number(peers.read_livekit({"noise": {"events": events}})["noise_dead_air"]) == cell


def test_pipecat_s_printed_results_become_our_rows() -> None:
    figures = peers.read_pipecat(
        {
            "turns": {"voice_end_to_first_audio": STAT_PIPECAT, "overhead_beyond_configured": {"n": 0}},
            "barge": {"barge_to_end_of_last_written_audio": STAT_PIPECAT},
            "load": {"cpu_ms_per_session_second": 35.0, "rss_mb": 120.5, "rss_before_mb": 103.0, "sessions": 25},
        }
    )
    assert figures["response"] == Figure(687.3, 704.5, 3)
    assert figures["overhead"].word == "no answer"
    assert figures["memory"].p50 == pytest.approx(0.7)


def test_a_mode_that_failed_leaves_its_row_empty() -> None:
    assert peers.read_livekit({}) == {} == peers.read_pipecat({})


def _peer(requirements: tuple[str, ...]) -> peers.Peer:
    return peers.Peer(
        "peer", "Peer", requirements, "json", "runner.py", (("default", "one"), ("tuned", "two")),
        lambda config, _: {"turns": [config], "barge": ["fails"], "load": ["babble"]}, peers.read_pipecat,
    )  # fmt: skip


def _environment(environments: Path, peer: peers.Peer, installed: bool) -> None:
    home = environments / peer.key
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python").symlink_to(sys.executable)
    if installed:
        (home / "installed.txt").write_text("\n".join(peer.requirements), encoding="utf-8")


def test_a_peer_is_measured_in_each_configuration_and_its_failures_are_notes(tmp_path: Path) -> None:
    peer = _peer(("peer==1.2",))
    _environment(tmp_path / "environments", peer, installed=True)
    (tmp_path / "runner.py").write_text(
        "import sys, json\n"
        "if sys.argv[1] == 'fails': sys.exit('no such session')\n"
        "print('warming up')\n"
        "if sys.argv[1] != 'babble':\n"
        f"    print(json.dumps(dict(voice_end_to_first_audio={STAT_PIPECAT}, overhead_beyond_configured=dict(n=0))))\n",
        encoding="utf-8",
    )
    said: list[str] = []
    one, two = peers.measure(peer, tmp_path, tmp_path / "environments", SHORT, said.append)
    assert (one.name, one.version, two.name) == ("Peer default", "1.2", "Peer tuned")
    assert one.figures["response"] == Figure(687.3, 704.5, 3) == two.figures["response"]
    assert one.figures["import_all"].p50 is not None
    assert one.notes == ["barge: runner.py ended with 1: no such session", "load: printed no JSON"]
    assert said[0] == "Peer default: turns"


def test_a_peer_that_cannot_be_installed_is_a_note_and_no_end(tmp_path: Path) -> None:
    peer = _peer(("./no-such-folder",))
    _environment(tmp_path, peer, installed=False)
    columns = peers.measure(peer, tmp_path, tmp_path, SHORT, lambda _: None)
    assert [len(column.notes) for column in columns] == [1, 1]
    assert columns[0].figures == {}


def test_the_table_holds_the_budgets_against_the_first_column() -> None:
    ours = Contender("Duologue default", "0.1.0", {"overhead": Figure(1.26, 4.0, 20), "hold": Figure(80.0, 90.0, 20)})
    peer = Contender("Peer", "1", {"overhead": Figure(24.0, 30.0, 20), "noise_dead_air": Figure(word="reply lost")})
    ours.notes.append("one thing was not measured")
    console = Console(width=200, record=True, file=io.StringIO())
    table.show([ours, peer], "a machine", ["no peers"], console)
    text = console.export_text()
    assert "1.26 (4)" in text and "≤ 2 (≤ 10) ✓" in text
    assert "≤ 60 ✗" in text
    assert "reply lost" in text
    assert "· no peers" in text and "· Duologue default: one thing was not measured" in text


def test_a_budget_is_broken_by_its_median_or_by_its_p95() -> None:
    row = Row("overhead", "", p50_max=2, p95_max=10)
    assert Figure(2, 10).within(row) is True
    assert Figure(2.1, 3).within(row) is False
    assert Figure(1, 11).within(row) is False
    assert Figure(word="reply lost").within(row) is None
    assert Figure(1).within(Row("response", "")) is None


def test_the_spread_of_nothing_is_empty_and_of_five_values_is_the_middle_one() -> None:
    assert spread([]) == Figure()
    assert spread([5, 1, 4, 2, 3]) == Figure(3.0, pytest.approx(4.8), 5)


def test_the_report_says_of_each_budget_whether_it_was_kept() -> None:
    report = json.loads(json.dumps(Contender("Duologue", figures={"cpu": Figure(3.0)}).as_json()))
    assert report["within_budget"] == {"cpu": True}
    assert Contender.from_json(report) == Contender("Duologue", figures={"cpu": Figure(3.0)})


def test_every_row_of_the_issue_has_its_budget() -> None:
    budgets = {row.key: (row.p50_max, row.p95_max) for row in ROWS}
    assert budgets["overhead"] == (2, 10)
    assert budgets["hold"] == (60, None)
    assert budgets["noise_dead_air"] == (600, None) and budgets["noise_words_lost"] == (0, None)
    assert budgets["cpu"] == (6, None) and budgets["memory"] == (1, None)
    assert budgets["import"] == (150, None) and budgets["vendors"] == (0, None)


def test_the_engine_s_import_loads_no_vendor() -> None:
    assert engine.vendors_loaded() == set()


def test_our_runner_s_printed_results_become_our_rows() -> None:
    assert engine.read("latency", {"response_ms": [401.0, 403.0], "configured_ms": 400.0}) == {
        "response": Figure(402.0, pytest.approx(402.9), 2),
        "overhead": Figure(2.0, pytest.approx(2.9), 2),
    }
    assert engine.read("barge", {"hold_ms": [10.0], "words_off": [0.0]})["hold"] == Figure(10.0, 10.0, 1)
    assert engine.read("noise", {"dead_air_ms": [], "words_lost": [1]})["noise_words_lost"] == Figure(1.0, 1.0, 1)
    assert engine.read("load", {"cpu_ms_per_session_second": 4.7}) == {"cpu": Figure(4.7)}


def test_memory_is_called_flat_or_not_only_after_ten_minutes() -> None:
    row = next(row for row in ROWS if row.key == "growth")
    watched = {"mb_per_session": 0.4, "mb_per_session_minute": 0.2}
    assert engine.read("memory", {**watched, "at_s": [0.0, 120.0]})["growth"].within(row) is None
    assert engine.read("memory", {**watched, "at_s": [0.0, 600.0]})["growth"].within(row) is False
    assert engine.read("memory", {**watched, "at_s": [0.0, 600.0]})["memory"] == Figure(0.4)


def test_the_machine_is_named() -> None:
    here = machine.describe()
    assert here["cores"] >= 1
    assert here["python"] in machine.headline(here)
