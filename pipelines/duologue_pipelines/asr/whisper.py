"""Whisper, incremental: hypotheses while the person speaks, a final begun at the moment that it is asked for.

Whisper itself knows no streams. Each turn's audio is decoded again as it grows, a few times a second while a worker has
nothing better to do; what two successive hypotheses agree on is settled, and settled audio is let go, so a decode costs
the same in the third minute as in the third second. Finals go before partials. One model serves all sessions.
"""

import asyncio
import importlib.util
import os
from collections.abc import AsyncIterator
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import partial
from typing import ClassVar, Final

from duologue.audio import INPUT_RATE_HZ, Frame
from duologue.core.words import Word
from duologue.errors import DuologueError, InternalError
from duologue.ports.asr import AsrContext, Hypothesis
from duologue.text.transcript import GrowingTranscript, join_words
from duologue_pipelines.asr.chinese_script import conversion_for, in_script
from duologue_pipelines.asr.decode_pool import DecodePool
from duologue_pipelines.asr.hypothesis_queue import HypothesisQueue
from duologue_pipelines.asr.loudness import LoudnessTrack
from duologue_pipelines.asr.turn_audio import Clip, TurnAudio
from duologue_pipelines.asr.voiced import VoicedTrack
from duologue_pipelines.asr.whisper_decoder import (
    LONG_WINDOW_SECONDS,
    SHORT_WINDOW_SECONDS,
    Decoded,
    WhisperDecoder,
    WhisperOptions,
)
from duologue_pipelines.asr.whisper_models import default_model, find_model, missing_model
from duologue_pipelines.options import check_count, check_one_of, check_range
from duologue_pipelines.vad.silero import SileroModel

# Beyond this much of a window, settled audio is let go: what remains still leaves room for a long clause.
_TRIM_AT: Final = 0.6
# The words at the end of a clip are cut off, or guesses at what comes: they settle with the next one.
_HOLD_BACK_SECONDS: Final = 0.35
# A turn's partials take at most this share of the time that a decode takes from being asked for to being answered.
_DECODES_APART: Final = 2.0
_SENTENCE_ENDS: Final = (".", "?", "!", "。", "？", "！", "…")
_OPEN_ENDS: Final = ".?!。？！…,，;；:："  # a mark behind the last settled word is a guess at what follows
_SENTENCE_BONUS_SECONDS: Final = 0.5  # a sentence's end is as good a border as half a second of silence
_COMPUTE_TYPES: Final = ("int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16", "float16", "bfloat16",
                         "float32", "default", "auto")  # fmt: skip


@dataclass(slots=True)
class WhisperAsr:
    """The recogniser; options are its fields.

    `model`: a size ("tiny", "base.en", …), a repository on Hugging Face or a local folder; without it the smallest one
    that was pulled. `language`: BCP 47, or None
    to take the session's or detect it. `window_s`: encoder window for what fits in it; longer audio, and audio that
    raises an alarm, gets 30 s. `partial_ms`: new audio between partials, 0 for none. `workers`: decodes at a time, one
    thread each. `beam`: 1 is greedy. `word_times`: times and probabilities for words. `download`: fetch a missing model
    by itself.
    """

    _: KW_ONLY
    model: str = field(default_factory=default_model)
    language: str | None = None
    window_s: float = SHORT_WINDOW_SECONDS
    partial_ms: float = 400
    workers: int = field(default_factory=lambda: min(2, os.cpu_count() or 1))
    queue_max: int = 16
    beam: int = 1
    compute_type: str = "int8"
    device: str = "cpu"
    word_times: bool = True
    download: bool = False
    name: ClassVar[str] = "whisper"
    auto_rank: ClassVar[int] = 20  # among those that are there, `use = "auto"` takes the highest
    languages: ClassVar[tuple[str, ...]] = ("*",)  # the ….en models refuse others themselves
    decoder: WhisperDecoder = field(init=False, repr=False)
    pool: DecodePool = field(init=False, repr=False)
    voice_judge: SileroModel = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_range("asr.whisper.window_s", self.window_s, 2, LONG_WINDOW_SECONDS)
        check_range("asr.whisper.partial_ms", self.partial_ms, 0, 10_000)
        check_count("asr.whisper.workers", self.workers, 1, 64)
        check_count("asr.whisper.queue_max", self.queue_max, 1, 1000)
        check_count("asr.whisper.beam", self.beam, 1, 20)
        check_one_of("asr.whisper.compute_type", self.compute_type, _COMPUTE_TYPES)
        check_one_of("asr.whisper.device", self.device, ("cpu", "cuda", "auto"))
        self.decoder = WhisperDecoder(
            WhisperOptions(
                self.model,
                self.window_s,
                self.compute_type,
                self.device,
                self.workers,
                self.beam,
                self.word_times,
                self.download,
            )
        )
        self.pool = self._new_pool()
        self.voice_judge = SileroModel()

    async def warm_up(self) -> None:
        """Load the models off the loop and run them once. Raises `StageUnavailable`, `ConfigurationError`."""
        await asyncio.to_thread(self.voice_judge.load)
        await asyncio.to_thread(self.decoder.warm)
        if self.language is not None:
            self.decoder.check_language(self.language)

    async def aclose(self) -> None:
        """Free the models and the threads. A later `warm_up` brings them back."""
        old, self.pool = self.pool, self._new_pool()
        await old.aclose()
        self.decoder.close()
        self.voice_judge.close()

    def queue_wait_s(self) -> float:
        """How long a final has to wait for a worker now, in seconds."""
        return self.pool.queue_wait_s(asyncio.get_running_loop().time())

    @classmethod
    def probe(cls) -> str:
        """Whether the package and the default model are here."""
        if importlib.util.find_spec("faster_whisper") is None:
            return "faster-whisper is not installed"
        model = default_model()
        return "" if find_model(model) else str(missing_model(model))

    def open(self, context: AsrContext) -> "WhisperStream":
        """A stream for one turn. Raises `ConfigurationError` for a language that the model lacks.

        `context.phrases` are not used: as a prompt they would cost Whisper decoding time on every partial.
        """
        fixed = self.language or context.language
        script = conversion_for((self.language, context.language, *context.languages))
        if fixed:
            return WhisperStream(self, (self.decoder.check_language(fixed),), script)
        return WhisperStream(self, self.decoder.known_languages(context.languages), script)

    def _new_pool(self) -> DecodePool:
        return DecodePool("whisper", workers=self.workers, queue_max=self.queue_max)


