"""pocketsphinx: the embedded recogniser. English out of the wheel, no download, words while they are being spoken.

With a pack's sentences as its language model it is quick and good at what the pack is about, and deaf to everything
else: what the sentences lack is heard as something that they hold. Without them, it takes a general model that makes
mistakes on one word in three. Other languages need an acoustic model, a dictionary and a
language model of their own, named in the options.
"""

import asyncio
import importlib.util
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

from duologue.audio import Frame
from duologue.core.words import Word
from duologue.errors import ConfigurationError, DuologueError, InternalError, StageOverloaded, StageUnavailable
from duologue.ports.asr import AsrContext, Hypothesis
from duologue.text.transcript import GrowingTranscript, join_words
from duologue_pipelines.asr.decode_pool import DecodePool
from duologue_pipelines.asr.hypothesis_queue import HypothesisQueue
from duologue_pipelines.asr.sphinx_decoders import DecoderLender, Phrases
from duologue_pipelines.asr.sphinx_language import written_forms
from duologue_pipelines.asr.sphinx_turn import Heard, SphinxTurn
from duologue_pipelines.asr.turn_audio import TurnAudio
from duologue_pipelines.asr.voiced import VoicedTrack
from duologue_pipelines.options import check_count, check_range
from duologue_pipelines.vad.silero import SileroModel

# With a pack's model, 16 espeak sentences: 12 % word error at the library's own 6.5, 5 % at 9, 5 % at 12.
_PACK_LANGUAGE_WEIGHT: Final = 9.0
_SAMPLES_PER_MS: Final = 16
_DECODER_TRY_S: Final = 0.05  # how often a turn without a decoder asks again
_WAIT_TOLD_S: Final = 0.2  # a shorter wait is lost in the steps


