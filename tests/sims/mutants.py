"""What a mutant is: the engine with one thing done wrong, and the rule that this breaks."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

Break = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Mutant:
    """`rule`: the checker's name. `does_wrong`: what the engine does now."""

    rule: str
    does_wrong: Break
    depth: str = "core"


MUTANTS: list[Mutant] = []


def breaks(rule: str, depth: str = "core") -> Callable[[Break], Break]:
    """The decorated function makes the engine break `rule`."""

    def register(does_wrong: Break) -> Break:
        MUTANTS.append(Mutant(rule, does_wrong, depth))
        return does_wrong

    return register


def around(patch: pytest.MonkeyPatch, where: object, name: str, made: Callable[[Callable], Callable]) -> None:
    """Replace a function by what `made` makes of it."""
    patch.setattr(where, name, made(getattr(where, name)))
