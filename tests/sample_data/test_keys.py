"""The key of a record: the text at a path, None if the record has none; a path that no record has is refused."""

from __future__ import annotations

import pytest

from contracts.errors import UsageError
from sample_data.keys import keyed, with_keys

RIDES = [b'{"ride_id": "r1", "bike": {"id": "b1", "n": 7}}', b'{"ride_id": "r2"}', b'{"bike": [1]}', b"{broken", b"7"]


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("ride_id", [b"r1", b"r2", None, None, None]),
        ("bike.id", [b"b1", None, None, None, None]),
        ("bike.n", [b"7", None, None, None, None]),
        ("customer_id", [None] * 5),
    ],
)
def test_a_key_is_the_text_at_the_path(path: str, keys: list[bytes | None]) -> None:
    assert list(keyed(RIDES, path)) == list(zip(keys, RIDES, strict=True))


def test_a_key_that_no_record_has_is_refused_with_the_fields_that_there_are() -> None:
    with pytest.raises(UsageError, match=r"--key bike\.idd: none of .* their fields are ride_id, bike\.id, bike\.n"):
        list(with_keys(RIDES, "bike.idd", print))


def test_records_without_the_default_key_are_sent_without_one_and_it_says_so() -> None:
    logged: list[str] = []
    assert [key for key, _ in with_keys(RIDES, None, logged.append)] == [None] * 5
    assert logged == [
        "the records have no customer_id and are sent without a key; --key takes one of ride_id, bike.id, bike.n"
    ]


def test_all_records_are_sent_in_order() -> None:
    records = [b'{"customer_id": "c%d"}' % number for number in range(250)]
    assert [record for _, record in with_keys(records, None, print)] == records
    assert list(with_keys([], "x", print)) == []
