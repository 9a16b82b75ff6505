"""The caller's audio on the session's time axis, and what becomes of it when a detector or recogniser fails."""

import itertools

import pytest

from duologue.audio import SILENCE
from duologue.core import actions as act
from duologue.core import events as ev
from duologue.errors import ConfigurationError, StageError, TransportError
from duologue.ports.asr import Hypothesis
from duologue.ports.vad import Onset
from duologue.runtime.session_setup import Note
from duologue.runtime.speech_input import BEHIND_S_MAX, DRIFT_WINDOW_FRAMES, VAD_SOUND_FRAMES, AudioClock
from duologue.testing.scripted_asr import ScriptedAsr
from duologue.testing.scripted_llm import ScriptedReply
from duologue.testing.scripted_vad import ScriptedVad
from duologue.testing.virtual_time import pass_time

# --- the clock --------------------------------------------------------------------------------------------------------


def stamps(arrivals):
    clock = AudioClock()
    return [clock.stamp(now) for now in arrivals]


def test_frames_are_stamped_by_their_count_however_they_jitter():
    jitter = [0.0, 0.015, -0.01, 0.03]
    stamped = stamps([1.0 + 0.02 * i + jitter[i % 4] for i in range(400)])
    assert stamped[0] == (0.98, 0.0)
    assert [at for at, _ in stamped] == pytest.approx([0.98 + 0.02 * i for i in range(400)])
    assert all(moved == 0.0 for _, moved in stamped)


def test_frames_that_never_came_move_the_axis_once_that_is_certain():
    late_s = BEHIND_S_MAX + 0.05
    arrivals = [0.02 * i for i in range(150)] + [0.02 * i + late_s for i in range(150, 500)]
    stamped = stamps(arrivals)
    moves = [(i, moved) for i, (_, moved) in enumerate(stamped) if moved]
    assert moves == [(3 * DRIFT_WINDOW_FRAMES - 1, pytest.approx(late_s))]
    assert stamped[-1][0] == pytest.approx(arrivals[-1] - 0.02)


def test_a_short_stall_that_is_caught_up_moves_nothing():
    arrivals = [0.02 * i for i in range(100)] + [2.5] * 25 + [2.5 + 0.02 * i for i in range(200)]
    assert all(moved == 0.0 for _, moved in stamps(arrivals))


def test_audio_can_t_run_ahead_of_the_clock():
    stamped = stamps([0.0] * 10)
    assert stamped[5] == (pytest.approx(0.08), 0.0)
    assert stamped[6][1] == pytest.approx(-0.12) and stamped[6][0] == pytest.approx(-0.02)


def test_moving_the_axis_is_noted(call):
    late = call(hang_up=9.0, transport_options={"late": dict.fromkeys(range(60, 500), 0.4)}).go()
    assert [note.text for note in late.all(Note) if note.source == "audio"] == [
        "the caller's audio was moved on the session's time axis by +0.400 s"
    ]


def test_a_piece_of_another_length_is_refused_with_what_was_expected(call, until):
    async def during(session, transport):
        with pytest.raises(TransportError, match=r"has 100 bytes, expected 640\. Deliver 20 ms of mono 16 kHz int16"):
            session.audio(bytes(100))

    call(hang_up=0.5, during=during).go()


def test_audio_after_the_end_is_nobody_s(call):
    done = call([(0.5, 0.5)], ["hello"], hang_up=0.3).go()
    before = done.session.meter.user_audio_s
    done.session.audio(SILENCE)
    assert done.session.meter.user_audio_s == before


# --- the detector -----------------------------------------------------------------------------------------------------


def test_a_detector_that_fails_in_mid_word_costs_no_word(call):
    vad = ScriptedVad(faults=(70,))
    done = call([(1.0, 1.0)], ["what time is it"], [ScriptedReply("Five.")], vad=vad, hang_up=6.0).go()
    assert done.session.error is None
    assert done.said() == [("user", "what time is it"), ("agent", "Five.")]
    voice = [type(event) for event in done.events if isinstance(event, ev.SpeechStarted | ev.SpeechStopped)]
    assert voice == [ev.SpeechStarted, ev.SpeechStopped] * 2
    assert [note.text for note in done.all(Note) if note.source == "vad"] == [
        "opened anew after: vad: scripted fault at frame 70"
    ]


def test_failures_far_apart_do_not_end_the_session(call):
    apart = VAD_SOUND_FRAMES + 10
    done = call(vad=ScriptedVad(faults=(10, 10 + apart, 10 + 2 * apart, 10 + 3 * apart)), hang_up=40.0).go()
    assert done.session.error is None


