"""The door of the core: time, steps that the table lacks, snapshots, and laws that hold whatever happens."""

import json
import random
import re
from dataclasses import replace

import pytest

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.conversation import HANDLERS, TIMERS, Conversation
from duologue.core.floor import RULES, Happening, Holder
from duologue.core.history import AgentItem, CallItem, OutputItem, SystemItem, UserItem
from duologue.core.invariant import invariant
from duologue.core.machines import Phase
from duologue.core.messages import Message
from duologue.core.options import ReplyOptions
from duologue.core.policy import Policy
from duologue.core.state import Timer
from duologue.errors import ProtocolError

WAYS = {
    "new": lambda talk: talk,
    "voice": lambda talk: talk.voice(),
    "pause": lambda talk: talk.pause(),
    "unfinished": lambda talk: talk.pause("I would like to"),
    "asked": lambda talk: talk.asked(),
    "answering": lambda talk: talk.answering(),
    "talked over": lambda talk: talk.talked_over(),
    "parked": lambda talk: talk.parked(),
    "by hand": lambda talk: press(talk),
    "greeted": lambda talk: talk.greeted(),
    "closing": lambda talk: told(talk.answering(), ev.CloseRequested(2.1, "bye")),
    "closed": lambda talk: told(talk, ev.CloseRequested(0.0, "bye")),
}
# Whether the core must refuse an event is told by the table of joint rules and by these: what the event is to it.
STEP_OF = {
    ev.TurnOpened: Happening.OPENED,
    ev.TurnCommitted: Happening.COMMITTED,
    ev.TurnCleared: Happening.CLEARED,
}


def told(talk, *events):
    talk.feed(*events)
    return talk


def press(talk):
    return told(talk, ev.TurnOpened(1.0))


def sample(kind, at):
    """An event of `kind` that belongs to nothing that is going on."""
    values = {"at": at, "since": at, "until": at, "turn": 99, "mark": 1, "text": "text", "error": "it broke",
              "images": ("data:,",), "name": "other", "instructions": "Be other.", "policy": Policy(),
              "identity": "guest", "key": "5", "item": SystemItem("text"), "item_id": "reply_99", "reason": "bye",
              "reply": 99, "heard": "", "stage": "llm", "call_id": "none", "arguments": "{}", "output": "", "items": 7,
              "samples": 1, "judge": "ear"}  # fmt: skip
    if kind is ev.TypedTurn:
        return ev.TypedTurn(at, "text")
    return kind(**{f: values[f] for f, field in kind.__dataclass_fields__.items() if f in values and required(field)})


def required(field):
    return field.default is field.default_factory


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", HANDLERS, ids=lambda kind: kind.__name__)
def test_an_event_is_taken_or_refused_and_then_nothing_has_changed(begin, way, kind):
    talk = WAYS[way](begin())
    at = talk.conversation.now
    phase, before = talk.phase, talk.conversation.snapshot()
    core = talk.conversation.core
    joint = (core.turn_state, Holder.AGENT if core.agent_has_floor else Holder.NO_REPLY)
    event = sample(kind, at)
    try:
        talk.feed(event)
        refused = False
    except ProtocolError:
        refused = True
        assert talk.conversation.snapshot() == before
        assert talk.advance(at) == []
    step = STEP_OF.get(kind)
    if phase == Phase.CLOSED:
        assert refused == (kind in (*STEP_OF, ev.TypedTurn, ev.ImagesShown, ev.ReplyRequested, ev.SayRequested,
                                    ev.InterruptRequested, ev.PersonaChanged, ev.PolicyChanged, ev.ItemInserted,
                                    ev.ItemRemoved))  # fmt: skip
    elif step and way not in ("closing", "by hand"):
        assert refused == (joint not in RULES[step])
    elif kind is ev.ItemRemoved:
        assert refused  # nothing is called that
    elif not step and kind not in (ev.SpeechStarted, ev.SpeechStopped):
        assert not refused
    deadline = talk.conversation.deadline
    assert deadline is None or deadline > at


def test_every_timer_has_one_who_meets_it():
    assert set(TIMERS) == set(Timer)


def test_time_does_not_run_backwards(begin):
    talk = begin().voice(1.0)
    with pytest.raises(ProtocolError, match=r"time runs backwards: event at 0.5, last at 1.0"):
        talk.feed(ev.SpeechStopped(0.5, until=0.5))
    talk.advance(0.5)
    assert talk.conversation.now == 1.0


