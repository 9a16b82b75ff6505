"""The rules about replies, their tools, and what is remembered of them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.history import AgentItem, Item, OutputItem, UserItem
from duologue.sim.watch import Checker, Hook, Step

HOLD_S_MAX: Final = 3.0  # without any voice: the longest verdict is a second, and the detector may be late
TOOL_SLACK_S: Final = 0.1
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


class HistoryIsWhatWasHeard(Checker):
    """The history is what was heard, to the word."""

    name = "history is what was heard"
    rule = "Of a reply the history keeps exactly the words that were heard, and of a turn the words that it ended with."

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._heard: dict[int, str] = {}
        self._said: dict[int, str] = {}
        self._kept: set[int] = set()  # replies that may enter the history
        self._released: set[int] = set()
        self._begun_replies: set[int] = set()
        self._removed: set[int] = set()  # replies of which a hand has taken something out
        self._due: list[int] = []

    def hears(self) -> Mapping[type, Hook]:
        return {
            act.BeginReply: self._begun,
            act.ReleaseReply: lambda action: self._released.add(action.reply),
            act.TurnEnded: self._turn_ended,
            ev.HeardSoFar: self._reported,
            ev.ReplyEnded: self._ended,
            ev.HeardCorrected: self._ended,
            act.TruncateHistory: lambda action: self._due.append(action.reply),
            ev.ItemRemoved: self._was_removed,
        }

    def _was_removed(self, event: ev.ItemRemoved) -> None:
        parts = event.item_id.split("_")
        if parts[0] == "reply" and len(parts) > 1 and parts[1].isdigit():
            self._removed.add(int(parts[1]))

    def _begun(self, action: act.BeginReply) -> None:
        self._begun_replies.add(action.reply)
        if action.options.in_history:
            self._kept.add(action.reply)
        if not action.speculative:
            self._released.add(action.reply)

    def _turn_ended(self, action: act.TurnEnded) -> None:
        self._said[action.turn] = action.text
        self._due.append(0)

    def _reported(self, event: ev.HeardSoFar) -> None:
        if self.state.reply is not None and self.state.reply.number == event.reply:
            self._heard[event.reply] = event.heard

    def _ended(self, event: ev.ReplyEnded | ev.HeardCorrected) -> None:
        if event.reply in self._released:
            self._heard[event.reply] = event.heard
            self._due.append(event.reply)

    def taken_over(self) -> None:
        for item in self.watch.world.conversation.history:  # in the trace of another process this is all there is
            if isinstance(item, UserItem):
                self._said.setdefault(item.turn, item.text)
            elif isinstance(item, AgentItem) and item.reply:
                self._adopt(item.reply, item.text)
        for reply in (*self.state.cutting, *([self.state.reply] if self.state.reply else [])):
            if reply.released and reply.options.in_history:
                self._adopt(reply.number, reply.heard_text)
        self._due.append(0)

    def _adopt(self, reply: int, heard: str) -> None:
        if reply not in self._begun_replies:
            self._kept.add(reply)
            self._released.add(reply)
            self._heard[reply] = heard

    def settled(self, step: Step) -> None:
        if self._due:
            due, self._due = self._due, []
            self._compare(due)

    def over(self) -> None:
        self._compare([])

    def _compare(self, due: list[int]) -> None:
        conversation = self.watch.world.conversation
        remembered: dict[int, list[AgentItem]] = {}
        for item in conversation.history:
            if isinstance(item, UserItem):
                if item.turn and item.text != self._said.get(item.turn):
                    self.blame(f"turn {item.turn} said {self._said.get(item.turn)!r}, remembered is {item.text!r}")
            elif isinstance(item, AgentItem) and item.reply:
                remembered.setdefault(item.reply, []).append(item)
        for items in remembered.values():
            self._compare_reply(items)
        if not conversation.summary:  # else what is missing may have been folded
            self._miss(due, set(remembered) | self._removed)

    def _compare_reply(self, items: list[AgentItem]) -> None:
        """What stands of a reply, stretch by stretch, is what was heard of it; some may have been folded or removed."""
        reply, heard = items[0].reply, self._heard.get(items[0].reply, "")
        if reply not in self._kept or reply not in self._released:
            self.blame(f"reply {reply} has no place in the history and stands there")
        elif any(item.text not in heard for item in items) or (
            reply not in self._removed and not heard.strip().endswith(items[-1].text)
        ):
            told = [item.text for item in items]
            self.blame(f"of reply {reply} {heard!r} was heard, remembered is {told}")

    def _miss(self, due: list[int], remembered: set[int]) -> None:
        cutting = {reply.number for reply in self.state.cutting}
        for reply in due:
            wanted = self._heard.get(reply, "").strip()
            if reply in self._kept and wanted and reply not in remembered and reply not in cutting:
                self.blame(f"of reply {reply} {wanted!r} was heard and nothing is remembered")


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


class PromptPrefixIsStable(Checker):
    """The beginning of the prompt stays."""

    name = "prompt prefix is stable"
    rule = "From reply to reply the history is only added to at its end, unless it was folded, handed over or edited."

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._system = ""
        self._summary = ""
        self._items: tuple[Item, ...] = ()
        self._corrected: set[int] = set()
        self._continued: set[int] = set()
        self._is_edited = False

    def hears(self) -> Mapping[type, Hook]:
        return {
            act.BeginReply: self._begun,
            act.TruncateHistory: lambda action: self._corrected.add(action.reply),
            act.TurnEnded: lambda action: self._continued.add(action.merged),
            ev.ItemInserted: self._edited,
            ev.ItemRemoved: self._edited,
        }

    def _edited(self, event: ev.Event) -> None:
        self._is_edited = True

    def _begun(self, action: act.BeginReply) -> None:
        conversation = self.watch.world.conversation
        system, summary, items = conversation.core.history.system, conversation.summary, conversation.history
        if (system, summary) == (self._system, self._summary) and not self._is_edited:
            self._compare(items)
        self._is_edited = False
        self._system, self._summary, self._items = system, summary, items
        self._corrected.clear()

    def _compare(self, items: tuple[Item, ...]) -> None:
        """Turns that another one continued may have gone; the last item may be such a one."""
        before = [
            item
            for item in self._items
            if not (isinstance(item, UserItem) and item.turn and item.turn in self._continued)
        ]
        settled = list(filter(self._is_settled, items))
        for index, item in enumerate(filter(self._is_settled, before)):
            now = settled[index] if index < len(settled) else None
            if now != item:
                self.blame(f"item {index} was {item} and is {now}")
                return

    def _is_settled(self, item: Item) -> bool:
        """Neither a reply whose heard text was corrected since, nor one without any, which no prompt shows; nor a
        result, which may come late and is shown behind its call."""
        if isinstance(item, AgentItem):
            return item.reply not in self._corrected and bool(item.text)
        return not isinstance(item, OutputItem)


class PromptsAreWellFormed(Checker):
    """What the model is asked can be asked."""

    name = "prompts are well formed"
    rule = "A prompt has the system text first, each call its one result right behind it, and ends with the question."

    def settled(self, step: Step) -> None:
        live = self.watch.world.conversation.reply
        for action in step.actions:
            if isinstance(action, act.BeginReply | act.ContinueReply) and action.reply == live:
                self._asked(action)

    def _asked(self, action: act.BeginReply | act.ContinueReply) -> None:
        if isinstance(action, act.BeginReply) and action.text is not None:
            return
        messages = self.watch.world.conversation.prompt(action.reply)
        if not messages:
            self.blame(f"{action}: nothing to ask")
            return
        waiting: list[str] = []
        for message in messages:
            if message.role == "tool":
                if not waiting or waiting.pop(0) != message.call_id:
                    self.blame(f"{action}: the result of {message.call_id} stands in the wrong place")
            elif waiting:
                self.blame(f"{action}: no result of {waiting}")
            waiting = waiting or [call.call_id for call in message.tool_calls]
        if waiting:
            self.blame(f"{action}: no result of {waiting}")
        last = messages[-1].role
        if isinstance(action, act.ContinueReply) and last != "tool":
            self.blame(f"{action}: the prompt ends with {last}")
        if isinstance(action, act.BeginReply) and action.speculative and last != "user":
            self.blame(f"{action}: the prompt ends with {last}")


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
    HistoryIsWhatWasHeard,
    ToolsAreAnswered,
    PromptPrefixIsStable,
    PromptsAreWellFormed,
    HoldsEnd,
    NothingIsSaidInPieces,
)
