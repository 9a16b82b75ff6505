"""A script of what a caller says and does: utterances, thinking pauses, noises, and when each of them comes.

    synthesiser = "espeak"             # who speaks the texts: a name as in `tts.use`
    voice = "en-us+f3"                 # its name for the caller's voice, or a file, relative to the script

    [[step]]
    say = "When does the museum open?"

    [[step]]
    kind = "backchannel"
    when = "agent_speaking"            # while the agent talks,
    delay_s = 1.5                      # when it has been heard for that long
    say = "mm-hm"

    [[step]]
    kind = "interruption"
    when = "agent_speaking"
    delay_s = 0.5
    say = ["Wait.", 0.4, "How much is a ticket?"]     # numbers are pauses, in seconds

TOML or JSON; what is wrong in it is told with file and line. Audio is made once, before the call.
"""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from duologue.audio import INPUT_RATE_HZ, Samples
from duologue.errors import ConfigurationError, StageError
from duologue.measure import UtteranceKind, audible_spans
from duologue.ports.tts import SpeechAudio, SpeechRequest, Tts
from duologue.toml_source import NotUtf8Error, TomlError, UnfitFileError, decode_text, parse_toml, read_bytes
from duologue.validation import between, complaints
from duologue_pipelines.transports.media import read_audio
from duologue_pipelines.transports.noises import NOISES

When = Literal["then", "agent_done", "agent_speaking", "at"]
DELAY_S: Final[dict[When, float]] = {"then": 0.0, "agent_done": 1.2, "agent_speaking": 1.0, "at": 0.0}
STEPS_MAX: Final = 500
_JSON_HINT: Final = 'Expected {"step": [{"say": "text"}]}'

_Pause = Annotated[float, between(0.0, 60.0)]
_Seconds = Annotated[float, between(0.0, 7200.0)]


class Step(BaseModel):
    """One thing that the caller does. Exactly one of `say`, `file`, `noise` says what.

    `say`: text, or a list of texts and pauses in seconds. `file`: any audio file, relative to the script. `noise`: a
    made-up sound. `kind`: what it is for the measurement; by default `turn`, or `noise` for a noise. `when`: `then`
    (behind the step before), `agent_done` (the agent spoke and has been silent for `delay_s`), `agent_speaking` (the
    agent is being heard, and has been for `delay_s` since the step before) or `at` (session second `at_s`).
    `patience_s`: wait no longer than that for the agent. `loudness`: linear gain. `caption`: what is shown, where
    the text is spelled for the synthesiser's sake ("um hum" sounds like a hummed "mm-hm").
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    say: str | tuple[str | _Pause, ...] | None = None
    file: Path | None = None
    noise: Literal["cough", "click", "breath"] | None = None
    kind: UtteranceKind | None = None
    when: When = "agent_done"
    delay_s: _Seconds | None = None
    at_s: _Seconds | None = None
    patience_s: _Seconds = 20.0
    loudness: Annotated[float, between(0.0, 10.0)] = 1.0
    caption: str = ""

    @model_validator(mode="after")
    def _one_sound(self) -> Self:
        given = [name for name in ("say", "file", "noise") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of say, file, noise, got {' and '.join(given) or 'none'}")
        if self.say is not None and not any(part.strip() for part in self.texts):
            raise ValueError("say holds no text")
        if (self.when == "at") != (self.at_s is not None):
            raise ValueError('needs at_s together with when = "at", and only then')
        return self

    @property
    def utterance_kind(self) -> UtteranceKind:
        """`kind`, or what it is where that is left open."""
        return self.kind or ("noise" if self.noise else "turn")

    @property
    def parts(self) -> tuple[str | float, ...]:
        """`say` as texts and pauses."""
        return self.say if isinstance(self.say, tuple) else (self.say or "",)

    @property
    def texts(self) -> list[str]:
        """`say` without its pauses."""
        return [part for part in self.parts if isinstance(part, str)]

    @property
    def text(self) -> str:
        """What is shown: the caption, what is said, or the name of the file or noise in brackets."""
        if self.caption:
            return self.caption
        if self.say is not None:
            return " ".join(self.texts)
        return f"({self.noise or (self.file and self.file.name)})"


class CallerScript(BaseModel):
    """The whole call. `synthesiser`: who speaks the texts, a name as in `tts.use`; `voice`: its name for the voice, or
    a file, relative to the script. `hang_up_s`: the agent's silence after the last step that ends the call;
    `patience_s`: how long to wait for its last answer to begin; `first_patience_s`: how long to wait whether the agent
    speaks first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: Annotated[tuple[Step, ...], Field(min_length=1, max_length=STEPS_MAX)]
    synthesiser: str = "espeak"
    voice: str | None = None
    language: str | None = None
    speed: Annotated[float, between(0.5, 2.0)] = 1.0
    hang_up_s: _Seconds = 1.5
    patience_s: _Seconds = 20.0
    first_patience_s: _Seconds = 1.5

    @property
    def speaks(self) -> bool:
        """Whether a synthesiser is needed."""
        return any(step.say is not None for step in self.step)

    @classmethod
    def of_files(cls, files: Iterable[Path]) -> "CallerScript":
        """One file after the other, each when the agent has answered the one before."""
        return cls(step=tuple(Step(file=file) for file in files))


