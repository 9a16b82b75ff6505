"""The line of every key, however it is written."""

import os
from pathlib import Path

import pytest

from duologue.toml_source import (
    BYTES_MAX,
    NotUtf8Error,
    TomlError,
    UnfitFileError,
    decode_text,
    parse_toml,
    read_bytes,
)

TEXT = '''\
title = "x" # not = a key
"quoted.key" = 1
a.b.c = 2
text = """
fake = 1
[not.a.table]
"""
raw = \'\'\'one = "two" \'\'\'
after = [
  "# no comment", # but this = is
  { inline = [1, 2] },
]
tail = { x = 1, y = "]" }

[table."with dot".deep]
key = 1

[[items]]
name = "first"
[items.more]
size = 1

  [[items]]
  name = "second"
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 1),
        (("quoted.key",), 2),
        (("a", "b", "c"), 3),
        (("a", "b"), 3),
        (("text",), 4),
        (("raw",), 8),
        (("after",), 9),
        (("after", 1, "inline"), 9),
        (("tail", "y"), 13),
        (("table", "with dot", "deep"), 15),
        (("table", "with dot", "deep", "key"), 16),
        (("table", "with dot", "deep", "missing"), 15),
        (("items", 0), 18),
        (("items", 0, "name"), 19),
        (("items", 0, "more", "size"), 21),
        (("items", 1, "name"), 24),
        (("fake",), 0),
        (("missing", "altogether"), 0),
        ((), 0),
    ],
)
def test_a_key_is_found_where_it_is_written(path: tuple[str | int, ...], line: int) -> None:
    assert parse_toml(TEXT).line_of(path) == line


@pytest.mark.parametrize(
    ("text", "line"), [("a = 1\nb =\n", 2), ("a = 1\nb = [\n1,\n", 4), ("a = 1\na = 2\n", 2), ("[a]\n[a]\n", 2)]
)
def test_broken_toml_names_its_line(text: str, line: int) -> None:
    with pytest.raises(TomlError) as caught:
        parse_toml(text)
    assert caught.value.line == line
    assert "line" not in str(caught.value)


def test_text_comes_without_mark_and_carriage_returns() -> None:
    assert decode_text(b"\xef\xbb\xbfa\r\nb\rc\n") == "a\nb\nc\n"
    with pytest.raises(NotUtf8Error, match="byte 0xe9") as caught:
        decode_text(b"a\nb\nc\xe9\n")
    assert caught.value.line == 3


def test_brackets_within_brackets_are_broken_toml() -> None:
    with pytest.raises(TomlError, match="brackets within brackets") as caught:
        parse_toml("a = 1\nb = " + "[" * 5000 + "]" * 5000 + "\n")
    assert caught.value.line == 2


def test_only_a_regular_file_of_bounded_size_is_read(tmp_path: Path) -> None:
    (tmp_path / "fine").write_bytes(b"x" * BYTES_MAX)
    assert len(read_bytes(tmp_path / "fine")) == BYTES_MAX
    (tmp_path / "huge").write_bytes(b"x" * (BYTES_MAX + 1))
    with pytest.raises(UnfitFileError, match="is larger than 5 MB"):
        read_bytes(tmp_path / "huge")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnfitFileError, match="is not a regular file"):
        read_bytes(tmp_path / "pipe")
    with pytest.raises(IsADirectoryError):
        read_bytes(tmp_path)
