"""libespeak-ng through ctypes: the C library as it is, with its one voice, one callback and one lock.

The library keeps its state in globals, so every use of it in the process goes through `library()` and its lock.
(Piper's own espeak is linked into its extension module and shares nothing with this one.) Struct layouts, constants and
the meaning of the events are those of `speak_lib.h`, espeak-ng 1.52.
"""

import ctypes
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

import espeakng_loader
import numpy as np
from numpy.typing import NDArray

from duologue.errors import StageError, StageUnavailable

BUFFER_MS: Final = 20  # audio a callback; smaller only costs calls
_OUTPUT_SYNCHRONOUS: Final = 2
_DONT_EXIT: Final = 1 << 15  # report an initialisation error instead of ending the process
_CHARS_UTF8: Final = 1
_POSITION_CHARACTER: Final = 1
_PARAMETER_RATE: Final = 1
_EVENT_LIST_END: Final = 0
_EVENT_WORD: Final = 1
_EVENT_END: Final = 5
_NO_FLAGS: Final = 0
_PHONEMES_IPA: Final = 0x02
_PHONEMES_TIE: Final = 0x80
TIE: Final = "^"  # between the letters of one sound ("t^ʃ")


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_int64),
    )


class _Voice(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


_Callback: Final = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True, slots=True)
class EspeakEvent:
    """A word begins, or a clause is over (`is_end`).

    `char`: 0-based place in the text; for an end, the first character behind the clause. `sample`: from the start
    of the call's audio.
    """

    is_end: bool
    char: int
    sample: int


OnAudio = Callable[[NDArray[np.int16], list[EspeakEvent]], bool]
"""Takes the next samples (int16, shape (n,)) and what happens in them; False stops the synthesis."""