def test_an_event_that_the_core_does_not_know_is_refused(begin):
    with pytest.raises(ProtocolError, match="no use for Event"):
        begin().feed(ev.Event(1.0))


def test_what_deadlines_ask_for_is_not_lost_when_the_event_after_them_is_refused(begin):
    talk = begin().pause()
    with pytest.raises(ProtocolError, match="speech can't stop before it has started"):
        talk.feed(ev.SpeechStopped(1.9, until=1.9))
    assert talk.conversation.now == 1.85
    assert [type(action) for action in talk.advance(1.9)] == [act.CloseRecognition, act.TurnEnded, act.ReleaseReply]


def test_deadlines_are_met_in_their_order_before_the_event(begin):
    talk = begin().pause()
    done = talk.feed(ev.SpeechStarted(1.9, since=1.86))
    kinds = [type(action) for action in done]
    assert kinds.index(act.ReleaseReply) < kinds.index(act.HoldPlayout)


def test_the_deadline_is_the_earliest_of_timers_and_tools(begin):
    talk = begin().answering()
    talk.feed(ev.ToolRequested(2.1, 1, "a", "f", "{}", timeout_s=0.5))
    assert talk.conversation.deadline == 2.6
    assert begin(idle_s=None, session_s_max=None).conversation.deadline is None
    quick = begin(idle_s=None, session_s_max=None, fillers=(), unheard_s_max=30.0).answering()
    quick.feed(ev.ToolRequested(2.1, 1, "a", "f", "{}", timeout_s=90.0))
    assert quick.conversation.deadline == 31.85


def test_what_can_be_seen(begin):
    talk = begin()
    core = talk.conversation
    assert (core.reply, core.turn, core.language, core.persona, core.summary) == (0, 0, None, "test", "")
    talk.voice().feed(ev.SpeechStopped(1.5, until=1.45), ev.FinalTranscript(1.6, 1, 1, "What is it?", language="en"))
    assert (core.reply, core.turn, core.language) == (1, 1, "en")


# --- prompts ------------------------------------------------------------------------------------------------------


def test_a_speculative_reply_is_prompted_with_words_that_are_not_history_yet(begin):
    talk = begin().pause()
    assert talk.conversation.prompt(1) == [Message("system", "Be kind."), Message("user", "What time is it?")]
    assert talk.conversation.history == ()
    assert talk.conversation.prompt(2) == []


def test_a_continued_turn_stands_once_in_the_prompt_with_the_images_of_both(begin):
    talk = begin()
    talk.feed(ev.ImagesShown(0.5, ("data:a",)))
    talk.asked().feed(
        ev.SpeechStarted(2.0, since=1.95), ev.PartialTranscript(2.3, 2, "in the town of Rome", 5),
        ev.ReplyEnded(2.4, 1, "", cut=True), ev.ImagesShown(2.4, ("data:b",)), ev.SpeechStopped(2.6, until=2.55),
        ev.FinalTranscript(2.7, 2, 1, "in the town of Rome?"),
    )  # fmt: skip
    images = ("data:a", "data:b")
    assert talk.conversation.prompt(2)[1:] == [Message("user", "What time is it? in the town of Rome?", images=images)]
    talk.advance(3.0)
    assert talk.conversation.prompt(2)[1:] == [Message("user", "What time is it? in the town of Rome?", images=images)]
    assert talk.last(act.TurnEnded) == act.TurnEnded(
        2, "What time is it? in the town of Rome?", ("data:b",), merged=1, decided_by="words"
    )


def test_a_reply_that_used_tools_is_prompted_with_its_text_and_the_results(begin):
    talk = begin().answering("Let me look. ")
    talk.feed(
        ev.ToolRequested(2.1, 1, "a", "clock", "{}"), ev.ToolReturned(2.2, "a", "17:00"), ev.ReplyGenerated(2.3, 1)
    )
    assert [message.role for message in talk.conversation.prompt(1)] == ["system", "user", "assistant", "tool"]


