"""The parser of every command's arguments. It does not import Beam, which many commands do without."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Iterable

from contracts.errors import UsageError

__all__ = ["PipelineArguments", "did_you_mean"]


class PipelineArguments(argparse.ArgumentParser):
    """A parser that raises UsageError, with what was probably meant by a mistyped option or word."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise UsageError(message + self._meant(message))

    def _meant(self, message: str) -> str:
        options = [option for action in self._actions for option in action.option_strings]
        if match := re.match(r"unrecognized arguments: (--[^\s=]+)", message):
            return did_you_mean(match[1], options)
        if match := re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message):
            return did_you_mean(match[1], re.findall(r"[\w-]+", match[2]))
        return ""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean …?` for the known name that is most like `name`, '' if none is."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""
