"""`duologue replay`, for a person's eyes: the same decisions, or the first that differs, side by side."""

from rich.console import Console
from rich.markup import escape

from duologue.runtime.replay import Replay


def show_replay(replay: Replay, console: Console) -> bool:
    """Print what the replay found; whether the core decided the same throughout."""
    counted = f"{replay.events} events, {replay.actions} actions, {replay.seconds:.1f} s of conversation"
    difference = replay.difference
    if difference is None:
        whole = "" if replay.ended else ", up to the end of the file; the session's end is not in it"
        console.print(
            f"[bold green]The same decisions.[/] {escape(str(replay.path))}: {counted}{whole}",
            highlight=False,
            soft_wrap=True,
        )
        return True
    console.print(
        f"[bold red]Another decision[/] at {difference.at:.3f} s, {escape(str(replay.path))}:{difference.line}"
        f" (until then {counted})",
        highlight=False,
        soft_wrap=True,
    )
    for label, text in (("recorded", difference.recorded), ("replayed", difference.replayed)):
        console.print(f"  {label}: {escape(text) or 'nothing'}", highlight=False, soft_wrap=True)
    return False
