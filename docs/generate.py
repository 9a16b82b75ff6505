"""Writes the parts of docs/ that the code already knows, so that no page says what the code no longer does.

Between `<!-- generated: NAME -->` and `<!-- /generated -->` stands what `PARTS[NAME]` returns. `make docs` writes;
`--check`, which `make check` and the tests run, only says what is out of date.
"""

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parent.parent
MARKED: Final = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n).*?(<!-- /generated -->)", re.DOTALL)


def _word(thing: object) -> str:
    """A trigger's or a phase's name as the page writes it: a class by its name, an enum member by its value."""
    if isinstance(thing, type):
        return thing.__name__
    return str(thing.value if isinstance(thing, Enum) else thing)


def state_diagram(transitions: Mapping[tuple[object, object], object]) -> str:
    """`transitions`, (phase, trigger) → phase, as a Mermaid state diagram. Triggers of one arrow share its label.

    A trigger that leads back to the phase where it came is in the table below the diagram, not in it.
    """
    arrows: dict[tuple[str, str], list[str]] = {}
    for (phase, trigger), target in transitions.items():
        if phase != target:
            arrows.setdefault((_word(phase), _word(target)), []).append(_word(trigger))
    start = _word(next(iter(transitions))[0])
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {start}"]
    for (phase, target), triggers in arrows.items():
        label = "<br/>".join(dict.fromkeys(triggers))
        lines.append(f"    {phase} --> {target}: {label}")
    return "\n".join([*lines, "```", ""])


def transition_table(transitions: Mapping[tuple[object, object], object]) -> str:
    """`transitions` as one row a trigger and one column a phase; an empty cell is an illegal step, which raises."""
    phases = list(dict.fromkeys([_word(phase) for phase, _ in transitions] + [_word(t) for t in transitions.values()]))
    triggers = list(dict.fromkeys(_word(trigger) for _, trigger in transitions))
    cells = {(_word(phase), _word(trigger)): _word(target) for (phase, trigger), target in transitions.items()}
    lines = [f"| in ↓ comes → | {' | '.join(phases)} |", "|---" * (len(phases) + 1) + "|"]
    for trigger in triggers:
        row = [_cell(phase, cells.get((phase, trigger), "")) for phase in phases]
        lines.append(f"| `{trigger}` | {' | '.join(row)} |")
    return "\n".join([*lines, ""])


def _cell(phase: str, target: str) -> str:
    return "stays" if target == phase else target


def _states() -> str:
    from duologue.core.turns import TRANSITIONS

    return state_diagram(TRANSITIONS) + "\n" + transition_table(TRANSITIONS)


PARTS: Final[dict[str, Callable[[], str]]] = {"states": _states}


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
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, end with 1 if a page is out of date")
    arguments = parser.parse_args()
    stale_count = main(arguments.check)
    sys.exit(bool(stale_count) and arguments.check)
