"""Writes the parts of docs/ that the code already knows, so that no page says what the code no longer does.

Between `<!-- generated: NAME -->` and `<!-- /generated -->` stands what `PARTS[NAME]` returns. `make docs` writes;
`--check`, which `make check` and the tests run, only says what is out of date.
"""

import argparse
import dataclasses
import inspect
import json
import re
import sys
import textwrap
import typing
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final

REPOSITORY: Final = Path(__file__).resolve().parent.parent
MARKED: Final = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n).*?(<!-- /generated -->)", re.DOTALL)

Transitions = Mapping[tuple[Enum, Enum], Enum]


def state_diagram(transitions: Transitions) -> str:
    """`transitions`, (phase, trigger) → phase, as a Mermaid state diagram. Triggers of one arrow share its label.

    A trigger that stays in its phase is in the table only; one that leads from every phase to the same one is a
    sentence below the picture, which it would hide behind arrows.
    """
    everywhere = dict(_from_everywhere(transitions))
    arrows: dict[tuple[str, str], list[str]] = {}
    for (phase, trigger), target in transitions.items():
        if phase != target and trigger not in everywhere:
            arrows.setdefault((phase.value, target.value), []).append(trigger.value)
    first = next(iter(transitions))[0]
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {first.value}"]
    lines += [f"    {phase} --> {target}: {'<br/>'.join(why)}" for (phase, target), why in arrows.items()]
    lines += [f"    {target.value} --> [*]" for target in _ends(transitions)]
    lines += ["```", ""]
    lines += [f"From every phase: *{trigger.value}* → **{target.value}**." for trigger, target in everywhere.items()]
    return "\n".join([*lines, ""])


def _ends(transitions: Transitions) -> list[Enum]:
    """Phases that nothing leads out of."""
    left = {phase for phase, _ in transitions}
    return [target for target in dict.fromkeys(transitions.values()) if target not in left]


def _from_everywhere(transitions: Transitions) -> Iterator[tuple[Enum, Enum]]:
    """Triggers, with their target, that lead from every phase to one and the same other phase."""
    phases = {phase for phase, _ in transitions}
    for trigger in dict.fromkeys(trigger for _, trigger in transitions):
        targets = {target for (_, why), target in transitions.items() if why == trigger}
        sources = {phase for phase, why in transitions if why == trigger}
        if len(targets) == 1 and sources >= phases - targets and not targets & sources:
            yield trigger, targets.pop()


def transition_table(transitions: Transitions) -> str:
    """`transitions` as one row a trigger and one column a phase; an empty cell is an illegal step, which raises."""
    phases = list(dict.fromkeys(phase for phase, _ in transitions))
    lines = [f"| what happens \\ phase | {' | '.join(phase.value for phase in phases)} |"]
    lines.append("|---" * (len(phases) + 1) + "|")
    for trigger in dict.fromkeys(trigger for _, trigger in transitions):
        targets = [(phase, transitions.get((phase, trigger))) for phase in phases]
        row = ["" if target is None else "=" if target == phase else target.value for phase, target in targets]
        lines.append(f"| {trigger.value} | {' | '.join(row)} |")
    return "\n".join([*lines, ""])


def _turn_states() -> str:
    from duologue.core.machines import TURN

    return state_diagram(TURN)


def _reply_states() -> str:
    from duologue.core.machines import REPLY

    return state_diagram(REPLY)


def _phases() -> str:
    """One row a state of the turn, one column a state of the reply: the phase; nothing where there is no such pair."""
    from duologue.core.machines import PHASES, TurnState

    replies = list(dict.fromkeys(reply for _, reply in PHASES))
    lines = [f"| turn \\ reply | {' | '.join(reply.value for reply in replies)} |", "|---" * (len(replies) + 1) + "|"]
    for turn in TurnState:
        row = [PHASES[turn, reply].value if (turn, reply) in PHASES else "" for reply in replies]
        lines.append(f"| **{turn.value}** | {' | '.join(row)} |")
    return "\n".join([*lines, ""])