@dataclass(frozen=True, slots=True)
class Utterance:
    """A step with its sound. `samples`: mono 16 kHz int16. `delay_s`, `patience_s`: as in `Step`, settled."""

    samples: Samples
    text: str
    kind: UtteranceKind
    when: When
    delay_s: float
    at_s: float
    patience_s: float


def read_script(path: Path) -> CallerScript:
    """Read a script. Raises `ConfigurationError` that names file, line and key."""
    try:
        text = decode_text(read_bytes(path))
        lines = None if path.suffix == ".json" else parse_toml(text)
        values: Any = json.loads(text) if lines is None else lines.values
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}", hint="Check the path of the script") from error
    except UnfitFileError as error:
        raise ConfigurationError(f"{path}: {error}", hint="Give a script in TOML or JSON") from error
    except RecursionError as error:
        raise ConfigurationError(
            f"{path}: no JSON that can be read (brackets within brackets, too many of them)", hint=_JSON_HINT
        ) from error
    except TomlError as error:
        raise ConfigurationError(
            f"{path}:{error.line}: broken TOML: {error}",
            hint='A step is a line [[step]] and below it lines like say = "text in quotes" or delay_s = 1.5',
        ) from error
    except NotUtf8Error as error:
        raise ConfigurationError(f"{path}:{error.line}: {error}", hint="Save the file as UTF-8") from error
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{path}:{error.lineno}: no JSON ({error.msg})", hint=_JSON_HINT) from error
    try:
        script = CallerScript.model_validate(values)
    except ValidationError as error:
        first = complaints(error, CallerScript)[0]
        line = lines.line_of(first.path) if lines is not None else 0
        where = f"{path}:{line}" if line else str(path)
        raise ConfigurationError(f"{where}: {first.sentence}", hint=first.hint) from error
    steps = tuple(
        step if step.file is None else step.model_copy(update={"file": path.parent / step.file}) for step in script.step
    )
    voice = script.voice
    if voice is not None and (path.parent / voice).is_file():
        voice = str(path.parent / voice)
    return script.model_copy(update={"step": steps, "voice": voice})


async def prepare(script: CallerScript, tts: Tts | None) -> list[Utterance]:
    """Make the sound of all steps, speaking with `tts` (None will do where nothing is said).

    Raises `AudioError` for a file, `ConfigurationError` for text without a synthesiser, `StageError` from it.
    """
    utterances = []
    for index, step in enumerate(script.step):
        samples = await _sound(script, step, tts)
        if step.loudness != 1.0:
            samples = np.clip(np.rint(samples * step.loudness), -32768, 32767).astype(np.int16)
        patience_s = step.patience_s
        if index == 0 and "patience_s" not in step.model_fields_set:
            patience_s = script.first_patience_s
        utterances.append(
            Utterance(
                samples,
                step.text,
                step.utterance_kind,
                step.when,
                DELAY_S[step.when] if step.delay_s is None else step.delay_s,
                step.at_s or 0.0,
                patience_s,
            )
        )
    return utterances


async def _sound(script: CallerScript, step: Step, tts: Tts | None) -> Samples:
    if step.noise is not None:
        return NOISES[step.noise](1)
    if step.file is not None:
        return await asyncio.get_running_loop().run_in_executor(None, read_audio, step.file)
    if tts is None:
        raise ConfigurationError(
            f"the script says {step.text!r} and there is no synthesiser for the caller",
            hint="Install espeakng-loader, or give audio files",
        )
    pieces = [
        await _speech(script, part, tts)
        if isinstance(part, str)
        else np.zeros(round(part * INPUT_RATE_HZ), dtype=np.int16)
        for part in step.parts
    ]
    return np.concatenate(pieces)


async def _speech(script: CallerScript, text: str, tts: Tts) -> Samples:
    """`text` spoken, without the silence that synthesisers put around it: pauses are the script's business."""
    request = SpeechRequest(
        text, language=script.language, voice=script.voice, speed=script.speed, sample_rate_hz=INPUT_RATE_HZ
    )
    pcm = b"".join([item.pcm async for item in tts.synthesise(request) if isinstance(item, SpeechAudio)])
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.int16)
    spans = audible_spans(samples, sample_rate_hz=INPUT_RATE_HZ)
    if not spans:
        raise StageError("tts", f"the caller's voice makes no sound of {text!r}", hint="Say it in words")
    return samples[round(spans[0].start * INPUT_RATE_HZ) : round(spans[-1].end * INPUT_RATE_HZ)]
