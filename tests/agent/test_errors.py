"""What the person who meets an error reads."""

from duologue.errors import DuologueError, PackError, StageUnavailable


def test_an_error_ends_with_the_next_step():
    assert str(DuologueError("the cable is loose", hint="Plug it in")) == "the cable is loose. Plug it in"
    assert str(DuologueError("the cable is loose")) == "the cable is loose"
    assert str(StageUnavailable("tts", "no voice", hint="Pull one")) == "tts: no voice. Pull one"
    assert str(PackError("pack.toml", 3, "no name", hint="Give it one")) == "pack.toml:3: no name. Give it one"
    assert str(PackError("pack.toml", 0, "no name")) == "pack.toml: no name"


def test_a_message_that_ends_like_a_sentence_gets_no_second_stop():
    assert str(DuologueError("it said: Go away!", hint="Try again")) == "it said: Go away! Try again"
    assert str(DuologueError("The model crashed.", hint="Try again")) == "The model crashed. Try again"
