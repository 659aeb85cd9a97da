"""Offers: a contract with a table for each write disposition, nested and unknown fields in it, and records of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["ADDED", "FIRST", "HEAD", "SECOND", "contract", "doors", "put"]

TABLES = ("append", "merge", "replace")
HEAD = "apiVersion: v3.1.0\nkind: DataContract\nid: offers\nversion: 1.0.0\nschema:\n"
TABLE = """
  - name: offers_{disposition}
    customProperties:
      - {{property: dataset, value: offers}}
      - {{property: writeDisposition, value: {disposition}}}
      - {{property: unknownFields, value: keep}}
    properties:
      - {{name: offer_id, logicalType: string, primaryKey: true}}
      - {{name: price, logicalType: number}}
      - {{name: tags, logicalType: array, items: {{logicalType: string}}}}
      - {{name: seller, logicalType: object, properties: [{{name: city, logicalType: string}}]}}
"""
ADDED = "      - {name: origin, logicalType: string, required: true}\n"

FIRST: list[dict[str, Any]] = [
    {"offer_id": "1", "price": 1.5, "tags": ["a"], "seller": {"city": "Ulm"}},
    {"offer_id": "2", "price": 2, "tags": ["a", "b"], "seller": {"city": "Bonn"}, "other": {"x": [1, 2.50]}},
    {"offer_id": "3", "price": None, "tags": [], "seller": None},
]
SECOND: list[dict[str, Any]] = [
    {**FIRST[1], "origin": "b"},
    {**FIRST[2], "tags": ["c"], "origin": "b"},
    {"offer_id": "4", "price": 4, "origin": "b"},
]


def contract(added: str = "") -> str:
    """The contract; `added` is a line of each table's properties."""
    return HEAD + "".join(TABLE.format(disposition=disposition) + added for disposition in TABLES)


def put(folder: Path, records: list[dict[str, Any]]) -> Path:
    """The same records for each of the tables."""
    folder.mkdir()
    for disposition in TABLES:
        (folder / f"offers_{disposition}.json").write_text("\n".join(map(json.dumps, records)))
    return folder


def doors(summary: dict[str, Any], disposition: str) -> tuple[int, ...]:
    """What a summary says of the table: read, written, duplicate, dead letter."""
    table = summary["tables"][f"offers_{disposition}"]
    return tuple(table[door] for door in ("read", "written", "duplicate", "dead_letter"))
