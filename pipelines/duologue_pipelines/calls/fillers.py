"""What in a recording was said only to cover a wait: heard, but no answer."""

from collections.abc import Sequence

from duologue.measure import Span
from duologue_pipelines.calls.transcript import AgentReply, Transcript


def filler_span(reply: AgentReply, audible: Sequence[Span], offset_s: float, until: float) -> Span | None:
    """Where the filler of `reply` was heard, in seconds of the recording; None if there was none.

    `audible`: of the agent's channel. `offset_s`: session seconds at the recording's second 0. `until`: where a reply
    ends that has not ended. The answer begins with the audible stretch that its first word lies in; where filler and
    answer run into each other without a gap, with that word, half a word late at most.
    """
    if reply.filler_at is None or reply.start is None:
        return None
    since = max(reply.filler_at, reply.start) - offset_s
    end = (until if reply.end is None else reply.end) - offset_s
    if reply.filler_first and reply.answer_at is not None:
        word = reply.answer_at - offset_s
        begun = max((span.start for span in audible if span.start <= word), default=word)
        end = begun if begun > since + 0.05 else word
    elif not reply.filler_first:
        end = next((span.end for span in audible if span.start >= since - 0.05), end)
    return Span(since, end) if end > since else None


def filler_spans(transcript: Transcript, audible: Sequence[Span], offset_s: float) -> list[Span]:
    """Those of all replies."""
    found = (filler_span(reply, audible, offset_s, transcript.now) for reply in transcript.replies.values())
    return [span for span in found if span is not None]
