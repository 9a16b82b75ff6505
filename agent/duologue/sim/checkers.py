"""The rules of a conversation, one class each: all of them, and those about the core as a machine."""

import json
from collections.abc import Mapping
from operator import gt
from typing import Any, ClassVar, Final

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.codec import decode, encode
from duologue.core.conversation import Conversation
from duologue.core.history import AgentItem, CallItem, History, UserItem, item_tokens
from duologue.core.invariant import invariant
from duologue.core.machines import Phase
from duologue.errors import ProtocolError
from duologue.sim import memory_checkers as memory
from duologue.sim import reply_checkers as replies
from duologue.sim import turn_checkers as turns
from duologue.sim.watch import Checker, Hook, Step

SAME_INSTANT_MAX: Final = 12  # advances at one instant: as many timers as there are
ACTIONS_MAX: Final = 80  # of one step
CLOSE_SLACK_S: Final = 2.0  # a cut that must be confirmed first


class InvariantHolds(Checker):
    """The one invariant."""

    name = "the invariant holds"
    rule = "After every step the conversation is in a legal combination of states, numbers and timers."

    def settled(self, step: Step) -> None:
        for wrong in invariant(self.watch.world.conversation.core):
            self.blame(wrong)


class DeadlinesProgress(Checker):
    """`advance` leads on."""

    name = "deadlines progress"
    rule = "After advance(now) the deadline lies beyond now, and no instant is advanced to without end."

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._at, self._count = -1.0, 0

    def settled(self, step: Step) -> None:
        if step.kind != "advance":
            return
        conversation = self.watch.world.conversation
        deadline = conversation.deadline
        if deadline is not None and deadline <= step.at and conversation.now <= step.at:
            self.blame(f"advanced to {step.at} and the deadline is {deadline}: {self.state.timers}")
        self._count = self._count + 1 if step.at == self._at else 0
        self._at = step.at
        if self._count > SAME_INSTANT_MAX:
            self.blame(f"advanced to {step.at} more than {SAME_INSTANT_MAX} times: {self.state.timers}")


class QueuesAreBounded(Checker):
    """Everything is bounded."""

    name = "queues are bounded"
    rule = "Every queue, buffer and history of the core keeps to its bound."

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._bounds = {
            "wishes": self.watch.world.scenario.policy.reply.queue_max + 2,
            "replies being cut": 4,
            "orphaned tools": 16,
            "images waiting": 8,
            "pauses": 12,
            "alarms": 16,
            "timers": 12,
            "calls": 32,
            "actions of a step": ACTIONS_MAX,
        }

    def settled(self, step: Step) -> None:
        state = self.state
        history = self.watch.world.conversation.core.history
        calls = state.reply.calls if state.reply else ()
        sizes = (
            len(state.queue), len(state.cutting), len(state.orphans), len(state.images), len(state.pauses),
            len(state.false_alarms), len(state.timers), len(calls), len(step.actions),
        )  # fmt: skip
        if any(map(gt, sizes, self._bounds.values())):
            self.blame(f"of {dict(zip(self._bounds, sizes, strict=True))} one is beyond {self._bounds}")
        if self.phase is Phase.LISTENING and not state.cutting and not state.queue and not state.closing:
            self._check_history(history)

    def _check_history(self, history: History) -> None:
        """Nothing waits: the budget holds, but for the last exchange, which is never folded."""
        policy = history.policy
        if len(history.items) <= 2:
            return
        asked = [index for index, item in enumerate(history.items[:-1]) if isinstance(item, UserItem)]
        last = history.items[asked[-1] if asked else _last_reply(history) :]
        tokens = history.tokens - sum(map(item_tokens, last))
        if tokens > policy.tokens_max * 1.5 or len(history.items) - len(last) > policy.items_max * 1.5:
            self.blame(f"history: {len(history.items)} items, {history.tokens} tokens, budget {policy}")


def _last_reply(history: History) -> int:
    """Where the last reply begins, with the tools that it used."""
    said = [(index, item.reply) for index, item in enumerate(history.items) if isinstance(item, AgentItem | CallItem)]
    return next((index for index, reply in said if reply == said[-1][1]), -1)


