"""Fill a topic with user events: `python -m benchmarks.streaming.feed SERVERS TOPIC COUNT [RATE [SEED]]` prints JSON.

{"keys": distinct event_ids of valid records, "refused": broken records}. The same events for the same count and seed.
"""

from __future__ import annotations

import json
import sys
import time

from confluent_kafka import Producer

from benchmarks.events import records

__all__ = ["DUPLICATES", "main"]

DUPLICATES = 0.05
LATER = 10_000
"""Events between two checks of the clock."""


def main(servers: str, topic: str, count: int, rate: float = 0.0, seed: int = 1) -> None:
    """Send the events, keyed by customer_id, at most `rate` per second."""
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "linger.ms": 20,
            "batch.size": 1 << 18,
            "queue.buffering.max.messages": 200_000,
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
        }
    )
    keys: set[int] = set()
    refused = 0
    step = max(1, int(rate / 100)) if rate else LATER
    began = time.monotonic()
    for sent, (line, number) in enumerate(records(count, DUPLICATES, seed)):
        if sent % step == 0:
            if rate and (early := began + sent / rate - time.monotonic()) > 0:
                producer.flush(0)
                time.sleep(early)
            producer.poll(0)
        if number is None:
            refused += 1
        else:
            keys.add(number)
        at = line.find('"cust_')
        key = line[at + 1 : at + 12] if at > 0 else None
        while True:
            try:
                producer.produce(topic, line.encode(), key)
                break
            except BufferError:
                producer.poll(0.1)
    if left := producer.flush(60):
        raise RuntimeError(f"{left} events were not sent")
    print(json.dumps({"keys": len(keys), "refused": refused}))


if __name__ == "__main__":
    servers, topic, events, *rest = sys.argv[1:]
    main(servers, topic, int(events), float(rest[0]) if rest else 0.0, int(rest[1]) if rest[1:] else 1)
