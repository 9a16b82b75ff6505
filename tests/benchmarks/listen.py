"""`python tests/benchmarks/listen.py out/demo`: is what came out of the call what its transcript says?

The agent's channel of `conversation.wav` is recognised reply by reply and held against `transcript.json`: once by a
recogniser that expects the sentences of the call (all of them, and of a reply that was cut also what was not heard any
more, so that nobody tells it where the cut is), once by one with a general language model. A cut reply must end where
the transcript says: the most words of its text that can be aligned with the sound are those that were heard. The
recogniser, pocketsphinx, shares nothing with the synthesisers.
"""

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import soxr
from pocketsphinx import Decoder, get_model_path
from rapidfuzz.distance import Levenshtein
from rich.console import Console
from rich.table import Table
from rich.text import Text

from duologue.audio import INPUT_RATE_HZ, Samples, read_wav
from duologue.errors import AudioError, ConfigurationError, DuologueError
from duologue_pipelines.asr.sphinx_language import build_language, spoken_tokens

AROUND_S: Final = 0.3  # the transcript's seconds are the session's, which begins some milliseconds off the recording
CUT_WORDS_MAX: Final = 1
EXPECTING_WEIGHT: Final = 9.0  # as the pocketsphinx stage weighs a pack's own sentences
_ENGLISH: Final = {
    "hmm": get_model_path("en-us/en-us"),
    "dict": get_model_path("en-us/cmudict-en-us.dict"),
    "lm": get_model_path("en-us/en-us.lm.bin"),
}
_SENTENCE_END: Final = re.compile(r"(?<=[.?!])\s+")


@dataclass(frozen=True, slots=True)
class Listened:
    """One reply by ear. `heard`: the words that the transcript says were heard; `understood`: what was recognised.

    `cut_off_by`: for a reply that was cut, how many words of its text more (or, negative, fewer) there are in the
    recording than the transcript says; None for others.
    """

    number: int
    heard: tuple[str, ...]
    understood: tuple[str, ...]
    cut_off_by: int | None

    @property
    def errors(self) -> int:
        """Words wrong, missing or too many."""
        return Levenshtein.distance(self.heard, self.understood)


def word_error(replies: Iterable[Listened]) -> float:
    """Errors a word over all `replies`; NaN where nothing was said."""
    counted = [(reply.errors, len(reply.heard)) for reply in replies]
    words = sum(count for _, count in counted)
    return sum(errors for errors, _ in counted) / words if words else float("nan")


def listen(folder: Path, *, general: bool = True) -> dict[str, list[Listened]]:
    """The replies of the call in `folder` by both recognisers: "expecting" and, if it is wanted, "general".

    Raises `ConfigurationError` for a folder without a call, `AudioError` for a broken recording.
    """
    replies = _replies(folder)
    channel = _agent_channel(folder)
    sentences = [part for reply in replies for part in _SENTENCE_END.split(reply["text"])]
    with tempfile.TemporaryDirectory() as files:
        language = build_language(sentences, Path(_ENGLISH["dict"]), Path(files))
        own = _ENGLISH | {"dict": str(language.dictionary)}
        decoders = {
            "expecting": Decoder(**own | {"lm": str(language.language_model)}, lw=EXPECTING_WEIGHT, loglevel="FATAL"),
        }
        if general:
            decoders["general"] = Decoder(**_ENGLISH, loglevel="FATAL")
        aligner = Decoder(**own | {"lm": None}, loglevel="FATAL")
        sounds = {reply["number"]: _sound(reply, channel) for reply in replies}
        cuts = {
            reply["number"]: words_there(aligner, sounds[reply["number"]], spoken_tokens(reply["text"]))
            - len(spoken_tokens(reply["heard"]))
            for reply in replies
            if reply["cut"]
        }
    return {
        name: [
            Listened(
                reply["number"],
                tuple(spoken_tokens(reply["heard"])),
                tuple(_recognised(decoder, sounds[reply["number"]])),
                cuts.get(reply["number"]),
            )
            for reply in replies
        ]
        for name, decoder in decoders.items()
    }


def _replies(folder: Path) -> list[dict[str, Any]]:
    try:
        turns = json.loads((folder / "transcript.json").read_text(encoding="utf-8"))["turns"]
        return [turn for turn in turns if turn["who"] == "agent" and turn["heard"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{folder}: no transcript.json of a call ({error})", hint="Name the folder that `duologue demo` wrote"
        ) from error


def _agent_channel(folder: Path) -> Samples:
    """The agent's side of the recording at the rate that the recogniser wants."""
    path = folder / "conversation.wav"
    samples, rate_hz = read_wav(path)
    if samples.shape[1] != 2:
        raise AudioError(f"{path}: {samples.shape[1]} channels, expected 2", hint="Name what `duologue demo` wrote")
    agent: Samples = soxr.resample(samples[:, 1], rate_hz, INPUT_RATE_HZ)
    return agent


def _sound(reply: dict[str, Any], channel: Samples) -> bytes:
    """`reply` as it was heard, with some silence on both sides."""
    first = max(0, round((reply["start"] - AROUND_S) * INPUT_RATE_HZ))
    last = round((reply["end"] + AROUND_S) * INPUT_RATE_HZ)
    margin = np.zeros(round(AROUND_S * INPUT_RATE_HZ), dtype="<i2").tobytes()
    return margin + channel[first:last].astype("<i2").tobytes() + margin


def _run(decoder: Decoder, pcm: bytes) -> str:
    decoder.start_utt()
    # the whole reply at once, so that the recogniser knows its voice from its first word on
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()
    hypothesis = decoder.hyp()
    return hypothesis.hypstr if hypothesis else ""


def _recognised(decoder: Decoder, pcm: bytes) -> list[str]:
    return spoken_tokens(_run(decoder, pcm))


def words_there(aligner: Decoder, pcm: bytes, whole: Sequence[str]) -> int:
    """How many leading words of `whole` are in `pcm`: the most that can be aligned with it.

    Words that the aligner has no sounds for are passed over.
    """
    for count in range(len(whole), 0, -1):
        known = [word for word in whole[:count] if aligner.lookup_word(word)]
        if known:
            aligner.set_align_text(" ".join(known))
            if _run(aligner, pcm):
                return count
    return 0


def show(listened: dict[str, list[Listened]], console: Console) -> bool:
    """Print each reading; the answer is whether every cut is where the transcript says, within a word."""
    for name, replies in listened.items():
        table = Table(title=f"\n{name}: word error {100 * word_error(replies):.1f} %", box=None, title_justify="left")
        for heading in ("reply", "words", "errors", "cut", "understood"):
            table.add_column(heading, justify="left" if heading == "understood" else "right", overflow="fold")
        for reply in replies:
            cut = "" if reply.cut_off_by is None else f"{reply.cut_off_by:+d} words"
            understood = Text(" ".join(reply.understood))
            table.add_row(str(reply.number), str(len(reply.heard)), str(reply.errors), cut, understood)
        console.print(table)
    return all(abs(reply.cut_off_by or 0) <= CUT_WORDS_MAX for reply in listened["expecting"])


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if the cut replies end where the transcript says, 1 if not, 2 for a folder without a call."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="what `duologue demo` wrote")
    parser.add_argument("--quick", action="store_true", help="without the general language model, the slowest part")
    asked = parser.parse_args(arguments)
    try:
        return 0 if show(listen(asked.folder, general=not asked.quick), Console(highlight=False)) else 1
    except DuologueError as error:
        Console(stderr=True, soft_wrap=True).print(f"Error: {error}", style="red", highlight=False, markup=False)
        return 2


if __name__ == "__main__":
    sys.exit(main())