class ClosedIsOver(Checker):
    """After the end there is nothing."""

    name = "closed is over"
    rule = "A session closes once, in the time allowed, and decides nothing afterwards."

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._closed = 0
        self._due: float | None = None

    def hears(self) -> Mapping[type, Hook]:
        return {act.CloseSession: self._close, ev.CloseRequested: self._asked}

    def _asked(self, event: ev.CloseRequested) -> None:
        close_s = self.watch.world.scenario.policy.limits.close_s_max if event.finish else 0.0
        due = event.at + close_s + CLOSE_SLACK_S
        self._due = due if self._due is None else min(due, self._due)

    def _close(self, action: act.CloseSession) -> None:
        self._closed += 1
        if self._closed > 1:
            self.blame("closed twice")

    def settled(self, step: Step) -> None:
        if self._closed:
            late = [action for action in step.actions if not isinstance(action, act.CloseSession | act.TruncateHistory)]
            was_closed = not any(isinstance(action, act.CloseSession) for action in step.actions)
            if was_closed and late:
                self.blame(f"decided after the end: {late}")
            if self.phase is not Phase.CLOSED or self.watch.world.conversation.deadline is not None:
                self.blame(f"closed, and {self.phase} with the timers {self.state.timers}")
        elif self._due is not None and step.at > self._due:
            self._due = None
            self.blame(f"asked to close and still {self.phase}: {self.state.timers}")

    def over(self) -> None:
        if not self._closed:
            self.blame(f"never closed: {self.phase}")


class SnapshotsRoundTrip(Checker):
    """A session can be handed over."""

    name = "snapshots round trip"
    rule = "A snapshot, restored from its JSON, is the same snapshot."

    def taken_over(self) -> None:
        given, taken = self.watch.moved[-1]
        if given != taken:
            differing = [key for key in given if given[key] != taken.get(key)]
            self.blame(f"the restored snapshot differs in {differing}")


class ReplaysTheSame(Checker):
    """The recorded events give the recorded actions."""

    name = "replays the same"
    rule = "The recorded events, told to a fresh core, give the same actions."
    every: ClassVar[int] = 4  # conversations: telling a core everything twice costs

    def over(self) -> None:
        world = self.watch.world
        if world.seed % self.every:
            return
        core = Conversation.restore(world.scenario.policy, json.loads(json.dumps(world.begun)))
        for number, step in enumerate(self.watch.steps):
            if step.kind == "take_over":
                core = Conversation.restore(world.scenario.policy, step.payload)
                replayed = core.take_over()
            elif step.kind == "advance":
                replayed = core.advance(step.at)
            else:
                try:
                    replayed = core.feed(decode(json.loads(json.dumps(encode(step.payload)))))
                except ProtocolError as error:
                    self.blame(f"step {number}, {step.payload}: refused when replayed: {error}")
                    return
            if replayed != step.actions:
                self.blame(f"step {number}, {step.kind} {step.payload}: was {step.actions}, is {replayed}")
                return


class OnlyHandsAreRefused(Checker):
    """Told by the watch."""

    name = "only hands are refused"
    rule = "What the stages report is never refused; only a caller who cannot know the phase may come out of order."


class RefusalsChangeNothing(Checker):
    """Told by the watch."""

    name = "a refusal changes nothing"
    rule = "An event that is refused leaves the conversation as it was."


class LateResultsAreDropped(Checker):
    """Told by the watch."""

    name = "late results are dropped"
    rule = "A result of a turn or reply that is not open or live any more changes nothing."


class EndsAtAll(Checker):
    """Told by the world."""

    name = "ends"
    rule = "Every conversation comes to an end."


class NothingRaises(Checker):
    """Told by whoever runs the world."""

    name = "nothing raises"
    rule = "The core raises nothing but refusals."


CHECKERS: Final[tuple[type[Checker], ...]] = (
    *replies.CHECKERS,
    *turns.CHECKERS,
    *memory.CHECKERS,
    InvariantHolds,
    DeadlinesProgress,
    QueuesAreBounded,
    ClosedIsOver,
    SnapshotsRoundTrip,
    ReplaysTheSame,
    OnlyHandsAreRefused,
    RefusalsChangeNothing,
    LateResultsAreDropped,
    EndsAtAll,
    NothingRaises,
)
