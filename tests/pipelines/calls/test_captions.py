import io

from rich.console import Console

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.runtime.session_setup import Note, SessionEvent
from duologue_pipelines.calls.captions import Captions

CALL: tuple[tuple[float, SessionEvent], ...] = (
    (1.0, act.OpenRecognition(1, 0.9)),
    (1.5, ev.PartialTranscript(1.5, 1, "when does")),
    (2.0, act.TurnEnded(1, "when does it [open]")),
    (2.1, act.BeginReply(1, 1)),
    (2.2, ev.ReplyText(2.2, 1, "At nine, and on Sundays at ten.")),
    (2.5, ev.ReplyHeard(2.5, 1)),
    (3.0, act.HoldPlayout(1)),
    (3.1, act.TurnDismissed(2, "noise")),
    (3.2, act.ResumePlayout(1)),
    (4.0, ev.ReplyEnded(4.0, 1, "At nine,", cut=True)),
    (4.1, ev.ReplyEnded(4.1, 7, "")),
    (4.2, Note(4.2, "tts", "a chunk was left out")),
    (4.3, Note(4.3, "tts", "a chunk was left out")),
    (4.4, Note(4.4, "auto", "espeak, because")),
)


def shown(*, terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=terminal, color_system=None, highlight=False)
    with Captions(console, quiet={"auto"}) as captions:
        for now, event in CALL:
            captions.show(event, now)
    return out.getvalue()


def test_a_log_gets_the_finished_lines_and_nothing_twice() -> None:
    lines = [line.rstrip() for line in shown(terminal=False).splitlines()]
    assert lines == [
        "   2.0s caller  when does it [open]",
        "   3.1s caller  (noise)  taken for noise",
        "   4.0s  agent  At nine, and on Sundays at ten.",
        "   4.2s   note  tts: a chunk was left out",
    ]


def test_a_terminal_also_shows_what_is_being_said() -> None:
    text = shown(terminal=True)
    for expected in ("when does …", "At nine, and on Sundays at ten.", "(waits)", "taken for noise"):
        assert expected in text
