"""Each patch of another library works, and is still needed: a test fails when upstream does without it."""

from __future__ import annotations

import asyncio
import logging
import socket
from types import SimpleNamespace
from typing import Any

import google.auth
import psutil
import pytest
from apache_beam.internal.gcp.auth import _Credentials
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
from kafka.net.transport import KafkaTCPTransport

from connectors.upstream.beam import BEAM, LOCAL_WORKERS, NO_CREDENTIALS, PATCHES
from connectors.upstream.kafka_python import KAFKA_PYTHON, keep_received_data
from connectors.upstream.patch import Patch, Release
from tests.logs import logged_by


@pytest.mark.parametrize("release", [BEAM, KAFKA_PYTHON], ids=lambda release: str(release.library))
def test_the_installed_release_is_the_patched_one(release: Release) -> None:
    assert release.is_installed, "read the patches in connectors/upstream against the new release, then change `number`"


@pytest.fixture
def unpatched(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The installed Beam; what a test patches is undone after it."""
    for patch in PATCHES:
        monkeypatch.setattr(patch.owner, patch.name, patch.original)
    return monkeypatch


def test_another_release_is_not_patched(caplog: pytest.LogCaptureFixture) -> None:
    class Upstream:
        def work(self) -> str:
            return "upstream"

    def patched(self: Upstream) -> str:
        return "patched"

    caplog.set_level(logging.WARNING)
    Patch.of(Release("apache-beam", "1.0"), Upstream, "work", patched).apply()
    assert Upstream().work() == "upstream"
    assert logged_by("connectors.upstream.patch", caplog) == [
        f"apache-beam {BEAM.number}.0: not patched, Upstream.work is for 1.0"
    ]
    Patch.of(BEAM, Upstream, "work", patched).apply()
    assert Upstream().work() == "patched"


def listens_on() -> str:
    """The interface on which Beam's worker pool listens."""
    address, server = BeamFnExternalWorkerPoolServicer.start()
    try:
        port = int(address.rpartition(":")[2])
        connections = psutil.Process().net_connections("inet")
        (ip,) = {each.laddr.ip for each in connections if each.status == "LISTEN" and each.laddr.port == port}
        return str(ip)
    finally:
        server.stop(None)


def test_beams_worker_pool_listens_everywhere_without_the_patch(unpatched: pytest.MonkeyPatch) -> None:
    assert listens_on() in ("::", "0.0.0.0")
    LOCAL_WORKERS.apply()
    assert listens_on().removeprefix("::ffff:") == "127.0.0.1"


def test_beam_looks_for_credentials_for_an_emulator_without_the_patch(unpatched: pytest.MonkeyPatch) -> None:
    credentials = SimpleNamespace()
    unpatched.setattr(google.auth, "default", lambda **_: (credentials, "p"))
    unpatched.setattr(_Credentials, "_credentials_init", False)
    unpatched.setattr(_Credentials, "_credentials", None)
    unpatched.setattr(socket, "setdefaulttimeout", lambda _: None)
    unpatched.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    options = PipelineOptions([])
    assert _Credentials.get_service_credentials(options) is not None
    NO_CREDENTIALS.apply()
    assert _Credentials.get_service_credentials(options) is None
    unpatched.delenv("STORAGE_EMULATOR_HOST")
    assert _Credentials.get_service_credentials(options) is not None


class Received:
    """kafka-python's protocol, as far as a transport knows it."""

    _sensors = None

    def __init__(self) -> None:
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data


def received(patched: bool) -> bytes:
    """What the client has processed of an answer behind which the broker closed the connection."""
    client_end, broker_end = socket.socketpair()
    client_end.setblocking(False)
    broker_end.sendall(b"answer")
    broker_end.close()

    async def ready(_: object) -> None:
        return None

    async def build(*_: object) -> Any:
        transport: Any = KafkaTCPTransport(net, client_end, host="broker")
        transport.abort = lambda error: None
        return transport

    net: Any = SimpleNamespace(wait_read=ready, call_soon=lambda *_: None, unregister_event=lambda *_: None)
    client: Any = SimpleNamespace(_manager=SimpleNamespace(_build_transport=build))
    if patched:
        keep_received_data(client)
    protocol = Received()

    async def read() -> None:
        transport = await client._manager._build_transport()
        transport._protocol, transport._read = protocol, True
        await transport._read_from_sock()

    try:
        asyncio.run(read())
    finally:
        client_end.close()
    return protocol.data


def test_kafka_python_drops_an_answer_before_the_end_of_a_connection_without_the_patch() -> None:
    assert received(patched=False) == b""
    assert received(patched=True) == b"answer"
