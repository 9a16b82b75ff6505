"""The rules about what is remembered: the words that were heard, prompts, items and their addresses."""

from collections.abc import Mapping
from typing import Any, Final

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.agenda import UNNAMED
from duologue.core.history import ROOT, AgentItem, CallItem, Item, OutputItem, UserItem
from duologue.sim.watch import Checker, Hook, Step


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


class ItemsKeepTheirAddresses(Checker):
    """Items are put in and taken out by their ids."""

    name = "items keep their addresses"
    rule = (
        "Each item has an id of its own, stands where it was put, and goes when it is removed, a call with its result."
    )

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._calls: dict[str, str] = {}  # by the id of their item
        self._edit: ev.ItemInserted | ev.ItemRemoved | None = None
        self._is_due = False
        self._summary = ""

    def hears(self) -> Mapping[type, Hook]:
        return {
            ev.ItemInserted: self._edited,
            ev.ItemRemoved: self._edited,
            act.TurnEnded: self._grown,
            act.ReplyOver: self._grown,
        }

    def _edited(self, event: ev.ItemInserted | ev.ItemRemoved) -> None:
        self._edit, self._is_due = event, True

    def _grown(self, action: act.Action) -> None:
        self._is_due = True

    def settled(self, step: Step) -> None:
        if not self._is_due:
            return
        conversation = self.watch.world.conversation
        items, edit = conversation.history, self._edit
        ids = [item.id for item in items]
        if len(set(ids)) < len(ids):
            self.blame(f"two items have one id: {ids}")
        if isinstance(edit, ev.ItemRemoved):
            self._compare_removed(edit, items)
        elif edit and conversation.summary == self._summary:  # else it may have been folded at once
            self._compare_inserted(edit, ids)
        self._calls.update({item.id: item.call_id for item in items if isinstance(item, CallItem)})
        self._edit, self._is_due, self._summary = None, False, conversation.summary

    def _compare_removed(self, edit: ev.ItemRemoved, items: tuple[Item, ...]) -> None:
        call_id = self._calls.get(edit.item_id)
        for item in items:
            if item.id == edit.item_id or (isinstance(item, OutputItem) and item.call_id == call_id):
                self.blame(f"{edit} and {item} is still there")

    def _compare_inserted(self, edit: ev.ItemInserted, ids: list[str]) -> None:
        named = edit.item.id not in UNNAMED
        item_id = edit.item.id if named else f"item_{self.state.inserted}"
        before = ids[: ids.index(item_id)] if item_id in ids else None
        if edit.after == ROOT:
            stands = before == []
        else:
            wanted = ids[:-1] if edit.after is None else [*ids[: ids.index(edit.after)], edit.after]
            stands = before == wanted
        if not stands:
            self.blame(f"{edit} and the items are {ids}")


CHECKERS: Final[tuple[type[Checker], ...]] = (
    HistoryIsWhatWasHeard,
    PromptPrefixIsStable,
    PromptsAreWellFormed,
    ItemsKeepTheirAddresses,
)
