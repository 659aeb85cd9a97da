"""Records of user_events with duplicates and defects mixed in, and a manifest of what a stream makes of them.

Besides the defects that files have too (defects.py) there are the ones that only Kafka has: a record without a value
(a tombstone), an empty value, and one with the magic byte of a Schema Registry.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from random import Random

import msgspec

from contracts.errors import UsageError
from sample_data.defects import CODES, MALFORMED, refused
from sample_data.forms import JsonForm
from sample_data.shop import Row

__all__ = ["DirtyStream", "Keyed"]

Keyed = tuple[bytes | None, bytes | None]
"""A record for Kafka: its key and its value. A tombstone has no value."""
TABLE, KEY = "user_events", "event_id"
RECENT = 1_000
"""Among how many of the last clean records the ones are picked that come again."""
MOST_DIRTY = 0.5
ONLY_KAFKA = ("tombstone", "empty", "magic byte")
MAGIC = b"\x00\x00\x00\x00\x2a"
"""Before a value that a Schema Registry's serializer wrote: a zero and the number of the schema, here 42."""


class DirtyStream:
    """Mixes them in while `records` is read, and counts."""

    def __init__(self, share: float, seed: int) -> None:
        """`share` of what is sent, from 0 to 0.5, is defective: half of that duplicates, half refused. Every kind
        comes at least once, on top where the share is too small. UsageError for a share out of range.
        """
        if not 0 <= share <= MOST_DIRTY:
            raise UsageError(f"--dirty {share:g}: give a share of the records from 0 to {MOST_DIRTY}")
        self._extra = share / (1 - share)
        self._random = Random(f"{seed} {TABLE}")
        self._kinds = (*CODES["json"], *ONLY_KAFKA)
        self._recent: deque[tuple[bytes | None, bytes, Row]] = deque(maxlen=RECENT)
        self._input = self._duplicates = 0
        self._refused: Counter[str] = Counter()

    def records(self, clean: Iterable[Keyed]) -> Iterator[Keyed]:
        """The clean records in their order, and the dirt between and behind them."""
        for key, value in clean:
            self._input += 1
            yield key, value
            row = _row(value)
            if value is not None and row is not None:
                self._recent.append((key, value, row))
            if self._extra and self._recent and self._random.random() < self._extra:
                yield self._duplicate() if self._random.random() < 0.5 else self._defect()
        while self._extra and self._recent and (len(self._refused) < len(self._kinds) or self._duplicates < 2):
            yield self._defect() if len(self._refused) < len(self._kinds) else self._duplicate()

    def manifest(self) -> dict[str, object]:
        """`{"read", "written", "duplicate", "dead_letter", "dead_letter_by_code"}` as `generate` has them for a table:
        right where each record that came in is clean and has an event_id of its own.
        """
        codes: Counter[str] = Counter()
        for kind, count in self._refused.items():
            codes[MALFORMED["json"] if kind in ONLY_KAFKA else kind] += count
        dead_letters = sum(codes.values())
        return {
            "read": self._input + self._duplicates + dead_letters,
            "written": self._input,
            "duplicate": self._duplicates,
            "dead_letter": dead_letters,
            "dead_letter_by_code": dict(sorted(codes.items())),
        }

    def _pick(self) -> tuple[bytes | None, bytes, Row]:
        return self._recent[int(self._random.random() * len(self._recent))]

    def _duplicate(self) -> Keyed:
        """A record again, in its partition and so behind the first: the same bytes, or others under the same id."""
        self._duplicates += 1
        key, value, row = self._pick()
        if self._duplicates % 2:
            return key, value
        return key, JsonForm().encode(row | {"page_url": f"/again/{self._duplicates}"})

    def _defect(self) -> Keyed:
        """A refused record; one in four has the id of a clean one, which it must not displace."""
        turn = sum(self._refused.values())
        kind = self._kinds[turn % len(self._kinds)]
        self._refused[kind] += 1
        key, value, row = self._pick()
        if kind == "tombstone":
            return key or b"nobody", None
        if kind == "empty":
            return key, b""
        if kind == "magic byte":
            return key, MAGIC + value
        if self._random.random() >= 0.25:
            row = row | {KEY: f"refused_{turn}"}
        return key, refused(TABLE, JsonForm(), kind, self._refused[kind] - 1, row)


def _row(value: bytes | None) -> Row | None:
    """The record as a row that defects can be made from; None if it is no user event."""
    try:
        row = msgspec.json.decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return row if isinstance(row, dict) and {KEY, "customer_id", "event_type"} <= row.keys() else None
