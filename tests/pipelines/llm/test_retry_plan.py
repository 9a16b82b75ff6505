"""What is tried after a failure, and how long a person has to wait for it."""

from random import Random

import pytest

from duologue.errors import StageError
from duologue_pipelines.llm.openai_errors import AttemptFailed
from duologue_pipelines.llm.retry_plan import PAUSE_S_MAX, RetryLimits, RetryPlan


def failed(*, retryable: bool = True, **more: object) -> AttemptFailed:
    return AttemptFailed(StageError("llm", "down", retryable=retryable), **more)  # type: ignore[arg-type]  # by keyword


def test_pauses_double_with_jitter_up_to_the_bound() -> None:
    plan = RetryPlan(["m"], RetryLimits(retries=6, backoff_s=0.2), Random(1))
    pauses = [plan.after(failed()) for _ in range(6)]
    for pause, full in zip(pauses, [0.2, 0.4, 0.8, 1.6, PAUSE_S_MAX, PAUSE_S_MAX], strict=True):
        assert full / 2 <= pause <= full


def test_the_endpoints_own_wait_counts_if_it_is_longer() -> None:
    plan = RetryPlan(["m"], RetryLimits(), Random(1))
    assert plan.after(failed(retry_after_s=2.5)) == 2.5
    assert plan.after(failed(retry_after_s=0.0)) > 0.0


def test_a_wait_beyond_the_bound_leads_to_the_next_model() -> None:
    plan = RetryPlan(["a", "b"], RetryLimits(retry_after_s_max=3.0), Random(1))
    assert plan.after(failed(retry_after_s=3.1)) == 0.0
    assert (plan.model, plan.failed_models) == ("b", ["a"])


def test_each_model_has_its_own_retries() -> None:
    plan = RetryPlan(["a", "b"], RetryLimits(retries=1), Random(1))
    asked = []
    with pytest.raises(StageError) as caught:
        while True:
            asked.append(plan.model)
            plan.after(failed())
    assert asked == ["a", "a", "b", "b"]
    assert len(caught.value.__notes__) == 3


def test_what_no_repetition_mends_goes_to_the_next_model_or_fails() -> None:
    plan = RetryPlan(["a", "b"], RetryLimits(), Random(1))
    plan.after(failed(retryable=False))
    with pytest.raises(StageError):
        plan.after(failed(retryable=False))


def test_what_no_model_mends_fails_at_once() -> None:
    plan = RetryPlan(["a", "b"], RetryLimits(), Random(1))
    with pytest.raises(StageError):
        plan.after(failed(retryable=False, other_model=False))
    assert plan.model == "a"
