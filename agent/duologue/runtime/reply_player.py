"""What the session says: replies being made, the one being played, those that are over and may be corrected yet."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, cast

from duologue.audio import Frame
from duologue.core import actions as act
from duologue.core import events as ev
from duologue.errors import ProtocolError
from duologue.ports.llm import LlmRequest
from duologue.ports.transport import LocalTransport, RemoteTransport, Transport
from duologue.runtime.playout.base import Heard, PlayoutListener
from duologue.runtime.playout.ended import KEPT, EndedReplies
from duologue.runtime.playout.local import LocalPlayout
from duologue.runtime.playout.remote import RemotePlayout
from duologue.runtime.playout.track import Track
from duologue.runtime.reply import ReplyContext, ReplyRun
from duologue.runtime.services import Services

MS_MAX: Final = 1e9  # no reply is so long: eleven days
REPORT_NOTES_MAX: Final = 20  # of one session; a player that counts wrong does so fifty times a second


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
        on_spoken: Callable[[int, str], None],
        on_failed: Callable[[Exception], None],
        on_played: Callable[[Frame], None] | None = None,
    ) -> None:
        """`on_played` is told each frame that is sent, with the session second at which it is due to sound."""
        self._make_context = context
        self._request = request
        self._services = services
        behind_s = asyncio.get_running_loop().time() - services.now()  # the loop's clock and the session's
        on_sent = on_played and (lambda frame: on_played(Frame(frame.pcm, frame.at - behind_s)))
        listener = PlayoutListener(self._heard_first, on_spoken, self._played_out, on_failed, on_sent)
        self._remote = RemotePlayout(cast(RemoteTransport, transport), listener) if transport.reports_playout else None
        self._playout = self._remote or LocalPlayout(cast(LocalTransport, transport), listener)
        self._runs: dict[int, ReplyRun] = {}
        self._ended = EndedReplies()
        self._report_notes = 0
        self._truncated = (0, 0)  # reply and samples: it will be cut there
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
        """Silence for good; tell the core what was heard, or let the remote player say it."""
        services = self._services
        run = self._runs.pop(action.reply, None)
        cut = self._cut(action.reply)
        heard = cut.text if cut else run.track.heard(0) if run else ""
        if run:
            if action.reason == "late":
                stage, name = run.waits_for
                services.note(stage, f"reply {action.reply} was given up: nothing came from {name} in time", "warning")
            run.cancel(heard)
        if cut and cut.track.count:
            self._count_audio(cut.track)
            ended = self._ended.keep(cut, cut=True)
            ended.is_awaited = cut.is_told  # who has never reported may not do so now: if it does, that corrects this
            if ended.is_awaited:
                return
        services.post(ev.ReplyEnded(services.now(), action.reply, heard, cut=True))

    def _cut(self, reply: int) -> Heard | None:
        """Silence `reply` if it is the one that is played; where the player has cut it by itself it knows where."""
        cut = self._playout.cut() if self._is_played(reply) else None
        if cut is None or self._truncated[0] != reply:
            return cut
        count = cut.track.within(self._truncated[1]) or 0
        return Heard(cut.track, count, cut.track.heard(cut.track.position(count)))

    def _is_played(self, reply: int) -> bool:
        return self._playout.track is not None and self._playout.track.reply == reply

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
            rest_s = track.rest_s(self._playout.position())
            services.post(ev.HeardSoFar(services.now(), track.reply, self._playout.heard_text(), rest_s))

    def reported(self, reply: int, samples: int) -> None:
        """The remote player says how much of `reply` it has played. What can't be true is noted and dropped."""
        wrong = self._take_report(reply, samples)
        if wrong and self._report_notes < REPORT_NOTES_MAX:
            self._report_notes += 1
            last = "; no more of these is noted" if self._report_notes == REPORT_NOTES_MAX else ""
            self._services.note("transport", f"dropped: a report of playout: {wrong}{last}")

    def _take_report(self, reply: int, samples: int) -> str:
        """What is wrong with it, or ""."""
        if self._remote is None:
            return "the transport plays in our sight"
        if any(not isinstance(number, int) or isinstance(number, bool) for number in (reply, samples)) or samples < 0:
            return f"{samples!r} samples of reply {reply!r}, expected whole numbers that are not negative"
        if self._is_played(reply):
            wrong = self._remote.report(samples)
            if not wrong:
                self.report()
                self._remote.end_if_heard()
            return wrong
        wrong, heard = self._ended.report(reply, samples)
        if heard is not None:
            self._correct(reply, heard)
        return wrong

    def heard_at(self, reply: int, samples: int) -> str | None:
        """The text that the first `samples` of `reply` say, to the word, whether it is played or over; None if nothing
        of it was played, or so long ago that it is forgotten. `ProtocolError` beyond its end."""
        played, ended = self._playout.track, self._ended.get(reply)
        track = played if played and played.reply == reply else ended.track if ended else None
        if track is None:
            return None
        count = track.within(samples)
        if count is None:
            length_ms, at_ms = (round(1000 * number / track.rate_hz) for number in (track.count, samples))
            raise ProtocolError(f"reply {reply} is {length_ms} ms long, it can't be cut at {at_ms} ms")
        return track.heard(track.position(count))

    def truncate(self, reply: int, audio_ms: float, rate_hz: int) -> None:
        """`reply` was heard as far as that and no more: silence it, or correct what the core knows."""
        is_number = isinstance(audio_ms, int | float) and not isinstance(audio_ms, bool)
        if not is_number or not 0 <= audio_ms < MS_MAX or not isinstance(reply, int):
            raise ProtocolError(
                f"a reply can't be cut at {audio_ms!r:.40} ms, got reply {reply!r:.40}",
                hint="Count from its first sample; replies have whole numbers",
            )
        samples = int(audio_ms * rate_hz / 1000)
        heard, ended = self.heard_at(reply, samples), self._ended.get(reply)
        if heard is None:
            raise ProtocolError(
                f"reply {reply} can't be cut: nothing of it was played, or it is too long ago",
                hint=f"The newest {KEPT} replies that were heard can be",
            )
        if self._is_played(reply):
            self._truncated = (reply, samples)
            self._services.post(ev.InterruptRequested(self._services.now()))
        elif ended:
            ended.count, ended.is_sure = samples, True
            self._correct(reply, heard)

    def _correct(self, reply: int, heard: str) -> None:
        """Tell the core what was heard of a reply that is over; one that it waits for is over only now."""
        services, ended = self._services, self._ended.get(reply)
        if ended and ended.is_awaited:
            ended.is_awaited = False
            services.post(ev.ReplyEnded(services.now(), reply, heard, cut=True))
        else:
            services.post(ev.HeardCorrected(services.now(), reply, heard))

    def _count_audio(self, track: Track) -> None:
        self._services.meter.agent_audio_s = self._playout.played_samples / track.rate_hz

    def silence(self) -> tuple[int, str]:
        """The session is over: nothing more is heard, every reply stops.

        Which one was played, and what of it was heard.
        """
        for run in self._runs.values():
            run.cancel("")
        self._runs.clear()
        cut = self._playout.cut()
        if cut is None:
            return 0, ""
        self._count_audio(cut.track)
        return cut.track.reply, cut.text

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

    def _played_out(self, heard: Heard) -> None:
        reply = heard.track.reply
        if run := self._runs.pop(reply, None):
            run.finish()
        self._count_audio(heard.track)
        if heard.track.count:
            self._ended.keep(heard, cut=False)
        self._services.post(ev.ReplyEnded(self._services.now(), reply, heard.text))

    def live_tracks(self) -> Iterable[Track]:
        """The tracks that are being made or played."""
        return [run.track for run in self._runs.values()]
