import numpy as np
from numpy.testing import assert_array_equal

from duologue.loudspeaker import Loudspeaker


def tone(samples: int, value: int) -> bytes:
    return np.full(samples, value, dtype="<i2").tobytes()


def test_frames_are_heard_one_after_the_other_and_no_earlier_than_sent() -> None:
    ear = Loudspeaker()
    ear.send(tone(320, 1), 100)
    ear.send(tone(320, 2), 100)
    ear.send(tone(320, 3), 900)
    assert ear.unplayed(900) == 320 and ear.unplayed(1220) == 0 == ear.unplayed(5000)
    assert [(at, len(pcm)) for at, pcm in ear.pieces(910)] == [(100, 640), (420, 640), (900, 20)]
    assert ear.played(910) == 650 and ear.played(2000) == 960
    heard = ear.channel(2000)
    assert len(heard) == 1220
    assert [int(heard[at]) for at in (99, 100, 419, 420, 739, 740, 899, 900, 1219)] == [0, 1, 1, 2, 2, 0, 0, 3, 3]


def test_what_is_taken_back_is_what_was_not_heard_to_the_sample() -> None:
    ear = Loudspeaker()
    for value in (1, 2, 3):
        ear.send(tone(320, value), 0)
    assert ear.take_back(400) == tone(240, 2) + tone(320, 3)
    assert (ear.unplayed(400), ear.played(400), ear.take_back(400)) == (0, 400, b"")
    ear.send(tone(320, 4), 500)
    assert_array_equal(np.flatnonzero(np.diff(ear.channel(900))) + 1, [320, 400, 500])


def test_a_window_shows_what_was_heard_between_two_samples() -> None:
    ear = Loudspeaker(record=False)
    for index in range(40):
        ear.send(tone(320, index + 1), index * 320)
    assert set(ear.window(39 * 320, 40 * 320).tolist()) == {40}
    window = ear.window(38 * 320 + 160, 39 * 320 + 160)
    assert_array_equal(window, [39] * 160 + [40] * 160)
    ear.send(tone(320, 99), 41 * 320)
    assert_array_equal(ear.window(41 * 320 - 2, 41 * 320 + 2), [0, 0, 99, 99])
    assert_array_equal(ear.window(41 * 320 - 2, 41 * 320), [0, 0])
    assert len(list(ear.pieces(50 * 320))) == 8


def test_nothing_sent_is_silence() -> None:
    ear = Loudspeaker()
    assert len(ear.channel(1000)) == 0
    assert_array_equal(ear.window(10, 13), [0, 0, 0])
