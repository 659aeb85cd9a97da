"""A patch of another library: what it replaces, and the release that it was written for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

__all__ = ["Patch", "Release"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Release:
    """A minor release of a library, such as kafka-python 3.0, with all of its patch releases."""

    library: str
    """The name of the distribution, as pip knows it."""
    number: str

    @property
    def is_installed(self) -> bool:
        """Whether the installed version belongs to this release."""
        return f"{version(self.library)}.".startswith(f"{self.number}.")

    def check(self, patch: str) -> bool:
        """Return whether to apply the patch called `patch`; log a warning if another release is installed."""
        if not self.is_installed:
            installed = version(self.library)
            logger.warning("%s %s: not patched, %s is for %s", self.library, installed, patch, self.number)
        return self.is_installed


@dataclass(frozen=True, slots=True)
class Patch:
    """Replaces the method `name` of the class `owner` for the rest of the process.

    `replacement` is a function that takes `self`, or a staticmethod that replaces a static or class method.
    """

    release: Release
    owner: type
    name: str
    replacement: Callable[..., Any] | staticmethod[..., Any]
    original: Any
    """The attribute of `owner` before the patch, for tests of what upstream does without it."""

    @classmethod
    def of(
        cls, release: Release, owner: type, name: str, replacement: Callable[..., Any] | staticmethod[..., Any]
    ) -> Patch:
        """A patch that is not applied yet."""
        return cls(release, owner, name, replacement, vars(owner)[name])

    def apply(self) -> None:
        """Replace the method. Applying twice does no harm; another release of the library stays as it is."""
        if self.release.check(f"{self.owner.__name__}.{self.name}"):
            setattr(self.owner, self.name, self.replacement)
