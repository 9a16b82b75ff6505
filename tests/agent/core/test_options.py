"""What may be wanted otherwise of one reply, and what contradicts itself: refused, and nothing has changed."""

import pytest

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.history import CallItem, OutputItem, UserItem
from duologue.core.messages import Message, ToolSpec
from duologue.core.options import INPUT_ITEMS_MAX, PLAIN, ReplyOptions
from duologue.errors import ProtocolError

CLOCK = ToolSpec("clock", "tells the time", {})
CALL, OUTPUT = CallItem("a", "clock", "{}"), OutputItem("a", "17:00")

CONTRADICTIONS = {
    "two tools have one name": ReplyOptions(tools=(CLOCK, CLOCK)),
    "tool_choice 'camera' is none of the reply's tools": ReplyOptions(tools=(CLOCK,), tool_choice="camera"),
    "a tool is required, and the reply has none": ReplyOptions(tools=(), tool_choice="required"),
    "a reply that is text only has no voice": ReplyOptions(text_only=True, voice="Nova"),
    "temperature must lie between 0 and 2, got 2.1": ReplyOptions(temperature=2.1),
    "temperature must lie between 0 and 2, got -1": ReplyOptions(temperature=-1.0),
    "output_tokens_max must be 1 or more, got 0": ReplyOptions(output_tokens_max=0),
    f"the input has {INPUT_ITEMS_MAX + 1} items, at most {INPUT_ITEMS_MAX}": ReplyOptions(
        input=(UserItem(0, "hi"),) * (INPUT_ITEMS_MAX + 1)
    ),
    "the input has a result of 'a', a call that is not in it": ReplyOptions(input=(OUTPUT,)),
}
FITTING = (
    PLAIN,
    ReplyOptions(tools=(CLOCK,), tool_choice="clock"),
    ReplyOptions(tools=(CLOCK,), tool_choice="required"),
    ReplyOptions(tools=()),
    ReplyOptions(tool_choice="clock"),  # of the session's tools, which only the runtime knows
    ReplyOptions(text_only=True),
    ReplyOptions(voice="Nova", temperature=0.0, output_tokens_max=1),
    ReplyOptions(temperature=2.0, in_history=False),
    ReplyOptions(input=()),
    ReplyOptions(input=(CALL, OUTPUT, UserItem(0, "And in Rome?"))),
    ReplyOptions(input=(UserItem(0, "hi"),) * INPUT_ITEMS_MAX),
)


@pytest.mark.parametrize("problem", CONTRADICTIONS)
def test_a_contradiction_is_refused_and_nothing_has_changed(begin, problem):
    talk = begin()
    before = talk.conversation.snapshot()
    with pytest.raises(ProtocolError) as refusal:
        talk.feed(ev.ReplyRequested(1.0, "tag", CONTRADICTIONS[problem]))
    assert problem in str(refusal.value)
    assert talk.conversation.snapshot() == before and talk.advance(1.0) == []


@pytest.mark.parametrize("options", FITTING)
def test_what_fits_together_comes_with_the_reply_and_its_tag(begin, options):
    talk = begin()
    assert talk.feed(ev.ReplyRequested(1.0, "mine", options)) == [
        act.BeginReply(1, 0, persona="test", tag="mine", options=options)
    ]
    assert talk.conversation.options(1) == options
    assert talk.feed(ev.ReplyEnded(2.0, 1, "Yes.")) == [act.ReplyOver(1, "mine", "Yes.")]
    assert talk.conversation.options(1) == PLAIN
    assert bool(talk.conversation.history) == options.in_history


def test_an_input_stands_in_place_of_the_history_for_that_reply(begin):
    talk = begin().greeted()
    talk.conversation.core.history.summary = "They met."
    talk.feed(ev.ReplyRequested(3.5, options=ReplyOptions(input=(UserItem(0, "Name this talk."),))))
    assert talk.conversation.prompt(2) == [Message("system", "Be kind."), Message("user", "Name this talk.")]
    talk.feed(ev.ReplyEnded(4.0, 2, "Of time."), ev.ReplyRequested(4.1, options=ReplyOptions("Sing.", input=())))
    assert talk.conversation.prompt(3) == [Message("system", "Sing.")]


def test_options_move_with_the_reply(begin):
    talk = begin()
    options = ReplyOptions("Sing.", (CALL, OUTPUT), (CLOCK,), "clock", "Nova", 9, 0.5, in_history=False)
    talk.feed(ev.ReplyRequested(1.0, "mine", options))
    assert talk.moved_elsewhere().actions == [act.BeginReply(2, 0, persona="test", tag="mine", options=options)]
    waiting = begin().answering()
    waiting.feed(ev.ReplyRequested(2.5, "mine", options))
    other = waiting.moved_elsewhere()
    other.feed(ev.ReplyEnded(3.0, 2, "It is."))
    assert (other.last(act.BeginReply).tag, other.last(act.BeginReply).options) == ("mine", options)


# --- tags, and the one end of each reply ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "text"),
    [(ev.ReplyRequested(2.5, "mine"), ""), (ev.SayRequested(2.5, "One.", tag="mine"), "One.")],
    ids=["reply", "say"],
)
def test_a_tag_comes_back_with_a_refusal(begin, wanted, text):
    full = begin(queue_max=0).answering()
    assert full.feed(wanted) == [act.RefuseSay(text, "too much is waiting to be said", "mine")]
    closing = begin().answering()
    closing.feed(wanted)
    assert act.RefuseSay(text, "closing", "mine") in closing.feed(ev.CloseRequested(2.6, "bye", finish=False))
    assert closing.feed(ev.SayRequested(2.7, "Two.", tag="other")) == [act.RefuseSay("Two.", "closing", "other")]


def test_a_tag_comes_back_with_what_is_said(begin):
    talk = begin()
    assert talk.feed(ev.SayRequested(0.5, "Hello.", tag="mine"))[0].tag == "mine"
    assert talk.feed(ev.ReplyEnded(1.0, 1, "Hello.")) == [act.ReplyOver(1, "mine", "Hello.")]


def test_each_reply_is_over_once_however_it_goes(begin):
    talk = begin().asked()
    assert talk.all(act.ReplyOver) == []
    talk.feed(ev.InterruptRequested(2.0))
    assert talk.all(act.ReplyOver) == []  # what was heard of it is not known yet
    talk.advance(3.0)
    assert talk.all(act.ReplyOver) == [act.ReplyOver(1, "", "", "stopped")]
    talk.feed(ev.ReplyEnded(3.1, 1, "It is", cut=True), ev.HeardCorrected(3.2, 1, "It is five"))
    assert len(talk.all(act.ReplyOver)) == 1


def test_a_reply_whose_stage_failed_says_so_in_the_end(begin):
    talk = begin().answering()
    talk.feed(ev.ReplyFailed(2.5, 1, "llm", "stream broke"))
    assert talk.feed(ev.ReplyEnded(3.0, 1, "It is"))[0] == act.ReplyOver(1, "", "It is", "failed")


def test_a_speculative_reply_that_is_dropped_was_never_one(begin):
    talk = begin().pause()
    talk.feed(ev.TurnCleared(1.7), ev.ReplyEnded(1.8, 1, "", cut=True))
    assert talk.all(act.ReplyOver) == []
