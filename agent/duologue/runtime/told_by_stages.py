"""What only the session's own stages know. From anybody else it would have the core decide about what never happened: a
reply that ends while it is played, a tool that nobody asked for."""

from typing import Final

from duologue.core import events as ev
from duologue.errors import ProtocolError

TOLD_BY_STAGES: Final = (
    ev.SpeechStarted, ev.SpeechStopped, ev.PartialTranscript, ev.FinalTranscript, ev.RecognitionFailed, ev.TurnJudged,
    ev.ReplyText, ev.ReplyGenerated, ev.ReplyHeard, ev.HeardSoFar, ev.ReplyEnded, ev.HeardCorrected, ev.ReplyFailed,
    ev.ToolRequested, ev.SummaryMade,
)  # fmt: skip


def refuse_a_stage_s(event: ev.Event) -> None:
    """Raise `ProtocolError` if `event`, which somebody else tells, is a stage's."""
    if isinstance(event, TOLD_BY_STAGES):
        raise ProtocolError(f"{type(event).__name__} is for the session's own stages to tell")
