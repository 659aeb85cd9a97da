"""What a repair says if BigQuery refuses its statement."""

from __future__ import annotations

from typing import Any, cast

import pytest

from connectors.bigquery.warehouse import JobFailed
from contracts.errors import Unavailable
from operations.reconcile.repair import _execute

BUFFERED = "job x-1: UPDATE or DELETE statement over table d.t would affect rows in the streaming buffer"


class Refusing:
    """A warehouse, and the scope of it, that refuses every statement."""

    def __init__(self, message: str) -> None:
        self.warehouse, self._message = self, message

    def execute(self, sql: str, job: str) -> None:
        raise JobFailed(self._message)


def test_rows_that_a_stream_has_just_written_are_for_later() -> None:
    with pytest.raises(Unavailable, match="changes no row that a stream has written in the last minutes; repeat"):
        _execute(cast(Any, Refusing(BUFFERED)), "MERGE", "job")


def test_another_refusal_is_raised_as_it_is() -> None:
    with pytest.raises(JobFailed, match="quota"):
        _execute(cast(Any, Refusing("quota")), "MERGE", "job")
