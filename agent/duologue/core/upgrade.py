"""A snapshot of the version before, as one of this: a session moves to a new release without losing a word.

Version 1 (0.1.0) held one phase in place of two machines, knew no options of a reply, kept tools inside replies, and no
policy.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from duologue.core.codec import to_data
from duologue.core.history import ToolRound, UserItem, reply_items
from duologue.core.messages import ToolCall
from duologue.core.policy import Policy

_SPEAKING: Final = ("user_speaking", "overlap")
_AGENT: Final = ("thinking", "agent_speaking", "overlap")


def from_version_1(policy: Policy, old: Mapping[str, Any]) -> dict[str, Any]:
    """`old` as a snapshot of this version, under `policy`.

    Raises `KeyError`, `TypeError` or `ValueError` for what is none.
    """
    state = dict(old["state"])
    phase, automatic, replies = state.pop("phase"), state.pop("automatic"), state.pop("reply_automatically")
    state.pop("answered_turn")
    state.update(
        closed=phase == "closed",
        turn=_turn(state["turn"], phase, state["voice"]) if state["turn"] else None,
        reply=_reply(state["reply"], None) if state["reply"] else None,
        cutting=[_reply(reply, "cutting") for reply in state["cutting"]],
        orphans=[_call(call) for call in state["orphans"]],
        queue=[_queued(wish) for wish in state.pop("wishes")],
        false_alarms=state.pop("alarms"),
        persona=state.pop("pack"),
        next_persona=state.pop("next_pack"),
    )
    policy = replace(
        policy,
        endpointing=replace(policy.endpointing, mode="automatic" if automatic else "manual"),
        reply=replace(policy.reply, automatic=bool(replies)),
    )
    items = [item for old_item in old["items"] for item in _items(old_item)]
    return {**old, "state": state, "policy": to_data(policy), "items": to_data(items)}


def _turn(turn: Mapping[str, Any], phase: str, voice: bool) -> dict[str, Any]:
    new = dict(turn)
    over, unjudged = new.pop("over"), new.pop("alarm")
    if over:
        state = "over"
    elif phase in _AGENT and phase != "overlap":
        state = "parked"
    else:
        state = "speaking" if phase == "user_speaking" or (phase == "overlap" and voice) else "pausing"
    return {**new, "state": state, "unjudged": unjudged}


def _reply(reply: Mapping[str, Any], state: str | None) -> dict[str, Any]:
    new = dict(reply)
    held, options = new.pop("held"), {"instructions": new.pop("instructions"), "in_history": new.pop("in_history")}
    if state is None and not reply["released"]:
        state = "speculative"
    elif state is None:
        state = "held" if held else "heard" if reply["heard"] else "waiting"
    calls = [_call(call) for call in reply["calls"]]
    return {**new, "state": state, "options": options, "calls": calls}


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    new = dict(call)
    remote = new.pop("far_side")
    started = new["deadline"] is not None
    return {**new, "remote": remote, "started": started, "deadline": None if remote else new["deadline"]}


def _queued(wish: Mapping[str, Any]) -> dict[str, Any]:
    new = dict(wish)
    options = {"instructions": new.pop("instructions"), "in_history": new.pop("in_history")}
    return {**new, "options": options}


def _items(item: Mapping[str, Any]) -> list[Any]:
    if "turn" in item:
        return [UserItem(item["turn"], item["text"], tuple(item["images"]))]
    rounds = [
        ToolRound(
            old["at_char"],
            tuple(ToolCall(call["call_id"], call["name"], call["arguments"]) for call in old["calls"]),
            tuple((call_id, output) for call_id, output in old["results"]),
        )
        for old in item["rounds"]
    ]
    return list(reply_items(item["reply"], item["text"], rounds, cut=item["cut"]))
