"""FLOOR 1: the stages that settings name, as one table. A new stage is a row here and a typed field in `Settings`.

Registry, settings, doctor, trace header and cascade read it, and so does the table in docs/PLUGINS.md. What a
transport does is no stage's business: programs and doors make their own, one for each session.
"""

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from duologue.ports.asr import Asr
from duologue.ports.judge import Judge
from duologue.ports.llm import Llm
from duologue.ports.stage import Stage
from duologue.ports.tts import Tts
from duologue.ports.vad import Vad

PortT_co = TypeVar("PortT_co", bound=Stage, covariant=True)

NONE: Final = "none"  # what `use` says for a stage that is left out


@dataclass(frozen=True)  # no slots: a generic class with both can't be made before Python 3.12
class StageKind(Generic[PortT_co]):
    """A row. `name`: as in `[asr]` and `--set asr.use=`. `title`: in words. `port`: where its Protocol stands.

    `default`: `use` where nothing is set. `has_languages`: whether an adapter's `languages` count when `auto` chooses.
    `is_optional`: whether a conversation can do without (`use = "none"`). `takes_several`: whether `use` may name
    several adapters, parted by commas, which then all hear the session.
    """

    name: str
    title: str
    port: str
    default: str = "auto"
    has_languages: bool = False
    is_optional: bool = False
    takes_several: bool = False

    @property
    def group(self) -> str:
        """The entry-point group of its adapters."""
        return f"duologue.{self.name}"

    @property
    def attribute(self) -> str:
        """Where `runtime.session_setup.Stages` keeps the adapter, or the tuple of them."""
        return f"{self.name}s" if self.takes_several else self.name


VAD: Final = StageKind[Vad]("vad", "voice activity", "duologue.ports.vad.Vad", default="both")
ASR: Final = StageKind[Asr]("asr", "recogniser", "duologue.ports.asr.Asr", has_languages=True)
LLM: Final = StageKind[Llm]("llm", "language model", "duologue.ports.llm.Llm")
TTS: Final = StageKind[Tts]("tts", "synthesiser", "duologue.ports.tts.Tts", has_languages=True)
JUDGE: Final = StageKind[Judge](
    "judge", "judge", "duologue.ports.judge.Judge", default=NONE, is_optional=True, takes_several=True
)

# In the order in which speech passes them.
STAGES: Final[tuple[StageKind[Stage], ...]] = (VAD, ASR, LLM, TTS, JUDGE)
STAGE_NAMES: Final = tuple(kind.name for kind in STAGES)
