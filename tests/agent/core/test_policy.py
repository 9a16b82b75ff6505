"""The numbers that turn-taking hangs on."""

from dataclasses import FrozenInstanceError, fields, is_dataclass

import pytest

from duologue.core.barge_in import Verdict, judge_words
from duologue.core.codec import to_data
from duologue.core.conversation import Conversation
from duologue.core.events import PolicyChanged
from duologue.core.policy import BACKCHANNELS, STOP_WORDS, EndpointingPolicy, LimitsPolicy, Policy, ReplyPolicy
from duologue.errors import ConfigurationError, ProtocolError


def test_the_defaults_fit_together():
    policy = Policy()
    silence = policy.endpointing
    assert 0 < silence.complete_s < silence.neutral_s < silence.incomplete_s < silence.silence_s_max
    assert silence.turn_s_max < 60.0  # AUDIO_SECONDS_MAX of a recogniser
    assert policy.barge_in.verdict_s < policy.barge_in.voice_s
    assert policy.barge_in.wary_voice_s < policy.barge_in.voice_s
    assert policy.reply.filler_after_s < policy.reply.late_after_s < policy.reply.unheard_s_max


def test_no_phrase_is_both_a_backchannel_and_a_stop_word():
    assert not set(BACKCHANNELS) & set(STOP_WORDS)


def test_an_apology_or_filler_of_the_agent_s_own_would_not_stop_it():
    """Fillers and fallback texts are the agent's: nothing in them is a listener's noise by itself."""
    policy = Policy()
    assert judge_words(policy.reply.apology, policy.barge_in) is Verdict.INTERRUPTION


@pytest.mark.parametrize("part", fields(Policy), ids=lambda field: field.name)
def test_policies_are_frozen_and_every_field_is_explained(part):
    value = getattr(Policy(), part.name)
    assert is_dataclass(value)
    for field in fields(value):
        with pytest.raises(FrozenInstanceError):
            setattr(value, field.name, None)
        if field.name not in ("backchannels", "stop_words"):  # explained at their tables
            assert f"`{field.name}`" in (type(value).__doc__ or ""), f"{part.name}.{field.name} is not explained"


IMPOSSIBLE = [
    (Policy(endpointing=EndpointingPolicy(turn_s_max=0.0)), "endpointing.turn_s_max must be 0.02 s or more, got 0"),
    (Policy(reply=ReplyPolicy(unheard_s_max=0.001)), "reply.unheard_s_max must be 0.02 s or more, got 0.001"),
    (Policy(limits=LimitsPolicy(idle_s=-1.0)), "limits.idle_s must not be below 0, got -1.0"),
    (Policy(endpointing=EndpointingPolicy(patience=float("nan"))), "endpointing.patience must not be below 0, got nan"),
]


@pytest.mark.parametrize(("policy", "problem"), IMPOSSIBLE)
def test_a_policy_under_which_time_would_stand_still_is_refused_wherever_it_comes_from(begin, policy, problem):
    with pytest.raises(ConfigurationError, match=problem):
        Conversation(policy)
    talk = begin().voice()
    before = talk.conversation.snapshot()
    with pytest.raises(ProtocolError, match=problem):
        talk.feed(PolicyChanged(1.0, policy))
    assert talk.conversation.snapshot() == before
    with pytest.raises(ValueError, match="not a snapshot" if "nan" not in problem else "reasonable size"):
        Conversation.restore(Policy(), {**before, "policy": to_data(policy)})
