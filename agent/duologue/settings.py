"""Everything that can be set, as one tree; read from flags, environment, `duologue.toml` and the pack.

Who wins, from strongest to weakest: what the program says (`overrides`), `--set` flags, environment variables
(`DUOLOGUE_ASR__MODEL=base`), `duologue.toml`, the pack's recommendations, the defaults. A wrong key or value raises
`ConfigurationError` (`PackError`, if the pack is to blame) that says where it stands and names the nearest right key.
Nothing here knows a stage by name: what may stand beside `use` is the adapter's business (`duologue.registry`).
"""

import dataclasses
import math
import os
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from duologue.audio import OUTPUT_RATE_HZ, OUTPUT_RATES_HZ
from duologue.core.policy import BargeInPolicy, EndpointingPolicy, HistoryPolicy, LimitsPolicy, Policy, ReplyPolicy
from duologue.errors import ConfigurationError
from duologue.languages import LanguageCode
from duologue.settings_layers import (
    Layer,
    environment_layer,
    file_layer,
    find_file,
    flags_layer,
    merge,
    pack_layer,
    program_layer,
    with_stages_spelled_out,
)
from duologue.stage_names import spelled_out
from duologue.stages import ASR, JUDGE, LLM, STAGE_NAMES, TTS, VAD
from duologue.validation import between, check_between, complaints, off_as_none, one_of

# What a number of the policy may be; any other number there may be anything that is finite and not negative.
RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "patience": (0.1, 10.0),
    "silence_s_max": (0.1, 60.0),
    "turn_s_max": (1.0, 60.0),  # a recogniser keeps no more of a turn: ports.asr.AUDIO_SECONDS_MAX
    "final_s_max": (0.1, 30.0),
    "words_min": (1, 20),
    "voice_s": (0.1, 10.0),
    "alarms_max": (1, 100),
    "tool_rounds_max": (0, 50),
    "tool_s_max": (0.1, 3600.0),
    "queue_max": (1, 1000),
    "tokens_max": (200, 10_000_000),
    "keep_fraction": (0.1, 0.9),
    "items_max": (10, 100_000),
    "idle_s": (1.0, 86_400.0),
    "session_s_max": (1.0, 86_400.0),
    "close_s_max": (0.0, 300.0),
}


def _off_words(kind: type) -> BeforeValidator:
    """Let "off" and "none" stand for None in the fields of dataclass `kind` that admit it: TOML has no null."""
    hints = typing.get_type_hints(kind)

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: off_as_none(inner, hints.get(key)) for key, inner in value.items()}

    return BeforeValidator(read)


