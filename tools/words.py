"""Words that this project does not use, and what to write instead: `make lint-words`, python -m tools.words.

The check reads every text file that git knows and prints `file:line: word -> better`. Exit code 1 if it finds one.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

__all__ = ["EXCEPTIONS", "WORDS", "Allowed", "Word", "check", "occurrences", "texts"]

ROOT = Path(__file__).resolve().parents[1]
SUFFIXES = (".md", ".py", ".sh", ".toml", ".yaml", ".yml", "Dockerfile", "Makefile")


@dataclass(frozen=True, slots=True)
class Word:
    """A word or phrase that is not used here."""

    pattern: str
    """A regular expression. A blank matches any white space, so a phrase is found across a line break too.
    Case counts only in a pattern with a capital letter."""
    better: str
    """What to write instead."""

    @property
    def expression(self) -> re.Pattern[str]:
        """The compiled pattern, held to whole words."""
        flags = 0 if re.search(r"(?<!\\)[A-Z]", self.pattern) else re.IGNORECASE
        blank = r"\\s+(?:#+\\s*)?"  # The next line of a comment begins with a #.
        return re.compile(rf"(?<!\w)(?:{re.sub(' ', blank, self.pattern)})(?!\w)", flags)


@dataclass(frozen=True, slots=True)
class Allowed:
    """A place where a word may stay."""

    pattern: str
    """The pattern of the word, or * for all words."""
    path: str
    """A glob of paths, relative to the root."""
    reason: str


WORDS = (
    Word("data sets?", "dataset, datasets"),
    Word("Misuse", "UsageError, Conflict or Unavailable"),
    Word("Patience|NoAnswer", "RetryPolicy, DeadlineExceeded"),
    Word("LetterFile|LetterKeys|AppendLetters", "DeadLetterFile, DeadLetterKeys, AppendDeadLetters"),
    Word("outliving", "detached"),
    Word("made_anew", "recreated"),
    Word("Lane", "BucketWriter"),
    Word("COMPRESSED_GROWTH", "ASSUMED_EXPANSION"),
    Word("Fate", "Outcome"),
    Word("(?:append|the|its|their|of|refused|these|those) letters(?!, digits)", "dead letters, in full"),
    Word("(?:is|was) none there|is none of its business", "does not exist"),
    Word("signs? of life", "heartbeat"),
    Word("patience|patient", "retry policy, retries"),
    Word("makes? an end of|made an end of", "finalize, end"),
    Word("absent", "missing, or does not exist"),
    Word("mend(?:s|ed|ing)?", "fix, patch"),
    Word("(?:made|makes?|making) anew|anew", "recreate, again, from scratch"),
    Word("judge[sd]?|judging", "validate, decide, measure"),
    Word("(?:an?|the|each|its|one|every) lanes?|Lanes", "bucket writer, or stream table"),
    Word("(?:is|are|was|were|be) taken for", "is treated as"),
    Word("nothing speaks against(?: it)?", "no problem found"),
    Word("ledger (?:does|did) not hold|ledger that does not hold", "the ledger does not balance"),
    Word("stands? twice", "is duplicated"),
    Word("(?:is|are|was|were|be|been) told(?! apart)(?: of)?", "gets, is notified of, updates"),
    Word("in place of", "instead of"),
    Word("beside", "next to, besides, together with"),
    Word("so many", "that many, N, or name the number"),
    Word("whoever", "anyone who, the caller"),
    Word("for ever", "forever"),
    Word("as it was(?! (?:listed|read|staged))", "unchanged"),
    Word("(?:is|are|was|were|be) looked at", "is checked, is inspected"),
    Word("(?:an?|its|their|our) [a-z]+ of (?:its|their|our) own", "its own …, a separate …"),
    Word("(?:it|he|that|which|record|run) goes? by", "follows, uses, takes"),
    Word("(?:go|goes|gone|going|went) on with", "continue"),
    Word("(?:is|are|was|were|be) held against", "is compared with"),
    Word("where (?:none|nothing|there) (?:is|are|was|were|has)|none where", "if …, when …"),
    Word("one that (?:is|was) (?:no|there|not there)", "a missing one, an existing one"),
    Word("what holds", "what applies"),
    Word("fmt: skip", "a shorter expression: the formatter decides"),
)
"""Words that `make lint-words` refuses."""

EXCEPTIONS = (
    Allowed("*", "tools/words.py", "The list itself."),
    Allowed("*", "tests/test_words.py", "The tests of the list."),
    Allowed("*", "CHANGELOG.md", "What was released is history."),
    Allowed("*", "docs/decisions/*.md", "A decision keeps the words of its day."),
    Allowed("*", "docs/reference/licences.md", "Names of packages and of their licences."),
)
"""Narrow on purpose: an exception needs a reason."""


def occurrences(text: str, words: Iterable[Word]) -> Iterator[tuple[int, str, Word]]:
    """Line number (from 1), matched text and Word of each occurrence, in the order of `words`."""
    for word in words:
        for match in word.expression.finditer(text):
            yield text.count("\n", 0, match.start()) + 1, " ".join(match[0].split()), word


def allowed(word: Word, path: str, exceptions: Iterable[Allowed] = EXCEPTIONS) -> bool:
    """Whether an exception lets the word stay in this file."""
    return any(each.pattern in ("*", word.pattern) and fnmatch(path, each.path) for each in exceptions)


def check(path: str, text: str, words: Iterable[Word]) -> list[str]:
    """The lines to print for one file, sorted by line number."""
    messages = [
        (line, f"{path}:{line}: {matched} -> {word.better}")
        for line, matched, word in occurrences(text, words)
        if not allowed(word, path)
    ]
    return [message for _, message in sorted(messages)]


def texts(root: Path = ROOT) -> Iterator[tuple[str, str]]:
    """Path (relative to `root`) and text of every file that git tracks or would add, generated ones excluded."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    for path in sorted({name for name in listed.split("\0") if name.endswith(SUFFIXES)}):
        if (root / path).is_file() and not path.endswith(".lock.toml"):
            yield path, (root / path).read_text()


def main() -> int:
    """Print each occurrence; return 1 if there is one, else 0."""
    messages = [message for path, text in texts() for message in check(path, text, WORDS)]
    for message in messages:
        print(message)
    return 1 if messages else 0


if __name__ == "__main__":
    sys.exit(main())
