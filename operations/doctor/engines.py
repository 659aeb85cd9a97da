"""A runner that is elsewhere: whether it answers, and has room for a job."""

from __future__ import annotations

import json
import socket
from collections.abc import Collection, Iterator
from urllib.request import urlopen

from contracts.errors import Unavailable
from operations.doctor.findings import Finding, Mark

__all__ = ["check_flink", "check_job_service"]

ANSWER_SECONDS = 10.0


def check_flink(master: str, versions: Collection[str], parallelism: int) -> Iterator[Finding]:
    """The JobManager at `master` (HOST:PORT) is of one of the `versions` that the job server may be for, and has task
    slots. A parallelism below 1 is the cluster's own.
    """
    about, url = f"flink {master}", master if "://" in master else f"http://{master}"
    try:
        with urlopen(f"{url}/overview", timeout=ANSWER_SECONDS) as answer:
            overview = json.load(answer)
            version, slots = str(overview["flink-version"]), int(overview["slots-total"])
            free = int(overview["slots-available"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unavailable(f"no Flink answers at {url}: {error}") from None
    if version.rsplit(".", 1)[0] not in versions:
        yield Finding(
            about,
            Mark.WRONG,
            f"it is Flink {version}, the job server is for {', '.join(versions)}",
            f"--flink_version {version.rpartition('.')[0]} if Beam has it, else another cluster",
        )
        return
    if not slots:
        yield Finding(about, Mark.WRONG, "it has no task manager: a job waits, and fails", "start a task manager")
    elif free < max(1, parallelism):
        yield Finding(
            about,
            Mark.WARNING,
            f"{free} of {slots} task slots are free, --parallelism is {max(1, parallelism)}",
            "stop a job, start a task manager, or lower --parallelism",
        )
    else:
        yield Finding(about, Mark.OK, f"Flink {version}, {free} of {slots} task slots free")


def check_job_service(endpoint: str) -> Iterator[Finding]:
    """Somebody listens at `endpoint` (HOST:PORT)."""
    host, _, port = endpoint.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise Unavailable(f"--job_endpoint: nobody answers at {endpoint}: {error}") from None
    yield Finding(f"job service {endpoint}", Mark.OK, "it answers")
