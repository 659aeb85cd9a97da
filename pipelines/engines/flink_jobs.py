"""Jobs on a Flink cluster, by its REST API. See Flink's documentation, "REST API"."""

from __future__ import annotations

from typing import Any

import requests

from contracts.errors import Unavailable, UsageError
from pipelines.engines.job import Job, JobState

__all__ = ["FlinkJobs"]

ANSWER_SECONDS = 10.0
STATES = {
    "INITIALIZING": JobState.STARTING,
    "CREATED": JobState.STARTING,
    "RECONCILING": JobState.STARTING,
    "RESTARTING": JobState.STARTING,
    "RUNNING": JobState.RUNNING,
    "FAILING": JobState.STOPPING,
    "CANCELLING": JobState.STOPPING,
    "SUSPENDED": JobState.STOPPING,
    "CANCELED": JobState.DONE,
    "FINISHED": JobState.DONE,
    "FAILED": JobState.FAILED,
}


class FlinkJobs:
    """The jobs of one cluster; `master` is --flink_master, HOST:PORT or a URL.

    A job is NAME@VERSION there (`version_options`), or NAME if somebody else has submitted it.
    """

    replaces = False
    tells_why = False

    def __init__(self, master: str) -> None:
        self._url = master if "://" in master else f"http://{master}"

    def find(self, name: str) -> Job | None:
        """Return the live job of this name, else the one that ended last, None if there was none."""
        named = [one for one in self._ask("GET", "/jobs/overview")["jobs"] if _name(one) == name]
        live = [one for one in named if not STATES[one["state"]].ended]
        newest = max(live or named, key=lambda one: int(one["start-time"]), default=None)
        return None if newest is None else self._job(newest)

    def refresh(self, job: Job) -> Job:
        """Return the present state of a job."""
        return self._job(self._ask("GET", f"/jobs/{job.id}"))

    def drain(self, job: Job) -> None:
        """Cancel the job: Flink's own drain waits for the end of the source, and Kafka's source has none.

        The next start reads again what was in flight, and recognises it.
        """
        self.cancel(job)

    def cancel(self, job: Job) -> None:
        """Request that the job ends."""
        self._ask("PATCH", f"/jobs/{job.id}?mode=cancel")

    def _job(self, shown: dict[str, Any]) -> Job:
        """Return a job from an entry of the overview or from its own page."""
        state, job_id = shown["state"], shown["jid"]
        detail = str(state)
        if state in ("FAILED", "RESTARTING"):
            entries = self._ask("GET", f"/jobs/{job_id}/exceptions?maxExceptions=1")["exceptionHistory"]["entries"]
            detail += "".join(f": {entry['stacktrace'].splitlines()[0]}" for entry in entries[:1])
        version = shown["name"].partition("@")[2] or None
        return Job(job_id, _name(shown), STATES[state], detail, version, f"{self._url}/#/job/{job_id}")

    def _ask(self, method: str, path: str) -> dict[str, Any]:
        try:
            answer = requests.request(method, self._url + path, timeout=ANSWER_SECONDS)
        except requests.exceptions.RequestException:
            raise Unavailable(f"--flink_master: no Flink answers at {self._url}") from None
        if answer.status_code >= 400:
            kind = Unavailable if answer.status_code >= 500 else UsageError
            raise kind(f"--flink_master: {self._url} answers {answer.status_code} to {path}")
        body: dict[str, Any] = answer.json() if answer.content else {}
        return body


def _name(shown: dict[str, Any]) -> str:
    return str(shown["name"].partition("@")[0])
