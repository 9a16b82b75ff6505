"""`duologue talk`: files or a script for a caller, the agent's answer as a file.

As fast as it goes, the call runs in virtual time: the clock jumps whenever nobody works, so a minute of talk takes the
seconds that the models take, and its latencies are those of the real call on an idle machine. With a language model on
the network, time runs as on the wall while the connection is open.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from duologue.packs import find_pack
from duologue.runtime import virtual_time
from duologue.runtime.agent import Agent
from duologue.settings import Settings
from duologue_pipelines.calls.acts import Act, ScriptedCall, act_of, scripted_call
from duologue_pipelines.calls.call import INTERRUPTED, FinishedCall, run_call
from duologue_pipelines.calls.captions import Captions
from duologue_pipelines.calls.folder import make_folder
from duologue_pipelines.calls.output_files import Written, check_files, kept_from_others
from duologue_pipelines.calls.tables import announce, latency_table
from duologue_pipelines.calls.verdict_table import verdict_table
from duologue_pipelines.calls.verdicts import TALKED_INTO_S_MAX, judge
from duologue_pipelines.transports.wav import WavTransport

STALL_S: Final = 600.0  # a large model may load that long, and a model on the network think


def run_talk(
    settings: Settings,
    inputs: Sequence[Path],
    script: Path | None,
    out: Path,
    *,
    realtime: bool = False,
    verbose: bool = False,
    console: Console | None = None,
) -> int:
    """Play `inputs` (audio files, one after the other) or `script` to the agent; write its voice to `out`.

    Beside `out` (`answer.wav`) comes the whole call: `answer.conversation.wav`, caller left, agent right, and
    `answer.trace.jsonl`. `verbose`: show every note of every stage as it comes. The exit status: 0 if the agent was
    heard and nothing broke, 130 if it was interrupted, else 1. Raises `AudioError`, `ConfigurationError`, `PackError`,
    `StageUnavailable`.
    """
    main = _talk(settings, inputs, script, out, console=console or Console(), verbose=verbose)
    return asyncio.run(main) if realtime else virtual_time.run(main, tasks_left="cancel")


async def _talk(
    settings: Settings, inputs: Sequence[Path], script: Path | None, out: Path, *, console: Console, verbose: bool
) -> int:
    loop = asyncio.get_running_loop()
    if isinstance(loop, virtual_time.VirtualTimeLoop):
        loop.set_stall_s(STALL_S)
    call_of = None if script is None else scripted_call(script, find_pack(settings.pack), settings.language)
    transport = WavTransport(
        [str(path) for path in inputs],
        script=None if call_of is None else call_of.script,
        output=str(out),
        recording=str(out.with_suffix(".conversation.wav")),
    )
    await transport.prepare()  # a broken file is told before anything is loaded
    if not out.parent.exists():
        make_folder(out.parent)
        console.print(Text(f"Made the folder {out.parent}", "dim"), soft_wrap=True)
    check_files(list(_files(out)))
    with kept_from_others(out.with_name(out.name + ".lock"), str(out)):
        return await _run_call(settings, transport, call_of, out, console=console, verbose=verbose)


async def _run_call(
    settings: Settings,
    transport: WavTransport,
    call_of: ScriptedCall | None,
    out: Path,
    *,
    console: Console,
    verbose: bool,
) -> int:
    files = _files(out)
    written = Written(list(files))
    with console.status("Loading what listens, thinks and speaks …"):
        agent = Agent(settings=settings)
        await agent.ready()
    async with agent:
        quiet = announce(console, agent)
        with Captions(console, quiet=() if verbose else quiet) as captions:
            call = await run_call(agent, transport, trace=out.with_suffix(".trace.jsonl"), show=captions.show)
    if call.interrupted:
        console.print(Text("\nInterrupted. What was said until then is kept:", "bold"))
    else:
        _conclude(console, call, call_of.acts if call_of else [act_of(mark) for mark in call.marks])
    for path, what in files.items():
        if path in written:
            note = f"  {what}" + (" (written over the one that was there)" if written.was_there(path) else "")
            console.print(Text(str(path), "cyan").append(note, style="dim"), soft_wrap=True)
    if call.interrupted:
        return INTERRUPTED
    return 1 if call.error is not None or not call.measured.agent else 0


def _files(out: Path) -> dict[Path, str]:
    """What is written, and what each file is."""
    return {
        out: "the agent's voice",
        out.with_suffix(".conversation.wav"): "the whole call: caller left, agent right",
        out.with_suffix(".trace.jsonl"): "every event and decision",
    }


def _conclude(console: Console, call: FinishedCall, acts: Sequence[Act]) -> None:
    verdicts = judge(call, acts)
    if verdicts:
        console.print(verdict_table(verdicts))
    console.print(latency_table(call))
    console.print()
    if any((act.talked_into_s or 0.0) > TALKED_INTO_S_MAX for act in call.measured.acts):
        console.print(
            Text("The agent took a pause for the end. It waits longer with --set endpointing.patience=2", "yellow")
        )
    if call.error is not None:
        console.print(Text(f"The call ended before its time: {call.error}", "bold red"))
    if not call.measured.agent:
        console.print(
            Text("The agent was not heard at all. Is there speech in the file? `duologue doctor` may tell.", "red")
        )
