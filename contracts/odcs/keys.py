"""The columns of a table that identify its rows, and the one that partitions it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contracts.odcs.document import Place
from contracts.table import Column, Kind

__all__ = ["kind_name", "partition", "primary_key"]


def primary_key(place: Place, members: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the properties that make the primary key, in order; they are required, as in SQL, stated or not.

    If no property is a primaryKey, the only one that is required and unique is the key; otherwise there is none.
    """
    positions: dict[str, int] = {}
    for member in members:
        name, position = str(member["name"]), member.get("primaryKeyPosition")
        if member.get("primaryKey"):
            positions[name] = -1 if position is None else position
        elif position not in (None, -1):
            raise place.inside(name).error("primaryKeyPosition", "is given without primaryKey: true")
    unique = [str(member["name"]) for member in members if member.get("unique")]
    if not positions:
        candidates = [str(member["name"]) for member in members if member.get("unique") and member.get("required")]
        positions = {candidates[0]: 1} if len(candidates) == 1 else {}
    for name in unique:
        if list(positions) != [name]:
            place.inside(name).note("unique", "is not checked by a run: only the primary key is")
    ordered = sorted(positions, key=lambda name: positions[name])
    stated = [positions[name] for name in ordered]
    if stated != [-1] * len(stated) and stated != list(range(1, len(stated) + 1)):
        raise place.error("primaryKeyPosition", f"must count from 1 to {len(stated)}, not {stated}")
    return ordered


def partition(place: Place, members: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> str | None:
    """The name of the column that is partitioned, None if there is none."""
    partition_key: str | None = None
    for member, column in zip(members, columns, strict=True):
        at = place.inside(str(member["name"]))
        if not member.get("partitioned"):
            if member.get("partitionKeyPosition") not in (None, -1):
                raise at.error("partitionKeyPosition", "is given without partitioned: true")
            continue
        if partition_key is not None or member.get("partitionKeyPosition") not in (None, -1, 1):
            raise at.error("partitioned", "is supported for one column of a table")
        if column.kind not in (Kind.DATE, Kind.DATETIME, Kind.TIMESTAMP) or column.repeated:
            raise at.error("partitioned", f"needs a date or timestamp column, not {kind_name(column)}")
        partition_key = column.name
    return partition_key


def kind_name(column: Column) -> str:
    """The type of a column, for messages."""
    return f"an array of {column.kind.value}" if column.repeated else column.kind.value