class CrashingVad(ScriptedVad):
    """Its streams raise what no port speaks of on their 100th frame, and tell each onset twice."""

    def open(self):
        heard_by, frames = super().open(), itertools.count(1)

        class Stream:
            onset = None

            def push_frame(self, frame):
                if next(frames) == 100:
                    raise ZeroDivisionError("float division by zero")
                again, self.onset = self.onset, None
                heard = heard_by.push_frame(frame)
                self.onset = heard if isinstance(heard, Onset) else None
                return heard or again

        return Stream()


def test_a_stranger_s_detector_may_raise_anything_and_repeat_itself(call):
    done = call([(1.0, 1.0)], ["hello"], [ScriptedReply("Hi.")], vad=CrashingVad(), hang_up=5.0).go()
    assert done.session.error is None and done.said() == [("user", "hello"), ("agent", "Hi.")]
    texts = [note.text for note in done.all(Note) if note.source == "vad"]
    assert texts[0].startswith("opened anew after: vad: ZeroDivisionError: float division by zero")
    assert len(texts) == 2
    assert len(done.all(ev.SpeechStarted)) == len(done.all(ev.SpeechStopped)) == 1


# --- the recogniser ---------------------------------------------------------------------------------------------------


class OddAsr(ScriptedAsr):
    """Fails in a way of its own. `how`: what its `open` or its stream raises; None for a stream that says nothing."""

    def __init__(self, how, *, at_open=False):
        super().__init__()
        self.how, self.at_open = how, at_open

    def open(self, context):
        if self.at_open:
            raise self.how
        return OddStream(self.how)


class OddStream:
    def __init__(self, how):
        self.how = how

    def push_frame(self, frame):
        pass

    def finalise(self, mark):
        pass

    async def __aiter__(self):
        if self.how:
            raise self.how
        for hypothesis in ():
            yield hypothesis

    async def aclose(self):
        pass


@pytest.mark.parametrize(
    "asr",
    [
        OddAsr(KeyError("tokens")),
        OddAsr(ConfigurationError("no such language"), at_open=True),
        OddAsr(StageError("asr", "gone", retryable=True)),
    ],
)
def test_a_recogniser_that_breaks_costs_the_turn_and_not_the_session(call, asr):
    made = call([(1.0, 1.0)], hang_up=6.0)
    made.asr = asr
    done = made.go()
    assert done.session.error is None
    assert len(done.all(ev.RecognitionFailed)) == 1
    assert done.one(act.TurnDismissed).reason == "not recognised"
    assert done.audible(2.0, 5.0)


def test_a_recogniser_that_falls_silent_is_waited_for_no_longer_than_allowed(call):
    made = call([(1.0, 1.0)], hang_up=8.0)
    made.asr = OddAsr(None)
    done = made.go()
    assert done.session.error is None and done.one(act.TurnDismissed).reason == "noise"


def test_what_a_recogniser_has_to_say_is_noted(call):
    class NotingStream(OddStream):
        async def __aiter__(self):
            yield Hypothesis("hello", note="fell back to the long window")
            yield Hypothesis("hello", final=True, mark=7)  # nobody asked for that one

    class NotingAsr(ScriptedAsr):
        def open(self, context):
            return NotingStream(None)

    made = call([(1.0, 1.0)], hang_up=3.0)
    made.asr = NotingAsr()
    done = made.go()
    assert [note.text for note in done.all(Note) if note.source == "asr"] == ["fell back to the long window"]
    assert "asr_final" not in done.session.meter.stages


def test_turns_share_what_the_recogniser_keeps_until_the_session_ends(call):
    kept = []

    async def during(session, transport):
        await pass_time(9.0)
        kept.append(dict(done.asr.connections))

    done = call([(1.0, 0.8), (5.0, 0.8)], ["hello", "again"], [ScriptedReply("Hi.")], hang_up=10.0, during=during)
    done.go()
    assert kept == [{done.session.id: 2}] and done.asr.connections == {}


def test_one_that_can_t_take_the_end_is_noted(call):
    class Clinging(ScriptedAsr):
        def end_session(self, session):
            raise OSError("still in use")

    made = call(hang_up=1.0)
    made.asr = Clinging()
    done = made.go()
    assert done.session.error is None
    notes = [what for _, kind, what in done.session.trace.entries if kind == "note"]
    noted = [note["text"] for note in notes if note["source"] == "asr"]
    assert len(noted) == 1 and noted[0].startswith("at the end of the session: asr: OSError: still in use")
