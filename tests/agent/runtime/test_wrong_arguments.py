"""What programs, peers and strangers' stages give that they should not: told to whoever gave it, the call goes on."""

import asyncio
import math
import threading
from dataclasses import fields, replace

import pytest

from duologue import Persona, ReplyOptions, Session, ToolSpec, tool
from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.history import AgentItem, CallItem, UserItem
from duologue.core.messages import ToolCall
from duologue.errors import InternalError, ProtocolError, TransportError
from duologue.ports import reply_source as told
from duologue.ports.tts import SpeechAudio, SpeechRequest, SpokenWord
from duologue.runtime.session_setup import Note
from duologue.runtime.told_by_programs import GivenOptions
from duologue.testing.memory_transport import MemoryTransport
from duologue.testing.scripted_asr import ScriptedAsr, Utterance
from duologue.testing.scripted_llm import ScriptedReply
from duologue.testing.scripted_reply_source import ScriptedReplySource
from duologue.testing.virtual_time import pass_time, run

ASK = [(1.0, 1.0)]


@tool
def door() -> str:
    """Open the door."""
    return "open"


@pytest.mark.parametrize(
    "do",
    [
        lambda session: session.request_reply(temperature="hot"),
        lambda session: session.request_reply(tools=[{"name": "door"}]),
        lambda session: session.request_reply(tools=7),
        lambda session: session.request_reply(input=("hello",)),
        lambda session: session.request_reply(text_only="yes"),
        lambda session: session.request_reply(voice=7),
        lambda session: session.request_reply(textonly=True),
        lambda session: session.insert("hello"),
        lambda session: session.insert({"text": "hello"}),
        lambda session: session.insert(UserItem(0, None)),  # type: ignore[arg-type]
        lambda session: session.insert(UserItem(0, "hello", id=7)),  # type: ignore[arg-type]
        lambda session: session.insert(UserItem(0, "hello", id="output_c1")),
        lambda session: session.set_policy(None),
        lambda session: session.set_policy({"patience": 2}),
        lambda session: session.set_policy(
            replace(session.conversation.policy, limits=replace(session.conversation.policy.limits, idle_s=math.inf))
        ),
        lambda session: session.say(5),
        lambda session: session.type(None),
        lambda session: session.hand_off("billing"),
        lambda session: session.set_remote_tools(["door"]),
        lambda session: session.truncate_reply(1, 10**400),
        lambda session: session.truncate_reply(1, True),
        lambda session: session.truncate_reply([1], 10),
    ],
)
def test_a_wrong_argument_is_refused_at_once_and_changes_nothing(call, do):
    async def during(session, transport):
        await pass_time(0.5)
        before = session.conversation.snapshot()
        with pytest.raises(ProtocolError):
            do(session)
        assert session.conversation.snapshot() == before

    done = call(ASK, ["hello"], [ScriptedReply("Hi.")], hang_up=8.0, during=during).go()
    assert done.said() == [("user", "hello"), ("agent", "Hi.")] and done.session.error is None


def test_a_list_of_backchannels_is_as_good_as_a_tuple(call):
    async def during(session, transport):
        policy = session.conversation.policy
        session.set_policy(replace(policy, barge_in=replace(policy.barge_in, backchannels=["uh huh"])))

    done = call([(1.0, 1.0), (3.5, 0.4)], ["hello", "uh huh"], hang_up=8.0, during=during).go()
    assert done.session.error is None and {cut.reason for cut in done.all(act.CancelReply)} <= {"closing"}


def test_what_a_transport_tells_wrongly_is_noted_and_dropped(call):
    async def during(session, transport):
        session.event(ev.TypedTurn(0.0, None))

    done = call(hang_up=2.0, during=during).go()
    assert done.trace_notes("transport")[0].startswith("dropped: TypedTurn can't be told: expected str, found None")


def test_a_function_of_ours_is_as_good_as_its_description_and_what_is_not_ours_is_the_caller_s_side_s(call):
    async def during(session, transport):
        session.request_reply(tools=[door, ToolSpec("bell", "Ring it.", {"type": "object"})], tool_choice="bell")

    replies = [ScriptedReply(tool_calls=(ToolCall("c1", "bell", "{}"),))]
    done = call((), (), replies, hang_up=4.0, during=during).go()
    assert [(action.name, action.remote) for action in done.all(act.RunTool)] == [("bell", True)]
    assert done.llm.requests[0].tool_choice == "bell"


