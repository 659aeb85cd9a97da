"""Beam's worker pool, which starts a process for each worker that a runner requests, on 127.0.0.1 only.

    python -m local.worker_pool PORT [PROGRAM]

PROGRAM starts one worker and takes the options of Beam's containers; without it, a worker is a Python process, forked
from one that has imported Beam and the pipelines: it runs at once, where Beam's pool imports for seconds. Beam's own
main program listens on every interface: anyone who can connect could have a worker fetch code from anywhere.
"""

from __future__ import annotations

import multiprocessing
import sys
from multiprocessing.context import ForkServerProcess
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc
from apache_beam.runners.worker.sdk_worker import SdkHarness
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
from apache_beam.utils.thread_pool_executor import shared_unbounded_instance

from local.service import HOST

__all__ = ["main"]

OPTIONS = [("grpc.http2.max_pings_without_data", 0), ("grpc.http2.max_ping_strikes", 0), ("grpc.so_reuseport", 0)]
IMPORTED = ["apache_beam.runners.worker.sdk_worker", "pipelines.batch.graph", "pipelines.stream.graph"]
"""What the process that forks has imported."""
GRACE_SECONDS = 10.0


class _ForkingPool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """A pool of Python workers."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(IMPORTED)
        self._workers: dict[str, ForkServerProcess] = {}
        self._context.Process(target=int).start()  # now, so that the first worker does not wait for the imports

    def StartWorker(self, request: Any, _context: object) -> Any:  # noqa: N802
        """Start the worker that is asked for."""
        worker = self._context.Process(target=_work, args=(request.control_endpoint.url, request.worker_id))
        worker.start()
        self._workers[request.worker_id] = worker
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(self, request: Any, _context: object) -> Any:  # noqa: N802
        """End the worker, if it runs."""
        if worker := self._workers.pop(request.worker_id, None):
            worker.terminate()
            worker.join(GRACE_SECONDS)
            worker.kill()
            worker.join()
        return beam_fn_api_pb2.StopWorkerResponse()


def _work(control: str, worker: str) -> None:
    """Be a worker until the runner ends it."""
    SdkHarness(control, worker_id=worker, state_cache_size=0, data_buffer_time_limit_ms=-1).run()


def main() -> None:
    """Serve until a signal ends the process group, workers included."""
    port, program = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    pool = (
        _ForkingPool()
        if program is None
        else BeamFnExternalWorkerPoolServicer(use_process=True, container_executable=program)
    )
    server = grpc.server(shared_unbounded_instance(), options=OPTIONS)
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    server.add_insecure_port(f"{HOST}:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
