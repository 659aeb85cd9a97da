"""Dataflow's REST endpoint on this machine, as far as jobs go: what it is asked is held to Google's published types.

A body or a query with a field that the types do not have, or with a value of another type, is refused (400), as are
labels, names and transitions that Dataflow's documentation rules out. A job's state moves on each time it is read.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from google.cloud import dataflow_v1beta3 as dataflow
from google.cloud.dataflow_v1beta3 import JobState
from google.protobuf import json_format

__all__ = ["DataflowService", "dataflow_service"]

PLACE = r"/v1b3/projects/(?P<project>[^/]+)/locations/(?P<region>[^/]+)/jobs"
LIVE = (JobState.JOB_STATE_PENDING, JobState.JOB_STATE_RUNNING, JobState.JOB_STATE_DRAINING)
STATUS = {
    400: "INVALID_ARGUMENT",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}
LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}"), re.compile(r"[a-z0-9_-]{0,63}")
PAGE = 2
"""Jobs on a page of a list, whatever is asked for: Dataflow may send fewer, and then a token for the next page."""


class Refused(Exception):
    """An error instead of an answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class DataflowService:
    """The jobs that were made, and what the next questions are answered with."""

    url: str = ""
    jobs: list[dataflow.Job] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """The questions: create, list, get, update, messages."""
    refuse: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    """By question the answers that come first, each once."""
    errors: dict[str, str] = field(default_factory=dict)
    """By name of a job: what it says before it fails. The others run."""
    conflict: bool = True
    """Whether a name that is taken is answered by 409; else by the job that has it, as Dataflow may as well."""
    execute: Callable[[dataflow.Job], JobState] | None = None
    """What runs a batch, until it has ended."""
    lock: threading.RLock = field(default_factory=threading.RLock)

    def job(self, name: str) -> dataflow.Job:
        """The newest job of that name."""
        return next(job for job in reversed(self.jobs) if job.name == name)

    def answer(self, method: str, path: str, query: dict[str, Any], body: bytes) -> Any:
        """A message of Google's types. Refused where Dataflow would."""
        routes = {
            ("POST", PLACE): ("create", self.create),
            ("GET", PLACE): ("list", self.list),
            ("GET", PLACE + "/(?P<job>[^/]+)"): ("get", self.get),
            ("PUT", PLACE + "/(?P<job>[^/]+)"): ("update", self.update),
            ("GET", PLACE + "/(?P<job>[^/]+)/messages"): ("messages", self.messages),
        }
        for (verb, pattern), (name, call) in routes.items():
            if verb == method and (found := re.fullmatch(pattern, path)):
                with self.lock:
                    self.asked.append(name)
                    if self.refuse.get(name):
                        raise Refused(*self.refuse[name].pop(0))
                    return call(found.groupdict(), query, body)
        raise Refused(404, f"no method {method} {path}")

    def create(self, at: dict[str, str], query: dict[str, Any], body: bytes) -> dataflow.Job:
        """A job, or the update of one."""
        parsed(dataflow.CreateJobRequest, query)
        job: dataflow.Job = parsed(dataflow.Job, json.loads(body))
        check_job(job, at)
        taken = next((other for other in self.jobs if other.name == job.name and other.current_state in LIVE), None)
        if job.replace_job_id:
            if taken is None or taken.id != job.replace_job_id or taken.current_state != JobState.JOB_STATE_RUNNING:
                raise Refused(400, f"{job.replace_job_id} is not the running job {job.name}")
        elif taken and self.conflict:
            raise Refused(409, f"(abc): The workflow could not be created. There is already an active job {job.name}.")
        elif taken:
            return taken
        job.id = f"2026-11-24_00_00_{len(self.jobs):02d}-{1000 + len(self.jobs)}"
        job.project_id, job.location = at["project"], at["region"]
        job.current_state = JobState.JOB_STATE_PENDING
        job.create_time = f"2026-11-24T00:00:{len(self.jobs):02d}Z"
        self.jobs.append(job)
        if self.execute and job.type_ == dataflow.JobType.JOB_TYPE_BATCH:
            threading.Thread(target=self._run, args=(job, self.execute), name=job.id, daemon=True).start()
        return job

    def _run(self, job: dataflow.Job, execute: Callable[[dataflow.Job], JobState]) -> None:
        state = execute(job)
        with self.lock:
            job.current_state = state

    def list(self, at: dict[str, str], query: dict[str, Any], body: bytes) -> dataflow.ListJobsResponse:
        """A page of jobs, without what only their own page tells."""
        request = parsed(dataflow.ListJobsRequest, query)
        found = [job for job in self.jobs if not request.name or job.name == request.name]
        start = int(request.page_token or 0)
        shown = [
            dataflow.Job(
                id=job.id, name=job.name, type_=job.type_, current_state=job.current_state, create_time=job.create_time
            )
            for job in found[start : start + PAGE]
        ]
        more = str(start + PAGE) if start + PAGE < len(found) else ""
        return dataflow.ListJobsResponse(jobs=shown, next_page_token=more)

    def get(self, at: dict[str, str], query: dict[str, Any], body: bytes) -> dataflow.Job:
        """A job; the next time it is a step further."""
        parsed(dataflow.GetJobRequest, query)
        job = self._known(at)
        shown = dataflow.Job(job)
        job.current_state = {
            JobState.JOB_STATE_PENDING: JobState.JOB_STATE_RUNNING,
            JobState.JOB_STATE_DRAINING: JobState.JOB_STATE_DRAINED,
            JobState.JOB_STATE_CANCELLING: JobState.JOB_STATE_CANCELLED,
        }.get(job.current_state, job.current_state)
        if job.current_state == JobState.JOB_STATE_RUNNING:
            if job.name in self.errors:
                job.current_state = JobState.JOB_STATE_FAILED
            elif job.replace_job_id:
                replaced = next(other for other in self.jobs if other.id == job.replace_job_id)
                replaced.current_state, replaced.replaced_by_job_id = JobState.JOB_STATE_UPDATED, job.id
        return shown

    def update(self, at: dict[str, str], query: dict[str, Any], body: bytes) -> dataflow.Job:
        """A job is asked to drain, or to be cancelled."""
        parsed(dataflow.UpdateJobRequest, query)
        job, wanted = self._known(at), parsed(dataflow.Job, json.loads(body))
        allowed = {JobState.JOB_STATE_DRAINING: (JobState.JOB_STATE_RUNNING,), JobState.JOB_STATE_CANCELLED: LIVE}
        if job.current_state not in allowed.get(wanted.requested_state, ()):
            raise Refused(400, f"{job.id} is {job.current_state.name}: it cannot be {wanted.requested_state.name}")
        if wanted.requested_state == JobState.JOB_STATE_DRAINING:
            if job.type_ != dataflow.JobType.JOB_TYPE_STREAMING:
                raise Refused(400, "only a streaming job is drained")
            job.current_state = JobState.JOB_STATE_DRAINING
        else:
            job.current_state = JobState.JOB_STATE_CANCELLING
        job.requested_state = wanted.requested_state
        return job

    def messages(self, at: dict[str, str], query: dict[str, Any], body: bytes) -> dataflow.ListJobMessagesResponse:
        """What a job says."""
        parsed(dataflow.ListJobMessagesRequest, query)
        name = self._known(at).name
        said = (
            [
                dataflow.JobMessage(
                    id="1",
                    time="2026-11-24T00:00:00Z",
                    message_text=self.errors[name],
                    message_importance=dataflow.JobMessageImportance.JOB_MESSAGE_ERROR,
                )
            ]
            if name in self.errors
            else []
        )
        return dataflow.ListJobMessagesResponse(job_messages=said)

    def _known(self, at: dict[str, str]) -> dataflow.Job:
        for job in self.jobs:
            if (job.id, job.project_id, job.location) == (at["job"], at["project"], at["region"]):
                return job
        raise Refused(404, f"there is no job {at['job']} in {at['region']} of {at['project']}")