@pytest.mark.parametrize("choice", ["nonesuch", "required"])
def test_a_choice_of_a_tool_that_there_is_not_is_left_out_and_noted(call, choice):
    async def during(session, transport):
        session.request_reply(tool_choice=choice)

    done = call((), (), [ScriptedReply("Hi.")], hang_up=4.0, during=during).go()
    assert done.llm.requests[0].tool_choice == "auto"
    assert done.trace_notes("tool") == [f"tool_choice {choice!r} was left out. There is: none"]


def test_items_that_are_put_in_are_no_reply_s_and_calls_have_ids_of_their_own(call):
    async def during(session, transport):
        await pass_time(5.0)
        session.insert(AgentItem(1, "forged", id="mine"))
        session.insert(UserItem(0, "second", id="item_2"))
        session.insert(UserItem(0, "third"))
        session.insert(CallItem("c", "door", "{}"))
        with pytest.raises(ProtocolError, match="there is a call 'c' already"):
            session.insert(CallItem("c", "door", "{}", id="another"))
        session.truncate_reply(1, 200)

    done = call(ASK, ["hello"], [ScriptedReply("Well hello there.")], hang_up=9.0, during=during).go()
    items = {item.id: item for item in done.session.conversation.history}
    assert items["mine"] == AgentItem(0, "forged", id="mine") and items["reply_1"].text != "Well hello there."
    assert items["item_3"].text == "third"


def test_a_reply_can_be_cut_from_another_thread(call):
    told_in = []

    async def during(session, transport):
        session.observe(lambda event: told_in.append(threading.get_ident()))
        await pass_time(3.5)
        await asyncio.to_thread(session.truncate_reply, 1, 500)
        await asyncio.to_thread(session.truncate_reply, 9, 500)

    done = call(ASK, ["tell me"], hang_up=8.0, during=during).go()
    assert set(told_in) == {threading.get_ident()}
    assert any("reply 9 can't be cut" in text for text in done.trace_notes("program"))


def test_type_checkers_know_the_options_that_there_are():
    assert list(GivenOptions.__annotations__) == [field.name for field in fields(ReplyOptions)]


# --- observers --------------------------------------------------------------------------------------------------------


def test_an_observer_that_answers_itself_ends_the_call_and_says_why(call):
    async def during(session, transport):
        def answer(event):
            if isinstance(event, ev.ImagesShown):
                session.show("https://e.org/a.png")

        session.observe(answer)
        session.show("https://e.org/a.png")
        await pass_time(1.0)

    done = call(hang_up=4.0, during=during)
    done.go()
    assert "1000 events brought each other about, the last a ImagesShown" in str(done.session.error)


@pytest.mark.parametrize("error", [ValueError("no"), asyncio.CancelledError()])
def test_an_observer_that_ends_itself_and_raises_costs_itself_alone(call, error):
    async def during(session, transport):
        def leave(event):
            ends[0]()
            raise error

        ends = [session.observe(leave)]

    done = call(ASK, ["hello"], [ScriptedReply("Hi.")], hang_up=8.0, during=during).go()
    assert done.said() == [("user", "hello"), ("agent", "Hi.")] and done.session.error is None


def test_an_observer_that_notes_what_it_is_told_is_left_out(call):
    async def during(session, transport):
        session.observe(lambda event: session.note("me", "x"))

    done = call(ASK, ["hello"], [ScriptedReply("Hi.")], hang_up=8.0, during=during).go()
    assert done.session.error is None and "told nothing more" in done.trace_notes("observer")[0]


def test_what_an_observer_posts_at_a_word_waits_its_turn_and_a_refusal_is_noted(call):
    spoken = []

    async def during(session, transport):
        def at_word(event):
            if type(event).__name__ == "Spoken":
                spoken.append(event.text)
                session.commit_turn()

        session.observe(at_word)

    done = call(ASK, ["hello"], [ScriptedReply("Hi there.")], hang_up=8.0, during=during).go()
    assert "".join(spoken) == "Hi there." and len(done.trace_notes("program")) == len(spoken)


# --- stages of strangers ----------------------------------------------------------------------------------------------


class BrokenAsr(ScriptedAsr):
    """Raises what its port does not speak of, once, at one place."""

    def __init__(self, at: str) -> None:
        super().__init__([Utterance("hello"), Utterance("again")])
        self.at = at

    def open(self, context):
        self._break("open")
        stream = super().open(context)
        for name in ("push_frame", "finalise", "aclose"):
            self._wrap(stream, name)
        return stream

    def _break(self, place):
        if self.at == place:
            self.at = ""
            raise RuntimeError(f"{place} broke")

    def _wrap(self, stream, name):
        plain = getattr(stream, name)

        def wrapped(*args):
            self._break(name)
            return plain(*args)

        setattr(stream, name, wrapped)


