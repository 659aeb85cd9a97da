"""Beam's worker pool, which starts a process for each worker that a runner requests, on 127.0.0.1 only.

    python -m local.worker_pool PORT [PROGRAM]

PROGRAM starts one worker and takes the options of Beam's containers; without it, a worker is a Python process. Beam's
own main program listens on every interface: anyone who can connect could have a worker fetch code from anywhere.
"""

from __future__ import annotations

import sys

import grpc
from apache_beam.portability.api import beam_fn_api_pb2_grpc
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
from apache_beam.utils.thread_pool_executor import shared_unbounded_instance

from local.service import HOST

__all__ = ["main"]

OPTIONS = [("grpc.http2.max_pings_without_data", 0), ("grpc.http2.max_ping_strikes", 0), ("grpc.so_reuseport", 0)]


def main() -> None:
    """Serve until a signal ends the process group, workers included."""
    port, program = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    pool = BeamFnExternalWorkerPoolServicer(
        use_process=True, container_executable=program, data_buffer_time_limit_ms=-1
    )
    server = grpc.server(shared_unbounded_instance(), options=OPTIONS)
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    server.add_insecure_port(f"{HOST}:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
