"""A server in front of the emulated BigQuery that holds a request, before or after it takes effect, for ever.

So a test can kill the pipeline exactly between two steps: at a request that was never made, or at one whose
answer never came.
"""

from __future__ import annotations

import http.client
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

__all__ = ["HoldingProxy"]

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


class HoldingProxy:
    """Forwards to `backend`; `hold(pattern, after)` arms it for the next request whose body matches."""

    def __init__(self, backend: str) -> None:
        self.backend = urlsplit(backend).netloc
        self.held = threading.Event()
        """Set once the armed request has come (and, with `after`, has taken effect)."""
        self._pattern: re.Pattern[bytes] | None = None
        self._after = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def hold(self, pattern: str, after: bool) -> None:
        """Hold the next request whose body matches; `after`: only its answer."""
        self.held.clear()
        self._pattern, self._after = re.compile(pattern.encode(), re.DOTALL), after

    def release(self) -> None:
        """Forward everything from now on."""
        self._pattern = None

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def _forward(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.backend, timeout=60)
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in HOP_BY_HOP}
        connection.request(handler.command, handler.path, body or None, headers)
        answer = connection.getresponse()
        found = answer.status, answer.getheaders(), answer.read()
        connection.close()
        return found

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                armed = self.command == "POST" and proxy._pattern is not None and proxy._pattern.search(body)
                if armed and not proxy._after:
                    proxy.held.set()
                    threading.Event().wait()
                status, headers, content = proxy._forward(self, body)
                if armed:
                    proxy.held.set()
                    threading.Event().wait()
                self.send_response(status)
                for name, value in headers:
                    if name.lower() not in HOP_BY_HOP and name.lower() not in {"server", "date"}:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

            def log_message(self, format: str, *args: object) -> None:
                return

        return Handler
