"""The one table of stages, and the places that say the same for type checkers."""

import dataclasses
import importlib
import typing

import pytest

from duologue import registry
from duologue.runtime.session_setup import Stages
from duologue.settings import Settings, StageChoice
from duologue.stages import STAGES, StageKind

Row = StageKind[typing.Any]


def test_every_row_has_its_field_in_the_settings_and_among_a_sessions_stages() -> None:
    choices = {name for name, field in Settings.model_fields.items() if field.annotation is StageChoice}
    assert choices == {kind.name for kind in STAGES}
    assert {kind.name: Settings().stage(kind.name).use for kind in STAGES} == {k.name: k.default for k in STAGES}
    fields = [field.name for field in dataclasses.fields(Stages)]
    assert fields == [*(kind.attribute for kind in STAGES), "reply_source"]  # that one no settings name yet


def test_only_an_optional_stage_is_left_out_by_default() -> None:
    assert [kind.name for kind in STAGES if registry.each(kind, StageChoice(kind.default)) == []] == ["judge"]


@pytest.mark.parametrize("kind", [kind for kind in STAGES if not kind.is_optional], ids=lambda kind: kind.name)
def test_a_row_names_the_port_that_its_adapters_are_typed_as(kind: Row) -> None:
    module, _, name = kind.port.rpartition(".")
    port = getattr(importlib.import_module(module), name)
    assert typing.get_type_hints(Stages)[kind.attribute] is port
    assert {kind.group} == {entry.group for entry in registry.entry_points(group=kind.group)}
