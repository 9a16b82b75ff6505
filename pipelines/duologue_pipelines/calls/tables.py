"""What is printed around a call: the stages before it, the latencies after it."""

import math
from collections.abc import Collection

from rich.console import Console
from rich.table import Table
from rich.text import Text

from duologue.measure import Summary
from duologue.runtime.agent import Agent
from duologue_pipelines.calls.call import FinishedCall


def stage_line(agent: Agent) -> Text:
    """`both → pocketsphinx → rehearsal (…) → espeak`."""
    stages = agent.stages
    line = Text("  →  ").join(Text(stage.name, "bold") for stage in stages.all())
    if not stages.llm.is_language_model:
        line.append("\nThere is no language model here: answers come from the pack's sample dialogues.", style="yellow")
    return line


def announce(console: Console, agent: Agent) -> Collection[str]:
    """Say before the call who listens, thinks and speaks, and why. The sources whose notes during it would only say
    the same again: for `Captions(quiet=…)`."""
    console.print(stage_line(agent))
    is_language_model = agent.stages.llm.is_language_model
    for note in agent.notes:
        if is_language_model or not note.startswith("llm: "):  # the line above has said it
            console.print(Text(f"  {note}", style="dim"))
    return ("auto",) if is_language_model else ("auto", "llm")


def latency_table(call: FinishedCall) -> Table:
    """Latencies as a listener had them."""
    table = Table(
        title="\nMeasured from the waveform", title_justify="left", box=None, pad_edge=False, header_style="dim"
    )
    for heading in ("", "median", "p95", "each"):
        table.add_column(heading, justify="left" if heading in ("", "each") else "right")
    for words, summary in (
        ("response: caller's last sound → agent's answer", call.measured.response),
        ("first word: the same → agent's first, fillers too", _first_words(call)),
        ("yield: caller's first sound → agent's last", call.measured.yields),
        ("dead air at a cough or mm-hm", call.measured.dead_air),
        ("talked into: agent heard during the caller's turn", _talked_into(call)),
    ):
        if summary.values:
            table.add_row(words, _ms(summary.median), _ms(summary.p95), _each(summary))
    if not table.rows:
        table.add_row("nothing: nobody answered, and nobody was interrupted", "", "", "")
    return table


def _first_words(call: FinishedCall) -> Summary:
    """Until anything was heard; no row where that was the answer each time."""
    if call.measured.first_word.values == call.measured.response.values:
        return Summary.of(())
    return call.measured.first_word


def _talked_into(call: FinishedCall) -> Summary:
    """Of the turns that the agent talked into; none is the rule, and no row of the table."""
    return Summary.of(act.talked_into_s for act in call.measured.acts if act.talked_into_s)


def _ms(seconds: float) -> str:
    return "–" if math.isnan(seconds) else f"{1000 * seconds:.0f} ms"


def _each(summary: Summary) -> str:
    shown = ", ".join(f"{1000 * value:.0f}" for value in summary.values[:12])
    return shown + (", …" if len(summary.values) > 12 else "")
