"""Serves a report on this machine. A page is made when it is asked for: without a reader, nothing is queried."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from connectors.google.errors import reported
from console.html import tag
from contracts.errors import ReportedError, UsageError

__all__ = ["REFRESH_SECONDS", "serve", "serving"]

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
"""What a browser may call it: a page of another host that has this address gets nothing."""
REFRESH_SECONDS = 30
LEAST_SECONDS = 5.0
"""A page is made at most once in this time, however many readers there are."""
STILL = "/still"


class _Pages:
    """The newest page, made once for all that ask at a time."""

    def __init__(self, made: Callable[..., str], clock: Callable[[], float] = time.monotonic) -> None:
        self._made, self._clock = made, clock
        self._lock = threading.Lock()
        self._pages: dict[bool, tuple[float, str]] = {}

    def newest(self, *, still: bool) -> str:
        """Return the page. Raises ReportedError."""
        with self._lock:
            at, page = self._pages.get(still, (float("-inf"), ""))
            if self._clock() - at >= LEAST_SECONDS:
                page = self._made(_remark(still=still))
                self._pages[still] = self._clock(), page
            return page


def _remark(*, still: bool) -> str:
    if still:
        return tag("p", "This page stays as it is. ", tag("a", "Refresh it by itself", href="/"))
    return tag("p", f"Refreshed every {REFRESH_SECONDS} seconds. ", tag("a", "Keep it as it is", href=STILL))


class _Handler(BaseHTTPRequestHandler):
    """Answers GET of / and of STILL."""

    server: _Server

    def do_GET(self) -> None:
        """Send the page, or the reason why there is none in one line."""
        path = urlsplit(self.path).path
        if (self.headers.get("Host") or "").rsplit(":", 1)[0] not in NAMES:
            self._send(HTTPStatus.FORBIDDEN, "text/plain", "this report is for this machine alone\n")
        elif path not in ("/", STILL):
            self._send(HTTPStatus.NOT_FOUND, "text/plain", "the report is at /\n")
        else:
            try:
                page = self.server.pages.newest(still=path == STILL)
            except Exception as error:
                known = error if isinstance(error, ReportedError) else reported(error)
                said = str(known) if known else f"the report cannot be made: {type(error).__name__}"
                self.server.log(said)
                self._send(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", f"{said}\n", refresh=True)
            else:
                self._send(HTTPStatus.OK, "text/html", page, refresh=path != STILL)

    def _send(self, status: HTTPStatus, kind: str, content: str, *, refresh: bool = False) -> None:
        body = content.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        if refresh:
            self.send_header("Refresh", str(REFRESH_SECONDS))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, made: Callable[..., str], port: int, log: Callable[[str], None]) -> None:
        self.pages, self.log = _Pages(made), log
        super().__init__((HOST, port), _Handler)


def serving(made: Callable[..., str], port: int, log: Callable[[str], None]) -> _Server:
    """Return a server that listens; 0 is any free port. Raises UsageError if the port cannot be used."""
    try:
        return _Server(made, port, log)
    except OSError as error:
        raise UsageError(f"--port: {HOST}:{port} cannot be used: {error.strerror}; give another --port") from None


def serve(made: Callable[..., str], port: int, log: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C. The first one is made at once, so that what is wrong is said here."""
    with serving(made, port, log) as server:
        server.pages.newest(still=False)
        try:
            log(f"serving the report at http://{HOST}:{server.server_address[1]}/ until Ctrl-C")
            server.serve_forever()
        except KeyboardInterrupt:
            log("stopped")
