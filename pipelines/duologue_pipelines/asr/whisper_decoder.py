"""One Whisper model, shared by all sessions, and how a stretch of a turn becomes words without inventing any.

Everything here runs in decoder threads. The encoder's window is shortened to what the audio needs (its cost is nearly
linear in it) and lengthened to the full thirty seconds when the decoder's own doubts raise an alarm.
"""

import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from duologue.audio import INPUT_RATE_HZ
from duologue.core.words import Word, is_cjk, normal_form, split_words
from duologue.errors import ConfigurationError, StageError, StageUnavailable
from duologue.text.transcript import atomic_words
from duologue_pipelines.asr import guards
from duologue_pipelines.asr.turn_audio import Clip
from duologue_pipelines.asr.voiced import Voiced, VoicedTrack
from duologue_pipelines.asr.whisper_models import find_model, missing_model

LONG_WINDOW_SECONDS: Final = 30.0  # what Whisper was trained on
# Stock weights break below about 10 s of window; 15 s was found harmless (DESIGN.md, section 7).
SHORT_WINDOW_SECONDS: Final = 15.0
# For what is shorter still: on 72 clips of people it cost half a point of word error (tiny.en, base), a few words, and
# takes a third off the encoder's time.
LEAST_WINDOW_SECONDS: Final = 10.0
_ROOM_SECONDS: Final = 0.5  # behind the last sample: a window that ends in speech makes the decoder go on
_FRAMES_PER_SECOND: Final = 100
_SILENCE_KEPT_SECONDS: Final = 0.5
_SILENCE_CUT_SECONDS: Final = 1.0  # shorter silences are left as they are: cutting them gains nothing
_TOKENS_PER_SECOND: Final = 15  # twice the fastest speech; bounds what a loop can cost
_TOKENS_FREE: Final = 16
_LANGUAGE_SURE: Final = 0.6
_LANGUAGE_VOICED_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class WhisperOptions:
    """How to load and run the model; checked by `WhisperAsr`."""

    model: str
    window_seconds: float
    compute_type: str
    device: str
    workers: int
    beam: int
    word_times: bool
    download: bool


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a clip says. Times of `words` are session seconds.

    `settled`: how many leading words need no second look, because the clip was longer than a window; `settled_until`:
    where the audio after them begins. `language` is given once it is sure. `note`: which guard acted.
    """

    words: tuple[Word, ...] = ()
    settled: int = 0
    settled_until: float = 0.0
    language: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One run of the model over one piece; `words` in seconds from the piece's start."""

    words: tuple[Word, ...]
    mean_log_probability: float
    no_speech: float
    language: str
    language_probability: float
    alarm: str = field(default="")


