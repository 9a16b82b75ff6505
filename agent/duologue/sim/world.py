"""The modelled world around the core: a clock that jumps, the shell's four beats, and everything that happens.

The core is told events and its actions are carried out exactly as `duologue.runtime.session` does it, but on modelled
stages: nothing awaits, nothing sounds. Every step is shown to the checkers and kept, so that it can be replayed.
"""

import json
import random
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from heapq import heappop, heappush
from typing import Any, Final

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.actions import Action
from duologue.core.conversation import Conversation
from duologue.core.history import Item
from duologue.core.machines import Phase
from duologue.core.migration import unheard
from duologue.core.policy import Policy
from duologue.core.state import State
from duologue.errors import ProtocolError
from duologue.sim.caller import Caller
from duologue.sim.checkers import CHECKERS
from duologue.sim.hearing import Recogniser
from duologue.sim.modelled_replies import ModelledReplies
from duologue.sim.scenario import Scenario, draw_scenario
from duologue.sim.tally import Tally
from duologue.sim.toolshop import Toolshop
from duologue.sim.watch import Step, Watch

SECONDS_MAX: Final = 900.0  # of one conversation: whoever has not ended by then never will
STEPS_MAX: Final = 20_000
AFTER_S: Final = 4.0  # results that come late are still told to the closed core for so long
LOOP_LATE_S_MAX: Final = 0.04

# Actions and the method that carries each out; what is only told is not here.
_CARRY_OUT: Final[dict[type[Action], str]] = {
    act.OpenRecognition: "open_recognition",
    act.FinaliseRecognition: "finalise_recognition",
    act.CloseRecognition: "close_recognition",
    act.BeginReply: "begin_reply",
    act.ReleaseReply: "release_reply",
    act.ContinueReply: "continue_reply",
    act.FinishReply: "finish_reply",
    act.SpeakFiller: "speak_filler",
    act.HoldPlayout: "hold_playout",
    act.ResumePlayout: "resume_playout",
    act.CancelReply: "cancel_reply",
    act.RunTool: "run_tool",
    act.CancelTool: "cancel_tool",
    act.SummariseHistory: "summarise",
    act.CloseSession: "close_session",
}


