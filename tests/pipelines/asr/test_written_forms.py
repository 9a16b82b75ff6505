"""A decoder's bare words get the spelling of the pack's sentence that they are."""

from duologue_pipelines.asr.sphinx_language import written_forms


def test_a_sentence_of_the_pack_is_written_as_the_pack_writes_it() -> None:
    forms = written_forms(("When does the museum open?", "I'd like two, please."))
    assert forms[("when", "does", "the", "museum", "open")] == ("When", "does", "the", "museum", "open?")
    assert forms[("i'd", "like", "two", "please")] == ("I'd", "like", "two,", "please.")


def test_a_sentence_that_is_said_in_more_words_than_it_is_written_has_no_such_form() -> None:
    assert written_forms(("It opens at 9:30.", "In 1995 it rained.")) == {}


def test_the_first_spelling_of_a_sentence_stands() -> None:
    assert written_forms(("Really?", "Really!"))[("really",)] == ("Really?",)
