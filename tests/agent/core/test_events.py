"""What the core is told and what it asks for: frozen, small, explained."""

from dataclasses import FrozenInstanceError

import pytest

from duologue.core import actions, events
from duologue.core.codec import NAMED
from duologue.core.conversation import HANDLERS

KINDS = [kind for kind in NAMED.values() if kind not in (events.Event, actions.Action, events.Word)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_is_frozen_and_says_what_it_means(kind):
    item = kind.__new__(kind)
    with pytest.raises((FrozenInstanceError, TypeError)):
        item.at = 1.0
    assert kind.__doc__ and not kind.__doc__.startswith(f"{kind.__name__}(")


def test_each_event_is_handled_by_the_core():
    kinds = {kind for kind in KINDS if issubclass(kind, events.Event)}
    assert kinds == set(HANDLERS)
