"""The rules about replies and their tools."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.history import CallItem
from duologue.core.machines import Phase
from duologue.sim.watch import Checker, Hook, Step

HOLD_S_MAX: Final = 3.0  # without any voice: the longest verdict is a second, and the detector may be late
TOOL_SLACK_S: Final = 0.1
_NONE: Final[Counter[str]] = Counter()
ROUNDS_OVER: Final = 1  # the round in which the model goes on without tools


class SilentAfterTheCut(Checker):
    """A cancelled reply is silent."""

    name = "silent after the cut"
    rule = "Nothing of a reply is heard, or done for it, after it was cancelled or while it is held."

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._cut = self.watch.cut_replies

    def hears(self) -> Mapping[type, Hook]:
        kinds = (act.ReleaseReply, act.HoldPlayout, act.ResumePlayout, act.SpeakFiller, act.ContinueReply, act.RunTool)
        return {act.CancelReply: self._cancelled, **dict.fromkeys(kinds, self._done)}

    def _cancelled(self, action: act.CancelReply) -> None:
        if action.reply in self._cut:
            self.blame(f"reply {action.reply} was cancelled twice")
        self._cut.add(action.reply)

    def _done(self, action: Any) -> None:
        if action.reply in self._cut:
            self.blame(f"{action} after the cut")

    def settled(self, step: Step) -> None:
        audible = self.watch.world.audible
        if not audible:
            return
        reply, phase = self.state.reply, self.phase
        if audible in self._cut:
            self.blame(f"reply {audible} is heard after the cut")
        elif reply is None or reply.number != audible:
            self.blame(f"reply {audible} is heard while {phase}, and it is not live")
        elif reply.held:
            self.blame(f"reply {audible} is heard although it is held")


class OneLiveReply(Checker):
    """One reply at most."""

    name = "one live reply"
    rule = "At most one reply is made or played at any time, and each has a number of its own."

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._live = self._last = 0

    def hears(self) -> Mapping[type, Hook]:
        return {act.BeginReply: self._begun, act.CancelReply: self._cancelled, ev.ReplyEnded: self._ended}

    def _begun(self, action: act.BeginReply) -> None:
        if self._live:
            self.blame(f"reply {action.reply} was begun while {self._live} is live")
        if action.reply <= self._last:
            self.blame(f"reply {action.reply} was begun after {self._last}")
        self._live = self._last = action.reply

    def _cancelled(self, action: act.CancelReply) -> None:
        if action.reply != self._live:
            self.blame(f"reply {action.reply} was cancelled and {self._live} is live")
        self._live = 0

    def _ended(self, event: ev.ReplyEnded) -> None:
        if event.reply == self._live:
            self._live = 0

    def taken_over(self) -> None:
        reply = self.state.reply
        keeps = reply is not None and reply.released and bool(reply.calls)
        self._live = reply.number if reply is not None and keeps else 0

    def settled(self, step: Step) -> None:
        live = self.watch.world.conversation.reply
        if live != self._live:
            self.blame(f"reply {self._live} should be live and {live} is")
            self._live = live


class SpeculationIsUnheard(Checker):
    """Nothing of a reply is heard before its turn is over."""

    name = "speculation is unheard"
    rule = "Nothing of a speculative reply is heard before it is released, and that is after its turn has ended."

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._waiting: dict[int, int] = {}
        self._ended: set[int] = set()

    def hears(self) -> Mapping[type, Hook]:
        return {
            act.BeginReply: self._begun,
            act.TurnEnded: lambda action: self._ended.add(action.turn),
            act.ReleaseReply: self._released,
            act.CancelReply: lambda action: self._waiting.pop(action.reply, None),
            act.HoldPlayout: self._played,
            act.ResumePlayout: self._played,
            act.SpeakFiller: self._played,
            ev.ReplyHeard: self._played,
        }

    def _begun(self, action: act.BeginReply) -> None:
        if action.speculative:
            self._waiting[action.reply] = action.turn

    def _released(self, action: act.ReleaseReply) -> None:
        turn = self._waiting.pop(action.reply, None)
        if turn is None:
            self.blame(f"reply {action.reply} was released and did not wait for it")
        elif turn not in self._ended:
            self.blame(f"reply {action.reply} was released before turn {turn} had ended")

    def _played(self, item: Any) -> None:
        if item.reply in self._waiting:
            self.blame(f"{item} before the release")

    def taken_over(self) -> None:
        self._waiting.clear()


class SpeculationRunsNoTool(Checker):
    """A speculative reply has no effects."""

    name = "speculation runs no tool"
    rule = "The tools of a speculative reply run when it is released, not before."

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._waiting: set[int] = set()

    def hears(self) -> Mapping[type, Hook]:
        return {
            act.BeginReply: self._begun,
            act.ReleaseReply: lambda action: self._waiting.discard(action.reply),
            act.RunTool: self._run,
        }

    def _begun(self, action: act.BeginReply) -> None:
        if action.speculative:
            self._waiting.add(action.reply)

    def _run(self, action: act.RunTool) -> None:
        if action.reply in self._waiting:
            self.blame(f"{action.name} runs for the speculative reply {action.reply}")


class ToolsAreAnswered(Checker):
    """Every tool call comes to an end."""

    name = "tools are answered"
    rule = "A tool that runs is answered, cancelled or timed out; its reply then goes on, and in the end by itself."

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._wanted: dict[str, ev.ToolRequested] = {}
        self._running: dict[str, float] = {}
        self._rounds: dict[int, int] = {}

    def hears(self) -> Mapping[type, Hook]:
        return {
            ev.ToolRequested: self._requested,
            act.RunTool: self._run,
            act.CancelTool: self._cancelled,
            ev.ToolReturned: lambda event: self._running.pop(event.call_id, None),
            act.ContinueReply: self._continued,
        }

    def _requested(self, event: ev.ToolRequested) -> None:
        self._wanted[event.call_id] = event

    def _run(self, action: act.RunTool) -> None:
        wanted = self._wanted.get(action.call_id)
        if wanted is None or action.call_id in self._running:
            self.blame(f"{action} was not asked for, or runs already")
            return
        default_s = self.watch.world.scenario.policy.reply.tool_s_max
        timeout_s = default_s if wanted.timeout_s is None else wanted.timeout_s
        due = self.watch.world.conversation.now + timeout_s
        self._running[action.call_id] = float("inf") if action.remote else due  # the caller's side takes its time

    def _cancelled(self, action: act.CancelTool) -> None:
        if self._running.pop(action.call_id, None) is None:
            self.blame(f"{action} and it does not run")

    def _continued(self, action: act.ContinueReply) -> None:
        rounds = self._rounds[action.reply] = self._rounds.get(action.reply, 0) + 1
        rounds_max = self.watch.world.scenario.policy.reply.tool_rounds_max
        if rounds > rounds_max + ROUNDS_OVER:
            self.blame(
                f"reply {action.reply} goes on for the {rounds}th time, {rounds_max} rounds of tools are allowed"
            )

    def taken_over(self) -> None:
        self._running.clear()
        reply = self.state.reply
        for call in reply.calls if reply else ():
            wanted = ev.ToolRequested(
                0.0, reply.number if reply else 0, call.call_id, call.name, call.arguments, call.timeout_s
            )
            self._wanted.setdefault(call.call_id, replace(wanted, remote=call.remote, cancellable=call.cancellable))
            if call.remote and call.started and call.output is None:
                self._running[call.call_id] = float("inf")

    def settled(self, step: Step) -> None:
        reply, now = self.state.reply, self.watch.world.conversation.now
        live = reply.number if reply else 0
        for call_id, deadline in list(self._running.items()):
            wanted = self._wanted[call_id]
            if wanted.reply != live:
                del self._running[call_id]
                if wanted.cancellable and not wanted.remote:
                    self.blame(f"{call_id} still runs for reply {wanted.reply}, which is not live")
            elif deadline + TOOL_SLACK_S < now:
                self.blame(f"{call_id} runs {now - deadline:.2f} s past its time-out")
        answered = reply and all(call.output is not None or call.remote for call in reply.calls)
        if reply and reply.released and reply.generated and reply.calls and answered:
            self.blame(f"reply {live} waits for tools that have all answered")


class EachReplyIsOverOnce(Checker):
    """A reply is told to be over once, to whoever wanted it."""

    name = "each reply is over once"
    rule = "Each reply that may be heard is told to be over once, and each tag comes back with its reply or refusal."

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: dict[int, str] = {}  # replies that may be heard and are not over, with their tags
        self._tags: dict[int, str] = {}
        self._wanted: Counter[str] = Counter()  # tags that have not come back

    def hears(self) -> Mapping[type, Hook]:
        return {
            ev.ReplyRequested: self._asked,
            ev.SayRequested: self._asked,
            act.BeginReply: self._begun,
            act.ReleaseReply: self._released,
            act.RefuseSay: self._answered,
            act.ReplyOver: self._over,
        }

    def _asked(self, event: ev.ReplyRequested | ev.SayRequested) -> None:
        if event.tag:
            self._wanted[event.tag] += 1

    def _answered(self, action: act.BeginReply | act.RefuseSay) -> None:
        if action.tag:
            self._wanted[action.tag] -= 1

    def _begun(self, action: act.BeginReply) -> None:
        self._answered(action)
        self._tags[action.reply] = action.tag
        if not action.speculative:
            self._open[action.reply] = action.tag

    def _released(self, action: act.ReleaseReply) -> None:
        self._open[action.reply] = self._tags.get(action.reply, "")

    def _over(self, action: act.ReplyOver) -> None:
        tag = self._open.pop(action.reply, None)
        if tag is None:
            self.blame(f"{action}: it is over already, or was never heard of")
        elif tag != action.tag:
            self.blame(f"{action}: its tag was {tag!r}")

    def taken_over(self) -> None:
        state = self.state
        known = (*state.cutting, *([state.reply] if state.reply else []))
        self._tags = {reply.number: reply.tag for reply in known}
        self._open = {reply.number: reply.tag for reply in known if reply.released}

    def settled(self, step: Step) -> None:
        state = self.state
        if not self._open and not self._wanted and not state.queue:
            return
        known = {reply.number for reply in (*state.cutting, *([state.reply] if state.reply else []))}
        waiting = Counter([queued.tag for queued in state.queue if queued.tag]) if state.queue else _NONE
        if step.kind == "take_over":  # one goes on under another number
            self._open = {number: tag for number, tag in self._open.items() if number in known}
            self._wanted = Counter(waiting)
        for number in [number for number in self._open if number not in known]:
            del self._open[number]
            self.blame(f"reply {number} is neither live nor being cut, and was not told to be over")
        if self._wanted != waiting:  # as multisets: a tag that is there no time is none
            self.blame(f"the tags {dict(self._wanted)} have not come back, and {dict(waiting)} wait")
            self._wanted = Counter(waiting)


class RemoteToolsEndTheReply(Checker):
    """The caller's side takes its time."""

    name = "remote tools end the reply"
    rule = (
        "A reply that asked the caller's side for a tool is finished, not continued; the result is kept however late."
    )

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._asked: set[int] = set()
        self._finished: set[int] = set()
        self._calls: set[str] = set()
        self._returned = ""

    def hears(self) -> Mapping[type, Hook]:
        return {
            act.RunTool: self._run,
            act.ContinueReply: self._continued,
            act.FinishReply: self._finish,
            ev.ToolReturned: self._answered,
        }

    def _run(self, action: act.RunTool) -> None:
        if action.remote:
            self._asked.add(action.reply)
            self._calls.add(action.call_id)

    def _continued(self, action: act.ContinueReply) -> None:
        if action.reply in self._asked:
            self.blame(f"{action}, and the caller's side was asked for a tool")

    def _finish(self, action: act.FinishReply) -> None:
        if action.reply not in self._asked or action.reply in self._finished:
            self.blame(f"{action}, and nobody asked the caller's side, or it is finished already")
        self._finished.add(action.reply)

    def _answered(self, event: ev.ToolReturned) -> None:
        self._returned = event.call_id if event.call_id in self._calls else ""

    def taken_over(self) -> None:
        reply = self.state.reply
        for call in reply.calls if reply else ():
            if reply and call.remote and call.started:
                self._asked.add(reply.number)
                self._calls.add(call.call_id)

    def settled(self, step: Step) -> None:
        reply = self.state.reply
        if reply and reply.number in self._asked - self._finished and reply.generated and not reply.calls:
            self.blame(f"reply {reply.number} asked the caller's side, is done, and nobody ends it")
        if self._returned and self.phase is not Phase.CLOSED:
            call_id, self._returned = self._returned, ""
            about = [item for item in self.watch.world.conversation.history if getattr(item, "call_id", "") == call_id]
            if len(about) == 1 and isinstance(about[0], CallItem):
                self.blame(f"the result of {call_id} came, and its call stands without one")


