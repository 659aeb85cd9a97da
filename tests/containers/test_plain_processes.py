"""The services of docker-compose.yml as plain processes, and the commands of how-to/deploy/containers.md on them."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.engines import engines
from tests.containers.compose import ROOT, VARIABLES
from tests.containers.plain import PlainService, running

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

DOORS = ("read", "written", "duplicate", "dead_letter")
RUN = "docker compose run --rm launcher "
RAW = "ecommerce-data-lake/raw"


def documented() -> Iterator[tuple[str, list[str]]]:
    """Yield the launcher's commands in the document and their arguments."""
    text = (ROOT / "docs/how-to/deploy/containers.md").read_text()
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.startswith(RUN):
            command, *arguments = shlex.split(line.removeprefix(RUN))
            yield command, arguments


def test_the_document_on_plain_processes(model: dict[str, Any], tmp_path: Path) -> None:
    servers = [PlainService(model, name, tmp_path) for name in ("kafka", "gcs", "bigquery")]
    launcher = PlainService(model, "launcher", tmp_path)
    kafka = launcher.environment["KAFKA_BOOTSTRAP_SERVERS"]
    output: dict[str, str] = {}
    with running(servers), engines("PrismRunner") as of_this_machine:
        # In a container Beam downloads both. LOOPBACK is its default.
        downloads = [option for option in of_this_machine if re.match("--(prism_location|beam_services)=", option)]
        more = {"stream": downloads, "query": ["--format=json"]}
        for command, arguments in documented():
            assert "--local" not in arguments
            here = [word.replace(f"127.0.0.1:{VARIABLES['KAFKA_PORT']}", kafka) for word in arguments]
            java = {"JAVA_HOME": os.environ["JAVA_HOME"]}  # The image has one too.
            run = launcher.run([*launcher.service["entrypoint"], command, *here, *more.get(command, [])], 240, java)
            assert run.returncode == 0, run.stdout + run.stderr
            output[command] = run.stdout if command == "query" else run.stderr
    assert list(output) == ["setup", "generate", "batch", "produce", "stream", "query"]

    lines = json.loads(output["query"])
    loaded = [line for line in lines if line["kind"] == "loaded"]
    manifest = json.loads((tmp_path / "gcs" / RAW / "manifest.json").read_text())["tables"]
    assert {line["table"] for line in loaded} == set(manifest)
    for table, counts in manifest.items():
        assert sums(line for line in loaded if line["table"] == table) == {door: counts[door] for door in DOORS}
    # The stream gives the same counts as the batch for a file that was loaded and then sent to Kafka.
    streamed = sums(line for line in lines if line["kind"] == "offsets")
    assert streamed == sums(line for line in loaded if line["source"] == f"gs://{RAW}/user_events.json")
    assert f"{streamed['read']:,} records sent" in output["produce"]


def sums(lines: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Return the sum of several ledger lines, by door."""
    total: Counter[str] = Counter(dict.fromkeys(DOORS, 0))
    for line in lines:
        total.update({door: line[door] for door in DOORS})
    return dict(total)
