"""What `--help` says of the pipelines: our options, Beam's that matter, examples."""

from __future__ import annotations

import argparse

from pipelines.options import OperationsOptions, StreamOptions

__all__ = ["BEAM_OPTIONS", "PIPELINES", "pipeline_help"]

PIPELINES = {
    "batch": (
        "Raw files through contracts, validation and duplicate removal into BigQuery.",
        """  python launcher.py batch --runner DirectRunner --local
      the raw files of the local bucket, on this machine (launcher.py generate --local makes some)
  python launcher.py batch --runner DirectRunner --local --input MY_FOLDER --contracts MY_CONTRACTS
      your own files and tables, on this machine
  python launcher.py batch --runner DataflowRunner --project P --region europe-west1 --location EU \\
      --input gs://B/raw --processed gs://B/processed --dead_letters gs://B/dead_letters \\
      --temp_location gs://B/tmp --setup_file ./setup.py
      on Dataflow""",
    ),
    "stream": (
        "Records of Kafka topics through the same contracts into BigQuery, each once.",
        """  python launcher.py stream --runner PrismRunner --local --stop_when_idle 10
      what is in the local Kafka's topics, on this machine
  python launcher.py stream --runner FlinkRunner --flink_master HOST:8081 --project P --location EU \\
      --bootstrap_servers HOST:9092 --topic clicks=user_events_streaming --group_id shop
      on a Flink cluster; with --ensure_running: unless it runs there already
  python launcher.py stream --runner DataflowRunner --project P --region europe-west1 --location EU \\
      --bootstrap_servers HOST:9092 --temp_location gs://B/tmp --setup_file ./setup.py \\
      --template_location gs://B/templates/stream
      the job graph, which gcloud dataflow jobs run starts jobs from""",
    ),
}
"""Of each pipeline what it does, and examples."""

BEAM_OPTIONS = {
    "--runner": "DirectRunner (in this process), PrismRunner, FlinkRunner, DataflowRunner, PortableRunner",
    "--project": "Google Cloud project; credentials are the application default ones",
    "--region": "Dataflow: where the workers run",
    "--temp_location": "Dataflow: gs:// folder for its temporary files",
    "--staging_location": "Dataflow: gs:// folder for what the workers install; default: below --temp_location",
    "--setup_file": "./setup.py, where workers run elsewhere and need this code",
    "--sdk_container_image": "Dataflow: an image of your own that has this code, in place of --setup_file",
    "--template_location": "Dataflow: write the job's graph to this gs:// file, and start no job",
    "--max_num_workers": "Dataflow: at most so many workers",
    "--service_account_email": "Dataflow: whom the workers run as",
    "--flink_master": "Flink: host:port of the cluster",
    "--parallelism": "Flink: how many tasks at a time",
    "--bootstrap_servers": "Kafka: host:port, several with commas",
    "--job_endpoint": "PortableRunner: host:port of the job service",
    "--environment_type": "portable runners: where the Python workers run, LOOPBACK for this process",
    "--job_name": "the job's name with the runner",
    "--no_wait_until_finish": "streams on Dataflow or a Flink cluster: leave the job as soon as it runs",
    "--labels": "key=value for the runner's own bookkeeping; may be repeated",
}
"""Of Beam's options those that matter here."""

LISTS = """Every other option of Beam and of its runners is taken too; their own lists:
  Beam      https://beam.apache.org/documentation/programming-guide/#configuring-pipeline-options
  Dataflow  https://cloud.google.com/dataflow/docs/reference/pipeline-options
  Flink     https://beam.apache.org/documentation/runners/flink/#pipeline-options-for-the-flink-runner"""


def pipeline_help(name: str) -> str:
    """What `launcher.py NAME --help` prints."""
    description, examples = PIPELINES[name]
    parser = argparse.ArgumentParser(
        prog=f"launcher.py {name}",
        usage=f"launcher.py {name} --runner RUNNER [options]",
        description=description,
        epilog=f"examples:\n{examples}\n\n{LISTS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    if name == "stream":
        StreamOptions._add_argparse_args(parser.add_argument_group("options of streams"))
    OperationsOptions._add_argparse_args(parser.add_argument_group("options of the pipelines"))
    beam = parser.add_argument_group("options of Beam that matter here")
    for option, text in BEAM_OPTIONS.items():
        beam.add_argument(option, help=text, metavar="VALUE")
    return parser.format_help()
