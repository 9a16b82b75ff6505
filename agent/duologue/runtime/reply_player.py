"""What the session says: replies being made, the one being played, those that were cut and may be reported on yet."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from duologue.audio import SAMPLE_RATE_HZ, Frame
from duologue.core import actions as act
from duologue.core import events as ev
from duologue.ports.llm import LlmRequest
from duologue.ports.transport import Transport
from duologue.runtime.playout import Playout, PlayoutListener, Track
from duologue.runtime.reply import ReplyContext, ReplyRun
from duologue.runtime.services import Services

CUT_TRACKS_KEPT: Final = 8  # a far side may report late where it cut


class ReplyPlayer:
    """Carries out the core's actions on replies.

    `context`: made for each reply, by what is wanted of it and who speaks. `request`: the prompt of a reply
    now; its second argument allows tools.
    """

    def __init__(
        self,
        transport: Transport,
        services: Services,
        context: Callable[[act.BeginReply], ReplyContext],
        request: Callable[[int, bool], LlmRequest],
        *,
        on_failed: Callable[[Exception], None],
        on_played: Callable[[Frame], None] | None = None,
    ) -> None:
        """`on_played` is told each frame that is sent, with the session second at which it is due to sound."""
        self._transport = transport
        self._make_context = context
        self._request = request
        self._services = services
        behind_s = asyncio.get_running_loop().time() - services.now()  # the loop's clock and the session's
        on_sent = on_played and (lambda frame: on_played(Frame(frame.pcm, frame.at - behind_s)))
        self._playout = Playout(transport, PlayoutListener(self._heard_first, self._played_out, on_failed, on_sent))
        self._runs: dict[int, ReplyRun] = {}
        self._cut_tracks: dict[int, Track] = {}
        self._released_at: tuple[int, float] = (0, 0.0)

    # --- the core's actions ---------------------------------------------------------------------------------------

    def begin(self, action: act.BeginReply) -> None:
        """Make a reply; play it at once unless it is speculative."""
        meter = self._services.meter
        run = self._run(action)
        meter.replies += 1
        meter.speculative += action.speculative
        if not action.speculative:
            self._play(run)
        if action.text is not None:
            run.say(action.text)
        else:
            run.generate(self._request(action.reply, True))

    def release(self, action: act.ReleaseReply) -> None:
        """The speculative reply may be heard."""
        run = self._runs[action.reply]
        self._services.meter.speculative_used += 1
        run.release()
        self._play(run)

    def finish(self, action: act.FinishReply) -> None:
        """No more text comes: let what is made be heard, and end."""
        self._runs[action.reply].finish_text()

    def go_on(self, action: act.ContinueReply) -> None:
        """Ask the model again, with the tools' results."""
        request = self._request(action.reply, action.tools)
        self._runs[action.reply].generate(request, may_use_tools=action.tools)

    def fill(self, action: act.SpeakFiller) -> None:
        """Cover a wait."""
        self._runs[action.reply].filler(action.text)

    def hold(self, action: act.HoldPlayout) -> None:
        """Silence, everything kept."""
        self._playout.hold()
        self.report()

    def resume(self, action: act.ResumePlayout) -> None:
        """Go on from the held word."""
        self._playout.resume()

    def cancel(self, action: act.CancelReply) -> None:
        """Silence for good; tell the core what was heard, or let the far side say it."""
        services = self._services
        run = self._runs.pop(action.reply, None)
        track, position, reported = (run.track if run else None), 0, False
        if self._playout.track is not None and self._playout.track.reply == action.reply:
            reported = self._playout.is_reported
            track, position = self._playout.cut()
            self._count_audio()
        heard = track.heard(position) if track else ""
        if run:
            if action.reason == "late":
                stage, name = run.waits_for
                services.note(stage, f"reply {action.reply} was given up: nothing came from {name} in time", "warning")
            run.cancel(heard)
        sent_away = track is not None and track.sent > 0 and self._transport.plays_far_side
        if track and sent_away:
            self._cut_tracks[action.reply] = track
            for oldest in list(self._cut_tracks)[:-CUT_TRACKS_KEPT]:
                del self._cut_tracks[oldest]
        if not (sent_away and reported):  # who has never reported may not do so now: if it does, that corrects this
            services.post(ev.ReplyEnded(services.now(), action.reply, heard, cut=True))

    def revive(self, action: act.BeginReply, heard: str, rest: str) -> None:
        """Take over a reply that waits for its tools: `heard` was heard in another process, `rest` is said now."""
        run = self._run(action)
        run.recall(heard, rest)
        self._play(run)

    # --- reports --------------------------------------------------------------------------------------------------

    def report(self) -> None:
        """Tell the core how far the reply was heard until now."""
        track, services = self._playout.track, self._services
        if track:
            at = self._playout.position()
            services.post(ev.HeardSoFar(services.now(), track.reply, track.heard(at), track.rest_s(at)))

    def far_side_reports(self, event: ev.PlayoutReported) -> None:
        """The far side says how much of a reply it has played."""
        track, services = self._playout.track, self._services
        if not self._transport.plays_far_side:  # we see what is played better than it does
            return
        if track and track.reply == event.reply:
            position = self._playout.report(event.samples)
            services.post(ev.HeardSoFar(services.now(), event.reply, track.heard(position), track.rest_s(position)))
            self._playout.end_if_heard()
        elif cut := self._cut_tracks.get(event.reply):
            heard = cut.heard(min(max(0, event.samples - cut.repeated), cut.made))
            services.post(ev.ReplyEnded(services.now(), event.reply, heard, cut=True))

    def _count_audio(self) -> None:
        self._services.meter.agent_audio_s = self._playout.sent_samples / SAMPLE_RATE_HZ

    @property
    def position_s(self) -> float:
        """Seconds of the reply being played that were heard by now."""
        return self._playout.position() / SAMPLE_RATE_HZ

    def silence(self) -> tuple[int, str]:
        """The session is over: nothing more is heard, every reply stops.

        Which one was played, and what of it was heard.
        """
        for run in self._runs.values():
            run.cancel("")
        self._runs.clear()
        track, position = self._playout.cut()
        self._count_audio()
        return (track.reply, track.heard(position)) if track else (0, "")

    # --- inside ---------------------------------------------------------------------------------------------------

    def _run(self, action: act.BeginReply) -> ReplyRun:
        context = self._make_context(action)
        run = self._runs[action.reply] = ReplyRun(action.reply, context, released=not action.speculative)
        return run

    def _play(self, run: ReplyRun) -> None:
        self._released_at = (run.number, self._services.now())
        self._playout.start(run.track)

    def _heard_first(self, reply: int) -> None:
        services = self._services
        number, released_at = self._released_at
        if number == reply:
            services.meter.timing("response", services.now() - released_at)
        services.post(ev.ReplyHeard(services.now(), reply))

    def _played_out(self, reply: int, heard: str) -> None:
        if run := self._runs.pop(reply, None):
            run.finish()
        self._count_audio()
        self._services.post(ev.ReplyEnded(self._services.now(), reply, heard))

    def live_tracks(self) -> Iterable[Track]:
        """The tracks that are being made or played."""
        return [run.track for run in self._runs.values()]
