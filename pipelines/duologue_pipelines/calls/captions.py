"""Live captions in the terminal: finished lines scroll by, what is being said right now stands below them.

Without a terminal (a log file, CI) only the finished lines are printed.
"""

from collections.abc import Collection
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.runtime.session_setup import Note, SessionEvent
from duologue_pipelines.calls.transcript import Transcript

_CALLER: Final = "bold blue"
_AGENT: Final = "bold dark_orange"


class Captions:
    """`with Captions(console) as captions: captions.show(event, now)`, for every event of a session.

    `quiet`: sources whose notes are not shown.
    """

    def __init__(self, console: Console, *, quiet: Collection[str] = ()) -> None:
        self._console = console
        self._quiet = quiet
        self._noted: set[str] = set()
        self._transcript = Transcript()
        self._caller_now = ""
        self._reply_now = 0
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.update(Text(""), refresh=True)
            self._live.stop()

    def show(self, event: SessionEvent, now: float) -> None:
        """One more event of the session, at session second `now`."""
        self._transcript.take_event(event, now)
        line = self._finished(event, now)
        if line is not None:
            self._console.print(line)
        if self._live:
            self._live.update(self._under_way(event), refresh=True)

    def _finished(self, event: SessionEvent, now: float) -> Text | None:
        """The line that `event` completes."""
        if isinstance(event, act.TurnEnded):
            self._caller_now = ""
            return _line(now, "caller", _CALLER, event.text)
        if isinstance(event, act.TurnDismissed):
            self._caller_now = ""
            return _line(now, "caller", _CALLER, f"({event.text or event.reason})", f"taken for {event.reason}")
        if isinstance(event, act.SpeakFiller):
            return _line(now, "agent", _AGENT, f"({event.text.strip()})", "filler: covers the wait")
        if isinstance(event, ev.ReplyEnded):
            reply = self._transcript.replies.get(event.reply)
            if reply is None or not reply.heard:
                return None
            unheard = reply.text[len(reply.heard) :] if event.cut and reply.text.startswith(reply.heard) else ""
            line = _line(now, "agent", _AGENT, reply.heard)
            line.append(_shortened(unheard), style="dim strike")
            return line
        if isinstance(event, Note) and event.source not in self._quiet and event.text not in self._noted:
            self._noted.add(event.text)  # a stage that says the same each time has said it
            return _line(now, "note", "dim", "", f"{event.source}: {event.text}")
        return None

    def _under_way(self, event: SessionEvent) -> Text:
        if isinstance(event, ev.PartialTranscript):
            self._caller_now = event.text
        if isinstance(event, ev.ReplyHeard):
            self._reply_now = event.reply
        text = Text()
        if self._caller_now:
            text.append("        caller  ", style=_CALLER).append(self._caller_now + " …", style="italic")
        reply = self._transcript.replies.get(self._reply_now)
        if reply is not None and reply.end is None:
            text.append("\n" if text else "")
            text.append("         agent  ", style=_AGENT)
            text.append("(waits)" if reply.hold_began is not None else _shortened(reply.text, 300), style="italic")
        return text


def _line(now: float, who: str, style: str, text: str, remark: str = "") -> Text:
    line = Text(f"{now:6.1f}s ", style="dim")
    line.append(f"{who:>6}  ", style=style)
    line.append(text, style="default")
    if remark:
        line.append(f"  {remark}" if text else remark, style="dim italic")
    return line


def _shortened(text: str, most: int = 80) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
