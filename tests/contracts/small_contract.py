"""A small contract that is understood; a test changes one thing in it."""

from __future__ import annotations

from typing import Any

import yaml

from contracts.odcs.tables import load
from contracts.table import Table

__all__ = ["contract", "load_one", "property_of"]


def contract() -> dict[str, Any]:
    """A fresh copy."""
    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": "shop-1",
        "version": "1.0.0",
        "schema": [
            {
                "name": "sales",
                "properties": [
                    {"name": "sale_id", "logicalType": "string", "primaryKey": True},
                    {"name": "n", "logicalType": "integer"},
                    {"name": "current_stock", "logicalType": "integer"},
                    {"name": "amount", "logicalType": "number"},
                    {"name": "at", "logicalType": "timestamp"},
                    {"name": "day", "logicalType": "date"},
                    {"name": "open", "logicalType": "boolean"},
                    {"name": "total", "logicalType": "number", "transformLogic": "n * amount"},
                    {
                        "name": "lines",
                        "logicalType": "array",
                        "items": {"logicalType": "object", "properties": [{"name": "sku", "logicalType": "string"}]},
                    },
                    {"name": "who", "logicalType": "object", "properties": [{"name": "city", "logicalType": "string"}]},
                    {"name": "tags", "logicalType": "array", "items": {"logicalType": "string"}},
                ],
            }
        ],
    }


def property_of(document: dict[str, Any], path: str) -> dict[str, Any]:
    """The property at a path of names, "lines.items.sku"; "" is the table."""
    node: dict[str, Any] = document["schema"][0]
    for step in path.split(".") if path else ():
        node = node["items"] if step == "items" else next(m for m in node["properties"] if m["name"] == step)
    return node


def load_one(document: dict[str, Any]) -> Table:
    """The table of a document, by way of YAML text."""
    (table,) = load([("shop.odcs.yaml", yaml.safe_dump(document, sort_keys=False))]).values()
    return table