def _joint_rules() -> str:
    """One row a rule: what happens, in which pairs of states, and what the rule does, by its docstring."""
    from duologue.core.floor import RULES, Holder

    lines = ["| what happens | the turn is | the agent has the floor | then |", "|---|---|---|---|"]
    for happening, rules in RULES.items():
        for holder in Holder:
            for rule in dict.fromkeys(rule for joint, rule in rules.items() if joint[1] is holder):
                turns = [turn.value for (turn, who), found in rules.items() if found is rule and who is holder]
                does = (inspect.getdoc(rule) or "").split("\n")[0].rstrip(".")
                floor = "yes" if holder is Holder.AGENT else "no"
                lines.append(f"| {happening.value} | {', '.join(turns)} | {floor} | {does} |")
    return "\n".join([*lines, ""])


def _toml(value: Any) -> str:
    """A plain value as TOML; None, which TOML lacks, is written as the settings read it."""
    if value is None:
        return '"off"'
    if isinstance(value, list | tuple):
        shown = [_toml(item) for item in value]
        return f"[{', '.join(shown)}]"
    return json.dumps(value, ensure_ascii=False)


_GLOSS: Final = re.compile(r"(`\w+`(?:, `\w+`)*): (.*?)(?=[ ;]*(?:`\w+`(?:, `\w+`)*): |$)")
_TOP: Final = {
    "pack": "name of a prompt pack, or the path of its folder",
    "language": 'BCP 47 code of the conversation, like "en"; off: the pack and the recogniser decide',
    "output_rate_hz": "samples a second of the agent's voice: 8000, 16000, 24000 or 48000; the caller's side is 16000",
    "sessions_max": "conversations at once in this process; one more is refused",
    "log": "tell Python's `logging` what happens: notes INFO, retries WARNING, failures ERROR, decisions DEBUG",
}


def glosses(kind: type) -> dict[str, str]:
    """Field → what the docstring of `kind` says of it. What is said of several stands at the first."""
    text = " ".join((inspect.getdoc(kind) or "").split())
    found = {}
    for names, gloss in _GLOSS.findall(text):
        several = [name.strip("` ") for name in names.split(",")]
        prefix = f"{', '.join(several)}: " if len(several) > 1 else ""
        found[several[0]] = prefix + gloss.strip().rstrip(".;").replace("`", "")
    return found


def _commented(kind: type, values: Mapping[str, Any]) -> Iterator[str]:
    """The table of `values` as TOML, each key below what it is for."""
    from duologue.validation import admits_none

    said, types = glosses(kind), typing.get_type_hints(kind)
    for key, value in values.items():
        off = '("off" switches it off)' if admits_none(types[key]) else ""
        comment = " ".join(part for part in (said.get(key, ""), off) if part)
        yield from textwrap.wrap(comment, 110, initial_indent="# ", subsequent_indent="#   ")
        yield f"{key} = {_toml(value)}"


def _settings() -> str:
    """Every setting with its default, as a `duologue.toml` that changes nothing."""
    from duologue.settings import Settings

    top: list[str] = []
    tables: list[str] = []
    defaults = Settings()
    for name in Settings.model_fields:
        value = getattr(defaults, name)
        plain = dataclasses.asdict(value) if dataclasses.is_dataclass(value) else None
        plain = value.model_dump(mode="json") if hasattr(value, "model_dump") else plain
        if plain is None:
            top += [f"# {_TOP[name]}", f"{name} = {_toml(value)}"]
        elif "use" in plain:
            tables += ["", f"[{name}]", *(f"{key} = {_toml(inner)}" for key, inner in plain.items())]
        else:
            tables += ["", f"[{name}]", *_commented(type(value), plain)]
    return "\n".join(["```toml", "# duologue.toml", *top, *tables, "```", ""])


