"""The agent: a pack, tools and stages, ready for any number of sessions in one process.

The stages are put together by the entry point `default` of the group `duologue.cascade` (the pipelines' own), unless
they are given ready-made. They are shared by all sessions and loaded before the first.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.metadata import entry_points
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypedDict, Unpack

from duologue.core.messages import ToolSpec
from duologue.core.policy import Policy
from duologue.errors import ConfigurationError, PackError, StageOverloaded
from duologue.nearest import did_you_mean
from duologue.packs import Pack, find_pack
from duologue.ports.asr import TellsLoad
from duologue.ports.transport import Transport
from duologue.runtime.event_log import log_events
from duologue.runtime.session import Session
from duologue.runtime.session_setup import Persona, SessionSetup, Stages
from duologue.runtime.snapshot import persona_of
from duologue.runtime.trace import Trace
from duologue.runtime.user_tools import Tool
from duologue.settings import Settings, StageChoice, load_settings
from duologue.stages import STAGE_NAMES

CASCADES: Final = "duologue.cascade"
# Finals that wait this long make every answer late: a caller more would be one more who waits.
QUEUE_WAIT_S_MAX: Final = 0.3
_TRANSPORT: Final = ("reports_playout", "run", "play", "end_reply", "cut_reply", "aclose")  # what every one has


class Cascade(Protocol):
    """Stages put together from settings. `notes`: which was taken, and why, a sentence each."""

    @property
    def stages(self) -> Stages: ...

    @property
    def notes(self) -> tuple[str, ...]: ...

    def persona(self, pack: Pack, settings: Settings) -> Persona:
        """`pack` as these stages need it."""
        ...


class NamedStages(TypedDict, total=False):
    """Stages as a program names them: `asr="whisper:tiny.en"`."""

    vad: str
    asr: str
    llm: str
    tts: str
    judge: str


class Agent:
    """Somebody to talk to.

    `pack`: name or folder of a prompt pack (default: the settings'). `tools`: functions decorated with `tool`.
    `named`: `asr`, `llm`, `tts`, `vad`, `judge` by name, or as `NAME:MODEL` (`asr="whisper:tiny.en"`); they beat the
    settings. `remote_tools`: tools that the caller's side runs. `settings`: default is all that `load_settings` finds;
    a mapping has the settings file's shape and beats what is found. `stages` with `persona`: ready-made parts instead
    of those that the settings name. Raises `ConfigurationError` and `PackError` at once, `StageUnavailable` when the
    first session begins.
    """

    def __init__(
        self,
        pack: str | None = None,
        *,
        tools: Iterable[Tool] = (),
        remote_tools: Iterable[ToolSpec] = (),
        settings: Settings | Mapping[str, Any] | None = None,
        stages: Stages | None = None,
        persona: Persona | None = None,
        **named: Unpack[NamedStages],
    ) -> None:
        self.settings = _settings(settings, {"pack": pack} if pack else {}, named)
        self._tools = _checked(tools)
        self._remote_tools = tuple(remote_tools)
        self._pack = find_pack(pack or self.settings.pack) if persona is None else None
        self._stages = stages
        self._persona = persona
        self._cascade: Cascade | None = None
        self._loading: asyncio.Task[None] | None = None
        self.live: set[Session] = set()
        self._opening = 0

    async def ready(self) -> None:
        """Load everything that sessions share; returns at once when that is done."""
        loading = self._loading
        if loading is None or (loading.done() and (loading.cancelled() or loading.exception() is not None)):
            loading = self._loading = asyncio.ensure_future(self._load())
        await asyncio.shield(loading)

    async def _load(self) -> None:
        if self._stages is None:
            speaker = () if self._persona is None else (self._persona,)
            self._cascade = await _cascade_builder()(self.settings, self._pack, *speaker)
            self._stages = self._cascade.stages
        await asyncio.gather(*(stage.warm_up() for stage in self._stages.all()))
        if self._persona is None and self._pack is not None:
            self._persona = self.persona(self._pack)

    @property
    def notes(self) -> tuple[str, ...]:
        """What `auto` chose, and why; empty before `ready`."""
        return self._cascade.notes if self._cascade else ()

    @property
    def stages(self) -> Stages:
        """The shared stages. Raises `ConfigurationError` before `ready`."""
        if self._stages is None:
            raise ConfigurationError("the agent's stages are not loaded yet", hint="await agent.ready() first")
        return self._stages

    def persona(self, pack: Pack | str) -> Persona:
        """What `session.use_persona` takes, for another pack (a name, a folder, or a pack that was read)."""
        found = find_pack(pack) if isinstance(pack, str) else pack
        if self._cascade:
            return self._cascade.persona(found, self.settings)
        language = found.language_for(self.settings.language)
        return Persona(
            found.name,
            found.system(language),
            found.greeting(language) or "",
            language=language,
            phrases=found.phrases(language),
        )

    @asynccontextmanager
    async def session(
        self,
        transport: Transport,
        *,
        snapshot: Mapping[str, Any] | None = None,
        personas: Iterable[Persona] = (),
        trace: Path | None = None,
        policy: Policy | None = None,
        tools: Iterable[Tool] = (),
        user_data: Any = None,
    ) -> AsyncIterator[Session]:
        """A conversation over `transport`, to be entered with `async with`.

        `snapshot`: go on with a session that another process gave up; `personas`: those that it was handed to, so that
        each goes on in its own voice. `trace`: write the event log there (default: into
        the settings' trace folder, if one is set). `tools`: of this call, besides the agent's. `user_data`: anything of
        yours, as `session.user_data`. Raises `StageOverloaded` when `sessions_max` are live,
        or when the recogniser is behind (`QUEUE_WAIT_S_MAX`).
        """
        tools = _checked([*self._tools, *tools])
        if not all(hasattr(transport, name) for name in _TRANSPORT):
            raise ConfigurationError(
                f"{transport!r} is no transport",
                hint='For audio files: duologue_pipelines.transports.wav.WavTransport(input=["question.wav"])',
            )
        if len(self.live) + self._opening >= self.settings.sessions_max:
            raise StageOverloaded(
                "session",
                f"{self.settings.sessions_max} sessions are live, no more are taken",
                retryable=True,
                hint="Try again later, or raise sessions_max",
            )
        self._opening += 1
        try:
            await self.ready()
            self._refuse_when_behind()
            setup = replace(self._setup(snapshot, trace, policy, personas), tools=tools, user_data=user_data)
            session = Session(transport, setup)
        finally:
            self._opening -= 1
        self.live.add(session)
        try:
            if self.settings.log:
                log_events(session)
            async with session:
                for text in self.notes:
                    session.note("auto", text)
                if (pack := persona_of(snapshot)) and pack != setup.persona.name:
                    session.note(
                        "pack",
                        f"{pack} is not known here: its words go on in the voice of {setup.persona.name}. "
                        "Give agent.session(personas=[…]) those that a call may have been handed to",
                        "warning",
                    )
                yield session
        finally:
            self.live.discard(session)

    def _refuse_when_behind(self) -> None:
        asr = self.stages.asr
        wait_s = asr.queue_wait_s() if self.live and isinstance(asr, TellsLoad) else 0.0
        if wait_s > QUEUE_WAIT_S_MAX:
            raise StageOverloaded(
                "session",
                f"the recogniser is {wait_s:.1f} s behind with {len(self.live)} sessions, no more are taken",
                retryable=True,
                hint="Try again later, choose a smaller asr.model, or use a machine with more cores",
            )

    def _setup(
        self,
        snapshot: Mapping[str, Any] | None,
        trace: Path | None,
        policy: Policy | None,
        personas: Iterable[Persona],
    ) -> SessionSetup:
        settings, known = self.settings, {persona.name: persona for persona in personas}
        speaking = persona_of(snapshot)
        return SessionSetup(
            stages=self.stages,
            persona=known.get(speaking) or self._persona_for(speaking),
            personas=tuple(known.values()),
            policy=policy or settings.policy(),
            remote_tools=self._remote_tools,
            output_rate_hz=settings.output_rate_hz,
            traced=self._tracer(trace),
            snapshot=snapshot,
        )

    def _persona_for(self, pack: str) -> Persona:
        """Who speaks in a session: the agent's own persona, or that of `pack`, with which it was handed over."""
        own = self._persona or Persona("none")
        if self._pack is None or pack in ("", own.name):
            return own
        try:
            return self.persona(pack)
        except (ConfigurationError, PackError):
            return own

    def _tracer(self, path: Path | None) -> Callable[[str, Callable[[], Mapping[str, Any]]], Trace]:
        """`session id, header → trace`, into `path` or a file of its own in the settings' folder."""
        settings = self.settings.trace

        def make(session_id: str, header: Callable[[], Mapping[str, Any]]) -> Trace:
            file = path
            if file is None and settings.folder is not None:
                file = _unused(Path(settings.folder) / f"{session_id}.jsonl")
            return Trace(header, path=file, bytes_max=settings.bytes_max)

        return make

    async def aclose(self) -> None:
        """Free the shared stages. Sessions must be over."""
        if self._stages:
            await asyncio.gather(*(stage.aclose() for stage in self._stages.all()))

    async def __aenter__(self) -> Self:
        await self.ready()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _settings(
    given: Settings | Mapping[str, Any] | None, overrides: Mapping[str, Any], named: Mapping[str, Any]
) -> Settings:
    for name, use in named.items():
        if name not in STAGE_NAMES:
            known = (*STAGE_NAMES, "pack", "persona", "remote_tools", "settings", "stages", "tools")
            raise ConfigurationError(f"an agent takes no {name!r}", hint=did_you_mean(name, known))
        if not isinstance(use, str):
            raise ConfigurationError(
                f"{name} must be a name like 'whisper:tiny.en', got {use!r:.60}",
                hint="Pass an adapter that you made yourself in stages=Stages(…)",
            )
    if isinstance(given, Settings):
        choices = {name: StageChoice(use).spelled_out(name) for name, use in named.items()}
        return given.model_copy(update=choices)
    if given is not None and not isinstance(given, Mapping):
        raise ConfigurationError(
            f"settings must be Settings or a mapping, got {given!r:.60}",
            hint='Write settings={"llm": {"model": "…"}}, or load a file with duologue.load_settings',
        )
    values = {**(given or {}), **overrides}
    for name, use in named.items():
        beside = values.get(name)
        values[name] = {**beside, "use": use} if isinstance(beside, Mapping) else use
    return load_settings(overrides=values)


def _checked(tools: Iterable[Tool]) -> tuple[Tool, ...]:
    checked = tuple(tools)
    for wrong in [tool for tool in checked if not isinstance(tool, Tool)]:
        raise ConfigurationError(f"{wrong!r} is no tool", hint="Decorate the function with @duologue.tool")
    names = [tool.spec.name for tool in checked]
    for name in sorted({name for name in names if names.count(name) > 1}):
        raise ConfigurationError(f"two tools are called {name!r}", hint="Rename one: the model calls them by name")
    return checked


def _unused(path: Path) -> Path:
    """`path`, or the next number behind it: of a session that goes on here, the trace from before is kept."""
    for number in count(2):
        if not path.exists():
            break
        path = path.with_name(f"{path.name.split('.')[0]}.{number}.jsonl")
    return path


def _cascade_builder() -> Callable[..., Any]:
    for entry in entry_points(group=CASCADES, name="default"):
        build: Callable[..., Any] = entry.load()
        return build
    raise ConfigurationError(
        "no stages are installed", hint="Install Duologue with its pipelines (pip install -e .), or pass stages=…"
    )
