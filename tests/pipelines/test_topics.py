"""Which tables a stream writes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contracts.errors import UsageError
from contracts.table import Column, Kind, Table, WriteDisposition
from pipelines.stream.preflight import topics_of

TABLE = Table("stock", (Column("id", Kind.INTEGER, required=True),), ("id",))


def test_append_and_merge() -> None:
    for disposition in (WriteDisposition.APPEND, WriteDisposition.MERGE):
        assert topics_of(["t=stock"], {"stock": replace(TABLE, disposition=disposition)}) == {"t": "stock"}


def test_replace_is_refused() -> None:
    table = replace(TABLE, disposition=WriteDisposition.REPLACE)
    with pytest.raises(UsageError, match="a stream appends or merges, and stock's contract says replace"):
        topics_of(["t=stock"], {"stock": table})


def test_a_contract_with_the_name_of_the_changes_is_refused() -> None:
    tables = {"stock": replace(TABLE, disposition=WriteDisposition.MERGE), "stock_changes": replace(TABLE, name="s")}
    with pytest.raises(UsageError, match="stock's changes need the name stock_changes"):
        topics_of(["t=stock"], tables)
