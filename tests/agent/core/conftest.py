"""A conversation in virtual time: fed with events, its actions collected; and the ways to each of its phases."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, TypeVar

import pytest

from duologue.core.actions import Action
from duologue.core.conversation import Conversation
from duologue.core.events import (
    Event,
    FinalTranscript,
    PolicyChanged,
    ReplyEnded,
    ReplyGenerated,
    ReplyHeard,
    ReplyText,
    SpeechStarted,
    SpeechStopped,
)
from duologue.core.history import AgentItem, UserItem
from duologue.core.policy import (
    BargeInPolicy,
    EndpointingPolicy,
    HistoryPolicy,
    LimitsPolicy,
    Policy,
    ReplyPolicy,
)
from duologue.core.state import Reply, State, Turn

Kind = TypeVar("Kind", bound=Action)
QUESTION = "What time is it?"
ANSWER = "It is five o'clock. And the sun is out."


class Talk:
    """A conversation and all that it has decided. Each way to a phase takes literal times, the same in every test."""

    def __init__(self, conversation: Conversation, policy: Policy) -> None:
        self.conversation = conversation
        self.policy = policy
        self.actions: list[Action] = []

    # --- feeding --------------------------------------------------------------------------------------------------

    def feed(self, *events: Event) -> list[Action]:
        """Feed `events` in order; what they led to."""
        done = [action for event in events for action in self.conversation.feed(event)]
        self.actions += done
        return done

    def advance(self, now: float) -> list[Action]:
        done = self.conversation.advance(now)
        self.actions += done
        return done

    def moved_elsewhere(self) -> "Talk":
        """The same conversation in another process, by way of JSON; `actions` are what taking over asks for."""
        snapshot = json.loads(json.dumps(self.conversation.snapshot()))
        talk = Talk(Conversation.restore(self.policy, snapshot), self.policy)
        assert talk.conversation.snapshot() == self.conversation.snapshot()
        talk.actions = talk.conversation.take_over()
        return talk

    def policy_of(self, at: float, **changed: Any) -> PolicyChanged:
        """Other numbers from `at` on: keywords as of `begin`; what is not named is as it is now."""
        policy, parts = self.conversation.policy, {}
        for part in fields(policy):
            own = {key: changed.pop(key) for key in list(changed) if key in getattr(policy, part.name).__slots__}
            parts[part.name] = replace(getattr(policy, part.name), **own)
        assert not changed, f"no policy has {changed}"
        return PolicyChanged(at, replace(policy, **parts))

    # --- looking --------------------------------------------------------------------------------------------------

    def all(self, kind: type[Kind]) -> list[Kind]:
        """All actions of a type so far."""
        return [action for action in self.actions if isinstance(action, kind)]

    def last(self, kind: type[Kind]) -> Kind:
        return self.all(kind)[-1]

    @property
    def phase(self) -> str:
        return self.conversation.phase

    @property
    def state(self) -> State:
        return self.conversation.core.state

    @property
    def turn(self) -> Turn:
        assert self.state.turn
        return self.state.turn

    @property
    def reply(self) -> Reply:
        assert self.state.reply
        return self.state.reply

    @property
    def said(self) -> list[tuple[str, str]]:
        """The history, as (who, text)."""
        return [
            ("user" if isinstance(item, UserItem) else "agent", item.text)
            for item in self.conversation.history
            if isinstance(item, UserItem | AgentItem)
        ]

    # --- the ways to the phases -----------------------------------------------------------------------------------

    def voice(self, at: float = 1.0) -> "Talk":
        """The user begins to speak."""
        self.feed(SpeechStarted(at, since=at - 0.05))
        return self

    def pause(self, text: str = QUESTION) -> "Talk":
        """The user has said `text` from 1.0 to 1.5; its final came at 1.6, and a reply to it may have begun."""
        self.voice().feed(SpeechStopped(1.5, until=1.45), FinalTranscript(1.6, turn=1, mark=1, text=text))
        return self

    def asked(self) -> "Talk":
        """The turn is over at 1.85, 0.4 s after its last voiced sample: reply 1 may be heard."""
        self.pause().advance(1.85)
        return self

    def answering(self, text: str = ANSWER) -> "Talk":
        """The agent is heard from 2.0 on."""
        self.asked().feed(ReplyText(1.9, 1, text), ReplyHeard(2.0, 1))
        return self

    def talked_over(self) -> "Talk":
        """The user's voice is heard over the agent from 3.0 on: turn 2."""
        self.answering().feed(SpeechStarted(3.0, since=2.95))
        return self

    def parked(self) -> "Talk":
        """A noise of 0.2 s over the agent; its final is late, so the agent went on by 3.5 with turn 2 parked."""
        self.talked_over().feed(SpeechStopped(3.2, until=3.15))
        self.advance(3.5)
        return self

    def greeted(self, text: str = "Hello.") -> "Talk":
        """One exchange is over at 3.0."""
        self.answering().feed(ReplyGenerated(2.1, 1), ReplyEnded(3.0, 1, ANSWER))
        return self


Begin = Callable[..., Talk]


@pytest.fixture
def begin() -> Begin:
    """A new conversation. Keywords are those of the five policies; what is not named is as by default."""
    kinds = {
        "endpointing": EndpointingPolicy,
        "barge_in": BargeInPolicy,
        "reply": ReplyPolicy,
        "history": HistoryPolicy,
        "limits": LimitsPolicy,
    }

    def make(instructions: str = "Be kind.", persona: str = "test", **options: Any) -> Talk:
        policy = Policy(
            **{
                name: kind(**{key: options.pop(key) for key in list(options) if key in kind.__dataclass_fields__})
                for name, kind in kinds.items()
            }
        )
        assert not options, f"no policy has {options}"
        return Talk(Conversation(policy, instructions=instructions, persona=persona), policy)

    return make
