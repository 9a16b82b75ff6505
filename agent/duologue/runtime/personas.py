"""Who speaks: the personas that a session has met, and what a reply of each is made with.

A persona is frozen, and a reply is its persona's from the first word to the last, whoever is to speak next.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from duologue.core import actions as act
from duologue.errors import ProtocolError
from duologue.ports.asr import AsrContext
from duologue.ports.llm import Llm
from duologue.ports.reply_source import ReplySource
from duologue.ports.tts import SpeechRequest
from duologue.runtime.cascade import CascadeSource
from duologue.runtime.session_setup import Persona, Stages

PERSONAS_MAX: Final = 32  # of one session; each keeps its instructions and may keep a model


class Personas:
    """`following`: who is to speak from the next turn or reply on."""

    def __init__(self, first: Persona, stages: Stages, others: Iterable[Persona] = ()) -> None:
        """`first`: who speaks at the beginning. `others`: who may, in a session that comes from another process."""
        self._known = {persona.name: persona for persona in (*others, first)}
        self._stages = stages
        self.following = first

    def check(self, persona: Persona) -> None:
        """Raise `ProtocolError` if `persona` would be one too many, or is none."""
        if not isinstance(persona, Persona):
            raise ProtocolError(f"{persona!r:.60} is no persona", hint="Make one: agent.persona(name of a pack)")
        if len(self._known) >= PERSONAS_MAX and persona.name not in self._known:
            raise ProtocolError(f"{PERSONAS_MAX} personas have spoken in this session", hint="Take one of them again")

    def follow(self, persona: Persona) -> None:
        """`persona` is to speak next."""
        self._known[persona.name] = self.following = persona

    @property
    def llm(self) -> Llm:
        """The model of whoever is to speak next."""
        return self.following.llm or self._stages.llm

    def asr_context(self, session: str) -> AsrContext:
        """What a recogniser may know before the next turn."""
        persona = self.following
        return AsrContext(persona.language, persona.phrases, persona.languages, session=session)

    def source(self, action: act.BeginReply) -> ReplySource:
        """What makes the reply."""
        stages = self._stages
        return stages.reply_source or CascadeSource(self._of(action).llm or stages.llm, stages.tts)

    def speech(self, action: act.BeginReply, language: str | None) -> SpeechRequest:
        """The voice of the reply, to somebody who spoke `language`: the persona's, or one wanted for this reply."""
        speech = self._of(action).speech_in(language)
        return speech if action.options.voice is None else replace(speech, voice=action.options.voice)

    def _of(self, action: act.BeginReply) -> Persona:
        return self._known.get(action.persona, self.following)
