"""`demo`: all of it on this machine."""

from __future__ import annotations

import json
import os
import secrets
from concurrent.futures import ThreadPoolExecutor

from commands import batch, generate, stream
from commands.arguments import LOCAL_LOCATION, LOCAL_PROJECT, add_local_dir, local_options, parser
from commands.session import STREAM_SERVICES, cloud, failures_explained
from connectors.bigquery.warehouse import Warehouse
from connectors.files.storage import Storage
from connectors.kafka.client import NEW_PARTITIONS, admin, create_topics
from connectors.kafka.config import KafkaConfig
from console.report import print_lines, print_rows
from console.terminal import Terminal
from local.engines import prefetch
from operations.demo import QUERIES, next_steps
from operations.demo_stream import PARTS, STREAM_EVENTS, killed_at_a_third, stream_counts, total
from pipelines.runs.exit_codes import EXIT_CODES
from sample_data.seed import SIZES
from transforms.ledger import State

__all__ = ["run"]


def run(argv: list[str], terminal: Terminal) -> int:
    """Run the command and return its exit code."""
    command = parser(
        "demo", "All of it on this machine: dirty files, a batch, three questions, and a stream that is killed.", ""
    )
    add_local_dir(command)
    arguments = command.parse_args(argv)
    local = ["--local", "--local_dir", str(arguments.local_dir)]
    with ThreadPoolExecutor(1) as pool, cloud(arguments.local_dir, STREAM_SERVICES, terminal), failures_explained():
        # A new machine builds Prism first, which takes as long as all the rest.
        fetched = pool.submit(prefetch, ["kafka-io", "prism"], terminal.log)
        sizes = [part for name, size in SIZES.items() for part in (f"--{name}", str(size))]
        generate.run(["--output", "gs://ecommerce-data-lake/raw", "--seed", "1", *local, *sizes], terminal)
        code = batch.run(["--runner", "DirectRunner", *local], terminal)
        warehouse = Warehouse(LOCAL_PROJECT, LOCAL_LOCATION)
        for title, sql in QUERIES.items():
            print_rows(terminal.output, title, warehouse.query(sql))
        fetched.result()
        code = code or _stream(warehouse, local, terminal)
    print_lines(terminal.output, next_steps(local_options(arguments.local_dir)))
    return code


def _stream(warehouse: Warehouse, local: list[str], terminal: Terminal) -> int:
    """Kill a stream while events are sent to its topic, start it again, and compare the counts; return the exit code.

    Topic, group, run and dataset are new, so the content of the local cloud does not matter.
    """
    clean, storage = "gs://ecommerce-data-lake/clean", Storage(LOCAL_PROJECT)
    none = [part for name in ("customers", "products", "transactions") for part in (f"--{name}", "0")]
    events = ["--events", str(STREAM_EVENTS * 5 // 4)]  # a tenth of them goes to a file that is not sent
    generate.run(["--output", clean, "--dirty", "0", *events, *none, *local], terminal)
    name = f"demo-{secrets.token_hex(3)}"
    lines = [line for line in storage.read(f"{clean}/user_events.json").splitlines(keepends=True) if line.strip()]
    sending, start = {}, 0
    for part, (count, rate) in PARTS.items():
        storage.write(f"{clean}/{part}.json", b"".join(lines[start : start + count]))
        start += count
        sending[part] = [
            "--input",
            f"{clean}/{part}.json",
            "--topic",
            name,
            "--dirty",
            "0.05",
            "--rate",
            str(rate),
            "--manifest",
            f"{clean}/{part}.manifest",
            *local,
        ]
    kafka = KafkaConfig(os.environ["KAFKA_BOOTSTRAP_SERVERS"])
    with admin(kafka) as client:
        create_topics(client, kafka, {name: NEW_PARTITIONS})
    # The same run for both starts: it takes its own lease over at once.
    streamed = ["--runner", "PrismRunner", "--run_id", name, "--group_id", name]
    dataset = name.replace("-", "_")
    streamed += ["--topic", f"{name}=user_events_streaming", "--dataset", dataset, *local]
    rows = killed_at_a_third(warehouse, streamed, dataset, sending, terminal.log)
    code = stream.run([*streamed, "--stop_when_idle", "2"], terminal)
    sent = total(json.loads(storage.read(f"{clean}/{part}.manifest")) for part in PARTS)
    counts = stream_counts(warehouse, name, dataset, sent)
    killed = {"": "in the table when killed", **dict.fromkeys(sent), "written": rows}
    print_rows(terminal.output, "the stream, killed once", [killed, *counts])
    agree = all(len({row[column] for row in counts} - {None}) == 1 for column in sent)
    return code or (0 if agree else EXIT_CODES[State.LEDGER_BROKEN])
