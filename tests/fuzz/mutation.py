"""Mutations of whole blocks of bytes at once, so that millions of records take minutes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

__all__ = ["HUGE", "huge_record", "mutated", "pieces"]

MARKS = np.frombuffer(b"\"{}[],:;\\'0123456789eE+-.nulltrue\n\r\t \x00\x1c\xff\xc3\x28\xed\xa0\x80u", dtype=np.uint8)
TOKENS = [
    b'"\\ud800"',
    b"\\ud800",
    b"\\u0000",
    b"1e400",
    b"-0",
    b"NaN",
    b"null",
    b"true",
    b'""',
    b"[]",
    b"{}",
    b"[null]",
    b"1e999999999",
    b"9" * 40,
    b"0." + b"0" * 30 + b"5",
    b"[" * 201,
    b"{" * 3,
    b"]" * 3,
    b'"a":1,',
    b'"id":null,',
    b'"other":',
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\xff\xfe",
    b"\n\n",
    b"\r\n",
    b"\r",
    b'""""',
    b"''",
    b";;",
    b",,",
    "\u2028\u0085\u00a0".encode(),
    b"2024-02-30",
    b"0000-01-01",
    b"9999-12-31T23:59:59.999999-23:59",
    b"infinity",
    b"99999999999999999999999999999.999999999",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"0.005",
    b"1.005",
    b"0.045",
    b"[1,[2]]",
    b'{"a":{"b":1}}',
    b'"[1]"',
    b'"{}"',
    b"\\",
    b'\\"',
    b"\0\0\0\0\1{}",
]
RATES = (0.0, 0.0003, 0.002, 0.01, 0.05)
"""Share of bytes that are replaced, by block."""
HUGE = (
    b"{},",
    b'"",',
    b"[],",
    b"a@a.",
    b"9",
    b"[",
    b'{"a":',
    b'\\"',
    b"\\u0041",
    b'"',
    b" ",
    b"\n",
    b",",
    b"1,",
    b'"k":1,',
    b"a",
    b"\\",
    b"\xff",
    b"\xc3\xa9",
    b"'",
    b";",
)
"""What a very large record repeats."""


def mutated(data: bytes, chance: np.random.Generator) -> bytes:
    """The bytes, some of them replaced, and tokens put in, ranges doubled or dropped."""
    if not data:
        return data
    array = np.frombuffer(data, dtype=np.uint8).copy()
    count = int(len(array) * chance.choice(RATES))
    places = chance.integers(0, len(array), count)
    random = chance.integers(0, 256, count).astype(np.uint8)
    marks = MARKS[chance.integers(0, len(MARKS), count)]
    array[places] = np.where(chance.random(count) < 0.2, random, marks)
    whole = array.tobytes()
    cuts = np.sort(chance.integers(0, len(whole), int(chance.choice([0, 5, 60, len(whole) // 300 + 1]))))
    parts: list[bytes] = []
    last = 0
    kinds = chance.integers(0, 10, len(cuts))
    for cut, kind, token in zip(
        cuts.tolist(), kinds.tolist(), chance.integers(0, len(TOKENS), len(cuts)).tolist(), strict=True
    ):
        parts.append(whole[last:cut])
        last = cut
        if kind < 7:
            parts.append(TOKENS[token])
        elif kind < 8:
            last = min(len(whole), cut + token)
        elif kind < 9:
            parts.append(whole[max(0, cut - token) : cut])
        else:
            last = min(len(whole), cut + len(TOKENS[token]))
            parts.append(TOKENS[token])
    parts.append(whole[last:])
    return b"".join(parts)


def huge_record(chance: np.random.Generator, size: int) -> bytes:
    """JSON, or nearly, of about `size` bytes that repeats one thing: in a field, an array, an object, or bare."""
    filler = HUGE[chance.integers(0, len(HUGE))]
    body = filler * (size // len(filler))
    shape = chance.integers(0, 5)
    name = (b"id", b"a", b"lines", b"user", b"other", b"email", b"mail", b"tags")[chance.integers(0, 8)]
    if shape == 0:
        return body
    opening, closing = ((b'"', b'"'), (b"[", b"]"), (b"{", b"}"), (b"", b""))[shape - 1]
    return b'{"id":"1","' + name + b'":' + opening + body.rstrip(b",") + closing + b"}"


def pieces(data: bytes, chance: np.random.Generator) -> list[bytes]:
    """The bytes in a few pieces, cut anywhere."""
    cuts = [0, *np.sort(chance.integers(0, len(data) + 1, int(chance.integers(0, 8)))).tolist(), len(data)]
    return [data[start:end] for start, end in pairwise(cuts)]
