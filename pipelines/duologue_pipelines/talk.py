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

from duologue.runtime.agent import Agent
from duologue.settings import Settings
from duologue.testing import virtual_time
from duologue_pipelines.calls.captions import Captions
from duologue_pipelines.calls.held import HeldCall, hold_call
from duologue_pipelines.calls.tables import latency_table, stage_line
from duologue_pipelines.transports.wav import WavTransport

STALL_S: Final = 600.0  # a large model may load that long, and a model on the network think


def run_talk(
    settings: Settings,
    inputs: Sequence[Path],
    script: Path | None,
    out: Path,
    *,
    realtime: bool = False,
    console: Console | None = None,
) -> int:
    """Play `inputs` (audio files, one after the other) or `script` to the agent; write its voice to `out`.

    Beside `out` (`answer.wav`) comes the whole call: `answer.conversation.wav`, caller left, agent right, and
    `answer.trace.jsonl`. The exit status: 0 if the agent was heard and nothing broke, else 1. Raises `AudioError`,
    `ConfigurationError`, `PackError`, `StageUnavailable`.
    """
    main = _talk(settings, inputs, script, out, console or Console())
    return asyncio.run(main) if realtime else virtual_time.run(main, tasks_left="cancel")


async def _talk(settings: Settings, inputs: Sequence[Path], script: Path | None, out: Path, console: Console) -> int:
    loop = asyncio.get_running_loop()
    if isinstance(loop, virtual_time.VirtualTimeLoop):
        loop.set_stall_s(STALL_S)
    transport = WavTransport(
        [str(path) for path in inputs],
        script=None if script is None else str(script),
        output=str(out),
        recording=str(out.with_suffix(".conversation.wav")),
    )
    await transport.prepare()  # a broken file is told before anything is loaded
    with console.status("Loading what listens, thinks and speaks …"):
        agent = Agent(settings=settings)
        await agent.ready()
    async with agent:
        console.print(stage_line(agent))
        for note in agent.notes:
            console.print(Text(f"  {note}", style="dim"))
        with Captions(console, quiet={"auto"}) as captions:
            call = await hold_call(agent, transport, trace=out.with_suffix(".trace.jsonl"), show=captions.show)
    console.print(latency_table(call))
    return _conclude(console, call, out)


def _conclude(console: Console, call: HeldCall, out: Path) -> int:
    console.print()
    if call.error is not None:
        console.print(Text(f"The call ended before its time: {call.error}", "bold red"))
    if not call.measured.agent:
        console.print(
            Text("The agent was not heard at all. Is there speech in the file? `duologue doctor` may tell.", "red")
        )
    for path, what in (
        (out, "the agent's voice"),
        (out.with_suffix(".conversation.wav"), "the whole call: caller left, agent right"),
        (out.with_suffix(".trace.jsonl"), "every event and decision"),
    ):
        console.print(Text(str(path), "cyan").append(f"  {what}", style="dim"), soft_wrap=True)
    return 1 if call.error is not None or not call.measured.agent else 0
