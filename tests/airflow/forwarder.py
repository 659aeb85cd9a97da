"""A server that is unavailable at first: it refuses connections until it is opened, then forwards them."""

from __future__ import annotations

import socket
import socketserver
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

__all__ = ["Forwarder"]


class Forwarder:
    """Forwards TCP connections to `backend` (HOST:PORT), once it is open, until the end of the `with` block."""

    def __init__(self, backend: str) -> None:
        host, _, port = backend.rpartition(":")

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with socket.create_connection((host, int(port))) as upstream:
                    back = threading.Thread(target=_copy, args=(upstream, self.request), daemon=True)
                    back.start()
                    _copy(self.request, upstream)
                    back.join()

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self._server.daemon_threads = True
        self._server.server_bind()  # The port is reserved, and nothing listens on it yet.
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def open(self) -> None:
        """Listen from now on."""
        self._server.server_activate()
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.server_close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