@dataclass(slots=True)
class PocketsphinxAsr:
    """The recogniser; options are its fields.

    `acoustic_model` (folder), `dictionary` and `language_model` (files): other models than the wheel's; with a language
    model named here a pack's sentences are not used. `pack_phrases`: whether they are used at all; without them the
    general model hears anything, badly. `language`: what the models speak. `language_weight`: how much a pack's
    model counts beside the sound. `partial_ms`: audio per step, so the least time between partials. `workers`: threads
    for all sessions. `decoders_max`: turns recognised at a time; one beyond it waits with its audio for a decoder, for
    `decoder_wait_s`, and fails then (`StageOverloaded`). `queue_max`: steps that may wait for a thread.
    """

    _: KW_ONLY
    acoustic_model: str | None = None
    dictionary: str | None = None
    language_model: str | None = None
    language: str = "en"
    pack_phrases: bool = True
    language_weight: float = _PACK_LANGUAGE_WEIGHT
    partial_ms: float = 200
    workers: int = field(default_factory=lambda: min(2, os.cpu_count() or 1))
    decoders_max: int = 8
    decoder_wait_s: float = 5.0
    queue_max: int = 64
    name: ClassVar[str] = "pocketsphinx"
    auto_rank: ClassVar[int] = 10  # among those that are there, `use = "auto"` takes the highest
    languages: ClassVar[tuple[str, ...]] = ("en",)  # with the models in the package
    pool: DecodePool = field(init=False, repr=False)
    lender: DecoderLender = field(init=False, repr=False)
    voice_judge: SileroModel = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_range("asr.pocketsphinx.partial_ms", self.partial_ms, 20, 10_000)
        check_range("asr.pocketsphinx.language_weight", self.language_weight, 1, 50)
        check_count("asr.pocketsphinx.workers", self.workers, 1, 64)
        check_count("asr.pocketsphinx.decoders_max", self.decoders_max, 1, 256)
        check_range("asr.pocketsphinx.decoder_wait_s", self.decoder_wait_s, 0, 60)
        check_count("asr.pocketsphinx.queue_max", self.queue_max, 1, 1000)
        if (self.acoustic_model is None) != (self.dictionary is None):
            raise ConfigurationError(
                "asr.pocketsphinx.acoustic_model and asr.pocketsphinx.dictionary go together: they share their phones",
                hint="Name both, or neither for the English ones in the package",
            )
        if self.acoustic_model is not None and self.language_model is None:
            raise ConfigurationError(
                "asr.pocketsphinx.language_model is missing: the one in the package is English",
                hint="Name the language model that goes with the acoustic model",
            )
        self.pool = self._new_pool()
        self.lender = self._new_lender()
        self.voice_judge = SileroModel()

    async def warm_up(self) -> None:
        """Check the files, load the models that every turn needs. Raises `StageUnavailable`."""
        await asyncio.to_thread(self._load)

    async def aclose(self) -> None:
        """Free decoders and threads. A later `open` begins anew."""
        old, self.pool = self.pool, self._new_pool()
        await old.aclose()
        lender, self.lender = self.lender, self._new_lender()
        await asyncio.to_thread(lender.close)
        self.voice_judge.close()

    @classmethod
    def probe(cls) -> str:
        """Whether the package, with its English model, is here."""
        if importlib.util.find_spec("pocketsphinx") is None:
            return "pocketsphinx is not installed"
        missing = next((path for path in _bundled().values() if not path.exists()), None)
        return f"pocketsphinx came without its model: {missing} is missing" if missing else ""

    def open(self, context: AsrContext) -> "SphinxStream":
        """A stream for one turn. Raises `ConfigurationError` for a language that the models don't speak."""
        wanted = (context.language or self.language).lower().split("-")[0]
        if wanted != self.language.lower().split("-")[0]:
            raise ConfigurationError(
                f"asr.pocketsphinx speaks {self.language!r}, the session asks for {context.language!r}",
                hint='Set asr.use = "whisper", or name models of that language in asr.acoustic_model and so on',
            )
        return SphinxStream(self, context.phrases if self._goes_by_pack else ())

    def remark_on(self, phrases: Sequence[str]) -> str:
        """What somebody who talks to it must know: which words it can hear at all, told `phrases`."""
        if self._goes_by_pack and phrases:
            return (
                "pocketsphinx hears only what the pack's dialogues and vocabulary hold (a persona's phrases, where "
                "there is no pack), and takes anything else for something in them; for free speech: duologue models "
                "pull whisper:tiny"
            )
        if self.language_model is None:
            return (
                "pocketsphinx with its general model gets about one word in three wrong; better: "
                "duologue models pull whisper:tiny"
            )
        return ""

    @property
    def _goes_by_pack(self) -> bool:
        return self.pack_phrases and self.language_model is None

    def _load(self) -> None:
        self.voice_judge.load()
        for path in self._paths().values():
            if not path.exists():
                raise StageUnavailable("asr", f"pocketsphinx: there is no {path}", hint="Check the paths under asr")
        # The general model is six times the size of a pack's and not wanted where there are phrases, which is not known
        # before the first turn: a stream asks for its decoder as soon as it is opened.
        lease = self.lender.lend(("hello",) if self._goes_by_pack else ())
        self.lender.give_back(lease)

    def _paths(self) -> dict[str, Path]:
        named = {"hmm": self.acoustic_model, "dict": self.dictionary, "lm": self.language_model}
        return {key: Path(named[key] or bundled).expanduser() for key, bundled in _bundled().items()}

    def _new_pool(self) -> DecodePool:
        return DecodePool("pocketsphinx", workers=self.workers, queue_max=self.queue_max)

    def _new_lender(self) -> DecoderLender:
        paths = self._paths()
        config = {key: str(path) for key, path in paths.items()}
        return DecoderLender({**config, "samprate": 16000}, self.decoders_max, pack_weight=self.language_weight)


