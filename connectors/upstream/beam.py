"""Patches of Beam, and the one use of its private parts.

tests/connectors/test_upstream.py and tests/e2e/test_prism_state.py fail as soon as Beam no longer needs one of them.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from apache_beam.internal.gcp.auth import _Credentials
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_fn_api_pb2_grpc
from apache_beam.runners.worker.bundle_processor import DataInputOperation
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer, kill_process_gracefully
from apache_beam.utils.subprocess_server import SubprocessServer
from apache_beam.utils.thread_pool_executor import shared_unbounded_instance

from connectors.upstream.patch import Patch, Release

__all__ = [
    "PATCHES",
    "job_servers_stopped",
    "keep_bundles_whole",
    "keep_workers_local",
    "skip_credentials_for_emulators",
]

BEAM = Release("apache-beam", "2.77")


def keep_bundles_whole() -> None:
    """Never split a bundle of this process's Python steps, from now on.

    Prism splits a slow bundle of a stateful step like any other, also between two elements of one key, and then
    processes both halves at the same time. Both write the state of the key: what the half that ends first has written
    is lost. (splitBundle in Prism's elementmanager.go removes the key from the set of those in progress; compare
    apache/beam#35771.) Prism's option `prism_disable_sdf_split` does not help: Kafka's reader, in Java, ends its
    bundles by being split.
    """
    WHOLE_BUNDLES.apply()


def keep_workers_local() -> None:
    """Let the workers that a launcher runs in its own process (LOOPBACK) be reached from this machine only.

    Beam's worker pool listens on every interface and has no option for it: anyone who reaches it can make a worker
    fetch its code from anywhere. The runner connects to `localhost` either way.
    """
    LOCAL_WORKERS.apply()


def skip_credentials_for_emulators() -> None:
    """Give Beam's Cloud Storage clients no credentials while STORAGE_EMULATOR_HOST is set.

    The clients respect that variable, but look for credentials first, which takes half a minute on a machine that has
    none. Beam's option --no_auth does not help: it disables the file system (gcsio.GcsIO).
    """
    NO_CREDENTIALS.apply()


@contextmanager
def job_servers_stopped() -> Iterator[None]:
    """Stop at the end of the block the job servers (Prism, Flink's) that Beam has started in it.

    Beam itself stops them when the process ends. Stopping a server takes about a second; one that has ended already
    takes no time.
    """
    try:
        yield
    finally:
        for key, entry in list(SubprocessServer._cache._cache.items()):
            SubprocessServer._cache.force_remove(*key)
            entry.obj[0].wait()


def _no_split(_operation: DataInputOperation, *_: object) -> None:
    return None


def _start_on_loopback(
    use_process: bool = False,
    port: int = 0,
    state_cache_size: int = 0,
    data_buffer_time_limit_ms: int = -1,
    container_executable: str | None = None,
) -> tuple[str, grpc.Server]:
    """Start a worker pool as Beam does, but on the loopback interface."""
    pool = BeamFnExternalWorkerPoolServicer(
        use_process, container_executable, state_cache_size, data_buffer_time_limit_ms
    )
    options = [("grpc.http2.max_pings_without_data", 0), ("grpc.http2.max_ping_strikes", 0)]
    server = grpc.server(shared_unbounded_instance(), options=options)
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    address = f"localhost:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    server.start()
    atexit.register(lambda: [kill_process_gracefully(process) for process in pool._worker_processes.values()])
    return address, server


_credentials = _Credentials.get_service_credentials


def _no_credentials_for_an_emulator(options: PipelineOptions) -> Any:
    return None if os.environ.get("STORAGE_EMULATOR_HOST") else _credentials(options)


WHOLE_BUNDLES = Patch.of(BEAM, DataInputOperation, "try_split", _no_split)
LOCAL_WORKERS = Patch.of(BEAM, BeamFnExternalWorkerPoolServicer, "start", staticmethod(_start_on_loopback))
NO_CREDENTIALS = Patch.of(BEAM, _Credentials, "get_service_credentials", staticmethod(_no_credentials_for_an_emulator))
PATCHES = (WHOLE_BUNDLES, LOCAL_WORKERS, NO_CREDENTIALS)
