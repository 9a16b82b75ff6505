"""Words find their phonemes in a sentence that fused them."""

from duologue_pipelines.tts.piper_words import word_spans


def spans(sentence: str, *words: str) -> list[str]:
    return [sentence[start:end] for start, end in word_spans(list(sentence), [list(word) for word in words])]


def test_words_that_stand_alone_are_found_whole() -> None:
    assert spans("ɪts ɡɔn həʊm.", "ɪts", "ɡˈɔn", "hˈəʊm") == ["ɪts", "ɡɔn", "həʊm"]


def test_fused_words_are_parted_in_proportion() -> None:
    assert spans("ˌaʊɾəv ðə blˈuː, ɪnðə", "ˈaʊt", "ʌv", "ðə", "blˈuː", "ˈɪn", "ðə") == [
        "aʊɾ", "əv", "ðə", "blˈuː", "ɪn", "ðə",
    ]  # fmt: skip


def test_a_swallowed_word_gets_an_empty_span_in_order() -> None:
    found = word_spans(list("ab"), [list("ab"), [], list("xy")])
    assert found == [(0, 2), (2, 2), (2, 2)]
    assert word_spans([], [list("ab")]) == [(0, 0)]
    assert word_spans(list(",."), [list("ab")]) == [(0, 0)]