def _options() -> str:
    """What may stand beside `use` for each adapter: its constructor's own words."""
    import importlib.metadata

    from duologue.stages import STAGES

    lines: list[str] = []
    for kind in STAGES:
        entries = sorted(importlib.metadata.entry_points(group=kind.group), key=lambda entry: entry.name)
        for entry in entries:
            if not entry.value.startswith("duologue_pipelines."):
                continue
            parameters = inspect.signature(entry.load()).parameters.values()
            shown = ", ".join(f"`{_option(parameter)}`" for parameter in parameters)
            lines.append(f"| {kind.name} | `{entry.name}` | {shown} |")
    return "\n".join(["| stage | `use` | options and their defaults |", "|---|---|---|", *lines, ""])


def _stages() -> str:
    """The rows of the one table of stages."""
    from duologue.stages import STAGES

    rows = [
        f"| `[{kind.name}]` | {kind.title} | `{kind.port}` | `{kind.group}` | "
        f"{'none or several' if kind.is_optional and kind.takes_several else 'one'} |"
        for kind in STAGES
    ]
    return "\n".join(["| table | stage | port | entry-point group | how many |", "|---|---|---|---|---|", *rows, ""])


def _option(parameter: inspect.Parameter) -> str:
    """`model = "base"`; the name alone where there is no default or none that TOML could write."""
    if isinstance(parameter.default, str | int | float | list | tuple):
        return f"{parameter.name} = {_toml(parameter.default)}"
    return parameter.name


def _figures() -> str:
    """The table of a whole `make bench`, kept in docs/bench.json: what was measured, on which machine, when."""
    sys.path.insert(0, str(REPOSITORY / "tests"))
    from benchmarks import machine, table
    from benchmarks.figures import ROWS, Contender

    report = json.loads((REPOSITORY / "docs" / "bench.json").read_text(encoding="utf-8"))
    columns = [Contender.from_json(written) for written in report["contenders"]]
    names = [f"{column.name} {column.version}" for column in columns]
    lines = [f"{machine.headline(report['machine'])}; {report['turns']} turns, {report['sessions']} sessions.", ""]
    lines += [f"| median (p95) | {' | '.join(names)} | our budget |", "|---" * (len(columns) + 2) + "|"]
    for row in ROWS:
        cells = [table.number(column.figures.get(row.key)) for column in columns]
        verdict = table.verdict(row, columns[0].figures.get(row.key))
        lines.append(f"| {row.label}, {row.unit} | {' | '.join(cells)} | {verdict} |")
    return "\n".join([*lines, ""])


PARTS: Final[dict[str, Callable[[], str]]] = {
    "turn": _turn_states,
    "reply": _reply_states,
    "phases": _phases,
    "joint-rules": _joint_rules,
    "settings": _settings,
    "options": _options,
    "stages": _stages,
    "figures": _figures,
}


def filled(text: str) -> str:
    """`text` with every marked part as the code has it now. Raises `KeyError` for a name that no part has."""

    def fill(found: re.Match[str]) -> str:
        return found[1] + PARTS[found["name"]]() + found[3]

    return MARKED.sub(fill, text)


def pages() -> list[Path]:
    """All pages that may hold a generated part."""
    return [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


def main(check: bool) -> int:
    """Write, or with `check` only compare; how many pages were out of date."""
    stale = [page for page in pages() if filled(page.read_text(encoding="utf-8")) != page.read_text(encoding="utf-8")]
    for page in stale:
        if not check:
            page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
        sys.stdout.write(f"{page.relative_to(REPOSITORY)}: {'out of date, run make docs' if check else 'written'}\n")
    if not stale:
        sys.stdout.write("docs: up to date\n")
    return len(stale)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, end with 1 if a page is out of date")
    arguments = parser.parse_args()
    stale_count = main(arguments.check)
    sys.exit(bool(stale_count) and arguments.check)
