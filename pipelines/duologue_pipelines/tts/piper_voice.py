"""One Piper voice, loaded: text to phonemes, phonemes to audio in windows, durations to word times.

Everything here blocks and may be called from several threads at once.
Imports piper-tts (GPL-3.0-or-later), and is imported by `piper.py` only when that is installed.
"""

import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from piper import PiperVoice
from piper.config import PhonemeType, PiperConfig
from piper.const import BOS, PAD

from duologue_pipelines.tts.onnx_session import open_session
from duologue_pipelines.tts.piper_words import word_spans
from duologue_pipelines.tts.speakable import SourceWord

if TYPE_CHECKING:
    from duologue_pipelines.tts.piper_graph import VitsParts

WINDOW_FRAMES: Final = 40  # 0.46 s of a 22 kHz voice, 19 to 30 ms of work for a medium one
FIRST_WINDOW_FRAMES: Final = 24  # 0.28 s: longer than the second window takes, a third less to wait for
MARGIN_FRAMES: Final = 12  # what the decoder's convolutions reach; the error left is 4e-7
FLOW_FRAMES: Final = 96  # the flow's windows: larger ones, since its margin is
FLOW_MARGIN_FRAMES: Final = 32  # four couplings of four convolutions, each reaching two frames: exact
_TRIAL_FRAMES: Final = 8
_TRIAL_IDS: Final = 5

Audio = NDArray[np.float32]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sentence:
    """Phonemes of one sentence, and the words in it with the span of phonemes that each takes."""

    phonemes: list[str]
    words: tuple[tuple[SourceWord, int, int], ...]


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word and where it is heard, in samples from the sentence's start."""

    word: SourceWord
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Utterance:
    """One sentence under way. `windows`: its audio (float32, shape (n,), full scale 1.0), each made when asked for."""

    words: tuple[TimedWord, ...]
    windows: Iterator[Audio]


