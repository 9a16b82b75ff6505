"""Who speaks has one home: a persona speaks a whole reply, by its own instructions, model and voice."""

import pytest

from duologue import tool
from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.history import AgentItem
from duologue.errors import ProtocolError
from duologue.ports.tts import SpeechRequest
from duologue.runtime.personas import PERSONAS_MAX
from duologue.runtime.session import Session
from duologue.runtime.session_setup import Persona
from duologue.testing.scripted_llm import ScriptedLlm, ScriptedReply
from duologue.testing.virtual_time import pass_time

ALICE = Persona("alice", "You are Alice.", speech=SpeechRequest("", voice="alto"))
BOB = Persona("bob", "You are Bob.", "Sales, Bob speaking.", speech=SpeechRequest("", voice="bass"))


def spoken(done):
    """What was synthesised, and in which voice."""
    return [(request.voice, request.text.strip()) for request in done.tts.requests if request.text.strip()]


def spoke(done):
    items = done.session.conversation.history
    return [(item.persona, item.text) for item in items if isinstance(item, AgentItem)]


def test_a_persona_that_is_changed_in_mid_turn_speaks_from_the_next_turn_on(call, until):
    async def during(session, transport):
        await until(session, 1.5)  # the user is speaking
        session.use_persona(BOB)

    done = call(
        [(1.0, 1.0), (5.0, 1.0)],
        ["who is there", "and now"],
        [ScriptedReply("Alice is."), ScriptedReply("Bob is.")],
        persona=ALICE,
        during=during,
        hang_up=9.0,
    ).go()
    assert [request.messages[0].text for request in done.llm.requests] == ["You are Alice.", "You are Bob."]
    assert spoken(done) == [("alto", "Alice is."), ("bass", "Bob is.")]
    assert spoke(done) == [("alice", "Alice is."), ("bob", "Bob is.")]
    assert [begun.persona for begun in done.all(act.BeginReply)] == ["alice", "bob"]


@pytest.mark.parametrize("by", ["tool", "call"])
def test_a_call_is_transferred_and_the_new_one_greets_in_its_own_voice(call, until, by):
    @tool
    async def transfer(session: Session) -> str:
        """Transfer the caller to sales."""
        session.hand_off(BOB)
        return "Done."

    async def during(session, transport):
        await until(session, 3.0)
        session.hand_off(BOB)

    script = [ScriptedReply("I put you through to sales.")]
    if by == "tool":
        script = [ScriptedReply("", tool_calls=(act_call("transfer"),)), *script]
    done = call(
        [(1.0, 1.0), (9.0, 1.0)],
        ["sales please", "how much is it"],
        [*script, ScriptedReply("Ten.")],
        persona=ALICE,
        tools=[transfer] if by == "tool" else [],
        during=None if by == "tool" else during,
        hang_up=13.0,
    ).go()
    assert spoken(done) == [
        ("alto", "I put you through to sales."),
        ("bass", "Sales, Bob speaking."),
        ("bass", "Ten."),
    ]
    assert [who for who, _ in spoke(done)] == ["alice", "bob", "bob"]
    assert done.llm.requests[-1].messages[0].text == "You are Bob."
    assert done.session.error is None


def act_call(name):
    from duologue.core.messages import ToolCall

    return ToolCall("c1", name, "{}")


def test_a_persona_may_bring_a_model_of_its_own(call, until):
    own = ScriptedLlm([ScriptedReply("Arr.")])

    async def during(session, transport):
        session.use_persona(Persona("pirate", "You are a pirate.", llm=own))

    done = call([(1.0, 1.0)], ["hello"], [ScriptedReply("Hello.")], during=during, hang_up=5.0).go()
    assert done.said()[1] == ("agent", "Arr.") and len(own.requests) == 1 and list(done.llm.requests) == []


