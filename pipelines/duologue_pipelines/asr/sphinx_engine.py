"""One pocketsphinx decoder, run so that the loop keeps running.

The Python binding of pocketsphinx 5.1 holds the interpreter's lock while it computes: the second pass at an utterance's
end would stop the event loop for hundreds of milliseconds. The binding's own shared object exports the C library, so it
is called through ctypes, which releases the lock. Where a platform hides the symbols, the binding is used as it is, fed
in short pieces.
"""

import ctypes
import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol

import pocketsphinx
from pocketsphinx import _pocketsphinx

from duologue.errors import StageError, StageUnavailable

FRAMES_PER_SECOND: Final = 100
_PIECE_BYTES: Final = 640  # for the binding that holds the lock: 20 ms of audio, 2..6 ms of work
_FILLER: Final = re.compile(r"^(<.*>|\[.*\]|\+\+.*\+\+)$")  # silence, noise, laughter: in the dictionary, no words
_VARIANT: Final = re.compile(r"\(\d+\)$")  # "the(2)" is another pronunciation of "the"
_LOADING: Final = threading.Lock()  # the library keeps its log settings in globals

Config = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class Segment:
    """A word and where it is, in seconds from the utterance's start.

    `probability`: its posterior, once the utterance has ended; None before.
    """

    word: str
    start: float
    end: float
    probability: float | None


class SphinxDecoder(Protocol):
    """What a decoder does. Not for two threads at a time."""

    def start(self) -> None:
        """Begin an utterance."""
        ...

    def process(self, pcm: bytes) -> None:
        """Take mono 16 kHz int16 audio."""
        ...

    def end(self) -> None:
        """End the utterance: the second pass and the lattice, which give the best words and their posteriors."""
        ...

    def segments(self) -> list[Segment]:
        """The words so far, fillers left out."""
        ...

    def reset(self) -> None:
        """Forget what the last speaker sounded like."""
        ...

    def close(self) -> None:
        """Free it. Idempotent."""
        ...


def open_decoder(config: Config) -> SphinxDecoder:
    """A decoder for `config` (pocketsphinx's option names). Takes 0.1 to 0.5 s. Raises `StageUnavailable`."""
    library = _library()
    with _LOADING:
        return BoundDecoder(config) if library is None else NativeDecoder(library, config)


def _words(found: Iterator[tuple[str, int, int, float]], *, ended: bool) -> list[Segment]:
    return [
        Segment(
            _VARIANT.sub("", word),
            start / FRAMES_PER_SECOND,
            (end + 1) / FRAMES_PER_SECOND,
            min(1.0, p) if ended else None,
        )
        for word, start, end, p in found
        if not _FILLER.match(word)
    ]


def _load_error(config: Config) -> StageUnavailable:
    shown = {key: value for key, value in config.items() if key in ("hmm", "dict", "lm")}
    return StageUnavailable(
        "asr",
        f"pocketsphinx can't load {shown}",
        hint="Check asr.acoustic_model, asr.dictionary and asr.language_model",
    )


class NativeDecoder:
    """The C library through ctypes."""

    def __init__(self, library: ctypes.CDLL, config: Config) -> None:
        self._c = library
        self._ended = False
        handle = library.ps_config_parse_json(None, json.dumps(dict(config)).encode())
        if not handle:
            raise _load_error(config)
        self._decoder: int | None = library.ps_init(handle)
        library.ps_config_free(handle)
        if not self._decoder:
            raise _load_error(config)
        self._logmath = library.ps_get_logmath(self._decoder)
        self._cmn = bytes(library.ps_get_cmn(self._decoder, 0))

    def start(self) -> None:
        self._ended = False
        self._check(self._c.ps_start_utt(self._decoder), "start an utterance")

    def process(self, pcm: bytes) -> None:
        self._check(self._c.ps_process_raw(self._decoder, pcm, len(pcm) // 2, 0, 0), f"take {len(pcm)} bytes")

    def end(self) -> None:
        self._ended = True
        self._check(self._c.ps_end_utt(self._decoder), "end the utterance")

    def segments(self) -> list[Segment]:
        return _words(self._segments(), ended=self._ended)

    def reset(self) -> None:
        self._check(self._c.ps_set_cmn(self._decoder, self._cmn), "reset the cepstral mean")

    def close(self) -> None:
        if self._decoder is not None:
            self._c.ps_free(self._decoder)
            self._decoder = None

    def _segments(self) -> Iterator[tuple[str, int, int, float]]:
        start, end = ctypes.c_int(), ctypes.c_int()
        segment = self._c.ps_seg_iter(self._decoder)
        while segment:
            word = self._c.ps_seg_word(segment).decode()
            self._c.ps_seg_frames(segment, ctypes.byref(start), ctypes.byref(end))
            log_probability = self._c.ps_seg_prob(segment, None, None, None)
            yield word, start.value, end.value, self._c.logmath_exp(self._logmath, log_probability)
            segment = self._c.ps_seg_next(segment)

    def _check(self, code: int, what: str) -> None:
        if code < 0:
            raise StageError("asr", f"pocketsphinx failed to {what}", retryable=True)


class BoundDecoder:
    """The package's own binding, for platforms where the C symbols are hidden."""

    def __init__(self, config: Config) -> None:
        try:
            self._decoder: Any = pocketsphinx.Decoder(**{"lm": None, **config})
        except (RuntimeError, ValueError) as error:
            raise _load_error(config) from error
        self._cmn = self._decoder.get_cmn()
        self._ended = False

    def start(self) -> None:
        self._ended = False
        self._decoder.start_utt()

    def process(self, pcm: bytes) -> None:
        for offset in range(0, len(pcm), _PIECE_BYTES):
            try:
                self._decoder.process_raw(pcm[offset : offset + _PIECE_BYTES])
            except RuntimeError as error:
                raise StageError("asr", f"pocketsphinx failed ({error})", retryable=True) from error

    def end(self) -> None:
        self._ended = True
        self._decoder.end_utt()

    def segments(self) -> list[Segment]:
        found = self._decoder.seg() or ()
        return _words(((s.word, s.start_frame, s.end_frame, s.prob) for s in found), ended=self._ended)

    def reset(self) -> None:
        self._decoder.set_cmn(self._cmn)

    def close(self) -> None:
        self._decoder = None


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL | None:
    """The C library inside the binding's shared object; None where its symbols are hidden."""
    try:
        library = ctypes.CDLL(_pocketsphinx.__file__)
        pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
        for name, result, arguments in (
            ("ps_config_parse_json", pointer, (pointer, text)),
            ("ps_config_free", number, (pointer,)),
            ("ps_init", pointer, (pointer,)),
            ("ps_free", number, (pointer,)),
            ("ps_start_utt", number, (pointer,)),
            ("ps_process_raw", number, (pointer, text, ctypes.c_size_t, number, number)),
            ("ps_end_utt", number, (pointer,)),
            ("ps_get_cmn", text, (pointer, number)),
            ("ps_set_cmn", number, (pointer, text)),
            ("ps_get_logmath", pointer, (pointer,)),
            ("ps_seg_iter", pointer, (pointer,)),
            ("ps_seg_next", pointer, (pointer,)),
            ("ps_seg_word", text, (pointer,)),
            ("ps_seg_frames", None, (pointer, pointer, pointer)),
            ("ps_seg_prob", ctypes.c_int32, (pointer, pointer, pointer, pointer)),
            ("logmath_exp", ctypes.c_double, (pointer, number)),
        ):
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        library.err_set_loglevel_str(b"FATAL")
    except (AttributeError, OSError):
        return None
    return library
