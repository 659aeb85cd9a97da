"""The partitions of a table: the custom property `partition`."""

from __future__ import annotations

from dataclasses import replace

from contracts.odcs.document import Place, check_keys
from contracts.table import Kind, PartitionBy, Table

__all__ = ["with_partition"]

KEYS = ("by", "expirationDays", "requireFilter")
MAX_DAYS = 100_000


def with_partition(place: Place, value: object, table: Table) -> Table:
    """Return the table with the span, the expiration and the filter of its partitions. Raises UsageError."""
    construct = "customProperties partition"
    if not isinstance(value, dict):
        raise place.error(construct, f"must be a mapping of {', '.join(KEYS)}, not {value!r}")
    check_keys(place, value, KEYS, KEYS, construct)
    if table.partition is None:
        raise place.error(construct, "needs a column that is partitioned: true")
    spans = [span.value for span in PartitionBy]
    by = value.get("by", PartitionBy.DAY.value)
    if by not in spans:
        raise place.error(f"{construct}.by", f"must be one of {', '.join(spans)}, not {by!r}")
    if by == PartitionBy.HOUR.value and table.column(table.partition).kind is Kind.DATE:
        raise place.error(f"{construct}.by", f"is hour, but column {table.partition} is a DATE")
    days = value.get("expirationDays")
    if days is not None and (type(days) is not int or not 0 < days <= MAX_DAYS):
        raise place.error(f"{construct}.expirationDays", f"must be a number of days, not {days!r}")
    required = value.get("requireFilter", False)
    if not isinstance(required, bool):
        raise place.error(f"{construct}.requireFilter", f"must be true or false, not {required!r}")
    return replace(
        table, partition_by=PartitionBy(by), partition_expiration_days=days, require_partition_filter=required
    )
