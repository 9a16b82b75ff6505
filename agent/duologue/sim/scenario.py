"""What kind of conversation a seed is: the settings, the pace of the stages, and what goes wrong.

Most conversations have a few kinds of faults switched on and the others off, so that each meets every other one
somewhere, and there are always some in which nothing is wrong at all.
"""

import random
from dataclasses import dataclass, field
from typing import Final

from duologue.core.policy import (
    BargeInPolicy,
    EndpointingPolicy,
    HistoryPolicy,
    LimitsPolicy,
    Policy,
    ReplyPolicy,
)

# Kinds of faults, and in which share of the conversations each is switched on. How often it strikes there stands with
# the stage that it strikes.
FAULTS: Final = {
    "vad late": 0.15,
    "vad flaps": 0.15,
    "vad deaf": 0.1,
    "asr slow": 0.2,
    "asr lost": 0.15,
    "asr failing": 0.12,
    "asr wrong": 0.25,
    "asr late": 0.2,
    "asr mute": 0.1,
    "judge wrong": 0.1,
    "llm slow": 0.2,
    "llm failing": 0.2,
    "llm empty": 0.08,
    "llm hanging": 0.1,
    "llm wild": 0.08,
    "tts slow": 0.15,
    "tts failing": 0.15,
    "tool slow": 0.25,
    "tool failing": 0.2,
    "tool silent": 0.15,
    "tool late": 0.15,
    "remote late": 0.3,
    "remote mute": 0.2,
    "summary failing": 0.3,
    "loop late": 0.2,
    "hand clumsy": 0.15,
    "reply late": 0.15,
    "migration": 0.2,
    "frames lost": 0.25,
    "frames late": 0.25,
}
SOUND_SHARE: Final = 0.1  # of the conversations have no fault at all


@dataclass(frozen=True, slots=True)
class Scenario:
    """One conversation's circumstances.

    `turns`: how often the caller means to take the floor. `remote`: the caller's side plays the audio and reports.
    `push_to_talk`: how turns are ended at first. `tools`: how often a reply uses tools. `ending`: who ends the talk:
    `hang up`, `goodbye` (a close that lets the agent finish), `idle` (the caller has fallen asleep).
    """

    policy: Policy
    faults: frozenset[str]
    turns: int
    remote: bool
    push_to_talk: bool
    greeting: bool
    tools: float
    ending: str
    hand: float
    first_token_s: tuple[float, float]
    chunk_s: tuple[float, float]
    tts_s: tuple[float, float]
    final_s: tuple[float, float]
    network_s: float
    judged: bool
    pack: str = "first"
    system: str = "Be kind and brief."
    fault_rates: dict[str, float] = field(default_factory=dict)


def draw_scenario(rng: random.Random) -> Scenario:
    """A conversation's circumstances, drawn."""
    faults = frozenset(name for name, share in FAULTS.items() if rng.random() < share)
    if rng.random() < SOUND_SHARE:
        faults = frozenset()
    first_token_s = rng.uniform(0.1, 0.5)
    chunk_s = rng.uniform(0.05, 0.3)
    tts_s = rng.uniform(0.02, 0.15)
    final_s = rng.uniform(0.05, 0.2)
    return Scenario(
        policy=draw_policy(rng),
        faults=faults,
        turns=rng.randint(1, 6),
        remote=rng.random() < 0.3,
        push_to_talk=rng.random() < 0.12,
        greeting=rng.random() < 0.5,
        tools=rng.choice((0.0, 0.0, 0.15, 0.4)),
        ending=rng.choices(("hang up", "goodbye", "idle"), (6, 3, 1))[0],
        hand=rng.choice((0.0, 0.0, 0.1, 0.3)),
        first_token_s=(first_token_s, first_token_s * 2),
        chunk_s=(chunk_s, chunk_s * 2),
        tts_s=(tts_s, tts_s * 2),
        final_s=(final_s, final_s * 2),
        network_s=rng.uniform(0.02, 0.25),
        judged=rng.random() < 0.3,
        fault_rates={name: rng.uniform(0.1, 0.5) for name in FAULTS},
    )


def draw_policy(rng: random.Random) -> Policy:
    """Settings: the defaults in half of the conversations, drawn around them in the others."""
    if rng.random() < 0.5:
        return Policy(limits=LimitsPolicy(idle_s=12.0), history=_history(rng))
    return Policy(
        endpointing=EndpointingPolicy(
            patience=rng.choice((0.7, 1.0, 1.0, 2.0)),
            turn_s_max=rng.choice((4.0, 9.0, 20.0)),
            final_s_max=rng.choice((0.5, 2.0)),
            merge_s=rng.choice((0.0, 0.5, 2.0)),
        ),
        barge_in=BargeInPolicy(
            enabled=rng.random() < 0.9,
            words_min=rng.choice((1, 1, 2)),
            voice_s=rng.choice((0.5, 1.1)),
            verdict_s=rng.choice((0.05, 0.2, 0.5)),
            alarms_max=rng.choice((1, 3)),
        ),
        reply=ReplyPolicy(
            automatic=rng.random() < 0.9,
            speculate=rng.random() < 0.8,
            speculations_max=rng.choice((1, 3)),
            tool_rounds_max=rng.choice((1, 2, 5)),
            tool_s_max=rng.choice((2.0, 6.0)),
            filler_after_s=rng.choice((0.3, 1.2)),
            late_after_s=rng.choice((1.0, 4.0)),
            unheard_s_max=rng.choice((3.0, 8.0, 20.0)),
            fillers=rng.choice(((), ("One moment.", "Let me check."))),
            queue_max=rng.choice((1, 3, 8)),
        ),
        history=_history(rng),
        limits=LimitsPolicy(
            idle_s=rng.choice((5.0, 12.0, 12.0)),
            idle_prompts=rng.choice(((), ("Are you still there?",), ("Hello?", "Anybody?"))),
            session_s_max=rng.choice((None, 25.0, 3600.0)),
            farewell=rng.choice(("", "Goodbye.")),
            close_s_max=rng.choice((0.0, 3.0, 15.0)),
        ),
    )


def _history(rng: random.Random) -> HistoryPolicy:
    """Small enough that a conversation of some turns has to fold, in a third of them."""
    if rng.random() < 0.66:
        return HistoryPolicy()
    return HistoryPolicy(tokens_max=rng.choice((60, 120)), items_max=rng.choice((4, 400)))