def _in_range(policy: Any) -> Any:
    for field in dataclasses.fields(policy):
        value = getattr(policy, field.name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            low, high = RANGES.get(field.name, (0, math.inf))
            try:
                check_between(value, low, high)
            except PydanticCustomError as error:
                raise PydanticCustomError(
                    "between", error.message_template, {**(error.context or {}), "key": field.name}
                ) from error
    return policy


class StageChoice(BaseModel):
    """Which adapter fills a stage, and its options.

    `use`: an entry point's name, `package.module:Class`, or "auto": the best that is really there. Any other key is an
    option of the adapter and is checked against its constructor by `duologue.registry`. Text alone stands for `use`;
    `NAME:MODEL` names the model as well (`duologue.stage_names`).
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    use: str = "auto"
    _origins: Mapping[str, str] = PrivateAttr(default_factory=dict)

    def __init__(self, use: str = "auto", **options: Any) -> None:
        super().__init__(use=use, **options)

    def __eq__(self, other: object) -> bool:
        """Where a choice was set is no part of it."""
        return isinstance(other, StageChoice) and (self.use, self.options) == (other.use, other.options)

    def __hash__(self) -> int:
        return hash(self.use)  # options may hold lists

    @model_validator(mode="before")
    @classmethod
    def _text_is_use(cls, value: Any) -> Any:
        return {"use": value} if isinstance(value, str) else value

    def spelled_out(self, stage: str) -> "StageChoice":
        """This choice with `NAME:MODEL` in `use` as the name and an option of `stage`'s adapter."""
        spelled = spelled_out(stage, {"use": self.use, **self.options})
        choice = StageChoice(**spelled)
        choice._origins = self._origins
        return choice

    @property
    def options(self) -> dict[str, Any]:
        """The keys beside `use`, as they were read: in the environment everything is text."""
        return dict(self.model_extra or {})

    def origin(self, key: str) -> str:
        """Where `use` or an option was set ("duologue.toml:7", "--set asr.model"), or empty."""
        return self._origins.get(key, "")

    def narrowed(self, use: str, without: Iterable[str]) -> "StageChoice":
        """This choice for `use` alone, less the options `without`."""
        left_out = set(without)
        one = StageChoice(use, **{key: value for key, value in self.options.items() if key not in left_out})
        one._origins = self._origins
        return one


class TraceSettings(BaseModel):
    """The event log. `folder`: where a session's `trace.jsonl` goes; None keeps none on disk.

    `bytes_max`: bound of one file; at the bound it is put aside as `….1` and a new one begins.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Annotated[Path | None, BeforeValidator(lambda value: off_as_none(value, None))] = None
    bytes_max: Annotated[int, between(10_000, 2**40)] = 32 * 2**20


class Settings(BaseModel):
    """The tree. Built directly it reads no source: `Settings(asr=StageChoice(use="whisper"))`; see `load_settings`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # The stages' table once more, for type checkers; a test compares the two.
    vad: StageChoice = StageChoice(VAD.default)
    asr: StageChoice = StageChoice(ASR.default)
    llm: StageChoice = StageChoice(LLM.default)
    tts: StageChoice = StageChoice(TTS.default)
    judge: StageChoice = StageChoice(JUDGE.default)
    endpointing: Annotated[EndpointingPolicy, _off_words(EndpointingPolicy), AfterValidator(_in_range)] = (
        EndpointingPolicy()
    )
    barge_in: Annotated[BargeInPolicy, _off_words(BargeInPolicy), AfterValidator(_in_range)] = BargeInPolicy()
    reply: Annotated[ReplyPolicy, _off_words(ReplyPolicy), AfterValidator(_in_range)] = ReplyPolicy()
    history: Annotated[HistoryPolicy, _off_words(HistoryPolicy), AfterValidator(_in_range)] = HistoryPolicy()
    limits: Annotated[LimitsPolicy, _off_words(LimitsPolicy), AfterValidator(_in_range)] = LimitsPolicy()
    pack: str = "assistant"
    language: Annotated[LanguageCode | None, BeforeValidator(lambda value: off_as_none(value, None))] = None
    """BCP 47 code of the conversation; None lets recogniser and pack decide."""
    output_rate_hz: Annotated[int, one_of(OUTPUT_RATES_HZ)] = OUTPUT_RATE_HZ
    """Samples a second of the agent's voice; the caller's side is 16 kHz."""
    trace: TraceSettings = TraceSettings()
    log: bool = False
    """Whether `logging` is told what happens: see `duologue.log_events`."""
    sessions_max: Annotated[int, between(1, 100_000)] = 100
    """Sessions at once in this process; one more is refused."""
    _sources: tuple[str, ...] = PrivateAttr(default=())

    @field_validator(*STAGE_NAMES)
    @classmethod
    def _spelled_out(cls, choice: StageChoice, info: ValidationInfo) -> StageChoice:
        return choice.spelled_out(str(info.field_name)) if ":" in choice.use else choice

    @model_validator(mode="wrap")
    @classmethod
    def _explained(cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            raise _explain(error, info.context or ()) from error

    def policy(self) -> Policy:
        """The part that the core hangs on."""
        return Policy(
            endpointing=self.endpointing,
            barge_in=self.barge_in,
            reply=self.reply,
            history=self.history,
            limits=self.limits,
        )

    def stage(self, name: str) -> StageChoice:
        """The choice for one of `STAGE_NAMES`."""
        choice: StageChoice = getattr(self, name)
        return choice

    @property
    def sources(self) -> tuple[str, ...]:
        """What these settings were read from, strongest first; empty when built directly."""
        return self._sources

    def redacted(self) -> dict[str, Any]:
        """The tree as JSON-able data with every key, token, secret and password masked, for traces and `doctor`."""
        masked: dict[str, Any] = _masked(self.model_dump(mode="json"))
        return masked


_SECRET_WORDS: Final = ("key", "token", "secret", "password", "authorization")


def _masked(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _masked(inner, key) for key, inner in value.items()}
    secret = any(word in name.lower() for word in _SECRET_WORDS) and isinstance(value, str) and value
    return "***" if secret else value


def load_settings(
    config: str | os.PathLike[str] | None = None,
    *,
    assignments: Iterable[str] = (),
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> Settings:
    """Settings from all sources.

    `config`: a TOML file; without it `$DUOLOGUE_CONFIG`, then `duologue.toml` in `folder` (the current one) if there is
    one. `assignments`: `key.path=value` as given to `--set`. `overrides`: a nested mapping that beats everything.
    Raises `ConfigurationError`, or `PackError` where the pack's recommendations are wrong.
    """
    environ = os.environ if environ is None else environ
    folder = Path.cwd() if folder is None else Path(folder)
    layers = [
        program_layer(overrides or {}),
        flags_layer(assignments),
        environment_layer(environ, Settings),
    ]
    file = find_file(config, environ, folder)
    if file is not None:
        layers.append(file_layer(file))
    layers = [with_stages_spelled_out(layer, STAGE_NAMES) for layer in layers]
    merged = merge(layers, STAGE_NAMES)
    pack = merged.get("pack", "assistant")
    if not isinstance(pack, str):
        raise ConfigurationError(
            f"pack must be text, got {pack!r:.60}", hint="Give a pack's name, or its folder's path"
        )
    recommended = pack_layer(pack, merged.get("language"), folder)
    layers.append(recommended)
    settings = Settings.model_validate(merge(layers, STAGE_NAMES), context=tuple(layers))
    settings._sources = tuple(layer.name for layer in layers if layer.values)
    for stage in STAGE_NAMES:
        _remember_origins(settings.stage(stage), stage, layers)
    return settings


def _remember_origins(choice: StageChoice, stage: str, layers: Iterable[Layer]) -> None:
    layers = tuple(layers)
    origins: dict[str, str] = {}
    for key in ("use", *choice.options):
        layer = _to_blame(layers, (stage, key))
        if layer is not None and layer.depth((stage, key)) == 2:
            origins[key] = layer.where((stage, key))
    if origins:
        choice._origins = origins


def _to_blame(layers: Iterable[Layer], path: tuple[str | int, ...]) -> Layer | None:
    """The strongest layer of those that hold most of `path`."""
    best = max(layers, key=lambda layer: layer.depth(path), default=None)
    return best if best is not None and best.depth(path) else None


def _explain(error: ValidationError, layers: Iterable[Layer]) -> Exception:
    """`error` as ours, naming where each wrong thing was set; a pack's mistake as the pack's."""
    layers = tuple(layers)
    lines: list[str] = []
    found = complaints(error, Settings)
    for complaint in found:
        layer = _to_blame(layers, complaint.path)
        if layer is not None and layer.blame is not None:
            return layer.blame(complaint.path, complaint.sentence, complaint.hint)
        where = f"{layer.where(complaint.path)}: " if layer is not None else ""
        hint = f". {complaint.hint}" if complaint.hint and len(found) > 1 else ""
        lines.append(f"{where}{complaint.sentence}{hint}")
    return ConfigurationError("\n".join(lines), hint=found[0].hint if len(found) == 1 else "")
