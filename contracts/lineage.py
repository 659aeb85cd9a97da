"""Lineage: the columns that the pipeline itself sets, in every table."""

from __future__ import annotations

from contracts.table import Column, Kind

__all__ = ["HASH", "INGESTED_AT", "LINEAGE", "POSITION", "RUN_ID", "SOURCE"]

SOURCE = "_source"
POSITION = "_position"
HASH = "_hash"
RUN_ID = "_run_id"
INGESTED_AT = "_ingested_at"

LINEAGE = (
    Column(SOURCE, Kind.STRING, required=True, description="URI of the file, or kafka://topic/partition"),
    Column(POSITION, Kind.INTEGER, required=True, description="Byte offset or row number in a file; Kafka offset"),
    Column(HASH, Kind.INTEGER, required=True, description="64 bits of the digest of the primary key"),
    Column(RUN_ID, Kind.STRING, required=True, description="The run that wrote the row"),
    Column(INGESTED_AT, Kind.TIMESTAMP, required=True, description="When the row was written, UTC"),
)
