"""The check of words: what it finds, what it leaves alone. `make lint` checks this checkout."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools.words import EXCEPTIONS, WORDS, Allowed, Word, allowed, check, occurrences, texts

DATASET = Word("data sets?", "dataset")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("one\ntwo Data sets\n", 2),
        ("a data\nset\n", 1),
        ("# of a data\n# set\n", 1),
        ("dataset, data_set, data settings, metadata set", None),
    ],
)
def test_a_phrase_is_found_as_whole_words_and_across_lines(text: str, line: int | None) -> None:
    assert [number for number, _, _ in occurrences(text, [DATASET])] == ([line] if line else [])


def test_case_counts_only_in_a_pattern_with_a_capital() -> None:
    misuse = Word("Misuse", "UsageError")
    assert list(occurrences("a misuse of it", [misuse])) == []
    assert list(occurrences("raise Misuse", [misuse])) == [(1, "Misuse", misuse)]


def test_a_message_names_file_line_word_and_what_to_write_instead() -> None:
    text = "fine\nthe data set\na data\nset\n"
    assert check("docs/x.md", text, [DATASET]) == [
        "docs/x.md:2: data set -> dataset",
        "docs/x.md:3: data set -> dataset",
    ]


def test_an_exception_holds_for_its_word_and_its_path_only() -> None:
    exceptions = [Allowed("data sets?", "docs/*.md", "a reason")]
    assert allowed(DATASET, "docs/x.md", exceptions)
    assert not allowed(DATASET, "x.md", exceptions)
    assert not allowed(Word("anew", "again"), "docs/x.md", exceptions)


def test_every_text_that_git_knows_is_read_and_no_other(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    for name in ("a.py", "b.md", "c.bin", "ignored.md", "d.lock.toml", "Makefile", "new.Dockerfile"):
        (tmp_path / name).write_text(name)
    (tmp_path / ".gitignore").write_text("ignored.md\n")
    subprocess.run(["git", "-C", str(tmp_path), "add", "a.py"], check=True)
    assert [path for path, _ in texts(tmp_path)] == ["Makefile", "a.py", "b.md", "new.Dockerfile"]


def test_no_word_is_listed_twice_and_each_exception_has_a_reason() -> None:
    patterns = [word.pattern for word in WORDS]
    assert len(patterns) == len(set(patterns))
    for exception in EXCEPTIONS:
        assert exception.reason
        assert exception.pattern == "*" or exception.pattern in patterns
