"""Events, actions and state as JSON and back, their types checked."""

import json
from dataclasses import MISSING, fields
from enum import StrEnum
from typing import Any, get_type_hints

import pytest

from duologue.core import actions, events
from duologue.core.codec import NAMED, decode, encode, from_data, to_data
from duologue.core.history import AgentItem, CallItem, Item, OutputItem, SystemItem, ToolRound, UserItem
from duologue.core.machines import Phase, ReplyState, TurnState
from duologue.core.messages import ToolCall, ToolSpec
from duologue.core.options import ReplyOptions
from duologue.core.policy import BargeInPolicy, EndpointingPolicy, HistoryPolicy, LimitsPolicy, Policy, ReplyPolicy
from duologue.core.state import Call, QueuedReply, Reply, State, Timer, Turn
from duologue.core.words import Word

POLICY = Policy(EndpointingPolicy(mode="manual"), limits=LimitsPolicy(idle_s=None))
VALUES = {
    float: 1.25, int: 3, bool: True, str: "text, 文字", float | None: 0.5, str | None: "en",
    tuple[str, ...]: ("a", "b"), tuple[Word, ...]: (Word("a", 0.0, 0.5), Word("b", 0.5, 1.0, 0.9)),
    int | None: 3, Policy: POLICY, EndpointingPolicy: POLICY.endpointing, BargeInPolicy: POLICY.barge_in,
    ReplyPolicy: POLICY.reply, HistoryPolicy: POLICY.history, LimitsPolicy: POLICY.limits, Item: UserItem(1, "hi"),
    tuple[Item, ...] | None: (UserItem(0, "hi"), SystemItem("Be brief.")), ReplyOptions: ReplyOptions("Sing."),
    tuple[ToolSpec, ...] | None: (ToolSpec("f", "does f", {"type": "object"}),),
}  # fmt: skip


@pytest.mark.parametrize("kind", NAMED.values(), ids=lambda kind: kind.__name__)
def test_every_event_and_action_comes_back_as_it_was(kind):
    hints = get_type_hints(kind)
    full = kind(**{field.name: VALUES[hints[field.name]] for field in fields(kind)})
    least = kind(**{f.name: VALUES[hints[f.name]] for f in fields(kind) if f.default is MISSING})
    for item in (full, least):
        assert decode(json.loads(json.dumps(encode(item)))) == item
        assert encode(item)["type"] == kind.__name__


def test_every_event_and_action_has_a_name():
    for module in (events, actions):
        for name, kind in vars(module).items():
            if isinstance(kind, type) and issubclass(kind, (events.Event, actions.Action)):
                assert NAMED[name] is kind


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({}, "None is no event or action"),
        ({"type": "Riddle"}, "'Riddle' is no event or action"),
        ({"type": "SpeechStarted", "at": 1.0}, "missing 1 required"),
        ({"type": "SpeechStarted", "at": 1.0, "since": 1.0, "mood": "good"}, "SpeechStarted has no mood"),
        ({"type": "SpeechStarted", "at": "noon", "since": 1.0}, "expected float, found 'noon'"),
        ({"type": "SpeechStarted", "at": True, "since": 1.0}, "expected float, found True"),
        ({"type": "ReplyHeard", "at": 1.0, "reply": True}, "expected int, found True"),
        ({"type": "ReplyHeard", "at": 1.0, "reply": 1.5}, "expected int, found 1.5"),
        ({"type": "ImagesShown", "at": 1.0, "images": "data:"}, "expected list, found 'data:'"),
        ({"type": "TurnOpened", "at": None}, "expected float, found None"),
        ({"type": "FinalTranscript", "at": 1.0, "turn": 1, "mark": 1, "text": "a", "words": [1]}, "expected dict"),
    ],
)
def test_what_does_not_fit_is_named(data, problem):
    with pytest.raises(ValueError, match=problem):
        decode(data)


def test_a_whole_number_will_do_for_seconds():
    event = decode({"type": "TurnOpened", "at": 1})
    assert event == events.TurnOpened(1.0) and isinstance(event.at, float)


def test_items_are_told_apart_by_their_fields():
    items = [
        UserItem(1, "hi", ("data:",)),
        AgentItem(1, "ho", True, "test", 5),
        CallItem("a", "f", "{}", 1),
        OutputItem("a", "1"),
        SystemItem("Be brief.", "note"),
    ]
    assert [from_data(Item, json.loads(json.dumps(to_data(item)))) for item in items] == items
    with pytest.raises(
        ValueError,
        match=r"expected SystemItem or UserItem or AgentItem or CallItem or OutputItem, found the fields \['who'\]",
    ):
        from_data(Item, {"who": "me"})
    with pytest.raises(ValueError, match="expected dict, found None"):
        from_data(Item, None)


def test_all_of_the_state_comes_back():
    call = Call("a", "f", "{}", 20.0, False, True, deadline=3.0)
    state = State(
        closed=True,
        timers={Timer.VOICE: 4.0, Timer.IDLE: 5.0},
        turn=Turn(2, 1.0, TurnState.PARKED, unjudged=True),
        reply=Reply(
            1, 1, state=ReplyState.HELD, calls=[call], rounds=[ToolRound(0, (ToolCall("b", "f", "{}"),), (("b", "2"),))]
        ),
        cutting=[Reply(3, 2)],
        orphans=[call],
        queue=[QueuedReply("say", "Hello.")],
        images=["data:"],
        pauses=[0.5],
        next_persona=("other", "Be other."),
    )
    assert from_data(State, json.loads(json.dumps(to_data(state)))) == state


def test_a_policy_comes_back():
    policy = Policy(EndpointingPolicy(mode="manual"), limits=LimitsPolicy(idle_s=None))
    assert from_data(Policy, json.loads(json.dumps(to_data(policy)))) == policy
    with pytest.raises(ValueError, match="expected one of 'automatic', 'manual', found 'magic'"):
        from_data(EndpointingPolicy, {"mode": "magic"})


def test_tables_and_pairs_are_checked_through():
    class Colour(StrEnum):
        RED = "red"

    assert from_data(dict[Colour, float], {"red": 1}) == {Colour.RED: 1.0}
    assert from_data(tuple[str, int], ("a", 1)) == ("a", 1)
    for kind, data in ((dict[Colour, float], {"blue": 1.0}), (tuple[str, int], ["a"]), (list[int], {"a": 1})):
        with pytest.raises(ValueError):
            from_data(kind, data)


def test_keys_are_written_as_text():
    data: dict[Any, Any] = {Phase.OVERLAP: (1, {2: Phase.CLOSED})}
    assert to_data(data) == {"overlap": [1, {"2": "closed"}]}


@pytest.mark.parametrize("at", [float("inf"), float("nan"), 10**400, -1e13])
def test_a_number_beyond_reason_is_refused(at):
    with pytest.raises(ValueError, match="reasonable size"):
        decode({"type": "TurnCommitted", "at": at})
