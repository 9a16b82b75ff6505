"""What a caller does in a call, thing by thing, and what each should lead to: by a script, or by what was heard."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from duologue.core.words import normal_form, split_words
from duologue.dialogues import Exchange
from duologue.measure import Mark, UtteranceKind
from duologue.packs import Pack
from duologue_pipelines.transports.caller_script import CallerScript, Step, read_script

ActName = Literal["question", "thinking pause", "mm-hm", "cough", "noise", "interruption"]

EXPECTS: Final[dict[ActName, str]] = {
    "question": "answered",
    "thinking pause": "one turn, no answer into the pause",
    "mm-hm": "the agent goes on",
    "cough": "the agent goes on",
    "noise": "the agent goes on",
    "interruption": "the agent stops and answers the new question",
}


@dataclass(frozen=True, slots=True)
class Act:
    """One thing to be shown. `exchange`: what is asked, if it is one of the pack's."""

    name: ActName
    exchange: Exchange | None = None

    @property
    def expects(self) -> str:
        """What it should lead to, in a few words."""
        return EXPECTS[self.name]


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    """The script, and for each of its steps the act that it is."""

    script: CallerScript
    acts: tuple[Act, ...]


def scripted_call(path: Path, pack: Pack, language: str | None = None) -> ScriptedCall:
    """The call that the script at `path` describes, each step an act by its kind: a `turn` is a question (with a pause
    in it, a thinking pause), an `interruption`, a `backchannel`, a `noise`.

    What is asked in the words of one of `pack`'s sample dialogues is known by them: where no language model answers, it
    must be that dialogue's answer. Raises `ConfigurationError` that names file, line and key.
    """
    script = read_script(path)
    exchanges = pack.exchanges(pack.language_for(language))
    known = {_plain(line): exchange for exchange in exchanges for line in exchange.asked}
    return ScriptedCall(script, tuple(Act(_act_name(step), known.get(_plain(step.text))) for step in script.step))


def act_of(mark: Mark) -> Act:
    """What a caller without a script did."""
    return Act(_NAMES[mark.kind])


_NAMES: Final[dict[UtteranceKind, ActName]] = {
    "turn": "question", "interruption": "interruption", "backchannel": "mm-hm", "noise": "noise",
}  # fmt: skip


def _act_name(step: Step) -> ActName:
    if step.noise == "cough":
        return "cough"
    pauses = any(not isinstance(part, str) for part in step.parts)
    return "thinking pause" if step.utterance_kind == "turn" and pauses else _NAMES[step.utterance_kind]


def _plain(text: str) -> str:
    return " ".join(map(normal_form, split_words(text)))