def parsed(kind: Any, value: dict[str, Any]) -> Any:
    """A message of that type; Refused where the type has no such field, or another type for it."""
    try:
        return kind(json_format.ParseDict(value, kind.pb()(), ignore_unknown_fields=False))
    except json_format.ParseError as error:
        raise Refused(400, f"Invalid JSON payload received. {error}") from None


def check_job(job: dataflow.Job, at: dict[str, str]) -> None:
    """Refused for what Dataflow's documentation rules out."""
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,1022}[a-z0-9])?", job.name):
        raise Refused(400, f"job name {job.name!r}")
    for key, value in job.labels.items():
        if not (LABEL[0].fullmatch(key) and LABEL[1].fullmatch(value)):
            raise Refused(400, f"label {key}={value}")
    if not job.client_request_id:
        raise Refused(400, "no client request id")
    pools = job.environment.worker_pools
    if len(pools) != 1 or not pools[0].sdk_harness_container_images:
        raise Refused(400, "no worker pool")
    if not job.environment.temp_storage_prefix.startswith("storage.googleapis.com/"):
        raise Refused(400, f"temporary files in {job.environment.temp_storage_prefix!r}")


@contextmanager
def dataflow_service() -> Iterator[DataflowService]:
    """The service while the block lasts. Its URL says localhost, for Beam speaks HTTP to no other host."""
    service = DataflowService()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def handle_it(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query = {name: value for name, value in parse_qsl(url.query) if not name.startswith("$")}
            try:
                found = service.answer(self.command, url.path, query, body)
                code, text = 200, json_format.MessageToJson(type(found).pb(found))
            except Refused as refused:
                error = {"code": refused.code, "message": str(refused), "status": STATUS[refused.code]}
                code, text = refused.code, json.dumps({"error": error})
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_PUT = handle_it

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.url = f"http://localhost:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, name="dataflow")
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