def test_other_instructions_stand_in_the_prompt_of_one_reply(begin):
    talk = begin().greeted()
    talk.feed(ev.ReplyRequested(3.1, options=ReplyOptions(instructions="Sing.")))
    assert talk.conversation.prompt(2)[0] == Message("system", "Sing.")
    talk.feed(ev.ReplyEnded(3.5, 2, "La la."), ev.ReplyRequested(3.6))
    assert talk.conversation.prompt(3)[0] == Message("system", "Be kind.")


def test_what_is_summarised_is_the_old_summary_and_the_first_items(begin):
    talk = begin().greeted()
    talk.conversation.core.history.summary = "They met."
    assert [message.text for message in talk.conversation.to_summarise(1)] == [
        "Earlier in this conversation:\nThey met.",
        "What time is it?",
    ]


# --- snapshots ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_a_snapshot_survives_json(begin, way):
    talk = WAYS[way](begin())
    talk.feed(*([] if talk.phase == Phase.CLOSED else [ev.PersonaChanged(3.5, "other", "Be other.")]))
    snapshot = talk.conversation.snapshot()
    again = Conversation.restore(talk.policy, json.loads(json.dumps(snapshot)))
    assert again.snapshot() == snapshot
    assert (again.phase, again.deadline) == (talk.phase, talk.conversation.deadline)


@pytest.mark.parametrize(
    "break_it",
    [
        lambda data: data.pop("state"),
        lambda data: data.update(state=[]),
        lambda data: data.update(items=[{"who": "me"}]),
        lambda data: data["state"].update(mood="good"),
        lambda data: data["state"].update(phase="asleep"),
        lambda data: data["state"].update(now="noon"),
        lambda data: data["state"].update(timers={"tea": 5.0}),
        lambda data: data.update(items=7),
    ],
)
def test_what_is_no_snapshot_is_refused(begin, break_it):
    talk = begin().greeted()
    snapshot = json.loads(json.dumps(talk.conversation.snapshot()))
    break_it(snapshot)
    with pytest.raises(ValueError):
        Conversation.restore(talk.policy, snapshot)


# --- whatever happens ---------------------------------------------------------------------------------------------

TEXTS = ("", "mm-hm", "stop", "what time is it", "and then", "I want to go.", "Yes.", "好的", "我想")
ITEMS = (
    SystemItem("Note."), UserItem(0, "I said so."), AgentItem(0, "Did you?", id="mine"), CallItem("put", "f", "{}"),
    OutputItem("put", "in"),
)  # fmt: skip


