"""The cascade and the scripted speech-to-speech model keep the contract; the kit catches sources that do not."""

import asyncio
from collections.abc import AsyncGenerator, Callable

import pytest

from duologue.audio import OUTPUT_RATE_HZ
from duologue.core.messages import ToolCall
from duologue.ports.llm import LlmRequest, TextDelta, Usage
from duologue.ports.reply_source import ChunkBegins, ChunkEnds, ReplyItem, ReplyRequest, TextFinished
from duologue.ports.tts import SpeechAudio, SpeechItem, SpeechRequest, SpokenWord
from duologue.runtime.cascade import CascadeSource
from duologue.testing.contracts.reply_source import UNRELEASED_S_MAX, ReplySourceCase, check_reply_source
from duologue.testing.scripted_llm import ScriptedLlm, ScriptedReply
from duologue.testing.scripted_reply_source import ScriptedReplySource, ScriptedReplyStream, SpokenReply
from duologue.testing.scripted_tts import ScriptedTts
from duologue.testing.virtual_time import run

TEXT = "It rains in Oslo, and it is cold. Take an umbrella with you. Tomorrow it may be dry, says the radio. " * 2
CALL = ToolCall("call_1", "weather", "{}")


class CountingTts(ScriptedTts):
    """Counts the seconds that it was asked for."""

    made_s = 0.0

    async def synthesise(self, request: SpeechRequest) -> AsyncGenerator[SpeechItem, None]:
        async for item in super().synthesise(request):
            self.made_s += len(item.pcm) / 2 / request.sample_rate_hz if isinstance(item, SpeechAudio) else 0.0
            yield item


def test_the_cascade_keeps_the_contract() -> None:
    llm, tts = ScriptedLlm([ScriptedReply(TEXT)], cycle=True), CountingTts()
    calling = [ScriptedReply("Let me see.", tool_calls=(CALL,)), ScriptedReply("It rains.")]
    case = ReplySourceCase(
        lambda: CascadeSource(llm, tts),
        make_tool_caller=lambda: CascadeSource(ScriptedLlm(calling), ScriptedTts()),
        made_s=lambda: tts.made_s,
        live=lambda: llm.open_streams + tts.live,
    )
    run(check_reply_source(case))


def answer(prompt: LlmRequest, reply: SpokenReply) -> SpokenReply:
    calls = prompt.messages[-1].role == "user" and "tool" in reply.text
    return SpokenReply(reply.text, tool_calls=(CALL,)) if calls else reply


@pytest.mark.parametrize("reply", [SpokenReply(TEXT, usage=Usage("m", 9, 9)), SpokenReply(TEXT, text_lag_s=0.7)])
def test_the_scripted_model_keeps_the_contract(reply: SpokenReply) -> None:
    made: list[ScriptedReplySource] = []

    def make(text: str = "") -> ScriptedReplySource:
        made.append(ScriptedReplySource(lambda prompt: answer(prompt, SpokenReply(text) if text else reply)))
        return made[-1]

    case = ReplySourceCase(
        make,
        make_tool_caller=lambda: make("A tool tells it."),
        made_s=lambda: sum(source.made_s for source in made),
        live=lambda: sum(source.live for source in made),
    )
    run(check_reply_source(case))


Change = Callable[[ReplyItem], list[ReplyItem]]
PIECE = SpeechAudio(bytes(3200))


class Lying(ScriptedReplySource):
    """Does what the scripted one does, and changes it."""

    def __init__(self, change: Change, *, waits_for_release: bool = True) -> None:
        super().__init__(lambda prompt: answer(prompt, SpokenReply(TEXT)), waits_for_release=waits_for_release)
        self.change = change

    def open(self, request: ReplyRequest) -> ScriptedReplyStream:
        self.requests.append(request)
        return LyingStream(self, request, self._voice)


class LyingStream(ScriptedReplyStream):
    async def items(self) -> AsyncGenerator[ReplyItem, None]:
        source = self._source
        assert isinstance(source, Lying)
        async for item in super().items():
            for changed in source.change(item):
                yield changed


def instead(kind: type, *items: ReplyItem) -> Change:
    return lambda item: list(items) if isinstance(item, kind) else [item]


