"""Beam's half of a command line, as a value."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

__all__ = ["BeamArguments"]


@dataclass(frozen=True)
class BeamArguments:
    """The arguments that Beam's PipelineOptions are made of.

    Beam and its runners change the options object that they get, so `options` creates a new one for each use.
    """

    argv: tuple[str, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Values by option, without dashes, which replace those in `argv`."""

    def changed(self, **changes: Any) -> BeamArguments:
        """Return the arguments with these values instead of the present ones."""
        return replace(self, changes={**self.changes, **changes})

    def options(self) -> PipelineOptions:
        """Return new options for Beam."""
        return PipelineOptions(list(self.argv), **copy.deepcopy(dict(self.changes)))

    @property
    def runner(self) -> str | None:
        """The runner's name, None if none is named."""
        runner = self.options().view_as(StandardOptions).runner
        return None if runner is None else str(runner)