class Chaos:
    """Seeded events, most of them to the point, some late, some out of order; and the laws that they can't break."""

    def __init__(self, talk, seed):
        self.talk, self.random = talk, random.Random(seed)
        self.at = 0.0
        self.live, self.recognised = set(), set()

    def number(self, current, newest):
        return current if self.random.random() < 0.9 else self.random.randint(0, newest + 1)

    def chance(self):
        return self.random.choice((None, 0.1, 0.9))

    def options(self, flag):
        draw = self.random.choice
        return ReplyOptions(
            draw((None, "Sing.")), draw((None, ())), tool_choice=draw(("auto", "none")), in_history=flag
        )

    def policy(self, flag):
        policy, now = self.talk.conversation.policy, self.random.random()
        return replace(
            policy,
            endpointing=replace(policy.endpointing, mode="automatic" if flag else "manual"),
            barge_in=replace(policy.barge_in, enabled=now < 0.7),
            reply=replace(policy.reply, automatic=now < 0.8),
            limits=replace(policy.limits, session_s_max=3600.0 if now < 0.5 else None),
        )

    def draw(self):
        choice, chance, at, state = self.random.choice, self.chance, self.at, self.talk.state
        turn = self.number(state.turn.number if state.turn else state.turns, state.turns)
        mark = self.number(state.turn.mark if state.turn else 1, 3)
        known = [*state.cutting, *([state.reply] if state.reply else [])]
        about = choice(known) if known else None
        reply = self.number(about.number if about else state.replies, state.replies)
        text = about.text if about else ""
        heard = text[: self.random.randint(0, len(text))]
        calls = [call.call_id for call in (*(state.reply.calls if state.reply else ()), *state.orphans)] or ["none"]
        flag = self.random.random() < 0.5
        ids = [*(item.id for item in self.talk.conversation.history), "nowhere"]
        voice = ev.SpeechStopped(at, at - 0.06) if state.voice else ev.SpeechStarted(at, at - 0.05)
        events = [
            (20, voice),
            (6, ev.PartialTranscript(at, turn, choice(TEXTS), self.random.randint(0, 3))),
            (14, ev.FinalTranscript(at, turn, mark, choice(TEXTS))),
            (1, ev.RecognitionFailed(at, turn, "it broke")),
            (2, ev.TurnOpened(at, flag)),
            (3, ev.TurnCommitted(at)),
            (1, ev.TurnCleared(at)),
            (2, ev.TypedTurn(at, choice(("typed", "ok")), choice(((), ("data:,",))), flag)),
            (1, ev.ImagesShown(at, ("data:,",))),
            (1, ev.ReplyRequested(at, "tag", self.options(flag))),
            (3, ev.SayRequested(at, "Hello there.", flag)),
            (1, ev.InterruptRequested(at)),
            (1, ev.PersonaChanged(at, "other", "Be other.", choice(("", "Hello, I am new.")))),
            (0.4, ev.PolicyChanged(at, self.policy(flag))),
            (2, ev.TurnJudged(at, turn, choice(("ear", "eye")), chance(), chance(), chance())),
            (0.5, ev.CallerChanged(at, "guest", choice(("", "Bob")))),
            (0.5, ev.KeyPressed(at, "5")),
            (2, ev.ItemInserted(at, choice(ITEMS), choice((None, "root", *ids)))),
            (1, ev.ItemRemoved(at, choice(ids))),
            (0.15, ev.CloseRequested(at, "bye", flag)),
            (8, ev.ReplyText(at, reply, choice(("Hello there. ", "How? ")))),
            (6, ev.ReplyGenerated(at, reply)),
            (8, ev.ReplyHeard(at, reply)),
            (4, ev.HeardSoFar(at, reply, heard, choice((0.0, 0.5, 3.0)))),
            (8, ev.ReplyEnded(at, reply, heard)),
            (1, ev.HeardCorrected(at, reply, heard)),
            (1, ev.ReplyFailed(at, reply, "llm", "it broke")),
            (
                4,
                ev.ToolRequested(
                    at,
                    reply,
                    f"c{self.random.randint(0, 99)}",
                    "f",
                    "{}",
                    choice((None, 0.5)),
                    flag,
                    self.random.random() < 0.7,
                ),
            ),
            (4, ev.ToolReturned(at, choice(calls), "out")),
            (2, ev.SummaryMade(at, state.summarising or 3, choice(("", "They talked.")))),
        ]
        return self.random.choices([event for _, event in events], [weight for weight, _ in events])[0]

    def step(self):
        talk, core = self.talk, self.talk.conversation
        self.at += self.random.choice((0.0, 0.02, 0.1, 0.3, 0.8, 2.0))
        self.see(talk.advance(self.at))
        assert core.deadline is None or core.deadline > self.at
        event, before = self.draw(), core.snapshot()
        try:
            done = talk.feed(event)
        except ProtocolError:
            assert core.snapshot() == before
            return
        if isinstance(event, ev.ReplyEnded):
            self.live.discard(event.reply)
        self.see(done)
        assert (talk.state.turn is not None) == bool(self.recognised)
        assert (talk.state.reply is not None) == bool(self.live)

    def see(self, done):
        """One live reply, one recogniser; and neither when the session is closed."""
        for action in done:
            match action:
                case act.BeginReply():
                    assert not self.live
                    self.live.add(action.reply)
                case act.CancelReply():
                    self.live.remove(action.reply)
                case act.OpenRecognition():
                    assert not self.recognised
                    self.recognised.add(action.turn)
                case act.CloseRecognition():
                    self.recognised.remove(action.turn)
                case act.CloseSession():
                    assert not self.live and not self.recognised and not self.talk.state.cutting

    def moved(self):
        """Another process takes over, at any moment: it asks for one recogniser and one reply at most."""
        other = self.talk.moved_elsewhere()
        state = other.state
        assert len(other.all(act.OpenRecognition)) - len(other.all(act.CloseRecognition)) == (state.turn is not None)
        assert len(other.all(act.BeginReply)) <= 1 and not state.cutting
        if not state.reply:
            assert not other.all(act.BeginReply)
        other.advance(self.at + 0.5)


