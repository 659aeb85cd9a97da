"""A real Airflow, started as `make airflow` starts it, and its REST API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from local.processes import free_port
from tools.airflow import ROOT

__all__ = ["COMMAND", "Airflow", "airflow_in"]

COMMAND = ("-m", "tools.airflow")
"""Python's arguments in `make airflow`."""
RUN_SECONDS = 240.0
START_SECONDS = 240.0
POLL_SECONDS = 0.5


class Airflow:
    """The REST API of an Airflow at an address."""

    def __init__(self, address: str) -> None:
        self._api = f"{address}/api/v2"
        self._session = requests.Session()
        token = self._session.get(f"{address}/auth/token", timeout=30).json()["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str) -> Any:
        """Return the JSON answer to a GET request."""
        answer = self._session.get(f"{self._api}/{path}", timeout=60)
        answer.raise_for_status()
        return answer.json()

    def trigger(self, dag: str, conf: Mapping[str, Any] | None = None) -> str:
        """Start a run with these parameters; return its id."""
        answer = self._session.post(
            f"{self._api}/dags/{dag}/dagRuns", json={"logical_date": None, "conf": dict(conf or {})}, timeout=60
        )
        assert answer.ok, answer.text
        return str(answer.json()["dag_run_id"])

    def wait(self, dag: str, run: str) -> str:
        """Wait for the end of a run; return its state."""
        deadline = time.monotonic() + RUN_SECONDS
        while time.monotonic() < deadline:
            state = str(self.get(f"dags/{dag}/dagRuns/{run}")["state"])
            if state in ("success", "failed"):
                return state
            time.sleep(POLL_SECONDS)
        raise AssertionError(f"{dag} {run} has not ended: {self.tasks(dag, run)}")

    def tasks(self, dag: str, run: str) -> dict[str, str]:
        """Return the state of each task of a run."""
        instances = self.get(f"dags/{dag}/dagRuns/{run}/taskInstances")["task_instances"]
        return {instance["task_id"]: instance["state"] for instance in instances}

    def tries(self, dag: str, run: str, task: str) -> int:
        """Return how often a task was tried."""
        return int(self.get(f"dags/{dag}/dagRuns/{run}/taskInstances/{task}")["try_number"])

    def wait_for_retry(self, dag: str, run: str, task: str) -> None:
        """Wait until the first try of a task has failed, and a retry is due or has begun."""
        deadline = time.monotonic() + RUN_SECONDS
        while time.monotonic() < deadline:
            if self.tasks(dag, run).get(task) == "up_for_retry" or self.tries(dag, run, task) > 1:
                return
            time.sleep(POLL_SECONDS)
        raise AssertionError(f"{task} of {dag} {run} was not retried: {self.tasks(dag, run)}")

    def log(self, dag: str, run: str, task: str, attempt: int = 1) -> str:
        """Return the log of one try of a task: its lines, then the same with all details as JSON."""
        log = self.get(f"dags/{dag}/dagRuns/{run}/taskInstances/{task}/logs/{attempt}?full_content=true")
        lines = [str(line["event"]) for line in log["content"]]
        return "\n".join([*lines, json.dumps(log["content"], ensure_ascii=False)])

    def xcom(self, dag: str, run: str, task: str) -> Any:
        """Return what a task returned."""
        path = f"dags/{dag}/dagRuns/{run}/taskInstances/{task}/xcomEntries/return_value?stringify=false"
        return self.get(path)["value"]


@contextmanager
def airflow_in(home: Path, local_dir: Path, variables: Mapping[str, str]) -> Iterator[Airflow]:
    """Run Airflow, with its state in `home`, on the local cloud of `local_dir`; end it with Ctrl-C."""
    home.mkdir(parents=True, exist_ok=True)
    output = home / "output.log"
    command = [sys.executable, *COMMAND, "--home", str(home), "--local_dir", str(local_dir)]
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [*command, "--port", str(free_port(0, ()))],
            cwd=ROOT,
            env={**os.environ, **variables},
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while "Airflow is at " not in output.read_text():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(POLL_SECONDS)
        yield Airflow(output.read_text().split("Airflow is at ")[1].split()[0])
    finally:
        os.killpg(process.pid, signal.SIGINT)
        code = process.wait(60)
    assert code == 0, output.read_text()
    assert output.read_text().endswith("Airflow has ended\n")
