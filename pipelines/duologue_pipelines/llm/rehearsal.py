"""`rehearsal`: no language model, and says so. It answers from a pack's sample dialogues, at a model's pace.

With it a conversation can be held on a bare machine: no key, no download. The same words in the same conversation
always get the same answer. It never makes anything up: where no line is near, it says that it has not rehearsed that.
"""

import asyncio
import importlib.util
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from typing import Final, Self

from duologue.core.messages import Message
from duologue.core.words import split_words
from duologue.dialogues import Exchange
from duologue.errors import ConfigurationError
from duologue.ports import LlmFinished, LlmItem, LlmRequest, TextDelta, Usage
from duologue_pipelines.llm.matching import LineMatcher, is_chinese, tokens

__all__ = ["Exchange", "RehearsalLlm"]

SUMMARISE: Final = "Summarise"  # a last user message that begins with it asks for a summary of all before it
LOOK_BACK: Final = 4  # answers back in which the dialogue under way is looked for
SUMMARY_WORDS_MAX: Final = 80
_NOT_REHEARSED: Final = {
    "en": "I have not rehearsed an answer to that. I am only a stand-in for a language model.",
    "zh": "这个问题我还没有排练过。我只是语言模型的替身。",
}
_ADMISSION: Final = "rehearsal is no language model"
_CJK: Final = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # as in core.words
_TOKEN: Final = re.compile(rf"\s*[{_CJK}]|\s*[^\s{_CJK}]+|\s+")
_SENTENCE: Final = re.compile(r"[^.!?。！？]+[.!?。！？]*")


@dataclass(eq=False)
class RehearsalLlm:
    """Answers from `exchanges`, of all languages at once: the caller's own words choose the language.

    `tokens_per_second`, `first_token_s`: the pace, as of a quick hosted model. `fallback`: what it says where no line
    is near, by language (`"en"`, `"zh"`); a text alone is for all. Raises `ConfigurationError` for a pace out of range.
    """

    exchanges: Sequence[Exchange] = ()
    _: KW_ONLY
    tokens_per_second: float = 60.0
    first_token_s: float = 0.15
    fallback: str | Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.tokens_per_second > 0:
            raise ConfigurationError(f"llm.tokens_per_second must be greater than 0, got {self.tokens_per_second}")
        if not self.first_token_s >= 0:
            raise ConfigurationError(f"llm.first_token_s must be 0 or more, got {self.first_token_s}")

    @property
    def name(self) -> str:
        return "rehearsal"

    @property
    def model(self) -> str:
        return "rehearsal"

    @property
    def is_language_model(self) -> bool:
        return False

    @classmethod
    def probe(cls) -> str:
        missing = importlib.util.find_spec("rapidfuzz") is None
        return "the package rapidfuzz is not installed: pip install rapidfuzz" if missing else ""

    def with_exchanges(self, exchanges: Sequence[Exchange]) -> Self:
        """The same at the same pace with other lines: for another pack, from the next turn on."""
        return replace(self, exchanges=exchanges)

    async def warm_up(self) -> None:
        """Read the lines into the matcher."""
        _ = self._matcher

    async def aclose(self) -> None:
        """There is nothing to free."""

    async def stream(self, request: LlmRequest) -> AsyncGenerator[LlmItem, None]:
        """Stream the rehearsed answer to the last user message, or a summary if that asks for one."""
        answer, note = self._answer(request.messages)
        whole = pieces(answer)
        bound = request.output_tokens_max
        spoken = whole if bound is None else whole[:bound]
        loop = asyncio.get_running_loop()
        due = loop.time() + self.first_token_s
        for piece in spoken:
            await asyncio.sleep(due - loop.time())
            yield TextDelta(piece)
            due += 1 / self.tokens_per_second
        asked = sum(len(pieces(message.text)) for message in request.messages)
        yield Usage(self.model, input=asked, output=len(spoken))
        yield LlmFinished("stop" if len(spoken) == len(whole) else "length", (_ADMISSION, note))

    @cached_property
    def _matcher(self) -> LineMatcher:
        return LineMatcher(self.exchanges)

    def _answer(self, messages: Sequence[Message]) -> tuple[str, str]:
        """What to say, and why, for the trace."""
        place = max((i for i, message in enumerate(messages) if message.role == "user"), default=-1)
        said = messages[place].text if place >= 0 else ""
        if said.startswith(SUMMARISE):
            return summary(
                said, messages[:place]
            ), "a summary of whole sentences, chosen by how telling their words are"
        agent_texts = [message.text for message in reversed(messages[:place]) if message.role == "assistant"]
        match = self._matcher.best(said, self._matcher.last_exchange(agent_texts[:LOOK_BACK]))
        if match is None:
            return self._not_rehearsed(said), f"no rehearsed line is near {said[:60]!r}"
        found = match.exchange
        return found.agent, f"answered as rehearsed in {found.path}:{found.line} (likeness {match.score:.2f})"

    def _not_rehearsed(self, said: str) -> str:
        language = "zh" if is_chinese(said) else "en"
        if isinstance(self.fallback, str):
            return self.fallback or _NOT_REHEARSED[language]
        return self.fallback.get(language) or _NOT_REHEARSED[language]


def pieces(text: str) -> list[str]:
    """`text` as a model streams it: word by word with the white space before each, Chinese by the character."""
    return _TOKEN.findall(text)


def summary(instruction: str, before: Sequence[Message]) -> str:
    """The most telling sentences of a conversation in their order, with who said them; up to `SUMMARY_WORDS_MAX` words.

    The conversation is what stands in `instruction` after its first line, or else the messages before it. Sentences are
    chosen by how much they say that others don't: the number of different words not said before.
    """
    _, _, quoted = instruction.partition("\n")
    lines = quoted.splitlines() if quoted.strip() else [_line(m) for m in before if m.role in ("user", "assistant")]
    sentences = [piece for line in lines for piece in _sentences(line)]
    chosen: set[int] = set()
    known: set[str] = set()
    words = 0
    while len(chosen) < len(sentences):
        news = {i: len(set(tokens(text)) - known) for i, text in enumerate(sentences) if i not in chosen}
        best = max(news, key=lambda i: (news[i], i))  # of equals the later one: it is likelier to matter still
        words += len(split_words(sentences[best]))
        if not news[best] or (chosen and words > SUMMARY_WORDS_MAX):
            break
        chosen.add(best)
        known |= set(tokens(sentences[best]))
    return " ".join(sentences[i] for i in sorted(chosen)) or "Nothing was said yet."


def _line(message: Message) -> str:
    return f"{'User' if message.role == 'user' else 'Agent'}: {message.text}" if message.text.strip() else ""


def _sentences(line: str) -> list[str]:
    """The sentences of one line, each with the speaker that the line names."""
    speaker, colon, text = line.partition(":")
    if not colon or len(speaker.split()) != 1:
        speaker, text = "", line
    prefix = f"{speaker.strip()}: " if speaker.strip() else ""
    return [prefix + piece.strip() for piece in _SENTENCE.findall(text) if piece.strip()]
