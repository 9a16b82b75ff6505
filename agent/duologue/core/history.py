"""The conversation as it was heard, each item with an address, and how much of it the model is shown.

Items are added at the end, put in or taken out by their id, and folded into the summary from the front, many at once:
the beginning of the prompt stays the same from turn to turn, which is what provider-side prompt caches need. Of a reply
only the heard text stays.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from duologue.core.messages import Message, ToolCall
from duologue.core.policy import HistoryPolicy
from duologue.core.words import is_cjk
from duologue.errors import ProtocolError

IMAGE_TOKENS = 765  # of a 1024 x 1024 image in high detail, OpenAI's vision guide; others are of that order
MESSAGE_TOKENS = 4  # role and separators, OpenAI cookbook "how to count tokens"
EXTRACT_CHARS_MAX = 160  # of one item, where no model could summarise
SUMMARY_CHARS_MAX = 4000
SUMMARY_HEADING = "Earlier in this conversation:\n"
NO_RESULT = "No result yet."  # what a model is told of a call whose result has not come
ROOT = "root"  # the place before every item


@dataclass(frozen=True, slots=True)
class ToolRound:
    """Tools that a reply used after `at_char` characters of its text. `results`: call id and output of those that have
    answered."""

    at_char: int
    calls: tuple[ToolCall, ...]
    results: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SystemItem:
    """What the model is told in the middle of it all."""

    text: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class UserItem:
    """A turn of the user. `turn` 0: it was put in. `recognised`: what of `text` the recogniser heard; the rest was
    typed. `author`: who of several, or empty."""

    turn: int
    text: str
    images: tuple[str, ...] = ()
    recognised: str = ""
    author: str = ""
    id: str = ""

    def __post_init__(self) -> None:
        _name(self, f"turn_{self.turn}")


@dataclass(frozen=True, slots=True)
class AgentItem:
    """What was heard of a reply, or of the stretch of it that begins at `start` characters of its text, behind tools.
    `reply` 0: it was put in. `cut`: it was more than that. `persona`: who spoke."""

    reply: int
    text: str
    cut: bool = False
    persona: str = ""
    start: int = 0
    id: str = ""

    def __post_init__(self) -> None:
        _name(self, f"reply_{self.reply}_{self.start}" if self.start else f"reply_{self.reply}")


@dataclass(frozen=True, slots=True)
class CallItem:
    """A tool that `reply` (0: put in) called. `arguments`: JSON text as the model wrote it."""

    call_id: str
    name: str
    arguments: str
    reply: int = 0
    id: str = ""

    def __post_init__(self) -> None:
        _name(self, f"call_{self.call_id}")


@dataclass(frozen=True, slots=True)
class OutputItem:
    """What the call `call_id` gave."""

    call_id: str
    output: str
    id: str = ""

    def __post_init__(self) -> None:
        _name(self, f"output_{self.call_id}")


Item = SystemItem | UserItem | AgentItem | CallItem | OutputItem


def _name(item: Item, name: str) -> None:
    """Give an item without an id the one that follows from its numbers, so that a snapshot restores it."""
    if not item.id:
        object.__setattr__(item, "id", name)


def estimate_tokens(text: str) -> int:
    """Tokens of `text`, roughly: a CJK character is one, four other characters are one (OpenAI's rule of thumb)."""
    cjk = sum(map(is_cjk, text)) if not text.isascii() else 0
    return cjk + (len(text) - cjk + 3) // 4


def item_tokens(item: Item) -> int:
    """Tokens that `item` adds to a prompt, roughly."""
    if isinstance(item, CallItem):
        return MESSAGE_TOKENS + estimate_tokens(item.name + item.arguments)
    if isinstance(item, OutputItem):
        return MESSAGE_TOKENS + estimate_tokens(item.output)
    images = len(item.images) if isinstance(item, UserItem) else 0
    return MESSAGE_TOKENS + estimate_tokens(item.text) + IMAGE_TOKENS * images


def _told(item: Item) -> str:
    """An item in a line of an extract; empty for nothing worth telling."""
    if isinstance(item, OutputItem):
        return ""
    if isinstance(item, CallItem):
        return f"Assistant: (used {item.name})"
    if isinstance(item, UserItem):
        text = item.text or (f"(images: {len(item.images)})" if item.images else "")
        return f"{item.author or 'User'}: {text[:EXTRACT_CHARS_MAX]}" if text else ""
    if isinstance(item, SystemItem):
        return f"System: {item.text[:EXTRACT_CHARS_MAX]}"
    return f"Assistant: {item.text[:EXTRACT_CHARS_MAX]}" if item.text else ""


def reply_items(
    reply: int, text: str, rounds: Sequence[ToolRound], *, persona: str = "", cut: bool = False
) -> list[Item]:
    """A reply as items: text up to the first tools, the tools and their results, text up to the next, and so on."""
    items: list[Item] = []
    start = 0
    for tool_round in rounds:
        end = max(start, min(tool_round.at_char, len(text)))
        if text[start:end].strip():
            items.append(AgentItem(reply, text[start:end].strip(), persona=persona, start=start))
        items += [CallItem(call.call_id, call.name, call.arguments, reply) for call in tool_round.calls]
        items += [OutputItem(call_id, output) for call_id, output in tool_round.results]
        start = end
    if text[start:].strip():
        items.append(AgentItem(reply, text[start:].strip(), persona=persona, start=start))
    spoken = [index for index, item in enumerate(items) if isinstance(item, AgentItem)]
    if cut and spoken:
        last = items[spoken[-1]]
        assert isinstance(last, AgentItem)
        items[spoken[-1]] = replace(last, cut=True)
    return items


def item_messages(items: Sequence[Item]) -> list[Message]:
    """Items as messages: the calls of one round in one, each with its one result right behind it, wherever that stands.

    Of a call without a result the model is told so; a result whose call is gone is left out.
    """
    outputs = {item.call_id: item.output for item in items if isinstance(item, OutputItem)}
    messages: list[Message] = []
    waiting: list[CallItem] = []
    before: Item | None = None  # what the calls that wait stand behind

    def end_round() -> None:
        nonlocal before
        if not waiting:
            return
        calls = tuple(ToolCall(call.call_id, call.name, call.arguments) for call in waiting)
        spoken = isinstance(before, AgentItem) and before.text and before.reply == waiting[0].reply
        text = messages.pop().text if spoken else ""
        messages.append(Message("assistant", text, tool_calls=calls))
        messages.extend(Message("tool", outputs.get(call.call_id, NO_RESULT), call_id=call.call_id) for call in calls)
        waiting.clear()
        before = None

    for item in items:
        if isinstance(item, CallItem):
            if waiting and waiting[-1].reply != item.reply:
                end_round()
            waiting.append(item)
            continue
        end_round()
        before = item
        if isinstance(item, UserItem):
            messages.append(Message("user", item.text, images=item.images, name=item.author))
        elif isinstance(item, SystemItem):
            messages.append(Message("system", item.text))
        elif isinstance(item, AgentItem) and item.text:
            messages.append(Message("assistant", item.text))
    end_round()
    return messages


class History:
    """Items in order, the summary of those before them, and the system text above all."""

    def __init__(self, policy: HistoryPolicy, system: str = "") -> None:
        self.policy = policy
        self.system = system
        self.summary = ""
        self.items: list[Item] = []
        self.tokens = 0

    # --- items by their address -----------------------------------------------------------------------------------

    def index(self, item_id: str) -> int | None:
        """Where the item is, if it is still remembered in full."""
        return next((index for index in range(len(self.items) - 1, -1, -1) if self.items[index].id == item_id), None)

    def place_after(self, item_id: str | None) -> int:
        """Where an item goes that follows `item_id` (`ROOT`: before all others; None: at the end).

        Raises `ProtocolError` for an id that is not there.
        """
        if item_id is None:
            return len(self.items)
        if item_id == ROOT:
            return 0
        if (index := self.index(item_id)) is None:
            raise ProtocolError(f"there is no item {item_id!r}", hint="It was removed, or folded into the summary")
        return index + 1

    def insert(self, item: Item, after: str | None = None) -> int:
        """Put `item` behind `after`, as in `place_after`; where it stands.

        Raises `ProtocolError` for an id that is taken, for a result of a call that nobody made, for a second result.
        """
        place = self.place_after(after)
        if not item.id or item.id == ROOT or self.index(item.id) is not None:
            raise ProtocolError(f"an item can't be called {item.id!r}", hint="Give it an id that no other item has")
        if isinstance(item, OutputItem) and not self.awaits(item.call_id):
            raise ProtocolError(f"no call {item.call_id!r} waits for a result", hint="Insert the call, then one result")
        self._put(item, place)
        return place

    def remove(self, item_id: str) -> int:
        """Take an item out, a call with its result; where the first of them stood. Raises `ProtocolError` where there
        is none."""
        index = self.place_after(item_id) - 1
        if item_id == ROOT:
            raise ProtocolError("the root is no item")
        item = self._take(index)
        for place, other in enumerate(self.items):
            if isinstance(item, CallItem) and isinstance(other, OutputItem) and other.call_id == item.call_id:
                self._take(place)
                return min(index, place)
        return index

    def knows(self, call_id: str) -> bool:
        """Whether a call of that id is remembered."""
        return any(isinstance(item, CallItem) and item.call_id == call_id for item in self.items)

    def awaits(self, call_id: str) -> bool:
        """Whether a call is remembered whose result has not come."""
        answered = any(isinstance(item, OutputItem) and item.call_id == call_id for item in self.items)
        return self.knows(call_id) and not answered

    # --- turns and replies ----------------------------------------------------------------------------------------

    def add_user(
        self, turn: int, text: str, images: Sequence[str] = (), *, recognised: str = "", author: str = ""
    ) -> None:
        """The user's turn is over and says `text`."""
        self._put(UserItem(turn, text, tuple(images), recognised, author))

    def extend_user(self, item: UserItem, merged: int) -> int:
        """`item` continues the unanswered turn `merged`: all of its text takes that one's place; where it stood."""
        place = len(self.items)
        if continued := self.user_item(merged):
            place = self.items.index(continued)
            self._take(place)
            recognised = " ".join(filter(None, (continued.recognised, item.recognised)))
            item = replace(item, images=(*continued.images, *item.images), recognised=recognised)
        self._put(item)
        return place

    def user_item(self, turn: int) -> UserItem | None:
        """What the user said in `turn`, if it is still remembered in full."""
        for item in reversed(self.items):
            if isinstance(item, UserItem) and turn and item.turn == turn:
                return item
        return None

    def add_agent(
        self,
        reply: int,
        heard: str,
        *,
        cut: bool,
        rounds: Sequence[ToolRound] = (),
        persona: str = "",
        keep: bool = False,
    ) -> None:
        """A reply is over; nothing is added for one that was not heard and used no tool.

        `keep`: a place is kept all the same, for what may yet be said to have been heard.
        """
        items = reply_items(reply, heard, rounds, persona=persona, cut=cut)
        if keep and not any(isinstance(item, AgentItem) for item in items):
            items.append(AgentItem(reply, "", True, persona))
        for item in items:
            self._put(item)

    def correct_agent(self, reply: int, heard: str) -> bool:
        """Replace what was heard of `reply`, if it is still remembered in full; whether it was."""
        spoken = [index for index, item in enumerate(self.items) if isinstance(item, AgentItem) and item.reply == reply]
        called = [index for index, item in enumerate(self.items) if isinstance(item, CallItem) and item.reply == reply]
        if not reply or not (spoken or called):
            return False
        if not spoken:  # it was cut before a word, and had used tools
            self._put(AgentItem(reply, heard.strip(), True), called[0])
            return True
        for place, index in enumerate(spoken):
            item = self.items[index]
            assert isinstance(item, AgentItem)
            is_last = place == len(spoken) - 1
            end = None if is_last else self._start(spoken[place + 1])
            corrected = replace(item, text=heard[item.start : end].strip(), cut=is_last)
            self.items[index] = corrected
            self.tokens += item_tokens(corrected) - item_tokens(item)
        return True

    def _start(self, index: int) -> int:
        item = self.items[index]
        return item.start if isinstance(item, AgentItem) else 0

    # --- the budget -----------------------------------------------------------------------------------------------

    def overdue(self) -> int:
        """How many items from the front should be folded into the summary now; 0 while the budget holds.

        Folding stops before a user's item, so that no answer loses its question, and keeps the last exchange. Beyond
        the hard limit any other will do that parts neither an answer from its question nor a call from its result, for
        agents that talk to themselves.
        """
        if self.tokens <= self.policy.tokens_max and len(self.items) <= self.policy.items_max:
            return 0
        last = len(self.items) - 1
        asked = self._border(lambda index: isinstance(self.items[index], UserItem) and index < last)
        return asked or (self._border(self._begins_a_round) if self.over_hard_limit else 0)

    def _begins_a_round(self, index: int) -> bool:
        item, before = self.items[index], self.items[index - 1]
        if isinstance(item, UserItem) or isinstance(before, UserItem):
            return False
        if isinstance(item, CallItem):
            return not (isinstance(before, CallItem | AgentItem) and item.reply and before.reply == item.reply)
        return not isinstance(item, OutputItem)

    def _border(self, is_border: Callable[[int], bool]) -> int:
        """How many items to fold so that `keep_fraction` is left, or as near to it as borders allow."""
        tokens_kept = self.policy.tokens_max * self.policy.keep_fraction
        items_kept = self.policy.items_max * self.policy.keep_fraction
        tokens, border = self.tokens, 0
        for index, item in enumerate(self.items):
            if index and is_border(index):
                border = index
                if tokens <= tokens_kept and len(self.items) - index <= items_kept:
                    break
            tokens -= item_tokens(item)
        return border

    @property
    def over_hard_limit(self) -> bool:
        """Half as much again as the budget: the summary can't be waited for any longer."""
        policy = self.policy
        return self.tokens > policy.tokens_max * 1.5 or len(self.items) > policy.items_max * 1.5

    def fold(self, count: int, summary: str) -> None:
        """`summary` stands for the old summary and the first `count` items from now on."""
        self.summary = summary.strip()[:SUMMARY_CHARS_MAX]
        self.tokens -= sum(map(item_tokens, self.items[:count]))
        del self.items[:count]

    def extract(self, count: int) -> str:
        """A summary of the old one and the first `count` items without a model: the beginning of each, newest last.

        What does not fit is dropped from the front, and the text says so.
        """
        text = "\n".join(filter(None, (self.summary, *map(_told, self.items[:count]))))
        return text if len(text) <= SUMMARY_CHARS_MAX else "(earlier talk left out) " + text[-SUMMARY_CHARS_MAX + 30 :]

    # --- the prompt -----------------------------------------------------------------------------------------------

    def messages(
        self, instructions: str | None = None, *, without: Item | None = None, instead: Sequence[Item] | None = None
    ) -> list[Message]:
        """The prompt so far: system text (or `instructions` for once), summary, items (but for `without`).

        `instead`: these items, for once, in place of summary and items.
        """
        system = self.system if instructions is None else instructions
        messages = [Message("system", system)] if system else []
        if instead is not None:
            return messages + item_messages(instead)
        if self.summary:
            messages.append(Message("system", SUMMARY_HEADING + self.summary))
        return messages + item_messages([item for item in self.items if item is not without])

    def restore(self, items: Iterable[Item]) -> None:
        """Take `items` for what was remembered."""
        self.items = list(items)
        self.tokens = sum(map(item_tokens, self.items))

    def _put(self, item: Item, place: int | None = None) -> None:
        self.items.insert(len(self.items) if place is None else place, item)
        self.tokens += item_tokens(item)

    def _take(self, index: int) -> Item:
        item = self.items.pop(index)
        self.tokens -= item_tokens(item)
        return item
