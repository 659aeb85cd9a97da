"""The expansion service that all launchers of a test process share."""

from __future__ import annotations

import logging
import signal
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime
from contextlib import ExitStack
from pathlib import Path

import apache_beam as beam
import grpc
import psutil
from apache_beam.io.kafka import ReadFromKafka
from apache_beam.options.pipeline_options import CrossLanguageOptions, PipelineOptions

from local.engines import EXPANSION_SERVICE, shared_expansion_service
from tests.launching import last_kill

__all__ = ["expansion_options", "stop_expansion_service"]

logger = logging.getLogger(__name__)
ANSWER_SECONDS = 30.0
DUMP_SECONDS = 2.0
SETTLE_SECONDS = 2.0
"""How long after the kill of a launcher the service may still end."""


class _Shared:
    """The service, while it runs."""

    def __init__(self) -> None:
        self._running = ExitStack()
        self._folder = Path(self._running.enter_context(tempfile.TemporaryDirectory(prefix="shared-expansion-")))
        self.options = tuple(self._running.enter_context(shared_expansion_service(self._folder)))

    @property
    def address(self) -> str:
        services: dict[str, str] = PipelineOptions(list(self.options)).view_as(CrossLanguageOptions).beam_services
        return services[EXPANSION_SERVICE]

    def answers(self) -> bool:
        """Whether it expands a transform."""
        pool = ThreadPoolExecutor(1)
        try:
            return pool.submit(self._expand).result(ANSWER_SECONDS)
        except (NotInTime, grpc.RpcError):
            return False
        finally:
            pool.shutdown(wait=False)

    def _expand(self) -> bool:
        beam.Pipeline(options=PipelineOptions([])) | ReadFromKafka(
            {"bootstrap.servers": "nowhere:1"}, ["topic"], expansion_service=self.address
        )
        return True

    def stop(self) -> None:
        self._running.close()

    def threads(self) -> str:
        """What its threads do: the service writes it to its log."""
        port = self.address.rpartition(":")[2]
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if port in words and "--alsoStartLoopbackWorker" in words:
                process.send_signal(signal.SIGQUIT)
                time.sleep(DUMP_SECONDS)
        return (self._folder / "expansion-service.log").read_text()


_shared: list[_Shared] = []


def expansion_options() -> tuple[str, ...]:
    """Return the Beam options with which a launcher uses the service; the first call starts it.

    A job whose launcher is killed may end the service: a worker of Beam ends its process when its logging stream breaks
    (apache/beam#25186), and here that process is the service. Then it is replaced, and a warning has its log, with a
    dump of its threads if it runs and answers nobody.
    """
    time.sleep(max(0.0, last_kill() + SETTLE_SECONDS - time.monotonic()))
    if _shared and not _shared[0].answers():
        logger.warning("the expansion service does not answer and is replaced: %s", _shared[0].threads())
        stop_expansion_service()
    if not _shared:
        _shared.append(_Shared())
    return _shared[0].options


def stop_expansion_service() -> None:
    """Stop the service, if it runs."""
    while _shared:
        _shared.pop().stop()
