"""`demo`: all of it on this machine."""

from __future__ import annotations

import json
import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from commands import batch, generate, stream
from commands.arguments import LOCAL_LOCATION, LOCAL_PROJECT, parser
from commands.session import STREAM_SERVICES, cloud, failures_explained, log, output
from connectors.kafka_client import NEW_PARTITIONS, admin, create_topics
from connectors.kafka_config import KafkaConfig
from connectors.storage import Storage
from connectors.warehouse import Warehouse
from local.engines import prefetch
from operations.demo import NEXT, QUERIES, SIZES
from operations.demo_stream import RATE, STREAM_EVENTS, kill_halfway, producing, stream_counts
from operations.report import print_rows
from pipelines.batch_run import EXIT_CODES
from transforms.ledger import State

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Run the command; its exit code."""
    command = parser("demo", "The whole way on this machine: dirty files, a run, three questions, a stream.", "")
    command.add_argument("--local_dir", type=Path, default=Path(".local"), help="where the local cloud's data is")
    arguments = command.parse_args(argv)
    local = ["--local", "--local_dir", str(arguments.local_dir)]
    with ThreadPoolExecutor(1) as pool, cloud(True, arguments.local_dir, STREAM_SERVICES), failures_explained():
        # A new machine builds Prism first, which takes as long as all the rest.
        fetched = pool.submit(prefetch, ["kafka-io", "prism"], log)
        sizes = [part for name, size in SIZES.items() for part in (f"--{name}", str(size))]
        generate.run(["--output", "gs://ecommerce-data-lake/raw", "--seed", "1", *local, *sizes])
        code = batch.run(["--runner", "DirectRunner", *local])
        warehouse = Warehouse(LOCAL_PROJECT, LOCAL_LOCATION)
        for title, sql in QUERIES.items():
            print_rows(output, title, warehouse.query(sql))
        fetched.result()
        code = code or _stream(warehouse, local)
    output.print(NEXT, markup=False, highlight=False)
    return code


def _stream(warehouse: Warehouse, local: list[str]) -> int:
    """Events sent to Kafka while the stream that reads them is killed and started again."""
    clean, manifest = "gs://ecommerce-data-lake/clean", "gs://ecommerce-data-lake/clean/sent.json"
    none = [part for name in ("customers", "products", "transactions") for part in (f"--{name}", "0")]
    events = ["--events", str(STREAM_EVENTS * 5 // 4)]  # a tenth of them goes to a file that is not sent
    generate.run(["--output", clean, "--dirty", "0", *events, *none, *local])
    kafka = KafkaConfig(os.environ["KAFKA_BOOTSTRAP_SERVERS"])
    with admin(kafka) as client:
        create_topics(client, kafka, {"user-events": NEW_PARTITIONS})
    send = ["--input", f"{clean}/user_events.json", "--topic", "user-events", "--limit", str(STREAM_EVENTS)]
    send += ["--dirty", "0.05"]
    run_id = f"demo-{secrets.token_hex(3)}"  # the same for both starts: a run takes its own lease over at once
    streamed = ["--runner", "PrismRunner", "--run_id", run_id, *local]
    with producing([*send, "--rate", str(RATE), "--manifest", manifest, *local]):
        kill_halfway(warehouse, streamed, run_id, log)
    code = stream.run([*streamed, "--stop_when_idle", "2"])
    sent = json.loads(Storage(LOCAL_PROJECT).read(manifest))
    counts = stream_counts(warehouse, sent)
    print_rows(output, "the stream, killed once", counts)
    agree = all(len({row[column] for row in counts} - {None}) == 1 for column in counts[0] if column)
    return code or (0 if agree else EXIT_CODES[State.LEDGER_BROKEN])
