"""What a session costs, counted."""

from duologue.ports.llm import Usage
from duologue.runtime.meter import TIMINGS_KEPT, Meter, percentile
from duologue.testing.scripted_llm import ScriptedReply
from duologue.testing.scripted_tts import ScriptedTts


def test_a_percentile_is_one_of_the_values():
    assert percentile([], 0.5) is None
    assert percentile([3.0], 0.95) == 3.0
    assert percentile([float(v) for v in range(100, 0, -1)], 0.95) == 96.0


def test_tokens_are_added_up_by_model_and_models_are_bounded():
    meter = Meter()
    for number in range(40):
        meter.usage(Usage(f"m{number}", input=10, output=2, cached_input=4))
    meter.usage(Usage("m0", input=1, output=1))
    tokens = meter.report()["tokens"]
    assert (tokens["input"], tokens["cached_input"], tokens["output"]) == (401, 160, 81)
    assert len(tokens["by_model"]) == 32 and tokens["by_model"]["m0"] == 14


def test_timings_are_bounded_and_reported_in_milliseconds():
    meter = Meter()
    for number in range(TIMINGS_KEPT + 100):
        meter.timing("tool", number / 1000)
    stage = meter.report()["stages_ms"]["tool"]
    assert stage == {"count": TIMINGS_KEPT, "median": 349.5, "p95": 575.0}


def test_a_call_is_metered(call):
    tts = ScriptedTts(seconds_per_char=0.05, first_audio_s=0.1)
    done = call([(1.0, 1.0)], ["what time is it"], [ScriptedReply("It is five.")], tts=tts, hang_up=6.0).go()
    report = done.session.meter.report()
    assert report["tokens"]["output"] == 3 and report["tokens"]["input"] > 5
    assert (report["requests"], report["replies"]) == (1, 1)
    assert report["speculative_replies"] == {"begun": 1, "used": 1}
    assert report["audio_seconds"]["user"] == 5.98  # the last frame is not full when the caller hangs up
    assert report["audio_seconds"]["agent"] == 0.4  # eight letters at 50 ms
    assert report["audio_seconds"]["synthesised"] == 0.4
    stages = report["stages_ms"]
    assert stages["llm_first_token"]["median"] == 200.0 and stages["tts_first_audio"]["median"] == 100.0
    assert stages["asr_final"]["median"] == 50.0 and stages["response"]["count"] == 1
    assert report["cpu_seconds"] >= 0.0


def test_what_was_taken_back_was_not_spoken(call, until):
    async def during(session, transport):
        await until(session, 4.0)
        session.interrupt()

    done = call([(1.0, 1.0)], ["tell me a story"], hang_up=8.0, during=during).go()
    heard_s = done.transport.played_s
    assert done.session.meter.report()["audio_seconds"]["agent"] == round(heard_s, 3)
    assert done.session.meter.wasted_output_chars > 0
