"""User events for the benchmarks: the same bytes for the same count and seed.

About 240 bytes an event; of every 100 records two (of a stream's five) repeat an earlier event and one breaks a rule of
the contract. The broken ones are of the kinds that all implementations can meet: a textbook pipeline dies of bytes
that are not UTF-8, so there are none here (tests/contracts has them).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

__all__ = ["DUPLICATES", "INVALID", "event", "records", "write_events"]

DUPLICATES = 0.02
INVALID = 0.01
EVENT_TYPES = ("page_view", "page_view", "page_view", "search", "add_to_cart", "remove_from_cart", "purchase")
LINES_PER_WRITE = 50_000


def event(number: int) -> str:
    """Return the clean event `number` as a line without newline. Numbers below 2**64 have distinct event_ids."""
    mixed = number * 0x9E3779B97F4A7C15 % 2**64
    day, rest = 1 + mixed % 28, mixed >> 20
    clock = f"{rest % 24:02}:{rest // 24 % 60:02}:{rest // 1440 % 60:02}.{mixed % 1_000_000:06}"
    return (
        f'{{"event_id":"{mixed:016x}","customer_id":"cust_{rest % 50_000:06}","product_id":"prod_{mixed % 997:05}",'
        f'"event_type":"{EVENT_TYPES[rest % 7]}","event_timestamp":"2025-03-{day:02}T{clock}Z",'
        f'"session_id":"sess_{number // 7:010}","page_url":"/products/{mixed % 997}","user_agent":"Mozilla/5.0"}}'
    )


def _with(field: str, value: str) -> Callable[[str], str]:
    """Return a function that breaks an event: it sets `field` to the JSON text `value`."""

    def broken(line: str) -> str:
        head, _, rest = line.partition(f'"{field}":"')
        return f'{head}"{field}":{value}{rest[rest.index(chr(34)) + 1 :]}'

    return broken


BREAKS: tuple[Callable[[str], str], ...] = (
    lambda line: line[:-1],  # cut off
    lambda line: line.replace('":"', '":', 1),  # a text without its first quote
    lambda line: f"[{line[15:33]}]",  # no object
    _with("event_id", "null"),
    _with("customer_id", '"   "'),
    lambda line: line.replace('"event_timestamp"', '"timestamp"'),  # a required field under another name
    _with("event_type", '"teleport"'),
    _with("event_timestamp", '"yesterday"'),
    _with("event_timestamp", '"2025-02-30T10:00:00Z"'),
    _with("event_timestamp", '"1947-06-05T10:00:00Z"'),
    _with("event_timestamp", "1741000000"),
    _with("session_id", '{"id":1}'),
)


def records(count: int, duplicates: float = DUPLICATES, seed: int = 1) -> Iterator[tuple[str, int | None]]:
    """Yield `count` records: a line without newline, and the number of its event, None for a broken record."""
    chance = random.Random(seed)
    originals = 0
    for _ in range(count):
        draw = chance.random()
        if draw < duplicates and originals:
            number = chance.randrange(originals)
            yield event(number), number
            continue
        line, number = event(originals), originals
        originals += 1
        yield (chance.choice(BREAKS)(line), None) if draw >= 1 - INVALID else (line, number)


def write_events(path: Path, count: int, seed: int = 1) -> None:
    """Write `count` records, one per line."""
    lines = (line for line, _ in records(count, seed=seed))
    with path.open("w", encoding="utf-8", newline="\n") as file:
        while some := list(islice(lines, LINES_PER_WRITE)):
            file.write("\n".join(some) + "\n")
