"""The numbers that turn-taking hangs on."""

from dataclasses import FrozenInstanceError, fields, is_dataclass

import pytest

from duologue.core.barge_in import Verdict, judge_words
from duologue.core.policy import BACKCHANNELS, STOP_WORDS, Policy


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