def test_a_voice_for_one_reply_is_its_own(call, until):
    async def during(session, transport):
        session.request_reply("once", voice="tenor", instructions="Sing.")
        await until(session, 4.0)
        session.request_reply()

    done = call([], [], [ScriptedReply("La."), ScriptedReply("Fine.")], persona=ALICE, during=during, hang_up=8.0).go()
    assert spoken(done) == [("tenor", "La."), ("alto", "Fine.")]
    assert [request.messages[0].text for request in done.llm.requests] == ["Sing.", "You are Alice."]
    assert [(over.tag, over.heard) for over in done.all(act.ReplyOver)] == [("once", "La."), ("", "Fine.")]


def test_a_reply_that_is_text_only_is_told_and_never_heard(call):
    async def during(session, transport):
        session.request_reply("text", text_only=True)

    done = call([], [], [ScriptedReply("**Bold** <b>as it is</b>")], during=during, hang_up=3.0).go()
    assert "".join(event.text for event in done.all(ev.ReplyText)) == "**Bold** <b>as it is</b>"
    assert spoken(done) == [] and not done.audible(0.0, 3.0)
    assert done.said() == [("agent", "**Bold** <b>as it is</b>")]


def test_personas_are_bounded(call):
    async def during(session, transport):
        for number in range(PERSONAS_MAX - 1):
            session.use_persona(Persona(f"p{number}"))
        with pytest.raises(ProtocolError, match="32 personas have spoken"):
            session.use_persona(Persona("one too many"))
        session.use_persona(Persona("p3", "Changed."))
        await pass_time(0.0)

    assert call(during=during, hang_up=1.0).go().session.error is None


# --- one ordered way out ----------------------------------------------------------------------------------------------


def test_no_audio_overtakes_what_announces_it_and_no_cut_precedes_its_telling(call):
    told = []

    async def during(session, transport):
        def note_down(event):
            told.append((type(event).__name__, transport.unplayed() + transport.played_samples))

        session.observe(note_down)

    done = call([(1.0, 1.0), (3.5, 1.0)], ["tell me a story", "stop it please"], hang_up=7.0, during=during).go()
    names = [name for name, _ in told]
    assert dict(told[: names.index("ReleaseReply") + 1])["ReleaseReply"] == 0  # not a frame before it was told
    cut = names.index("CancelReply")
    assert told[cut][1] > 0 and done.all(act.CancelReply)
    assert names.index("HoldPlayout") < cut < names.index("TruncateHistory")


def test_an_observer_loses_nothing_and_one_that_breaks_loses_its_place(call):
    good, bad = [], []

    def breaks(event):
        bad.append(event)
        raise ZeroDivisionError("of its own")

    async def during(session, transport):
        session.observe(good.append)
        session.observe(breaks)
        session.say("Hello.")

    done = call(during=during, hang_up=3.0).go()
    assert len(bad) == 1 and done.session.error is None
    assert any(getattr(event, "source", "") == "observer" for event in good)
    assert [event for event in good if isinstance(event, ev.HeardSoFar)] or len(good) >= len(done.events) - 5


def test_observers_are_bounded_and_end_when_they_are_told_to(call):
    told = []

    async def during(session, transport):
        for _ in range(32):
            end = session.observe(told.append)
        with pytest.raises(ProtocolError, match="32 observers already watch"):
            session.observe(told.append)
        end()
        end()
        session.observe(lambda event: None)

    assert call(during=during, hang_up=0.5).go().session.error is None


def test_a_transport_may_accompany_the_session_and_ends_with_it(call):
    from duologue.testing.memory_transport import MemoryTransport

    seen = []

    class Companion(MemoryTransport):
        async def accompany(self, session):
            seen.append("begun")
            try:
                await session.wait_closed()
                await pass_time(100)
            finally:
                seen.append("ended")

    from duologue.testing.virtual_time import run

    async def main():
        one = call(hang_up=1.0)
        async with one.agent().session(Companion(hang_up=1.0)) as session:
            await session.wait_closed()
        return session

    assert run(main()).error is None and seen == ["begun", "ended"]
