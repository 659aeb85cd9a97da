"""Changes of a stream of updates: every record is a row, told apart by the place where it was read."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from contracts.changes import DELETED, TOPIC_ID
from contracts.decoding.decoder import HASH_LOW, Block, Decoded, Decoder
from contracts.decoding.key_digest import position_digests
from contracts.decoding.tombstones import TombstoneDecoder, is_tombstone
from contracts.lineage import HASH, POSITION, SOURCE

__all__ = ["KEY_HASH", "by_key", "by_place", "decode_changes", "origin_of", "place_digests"]

KEY_HASH = "_key_hash"
"""The `_hash` of a change's key, while `_hash` and `_hash_low` are the digest of its place. It is not stored."""


def origin_of(source: str, topic_id: str) -> str:
    """Return what names a partition of one incarnation of its topic."""
    return f"{source}#{topic_id}"


def decode_changes(block: Block, decoder: Decoder, tombstones: TombstoneDecoder) -> Decoded:
    """Decode a block of changes: the rows are those of `decoder`, and those of tombstones, with `_deleted`."""
    decoded = decoder.decode(block)
    topic_id = pl.lit(block.origin.rpartition("#")[2]).alias(TOPIC_ID)
    rows = decoded.rows.with_columns(pl.lit(value=False).alias(DELETED), topic_id)
    deletes = [refusal for refusal in decoded.refusals if is_tombstone(refusal)]
    if not deletes:
        return Decoded(rows, decoded.refusals)
    deleted = tombstones.decode(block.source, deletes, block.origin)
    both = pl.concat([rows, deleted.rows.with_columns(pl.lit(value=True).alias(DELETED), topic_id)], how="diagonal")
    refusals = [refusal for refusal in decoded.refusals if not is_tombstone(refusal)] + deleted.refusals
    return Decoded(both.sort(POSITION), refusals)


def place_digests(rows: pl.DataFrame) -> npt.NDArray[np.int64]:
    """Return the digests of the places of changes, shape (n, 2)."""
    digests = np.zeros((len(rows), 2), dtype=np.int64)
    for (source, topic_id), part in rows.select(SOURCE, TOPIC_ID, POSITION).with_row_index().group_by(SOURCE, TOPIC_ID):
        origin = origin_of(str(source), str(topic_id))
        digests[part["index"].to_numpy()] = position_digests(str(source), origin, part[POSITION].to_numpy())
    return digests


def by_place(rows: pl.DataFrame) -> pl.DataFrame:
    """Return changes that are told apart by their place and not by their key."""
    digests = place_digests(rows)
    return rows.with_columns(
        pl.col(HASH).alias(KEY_HASH),
        pl.Series(HASH, np.ascontiguousarray(digests[:, 0])),
        pl.Series(HASH_LOW, np.ascontiguousarray(digests[:, 1])),
    )


def by_key(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows of `by_place` as they are stored: with the digest of their key as `_hash`."""
    return rows.with_columns(pl.col(KEY_HASH).alias(HASH))
