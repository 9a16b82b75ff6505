"""The worked example at the core's door holds: each line of it, to the second."""

import re

from duologue.core import conversation
from duologue.core import events as ev

EVENTS = [
    ev.SpeechStarted(1.0, since=0.95),
    ev.SpeechStopped(1.5, until=1.45),
    ev.FinalTranscript(1.6, 1, 1, "What time is it?"),
    1.85,
    ev.ReplyHeard(2.0, 1),
    ev.SpeechStarted(3.0, since=2.95),
    ev.SpeechStopped(3.2, until=3.15),
    3.4000000000000004,  # 3.2 and the 0.2 s of `verdict_s`
    ev.FinalTranscript(3.55, 2, 1, ""),
    ev.ReplyEnded(4.6, 1, "It is five o'clock. And the sun is out."),
]
LINE = re.compile(r"^    (\d\.\d\d)  (\(deadline\)|\w+)")


def test_the_page_tells_what_the_core_does(begin):
    talk = begin()
    page = [line for line in (conversation.__doc__ or "").splitlines() if LINE.match(line)]
    assert len(page) == len(EVENTS)
    for line, event in zip(page, EVENTS, strict=True):
        second, name = LINE.match(line).groups()
        if isinstance(event, float):
            assert name == "(deadline)" and talk.conversation.deadline == event
            done = talk.advance(event)
        else:
            assert name == type(event).__name__
            if name == "ReplyHeard":
                talk.feed(ev.ReplyText(1.9, 1, "It is five o'clock. And the sun is out."))
            done = talk.feed(event)
        assert second == f"{talk.conversation.now:.2f}"
        told = {type(action).__name__ for action in done}
        named = set(re.findall(r"\b(?:Open|Finalise|Close)Recognition|BeginReply|ReleaseReply|HoldPlayout|ResumePlayout"
                               r"|TurnEnded|TurnDismissed|ReplyOver", line))  # fmt: skip
        assert named <= told and (named or not told), line
        for state in re.findall(r"→ (\w+)(?= {2,}|$)", line.split("   ", 1)[1])[-1:]:
            assert state in (talk.conversation.core.turn_state, talk.conversation.core.reply_state), line