class WhisperDecoder:
    """Loads once, decodes from as many threads as it has workers."""

    def __init__(self, options: WhisperOptions) -> None:
        self._options = options
        self._model: Any = None
        self._lock = threading.Lock()

    def load(self) -> None:
        """Load the model. Idempotent, safe from any thread. Raises `StageUnavailable`, `ConfigurationError`."""
        with self._lock:
            if self._model is None:
                self._model = self._open()

    def close(self) -> None:
        """Free the model; the next `decode` loads it again."""
        with self._lock:
            self._model = None

    def warm(self) -> None:
        """Load, and run once so that the first turn doesn't pay for it."""
        self.load()
        self._attempt(np.zeros(INPUT_RATE_HZ, np.float32), self._options.window_seconds, ())

    def decode(self, clip: Clip, languages: tuple[str, ...], voiced_track: VoicedTrack, committed: str = "") -> Decoded:
        """Words of `clip`. Raises `StageError` when the model fails.

        `languages`: Whisper's codes of those that it may be in; one is taken as given, none means any.

        `committed`: leading words of `clip` that are settled. The decoder goes on from them, so that it takes none
        back; should that raise an alarm, it begins anew without them.

        A clip longer than the long window is decoded piece by piece, each beginning at the end of a word.
        """
        voiced = voiced_track.judge(clip)
        if voiced is None:
            return Decoded()
        self.load()
        samples, start = _without_long_silence(clip.samples, voiced)
        try:
            return self._decode_pieces(samples, clip.at + start, languages, voiced, committed)
        except (RuntimeError, ValueError, MemoryError) as error:  # what CTranslate2 and numpy raise
            raise StageError(
                "asr", f"whisper failed on {clip.seconds:.1f} s of audio ({error})", retryable=True
            ) from error

    def _decode_pieces(
        self, samples: NDArray[np.float32], at: float, languages: tuple[str, ...], voiced: Voiced, committed: str
    ) -> Decoded:
        words: list[Word] = []
        notes: list[str] = []
        settled, settled_until = 0, at
        piece_max = int(LONG_WINDOW_SECONDS * INPUT_RATE_HZ)
        first, last, sure = 0, False, languages[0] if len(languages) == 1 else None
        while not last:
            piece = samples[first : first + piece_max]
            last = first + piece_max >= len(samples)
            attempt, note = self._decode_piece(piece, (sure,) if sure else languages, committed if first == 0 else "")
            share = voiced.seconds * len(piece) / len(samples)
            kept, guard_note = _guarded(attempt, voiced.seconds if last and first == 0 else share)
            notes += [text for text in (note, guard_note) if text]
            if sure is None and _is_sure(attempt, voiced.seconds):
                sure = attempt.language
            offset = at + first / INPUT_RATE_HZ
            if not last:
                kept, next_at = _before_the_border(kept, len(piece) / INPUT_RATE_HZ)
                first += max(INPUT_RATE_HZ, round(next_at * INPUT_RATE_HZ))
                settled_until = at + first / INPUT_RATE_HZ
            words += [Word(w.text, w.start + offset, w.end + offset, w.probability) for w in kept]
            settled = settled if last else len(words)
        return Decoded(tuple(words), settled, settled_until, sure, "; ".join(dict.fromkeys(notes)))

    def _decode_piece(
        self, samples: NDArray[np.float32], languages: tuple[str, ...], committed: str
    ) -> tuple[_Attempt, str]:
        seconds = len(samples) / INPUT_RATE_HZ
        short = self._options.window_seconds
        if seconds > short or short >= LONG_WINDOW_SECONDS:
            attempt = self._attempt(samples, LONG_WINDOW_SECONDS, languages, committed)
            if attempt.alarm and committed:
                return self._attempt(samples, LONG_WINDOW_SECONDS, languages), f"decoded anew: {attempt.alarm}"
            return attempt, ""
        window = min(short, max(LEAST_WINDOW_SECONDS, float(np.ceil(seconds + _ROOM_SECONDS))))
        attempt = self._attempt(samples, window, languages, committed)
        if not attempt.alarm:
            return attempt, ""
        again = self._attempt(samples, LONG_WINDOW_SECONDS, languages)
        better = again if again.mean_log_probability >= attempt.mean_log_probability or not again.alarm else attempt
        return better, f"decoded again in the long window: {attempt.alarm}"

    def _attempt(
        self, samples: NDArray[np.float32], window_seconds: float, languages: tuple[str, ...], committed: str = ""
    ) -> _Attempt:
        model = self._model
        frames = int(window_seconds * _FRAMES_PER_SECOND)
        features = model.feature_extractor(samples)[..., :-1][..., :frames]
        content_frames = features.shape[-1]
        # The model's own silence is zeros in the feature domain, as faster-whisper pads.
        features = np.pad(features, ((0, 0), (0, frames - content_frames)))
        encoded = model.encode(features)
        tongue, tongue_probability = self._language(encoded, languages)
        tokenizer = self._tokenizer(tongue)
        prompt = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
        given = tokenizer.encode(committed if is_cjk(committed[:1]) else f" {committed}") if committed else []
        tokens_max = _TOKENS_FREE + len(given) + int(_TOKENS_PER_SECOND * len(samples) / INPUT_RATE_HZ)
        result = model.model.generate(
            encoded,
            [[*prompt, *given]],
            beam_size=self._options.beam,
            max_length=min(model.max_length, len(prompt) + tokens_max),
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        tokens = [token for token in result.sequences_ids[0] if token < tokenizer.eot]
        # CTranslate2's score is the mean over the tokens; faster-whisper counts the end token too.
        count = len(result.sequences_ids[0])
        mean = float(result.scores[0]) * count / max(1, count - len(given) + 1)  # what is given costs nothing
        text = tokenizer.decode(tokens).strip()
        seconds = len(samples) / INPUT_RATE_HZ
        if self._options.word_times or seconds >= LONG_WINDOW_SECONDS:
            words = _aligned(model.find_alignment(tokenizer, [tokens], encoded, content_frames) if tokens else [[]])
        else:
            words = _spread(text, seconds)
        alarm = _alarm(text, mean)
        return _Attempt(words, mean, float(result.no_speech_prob), tongue, tongue_probability, alarm)

    def _language(self, encoded: Any, languages: tuple[str, ...]) -> tuple[str, float]:
        if not self._model.model.is_multilingual:
            return "en", 1.0
        if len(languages) == 1:
            return languages[0], 1.0
        return likeliest_language(self._model.model.detect_language(encoded)[0], languages)

    def _tokenizer(self, language: str) -> Any:
        return _tokenizer(self._model.hf_tokenizer, self._model.model.is_multilingual, language)

    def check_language(self, language: str) -> str:
        """Whisper's code for the BCP 47 tag `language`. Raises `ConfigurationError` where it has none."""
        code = language.lower().replace("_", "-").split("-")[0]
        code = {"cmn": "zh", "nb": "no", "fil": "tl", "iw": "he", "jv": "jw"}.get(code, code)
        with self._lock:
            model = self._model
        if model is None:
            return code
        allowed = model.supported_languages
        if code not in allowed:
            raise ConfigurationError(
                f"asr.whisper: the model {self._options.model!r} has no language {language!r}",
                hint='Choose a multilingual model such as "tiny"' if allowed == ["en"] else "Check the language code",
            )
        return code

    def known_languages(self, languages: Iterable[str]) -> tuple[str, ...]:
        """Whisper's codes for those of `languages` that the model has; empty, which is any, if it has none of them."""
        known = []
        for language in languages:
            with suppress(ConfigurationError):
                known.append(self.check_language(language))
        return tuple(known)

    def _open(self) -> Any:
        options = self._options
        folder = find_model(options.model)
        if folder is None and not options.download:
            raise missing_model(options.model)
        if folder is not None and not (folder / "tokenizer.json").is_file():
            # faster-whisper would fetch another model's from the network, or fail without a word about it
            raise StageUnavailable(
                "asr",
                f"whisper: {folder} has no tokenizer.json, without which tokens are no words",
                hint="Put the tokenizer.json of the same model beside model.bin, or pull the model again",
            )
        try:
            from faster_whisper import WhisperModel  # heavy: only once a model is really wanted
        except ImportError as error:
            raise StageUnavailable("asr", f"whisper: {error}", hint="Run `pip install faster-whisper`") from error
        try:
            return WhisperModel(
                str(folder or options.model),
                device=options.device,
                compute_type=options.compute_type,
                cpu_threads=1,  # more threads a decode make it slower: several decodes side by side instead
                num_workers=options.workers,
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise StageUnavailable(
                "asr",
                f"whisper: {options.model!r} can't be loaded ({error})",
                hint="Check asr.model, asr.compute_type and asr.device, or pull the model again",
            ) from error


def likeliest_language(found: Sequence[tuple[str, float]], languages: tuple[str, ...]) -> tuple[str, float]:
    """The likeliest of `languages` (any, if empty) and its probability among them.

    `found`: tokens like `<|en|>` with probabilities, the likeliest first, as CTranslate2 gives them.
    """
    wanted = [(token[2:-2], float(p)) for token, p in found if not languages or token[2:-2] in languages]
    if not wanted:
        return (languages[0] if languages else "en"), 0.0
    total = sum(p for _, p in wanted)
    code, probability = max(wanted, key=lambda pair: pair[1])
    return code, probability / total if total > 0 else 0.0


@lru_cache(maxsize=32)
def _tokenizer(hf_tokenizer: Any, multilingual: bool, language: str) -> Any:
    from faster_whisper.tokenizer import Tokenizer

    return Tokenizer(hf_tokenizer, multilingual, task="transcribe", language=language)


def _alarm(text: str, mean_log_probability: float) -> str:
    if guards.compression_ratio(text) > guards.COMPRESSION_RATIO_MAX:
        return "the text repeats itself"
    if guards.loop_start(split_words(text)) is not None or any(map(guards.loop_inside, split_words(text))):
        return "the text loops"
    return "the decoder is unsure" if mean_log_probability < guards.MEAN_LOG_PROBABILITY_MIN else ""


def _guarded(attempt: _Attempt, voiced_seconds: float) -> tuple[tuple[Word, ...], str]:
    """The words that can be believed, and why the others can't."""
    words = attempt.words
    text = " ".join(word.text for word in words)
    if words and not normal_form(text):
        return (), "dropped marks of punctuation without a word"
    if attempt.no_speech > guards.NO_SPEECH_MAX and attempt.mean_log_probability < guards.MEAN_LOG_PROBABILITY_MIN:
        return (), "dropped what the model itself takes for no speech"
    if guards.is_phantom(text, voiced_seconds):
        return (), f"dropped {text!r}: a phrase that weights say over near-silence"
    if guards.is_too_fast(text, voiced_seconds):
        return (), f"dropped {len(words)} words said to be spoken in {voiced_seconds:.1f} s of voice"
    inside = next((index for index, word in enumerate(words) if guards.loop_inside(word.text)), None)
    if inside is not None:
        return words[:inside], f"cut a loop inside the word after {inside} words"
    cut = guards.loop_start([word.text for word in words])
    if cut is not None:
        return words[:cut], f"cut a loop after {cut} words"
    return words, ""


def _is_sure(attempt: _Attempt, voiced_seconds: float) -> bool:
    return attempt.language_probability >= _LANGUAGE_SURE and voiced_seconds >= _LANGUAGE_VOICED_SECONDS


def _without_long_silence(samples: NDArray[np.float32], voiced: Voiced) -> tuple[NDArray[np.float32], float]:
    """`samples` with long silence at either end cut short, and the second at which they begin now."""
    seconds = len(samples) / INPUT_RATE_HZ
    start = voiced.start - _SILENCE_KEPT_SECONDS if voiced.start > _SILENCE_CUT_SECONDS else 0.0
    end = voiced.end + _SILENCE_KEPT_SECONDS if seconds - voiced.end > _SILENCE_CUT_SECONDS else seconds
    first = round(start * INPUT_RATE_HZ)
    return samples[first : round(end * INPUT_RATE_HZ)], first / INPUT_RATE_HZ


def _before_the_border(words: tuple[Word, ...], seconds: float) -> tuple[tuple[Word, ...], float]:
    """The words that end well before the piece does, and where the next piece begins.

    The last word may be cut in two by the border, so it and its neighbours within a second are left to the next piece.
    """
    kept = tuple(word for word in words if word.end <= seconds - 1.0)
    if not kept:
        return (), seconds - 1.0
    return kept, kept[-1].end


def _aligned(alignments: list[list[dict[str, Any]]]) -> tuple[Word, ...]:
    """Words of the aligner's pieces: what follows without a space belongs to the word before, CJK aside."""
    merged: list[Word] = []
    for piece in alignments[0] if alignments else []:
        text, start, end = piece["word"], float(piece["start"]), float(piece["end"])
        probability = float(piece["probability"])
        joins = merged and not text.startswith(" ") and not is_cjk(text[:1])
        if joins and text.strip():
            before = merged[-1]
            least = min(probability, before.probability if before.probability is not None else 1.0)
            # A mark of punctuation is timed up to the next word: it does not make the word longer.
            until = end if any(c.isalnum() for c in text) else before.end
            merged[-1] = Word(before.text + text.strip(), before.start, max(before.end, until), least)
        elif text.strip():
            merged.append(Word(text.strip(), start, max(start, end), probability))
    return tuple(atom for word in merged for atom in atomic_words(word))


def _spread(text: str, seconds: float) -> tuple[Word, ...]:
    """The words of `text` over `seconds`, by length: good enough to tell first from last."""
    return tuple(atomic_words(Word(text, 0.0, seconds)))
