"""Shows every step of a conversation to the checkers, and keeps what is needed to replay it.

A checker is a small class with a name and the sentence of its rule. It is told events, actions and states, and blames
whoever breaks the rule; the first few blames of a conversation are kept.
"""

import pickle
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol

from duologue.core import events as ev
from duologue.core.actions import Action
from duologue.core.conversation import Conversation
from duologue.core.machines import Phase
from duologue.core.state import State
from duologue.errors import ProtocolError
from duologue.sim.outcome import VIOLATIONS_MAX, Violation
from duologue.sim.scenario import Scenario
from duologue.sim.tally import Tally

# What a person or a program does, who cannot know the phase: the only events that the core may refuse.
HAND_EVENTS: Final = (
    ev.TurnOpened,
    ev.TurnCommitted,
    ev.TurnCleared,
    ev.TypedTurn,
    ev.ImagesShown,
    ev.ReplyRequested,
    ev.SayRequested,
    ev.InterruptRequested,
    ev.PersonaChanged,
    ev.PolicyChanged,
    ev.ItemInserted,
    ev.ItemRemoved,
    ev.CloseRequested,
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the core. `kind`: `event`, `advance` or `take_over`. `payload`: the event, or the snapshot."""

    kind: str
    at: float
    payload: Any
    actions: list[Action]


Hook = Callable[[Any], object]


class Watched(Protocol):
    """A conversation with what the checkers look at. `begun`: the snapshot that it began with.

    `audible`: number of the reply that sounds now, 0 for none or where nothing is known of sound.
    """

    seed: int
    scenario: Scenario
    tally: Tally
    conversation: Conversation
    begun: dict[str, Any]
    now: float

    @property
    def state(self) -> State: ...

    @property
    def audible(self) -> int: ...

    @property
    def closed(self) -> bool: ...


class Checker:
    """One rule. `hears`: what it is told, by type of event or action; `settled`: a step is done and carried out."""

    name: ClassVar[str] = ""
    rule: ClassVar[str] = ""

    def __init__(self, watch: "Watch") -> None:
        self.watch = watch

    @property
    def state(self) -> State:
        """The core's state after the step."""
        return self.watch.world.state

    @property
    def phase(self) -> Phase:
        """Who has the floor after the step."""
        return self.watch.world.conversation.phase

    def hears(self) -> Mapping[type, Hook]:
        """Which events and actions it wants to be told, and where."""
        return {}

    def settled(self, step: Step) -> None:
        """A step is done."""

    def taken_over(self) -> None:
        """Another process goes on; its first actions follow."""

    def over(self) -> None:
        """The conversation is over."""

    def blame(self, text: str) -> None:
        """The rule is broken."""
        self.watch.blame(self.name, text)


class Watch:
    """All checkers of one conversation."""

    def __init__(self, world: Watched, checkers: Iterable[type[Checker]]) -> None:
        self.world = world
        self.violations: list[Violation] = []
        self.steps: list[Step] = []
        self.cut_replies: set[int] = set()
        self.moved: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self.checkers = [kind(self) for kind in checkers]
        self._hooks: dict[type, list[Hook]] = {}
        for checker in self.checkers:
            for kind, hook in checker.hears().items():
                self._hooks.setdefault(kind, []).append(hook)
        self._settled = [c.settled for c in self.checkers if type(c).settled is not Checker.settled]
        self._fingerprint: bytes | None = None
        self._stale = False

    def blame(self, rule: str, text: str) -> None:
        """`rule` is broken, now."""
        if len(self.violations) < VIOLATIONS_MAX:
            self.violations.append(Violation(rule, round(self.world.now, 6), text))

    # --- one step -------------------------------------------------------------------------------------------------

    def before(self, event: ev.Event) -> None:
        """`event` is about to be told. What must change nothing is compared with how it was."""
        self._stale = self._is_stale(event)
        risky = self._stale or isinstance(event, HAND_EVENTS)
        self._fingerprint = self._state_bytes(event.at) if risky else None

    def _is_stale(self, event: ev.Event) -> bool:
        """A result of a turn or reply that is not open or live, nor waited for."""
        state = self.world.state
        if isinstance(event, ev.PartialTranscript | ev.FinalTranscript | ev.RecognitionFailed | ev.TurnJudged):
            return state.turn is None or state.turn.number != event.turn
        if isinstance(
            event,
            ev.ReplyText | ev.ReplyGenerated | ev.ReplyHeard | ev.HeardSoFar | ev.ReplyFailed | ev.ToolRequested,
        ):
            return state.reply is None or state.reply.number != event.reply
        return False

    def _state_bytes(self, now: float) -> bytes:
        history = self.world.conversation.core.history
        state = self.world.state
        was, state.now = state.now, now  # time may pass
        try:
            return pickle.dumps((state, history.items, history.summary, history.system, history.tokens))
        finally:
            state.now = was

    def refused(self, event: ev.Event, refusal: ProtocolError) -> None:
        """The core refused `event`."""
        self.world.tally.refused += 1
        if not isinstance(event, HAND_EVENTS):
            self.blame("only hands are refused", f"{event} was refused: {refusal}")
        if self._fingerprint is not None and self._state_bytes(event.at) != self._fingerprint:
            self.blame("a refusal changes nothing", f"{event} was refused and something changed")
        if self.world.conversation.core.actions:
            self.blame("a refusal changes nothing", f"{event} was refused and left actions behind")

    def stepped(self, step: Step) -> None:
        """The core took a step; its actions are not carried out yet."""
        self.steps.append(step)
        self.world.tally.events += 1
        event = step.payload
        if step.kind == "event":
            if self._stale and (step.actions or self._state_bytes(step.at) != self._fingerprint):
                self.blame("late results are dropped", f"{event} came late and was not dropped: {step.actions}")
            for hook in self._hooks.get(type(event), ()):
                hook(event)
        for action in step.actions:
            for hook in self._hooks.get(type(action), ()):
                hook(action)

    def settled(self, step: Step) -> None:
        """The actions of `step` are carried out."""
        for hook in self._settled:
            hook(step)

    def migrated(self, given: dict[str, Any], taken: dict[str, Any]) -> None:
        """The session goes on in another process: what was given, and what that one made of it."""
        self.moved.append((given, taken))
        for checker in self.checkers:
            checker.taken_over()

    def over(self) -> None:
        """The conversation is over."""
        for checker in self.checkers:
            checker.over()
