"""Two patches of kafka-python's network client, applied to one client at a time.

tests/connectors/test_kafka_client.py and tests/connectors/test_upstream.py fail as soon as kafka-python no longer
needs one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kafka.net.compat import KafkaNetClient
from kafka.net.connection import KafkaConnection

from connectors.upstream.patch import Release

__all__ = ["KAFKA_PYTHON", "keep_received_data", "observe_connections"]

KAFKA_PYTHON = Release("kafka-python", "3.0")


def observe_connections(
    client: KafkaNetClient,
    refusal: Callable[[], BaseException | None],
    failed: Callable[[BaseException], None],
    succeeded: Callable[[object], None],
) -> None:
    """Report how each connection of `client` ends to `failed` or `succeeded`, and stop at a final refusal.

    `refusal` returns the error that another attempt would meet again, None if there is none: no further connection is
    tried then, the error is raised. kafka-python means to stop at refused credentials itself (its pull request 2994),
    but if a connection is refused while it is initialized, it retries until the time is up and reports only that.
    """
    manager: Any = client._manager
    if not KAFKA_PYTHON.check("get_connection"):
        return
    get_connection = manager.get_connection

    def observed(node: object, *args: object, **options: object) -> KafkaConnection:
        if error := refusal():
            raise error
        connection: KafkaConnection = get_connection(node, *args, **options)
        connection.init_future.add_callback(succeeded)
        connection.init_future.add_errback(failed)
        return connection

    manager.get_connection = observed


def keep_received_data(client: KafkaNetClient) -> None:
    """Let `client` process what a broker has sent before it closed the connection.

    kafka-python drops data that arrives together with the end of the connection. Brokers close it right after the
    answer that refuses the credentials: without the patch that answer is lost.
    """
    manager: Any = client._manager
    if not KAFKA_PYTHON.check("_build_transport"):
        return
    build_transport = manager._build_transport

    async def build(*args: object, **options: object) -> Any:
        transport = await build_transport(*args, **options)
        receive = transport._sock_recv

        def received() -> tuple[bytes, BaseException | None]:
            data, error = receive()
            return data, None if data else error  # the next call meets the error again

        transport._sock_recv = received
        return transport

    manager._build_transport = build
