"""What is printed around a call: the stages before it, the latencies after it."""

import math

from rich.table import Table
from rich.text import Text

from duologue.measure import Summary
from duologue.runtime.agent import Agent
from duologue_pipelines.calls.held import HeldCall


def stage_line(agent: Agent) -> Text:
    """`both → pocketsphinx → rehearsal (…) → espeak`."""
    stages = agent.stages
    line = Text("  →  ").join(Text(stage.name, "bold") for stage in stages.all())
    if not stages.llm.is_language_model:
        line.append("\nThere is no language model here: answers come from the pack's sample dialogues.", style="yellow")
    return line


def latency_table(call: HeldCall) -> Table:
    """Latencies as a listener had them."""
    table = Table(
        title="\nMeasured from the waveform", title_justify="left", box=None, pad_edge=False, header_style="dim"
    )
    for heading in ("", "median", "p95", "each"):
        table.add_column(heading, justify="left" if heading in ("", "each") else "right")
    for words, summary in (
        ("response: caller's last sound → agent's first", call.measured.response),
        ("yield: caller's first sound → agent's last", call.measured.yields),
        ("dead air at a cough or mm-hm", call.measured.dead_air),
    ):
        if summary.values:
            table.add_row(words, _ms(summary.median), _ms(summary.p95), _each(summary))
    if not table.rows:
        table.add_row("nothing: nobody answered, and nobody was interrupted", "", "", "")
    return table


def _ms(seconds: float) -> str:
    return "–" if math.isnan(seconds) else f"{1000 * seconds:.0f} ms"


def _each(summary: Summary) -> str:
    shown = ", ".join(f"{1000 * value:.0f}" for value in summary.values[:12])
    return shown + (", …" if len(summary.values) > 12 else "")