class HoldsEnd(Checker):
    """A held agent goes on or gives up."""

    name = "holds end"
    rule = "A hold ends soon after the voice that it was for: the reply goes on or is cut."

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._since: float | None = None

    def settled(self, step: Step) -> None:
        state = self.state
        held = state.reply is not None and state.reply.held
        if not held or state.voice:
            self._since = None
        elif self._since is None:
            self._since = step.at
        elif step.at - self._since > HOLD_S_MAX:
            self.blame(f"held for {step.at - self._since:.1f} s without a voice")
            self._since = None


class NothingIsSaidInPieces(Checker):
    """A reply that goes on elsewhere goes on from a word."""

    name = "goes on from a word"
    rule = "A reply that another process takes over goes on from the start of the first word that was not heard."

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._text: str | None = None

    def hears(self) -> Mapping[type, Hook]:
        return {act.BeginReply: self._begun}

    def taken_over(self) -> None:
        reply = self.state.reply
        self._text = reply.text if reply and reply.released and not reply.calls else None

    def _begun(self, action: act.BeginReply) -> None:
        text, self._text = self._text, None
        if text is None or action.text is None:
            return
        at = len(text) - len(action.text)
        if not text.endswith(action.text):
            self.blame(f"{action.text!r} is not the rest of {text!r}")
        elif 0 < at < len(text) and not (text[at - 1].isspace() or text[at].isspace() or not text.isascii()):
            self.blame(f"{text!r} goes on with {action.text!r}")

    def settled(self, step: Step) -> None:
        self._text = None


CHECKERS: Final[tuple[type[Checker], ...]] = (
    SilentAfterTheCut,
    OneLiveReply,
    SpeculationIsUnheard,
    SpeculationRunsNoTool,
    ToolsAreAnswered,
    EachReplyIsOverOnce,
    RemoteToolsEndTheReply,
    HoldsEnd,
    NothingIsSaidInPieces,
)
