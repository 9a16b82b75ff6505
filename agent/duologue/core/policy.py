"""The numbers that turn-taking hangs on, as plain data: every one settable, every one with its reason.

`duologue.settings` nests these in the tree of settings; the core takes them as they are. All durations are seconds.
"""

from dataclasses import dataclass, field, fields
from typing import Final, Literal

_STRICT = {"extra": "forbid"}  # read by pydantic when the settings are parsed; the core itself never imports it

SECONDS_MIN: Final = 0.02  # a frame: nothing that is set again and again can be shorter


@dataclass(frozen=True, slots=True)
class EndpointingPolicy:
    """How much silence ends the user's turn, counted from the last voiced sample.

    `mode`: `automatic` ends turns by silence, `manual` only when the user commits them (push-to-talk).
    `patience`: multiplies every silence below; 1 is a brisk assistant, 2 to 3 suits learners.
    `complete_s`: after a sentence that sounds finished; `neutral_s`: when nothing can be told; `incomplete_s`: after
    "and…", "um" or an article. `silence_s_max`: no person's own pauses stretch the wait beyond it.
    `turn_s_max`: a turn is ended at this length whatever happens (nothing in the engine is unbounded).
    `final_s_max`: how long to wait for the recogniser's final; then the last partial stands.
    `merge_s`: speech that begins so soon after the endpoint, with nothing of the reply heard yet, continues the turn.
    """

    mode: Literal["automatic", "manual"] = "automatic"
    patience: float = 1.0
    complete_s: float = 0.4
    neutral_s: float = 0.65
    incomplete_s: float = 1.5
    silence_s_max: float = 3.0
    turn_s_max: float = 50.0
    final_s_max: float = 2.0
    merge_s: float = 2.0

    __pydantic_config__ = _STRICT


