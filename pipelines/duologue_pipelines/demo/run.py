"""`duologue demo`: a whole conversation in real time, shown live, kept in a folder, and judged act by act."""

import asyncio
from pathlib import Path
from types import MappingProxyType
from typing import Final

from rich.console import Console
from rich.text import Text

from duologue.packs import find_pack
from duologue.runtime.agent import Agent
from duologue.settings import Settings
from duologue_pipelines.calls.acts import ScriptedCall, scripted_call
from duologue_pipelines.calls.call import INTERRUPTED, FinishedCall, run_call
from duologue_pipelines.calls.captions import Captions
from duologue_pipelines.calls.folder import RECORDING, REPORT, TIMELINE, TRACE, TRANSCRIPT, make_folder, write_folder
from duologue_pipelines.calls.output_files import Written, check_files, kept_from_others
from duologue_pipelines.calls.tables import announce, latency_table
from duologue_pipelines.calls.verdict_table import verdict_table
from duologue_pipelines.calls.verdicts import Verdict, judge
from duologue_pipelines.demo.caller import EMBEDDED, LIFELIKE, demo_call
from duologue_pipelines.demo.real_models import fetch_models, has_voices
from duologue_pipelines.transports.wav import WavTransport

TITLE: Final = "A conversation with Duologue"
LOCK: Final = ".lock"
FILES: Final = MappingProxyType(
    {
        RECORDING: "the call: caller left, agent right",
        TIMELINE: "who spoke when, to be looked at in a browser",
        TRANSCRIPT: "what was understood, said and heard",
        REPORT: "every figure",
        TRACE: "every event and decision",
    }
)


def run_demo(settings: Settings, out: Path, *, caller: Path | None = None, console: Console | None = None) -> int:
    """Hold the demo's call with the stages that `settings` name, and write everything about it into `out`.

    `caller`: a script of what the caller says and does; without one it is made up from the pack. The exit status: 0 if
    every act went as it should, 130 if it was interrupted, else 1. Raises `ConfigurationError`, `PackError`,
    `AudioError` and `StageError` for the caller's voice, `StageUnavailable`.
    """
    return asyncio.run(demo(settings, out, caller=caller, console=console or Console()))


async def demo(settings: Settings, out: Path, *, caller: Path | None = None, console: Console) -> int:
    """`run_demo` on the running loop, whatever clock it has."""
    pack = find_pack(settings.pack)
    language = settings.language
    if caller is None:
        fetch_models(settings, pack.language_for(language), console)
        demonstration = demo_call(pack, language, LIFELIKE if has_voices() else EMBEDDED)
    else:
        demonstration = scripted_call(caller, pack, language)
    make_folder(out)
    check_files([out / name for name in FILES])
    with kept_from_others(out / LOCK, str(out)):
        return await _demo(settings, out, demonstration, console)


async def _demo(settings: Settings, out: Path, demonstration: ScriptedCall, console: Console) -> int:
    written = Written([out / name for name in FILES])
    with console.status("Loading what listens, thinks and speaks …"):
        transport = WavTransport(script=demonstration.script)
        await transport.prepare()  # a broken file is told before anything is loaded
        agent = Agent(settings=settings)
        await agent.ready()
    async with agent:
        quiet = announce(console, agent)
        console.print(Text("A synthetic caller rings up. Nobody speaks to your microphone.\n", style="italic"))
        with Captions(console, quiet=quiet) as captions:
            call = await run_call(agent, transport, trace=out / TRACE, show=captions.show)
    verdicts = judge(call, demonstration.acts)
    failed = write_folder(call, out, title=TITLE, more={"demo": [_verdict_data(verdict) for verdict in verdicts]})
    if call.interrupted:
        console.print(Text(f"\nInterrupted. What was said until then is in {out}:", "bold"))
    else:
        _conclude(console, call, verdicts)
    _tell_files(console, out, written, failed)
    if call.interrupted:
        return INTERRUPTED
    return 0 if call.error is None and not failed and all(verdict.passed for verdict in verdicts) else 1


def _conclude(console: Console, call: FinishedCall, verdicts: list[Verdict]) -> None:
    console.print(verdict_table(verdicts))
    console.print(latency_table(call))
    if call.error is not None:
        console.print(Text(f"The call ended before its time: {call.error}", "bold red"))


def _tell_files(console: Console, out: Path, written: Written, failed: list[str]) -> None:
    console.print()
    for name, what in FILES.items():
        if out / name in written:
            more = f": duologue replay {out / TRACE}" if name == TRACE else ""
            console.print(Text(f"{out / name}", "cyan").append(f"  {what}{more}", style="dim"), soft_wrap=True)
    for sentence in failed:
        console.print(Text(sentence, "bold red"), soft_wrap=True)


def _verdict_data(verdict: Verdict) -> dict[str, object]:
    return {
        "act": verdict.act.name,
        "said": verdict.said,
        "expects": verdict.act.expects,
        "passed": verdict.passed,
        "why": verdict.why,
    }
