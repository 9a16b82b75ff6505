"""What somebody probably meant."""

import pytest

from duologue.nearest import did_you_mean, nearest


@pytest.mark.parametrize(
    ("word", "found"), [("patince", "patience"), ("PATIENCE", "patience"), ("colour", None), ("", None)]
)
def test_the_nearest_name_is_near_or_none(word: str, found: str | None) -> None:
    assert nearest(word, ["patience", "merge_s"]) == found


def test_where_nothing_is_near_the_names_are_listed() -> None:
    assert did_you_mean("x", ["b", "a", "a"]) == "There are: a, b"
    assert did_you_mean("x", [f"name{i}" for i in range(20)]).startswith("There are, among others: name0, name1,")
    assert did_you_mean("nam1", ["name1"]) == "Did you mean 'name1'?"
    assert did_you_mean("x", []) == ""