class SphinxStream:
    """The recognition of one turn."""

    def __init__(self, asr: PocketsphinxAsr, phrases: Phrases) -> None:
        self._asr = asr
        self._audio = TurnAudio()
        self._turn = SphinxTurn(asr.lender, phrases, VoicedTrack(asr.voice_judge))
        self._transcript = GrowingTranscript()
        self._written = written_forms(tuple(phrases))
        self._step_samples = round(asr.partial_ms * _SAMPLES_PER_MS)
        self._asked_end = 0  # how far, in samples of the turn, the newest step reached
        self._running: asyncio.Future[Heard | None] | None = None
        self._mark: int | None = None  # the final that is owed
        self._waiting_since: float | None = None  # `loop.time()` when a decoder was first refused
        self._waited_s = 0.0  # for a decoder, and not told yet
        self._retry: asyncio.TimerHandle | None = None
        self._told_drop = False
        self._shown: tuple[str, int] = ("", 0)
        self._hypotheses = HypothesisQueue()
        self._submit(partial(_prepared, self._turn), mark=None)

    def push_frame(self, frame: Frame) -> None:
        """Take one frame; begin a step when enough is new."""
        if self._hypotheses.closed:
            return
        self._audio.push_frame(frame)
        if self._running is None and self._audio.end - self._asked_end >= self._step_samples:
            self._step()

    def finalise(self, mark: int) -> None:
        """Begin the final, right after the step under way; one still owed is dropped."""
        if self._hypotheses.closed:
            return
        self._mark = mark
        if self._running is None:
            self._step()

    def __aiter__(self) -> AsyncIterator[Hypothesis]:
        return self._hypotheses

    async def aclose(self) -> None:
        """Drop all work, give the decoder back, end the iteration."""
        self._hypotheses.close()
        if self._running is not None:
            self._running.cancel()
        self._stop_retrying()
        self._turn.close()

    def _step(self) -> None:
        self._asked_end = self._audio.end
        work = partial(self._turn.step, self._audio.snapshot(), final=self._mark is not None)
        self._submit(work, mark=self._mark)

    def _wait_for_decoder(self) -> bool:
        """Whether there is time to ask again for a decoder; it is done a little later, or with the next step."""
        loop = asyncio.get_running_loop()
        if self._waiting_since is None:
            self._waiting_since = loop.time()
        if loop.time() - self._waiting_since >= self._asr.decoder_wait_s:
            return False
        self._stop_retrying()
        self._retry = loop.call_later(_DECODER_TRY_S, self._try_again)
        return True

    def _try_again(self) -> None:
        if self._running is not None or self._hypotheses.closed:
            return
        if self._audio.end:
            self._step()
        else:
            self._submit(partial(_prepared, self._turn), mark=None)

    def _stop_retrying(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _submit(self, work: "partial[Heard] | partial[None]", *, mark: int | None) -> None:
        try:
            self._running = self._asr.pool.submit(work, urgent=mark is not None)
        except DuologueError as error:
            self._fail(error)
            return
        self._running.add_done_callback(partial(self._stepped, mark))

    def _stepped(self, mark: int | None, future: "asyncio.Future[Heard | None]") -> None:
        self._running = None
        if future.cancelled() or self._hypotheses.closed:
            return
        error = future.exception()
        if isinstance(error, StageOverloaded) and self._wait_for_decoder():
            return
        if error is not None:
            if not isinstance(error, DuologueError):
                wrapped = InternalError(f"asr: pocketsphinx raised {error!r}")
                wrapped.__cause__ = error
                error = wrapped
            self._fail(error)
            return
        if self._waiting_since is not None:
            self._waited_s += asyncio.get_running_loop().time() - self._waiting_since
            self._waiting_since = None
        heard = future.result()
        if heard is not None:
            self._use(heard, mark)
        if self._mark is not None or self._audio.end - self._asked_end >= self._step_samples:
            self._step()

    def _fail(self, error: DuologueError) -> None:
        self._hypotheses.fail(error)
        self._stop_retrying()
        self._turn.close()

    def _use(self, heard: Heard, mark: int | None) -> None:
        self._audio.drop_to(heard.needed_from)
        final = mark is not None and mark == self._mark
        grow = self._transcript.final if final else self._transcript.partial
        shown = self._as_written(grow(heard.words))
        if heard.settled:
            self._transcript.settle(shown[: heard.settled])
        text, stable = join_words(shown), self._transcript.stable
        if final:
            self._mark = None
        elif (text, stable) == self._shown:
            return
        self._shown = text, stable
        self._hypotheses.put(
            Hypothesis(
                text=text,
                words=shown,
                stable=stable,
                final=final,
                mark=mark or 0 if final else 0,
                language=self._asr.language,
                note=self._note(heard.note),
            )
        )

    def _as_written(self, words: Sequence[Word]) -> tuple[Word, ...]:
        """`words` as the pack writes them, if they are one of its sentences."""
        written = self._written.get(tuple(word.text.lower() for word in words))
        if written is None:
            return tuple(words)
        return tuple(replace(word, text=text) for word, text in zip(words, written, strict=True))

    def _note(self, note: str) -> str:
        notes = [note] if note else []
        if self._waited_s >= _WAIT_TOLD_S:
            notes.append(f"all decoders were in use for {self._waited_s:.1f} s: raise asr.decoders_max")
            self._waited_s = 0.0
        if self._audio.dropped_seconds and not self._told_drop:
            self._told_drop = True
            notes.append(f"{self._audio.dropped_seconds:.1f} s of unrecognised audio were dropped at the bound")
        return "; ".join(notes)


def _prepared(turn: SphinxTurn) -> None:
    turn.prepare()


def _bundled() -> dict[str, Path]:
    """The English model in pocketsphinx's wheel, found without importing it; where it is missing they lead nowhere."""
    spec = importlib.util.find_spec("pocketsphinx")
    folder = Path(spec.origin if spec and spec.origin else "pocketsphinx/__init__.py").parent / "model" / "en-us"
    return {"hmm": folder / "en-us", "dict": folder / "cmudict-en-us.dict", "lm": folder / "en-us.lm.bin"}