@pytest.mark.parametrize(
    ("change", "caught_as"),
    [
        (instead(TextFinished, TextFinished(), TextFinished()), "one question gives one TextFinished"),
        (instead(TextFinished), "TextFinished ends an answer"),
        (instead(TextFinished, TextFinished(), TextDelta("x")), "come before TextFinished"),
        (instead(TextDelta), "an answer has words"),
        (lambda item: [TextDelta(""), item] if isinstance(item, TextDelta) else [item], "an empty delta"),
        (instead(ChunkBegins, ChunkBegins(None), ChunkBegins(None)), "ends before the next begins"),
        (instead(ChunkBegins), "audio comes inside a chunk"),
        (instead(ChunkBegins, ChunkBegins("Something else.")), "a word lies in its chunk's text|speak the text"),
        (instead(ChunkEnds), "every chunk ends"),
        (instead(SpeechAudio, SpeechAudio(b"abc")), "whole samples"),
        (instead(SpeechAudio), "inside its chunk's audio"),
        (instead(SpokenWord, SpokenWord(0, 5, 0.0, 9000.0)), "inside its chunk's audio"),
        (instead(SpokenWord, SpokenWord(0, 5, 0.1, 0.2)), "words never go back"),
        (instead(TextFinished, Usage("m", -1, 0), TextFinished()), "can't be negative"),
    ],
)
def test_the_kit_catches_a_source_that_tells_nonsense(change: Change, caught_as: str) -> None:
    with pytest.raises(AssertionError, match=caught_as):
        run(check_reply_source(ReplySourceCase(lambda: Lying(change))))


class Stream(ScriptedReplyStream):
    """Breaks what its class attribute says."""

    lie = ""

    async def items(self) -> AsyncGenerator[ReplyItem, None]:
        if self.lie == "slow to stop":
            try:
                async for item in super().items():
                    yield item
            finally:
                await asyncio.sleep(0 if self._finished else 3600)
        elif self.lie == "ahead":
            kept = [item async for item in self._until_finished()]
            for item in kept:
                yield item
            async for item in super().items():
                yield item
        else:
            async for item in super().items():
                if self.lie == "ends itself" and isinstance(item, TextFinished):
                    yield item
                    return
                if self.lie == "speaks" and isinstance(item, TextDelta) and self._request.text_only:
                    yield PIECE
                yield item
                if self.lie == "makes it all" and isinstance(item, ChunkBegins) and not self._request.released:
                    yield SpeechAudio(bytes(round(UNRELEASED_S_MAX + 1) * 2 * OUTPUT_RATE_HZ))

    async def _until_finished(self) -> AsyncGenerator[ReplyItem, None]:
        async for item in super().items():
            yield item
            if isinstance(item, TextFinished):
                return

    def finish(self) -> None:
        if self.lie != "never ends":
            super().finish()


@pytest.mark.parametrize(
    ("lie", "caught_as"),
    [
        ("ends itself", "does not end before finish"),
        ("never ends", "after finish the iteration ends"),
        ("speaks", "with text_only nothing is spoken"),
        ("ahead", "beyond what it is asked for"),
        ("makes it all", "enough to begin with"),
        ("slow to stop", "closing stops everything at once"),
    ],
)
def test_the_kit_catches_a_source_that_does_not_stop_where_it_must(lie: str, caught_as: str) -> None:
    class Source(ScriptedReplySource):
        def open(self, request: ReplyRequest) -> ScriptedReplyStream:
            stream = Stream(self, request, self._voice)
            stream.lie = lie
            return stream

    source = Source(lambda prompt: SpokenReply(TEXT))
    with pytest.raises(AssertionError, match=caught_as):
        run(check_reply_source(ReplySourceCase(lambda: source, made_s=lambda: source.made_s)))


def test_the_kit_catches_a_cascade_that_forgets_given_words() -> None:
    class Deaf(ScriptedReplySource):
        can_speak_text = True

    source = Deaf(lambda prompt: SpokenReply(TEXT))
    with pytest.raises(AssertionError, match="TextFinished ends an answer"):
        run(check_reply_source(ReplySourceCase(lambda: source)))


def test_the_kit_catches_a_reply_that_goes_on_after_its_end() -> None:
    source = ScriptedReplySource(lambda prompt: SpokenReply(TEXT))
    with pytest.raises(AssertionError, match="nothing is left running"):
        run(check_reply_source(ReplySourceCase(lambda: source, live=lambda: 1)))


def test_the_kit_catches_a_caller_of_tools_that_calls_none() -> None:
    source = ScriptedReplySource(lambda prompt: SpokenReply(TEXT))
    with pytest.raises(AssertionError, match="a tool is called before TextFinished"):
        run(check_reply_source(ReplySourceCase(lambda: source, make_tool_caller=lambda: source)))