class EspeakLibrary:
    """The loaded library. Use the one that `library()` gives."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        try:
            self._lib = ctypes.CDLL(espeakng_loader.get_library_path())
            data = Path(espeakng_loader.get_data_path())
        except (OSError, RuntimeError) as error:
            raise StageUnavailable(
                "tts",
                f"espeak-ng can't be loaded ({error})",
                hint="Run `pip install --force-reinstall espeakng-loader`",
            ) from error
        self._data = data
        rate = int(self._lib.espeak_Initialize(_OUTPUT_SYNCHRONOUS, BUFFER_MS, str(data).encode(), _DONT_EXIT))
        if rate <= 0:
            raise StageUnavailable(
                "tts",
                f"espeak-ng did not start with its data in {data} (code {rate})",
                hint="Run `pip install --force-reinstall espeakng-loader`",
            )
        self.sample_rate_hz = rate
        self._on_audio: OnAudio | None = None
        self._failure: BaseException | None = None
        self._callback = _Callback(self._received)  # kept: the library holds only its address
        self._lib.espeak_SetSynthCallback(self._callback)
        self._voice = ""

    @cached_property
    def voices(self) -> tuple[str, ...]:
        """Codes of all voices ("en-us", "cmn", "de"), sorted."""
        return tuple(sorted(self._identifiers))

    @cached_property
    def _identifiers(self) -> dict[str, str]:
        """What the library calls the voice of each code; the code itself does not always find it ("en-gb")."""
        self._lib.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        found: dict[str, str] = {}
        with self._lock:
            listed = self._lib.espeak_ListVoices(None)
            index = 0
            while listed[index]:
                voice = listed[index].contents
                # A priority byte, then the code; further languages of the voice follow and are left.
                code, identifier = ctypes.string_at(voice.languages + 1).decode(), voice.identifier.decode()
                if self._has_data(code, identifier):
                    found[code.lower()] = identifier
                index += 1
        return found

    def _has_data(self, code: str, identifier: str) -> bool:
        """Whether the voice can speak: MBROLA ones need other data, some languages come without dictionary."""
        described = self._data / "lang" / identifier
        if not described.is_file():
            return False
        named = re.search(r"^dictionary\s+(\w+)", described.read_text(encoding="utf-8"), re.MULTILINE)
        return (self._data / f"{named[1] if named else code.split('-')[0]}_dict").is_file()

    @cached_property
    def variants(self) -> tuple[str, ...]:
        """Names that may follow a voice and a plus ("f3", "whisper"), sorted."""
        return tuple(sorted(entry.name for entry in (self._data / "voices" / "!v").iterdir()))

    def speak(self, text: str, *, voice: str, words_per_minute: int, on_audio: OnAudio) -> None:
        """Synthesise `text` on this thread, handing audio to `on_audio` as it comes. Waits for other calls to end.

        `voice`: one of `voices`, with a plus and one of `variants` where wanted. Raises `StageError` where the library
        fails, and what `on_audio` raised.
        """
        base, plus, variant = voice.partition("+")
        identifier = self._identifiers.get(base, base) + plus + variant
        encoded = text.encode() + b"\0"
        with self._lock:
            if identifier != self._voice:
                self._check(self._lib.espeak_SetVoiceByName(identifier.encode()), f"voice {voice!r}")
                self._voice = identifier
            self._check(self._lib.espeak_SetParameter(_PARAMETER_RATE, words_per_minute, 0), "rate")
            self._on_audio, self._failure = on_audio, None
            try:
                size, flags = ctypes.c_size_t(len(encoded)), _CHARS_UTF8 | _NO_FLAGS
                code = self._lib.espeak_Synth(encoded, size, 0, _POSITION_CHARACTER, 0, flags, None, None)
                failure = self._failure
            finally:
                self._on_audio = self._failure = None
        if failure is not None:
            raise failure
        self._check(code, "synthesis")

    def phonemes(self, text: str, *, voice: str) -> str:
        """`text` in IPA with stress marks, a tie ("^") inside sounds of two letters; clauses parted by a space.

        espeak drops punctuation. Names of languages that it switches to in the middle are left out. Raises
        `StageError`.
        """
        convert = self._lib.espeak_TextToPhonemes
        convert.restype = ctypes.c_char_p
        convert.argtypes = (ctypes.POINTER(ctypes.c_void_p), ctypes.c_int, ctypes.c_int)
        identifier = self._identifiers.get(voice, voice)
        encoded = ctypes.create_string_buffer(text.encode())
        rest = ctypes.c_void_p(ctypes.addressof(encoded))
        clauses: list[str] = []
        with self._lock:
            if identifier != self._voice:
                self._check(self._lib.espeak_SetVoiceByName(identifier.encode()), f"voice {voice!r}")
                self._voice = identifier
            while rest.value:
                found = convert(ctypes.byref(rest), _CHARS_UTF8, _PHONEMES_IPA | _PHONEMES_TIE | ord(TIE) << 8)
                clauses.append((found or b"").decode())
        return re.sub(r"\([^)]*\)", "", " ".join(clauses)).strip()

    def _received(self, samples: Any, count: int, events: Any) -> int:
        """The library's callback, on the thread that called `speak`. Nothing may be raised through C."""
        if self._on_audio is None or not samples:
            return 0
        found: list[EspeakEvent] = []
        index = 0
        while events[index].type != _EVENT_LIST_END:
            event = events[index]
            if event.type in (_EVENT_WORD, _EVENT_END):
                is_end = event.type == _EVENT_END
                found.append(EspeakEvent(is_end, event.text_position - (0 if is_end else 1), event.sample))
            index += 1
        audio = np.ctypeslib.as_array(samples, (count,)).copy() if count > 0 else np.zeros(0, dtype=np.int16)
        try:
            return 0 if self._on_audio(audio, found) else 1
        except BaseException as error:  # carried over the C frames and raised again by `speak`
            self._failure = error
            return 1

    def _check(self, code: int, what: str) -> None:
        if code != 0:
            self._voice = ""
            raise StageError("tts", f"espeak-ng refused the {what} (code {code})")


_LOADING: Final = threading.Lock()


@cache
def _loaded() -> EspeakLibrary:
    return EspeakLibrary()


def library() -> EspeakLibrary:
    """The process's one library, loaded on first use. Raises `StageUnavailable`."""
    with _LOADING:
        return _loaded()