class LoadedVoice:
    """A voice with its sessions. `threads`: for one run of a model; runs of several threads may overlap."""

    def __init__(self, path: Path, config: PiperConfig, threads: int) -> None:
        self._threads = threads
        self._config = config
        self._parts: VitsParts | None = None
        self._decoder: onnxruntime.InferenceSession | None = None
        self._flow: onnxruntime.InferenceSession | None = None
        opened = self._open_cut(path) or self._open_timed(path)
        self._session = opened or open_session(str(path), self._threads)
        self._piper = PiperVoice(session=self._session, config=config)
        self._inputs = {node.name for node in self._session.get_inputs()}

    def _open_cut(self, path: Path) -> onnxruntime.InferenceSession | None:
        """The encoder's session, with the decoder's beside it; None, with a note, where the graph can't be cut."""
        try:
            from duologue_pipelines.tts.piper_graph import load_and_split
        except ImportError:
            _log.warning(
                "the package onnx is missing: %s is synthesised sentence by sentence, without word times", path
            )
            return None
        try:
            cut = load_and_split(path)
            if cut is None:
                return None
            session, self._decoder = open_session(cut.encoder, self._threads), open_session(cut.decoder, self._threads)
            self._flow = open_session(cut.flow, self._threads) if cut.flow else None
            self._parts = cut.parts
            if self._fits_together(session):
                return session
        # A graph never seen may break the surgery or onnxruntime in ways of its own; the whole graph may still do.
        except Exception as error:
            _log.warning("%s can't be cut in two (%r): it is synthesised sentence by sentence", path, error)
        self._parts = self._decoder = self._flow = None
        return None

    def _open_timed(self, path: Path) -> onnxruntime.InferenceSession | None:
        """The whole graph with its durations among the outputs, where it can be had."""
        try:
            from duologue_pipelines.tts.piper_graph import load_timed

            return open_session(load_timed(path), self._threads)
        except ImportError:
            return None
        except Exception as error:  # as above
            _log.warning("%s gives no durations (%r): its words have no times", path, error)
            return None

    @property
    def sample_rate_hz(self) -> int:
        """The voice's own rate."""
        return self._config.sample_rate

    @property
    def language(self) -> str:
        """What the voice speaks, as espeak calls it ("en-us", "cmn")."""
        return self._config.espeak_voice

    @property
    def streams(self) -> bool:
        """Whether audio comes in windows; a sentence at a time otherwise."""
        return self._decoder is not None

    @property
    def knows_wide_punctuation(self) -> bool:
        """Whether full-width punctuation is to be left as it is."""
        return self._config.phoneme_type in (PhonemeType.PINYIN, PhonemeType.JAPANESE)

    def speaker(self, name: str) -> int | None:
        """The number of the speaker called `name` (or numbered so); None where there is none."""
        if name.isdecimal():
            return int(name) if int(name) < max(self._config.num_speakers, 1) else None
        return self._config.speaker_id_map.get(name)

    @property
    def speakers(self) -> tuple[str, ...]:
        """Names of the speakers of a voice that has several."""
        return tuple(self._config.speaker_id_map)

    def sentences(self, text: str, words: Sequence[SourceWord]) -> list[Sentence]:
        """`text` in phonemes; `words` are placed in it by their `start` and `end`."""
        phonemes = [sentence for sentence in self._piper.phonemize(text) if sentence]
        if self._config.phoneme_type != PhonemeType.ESPEAK:
            return [Sentence(sentence, ()) for sentence in phonemes]
        alone = [self._alone(text[word.start : word.end]) for word in words]
        spans = word_spans([phoneme for sentence in phonemes for phoneme in sentence], alone)
        found: list[Sentence] = []
        at = 0
        for sentence in phonemes:
            end = at + len(sentence)
            own = [(w, a - at, min(b, end) - at) for w, (a, b) in zip(words, spans, strict=True) if at <= a < end]
            found.append(Sentence(sentence, tuple(own)))
            at = end
        return found

    def _alone(self, word: str) -> list[str]:
        return [phoneme for sentence in self._piper.phonemize(word) for phoneme in sentence]

    def begin(self, sentence: Sentence, speed: float, speaker: int) -> Utterance:
        """Run the encoder (or all of a voice that is whole) on `sentence`. `speed`: 1.0 is the voice's own pace."""
        ids = self._piper.phonemes_to_ids(sentence.phonemes)
        scales = [self._config.noise_scale, self._config.length_scale / speed, self._config.noise_w_scale]
        feed: dict[str, Any] = {
            "input": np.array([ids], dtype=np.int64),
            "input_lengths": np.array([len(ids)], dtype=np.int64),
            "scales": np.array(scales, dtype=np.float32),
            "sid": np.array([speaker], dtype=np.int64),
        }
        first, *durations = self._session.run(None, {name: feed[name] for name in self._inputs})
        if self._parts is None:
            audio = np.atleast_1d(first.squeeze()).astype(np.float32, copy=False)
            samples, windows = len(audio), iter((audio,))
        else:
            samples, windows = first.shape[2] * self._parts.hop, self._decoded(first, feed)
        words = self._timed(sentence, len(ids), durations[0], samples) if durations else ()
        return Utterance(words, windows)

    def _decoded(self, encoded: NDArray[np.float32], feed: dict[str, Any]) -> Iterator[Audio]:
        """What the encoder gave (1, channels, frames), decoded window by window, the flow a little ahead of it."""
        assert self._parts is not None
        hop, frames = self._parts.hop, encoded.shape[2]
        latent = encoded if self._flow is None else np.empty_like(encoded)
        made = frames if self._flow is None else 0
        for start, stop in itertools.pairwise([0, *range(FIRST_WINDOW_FRAMES, frames, WINDOW_FRAMES), frames]):
            left = max(start - MARGIN_FRAMES, 0)
            reach = min(stop + MARGIN_FRAMES, frames)
            if reach > made:
                until = min(max(reach, made + FLOW_FRAMES), frames) if made else reach
                latent[:, :, made:until] = self._flowed(encoded, made, until, feed)
                made = until
            audio = self._decode(latent[:, :, left:reach], feed)
            yield audio[(start - left) * hop : (stop - left) * hop]

    def _flowed(self, prior: NDArray[np.float32], start: int, stop: int, feed: dict[str, Any]) -> NDArray[np.float32]:
        """The latent's frames from `start` to `stop`."""
        assert self._parts is not None and self._parts.flow is not None and self._flow is not None
        flow, left = self._parts.flow, max(start - FLOW_MARGIN_FRAMES, 0)
        part = prior[:, :, left : stop + FLOW_MARGIN_FRAMES]
        inputs = {flow.prior: part, flow.mask: np.ones((1, 1, part.shape[2]), dtype=np.float32)}
        latent: NDArray[np.float32] = self._flow.run(None, inputs | {name: feed[name] for name in flow.inputs})[0]
        return latent[:, :, start - left : stop - left]

    def _decode(self, latent: NDArray[np.float32], feed: dict[str, Any]) -> Audio:
        assert self._parts is not None and self._decoder is not None
        inputs = {self._parts.latent: latent} | {name: feed[name] for name in self._parts.decoder_inputs}
        return np.atleast_1d(np.asarray(self._decoder.run(None, inputs)[0], dtype=np.float32).squeeze())

    def _fits_together(self, encoder: onnxruntime.InferenceSession) -> bool:
        """Whether both halves run and give `hop` samples a frame, as the cut supposes; a first run besides."""
        assert self._parts is not None
        ids = np.zeros((1, _TRIAL_IDS), dtype=np.int64)
        feed: dict[str, Any] = {
            "input": ids,
            "input_lengths": np.array([_TRIAL_IDS], dtype=np.int64),
            "scales": np.array([0.0, 1.0, 0.0], dtype=np.float32),
            "sid": np.zeros(1, dtype=np.int64),
        }
        latent = encoder.run(None, {node.name: feed[node.name] for node in encoder.get_inputs()})[0]
        if self._flow is not None:
            latent = self._flowed(latent, 0, latent.shape[2], feed)
        silence = np.zeros((1, self._parts.channels, _TRIAL_FRAMES), dtype=np.float32)
        samples = self._decode(silence, feed).shape
        return latent.shape[:2] == silence.shape[:2] and samples == (_TRIAL_FRAMES * self._parts.hop,)

    def _timed(
        self, sentence: Sentence, id_count: int, durations: NDArray[np.float32], samples: int
    ) -> tuple[TimedWord, ...]:
        """Word times from frames a phoneme id; none where the ids are not laid out as expected."""
        frames = durations.reshape(-1)
        id_map = self._config.phoneme_id_map
        pads = len(id_map[PAD])
        widths = [len(id_map[p]) + pads if p in id_map else 0 for p in sentence.phonemes]
        before = len(id_map[BOS]) + pads
        if len(frames) != id_count or before + sum(widths) >= id_count + 1:
            return ()
        at_id = np.concatenate(([0.0], np.cumsum(frames))) * (samples / max(float(frames.sum()), 1.0))
        first_id = np.concatenate(([0], np.cumsum(widths))) + before
        return tuple(
            TimedWord(word, int(at_id[first_id[start]]), int(at_id[first_id[end]]))
            for word, start, end in sentence.words
        )
