"""A table with a column of every kind."""

from __future__ import annotations

from decimal import Decimal

from contracts.table import Column, Kind, Table, UnknownFields

__all__ = ["ORDERS"]

ORDERS = Table(
    name="orders",
    columns=(
        Column("order_id", Kind.STRING, required=True, description="Identifies the order"),
        Column("ordered_on", Kind.DATE),
        Column("ordered_at", Kind.TIMESTAMP),
        Column("amount", Kind.NUMERIC, minimum=Decimal(0)),
        Column("weight", Kind.FLOAT),
        Column("units", Kind.INTEGER),
        Column("paid", Kind.BOOLEAN),
        Column("tags", Kind.STRING, repeated=True),
        Column(
            "lines",
            Kind.RECORD,
            required=True,
            repeated=True,
            fields=(Column("sku", Kind.STRING, required=True), Column("prices", Kind.NUMERIC, repeated=True)),
        ),
        Column("address", Kind.RECORD, fields=(Column("city", Kind.STRING, description="City | town"),)),
        Column("total", Kind.NUMERIC, derived="amount *\n units"),
    ),
    primary_key=("order_id",),
    partition="ordered_on",
    clustering=("order_id", "paid"),
    unknown_fields=UnknownFields.KEEP,
    description="Orders, with their lines",
)
