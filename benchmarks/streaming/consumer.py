"""Without Beam: a consumer as it is often written, and the way that this project replaces.

`run` is confluent-kafka, json, a set of ids, insert_rows_json in batches of 500. `run_replaced` asks for each event
whether its id is in the table, and inserts it alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from confluent_kafka import Consumer, KafkaException
from google.cloud import bigquery

from benchmarks.streaming.probe import PROBE
from benchmarks.streaming.task import Task
from benchmarks.textbook import Rules
from connectors.google.clients import bigquery_client
from local.service import PROJECT

__all__ = ["LETTERS", "make_tables", "run", "run_replaced", "table_row"]

BATCH = 500
LETTERS = "dead_letters"
FIELDS = (
    ("event_id", "STRING"),
    ("customer_id", "STRING"),
    ("product_id", "STRING"),
    ("event_type", "STRING"),
    ("event_timestamp", "TIMESTAMP"),
    ("session_id", "STRING"),
    ("page_url", "STRING"),
    ("user_agent", "STRING"),
    ("event_hour", "INTEGER"),
)


def make_tables(task: Task) -> bigquery.Client:
    """Return a client; create the task's dataset with tables for events and refused events."""
    client = bigquery_client(PROJECT, "US")
    client.create_dataset(task.name)
    client.create_table(bigquery.Table(task.table, [bigquery.SchemaField(*field) for field in FIELDS]))
    letters = [bigquery.SchemaField("raw", "STRING")]
    client.create_table(bigquery.Table(f"{PROJECT}.{task.name}.{LETTERS}", letters))
    return client


def table_row(event: dict[str, Any]) -> dict[str, Any]:
    """Return an event as a row of the table."""
    return {name: event.get(name) for name, _ in FIELDS}


def run(task: Task) -> None:
    """Read until all events are stored or the task's time is over."""
    client, rules = make_tables(task), Rules()
    known: set[str] = set()
    rows: list[dict[str, Any]] = []
    letters: list[dict[str, Any]] = []
    waiting = 0
    for values in _messages(task):
        for value in values:
            waiting += 1
            event = rules.event(value)
            if event is None:
                letters.append({"raw": value.decode(errors="replace")})
            elif event["event_id"] not in known:
                known.add(event["event_id"])
                rows.append(table_row(event))
            if len(rows) >= BATCH:
                _insert(client.insert_rows_json, task.table, rows)
                _insert(client.insert_rows_json, f"{PROJECT}.{task.name}.{LETTERS}", letters)
                PROBE.add(waiting)
                waiting = 0
        if PROBE.count + waiting >= task.records:
            _insert(client.insert_rows_json, task.table, rows)
            _insert(client.insert_rows_json, f"{PROJECT}.{task.name}.{LETTERS}", letters)
            PROBE.add(waiting)
            return


def run_replaced(task: Task) -> None:
    """Read until all events are stored or the task's time is over."""
    client, rules = make_tables(task), Rules()
    wanted = f"SELECT COUNT(*) AS n FROM `{task.table}` WHERE event_id = @id"
    for values in _messages(task):
        for value in values:
            event = rules.event(value)
            if event is None:
                _insert(client.insert_rows_json, f"{PROJECT}.{task.name}.{LETTERS}", [{"raw": value.decode()}])
            else:
                parameter = bigquery.ScalarQueryParameter("id", "STRING", event["event_id"])
                config = bigquery.QueryJobConfig(query_parameters=[parameter])
                (found,) = client.query(wanted, job_config=config).result()
                if not found["n"]:
                    _insert(client.insert_rows_json, task.table, [table_row(event)])
            PROBE.add(1)
            if PROBE.complete.is_set() or time.monotonic() - PROBE.first > task.seconds:
                return


def _insert(insert: Callable[[str, list[dict[str, Any]]], Any], table: str, rows: list[dict[str, Any]]) -> None:
    """Insert the rows and clear the list. Raises RuntimeError if BigQuery refuses a row."""
    if rows and (errors := insert(table, rows)):
        raise RuntimeError(f"{table}: {errors[0]}")
    rows.clear()


def _messages(task: Task) -> Iterator[list[bytes]]:
    """Yield values of the topic in batches, until the task's time is over."""
    consumer = Consumer(
        {
            "bootstrap.servers": task.servers,
            "group.id": task.name,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([task.topic])
    try:
        while not PROBE.first or time.monotonic() - PROBE.first < task.seconds:
            messages = consumer.consume(BATCH, 1.0)
            if not messages:
                continue
            PROBE.begin()
            if failed := next((message for message in messages if message.error()), None):
                raise KafkaException(failed.error())
            yield [message.value() or b"" for message in messages]
    finally:
        consumer.close()