@pytest.mark.parametrize("at", ["open", "push_frame", "finalise", "aclose"])
def test_a_recogniser_that_raises_anything_costs_its_turn_and_not_the_call(call, at):
    made = call([(1.0, 1.0), (6.0, 1.0)], (), [ScriptedReply("Hi.")], hang_up=12.0)
    made.asr = BrokenAsr(at)
    done = made.go()
    assert done.session.error is None
    assert [text for who, text in done.said() if who == "user"][-1] in ("again", "hello")


class Junk(ScriptedReplySource):
    """Gives `items` instead of an answer."""

    def __init__(self, items):
        super().__init__(["Hi."])
        self.junk = items

    def open(self, request):
        stream = super().open(request)

        async def items():
            for item in self.junk(request):
                yield item

        stream.items = items
        return stream


def audio(request, seconds=1.0):
    return SpeechAudio(b"\x10\x10" * int(request.speech.sample_rate_hz * seconds))


@pytest.mark.parametrize(
    ("items", "told_of"),
    [
        (lambda r: [told.ChunkBegins("hello"), SpokenWord(0, 5, math.nan, 1.0), audio(r)], "a word has no place"),
        (lambda r: [told.ChunkBegins("hello"), SpokenWord(0, 5, 0.0, math.inf), audio(r)], "a word has no place"),
        (lambda r: [told.ChunkBegins("hello"), SpokenWord(0, 5, None, None), audio(r)], "TypeError"),
        (lambda r: (told.TextDelta("") for _ in range(10**9)), "empty text or audio 1000 times"),
    ],
)
def test_a_reply_source_that_gives_what_it_must_not_costs_the_reply(call, items, told_of):
    source = Junk(items)
    done = call([(1.0, 1.0), (4.0, 1.0)], ["hello", "and now"], (), hang_up=12.0, reply_source=source).go()
    assert done.session.error is None
    assert any(told_of in event.error for event in done.all(ev.ReplyFailed))


def test_text_that_comes_before_its_audio_is_what_that_says(call):
    def items(request):
        return [told.TextDelta("Hi there."), audio(request), told.TextFinished()]

    done = call(ASK, ["hello"], (), hang_up=9.0, reply_source=Junk(items)).go()
    assert done.said() == [("user", "hello"), ("agent", "Hi there.")]


# --- transports -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hangs", [True, False])
def test_a_transport_that_does_not_close_is_left_behind_with_a_note(call, hangs):
    class Stubborn(MemoryTransport):
        async def aclose(self):
            await super().aclose()
            if hangs:
                await pass_time(1e6)
            raise OSError("already closed")

    done = call(ASK, ["hello"], [ScriptedReply("Hi.")], hang_up=6.0, transport_kind=Stubborn).go()
    text = "it did not close within 5 s and is left behind" if hangs else "it did not close: OSError: already closed"
    assert text in [note.text for note in done.all(Note)] or text in done.trace_notes("transport")


def test_what_accompanies_a_session_and_breaks_is_the_transport_s_fault(call):
    class Accompanied(MemoryTransport):
        async def accompany(self, session):
            raise RuntimeError("no room")

    done = call(ASK, ["hello"], hang_up=6.0, transport_kind=Accompanied).go()
    assert isinstance(done.session.error, TransportError) and not isinstance(done.session.error, InternalError)


# --- snapshots --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("snapshot", [[], "s", 5, {"id": "../../evil"}, {"id": 5}, {"id": "a\0b"}])
def test_what_is_no_snapshot_is_refused_by_name(call, snapshot):
    made = call()

    async def main():
        async with made.agent().session(MemoryTransport(), snapshot=snapshot):
            pass

    with pytest.raises(ProtocolError, match=r"is no snapshot|can't be called"):
        run(main())


def test_a_session_that_was_handed_off_goes_on_in_its_voice(call):
    billing = Persona("billing", "Bill.", "Billing here.", speech=SpeechRequest("", voice="bill"))
    taken = []

    async def during(session, transport):
        await pass_time(0.5)
        session.hand_off(billing)
        await pass_time(4.0)
        taken.append(session.snapshot())

    call(hang_up=6.0, persona=Persona("front", speech=SpeechRequest("", voice="frida")), during=during).go()
    voices = []

    def restored(personas) -> Session:
        front = Persona("front", speech=SpeechRequest("", voice="frida"))
        options = {"snapshot": taken[0], "personas": personas}
        done = call(ASK, ["hello"], [ScriptedReply("Hi.")], hang_up=9.0, persona=front, session_options=options).go()
        voices.append(done.tts.requests[-1].voice)
        return done

    restored([billing])
    assert "is not known here" in restored([]).trace_notes("pack")[0]
    assert voices == ["bill", "frida"]