# Listeners' noises: they ask for nothing. After Ward & Tsukahara 2000 for English; Clancy et al. 1996 for Mandarin.
BACKCHANNELS = (
    "mm", "mmm", "mhm", "mm-hm", "mm-hmm", "mhmm", "hmm", "hm", "uh-huh", "uhhuh", "huh", "ah", "oh", "aha", "yeah",
    "yep", "yes",
    "right", "okay", "ok", "sure", "i see", "got it", "really", "wow", "great", "nice", "cool", "exactly", "true",
    "嗯", "嗯嗯", "哦", "噢", "喔", "啊", "呃", "对", "对对", "是", "是的", "是啊", "好", "好的", "行", "明白", "了解",
    "这样啊",
    "原来如此",
)  # fmt: skip
# Words that stop the agent however short they are.
STOP_WORDS = (
    "stop", "wait", "hold on", "hang on", "no", "sorry", "excuse me", "pause", "be quiet", "quiet", "shut up", "enough",
    "等等", "等一下", "停", "停一下", "不", "不是", "不对", "打断一下",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class BargeInPolicy:
    """When talking over the agent is an interruption.

    `enabled`: False lets the agent finish whatever it hears. `words_min`: so many words that are no backchannel make an
    interruption. `word_probability_min`: a final word that the recogniser itself gives less does not count among them.
    `voice_s`: voice that lasts so long is one with any word in it, or when the recogniser has failed; a backchannel may
    last twice that. Voice without a word stays held until it ends.
    `verdict_s`: after the voice has stopped, wait so long for the
    recogniser before the agent goes on.
    `alarms_max`, `alarm_window_s`, `wary_voice_s`: after so many false alarms within the window, a hold needs this much
    voice, so that a dog or a drill does not chop the agent to pieces.
    `backchannels`: what listeners say without wanting the floor. `stop_words`: what stops the agent however short.
    """

    enabled: bool = True
    words_min: int = 1
    word_probability_min: float = 0.2
    voice_s: float = 1.1
    verdict_s: float = 0.2
    alarms_max: int = 3
    alarm_window_s: float = 12.0
    wary_voice_s: float = 0.3
    backchannels: tuple[str, ...] = BACKCHANNELS
    stop_words: tuple[str, ...] = STOP_WORDS

    __pydantic_config__ = _STRICT


@dataclass(frozen=True, slots=True)
class ReplyPolicy:
    """How replies are begun, filled and given up.

    `automatic`: False makes a reply only on request. `speculate`: begin the reply with the first final, before the turn
    is known to be over. `speculations_max`: per turn, so that a halting speaker does not cost a prompt a pause.
    `tool_rounds_max`: how often one reply may go back to the model with results. `tool_s_max`: default time-out of a
    tool; `filler_after_s`: one that takes longer is covered by one of `fillers`; `late_after_s`: so is a model that has
    not begun to answer by then. `unheard_s_max`: a reply of which nothing is heard by then is given up with `apology`,
    which is also said when a stage fails for good.
    `queue_max`: things waiting to be said; one more is refused.
    """

    automatic: bool = True
    speculate: bool = True
    speculations_max: int = 3
    tool_rounds_max: int = 5
    tool_s_max: float = 20.0
    filler_after_s: float = 1.2
    late_after_s: float = 4.0
    unheard_s_max: float = 20.0
    fillers: tuple[str, ...] = ("One moment.", "Let me check.", "Just a second.")
    apology: str = "Sorry, something went wrong. Could you say that again?"
    queue_max: int = 8

    __pydantic_config__ = _STRICT


@dataclass(frozen=True, slots=True)
class HistoryPolicy:
    """How much is remembered.

    `tokens_max`: the prompt's budget, estimated. At the budget the oldest part is folded into a summary until
    `keep_fraction` of it is left, in one go, so that the prompt's beginning changes seldom and provider-side caches
    hit.
    `items_max`: bound on remembered items, whatever their size.
    """

    tokens_max: int = 6000
    keep_fraction: float = 0.5
    items_max: int = 400

    __pydantic_config__ = _STRICT


@dataclass(frozen=True, slots=True)
class LimitsPolicy:
    """Time limits of a session. None switches one off.

    `idle_s`: silence of both sides before `idle_prompts` are tried one after the other; when they are used up the
    session says `farewell` and closes. `session_s_max`: after that the session says `farewell` and closes.
    `close_s_max`: how long a graceful close lets the agent finish.
    """

    idle_s: float | None = 30.0
    idle_prompts: tuple[str, ...] = ("Are you still there?",)
    session_s_max: float | None = 3600.0
    farewell: str = "Goodbye."
    close_s_max: float = 15.0

    __pydantic_config__ = _STRICT


@dataclass(frozen=True, slots=True)
class Policy:
    """All of them."""

    endpointing: EndpointingPolicy = field(default_factory=EndpointingPolicy)
    barge_in: BargeInPolicy = field(default_factory=BargeInPolicy)
    reply: ReplyPolicy = field(default_factory=ReplyPolicy)
    history: HistoryPolicy = field(default_factory=HistoryPolicy)
    limits: LimitsPolicy = field(default_factory=LimitsPolicy)

    def problems(self) -> list[str]:
        """What no conversation can be held with, a sentence each: the settings' own bounds are narrower."""
        found = []
        for part in fields(self):
            policy = getattr(self, part.name)
            for field_ in fields(policy):
                value = getattr(policy, field_.name)
                if isinstance(value, int | float) and not isinstance(value, bool) and not value >= 0:
                    found.append(f"{part.name}.{field_.name} must not be below 0, got {value}")
        for name, seconds in (
            ("endpointing.turn_s_max", self.endpointing.turn_s_max),
            ("reply.unheard_s_max", self.reply.unheard_s_max),
        ):
            if seconds < SECONDS_MIN:  # they are set anew when they pass, and time would stand still
                found.append(f"{name} must be {SECONDS_MIN:g} s or more, got {seconds:g}")
        return found
