"""VAD → ASR → LLM → TTS put together from settings: each stage as named, or, for `auto`, the best that is really there.

Reached by the entry point `duologue.cascade: default`. Says of each choice which it was and why; the agent
passes that on to the trace, so that nobody has to guess what answered.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from duologue import registry
from duologue.core.messages import Message
from duologue.packs import Pack
from duologue.ports import Llm, SpeechRequest
from duologue.runtime.session_setup import Persona, Stages
from duologue.settings import Settings, StageChoice
from duologue.stages import ASR, LLM, STAGES, StageKind
from duologue_pipelines.asr.whisper_models import default_model
from duologue_pipelines.llm import discover
from duologue_pipelines.llm.examples import ExamplesLlm
from duologue_pipelines.llm.rehearsal import RehearsalLlm

AUTO = "auto"
NEVER = 2.0  # likeness that no words have


@dataclass(frozen=True, slots=True)
class Cascade:
    """The stages, and how a pack is spoken through them."""

    stages: Stages
    notes: tuple[str, ...]

    def persona(self, pack: Pack, settings: Settings) -> Persona:
        """`pack` in the settings' language: its words, its voice, and where nobody better answers, its dialogues.

        Without a language in the settings, a pack of several languages goes by what the recogniser hears. Raises
        `PackError` for a voice that the synthesiser does not have.
        """
        pack.check_voices(self.stages.tts)
        language = pack.language_for(settings.language)
        engine, manner = self.stages.tts.name, pack.manifest.voice
        voices = {code: voice for code in pack.languages if (voice := pack.voice_name(engine, code))}
        voice = settings.tts.options.get("voice") or voices.get(language)
        fixed = settings.language or (language if len(pack.languages) == 1 else None)
        return Persona(
            pack.name,
            pack.system(language),
            pack.greeting(language) or "",
            language=fixed,
            phrases=pack.phrases(language),
            speech=SpeechRequest("", language, voice, speed=manner.speed, loudness=manner.loudness),
            llm=self._rehearsed(pack),
            languages=pack.languages,
            voices=voices,
        )

    def _rehearsed(self, pack: Pack) -> Llm | None:
        llm = self.stages.llm
        return llm.with_exchanges(pack.samples) if isinstance(llm, RehearsalLlm | ExamplesLlm) else None


async def build(settings: Settings, pack: Pack | None, persona: Persona | None = None) -> Cascade:
    """The stages that `settings` name, with `persona` speaking where there is no pack.

    Raises `ConfigurationError` for a wrong name or option and `StageUnavailable` where something named is not there;
    loads no model (`warm_up` does).
    """
    language = settings.language or (pack.default_language if pack else None)
    notes: list[str] = []
    made: dict[str, Any] = {}
    for kind in STAGES:
        choices = registry.each(kind, settings.stage(kind.name))
        if kind is LLM:
            adapters: list[Any] = [await _llm(settings, pack, notes)]
        else:
            adapters = [registry.make(kind, _decided(kind, choice, language, notes)) for choice in choices]
        made[kind.attribute] = tuple(adapters) if kind.takes_several else adapters[0]
    phrases = pack.phrases(language) if pack else persona.phrases if persona else ()
    if remark := registry.remark(made[ASR.attribute], phrases):
        notes.append(f"asr: {remark}")
    notes += [f"pack: {remark}" for remark in (pack.remarks if pack else ())]
    return Cascade(Stages(**made), tuple(notes))


def _decided(kind: StageKind[Any], choice: StageChoice, language: str | None, notes: list[str]) -> StageChoice:
    if choice.use != AUTO:
        return choice
    name, why = registry.choose_auto(kind.name, options=choice.options, language=language, origin=choice.origin)
    notes.append(f"{kind.name}: {name} ({why})")
    fitting = {"model": default_model(language)} if name == "whisper" and "model" not in choice.options else {}
    return _using(choice, name, fitting)


def _using(choice: StageChoice, name: str, options: Mapping[str, Any]) -> StageChoice:
    decided: StageChoice = choice.model_copy(update={**options, "use": name})
    return decided


async def _llm(settings: Settings, pack: Pack | None, notes: list[str]) -> Llm:
    choice = settings.llm
    if choice.use == AUTO:
        registry.check_known("llm", choice.options, choice.origin)
    if choice.use == AUTO and not {"base_url", "model", "api_key"} & set(choice.options):
        candidates = await discover.discover(os.environ)
        found = discover.choose(candidates)
        notes.append(f"llm: {found.name} ({found.why})")
        known = {key: value for key, value in found.options.items() if key not in choice.options}
        choice = _using(choice, found.use, known)
    elif choice.use == AUTO:
        notes.append("llm: openai (the settings say where to ask)")
        choice = _using(choice, "openai", {})
    llm = registry.make(LLM, choice)
    if pack is None:
        return llm
    if isinstance(llm, RehearsalLlm):
        return replace(llm, exchanges=pack.samples)
    return _with_pack(llm, pack, pack.language_for(settings.language))


def _with_pack(llm: Llm, pack: Pack, language: str) -> Llm:
    """`llm` with the pack's dialogues, if it is one that wants them: such a stage has `examples` and `verbatim_min`."""
    examples, verbatim_min = getattr(llm, "examples", 0), getattr(llm, "verbatim_min", NEVER)
    if not examples and verbatim_min >= NEVER:
        return llm
    greeting = pack.greeting(language)
    begun = (Message("system", pack.system(language)), *([Message("assistant", greeting)] if greeting else ()))
    return ExamplesLlm(llm, pack.samples, examples, verbatim_min, begun)
