"""Decoders to lend: each turn that is being recognised holds one, and gets it warm from the turn before.

A decoder carries its dictionary and language model, so there is a kind of decoder for each set of phrases. How many
there are in all is bounded; when the bound is reached an idle one of another kind makes room.
"""

import tempfile
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from duologue.errors import StageOverloaded
from duologue_pipelines.asr.sphinx_engine import Config, SphinxDecoder, open_decoder
from duologue_pipelines.asr.sphinx_language import PackLanguage, build_language, new_folder

PHRASE_SETS_MAX: Final = 16  # packs in use at a time in one process; the longest unused is forgotten

Phrases = tuple[str, ...]


@dataclass(slots=True)
class Lease:
    """A decoder on loan.

    `in_utterance`: whether it has been started and not ended. `note`: what the trace should know.
    """

    phrases: Phrases
    decoder: SphinxDecoder
    note: str = ""
    in_utterance: bool = False


class DecoderLender:
    """Lends decoders; to be called from decoder threads, for it loads. `phrases` empty means the general model."""

    def __init__(self, config: Config, decoders_max: int, *, pack_weight: float) -> None:
        """`config`: options of the general decoder. `pack_weight`: the language weight of those made for phrases."""
        self._config = dict(config)
        self._decoders_max = decoders_max
        self._pack_weight = pack_weight
        self._lock = threading.Lock()
        self._idle: list[Lease] = []  # the longest idle first
        self._lent = 0
        self._refused = False
        self._languages: OrderedDict[Phrases, tuple[PackLanguage, tempfile.TemporaryDirectory[str]]] = OrderedDict()

    @property
    def is_short(self) -> bool:
        """Whether a decoder was refused since the last one came back: who can do without theirs may return it."""
        return self._refused

    def lend(self, phrases: Phrases) -> Lease:
        """A decoder for `phrases`, ready for a new speaker. Raises `StageOverloaded`, `StageUnavailable`."""
        lease = self._take(phrases)
        try:
            if lease is None:
                lease = self._new(phrases)
            if lease.in_utterance:  # its turn was broken off
                lease.decoder.end()
                lease.in_utterance = False
            lease.decoder.reset()
        except BaseException:
            with self._lock:
                self._lent -= 1
            raise
        return lease

    def give_back(self, lease: Lease) -> None:
        """Return `lease`. Cheap."""
        with self._lock:
            self._refused = False
            self._lent -= 1
            self._idle.append(lease)

    def close(self) -> None:
        """Free what is idle. Idempotent."""
        with self._lock:
            idle, self._idle = self._idle, []
            languages, self._languages = self._languages, OrderedDict()
        for lease in idle:
            lease.decoder.close()
        for _, folder in languages.values():
            folder.cleanup()

    def _take(self, phrases: Phrases) -> Lease | None:
        with self._lock:
            found = next((lease for lease in reversed(self._idle) if lease.phrases == phrases), None)
            if found is not None:
                self._idle.remove(found)
            elif self._lent + len(self._idle) >= self._decoders_max:
                if not self._idle:
                    self._refused = True
                    raise StageOverloaded(
                        "asr",
                        f"pocketsphinx: all {self._decoders_max} decoders are in use",
                        retryable=True,
                        hint="Admit fewer sessions, or raise asr.decoders_max where there is memory to spare",
                    )
                self._idle.pop(0).decoder.close()
            self._lent += 1
            return found

    def _new(self, phrases: Phrases) -> Lease:
        if not phrases:
            return Lease(phrases, open_decoder(self._config))
        language = self._language(phrases)
        own: Config = {
            "dict": str(language.dictionary),
            "lm": str(language.language_model),
            "lw": self._pack_weight,
        }
        note = ""
        if language.left_out:
            note = f"words of the pack that nobody could pronounce were left out: {', '.join(language.left_out)}"
        return Lease(phrases, open_decoder({**self._config, **own}), note)

    def _language(self, phrases: Phrases) -> PackLanguage:
        with self._lock:
            if phrases in self._languages:
                self._languages.move_to_end(phrases)
                return self._languages[phrases][0]
            folder = new_folder()
            language = build_language(phrases, Path(str(self._config["dict"])), Path(folder.name))
            self._languages[phrases] = language, folder
            if len(self._languages) > PHRASE_SETS_MAX:
                self._languages.popitem(last=False)[1][1].cleanup()
            return language
