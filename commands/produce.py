"""`produce`: a file's records into a Kafka topic."""

from __future__ import annotations

import os

from commands.arguments import add_local, at_least_one, parser, positive
from commands.session import STREAM_SERVICES, cloud, log, progress
from connectors.kafka_client import NEW_PARTITIONS
from connectors.kafka_config import KafkaConfig
from connectors.storage import Storage
from operations.dirty_stream import DirtyStream
from operations.produce import produce_file

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Run the command; its exit code."""
    command = parser(
        "produce", "Send a file's records to a topic, keyed by customer_id, each once and for good.",
        "--input gs://ecommerce-data-lake/raw/user_events.json --topic user-events --create_topics --local\n"
        "--input events.ndjson --topic user-events --rate 1000 --loop --bootstrap_servers HOST:9092",
    )  # fmt: skip
    add = command.add_argument
    add("--input", required=True, help="file of JSON records, local or gs://: user_events.json, .ndjson.gz, .parquet")
    add("--topic", required=True)
    add("--bootstrap_servers", help="HOST:PORT,… of Kafka; with --local that of this machine")
    add("--kafka_config", help="file of Java client properties: TLS, SASL; secrets as env:NAME, file:PATH, secret:…")
    add("--create_topics", action="store_true", help="make the topic if it is absent")
    add(
        "--partitions",
        type=at_least_one,
        default=NEW_PARTITIONS,
        help="of the topic that is made (default %(default)s)",
    )
    add("--rate", type=positive, help="records a second at most")
    add("--limit", type=at_least_one, help="records of the input at most")
    add("--loop", action="store_true", help="send the file again and again, until Ctrl-C or --limit")
    add("--dirty", type=float, nargs="?", const=0.03, default=0.0, metavar="SHARE",
        help="mix in duplicates and defects of user_events (default 0.03 of what is sent)")  # fmt: skip
    add("--manifest", help="write what was sent, by door and code, as JSON to this file, local or gs://")
    add("--seed", type=int, default=1, help="the same seed mixes in the same")
    add_local(command)
    arguments = command.parse_args(argv)
    with cloud(arguments.local, arguments.local_dir, STREAM_SERVICES):
        storage = Storage(os.environ.get("GOOGLE_CLOUD_PROJECT"))
        servers = arguments.bootstrap_servers or (os.environ["KAFKA_BOOTSTRAP_SERVERS"] if arguments.local else None)
        return produce_file(
            storage, KafkaConfig.load(servers, arguments.kafka_config, storage.read),
            uri=arguments.input, topic=arguments.topic, rate=arguments.rate, limit=arguments.limit, loop=arguments.loop,
            create_partitions=arguments.partitions if arguments.create_topics else None,
            dirty=DirtyStream(arguments.dirty, arguments.seed), manifest=arguments.manifest, console=progress, log=log,
        )  # fmt: skip
