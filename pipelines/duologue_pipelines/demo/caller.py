"""The demo's caller: made up from the pack's own sample dialogues, so that the stand-in model knows the answers.

It asks, pauses to think inside a sentence, says "mm-hm", coughs, and interrupts with a new question: all that a person
does to a voice assistant within the first minute. For the pack that ships, the questions are chosen by hand; for any
other pack they are picked by how long their answers are. A caller's script of one's own takes its place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from duologue.core.words import is_cjk, split_words
from duologue.dialogues import Exchange
from duologue.errors import ConfigurationError
from duologue.packs import Pack
from duologue_pipelines.calls.acts import Act, ScriptedCall
from duologue_pipelines.transports.caller_script import CallerScript, Step

THINKING_S: Final = 0.9  # longer than three of four pauses inside a turn
PATIENCE_S: Final = 8.0
_LONG_ENOUGH: Final = {"backchannel": 60, "cough and interruption": 150}  # letters: 4 and 10 seconds of speech


@dataclass(frozen=True, slots=True)
class _Questions:
    plain: Exchange
    thoughtful: Exchange
    split: tuple[str, str]  # the thoughtful one, before and behind the pause
    long: Exchange
    urgent: Exchange


# By hand, for the pack that ships: easy to recognise, answers of the right length, a pause where people pause.
_CHOSEN: Final = {
    "en": (
        "When does the museum open?",
        ("How do I get to the", "city from the airport?"),
        "How do rockets fly?",
        "Can I bring my dog?",
    ),
    "zh": ("博物馆什么时候开门？", ("坐火车好", "还是坐飞机好？"), "给我讲一个故事。", "我想去北京旅行。"),
}


@dataclass(frozen=True, slots=True)
class CallerVoice:
    """Who speaks for the caller: `synthesiser` as in `tts.use`, with a voice a language.

    `hums`: by language, a listener's word that this voice can say like a person, as it must be given and as written.
    """

    synthesiser: str
    voices: Mapping[str, str]
    hums: Mapping[str, tuple[str, str]]


EMBEDDED: Final = CallerVoice(
    "espeak", {"en": "en-us+f3", "zh": "cmn+f3"}, {"en": ("um hum", "mm-hm"), "zh": ("嗯", "嗯")}
)
# Never the voice that the agent has in the pack that ships. Of a listener's words Kokoro says these as people do; its
# "mm-hm" is a word that a recogniser writes down.
LIFELIKE: Final = CallerVoice(
    "kokoro", {"en": "am_michael", "zh": "zm_yunxi"}, {"en": ("Right.", "right"), "zh": ("是的。", "是的")}
)


def demo_call(pack: Pack, language: str | None = None, voice: CallerVoice = EMBEDDED) -> ScriptedCall:
    """The demo's call for `pack` in `language`. Raises `ConfigurationError` when its dialogues do not suffice."""
    code = pack.language_for(language)
    tongue = code.split("-")[0]
    questions = _chosen(pack.exchanges(code), tongue) or _picked(pack, code)
    steps_and_acts = [
        (_step(questions.plain.user), Act("question", questions.plain)),
        (
            _step((questions.split[0], THINKING_S, questions.split[1])),
            Act("thinking pause", questions.thoughtful),
        ),
        (_backchannel(tongue, voice), Act("mm-hm")),
        (_step(questions.long.user), Act("question", questions.long)),
        (
            Step(noise="cough", when="agent_speaking", delay_s=2.2, patience_s=PATIENCE_S),
            Act("cough"),
        ),
        (
            _step(questions.urgent.user, kind="interruption", when="agent_speaking", delay_s=2.8),
            Act("interruption", questions.urgent),
        ),
    ]
    script = CallerScript(
        step=tuple(step for step, _ in steps_and_acts),
        synthesiser=voice.synthesiser,
        voice=voice.voices.get(tongue),
        language=code,
        first_patience_s=4.0,
        patience_s=PATIENCE_S,
    )
    return ScriptedCall(script, tuple(act for _, act in steps_and_acts))


def _step(say: str | tuple[str | float, ...], **more: Any) -> Step:
    return Step(say=say, patience_s=PATIENCE_S, **more)


def _backchannel(tongue: str, voice: CallerVoice) -> Step:
    say, caption = voice.hums.get(tongue, voice.hums["en"])
    return _step(say, kind="backchannel", when="agent_speaking", delay_s=2.0, caption=caption)


def _chosen(exchanges: Sequence[Exchange], tongue: str) -> _Questions | None:
    """The questions chosen by hand, if the pack has them all."""
    if tongue not in _CHOSEN:
        return None
    plain, split, long, urgent = _CHOSEN[tongue]
    glue = "" if is_cjk(plain[0]) else " "
    by_text = {text: exchange for exchange in exchanges for text in exchange.asked}
    found = [by_text.get(text) for text in (plain, glue.join(split), long, urgent)]
    there = [exchange for exchange in found if exchange is not None]
    return _Questions(there[0], there[1], split, there[2], there[3]) if len(there) == len(found) else None


def _picked(pack: Pack, code: str) -> _Questions:
    """Any pack: the longest answer to be interrupted, a middling one for the backchannel, two short ones."""
    ranked = sorted(pack.exchanges(code), key=lambda exchange: _spoken_length(exchange.agent))
    long_enough = [e for e in ranked if _spoken_length(e.agent) >= _LONG_ENOUGH["backchannel"]]
    if (
        len(ranked) < 4
        or len(long_enough) < 2
        or _spoken_length(ranked[-1].agent) < _LONG_ENOUGH["cough and interruption"]
    ):
        raise ConfigurationError(
            f"the demo needs sample dialogues to ask from, and pack {pack.name} has too few in {code!r}",
            hint="Give dialogues/ at least four exchanges, one of them with an answer of 150 letters or more, "
            "or run the demo with --pack assistant",
        )
    thoughtful = next((e for e in long_enough[:-1] if len(split_words(e.user)) >= 5), long_enough[0])
    others = [e for e in ranked if e not in (thoughtful, ranked[-1])]
    return _Questions(others[0], thoughtful, _split(thoughtful.user), ranked[-1], others[1])


def _spoken_length(text: str) -> int:
    """Letters, a Chinese one counting for three: about as long to say."""
    return sum(3 if is_cjk(char) else 1 for char in text)


def _split(text: str) -> tuple[str, str]:
    """`text` in two, a little before its middle: people stop to think once they know how to begin."""
    glue = "" if is_cjk(text[0]) else " "
    words = split_words(text)
    middle = max(1, (2 * len(words)) // 5)
    return glue.join(words[:middle]), glue.join(words[middle:])
