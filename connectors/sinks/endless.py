"""A restriction without an end, for a step that a job calls at intervals as long as it runs."""

from __future__ import annotations

import sys

from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.transforms.core import RestrictionProvider

__all__ = ["Numbers"]


class Numbers(RestrictionProvider):
    """The numbers of the calls of a step, without an end."""

    def initial_restriction(self, _element: object) -> OffsetRange:
        return OffsetRange(0, sys.maxsize)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, _element: object, _restriction: OffsetRange) -> int:
        return 1