@pytest.mark.parametrize("seed", range(24))
def test_no_sequence_of_events_breaks_the_laws(begin, seed):
    draw = random.Random(seed)
    talk = begin(
        mode=draw.choice(("automatic", "automatic", "manual")),
        turn_s_max=draw.choice((50.0, 3.0)),
        enabled=draw.random() < 0.8,
        alarms_max=draw.choice((1, 3)),
        automatic=draw.random() < 0.9,
        unheard_s_max=draw.choice((20.0, 2.0)),
        queue_max=draw.choice((2, 8)),
        tokens_max=draw.choice((60, 6000)),
        items_max=draw.choice((6, 400)),
        idle_s=draw.choice((None, 5.0)),
    )
    chaos = Chaos(talk, seed)
    for count in range(200):
        chaos.step()
        if talk.phase == Phase.CLOSED:
            break
        history = talk.conversation.core.history
        assert not history.over_hard_limit or not history.overdue()
        assert invariant(talk.conversation.core) == []
        if count % 4 == 0:
            chaos.moved()


ILLEGAL = {
    "no conversation has a turn that is over with a reply that is held": lambda s: s["turn"].update(state="over"),
    "turn 2 is open and idle": lambda state: state["turn"].update(state="idle"),
    "turn 2 is open, and 1 were counted": lambda state: state.update(turns=1),
    "has heard final 5 and settled 0 of 0": lambda state: state["turn"].update(heard_mark=5),
    "turn 2 has merged turn 7, which is no earlier one": lambda state: state["turn"].update(merged=7),
    "turn 2 has owed turn 2, which is no earlier one": lambda state: state["turn"].update(owed=2),
    "reply 1 is live and cutting": lambda state: state["reply"].update(state="cutting"),
    "reply 1 is held and released: False": lambda state: state["reply"].update(released=False),
    "reply 1 is held, and turn 2 is the hand's": lambda state: state["turn"].update(by_hand=True),
    "reply 1 is waiting and heard: True": lambda state: state["reply"].update(state="waiting"),
    "reply 1 to turn 9, of 1 to 2": lambda state: state["reply"].update(turn=9),
    "reply 1 is speculative, and turn 1 is not open": lambda state: state["reply"].update(
        state="speculative", released=False, calls=[RUNNING]
    ),
    "reply 1 is speculative and runs a tool": lambda state: state["reply"].update(
        state="speculative", released=False, calls=[RUNNING]
    ),
    "reply 1 is being cut and held": lambda state: state.update(cutting=[state["reply"]], timers={"cut": 9.0}),
    "5 replies are being cut": lambda state: state.update(
        cutting=[{**state["reply"], "state": "cutting"}] * 5, timers={"cut": 9.0}
    ),
    "17 tools of replies that are over still run": lambda state: state.update(orphans=[RUNNING] * 17),
    "endpoint is set, and the turn is speaking with a reply that is held": lambda s: s["timers"].update(endpoint=9),
    "0 replies are being cut, and the confirmation is awaited: True": lambda state: state["timers"].update(cut=9),
    "filler is set, and no reply may be heard": lambda state: (
        state.update(reply=None), state["timers"].update(filler=9)
    ),
    "idle time is counted, and somebody has the floor": lambda state: state["timers"].update(idle=9),
    "it is closed, and something of it is open, set or waiting": lambda state: state.update(closed=True),
    "time and counts are not negative": lambda state: state.update(now=-1.0),
    "9 items are being summed up, and there are 1": lambda state: state.update(summarising=9),
    "turn 2 is the hand's, and waits to be judged": lambda state: (
        state.update(reply=None, timers={}), state["turn"].update(by_hand=True)
    ),
}  # fmt: skip
RUNNING = {"call_id": "a", "name": "f", "arguments": "{}", "timeout_s": 1.0, "remote": False, "cancellable": True,
           "started": True, "deadline": 9.0, "output": None}  # fmt: skip


@pytest.mark.parametrize("wrong", ILLEGAL)
def test_a_snapshot_of_what_no_conversation_can_be_is_refused_and_says_why(begin, wrong):
    talk = begin().talked_over()
    snapshot = json.loads(json.dumps(talk.conversation.snapshot()))
    assert invariant(talk.conversation.core) == []
    ILLEGAL[wrong](snapshot["state"])
    with pytest.raises(ValueError, match=re.escape(wrong)):
        Conversation.restore(Policy(), snapshot)
