"""`produce`: a file's records into a Kafka topic."""

from __future__ import annotations

import os

from commands.arguments import add_local, at_least_one, parser, positive
from commands.kafka_arguments import add_kafka, kafka_config
from commands.session import STREAM_SERVICES, cloud
from connectors.files.storage import Storage
from connectors.kafka.client import NEW_PARTITIONS
from console.terminal import Terminal
from sample_data.dirty_stream import DirtyStream
from sample_data.keys import DEFAULT_KEY
from sample_data.produce import FileToTopic, produce_file

__all__ = ["run"]


def run(argv: list[str], terminal: Terminal) -> int:
    """Run the command and return its exit code."""
    command = parser(
        "produce",
        "Send a file's records to a topic, each once, with a field of the record as its key.",
        "--input gs://ecommerce-data-lake/raw/user_events.json --topic user-events --create_topics --local\n"
        "--input rides.ndjson --topic bike-events --key bike.id --create_topics --local\n"
        "--input events.ndjson --topic user-events --rate 1000 --loop --bootstrap_servers HOST:9092",
    )
    add = command.add_argument
    add("--input", required=True, help="file of JSON records, local or gs://: user_events.json, .ndjson.gz, .avro")
    add("--topic", required=True)
    add_kafka(command)
    add("--create_topics", action="store_true", help="create the topic if it does not exist")
    add(
        "--partitions",
        type=at_least_one,
        default=NEW_PARTITIONS,
        help="partitions of a topic that is created (default %(default)s)",
    )
    add("--rate", type=positive, help="maximum number of records per second")
    add(
        "--key",
        metavar="PATH",
        help="field of the key, such as bike.id; records with the same key keep their order"
        f" (default {DEFAULT_KEY}, if the records have it)",
    )
    add("--limit", type=at_least_one, help="maximum number of input records to send")
    add("--loop", action="store_true", help="send the file again and again, until Ctrl-C or --limit")
    add(
        "--dirty",
        type=float,
        nargs="?",
        const=0.03,
        default=0.0,
        metavar="SHARE",
        help="add duplicates and defects of user_events (0.03 of the records if no SHARE is given)",
    )
    add("--manifest", help="write what was sent, by door and code, as JSON to this file, local or gs://")
    add("--seed", type=int, default=1, help="the same seed adds the same defects")
    add_local(command)
    arguments = command.parse_args(argv)
    with cloud(arguments.local_dir, STREAM_SERVICES, terminal, local=arguments.local):
        storage = Storage(os.environ.get("GOOGLE_CLOUD_PROJECT"))
        what = FileToTopic(
            uri=arguments.input,
            topic=arguments.topic,
            key=arguments.key,
            create_partitions=arguments.partitions if arguments.create_topics else None,
            rate=arguments.rate,
            limit=arguments.limit,
            loop=arguments.loop,
            dirty=DirtyStream(arguments.dirty, arguments.seed),
            manifest=arguments.manifest,
        )
        return produce_file(storage, kafka_config(arguments, storage), what, terminal.progress, terminal.log)
