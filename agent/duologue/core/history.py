"""The conversation as it was heard, and how much of it the model is shown.

Items are only ever added at the end, and folded into the summary from the front, many at once: the beginning of the
prompt stays the same from turn to turn, which is what provider-side prompt caches need. Of a reply only the heard text
stays.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from duologue.core.messages import Message, ToolCall
from duologue.core.policy import HistoryPolicy
from duologue.core.words import is_cjk

IMAGE_TOKENS = 765  # of a 1024 x 1024 image in high detail, OpenAI's vision guide; others are of that order
MESSAGE_TOKENS = 4  # role and separators, OpenAI cookbook "how to count tokens"
EXTRACT_CHARS_MAX = 160  # of one item, where no model could summarise
SUMMARY_CHARS_MAX = 4000
SUMMARY_HEADING = "Earlier in this conversation:\n"


@dataclass(frozen=True, slots=True)
class ToolRound:
    """Tools that a reply used after `at_char` characters of its text. `results`: call id and output, one a call."""

    at_char: int
    calls: tuple[ToolCall, ...]
    results: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class UserItem:
    """A turn of the user, spoken or typed."""

    turn: int
    text: str
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AgentItem:
    """What was heard of a reply. `cut`: it was more than that."""

    reply: int
    text: str
    cut: bool = False
    rounds: tuple[ToolRound, ...] = ()


Item = UserItem | AgentItem


def estimate_tokens(text: str) -> int:
    """Tokens of `text`, roughly: a CJK character is one, four other characters are one (OpenAI's rule of thumb)."""
    cjk = sum(map(is_cjk, text)) if not text.isascii() else 0
    return cjk + (len(text) - cjk + 3) // 4


def item_tokens(item: Item) -> int:
    """Tokens that `item` adds to a prompt, roughly."""
    if isinstance(item, UserItem):
        return MESSAGE_TOKENS + estimate_tokens(item.text) + IMAGE_TOKENS * len(item.images)
    used = MESSAGE_TOKENS + estimate_tokens(item.text)
    for tool_round in item.rounds:
        used += sum(MESSAGE_TOKENS + estimate_tokens(call.name + call.arguments) for call in tool_round.calls)
        used += sum(MESSAGE_TOKENS + estimate_tokens(output) for _, output in tool_round.results)
    return used


def _without_words(item: Item) -> str:
    """What an item without text is about."""
    if isinstance(item, UserItem):
        return f"(images: {len(item.images)})" if item.images else ""
    calls = [call.name for tool_round in item.rounds for call in tool_round.calls]
    return f"(used {', '.join(calls)})" if calls else ""


def agent_messages(text: str, rounds: Sequence[ToolRound]) -> list[Message]:
    """A reply as messages: text up to the first tools, the tools and their results, text up to the next, and so on."""
    messages: list[Message] = []
    start = 0
    for tool_round in rounds:
        end = min(tool_round.at_char, len(text))
        messages.append(Message("assistant", text[start:end].strip(), tool_calls=tool_round.calls))
        messages += [Message("tool", output, call_id=call_id) for call_id, output in tool_round.results]
        start = end
    if text[start:].strip():
        messages.append(Message("assistant", text[start:].strip()))
    return messages


class History:
    """Items in order, the summary of those before them, and the system text above all."""

    def __init__(self, policy: HistoryPolicy, system: str = "") -> None:
        self.policy = policy
        self.system = system
        self.summary = ""
        self.items: list[Item] = []
        self.tokens = 0

    def add_user(self, turn: int, text: str, images: Sequence[str] = ()) -> None:
        """The user's turn is over and says `text`."""
        self._add(UserItem(turn, text, tuple(images)))

    def extend_user(self, turn: int, merged: int, text: str, images: Sequence[str] = ()) -> None:
        """Turn `turn` continues the unanswered turn `merged`: `text` (all of it) takes that one's place."""
        if continued := self.user_item(merged):
            self.items.remove(continued)
            self.tokens -= item_tokens(continued)
            images = (*continued.images, *images)
        self.add_user(turn, text, images)

    def user_item(self, turn: int) -> UserItem | None:
        """What the user said in `turn`, if it is still remembered in full."""
        for item in reversed(self.items):
            if isinstance(item, UserItem) and item.turn == turn:
                return item
        return None

    def add_agent(
        self, reply: int, heard: str, *, cut: bool, rounds: Sequence[ToolRound] = (), keep: bool = False
    ) -> None:
        """A reply is over; nothing is added for one that was not heard and used no tool.

        `keep`: a place is kept all the same, for what may yet be said to have been heard.
        """
        if heard.strip() or rounds or keep:
            self._add(AgentItem(reply, heard.strip(), cut, tuple(rounds)))

    def correct_agent(self, reply: int, heard: str) -> bool:
        """Replace what was heard of `reply`, if it is still remembered in full; whether it was."""
        for index in range(len(self.items) - 1, -1, -1):
            item = self.items[index]
            if isinstance(item, AgentItem) and item.reply == reply:
                corrected = AgentItem(reply, heard.strip(), True, item.rounds)
                self.items[index] = corrected
                self.tokens += item_tokens(corrected) - item_tokens(item)
                return True
        return False

    def overdue(self) -> int:
        """How many items from the front should be folded into the summary now; 0 while the budget holds.

        Folding stops before a user's item, so that no answer loses its question, and keeps the last exchange. Beyond
        the hard limit any item will do, for agents that talk to themselves.
        """
        if self.tokens <= self.policy.tokens_max and len(self.items) <= self.policy.items_max:
            return 0
        return self._border(UserItem) or (self._border(AgentItem) if self.over_hard_limit else 0)

    def _border(self, kind: type[Item]) -> int:
        """How many items to fold so that `keep_fraction` is left, or as near to it as items of `kind` allow."""
        tokens_kept = self.policy.tokens_max * self.policy.keep_fraction
        items_kept = self.policy.items_max * self.policy.keep_fraction
        tokens, border = self.tokens, 0
        for index, item in enumerate(self.items[:-1]):
            if isinstance(item, kind):
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
        lines = [self.summary] if self.summary else []
        for item in self.items[:count]:
            speaker = "User" if isinstance(item, UserItem) else "Assistant"
            if told := item.text or _without_words(item):
                lines.append(f"{speaker}: {told[:EXTRACT_CHARS_MAX]}")
        text = "\n".join(lines)
        return text if len(text) <= SUMMARY_CHARS_MAX else "(earlier talk left out) " + text[-SUMMARY_CHARS_MAX + 30 :]

    def messages(self, instructions: str | None = None, *, without: Item | None = None) -> list[Message]:
        """The prompt so far: system text (or `instructions` for once), summary, items (but for `without`)."""
        system = self.system if instructions is None else instructions
        messages = [Message("system", system)] if system else []
        if self.summary:
            messages.append(Message("system", SUMMARY_HEADING + self.summary))
        for item in self.items:
            if isinstance(item, AgentItem):
                messages += agent_messages(item.text, item.rounds)
            elif item is not without:
                messages.append(Message("user", item.text, images=item.images))
        return messages

    def restore(self, items: Iterable[Item]) -> None:
        """Take `items` for what was remembered."""
        self.items = list(items)
        self.tokens = sum(map(item_tokens, self.items))

    def _add(self, item: Item) -> None:
        self.items.append(item)
        self.tokens += item_tokens(item)