@dataclass(frozen=True, slots=True)
class _Request:
    """One decode. `frozen`: the words before `clip`; `mark`: None for a partial; `asked_at`: the loop's seconds."""

    number: int
    clip: Clip
    frozen: tuple[Word, ...]
    mark: int | None
    asked_at: float


class WhisperStream:
    """The recognition of one turn."""

    def __init__(self, asr: WhisperAsr, languages: tuple[str, ...], script: str) -> None:
        self._asr = asr
        self._script = script  # how Chinese is written, should it be Chinese
        self._languages = languages
        self._language = languages[0] if len(languages) == 1 else None
        self._audio = TurnAudio()
        self._loudness = LoudnessTrack()
        self._voiced = VoicedTrack(asr.voice_judge)
        self._transcript = GrowingTranscript()
        self._frozen: tuple[Word, ...] = ()  # words whose audio has been let go
        self._running: dict[int, asyncio.Future[Decoded]] = {}
        self._final: tuple[_Request, Decoded] | None = None  # the last that was answered, if it was one
        self._took_s = 0.0  # the last decode, its wait included
        self._asked = 0
        self._answered = 0  # the newest request whose result has been used
        self._mark: int | None = None  # the final that is owed
        self._partial_end = 0  # how far, in samples, the newest request reached
        self._told_drop = False
        self._last: Hypothesis | None = None
        self._hypotheses = HypothesisQueue()

    def push_frame(self, frame: Frame) -> None:
        """Take one frame; begin a partial when enough is new and a worker is free."""
        if self._hypotheses.closed:
            return
        self._audio.push_frame(frame)
        self._loudness.push_frame(frame, self._audio.end)
        if self._partial_is_due() and self._asr.pool.takes_partials:
            self._ask(None)

    def finalise(self, mark: int) -> None:
        """Begin the final at once; one still owed is dropped.

        A partial of all that was loud does not stand for it: a last soft consonant decides words, and finals that were
        partials came late as often as early (docs/decisions/021). A final does, as long as nothing loud came after it.
        """
        if self._hypotheses.closed:
            return
        self._mark = mark
        for number in [number for number, future in self._running.items() if not future.done()]:
            self._running.pop(number).cancel()
        if self._final and self._final[0].number == self._asked and self._final[0].clip.end >= self._loudness.loud_end:
            request, decoded = self._final
            self._use(replace(request, mark=mark), decoded)
            return
        self._ask(mark)

    def __aiter__(self) -> AsyncIterator[Hypothesis]:
        return self._hypotheses

    async def aclose(self) -> None:
        """Drop all work and end the iteration."""
        self._hypotheses.close()
        for future in self._running.values():
            future.cancel()
        self._running.clear()

    def _partial_is_due(self) -> bool:
        if not self._asr.partial_ms or self._running:
            return False
        if self._loudness.loud_end <= self._partial_end:  # nothing was said since
            return False
        apart_s = max(self._asr.partial_ms / 1000, _DECODES_APART * self._took_s)
        return self._audio.end - self._partial_end >= apart_s * INPUT_RATE_HZ

    def _ask(self, mark: int | None) -> None:
        self._asked += 1
        now = asyncio.get_running_loop().time()
        request = _Request(self._asked, self._audio.snapshot(), self._frozen, mark, now)
        self._partial_end = self._audio.end
        work = partial(self._asr.decoder.decode, request.clip, self._languages, self._voiced, self._committed())
        try:
            future = self._asr.pool.submit(work, urgent=mark is not None, owner=id(self))
        except DuologueError as error:
            if mark is not None:
                self._hypotheses.fail(error)
            return
        self._running[request.number] = future
        future.add_done_callback(partial(self._decoded, request))

    def _committed(self) -> str:
        """The settled words whose audio is still here, as the decoder's beginning."""
        settled = self._transcript.settled[len(self._frozen) :]
        return join_words(settled).rstrip(_OPEN_ENDS) if settled else ""

    def _decoded(self, request: _Request, future: "asyncio.Future[Decoded]") -> None:
        self._running.pop(request.number, None)
        if future.cancelled() or self._hypotheses.closed:
            return
        error = future.exception()
        if error is not None:
            self._fail(error)
            return
        stale = request.number < self._answered or (request.mark is not None and request.mark != self._mark)
        if not stale:
            self._answered = request.number
            self._final = None if request.mark is None else (request, future.result())
            self._took_s = asyncio.get_running_loop().time() - request.asked_at
            self._use(request, future.result())

    def _fail(self, error: BaseException) -> None:
        if not isinstance(error, DuologueError):
            wrapped = InternalError(f"asr: whisper's decoder raised {error!r}")
            wrapped.__cause__ = error
            error = wrapped
        for future in self._running.values():
            future.cancel()
        self._hypotheses.fail(error)

    def _use(self, request: _Request, decoded: Decoded) -> None:
        if decoded.language is not None:
            self._language = decoded.language
            self._languages = (decoded.language,)  # once sure, for the whole turn
        spelled = in_script(decoded.words, self._script) if self._language == "zh" else decoded.words
        words = (*request.frozen, *spelled)
        final = request.mark is not None
        until = request.clip.at + request.clip.seconds - _HOLD_BACK_SECONDS
        shown = self._transcript.final(words) if final else self._transcript.partial(words, until=until)
        if decoded.settled:
            self._transcript.settle(shown[: len(request.frozen) + decoded.settled])
        hypothesis = Hypothesis(
            text=join_words(shown),
            words=shown if self._asr.word_times else (),
            stable=self._transcript.stable,
            final=final,
            mark=request.mark or 0,
            language=self._language,
            note=self._note(decoded.note),
        )
        self._trim(request, decoded, final=final)
        if final:
            self._mark = None
        if final or self._last is None or (hypothesis.text, hypothesis.stable) != (self._last.text, self._last.stable):
            self._last = hypothesis
            self._hypotheses.put(hypothesis)

    def _note(self, note: str) -> str:
        if self._audio.dropped_seconds and not self._told_drop:
            self._told_drop = True
            lost = f"{self._audio.dropped_seconds:.1f} s of unrecognised audio were dropped at the bound"
            return f"{note}; {lost}" if note else lost
        return note

    def _trim(self, request: _Request, decoded: Decoded, *, final: bool) -> None:
        """Let go of audio whose words are settled, once there is enough of it to make decodes slow."""
        if request.clip.seconds < _TRIM_AT * self._asr.window_s:
            return
        words = self._transcript.words
        if final and words:  # a final is asked for in a pause: the best border there is
            self._transcript.settle(words)
            self._let_go(words, request.clip.at + request.clip.seconds)
        elif decoded.settled:
            self._let_go(words[: len(request.frozen) + decoded.settled], decoded.settled_until)
        else:
            kept = _best_border(words, len(request.frozen), self._transcript.stable)
            if kept:
                self._let_go(words[:kept], (words[kept - 1].end + words[kept].start) / 2)

    def _let_go(self, frozen: tuple[Word, ...], until: float) -> None:
        self._frozen = frozen
        self._audio.drop_before(until)
        self._voiced.forget_before(self._audio.snapshot().first)


def _best_border(words: tuple[Word, ...], frozen: int, stable: int) -> int:
    """After how many words the audio is best cut: behind a settled word, before a pause, at a sentence's end.

    The last settled word is left in, so that the next decode has something to begin with. 0 where there is no border.
    """

    def merit(count: int) -> float:
        sentence = words[count - 1].text.endswith(_SENTENCE_ENDS)
        return words[count].start - words[count - 1].end + (_SENTENCE_BONUS_SECONDS if sentence else 0.0)

    return max(range(max(frozen, 0) + 1, stable), key=lambda count: (merit(count), count), default=0)
