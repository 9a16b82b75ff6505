"""The event log: bounded in memory and on disk, each file a whole story, and never in the way of the conversation."""

import json
from pathlib import Path

import pytest

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.errors import ConfigurationError
from duologue.runtime.replay import replay_file
from duologue.runtime.trace import ENTRIES_KEPT, Trace
from duologue.settings import Settings, TraceSettings
from duologue.testing.scripted_llm import ScriptedReply


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_session_writes_what_happened_was_decided_and_noted(call, tmp_path):
    path = tmp_path / "sub" / "trace.jsonl"
    replies = [ScriptedReply("<mood>glad</mood>你好，世界。")]
    done = call([(1.0, 1.0)], ["hello"], replies, hang_up=5.0, session_options={"trace": path}).go()
    written = lines(path)
    assert written[0]["kind"] == "header" and written[0]["session"] == done.session.id
    assert written[0]["stages"]["llm"] == "scripted (scripted)" and written[0]["is_language_model"] is False
    assert {line["kind"] for line in written} == {"header", "event", "action", "advance", "note"}
    aside = next(line for line in written if line.get("aside"))
    assert (aside["aside"], aside["source"], aside["reply"]) == ("<mood>glad</mood>", "llm", 1)
    assert "你好，世界。" in path.read_text(encoding="utf-8")
    assert replay_file(path).difference is None


def test_in_memory_the_newest_entries_are_kept_and_the_rest_is_counted():
    trace = Trace(dict, entries_kept=3)
    for at in range(5):
        trace.note(float(at), "test", f"{at}")
    assert [at for at, _, _ in trace.entries] == [2.0, 3.0, 4.0] and trace.dropped == 2
    trace.begin_step()
    trace.close()
    assert ENTRIES_KEPT < 1000


def test_at_its_bound_the_file_is_put_aside_and_both_replay_by_themselves(call, tmp_path):
    path = tmp_path / "trace.jsonl"
    settings = Settings(trace=TraceSettings(bytes_max=10_000))
    speech = [(1.0 + 6 * turn, 1.0) for turn in range(5)]
    turns = [f"question number {turn} 问题" for turn in range(5)]
    replies = [ScriptedReply("That is a good question, my friend.")]
    call(speech, turns, replies, settings=settings, hang_up=32.0, session_options={"trace": path}).go()
    aside = path.with_name("trace.jsonl.1")
    assert sorted(tmp_path.iterdir()) == [path, aside]
    assert 10_000 < aside.stat().st_size < 14_000
    for file in (path, aside):
        replayed = replay_file(file)
        assert replayed.difference is None and replayed.events > 10 and replayed.actions > 5
    assert lines(path)[0]["conversation"]["items"]  # the second file begins with what was said before it


def test_a_trace_goes_to_the_settings_folder_under_the_session_s_id(call, tmp_path):
    settings = Settings(trace=TraceSettings(folder=tmp_path))
    done = call(settings=settings, hang_up=1.0).go()
    assert [file.name for file in tmp_path.iterdir()] == [f"{done.session.id}.jsonl"]


def test_a_folder_that_can_t_be_written_is_said_before_the_call_begins(call, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigurationError, match=r"the trace can't be written to .* Choose another folder"):
        call(session_options={"trace": tmp_path / "file" / "trace.jsonl"}).go()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full (Linux)")
def test_a_full_disk_costs_the_log_and_not_the_call(call):
    path = Path("/dev/full")
    replies = [ScriptedReply("It is five o'clock. " * 200)]
    done = call([(1.0, 1.0)], ["what time is it"], replies, hang_up=12.0, session_options={"trace": path}).go()
    assert done.session.error is None and done.said()[0] == ("user", "what time is it")
    assert done.session.trace.dropped > 0


def test_a_file_that_can_t_be_put_aside_costs_the_log_only(tmp_path):
    path = tmp_path / "trace.jsonl"
    (tmp_path / "trace.jsonl.1" / "occupied").mkdir(parents=True)
    trace = Trace(dict, path=path, bytes_max=100)
    trace.event(ev.ReplyText(1.0, 1, "x" * 200))
    trace.begin_step()
    trace.event(ev.ReplyText(2.0, 1, "later"))
    trace.actions(2.0, [act.ReleaseReply(1)])
    trace.close()
    assert trace.dropped == 1 and "later" not in path.read_text()
    assert [kind for _, kind, _ in trace.entries] == ["event", "event", "action"]
