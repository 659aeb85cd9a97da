"""`--metrics_port`: each documented metric is scraped from a real batch and a real stream, and is what happened."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import grpc
import pytest
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient
from prometheus_client.parser import text_string_to_metric_families

import launcher
from connectors.files.storage import Storage
from connectors.kafka.config import KafkaConfig
from connectors.kafka.group_offsets import GroupOffsets
from local.engines import engines
from local.processes import free_port
from local.services import Endpoints
from tests import launching
from tests.e2e.append_proxy import AppendProxy, Fail, Request
from tests.e2e.proxies import HoldingProxy
from tests.e2e.streams import StreamSite
from tests.test_docs import rows
from tests.waiting import wait_until
from transforms.metrics import METRICS

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
Scrape = Mapping[tuple[str, ...], float]
"""Values by name and labels, as name, label, value, label, value …"""
LAST_LINE = r'^(?=.*INSERT INTO .{1,80}ledger)(?=.*"value": ?"run")'


def scrape(port: int) -> Scrape:
    """What the port serves now."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    return {
        (sample.name, *(part for label in sorted(sample.labels.items()) for part in label)): sample.value
        for family in families
        for sample in family.samples
    }


def documented(pipeline: str) -> set[str]:
    """The metrics that docs/reference/metrics.md says a pipeline has."""
    column = {"batch": 2, "stream": 3}[pipeline]
    return {name.strip("`") for name, cells in rows("reference/metrics.md", "metric").items() if cells[column] == "yes"}


def names(found: Scrape) -> set[str]:
    """The metrics that have a value; those of a histogram under its own name."""
    suffixes = ("_bucket", "_sum", "_count")
    served = {metric.served_as for metric in METRICS}
    return {
        next((n for n in (key[0], *(key[0].removesuffix(s) for s in suffixes)) if n in served), key[0]) for key in found
    }


def test_a_batch(local_cloud: tuple[Path, Endpoints], tmp_path: Path) -> None:
    Storage("local-project").client.create_bucket("bucket")
    text = "customer_id,email\nc1,c1@example.com\nc2,c2@example.com\nc1,c1@example.com\nc3,nobody\n"
    (tmp_path / "customers.csv").write_text(text)
    port = free_port(0, ())
    with HoldingProxy(os.environ["BIGQUERY_EMULATOR_HOST"]) as proxy:
        proxy.hold(LAST_LINE, after=False)
        process = launching.start(
            [
                "batch",
                "--runner=DirectRunner",
                "--workers=2",
                f"--metrics_port={port}",
                *("--project=local-project", "--location=US", f"--input={tmp_path}", "--max_dead_letter_ratio=1"),
                *("--processed=gs://bucket/processed", "--dead_letters=gs://bucket/dead_letters"),
            ],
            {**os.environ, "BIGQUERY_EMULATOR_HOST": proxy.address},
            stderr_to_stdout=True,
        )
        try:
            wait_until(proxy.held.is_set, process=process)
            found = scrape(port)
        finally:
            proxy.release()
            said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    doors = {
        key[2]: value
        for key, value in found.items()
        if key[0] == "contract_pipeline_records_total" and key[4] == "customers"
    }
    assert doors == {"read": 4, "written": 2, "duplicate": 1, "dead_letter": 1}
    assert found["contract_pipeline_dead_letters_total", "code", "invalid_value", "table", "customers"] == 1
    assert found["contract_pipeline_bytes_total", "table", "customers"] == len(text)
    assert documented("batch") == names(found)
    with pytest.raises(URLError):
        scrape(port)  # it was served as long as the run lasted


def scraped_stream(directory: Path, endpoints: Endpoints) -> tuple[Scrape, dict[str, Any]]:
    """What a stream serves once it has caught up, one append of which BigQuery did not take at first; its summary."""
    port = free_port(0, ())
    failed: list[Request] = []

    def once(request: Request) -> Fail | None:
        if failed or "user_events_streaming" not in request.write_stream:
            return None
        failed.append(request)
        return Fail(False, grpc.StatusCode.UNAVAILABLE)

    storage = endpoints.environment()["BIGQUERY_STORAGE_EMULATOR_HOST"]
    with AppendProxy(storage) as proxy, engines("PrismRunner") as options:
        proxy.on_append = once
        stream = StreamSite(
            directory,
            endpoints,
            "metered",
            engines=options,
            environment={"BIGQUERY_STORAGE_EMULATOR_HOST": f"127.0.0.1:{proxy.port}"},
        )
        feed = stream.feed(partitions=1, dirty=0.1)
        feed.send(500)
        GroupOffsets(KafkaConfig(stream.servers), "metered").commit({"kafka://metered/0": 10})
        client = KafkaAdminClient(bootstrap_servers=stream.servers)
        client.delete_records({TopicPartition("metered", 0): 40})
        client.close()
        start = stream.start(f"--metrics_port={port}", "--allow_lost_offsets")

        def caught_up() -> bool:
            try:
                found = scrape(port)
            except URLError:
                return False
            read = found.get(("contract_pipeline_records_total", "door", "read", "table", "user_events_streaming"), 0)
            return read == 460 and found["contract_pipeline_lag_records",] == 0

        try:
            wait_until(caught_up, process=start.process)
            found = scrape(port)
            start.process.send_signal(signal.SIGINT)
            summary = start.finish()
        finally:
            start.kill()
    assert failed
    return found, summary


def test_a_stream_on_prism(kafka_cloud: tuple[Path, Endpoints]) -> None:
    found, summary = scraped_stream(*kafka_cloud)
    name, table = "user_events_streaming", summary["tables"]["user_events_streaming"]
    for door in ("read", "written", "duplicate", "dead_letter"):
        assert found["contract_pipeline_records_total", "door", door, "table", name] == table[door]
    for code, number in table["dead_letter_by_code"].items():
        assert found["contract_pipeline_dead_letters_total", "code", code, "table", name] == number
    assert found["contract_pipeline_latency_seconds_count", "table", name] == table["written"]
    assert found["contract_pipeline_latency_seconds_bucket", "le", "+Inf", "table", name] == table["written"]
    assert 0 < found["contract_pipeline_latency_seconds_sum", "table", name] < 600 * table["written"]
    keys = [value for key, value in found.items() if key[0] == "contract_pipeline_index_keys" and key[-1] == name]
    assert sum(keys) == table["written"]
    assert found["contract_pipeline_append_retries_total",] == 1
    assert found["contract_pipeline_lost_offsets_total",] == 30
    assert found["contract_pipeline_bucket_takes_total", "lane", f"metered.{name}", "table", name] == len(keys)
    assert found["contract_pipeline_bytes_total", "table", name] > 100 * table["read"] / 2
    assert time.time() - 120 < found["contract_pipeline_status_timestamp_seconds",] <= time.time()
    assert found["contract_pipeline_records_per_second",] >= 0
    assert documented("stream") == names(found)


@pytest.mark.parametrize("pipeline", ["batch", "stream"])
def test_a_port_that_cannot_be_used(pipeline: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [pipeline, "--runner=PrismRunner", "--project=p"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert launcher.main([*arguments, f"--metrics_port={port}"]) == 2
    message = f"error: --metrics_port: 127.0.0.1:{port} cannot be used: Address already in use\n"
    assert capsys.readouterr().err == message
    assert launcher.main([*arguments, "--metrics_port=65536"]) == 2
    assert capsys.readouterr().err == "error: --metrics_port must be a number from 1 to 65535, not 65536\n"
    assert launcher.main([*arguments, "--metrics_port=x"]) == 2
    assert "argument --metrics_port: invalid int value: 'x'" in capsys.readouterr().err
