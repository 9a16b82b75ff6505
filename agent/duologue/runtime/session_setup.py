"""What a session is put together from, and what it tells besides the core's events and actions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from duologue.audio import OUTPUT_RATE_HZ
from duologue.core.actions import Action
from duologue.core.events import Event
from duologue.core.messages import ToolSpec
from duologue.core.policy import Policy
from duologue.ports.asr import Asr
from duologue.ports.judge import Judge
from duologue.ports.llm import Llm, Usage
from duologue.ports.reply_source import ReplySource
from duologue.ports.stage import Stage
from duologue.ports.tts import SpeechRequest, Tts
from duologue.ports.vad import Vad
from duologue.runtime.services import Severity
from duologue.runtime.trace import Trace
from duologue.runtime.user_tools import Tool
from duologue.stages import STAGES


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages that sessions share: a field for each row of `duologue.stages.STAGES`, and a reply source.

    `judges`: those that hear both sides. `reply_source`: makes the replies instead of `llm` and `tts` (None: these do,
    as a cascade); `llm` then only summarises.
    """

    vad: Vad
    asr: Asr
    llm: Llm
    tts: Tts
    judges: tuple[Judge, ...] = ()
    reply_source: ReplySource | None = None

    def named(self) -> list[tuple[str, Stage]]:
        """Each with its stage's name ("asr"), in the order of the table."""
        found = [(kind, getattr(self, kind.attribute)) for kind in STAGES]
        return [(kind.name, one) for kind, value in found for one in (value if kind.takes_several else (value,))]

    def names(self) -> dict[str, str]:
        """Stage → its adapter's name, several parted by commas; one that is left out is not there."""
        names: dict[str, str] = {}
        for kind, stage in self.named():
            names[kind] = f"{names[kind]}, {stage.name}" if kind in names else stage.name
        return names

    def all(self) -> tuple[Stage, ...]:
        """In the order of the table; a reply source last."""
        others: tuple[Stage, ...] = () if self.reply_source is None else (self.reply_source,)
        return (*(stage for _, stage in self.named()), *others)


@dataclass(frozen=True, slots=True)
class Persona:
    """Who speaks: a pack as far as a session needs it. Frozen: another one speaks from the next turn or reply on.

    `instructions`: what every prompt begins with. `speech`: the voice, as a request whose text is filled in. `phrases`:
    what the caller is likely to say. `llm`: a stage of its own in place of the shared one (the rehearsal of this pack's
    dialogues). `language`: what is spoken (BCP 47), or None to go by the recogniser, which then expects one of
    `languages`; `voices`: the synthesiser's voice for each.
    """

    name: str
    instructions: str = ""
    greeting: str = ""
    language: str | None = None
    phrases: tuple[str, ...] = ()
    speech: SpeechRequest = field(default_factory=lambda: SpeechRequest(""))
    llm: Llm | None = None
    languages: tuple[str, ...] = ()
    voices: Mapping[str, str] = field(default_factory=dict)

    def speech_in(self, language: str | None) -> SpeechRequest:
        """The voice for an answer to somebody who spoke `language` (None: unknown)."""
        if self.language is not None or language is None or language == self.speech.language:
            return self.speech
        return replace(self.speech, language=language, voice=self.voices.get(language))


@dataclass(frozen=True, slots=True)
class Aside:
    """Text that the model wrote for no ear (a mood, a stage direction), taken out of reply `reply` before synthesis."""

    at: float
    reply: int
    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something that a stage had to say: a retry, a fallback, a chunk left out. `source`: the stage."""

    at: float
    source: str
    text: str
    severity: Severity = "info"


@dataclass(frozen=True, slots=True)
class ReplyFinished:
    """The text of `reply` is whole, or as whole as it will be; its audio may still be made and heard.

    `reason`: the endpoint's word (`stop`, `length`, `tool_calls`, `content_filter`, …), `cancelled` or `error`.
    `usage`: the tokens of all its requests together, or None where nobody counted.
    """

    at: float
    reply: int
    reason: str
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Spoken:
    """A word of reply `reply`, or a few, that was heard just now: for captions that run in step.

    `text`: as it stands in the reply, with its white space; put together, all of a reply are its heard text. A remote
    player is taken at its reports, and at the clock for half a second between them.
    """

    at: float
    reply: int
    text: str


@dataclass(frozen=True, slots=True)
class StepTook:
    """A step of reply `reply` took `seconds`: `llm_first_token`, `tts_first_audio`, as in the meter's `stages`."""

    at: float
    reply: int
    step: str
    seconds: float


SessionEvent = Event | Action | Aside | Note | ReplyFinished | Spoken | StepTook


@dataclass(frozen=True, slots=True)
class SessionSetup:
    """What a session is made of; `Agent.session` puts it together.

    `personas`: who may have spoken before, or may be wanted, in a session that goes on from a `snapshot`.
    `output_rate_hz`: of the agent's audio, one of `OUTPUT_RATES_HZ`. `traced`: makes the trace from the session's id
    and a function that gives its header. `user_data`: the program's own, for its tools.
    """

    stages: Stages
    persona: Persona
    policy: Policy
    tools: tuple[Tool, ...] = ()
    remote_tools: tuple[ToolSpec, ...] = ()
    output_rate_hz: int = OUTPUT_RATE_HZ
    traced: Callable[[str, Callable[[], Mapping[str, Any]]], Trace] = lambda session_id, header: Trace(header)
    snapshot: Mapping[str, Any] | None = None
    personas: tuple[Persona, ...] = ()
    user_data: Any = None