class World:
    """One conversation. `run` holds it; `watch.violations` then says which rules were broken."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.scenario: Scenario = draw_scenario(self.rng)
        self.now = 0.0
        self.tally = Tally()
        self.closed_at: float | None = None
        self.life = 0  # counts the processes that the session has lived in
        self._heap: list[tuple[float, int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = 0
        self._inbox: deque[ev.Event] = deque()
        self._draining = False
        scenario = self.scenario
        self.conversation = Conversation(scenario.policy, instructions=scenario.system, persona=scenario.pack)
        self.begun = self.conversation.snapshot()
        self.watch = Watch(self, CHECKERS)
        self._make_stages()
        self.caller = Caller(self)

    def _make_stages(self) -> None:
        self.recogniser = Recogniser(self)
        self.replies = ModelledReplies(self)
        self.tools = Toolshop(self)

    @property
    def state(self) -> State:
        """The core's state, to look at."""
        return self.conversation.core.state

    @property
    def policy(self) -> Policy:
        """The numbers that are in force."""
        return self.conversation.policy

    @property
    def history(self) -> tuple[Item, ...]:
        """What is remembered."""
        return self.conversation.history

    @property
    def audible(self) -> int:
        """Number of the reply that sounds now, 0 for none."""
        return self.replies.audible

    @property
    def cut_replies(self) -> set[int]:
        """Replies that were cancelled."""
        return self.watch.cut_replies

    @property
    def closed(self) -> bool:
        """Whether the core has closed the session."""
        return self.closed_at is not None

    # --- faults ---------------------------------------------------------------------------------------------------

    def strikes(self, fault: str) -> bool:
        """Whether `fault`, if it is on in this conversation, strikes now."""
        if fault not in self.scenario.faults or self.rng.random() >= self.scenario.fault_rates[fault]:
            return False
        self.tally.fault(fault)
        return True

    # --- time -----------------------------------------------------------------------------------------------------

    def later(self, delay_s: float, call: Callable[..., None], *args: Any) -> None:
        """A stage's work: `call` in `delay_s`, unless the process is another by then."""
        self._schedule(self.now + delay_s, self.life, call, args)

    def plan(self, delay_s: float, call: Callable[..., None], *args: Any) -> None:
        """The caller's side: `call` in `delay_s`, in whatever process the session lives then."""
        self._schedule(self.now + delay_s, -1, call, args)

    def _schedule(self, at: float, life: int, call: Callable[..., None], args: tuple[Any, ...]) -> None:
        self._sequence += 1
        heappush(self._heap, (at, self._sequence, life, call, args))

    def run(self) -> None:
        """Hold the conversation to its end."""
        self.caller.begin()
        if self.scenario.greeting:
            self.post(ev.SayRequested(self.now, "Hello there. What can I do for you today?"))
        late_s = 0.0
        for _ in range(STEPS_MAX):
            deadline = self.conversation.deadline
            due = self._heap[0][0] if self._heap else None
            if due is None and deadline is None:
                break
            if deadline is not None and (due is None or deadline + late_s <= due):
                self._move(max(self.now, deadline + late_s))
                self._drain(lambda: self._advance(self.now))
                late_s = self.rng.uniform(0.0, LOOP_LATE_S_MAX) if self.strikes("loop late") else 0.0
                continue
            if due is None or not self._happen():
                break
        else:
            self.watch.blame("ends", f"{STEPS_MAX} steps and no end")
        self.watch.over()

    def _happen(self) -> bool:
        at, _, life, call, args = heappop(self._heap)
        if self.closed_at is not None and at > self.closed_at + AFTER_S:
            return False
        if at > SECONDS_MAX:
            self.watch.blame("ends", f"the session still lives after {SECONDS_MAX:g} s")
            return False
        self._move(at)
        if life in (-1, self.life):
            call(*args)
        return True

    def _move(self, at: float) -> None:
        self.now = at

    # --- the four beats -------------------------------------------------------------------------------------------

    def post(self, event: ev.Event) -> None:
        """Tell the core `event` and carry out what it decides; from inside an action it waits its turn."""
        self._inbox.append(event)
        if not self._draining:
            self._drain(None)

    def _drain(self, first: Callable[[], None] | None) -> None:
        self._draining = True
        try:
            if first:
                first()
            while self._inbox:
                self._beat(self._inbox.popleft())
        finally:
            self._draining = False

    def _beat(self, event: ev.Event) -> None:
        if event.at < self.conversation.now:
            event = replace(event, at=self.conversation.now)
        deadline = self.conversation.deadline
        if deadline is not None and deadline <= event.at:
            self._advance(event.at)
        self.watch.before(event)
        try:
            actions = self.conversation.feed(event)
        except ProtocolError as refusal:
            self.watch.refused(event, refusal)
            return
        self._done(Step("event", event.at, event, actions))

    def _advance(self, now: float) -> None:
        actions = self.conversation.advance(now)
        self._done(Step("advance", now, None, actions))

    def _done(self, step: Step) -> None:
        self.watch.stepped(step)
        for action in step.actions:
            carry_out = _CARRY_OUT.get(type(action))
            if carry_out:
                getattr(self, carry_out)(action)
        self.watch.settled(step)

    # --- what the core's actions mean -----------------------------------------------------------------------------

    def open_recognition(self, action: act.OpenRecognition) -> None:
        """A recogniser for one turn."""
        self.recogniser.open(action.turn, action.since)

    def finalise_recognition(self, action: act.FinaliseRecognition) -> None:
        """Its last word is wanted."""
        self.recogniser.finalise(action.turn, action.mark)

    def close_recognition(self, action: act.CloseRecognition) -> None:
        """It is not needed any more."""
        self.recogniser.close(action.turn)

    def begin_reply(self, action: act.BeginReply) -> None:
        """Model, synthesiser and playout begin."""
        self.tally.replies += 1
        self.tally.speculative += action.speculative
        self.replies.begin(action)

    def release_reply(self, action: act.ReleaseReply) -> None:
        """It may be heard."""
        self.tally.reused += 1
        self.replies.release(action.reply)

    def continue_reply(self, action: act.ContinueReply) -> None:
        """The model goes on with the tools' results."""
        self.replies.go_on(action.reply, tools=action.tools)

    def finish_reply(self, action: act.FinishReply) -> None:
        """The caller's side has it."""
        self.replies.finish(action.reply)

    def speak_filler(self, action: act.SpeakFiller) -> None:
        """A wait is covered."""
        self.replies.fill(action.reply, action.text)

    def hold_playout(self, action: act.HoldPlayout) -> None:
        """Silence, everything kept; and a report."""
        self.replies.hold(action.reply)

    def resume_playout(self, action: act.ResumePlayout) -> None:
        """On from the held word."""
        self.replies.resume(action.reply)

    def cancel_reply(self, action: act.CancelReply) -> None:
        """Silence for good."""
        self.replies.cancel(action.reply)

    def run_tool(self, action: act.RunTool) -> None:
        """A tool is at work."""
        self.tally.tools += 1
        self.tools.run(action)

    def cancel_tool(self, action: act.CancelTool) -> None:
        """Nobody waits for it."""
        self.tools.cancel(action.call_id)

    def summarise(self, action: act.SummariseHistory) -> None:
        """A model makes a summary, or fails to."""
        if self.strikes("summary failing"):
            if self.rng.random() < 0.5:
                self.later(1.0, lambda: self.post(ev.SummaryMade(self.now, action.items, "")))
            return
        text = f"Summary {self.tally.events}: {action.items} items about this and that"
        self.later(self.rng.uniform(0.3, 3.0), lambda: self.post(ev.SummaryMade(self.now, action.items, text)))

    def close_session(self, action: act.CloseSession) -> None:
        """The line goes dead."""
        self.closed_at = self.now
        self.replies.silence()

    # --- another process takes over -------------------------------------------------------------------------------

    def migrate(self) -> None:
        """The state goes through JSON into another process; everything at work in the old one dies."""
        if self.closed or self.conversation.phase is Phase.CLOSED:
            return
        self.tally.fault("migration")
        self.replies.report()
        snapshot = self.conversation.snapshot()
        text = json.dumps(snapshot)
        restored = Conversation.restore(self.scenario.policy, json.loads(text))
        self.watch.migrated(snapshot, restored.snapshot())
        self.conversation = restored
        self.life += 1
        self.replies.silence()
        self._make_stages()
        self._drain(lambda: self._take_over(json.loads(text)))
        self.caller.heard_anew()

    def _take_over(self, snapshot: dict[str, Any]) -> None:
        before = self.state.reply
        actions = self.conversation.take_over()
        reply = self.state.reply
        if reply is not None and before is not None and reply.number == before.number:
            self.replies.revive(reply.number, reply.heard_text, unheard(reply.text, reply.heard_text))
        self._done(Step("take_over", self.now, snapshot, actions))
