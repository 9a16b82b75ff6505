"""The caller of the core's world: talks, listens, reacts, presses buttons, and hangs up in the end.

What the caller really says, and when, is the truth here; what the detector makes of it is told to the core late,
sometimes in pieces, and sometimes not at all.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, Protocol

from duologue.core import events as ev
from duologue.core.history import AgentItem, CallItem, Item, OutputItem, SystemItem, UserItem
from duologue.core.options import ReplyOptions
from duologue.core.policy import Policy
from duologue.core.state import State
from duologue.sim.scenario import Scenario
from duologue.sim.talkers import Reaction, Sound, SpokenWord, Talker, Utterance
from duologue.sim.tally import Tally

ONSET_S: Final = (0.03, 0.19)  # of the detector; Silero's median is 65 ms, its 95th percentile 191 ms (DESIGN)
OFFSET_S: Final = (0.04, 0.18)
PATIENCE_S: Final = (6.0, 14.0)
HELLOS_MAX: Final = 2
GIVE_UP_S: Final = 90.0  # a caller who has fallen asleep hangs up at last
NEW_PERSONA: Final = ("second", "You are somebody else now.")


class Line(Protocol):
    """What a caller needs of the world at the other end: the modelled one, or the whole runtime.

    `now`: session seconds. `audible`: number of the reply that sounds now, 0 for none. `cut_replies`: those that were
    cancelled. `plan`: call something in so many seconds. `post`: what the caller's hand does. `strikes`: whether a
    fault does, now.
    """

    rng: random.Random
    scenario: Scenario
    tally: Tally

    @property
    def now(self) -> float: ...

    @property
    def closed(self) -> bool: ...

    @property
    def audible(self) -> int: ...

    @property
    def cut_replies(self) -> set[int]: ...

    @property
    def state(self) -> State: ...

    @property
    def policy(self) -> Policy: ...

    @property
    def history(self) -> tuple[Item, ...]: ...

    def plan(self, delay_s: float, call: Callable[..., None], *args: Any) -> None: ...

    def post(self, event: ev.Event) -> None: ...

    def strikes(self, fault: str) -> bool: ...

    def migrate(self) -> None: ...


class Caller:
    """One caller and their telephone."""

    lies = True  # whether fumbling hands also send what only stages may report, as a broken shell would

    def __init__(self, world: Line) -> None:
        self._world = world
        self._rng = world.rng
        self._talker = Talker(world.rng)
        self.said: list[SpokenWord] = []  # with session times
        self.voice_until = 0.0  # the last voiced moment so far
        self._busy_until = 0.0
        self._bursts: list[tuple[float, float]] = []
        self._voice_told = False  # what the detector has said last
        self._turns_left = world.scenario.turns
        self._hellos = 0
        self._move_number = 0  # a later plan makes the ones before it void
        self._by_hand = world.scenario.push_to_talk
        self._yielding: tuple[int, float] | None = None  # reply, and when the caller began to talk over it
        self._gone = False

    # --- what the caller means to do ------------------------------------------------------------------------------

    def begin(self) -> None:
        """The line is open."""
        world, rng = self._world, self._rng
        if self._by_hand:
            self._set_endpointing(automatic=False, replies=world.scenario.policy.reply.automatic)
        self._next(rng.uniform(0.3, 4.0), self._take_floor)
        if rng.random() < 0.08:
            world.plan(rng.uniform(3.0, 40.0), self._hang_up)
        if "migration" in world.scenario.faults:
            world.plan(rng.uniform(1.0, 25.0), world.migrate)
        if "hand clumsy" in world.scenario.faults:
            world.plan(rng.uniform(0.5, 6.0), self._fumble)

    def agent_heard(self, reply: int, turn: int) -> None:
        """The first sound of a reply."""
        world, rng = self._world, self._rng
        if turn and self.voice_until and world.now >= self.voice_until:
            world.tally.responses_s.append(world.now - self.voice_until)
        reaction = self._talker.reaction()
        self._next(rng.uniform(*PATIENCE_S) + 20.0, self._take_floor)
        if reaction is not Reaction.LISTEN:
            world.plan(rng.uniform(0.2, 2.5), self._react, reaction, reply)
        if world.scenario.hand and rng.random() < world.scenario.hand:
            world.plan(rng.uniform(0.0, 3.0), self._do_by_hand)

    def agent_paused(self) -> None:
        """The agent fell silent in mid-reply."""
        if self._yielding:
            _, begun = self._yielding
            self._world.tally.yields_s.append(self._world.now - begun)
            self._yielding = None

    def agent_over(self, reply: int) -> None:
        """The agent has ended by itself."""
        self._next(max(0.0, self._talker.gap_s()), self._take_floor)

    def end_foreseen(self, reply: int, in_s: float) -> None:
        """One can hear that the agent will end in `in_s`: some begin before it has."""
        gap_s = self._talker.gap_s()
        if gap_s < 0 and in_s + gap_s > 0 and self._turns_left:
            self._next(in_s + gap_s, self._take_floor)

    def heard_anew(self) -> None:
        """Another process listens now; its detector knows nothing of a voice that is on."""
        self._voice_told = False
        if self._is_voiced(self._world.now):
            self._world.plan(self._rng.uniform(*ONSET_S), self._detect_on, self._world.now)

    def _next(self, delay_s: float, move: Callable[[], None]) -> None:
        self._move_number += 1
        self._world.plan(delay_s, self._move, self._move_number, move)

    def _move(self, number: int, move: Callable[[], None]) -> None:
        if number == self._move_number and not self._world.closed and not self._gone:
            move()

    def _take_floor(self) -> None:
        world, rng = self._world, self._rng
        if world.now < self._busy_until:
            self._next(self._busy_until - world.now + 0.5, self._take_floor)
        elif self._turns_left <= 0:
            self._end()
        elif world.scenario.hand and rng.random() < world.scenario.hand:
            self._turns_left -= 1
            self._do_by_hand()
            self._next(rng.uniform(*PATIENCE_S), self._ask_again)
        else:
            self._turns_left -= 1
            self._say_turn()

    def _say_turn(self) -> None:
        world, rng = self._world, self._rng
        if rng.random() < 0.03:
            said = self._talker.monologue(min(22.0, world.scenario.policy.endpointing.turn_s_max * 1.3))
        else:
            said = self._talker.turn()
        if self._by_hand:
            self._tell(ev.TurnOpened(world.now))
            if rng.random() < 0.08:
                world.plan(said.seconds + 0.1, self._tell, ev.TurnCleared(0.0))
            elif rng.random() < 0.95:  # some forget to let go
                world.plan(said.seconds + rng.uniform(-0.3, 0.4), self._tell, ev.TurnCommitted(0.0))
        elif rng.random() < 0.04:
            world.plan(said.seconds + rng.uniform(-0.5, 0.3), self._tell, ev.TurnCommitted(0.0))
        self._say(said)
        self._next(said.seconds + rng.uniform(*PATIENCE_S), self._ask_again)

    def _ask_again(self) -> None:
        """Nothing was heard from the agent for long."""
        self._hellos += 1
        if self._hellos > HELLOS_MAX:
            self._take_floor() if self._turns_left else self._end()
            return
        hello = self._talker.hello()
        if self._world.now >= self._busy_until:
            self._say(hello)
        self._next(hello.seconds + self._rng.uniform(*PATIENCE_S), self._ask_again)

    def _end(self) -> None:
        world = self._world
        if world.scenario.ending == "goodbye" and not world.closed:
            self._tell(ev.CloseRequested(world.now, "goodbye"))
        if world.scenario.ending == "hang up":
            self._next(self._rng.uniform(0.0, 2.0), self._hang_up)
        else:
            self._next(GIVE_UP_S, self._hang_up)

    def _hang_up(self) -> None:
        if not self._gone:
            self._gone = True
            self._tell(ev.CloseRequested(self._world.now, "hung up", finish=False))

    # --- what the caller does over the agent ----------------------------------------------------------------------

    def _react(self, reaction: Reaction, reply: int) -> None:
        world = self._world
        if world.closed or self._gone or world.audible != reply or world.now < self._busy_until:
            return
        if reaction is Reaction.PRESS_STOP:
            self._tell(ev.InterruptRequested(world.now))
            self._next(self._rng.uniform(0.5, 3.0), self._take_floor)
        elif reaction is Reaction.TYPE:
            self._type()
        elif reaction is Reaction.PRESS_TO_TALK:
            said = self._talker.interruption()
            self._tell(ev.TurnOpened(world.now, interrupt=True))
            self._say(said)
            world.plan(said.seconds + 0.2, self._tell, ev.TurnCommitted(0.0))
            self._next(said.seconds + self._rng.uniform(*PATIENCE_S), self._ask_again)
        else:
            self._make_sound(reaction, reply)

    def _make_sound(self, reaction: Reaction, reply: int) -> None:
        world, talker = self._world, self._talker
        if reaction in (Reaction.INTERRUPT, Reaction.STOP):
            said = talker.interruption() if reaction is Reaction.INTERRUPT else talker.stop()
            self._yielding = (reply, world.now)
            self._say(said)
            world.plan(said.seconds + 1.0, self._judge_yield, reply)
            self._next(said.seconds + self._rng.uniform(*PATIENCE_S), self._ask_again)
        elif reaction is Reaction.BACKCHANNEL:
            said = talker.backchannel()
            self._say(said)
            if not self._by_hand:
                world.tally.backchannels += 1
                world.plan(said.seconds + 1.5, self._judge_survival, reply)
        else:
            self._say(talker.cough() if reaction is Reaction.COUGH else talker.noise())

    def _judge_yield(self, reply: int) -> None:
        world = self._world
        self._yielding = None
        if self._by_hand or not world.scenario.policy.barge_in.enabled:
            return
        world.tally.interruptions += 1
        world.tally.yielded += world.audible != reply

    def _judge_survival(self, reply: int) -> None:
        self._world.tally.survived += reply not in self._world.cut_replies

    # --- what the caller's hand does ------------------------------------------------------------------------------

    def _tell(self, event: ev.Event) -> None:
        """A hand's event, stamped when it is told."""
        world = self._world
        if not world.closed:
            world.post(replace(event, at=world.now))

    def _do_by_hand(self) -> None:
        """One of the things that programs and pages do to a session."""
        world, rng = self._world, self._rng
        if world.closed:
            return
        now = world.now
        acts: tuple[Callable[[], None], ...] = (
            self._type,
            self._type,
            lambda: self._tell(ev.TypedTurn(now, "by the way, I am in Rome", reply=False)),
            lambda: self._tell(ev.ImagesShown(now, ("data:image/png;base64,AAAA",) * rng.randint(1, 12))),
            lambda: self._tell(ev.SayRequested(now, "Dinner is ready.", interruptible=rng.random() < 0.7)),
            lambda: self._tell(ev.SayRequested(now, "Beep.", in_history=False)),
            lambda: self._tell(ev.ReplyRequested(now)),
            self._want_reply,
            self._edit_history,
            lambda: self._tell(ev.InterruptRequested(now)),
            lambda: self._tell(ev.PersonaChanged(now, *NEW_PERSONA, rng.choice(("", "Hello, I am new here.")))),
            lambda: self._tell(ev.CallerChanged(now, "guest", rng.choice(("Bob", "Eve")))),
            lambda: self._tell(ev.KeyPressed(now, rng.choice("0123456789*#"))),
            self._change_endpointing,
        )
        rng.choice(acts)()

    def _type(self) -> None:
        images = ("https://example.org/a.png",) if self._rng.random() < 0.2 else ()
        self._tell(ev.TypedTurn(self._world.now, "and on Monday?", images))

    def _change_endpointing(self) -> None:
        self._by_hand = self._rng.random() < 0.5
        replies = self._rng.random() < 0.8
        self._set_endpointing(automatic=not self._by_hand, replies=replies)

    def _set_endpointing(self, *, automatic: bool, replies: bool) -> None:
        world, rng = self._world, self._rng
        policy = world.policy
        endpointing = replace(
            policy.endpointing,
            mode="automatic" if automatic else "manual",
            patience=rng.choice((policy.endpointing.patience, 0.7, 2.0)),
        )
        barge_in = replace(policy.barge_in, enabled=policy.barge_in.enabled and rng.random() < 0.8)
        reply = replace(policy.reply, automatic=replies)
        self._tell(
            ev.PolicyChanged(world.now, replace(policy, endpointing=endpointing, barge_in=barge_in, reply=reply))
        )

    def _want_reply(self) -> None:
        rng = self._rng
        options = ReplyOptions(
            instructions=rng.choice((None, "Answer in one word.")),
            input=rng.choice((None, (UserItem(0, "Say something.", id="asked"),))),
            tools=rng.choice((None, ())),
            tool_choice=rng.choice(("auto", "none", "required")),
            output_tokens_max=rng.choice((None, 20, 0)),
            in_history=rng.random() < 0.5,
        )
        self._tell(ev.ReplyRequested(self._world.now, rng.choice(("", "asked")), options))

    def _edit_history(self) -> None:
        """A few items put in and taken out, by ids that are there and by some that are not."""
        for _ in range(self._rng.randint(1, 5)):
            self._edit_item()

    def _edit_item(self) -> None:
        world, rng = self._world, self._rng
        ids = [item.id for item in world.history]
        place = rng.choice((None, "root", "nowhere", *ids))
        item = rng.choice(
            (
                SystemItem("The train is late."),
                UserItem(0, "I said so before.", id=rng.choice(("", "said"))),
                AgentItem(0, "Did you?"),
                CallItem(f"put{len(ids)}", "weather", "{}"),
                OutputItem(rng.choice(("nobody", "0.0.0")), "sunny"),
            )
        )
        if ids and rng.random() < 0.4:
            self._tell(ev.ItemRemoved(world.now, rng.choice((*ids, "nowhere"))))
        else:
            self._tell(ev.ItemInserted(world.now, item, place))

    def _fumble(self) -> None:
        """Hands that press anything at any time: most of it is out of order, and must change nothing then."""
        world, rng = self._world, self._rng
        if world.closed or self._gone:
            return
        self._tell(rng.choice((*self._blunders(), *self._lies()) if self.lies else self._blunders()))
        world.plan(rng.uniform(0.2, 6.0), self._fumble)

    def _blunders(self) -> tuple[ev.Event, ...]:
        now = self._world.now
        hands = (ev.TurnOpened(now), ev.TurnCommitted(now), ev.TurnCleared(now), ev.InterruptRequested(now))
        return (*hands, ev.ToolReturned(now, "0.0.0", "nobody asked"))

    def _lies(self) -> tuple[ev.Event, ...]:
        now, state = self._world.now, self._world.state
        return (
            ev.HeardCorrected(now, state.replies + 5, "Hello"),
            ev.ReplyHeard(now, max(0, state.replies - 1)),
            ev.PartialTranscript(now, state.turns - 1, "long ago"),
            ev.FinalTranscript(now, max(0, state.turns - 1), 1, "long ago"),
            ev.SummaryMade(now, 999, "nobody asked"),
            ev.TurnJudged(now, state.turns - 1, "ear", 0.1, 0.9, None),
        )

    # --- what the caller's mouth does, and what the detector makes of it ------------------------------------------

    def _say(self, said: Utterance) -> None:
        """`said` from now on."""
        world, now = self._world, self._world.now
        if said.sound is Sound.SPEECH:
            world.tally.turns += 1
        self.said += [SpokenWord(word.text, now + word.start, now + word.end) for word in said.words]
        self._busy_until = now + said.seconds
        for start, end in said.bursts:
            self._bursts = [*self._bursts[-8:], (now + start, now + end)]
            world.plan(end, self._voice_off, now + end)
        self._utter(said)

    def _utter(self, said: Utterance) -> None:
        """Let the detector hear it, or not."""
        if said.seconds < 0.6 and self._world.strikes("vad deaf"):
            return
        for start, end in said.bursts:
            self._detect(start, end)

    def _detect(self, start: float, end: float) -> None:
        world, now, rng = self._world, self._world.now, self._rng
        late_s = rng.uniform(0.1, 0.5) if world.strikes("vad late") else 0.0
        told_s = start + rng.uniform(*ONSET_S) + late_s
        world.plan(told_s, self._detect_on, now + start)
        world.plan(max(told_s + 0.02, end + rng.uniform(*OFFSET_S) + late_s), self._detect_off, now + end)
        if end - start > 0.8 and world.strikes("vad flaps"):
            middle = (start + end) / 2
            world.plan(middle, self._detect_off, now + middle - 0.05, True)
            world.plan(middle + 0.08, self._detect_on, now + middle + 0.02)

    @property
    def is_busy(self) -> bool:
        """Whether they are in the middle of saying something."""
        return self._world.now < self._busy_until

    def _voice_off(self, until: float) -> None:
        self.voice_until = until

    def _is_voiced(self, at: float) -> bool:
        return any(start <= at < end for start, end in self._bursts)

    def _detect_on(self, since: float) -> None:
        world = self._world
        if not self._voice_told and not self._gone:
            self._voice_told = True
            world.post(ev.SpeechStarted(world.now, since))

    def _detect_off(self, until: float, flap: bool = False) -> None:
        world = self._world
        if self._voice_told and not self._gone and (flap or not self._is_voiced(world.now)):
            self._voice_told = False
            world.post(ev.SpeechStopped(world.now, until))
