"""Single transforms over local input."""

from __future__ import annotations

import numpy as np

from contracts.decoding.decoder import Block, Format
from contracts.table import Column, Kind, Table
from tests.graphs.batches import RUN
from tests.graphs.eager import eager
from transforms.balance import BalanceLedger
from transforms.coders import from_ipc
from transforms.decode import DecodeAndValidate
from transforms.deduplicate import Deduplicate
from transforms.ledger import Count, Door, Source
from transforms.offsets import Stamp
from transforms.stamped import DecodeAndStamp

TABLE = Table("t", (Column("id", Kind.STRING, required=True), Column("v", Kind.INTEGER)), ("id",))


def block(*records: bytes, source: str = "file") -> tuple[str, Block]:
    return "t", Block(source, Format.JSON, list(records), np.arange(len(records)))


def test_decode_and_validate() -> None:
    blocks = [block(b'{"id": "a"}', b"{"), block(b'{"id": "b", "v": 7}', source="other")]
    decoded = eager(DecodeAndValidate({"t": TABLE}, {"t": 1}, RUN, {"t": 100}), blocks)
    rows = {source: from_ipc(ipc).select("id", "v").rows() for _, (source, ipc) in decoded.rows}
    assert rows == {"file": [("a", None)], "other": [("b", 7)]}
    (refused,) = decoded.refused
    assert (refused.table, refused.source, [each.position for each in refused.refusals]) == ("t", "file", [1])
    assert decoded.skipped == []


def test_decode_and_stamp() -> None:
    decoded = eager(DecodeAndStamp({"t": TABLE}, 1), [block(b'{"id": "a"}', b"{")])
    (((name, bucket), (packed, ipc)),) = decoded.rows
    assert (name, bucket, from_ipc(ipc)["id"].to_list()) == ("t", 0, ["a"])
    stamp = Stamp.unpack(packed)
    assert (stamp.source, stamp.runs, stamp.parts) == ("file", ((0, 1),), (0, -1))
    assert [refused.ack != b"" for refused in decoded.refused] == [True]


def test_deduplicate() -> None:
    decoded = eager(DecodeAndValidate({"t": TABLE}, {"t": 1}, RUN, {"t": 100}), [block(b'{"id": "a"}', b'{"id": "a"}')])
    unique = eager(Deduplicate({"t": TABLE}, RUN), decoded.rows)
    ((name, bucket, rows),) = unique.rows
    assert (name, bucket, rows["_position"].to_list()) == ("t", 0, [0])
    assert unique.counts == [Count("t", "file", Door.DUPLICATE, 1)]


def test_balance_ledger() -> None:
    counts = [Count("t", "file", Door.READ, 2), Count("t", "file", Door.DUPLICATE, 2)]
    (balance,) = eager(BalanceLedger(RUN), counts, [Source("t", "file", 1, 10)])
    assert (balance.state, balance.counts["t"]["file"].size) == (None, 10)
