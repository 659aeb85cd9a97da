"""Files into BigQuery: typed, clean, each record once.

  python launcher.py demo                                        all of it on this machine
  python launcher.py batch --runner DirectRunner --local         files to tables, on this machine
  python launcher.py batch --runner DataflowRunner --project P --location EU --input gs://B/raw \\
      --processed gs://B/processed --dead_letters gs://B/dead_letters --region R --temp_location gs://B/tmp
  python launcher.py generate --output gs://ecommerce-data-lake/raw --local     dirty files to try it on
  python launcher.py produce --input gs://ecommerce-data-lake/raw/user_events.json --topic user-events --local
  python launcher.py setup --bucket gs://B --create_bucket --project P --location EU
  python launcher.py query "SELECT 1" --local
  python launcher.py local up | down | status

Exit codes: 0 done, 1 failed, 2 misuse or refused, 3 the ledger does not hold, 4 too many dead letters.
`launcher.py COMMAND --help` lists a command's options.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from contracts.errors import Misuse
from local.service import PROJECT as LOCAL_PROJECT

if TYPE_CHECKING:
    from connectors.warehouse import Warehouse

COMMANDS = ("batch", "stream", "demo", "generate", "produce", "setup", "query", "local")
SERVICES = ("gcs", "bigquery")
STREAM_SERVICES = (*SERVICES, "kafka")
LOCAL_LOCATION = "US"

output = Console()
progress = Console(stderr=True)


def log(message: str) -> None:
    """One line of progress, to stderr."""
    progress.print(message, markup=False, highlight=False, soft_wrap=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # what matters of its many lines is told in one
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _command(list(sys.argv[1:] if argv is None else argv))
    except Misuse as error:
        log(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        log("interrupted; nothing is half written, and the same --run_id goes on where this stopped")
        return 1
    except BrokenPipeError:
        return 1
    except Exception as error:
        known = _explained(error)
        if known is None:
            raise
        log(f"error: {known}")
        return 2


def _command(argv: list[str]) -> int:
    name = argv[0] if argv and not argv[0].startswith("-") else None
    if name is None:
        name = next((arg.split("=", 1)[1] for arg in argv if arg.startswith("--pipeline=")), None)
        if name is None:
            if argv and argv[0] in ("-h", "--help"):
                print(__doc__)
                return 0
            raise Misuse(f"say what to do: {', '.join(COMMANDS)}; launcher.py --help shows examples")
    else:
        argv = argv[1:]
    commands: dict[str, Callable[[list[str]], int]] = {
        "batch": _batch, "stream": _stream, "demo": _demo, "generate": _generate, "produce": _produce,
        "setup": _setup, "query": _query, "local": _local,
    }  # fmt: skip
    if name not in commands:
        raise Misuse(f"unknown command {name!r}; there are {', '.join(COMMANDS)}")
    return commands[name](argv)


def _batch(argv: list[str]) -> int:
    from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

    from connectors.storage import Storage
    from operations.progress import shown
    from operations.report import print_summary
    from pipelines.batch_run import EXIT_CODES, as_json, run_batch
    from pipelines.help import pipeline_help
    from pipelines.options import OperationsOptions, PipelineArguments, beam_arguments, check_known
    from transforms.ledger import State

    if "--help" in argv or "-h" in argv:
        print(pipeline_help("batch"))
        return 0
    parser = PipelineArguments(prog="launcher.py batch", conflict_handler="resolve", allow_abbrev=False)
    beam_arguments(parser)
    check_known(argv, parser)
    _interruptible()
    options = PipelineOptions(argv)
    ours = options.view_as(OperationsOptions)
    with _cloud(ours.local, Path(ours.local_dir)):
        if ours.local:
            google = options.view_as(GoogleCloudOptions)
            google.project = google.project or LOCAL_PROJECT
        _quiet()
        found = run_batch(options, log, shown=lambda total: shown(progress, log, total))
        if ours.summary:
            Storage(options.view_as(GoogleCloudOptions).project).write(ours.summary, as_json(found))
    print_summary(output, found)
    return EXIT_CODES[State(found["state"])]


def _stream(argv: list[str]) -> int:
    from apache_beam.options.pipeline_options import (
        GoogleCloudOptions,
        KafkaStreamsRunnerOptions,
        PipelineOptions,
        StandardOptions,
    )

    from connectors.storage import Storage
    from operations.report import print_summary
    from operations.stream_status import shown
    from pipelines.batch_run import EXIT_CODES, as_json
    from pipelines.help import pipeline_help
    from pipelines.options import OperationsOptions, PipelineArguments, beam_arguments, check_known
    from pipelines.runners import stream_defaults
    from pipelines.stream_run import run_stream
    from transforms.ledger import State

    if "--help" in argv or "-h" in argv:
        print(pipeline_help("stream"))
        return 0
    parser = PipelineArguments(prog="launcher.py stream", conflict_handler="resolve", allow_abbrev=False)
    beam_arguments(parser)
    check_known(argv, parser)
    _interruptible()
    options = PipelineOptions(argv)
    ours = options.view_as(OperationsOptions)
    runner = options.view_as(StandardOptions).runner or ("PrismRunner" if ours.local else None)
    with _cloud(ours.local, Path(ours.local_dir), STREAM_SERVICES), _engines(ours.local, runner) as added:
        added += stream_defaults(runner, argv)
        if added:
            options = PipelineOptions([*added, "--runner", str(runner), *argv])
            ours = options.view_as(OperationsOptions)
        if ours.local:
            google = options.view_as(GoogleCloudOptions)
            google.project = google.project or LOCAL_PROJECT
        given = any(argument.startswith("--bootstrap_servers") for argument in argv)
        servers = options.view_as(KafkaStreamsRunnerOptions).bootstrap_servers if given else None
        _quiet()
        with shown(progress, log) as show:
            found = run_stream(options, servers or os.environ.get("KAFKA_BOOTSTRAP_SERVERS"), log, show)
        if ours.summary:
            Storage(options.view_as(GoogleCloudOptions).project).write(ours.summary, as_json(found))
    print_summary(output, found)
    return EXIT_CODES[State(found["state"])]


def _demo(argv: list[str]) -> int:
    from connectors.warehouse import Warehouse
    from operations.demo import NEXT, QUERIES, SIZES
    from operations.report import print_rows

    parser = _parser("demo", "The whole way on this machine: dirty files, a run, three questions, a stream.", "")
    parser.add_argument("--local_dir", type=Path, default=Path(".local"), help="where the local cloud's data is")
    arguments = parser.parse_args(argv)
    local = ["--local", "--local_dir", str(arguments.local_dir)]
    with _cloud(True, arguments.local_dir, STREAM_SERVICES):
        sizes = [part for name, size in SIZES.items() for part in (f"--{name}", str(size))]
        _generate(["--output", "gs://ecommerce-data-lake/raw", "--seed", "1", *local, *sizes])
        code = _batch(["--runner", "DirectRunner", *local])
        warehouse = Warehouse(LOCAL_PROJECT, LOCAL_LOCATION)
        for title, sql in QUERIES.items():
            print_rows(output, title, warehouse.query(sql))
        code = code or _demo_stream(warehouse, local)
    output.print(NEXT, markup=False, highlight=False)
    return code


def _demo_stream(warehouse: Warehouse, local: list[str]) -> int:
    """Events sent to Kafka while the stream that reads them is killed and started again."""
    from threading import Thread

    from connectors.kafka_client import admin, create_topics
    from connectors.kafka_config import KafkaConfig
    from connectors.storage import Storage
    from operations.demo_stream import RATE, STREAM_EVENTS, kill_halfway, stream_counts
    from operations.report import print_rows

    clean, manifest = "gs://ecommerce-data-lake/clean", "gs://ecommerce-data-lake/clean/sent.json"
    none = [part for name in ("customers", "products", "transactions") for part in (f"--{name}", "0")]
    _generate(["--output", clean, "--dirty", "0", "--events", str(STREAM_EVENTS), *none, *local])
    kafka = KafkaConfig(os.environ["KAFKA_BOOTSTRAP_SERVERS"])
    with admin(kafka) as client:
        create_topics(client, kafka, {"user-events": 4})
    send = ["--input", f"{clean}/user_events.json", "--topic", "user-events", "--dirty", "0.05"]
    run_id = f"demo-{secrets.token_hex(3)}"  # the same for both starts: a run takes its own lease over at once
    stream = ["--runner", "PrismRunner", "--run_id", run_id, *local]
    producing = Thread(target=_produce, args=([*send, "--rate", str(RATE), "--manifest", manifest, *local],))
    producing.start()
    try:
        kill_halfway(warehouse, stream, run_id, log)
    finally:
        producing.join()
    code = _stream([*stream, "--stop_when_idle", "2"])
    sent = json.loads(Storage(LOCAL_PROJECT).read(manifest))
    print_rows(output, "the stream, killed once", stream_counts(warehouse, sent))
    return code


def _generate(argv: list[str]) -> int:
    from connectors.storage import Storage, join
    from operations.generate import generate

    parser = _parser(
        "generate",
        "Raw files as the shop makes them, dirty on purpose, and a manifest of what is in them.",
        "--output gs://ecommerce-data-lake/raw --local\n--output MY_FOLDER --customers 50 --dirty 0.1 --seed 7",
    )
    parser.add_argument("--output", required=True, help="folder: gs://BUCKET/raw or a local one")
    for name, size in (("customers", 1000), ("products", 500), ("transactions", 10_000), ("events", 15_000)):
        parser.add_argument(f"--{name}", type=int, default=size, help=f"records (default {size})")
    parser.add_argument("--dirty", type=float, default=0.03, help="share of records with a defect (default 0.03)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same files")
    _add_local(parser)
    arguments = parser.parse_args(argv)
    with _cloud(arguments.local, arguments.local_dir):
        storage = Storage(os.environ.get("GOOGLE_CLOUD_PROJECT"))
        if arguments.output.startswith("gs://") and not storage.bucket_exists(arguments.output):
            if not arguments.local:
                raise Misuse(f"--output: there is no bucket {arguments.output.split('/')[2]}")
            storage.client.create_bucket(arguments.output.split("/")[2])

        def write(path: str, data: bytes) -> None:
            storage.write(join(arguments.output, path), data)
            log(f"wrote {join(arguments.output, path)}, {len(data):,} bytes")

        manifest = generate(
            write=write, customers=arguments.customers, products=arguments.products,
            transactions=arguments.transactions, events=arguments.events, dirty=arguments.dirty, seed=arguments.seed,
        )  # fmt: skip
        write("manifest.json", json.dumps(manifest, indent=2).encode())
    return 0


def _produce(argv: list[str]) -> int:
    from connectors.kafka_config import KafkaConfig
    from connectors.storage import Storage
    from operations.dirty_stream import DirtyStream
    from operations.produce import produce_file

    parser = _parser(
        "produce", "Send a file's records to a topic, keyed by customer_id, each once and for good.",
        "--input gs://ecommerce-data-lake/raw/user_events.json --topic user-events --create_topics --local\n"
        "--input events.ndjson --topic user-events --rate 1000 --loop --bootstrap_servers HOST:9092",
    )  # fmt: skip
    add = parser.add_argument
    add("--input", required=True, help="file of JSON records, local or gs://: user_events.json, .ndjson.gz, .parquet")
    add("--topic", required=True)
    add("--bootstrap_servers", help="HOST:PORT,… of Kafka; with --local that of this machine")
    add("--kafka_config", help="file of Java client properties: TLS, SASL; secrets as env:NAME, file:PATH, secret:…")
    add("--create_topics", action="store_true", help="make the topic if it is absent")
    add("--partitions", type=_at_least_one, default=4, help="of the topic that is made (default 4)")
    add("--rate", type=_positive, help="records a second at most")
    add("--limit", type=_at_least_one, help="records of the input at most")
    add("--loop", action="store_true", help="send the file again and again, until Ctrl-C or --limit")
    add("--dirty", type=float, nargs="?", const=0.03, default=0.0, metavar="SHARE",
        help="mix in duplicates and defects of user_events (default 0.03 of what is sent)")  # fmt: skip
    add("--manifest", help="write what was sent, by door and code, as JSON to this file, local or gs://")
    add("--seed", type=int, default=1, help="the same seed mixes in the same")
    _add_local(parser)
    arguments = parser.parse_args(argv)
    with _cloud(arguments.local, arguments.local_dir, STREAM_SERVICES):
        storage = Storage(os.environ.get("GOOGLE_CLOUD_PROJECT"))
        servers = arguments.bootstrap_servers or (os.environ["KAFKA_BOOTSTRAP_SERVERS"] if arguments.local else None)
        return produce_file(
            storage, KafkaConfig.load(servers, arguments.kafka_config, storage.read),
            uri=arguments.input, topic=arguments.topic, rate=arguments.rate, limit=arguments.limit, loop=arguments.loop,
            create_partitions=arguments.partitions if arguments.create_topics else None,
            dirty=DirtyStream(arguments.dirty, arguments.seed), manifest=arguments.manifest, console=progress, log=log,
        )  # fmt: skip


def _setup(argv: list[str]) -> int:
    from connectors.storage import Storage
    from connectors.warehouse import Warehouse
    from operations.setup import setup, statements
    from pipelines.preflight import load_contracts

    parser = _parser(
        "setup", "Make bucket, data sets and tables from the contracts; safe to run twice.",
        "--bucket gs://B --create_bucket --project P --location EU\n--dry_run --project P --location EU",
    )  # fmt: skip
    parser.add_argument("--bucket", help="gs://BUCKET")
    parser.add_argument("--create_bucket", action="store_true", help="make the bucket if it is absent")
    parser.add_argument("--contracts", help="folder or glob of *.odcs.yaml in place of the shipped ones")
    parser.add_argument("--dataset", help="data set of the tables; default: what each contract says")
    parser.add_argument("--operations_dataset", default="pipeline_operations")
    parser.add_argument("--dry_run", action="store_true", help="print the statements and do nothing")
    _add_place(parser)
    arguments = parser.parse_args(argv)
    project, location = _place(arguments, "setup")
    bucket = arguments.bucket or ("gs://ecommerce-data-lake" if arguments.local else None)
    with nullcontext() if arguments.dry_run else _cloud(arguments.local, arguments.local_dir):
        storage = Storage(project)
        tables = load_contracts(storage, arguments.contracts)
        datasets = {name: arguments.dataset or table.dataset for name, table in tables.items()}
        if arguments.dry_run:
            print(";\n\n".join(statements(project, location, tables, datasets, arguments.operations_dataset)) + ";")
            return 0
        if bucket is None or not bucket.startswith("gs://"):
            raise Misuse("--bucket is missing: gs://BUCKET")
        create = arguments.create_bucket or arguments.local
        warehouse = Warehouse(project, location)
        setup(warehouse, storage, tables, datasets, arguments.operations_dataset, bucket, create, log)
    return 0


def _query(argv: list[str]) -> int:
    from connectors.warehouse import Warehouse
    from operations.query import FORMATS, query

    parser = _parser(
        "query", "Ask the warehouse.",
        '"SELECT * FROM pipeline_operations.ledger_current" --local\n"SELECT 1" --format csv --project P --location EU',
    )  # fmt: skip
    parser.add_argument("sql", help="a statement in GoogleSQL")
    parser.add_argument("--format", choices=FORMATS, default="table")
    _add_place(parser)
    arguments = parser.parse_args(argv)
    project, location = _place(arguments, "query")
    with _cloud(arguments.local, arguments.local_dir):
        query(Warehouse(project, location), arguments.sql, arguments.format, output)
    return 0


def _local(argv: list[str]) -> int:
    from local import services

    parser = _parser("local", "Keep the local cloud running between commands.", "up\nstatus --format json\ndown")
    parser.add_argument("action", choices=("up", "down", "status"))
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--local_dir", type=Path, default=Path(".local"), help="where its data is (default .local)")
    arguments = parser.parse_args(argv)
    if arguments.action == "down":
        stopped = services.down(arguments.local_dir)
        log(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")
        return 0
    with _failures_explained():
        found = (
            services.up(arguments.local_dir, STREAM_SERVICES)
            if arguments.action == "up"
            else services.status(arguments.local_dir)
        )
    if arguments.format == "json":
        print(json.dumps(found.status(), indent=2))
        return 0
    for name, facts in found.status().items():
        output.print(
            f"{name}: " + ", ".join(f"{key} {value}" for key, value in facts.items()), markup=False, highlight=False
        )
    if not found.status():
        output.print("nothing is running; launcher.py local up starts it")
    return 0


@contextmanager
def _cloud(local: bool, directory: Path, names: Sequence[str] = SERVICES) -> Iterator[None]:
    """With `local`, the services on this machine while the block lasts, and the environment that names them."""
    if not local:
        yield
        return
    from local import services

    with _failures_explained(), services.running(directory, names) as endpoints:
        os.environ.update(endpoints.environment())
        yield


@contextmanager
def _engines(local: bool, runner: str | None) -> Iterator[list[str]]:
    """With `local`, the options by which Beam finds its Java programs and Prism on this machine."""
    if not local or runner not in ("PrismRunner", "FlinkRunner"):
        yield []
        return
    from local.engines import engines

    with _failures_explained(), engines(runner) as added:
        yield added


@contextmanager
def _failures_explained() -> Iterator[None]:
    from local.processes import ServiceFailed

    try:
        yield
    except ServiceFailed as error:
        raise Misuse(str(error)) from None


def _parser(command: str, description: str, examples: str) -> argparse.ArgumentParser:
    from pipelines.options import PipelineArguments

    lines = "\n".join(f"  python launcher.py {command} {line}".rstrip() for line in examples.split("\n"))
    return PipelineArguments(
        prog=f"launcher.py {command}", description=description, epilog=f"examples:\n{lines}", allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text}: give a whole number from 1")
    return int(text)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: give a number above 0")
    return number


def _add_local(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--local", action="store_true", help="use servers on this machine in place of Google's")
    parser.add_argument("--local_dir", type=Path, default=Path(".local"), help="where their data is (default .local)")


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--project", help="Google Cloud project")
    parser.add_argument("--location", help="BigQuery location, for example EU")
    _add_local(parser)


def _place(arguments: argparse.Namespace, command: str) -> tuple[str, str]:
    """Project and location; Misuse where they are missing and it is not --local."""
    project = arguments.project or (LOCAL_PROJECT if arguments.local else None)
    location = arguments.location or (LOCAL_LOCATION if arguments.local else None)
    if project is None or location is None:
        missing = [name for name, value in (("--project", project), ("--location", location)) if value is None]
        raise Misuse(f"{', '.join(missing)} missing; on this machine: launcher.py {command} --local")
    return project, location


def _explained(error: Exception) -> str | None:
    """One line for what a user can mend: no credentials, no permission, no connection; None for a defect of ours."""
    from google.api_core.exceptions import GoogleAPICallError, RetryError
    from google.auth.exceptions import GoogleAuthError
    from requests.exceptions import ConnectionError as NoConnection

    if isinstance(error, GoogleAuthError):
        why = str(error).split(" To set up", 1)[0].rstrip(".")
        return f"no Google credentials: {why}; gcloud auth application-default login makes some, --local needs none"
    if isinstance(error, GoogleAPICallError):
        return f"Google refuses ({error.code}): {' '.join(str(error.message).split())}"
    if isinstance(error, RetryError | NoConnection):
        return f"no connection: {str(error).splitlines()[0]}"
    return None


def _quiet() -> None:
    """Say nothing of what runners log: a failure is told in one line, from the ledger."""
    for handler in logging.getLogger().handlers:
        handler.setLevel(logging.CRITICAL)
    logging.getLogger("root").setLevel(logging.CRITICAL)  # Beam's workers log here, not to the root logger
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    # A worker's threads end with an exception when a job is cancelled.
    threading.excepthook = lambda args: logging.getLogger(__name__).debug("a thread ended", exc_info=args.exc_value)


def _interruptible() -> None:
    """Ctrl-C interrupts a call that waits again, once polars is imported: its handler has them resumed
    (pola-rs/polars#21739)."""
    signal.siginterrupt(signal.SIGINT, True)


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
